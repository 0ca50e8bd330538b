//! The waterfall of a turn as a picture: one SVG file that needs nothing else, for documents and tickets.

use std::fmt::Write as _;
use std::time::Duration;

use crate::report::{printable, share, sound, sums_by_owner};
use crate::turn::{HopMeasured, TurnMeasured};

/// Pixels, as are all lengths below.
const WIDTH: f64 = 960.0;
const NAMES: f64 = 232.0;
const NUMBERS: f64 = 104.0;
const MARGIN: f64 = 24.0;
const HEAD: f64 = 108.0;
const ROW: f64 = 26.0;
const BAR: f64 = 15.0;
const FOOT: f64 = 64.0;

/// Steps of the axis, in milliseconds; the first that gives at most eight of them is taken.
const STEPS: [f64; 8] = [10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1_000.0, 5_000.0];

/// Colours keep their distance for the usual kinds of colour blindness; the owner is also written in each row. Light, then dark.
const COLOURS: [(&str, &str, &str); 5] = [
    ("client", "#2e99e5", "#54aeef"),
    ("network", "#12563a", "#8bf0c4"),
    ("gateway", "#2546e0", "#6f80ff"),
    ("provider", "#b80d86", "#e0609f"),
    ("setting", "#b0830a", "#ef9322"),
];

