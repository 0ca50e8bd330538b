//! What `voxgate call` shows a person.

use std::fmt::Write as _;
use std::time::Duration;

use serde_json::Value;

use crate::turn::TurnMeasured;

/// Columns of the waterfall's bars.
const BAR_WIDTH: usize = 40;

/// The transcript line of an event, if it completes what one side said.
///
/// Transcripts go to the person who made the call and nowhere else.
#[must_use]
pub fn transcript_line(event: &Value) -> Option<String> {
    let (who, text) = match event["type"].as_str()? {
        "conversation.item.input_audio_transcription.completed" => ("You:  ", &event["transcript"]),
        "response.output_audio_transcript.done" => ("Agent:", &event["transcript"]),
        "response.output_text.done" => ("Agent:", &event["text"]),
        _ => return None,
    };
    let text = text.as_str()?.trim();
    (!text.is_empty()).then(|| format!("{who} {}", printable(text)))
}

/// The waterfall of a turn: a line for each hop with owner, duration (`~` if estimated) and a bar that begins where
/// the hop before ends, and what it did while another hop was waited for; then the sums. `wall_clock` is what the caller measured itself for the same turn.
#[must_use]
pub fn waterfall(turn: &TurnMeasured, wall_clock: Option<Duration>) -> String {
    let total: f64 = turn.hops.iter().map(|hop| sound(hop.duration_ms)).sum();
    let hop_width = turn.hops.iter().map(|hop| hop.hop.chars().count()).fold(12, usize::max);
    let owner_width = turn.hops.iter().map(|hop| hop.owner.chars().count()).fold(8, usize::max);
    let mut text = format!("Turn {}: {:.1} ms from mouth to ear\n", turn.turn, turn.mouth_to_ear_ms);
    let mut line = |hop: &str, owner: &str, ms: f64, mark: char, bar: &str| {
        let row = format!("  {hop:<hop_width$}  {owner:<owner_width$} {ms:>9.1} ms {mark} {bar}");
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{}", row.trim_end());
    };
    let mut before = 0.0;
    for hop in &turn.hops {
        let ms = sound(hop.duration_ms);
        let mark = if hop.is_estimated() { '~' } else { ' ' };
        let mut drawn = bar(before, ms, total);
        if sound(hop.overlapped_ms) > 0.0 {
            // Writing to a string cannot fail.
            let _ = write!(drawn, " +{:.1} ms beside others", sound(hop.overlapped_ms));
        }
        line(&printable(&hop.hop), &printable(&hop.owner), ms, mark, &drawn);
        before += ms;
    }
    line("sum", "", total, ' ', "");
    for (owner, ms) in sums_by_owner(turn) {
        line("", &printable(owner), ms, ' ', &format!("{:.0} %", share(ms, total) * 100.0));
    }
    if let Some(wall_clock) = wall_clock {
        let ms = wall_clock.as_secs_f64() * 1_000.0;
        let difference = format!("({:+.1} ms against the gateway's)", ms - turn.mouth_to_ear_ms);
        line("heard here", "", ms, ' ', &difference);
    }
    text
}

/// The owners in the order of their first hop.
pub(crate) fn sums_by_owner(turn: &TurnMeasured) -> Vec<(&str, f64)> {
    let mut sums: Vec<(&str, f64)> = Vec::new();
    for hop in &turn.hops {
        match sums.iter_mut().find(|(owner, _)| *owner == hop.owner) {
            Some((_, sum)) => *sum += sound(hop.duration_ms),
            None => sums.push((&hop.owner, sound(hop.duration_ms))),
        }
    }
    sums
}

/// A hop too short for a column still leaves a mark where it happened.
fn bar(before: f64, ms: f64, total: f64) -> String {
    let column = |ms: f64| (share(ms, total) * BAR_WIDTH as f64).round() as usize;
    let (from, to) = (column(before), column(before + ms));
    let mark = if to > from { "█".repeat(to - from) } else { "▏".to_owned() };
    format!("{}{mark}", " ".repeat(from))
}

pub(crate) fn share(ms: f64, total: f64) -> f64 {
    if total > 0.0 { (ms / total).clamp(0.0, 1.0) } else { 0.0 }
}

/// Durations come over the network: what is no duration counts as none.
pub(crate) const fn sound(ms: f64) -> f64 {
    if ms.is_finite() && ms > 0.0 { ms } else { 0.0 }
}

/// Text from the network must not command the terminal.
pub(crate) fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests;
