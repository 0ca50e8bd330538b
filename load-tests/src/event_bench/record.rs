//! The kept record of a run: a page for people, and every round as JSON.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use super::round::{Cell, Plan};
use super::summary;
use crate::bench::machine::Machine;

/// A finished run.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// What was measured.
    pub plan: Plan,
    /// Every measurement, with those of the discarded round.
    pub cells: Vec<Cell>,
    /// Why who was left out.
    pub failures: Vec<String>,
    /// Where and with what.
    pub machine: Machine,
    /// Versions of the others.
    pub versions: Vec<String>,
    /// Load averages behind the end.
    pub load_after: String,
}

/// Writes `record.md` and `rounds.json` into a folder, which is made.
///
/// # Errors
/// The folder or a file cannot be written.
pub fn write(folder: &Path, command: &str, outcome: &Outcome) -> std::io::Result<()> {
    fs::create_dir_all(folder)?;
    fs::write(folder.join("record.md"), page(command, outcome))?;
    let rounds = serde_json::to_string(&rounds(command, outcome))?;
    // One measurement per line: readable by people and by `diff`.
    fs::write(folder.join("rounds.json"), rounds.replace("},{", "},\n{") + "\n")
}

fn page(command: &str, outcome: &Outcome) -> String {
    let Machine { processor, processors, memory_gib, system, load_before, compiler, commit, .. } =
        &outcome.machine;
    let failures = if outcome.failures.is_empty() {
        String::new()
    } else {
        format!("- Left out: {}\n", outcome.failures.join("; "))
    };
    format!(
        "# The cost of an audio event, beside other gateways\n\n```sh\n{command}\n```\n\n\
         - voxgate: commit {commit}, {compiler}, release build\n\
         - Others: {}\n\
         - Machine: {processors} × {processor}, {memory_gib} GiB, {system}\n\
         - Load averages before the start: {load_before}; behind the end: {}\n\
         - Rounds: {} of {} s a load, after one that was discarded\n\
         {failures}\n{}\n{}",
        outcome.versions.join(", "),
        outcome.load_after,
        outcome.plan.rounds,
        outcome.plan.length.as_secs(),
        summary::markdown(&outcome.cells),
        include_str!("method.md"),
    )
}

fn rounds(command: &str, outcome: &Outcome) -> Value {
    json!({
        "command": command,
        "machine": outcome.machine.to_json(),
        "load_after": outcome.load_after,
        "versions": outcome.versions,
        "left_out": outcome.failures,
        "measurements": outcome.cells.iter().map(cell_json).collect::<Vec<_>>(),
    })
}

fn cell_json(cell: &Cell) -> Value {
    let micros = |share| cell.quantile(share).map(|time| time.as_micros());
    json!({
        "round": cell.round, "discarded": cell.round == 0, "gateway": cell.contender.name(),
        "sessions": cell.load.sessions, "pause_ms": cell.load.pause.as_millis(),
        "sent": cell.sent, "came_back": cell.round_trips.len(),
        "processor_seconds": cell.processor.map(|time| time.as_secs_f64()),
        "round_trip_p50_us": micros(0.5), "round_trip_p99_us": micros(0.99),
        "resident_bytes": cell.resident_bytes,
    })
}