/// The picture of a turn: a bar for each hop that begins where the hop before ends, hatched if it is estimated, in the
/// colour of its owner; a line where the caller itself heard the answer, if it says so with `wall_clock`.
///
/// Names come over the network: they are escaped, and owners nobody knows are grey.
#[must_use]
pub fn svg(turn: &TurnMeasured, wall_clock: Option<Duration>) -> String {
    let heard = wall_clock.map(|heard| heard.as_secs_f64() * 1_000.0);
    let total: f64 = turn.hops.iter().map(|hop| sound(hop.duration_ms)).sum();
    let scale = Scale { longest: heard.unwrap_or_default().max(total) };
    let rows = f64::from(u32::try_from(turn.hops.len()).unwrap_or(u32::MAX));
    let height = HEAD + rows * ROW + FOOT;
    let mut picture = format!(
        r#"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{}">"#,
        escaped(&spoken(turn, total))
    );
    picture.push_str(&style());
    let _ = write!(picture, r#"<rect class="card" width="{WIDTH}" height="{height}" rx="14"/>"#);
    head(&mut picture, total, heard);
    axis(&mut picture, &scale, rows);
    let mut before = 0.0;
    for (row, hop) in (0_u32..).zip(&turn.hops) {
        draw(&mut picture, &scale, HEAD + f64::from(row) * ROW, hop, before);
        before += sound(hop.duration_ms);
    }
    if let Some(heard) = heard {
        let (x, to) = (scale.x(heard), HEAD + rows * ROW);
        let _ =
            write!(picture, r#"<line class="heard" x1="{x:.1}" x2="{x:.1}" y1="{}" y2="{to}"/>"#, HEAD - 6.0);
    }
    foot(&mut picture, turn, total, height);
    picture.push_str("</svg>\n");
    picture
}

struct Scale {
    longest: f64,
}

impl Scale {
    fn x(&self, ms: f64) -> f64 {
        NAMES + share(ms, self.longest) * (WIDTH - NAMES - NUMBERS - MARGIN)
    }
}

fn head(picture: &mut String, total: f64, heard: Option<f64>) {
    let _ = write!(
        picture,
        r#"<text class="total" x="{MARGIN}" y="54">{total:.0} ms</text><text class="soft" x="{MARGIN}" y="78">from the caller's last word to the caller's ear, by the gateway's account"#
    );
    if let Some(heard) = heard {
        // Writing to a string cannot fail.
        let _ = write!(picture, "; dashed: {heard:.1} ms in the caller's own recording");
    }
    picture.push_str("</text>");
    let _ = write!(
        picture,
        r#"<text class="soft small" x="{}" y="54" text-anchor="end">hatched, ~: estimated</text>"#,
        WIDTH - MARGIN
    );
}

fn axis(picture: &mut String, scale: &Scale, rows: f64) {
    let step = STEPS.into_iter().find(|step| scale.longest / step <= 8.0).unwrap_or(10_000.0);
    let bottom = HEAD + rows * ROW;
    for tick in (0_u32..=8).map(|tick| f64::from(tick) * step).take_while(|ms| *ms <= scale.longest) {
        let x = scale.x(tick);
        let _ = write!(
            picture,
            r#"<line class="tick" x1="{x:.1}" x2="{x:.1}" y1="{HEAD}" y2="{bottom}"/><text class="soft small" x="{x:.1}" y="{}" text-anchor="middle">{tick:.0}</text>"#,
            HEAD - 8.0
        );
    }
}

fn draw(picture: &mut String, scale: &Scale, y: f64, hop: &HopMeasured, before: f64) {
    let ms = sound(hop.duration_ms);
    let (from, to) = (scale.x(before), scale.x(before + ms));
    let (owner, text) = (class(&hop.owner), y + ROW / 2.0 + 4.5);
    let (top, wide) = (y + (ROW - BAR) / 2.0, (to - from).max(1.5));
    let _ = write!(
        picture,
        r#"<text x="{MARGIN}" y="{text}">{}</text><text class="soft small" x="{}" y="{text}" text-anchor="end">{}</text>"#,
        escaped(&hop.hop.replace('_', " ")),
        NAMES - 14.0,
        escaped(&hop.owner)
    );
    let bar = |class: &str| {
        format!(r#"<rect class="{class}" x="{from:.1}" y="{top}" width="{wide:.1}" height="{BAR}" rx="2"/>"#)
    };
    picture.push_str(&bar(owner));
    if hop.is_estimated() {
        picture.push_str(&bar("hatch"));
    }
    let mark = if hop.is_estimated() { "~ " } else { "" };
    let _ = write!(
        picture,
        r#"<text class="number" x="{}" y="{text}" text-anchor="end">{mark}{ms:.1} ms</text>"#,
        WIDTH - MARGIN
    );
}

fn foot(picture: &mut String, turn: &TurnMeasured, total: f64, height: f64) {
    let mut x = MARGIN;
    let y = height - 26.0;
    for (owner, ms) in sums_by_owner(turn) {
        let words = format!("{} {ms:.0} ms, {:.0} %", printable(owner), share(ms, total) * 100.0);
        let _ = write!(
            picture,
            r#"<rect class="{}" x="{x:.1}" y="{}" width="11" height="11" rx="2"/><text class="small" x="{:.1}" y="{y}">{}</text>"#,
            class(owner),
            y - 10.0,
            x + 17.0,
            escaped(&words)
        );
        x += 17.0 + 7.2 * f64::from(u32::try_from(words.chars().count()).unwrap_or(u32::MAX)) + 18.0;
    }
}

fn style() -> String {
    let mut light = String::new();
    let mut dark = String::new();
    for (owner, by_day, by_night) in COLOURS {
        // Writing to a string cannot fail.
        let _ = write!(light, ".{owner}{{fill:{by_day}}}");
        let _ = write!(dark, ".{owner}{{fill:{by_night}}}");
    }
    format!(
        "<style>text{{font:14px system-ui,sans-serif;fill:#181c26}}.small{{font-size:12px}}.soft{{fill:#5a6272}}\
         .total{{font-size:38px;font-weight:680}}.number{{font-variant-numeric:tabular-nums}}.card{{fill:#fff}}\
         .tick{{stroke:#d9dde5}}.heard{{stroke:#181c26;stroke-width:1.5;stroke-dasharray:4 3}}.other{{fill:#7a8090}}.hatch{{fill:url(#hatch)}}\
         .stripe{{stroke:#fff}}{light}@media (prefers-color-scheme:dark){{text{{fill:#eceff5}}.soft{{fill:#a2abbd}}.card{{fill:#161a23}}\
         .tick{{stroke:#2c3342}}.heard{{stroke:#eceff5}}.stripe{{stroke:#161a23}}{dark}}}</style>\
         <defs><pattern id=\"hatch\" width=\"6\" height=\"6\" patternUnits=\"userSpaceOnUse\" patternTransform=\"rotate(45)\">\
         <line class=\"stripe\" x1=\"0\" x2=\"0\" y1=\"0\" y2=\"6\" stroke-width=\"4\" stroke-opacity=\"0.6\"/></pattern></defs>"
    )
}

/// What a screen reader says.
fn spoken(turn: &TurnMeasured, total: f64) -> String {
    let mut words = format!("Turn {}: {total:.0} milliseconds from mouth to ear.", turn.turn);
    for hop in &turn.hops {
        let _ = write!(words, " {} {:.0}.", hop.hop.replace('_', " "), sound(hop.duration_ms));
    }
    words
}

fn class(owner: &str) -> &'static str {
    COLOURS.into_iter().map(|(name, ..)| name).find(|name| *name == owner).unwrap_or("other")
}

fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for character in printable(text).chars() {
        match character {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            plain => safe.push(plain),
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hop(name: &str, owner: &str, duration_ms: f64) -> serde_json::Value {
        serde_json::json!({ "hop": name, "owner": owner, "certainty": "measured", "duration_ms": duration_ms })
    }

    fn turn(hops: &[serde_json::Value]) -> TurnMeasured {
        let turn = serde_json::json!({ "turn": 1, "mouth_to_ear_ms": 1.0, "hops": hops });
        serde_json::from_value(turn).unwrap()
    }

    /// The x and the width of the bars of an owner.
    fn bars(picture: &str, owner: &str) -> Vec<(f64, f64)> {
        let field = |bar: &str, name: &str| {
            let value = bar.split_once(&format!(" {name}=\"")).unwrap().1.split_once('"').unwrap().0;
            value.parse::<f64>().unwrap()
        };
        let beginning = format!("<rect class=\"{owner}\"");
        let bars = picture.split(&beginning).skip(1);
        bars.filter(|bar| field(bar, "height") > 12.0)
            .map(|bar| (field(bar, "x"), field(bar, "width")))
            .collect()
    }

    #[test]
    fn each_bar_begins_where_the_one_before_ends_and_is_as_long_as_its_hop() {
        let turn = turn(&[hop("capture", "client", 100.0), hop("model", "provider", 300.0)]);
        let picture = svg(&turn, None);
        let [(first, short)] = bars(&picture, "client")[..] else { panic!("{picture}") };
        let [(second, long)] = bars(&picture, "provider")[..] else { panic!("{picture}") };
        assert!((first + short - second).abs() < 0.2, "{first} {short} {second}");
        assert!((long / short - 3.0).abs() < 0.01, "{short} {long}");
    }

    #[test]
    fn the_callers_own_figure_is_drawn_and_told() {
        let turn = turn(&[hop("model", "provider", 300.0)]);
        assert!(!svg(&turn, None).contains(r#"class="heard""#));
        let picture = svg(&turn, Some(Duration::from_millis(310)));
        assert!(picture.contains(r#"<line class="heard""#) && picture.contains("310.0 ms"), "{picture}");
    }

    #[test]
    fn hostile_names_and_figures_stay_text_and_the_picture_stays_finite() {
        let mut hostile = hop("<script>alert('x')</script>", "\"onload=\"", -1.0);
        hostile["certainty"] = "&".into();
        let picture = svg(&turn(&[hostile]), Some(Duration::ZERO));
        assert!(!picture.contains("<script") && !picture.contains("\"onload"), "{picture}");
        assert!(!picture.contains("NaN") && !picture.contains("inf"), "{picture}");
    }
}
