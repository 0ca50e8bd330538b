//! A picture of the processor time per packet, with 100 flows.

use std::fmt::Write as _;

use super::contender::{Contender, Direction};
use super::generator::Rate;
use super::run::{Case, Cell};
use super::serve::Waiting;
use super::summary::Summary;

const FLOWS: u32 = 100;
const HEIGHT: f64 = 240.0;
const BAR: f64 = 26.0;
const LEFT: f64 = 50.0;
const TOP: f64 = 40.0;

/// Who has a bar, and its colour.
const BARS: [(Contender, &str); 4] = [
    (Contender::Raw(Waiting::Block), "#9aa5b1"),
    (Contender::Coturn, "#d9a441"),
    (Contender::TurnRs, "#b65f5f"),
    (Contender::Relay(Waiting::Block), "#2f7d6b"),
];

/// Bars for every rate and way, as SVG.
#[must_use]
pub fn processor_time(cells: &[Cell]) -> String {
    let summary = Summary(cells);
    let cases: Vec<Case> = summary.cases().into_iter().filter(|case| case.flows == FLOWS).collect();
    let value = |contender, case| summary.micros(contender, case).unwrap_or(0.0);
    let most =
        cases.iter().flat_map(|case| BARS.map(|(contender, _)| value(contender, *case))).fold(1.0, f64::max);
    let group = BAR * (BARS.len() as f64 + 1.0);
    let (width, bottom) = (LEFT + group * cases.len() as f64, TOP + HEIGHT);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width:.0}\" height=\"{:.0}\" font-family=\"sans-serif\" \
         font-size=\"11\">\n<rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n\
         <text x=\"{LEFT}\" y=\"14\" font-size=\"13\">Processor time per delivered packet, µs ({FLOWS} flows, 160 bytes)</text>\n",
        bottom + 40.0,
    );
    for (place, (contender, colour)) in BARS.iter().enumerate() {
        let x = LEFT + 90.0 * place as f64;
        // Writing to a string cannot fail.
        let _ = writeln!(
            svg,
            "<rect x=\"{x}\" y=\"22\" width=\"10\" height=\"10\" fill=\"{colour}\"/><text x=\"{}\" y=\"31\">{}</text>",
            x + 14.0,
            contender.name(),
        );
    }
    for (number, case) in cases.iter().enumerate() {
        let x = LEFT + group * number as f64;
        for (place, (contender, colour)) in BARS.iter().enumerate() {
            let micros = value(*contender, *case);
            bar(&mut svg, x + BAR * place as f64, bottom, micros, HEIGHT * 0.92 * micros / most, colour);
        }
        let rate = match case.rate {
            Rate::PerSecond(rate) => format!("{} k/s", rate / 1_000),
            Rate::Most => "most".to_owned(),
        };
        let way = if case.direction == Direction::Up { "up" } else { "down" };
        let _ = writeln!(svg, "<text x=\"{x}\" y=\"{}\">{way}, {rate}</text>", bottom + 16.0);
    }
    svg.push_str("</svg>\n");
    svg
}

fn bar(svg: &mut String, x: f64, bottom: f64, micros: f64, height: f64, colour: &str) {
    if micros <= 0.0 {
        return;
    }
    let (y, width) = (bottom - height, BAR - 3.0);
    let _ = writeln!(
        svg,
        "<rect x=\"{x}\" y=\"{y:.1}\" width=\"{width}\" height=\"{height:.1}\" fill=\"{colour}\"/>\
         <text x=\"{x}\" y=\"{:.1}\" font-size=\"9\">{micros:.1}</text>",
        y - 3.0,
    );
}
