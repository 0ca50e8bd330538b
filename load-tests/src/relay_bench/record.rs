//! The kept record of a run: a page for people, every round as JSON, and a picture.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use super::contender::Surroundings;
use super::generator::Rate;
use super::memory::Memory;
use super::picture;
use super::run::{Cell, Plan};
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
    /// What a flow weighs, if that was asked for.
    pub memory: Option<Memory>,
    /// Where and with what.
    pub machine: Machine,
    /// Versions of the others.
    pub versions: Vec<(&'static str, String)>,
    /// Load averages behind the end.
    pub load_after: String,
}

/// The versions of the contenders that are not part of this project.
#[must_use]
pub fn versions(around: &Surroundings) -> Vec<(&'static str, String)> {
    let version = |program: &Path| {
        let output = Command::new(program).arg("--version").output();
        let text =
            output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
        let line = text.lines().rfind(|line| line.contains(|c: char| c.is_ascii_digit()));
        line.map_or_else(|| "not found".to_owned(), |line| line.trim().to_owned())
    };
    vec![("coturn", version(&around.coturn)), ("turn-rs", version(&around.turn_rs))]
}

/// Load averages over 1, 5 and 15 minutes.
#[must_use]
pub fn load_averages() -> String {
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    load.split_whitespace().take(3).collect::<Vec<_>>().join(" ")
}

/// Writes `record.md`, `rounds.json` and `processor-time.svg` into a folder, which is made.
///
/// # Errors
/// The folder or a file cannot be written.
pub fn write(folder: &Path, command: &str, outcome: &Outcome) -> std::io::Result<()> {
    fs::create_dir_all(folder)?;
    fs::write(folder.join("record.md"), page(command, outcome))?;
    let rounds = serde_json::to_string(&rounds(command, outcome))?;
    // One measurement per line: readable by people and by `diff`.
    fs::write(folder.join("rounds.json"), rounds.replace("},{", "},\n{") + "\n")?;
    fs::write(folder.join("processor-time.svg"), picture::processor_time(&outcome.cells))
}

fn page(command: &str, outcome: &Outcome) -> String {
    let Machine { processor, processors, memory_gib, system, load_before, compiler, commit, .. } =
        &outcome.machine;
    let versions: Vec<String> =
        outcome.versions.iter().map(|(name, version)| format!("{name} {version}")).collect();
    let Plan { rounds, length, .. } = outcome.plan;
    let failures = if outcome.failures.is_empty() {
        String::new()
    } else {
        format!("- Left out: {}\n", outcome.failures.join("; "))
    };
    format!(
        "# The relay's speed\n\n```sh\n{command}\n```\n\n\
         - Relay: commit {commit}, {compiler}, release build\n\
         - Others: {}\n\
         - Machine: {processors} × {processor}, {memory_gib} GiB, {system}\n\
         - Load averages before the start: {load_before}; behind the end: {} (one generator and one contender make 1 to 2)\n\
         - Rounds: {rounds} of {} ms per case, after one that was discarded\n\
         {failures}\n{}\n{}\n![Processor time per packet](processor-time.svg)\n\n{}",
        versions.join(", "),
        outcome.load_after,
        length.as_millis(),
        summary::markdown(&outcome.cells),
        outcome.memory.map_or(String::new(), |memory| memory_line(&memory)),
        include_str!("method.md"),
    )
}

/// What a flow weighs, as a sentence.
#[must_use]
pub fn memory_line(memory: &Memory) -> String {
    let met =
        memory.bytes_per_flow() <= 300.0 && [memory.forwarded_up, memory.forwarded_down] == [memory.flows; 2];
    format!(
        "### Memory\n\n{} flows confirmed on one relay: {:.0} bytes per flow ({:.1} MiB resident before the first, {:.1} \
         MiB with all); {} forwarded a datagram up, {} down. Aim: at most 300 bytes, all forward: {}.\n",
        memory.flows,
        memory.bytes_per_flow(),
        memory.before as f64 / f64::from(1 << 20),
        memory.after as f64 / f64::from(1 << 20),
        memory.forwarded_up,
        memory.forwarded_down,
        if met { "met" } else { "**not met**" },
    )
}

fn rounds(command: &str, outcome: &Outcome) -> Value {
    json!({
        "command": command,
        "machine": outcome.machine.to_json(),
        "load_after": outcome.load_after,
        "versions": outcome.versions.iter().map(|(name, version)| json!([name, version])).collect::<Vec<_>>(),
        "left_out": outcome.failures,
        "memory": outcome.memory.map(|memory| json!({
            "flows": memory.flows, "resident_before": memory.before, "resident_after": memory.after,
            "forwarded_up": memory.forwarded_up, "forwarded_down": memory.forwarded_down,
        })),
        "measurements": outcome.cells.iter().map(cell_json).collect::<Vec<_>>(),
    })
}

fn cell_json(cell: &Cell) -> Value {
    let rate = match cell.case.rate {
        Rate::PerSecond(rate) => json!(rate),
        Rate::Most => json!("most"),
    };
    let [p50, p99, p999] = cell.latency_micros;
    json!({
        "round": cell.round, "discarded": cell.round == 0, "contender": cell.contender.name(),
        "way": cell.case.direction.name(), "flows": cell.case.flows, "rate": rate,
        "sent": cell.sent, "delivered": cell.delivered, "seconds": cell.seconds,
        "processor_seconds": cell.processor_seconds,
        "latency_p50_us": p50, "latency_p99_us": p99, "latency_p999_us": p999,
    })
}
