//! The kept record of a run: a page for people, every figure as JSON, every time as CSV.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use super::figures::{Inside, SetUp};
use super::machine::Machine;
use super::round::{Outcome, Round};
use super::summary;

/// Writes `README.md`, `figures.json` and `times.csv` into a folder, which is made.
///
/// # Errors
/// The folder or a file cannot be written.
pub fn write(folder: &Path, command: &str, machine: &Machine, outcome: &Outcome) -> std::io::Result<()> {
    fs::create_dir_all(folder)?;
    fs::write(folder.join("README.md"), page(command, machine, outcome))?;
    let figures = serde_json::to_string_pretty(&figures(command, machine, outcome))?;
    fs::write(folder.join("figures.json"), figures + "\n")?;
    fs::write(folder.join("times.csv"), times(outcome))
}

fn page(command: &str, machine: &Machine, outcome: &Outcome) -> String {
    let Machine { processor, processors, memory_gib, system, load_before, gateway, compiler, commit } =
        machine;
    let rounds: Vec<String> = summary::sizes(outcome)
        .into_iter()
        .map(|size| {
            let lengths =
                outcome.rounds.iter().filter(|round| round.sessions == size).map(|round| round.length);
            let (count, seconds) = (lengths.clone().count(), lengths.sum::<std::time::Duration>().as_secs());
            format!("{count} with {size} session(s), {seconds} s in all")
        })
        .collect();
    format!(
        "# The gateway's own time\n\n\
         ```sh\n{command}\n```\n\n\
         - Gateway: {gateway}, commit {commit}, {compiler}, release build\n\
         - Machine: {processors} × {processor}, {memory_gib} GiB, {system}\n\
         - Load averages before the start: {load_before}\n\
         - Rounds: {}\n\n\
         {}\n{}",
        rounds.join("; "),
        summary::markdown(outcome),
        include_str!("method.md"),
    )
}

fn figures(command: &str, machine: &Machine, outcome: &Outcome) -> Value {
    json!({
        "command": command,
        "machine": machine.to_json(),
        "summary": summary::rows(outcome).iter().map(summary::Row::to_json).collect::<Vec<_>>(),
        "idle_bytes": outcome.idle_bytes,
        "set_ups": outcome.set_ups.iter().map(set_up_json).collect::<Vec<_>>(),
        "set_up_histograms": inside_json(&outcome.set_up_inside),
        "rounds": outcome.rounds.iter().map(round_json).collect::<Vec<_>>(),
    })
}

fn round_json(round: &Round) -> Value {
    json!({
        "sessions": round.sessions,
        "number": round.number,
        "seconds": round.length.as_secs_f64(),
        "gateway_cpu_seconds": round.gateway_cpu.as_secs_f64(),
        "bench_cpu_seconds": round.bench_cpu.as_secs_f64(),
        "resident_bytes": round.resident_bytes,
        "histograms": inside_json(&round.inside),
        "set_ups": round.set_ups.iter().map(set_up_json).collect::<Vec<_>>(),
    })
}

fn inside_json(inside: &Inside) -> Value {
    inside.iter().map(|(name, histogram)| ((*name).to_owned(), histogram.to_json())).collect()
}

fn set_up_json(set_up: &SetUp) -> Value {
    let ms = |time: std::time::Duration| time.as_secs_f64() * 1_000.0;
    let steps: Value =
        set_up.steps.iter().map(|(name, time)| ((*name).to_owned(), json!(ms(*time)))).collect();
    json!({
        "session": set_up.session,
        "steps_ms": steps,
        "audio_at_provider_ms": set_up.audio_at_provider.map(ms),
        "audio_at_caller_ms": set_up.audio_at_caller.map(ms),
    })
}

fn times(outcome: &Outcome) -> String {
    let mut text = String::from("sessions,round,direction,session,microseconds\n");
    for round in &outcome.rounds {
        for (direction, times) in [("ingress", &round.ingress), ("egress", &round.egress)] {
            for (session, time) in times {
                // Writing to a string cannot fail.
                let _ = writeln!(
                    text,
                    "{},{},{direction},{session},{}",
                    round.sessions,
                    round.number,
                    time.as_micros()
                );
            }
        }
    }
    text
}
