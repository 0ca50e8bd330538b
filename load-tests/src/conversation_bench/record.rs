//! The kept record of a run: a page for people, and every cycle as CSV.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use super::figures::{Cycle, quantile};
use super::run::Measured;
use super::{MODEL_DELAY, PAUSE};
use crate::bench::machine::Machine;

/// A figure by its name.
type Figure = (&'static str, fn(&Cycle) -> f64);

/// What is told of each arrangement.
const FIGURES: [Figure; 5] = [
    ("interruption: first sample of the speech to the last audible sample of the answer", |cycle| cycle.stop),
    ("of it until the caller is told `speech_started`", |cycle| cycle.told),
    ("from there to the last audible sample", |cycle| cycle.stale),
    ("truncation: distance between `audio_end_ms` and the recording", |cycle| cycle.error().abs()),
    ("first audio after the last word, without pause and provider", |cycle| cycle.own_share),
];

/// Writes `README.md` and `cycles.csv` into a folder, which is made.
///
/// # Errors
/// The folder or a file cannot be written.
pub fn write(folder: &Path, command: &str, machine: &Machine, measured: &[Measured]) -> std::io::Result<()> {
    fs::create_dir_all(folder)?;
    fs::write(folder.join("README.md"), page(command, machine, measured))?;
    fs::write(folder.join("cycles.csv"), cycles(measured))
}

fn page(command: &str, machine: &Machine, measured: &[Measured]) -> String {
    let Machine { processor, processors, memory_gib, system, load_before, gateway, compiler, commit } =
        machine;
    format!(
        "# Conversations as a caller hears them\n\n\
         ```sh\n{command}\n```\n\n\
         - Gateway: {gateway}, commit {commit}, {compiler}, release build\n\
         - Machine: {processors} × {processor}, {memory_gib} GiB, {system}\n\
         - Load averages before the start: {load_before}\n\
         - Pause that ends a turn: {} ms. Delay of the simulated provider: {} ms\n\n\
         {}\n{}",
        PAUSE.as_millis(),
        MODEL_DELAY.as_millis(),
        markdown(measured),
        include_str!("method.md"),
    )
}

/// The figures as a table for each arrangement.
#[must_use]
pub fn markdown(measured: &[Measured]) -> String {
    let mut text = String::new();
    let number = |value: Option<f64>| value.map_or_else(|| "–".to_owned(), |value| format!("{value:.1}"));
    for Measured { arrangement, cycles } in measured {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "## {}, {} interruptions\n", arrangement.name, cycles.len());
        text.push_str("| milliseconds | p50 | p99 | least | greatest |\n|---|---:|---:|---:|---:|\n");
        for (what, value) in FIGURES {
            let at = |share| number(quantile(cycles.iter().map(value), share));
            let _ = writeln!(text, "| {what} | {} | {} | {} | {} |", at(0.5), at(0.99), at(0.0), at(1.0));
        }
        let signed = number(quantile(cycles.iter().map(Cycle::error), 0.5));
        let _ = writeln!(text, "\nThe middle of the truncation error with its sign: {signed} ms.\n");
    }
    text
}

fn cycles(measured: &[Measured]) -> String {
    let mut text =
        String::from("arrangement,cycle,stop_ms,told_ms,stale_ms,heard_ms,audio_end_ms,own_share_ms\n");
    for Measured { arrangement, cycles } in measured {
        for (number, cycle) in (1..).zip(cycles) {
            let Cycle { own_share, stop, told, stale, heard, said } = cycle;
            // Writing to a string cannot fail.
            let _ = writeln!(
                text,
                "\"{}\",{number},{stop:.3},{told:.3},{stale:.3},{heard:.3},{said:.0},{own_share:.3}",
                arrangement.name
            );
        }
    }
    text
}
