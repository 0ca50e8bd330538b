//! What a run says: a table for people, and the kept record.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use super::caller::PERIOD;
use super::difference::{Mean, more};
use super::meter::Unit;
use super::round::{Plan, Round, Side, Used};
use crate::bench::machine::Machine;

/// What measuring may cost, as a share of what the call costs without it.
pub const MOST: f64 = 0.01;

/// A finished run.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// What was measured.
    pub plan: Plan,
    /// Every round.
    pub rounds: Vec<Round>,
    /// Where and with what.
    pub machine: Machine,
    /// Load averages behind the end.
    pub load_after: String,
}

impl Outcome {
    fn rates(&self, side: Side) -> Vec<f64> {
        let used = |round: &Round| match side {
            Side::On => round.on,
            Side::Off => round.off,
        };
        self.rounds.iter().map(|round| used(round).rate(self.plan.calls)).collect()
    }

    /// What measuring costs, as a share of what the call costs without it; nothing of one round.
    #[must_use]
    pub fn share(&self) -> Option<Mean> {
        let pairs: Vec<(f64, f64)> = self.rates(Side::On).into_iter().zip(self.rates(Side::Off)).collect();
        more(&pairs)
    }
}

/// The table as Markdown, and the verdict.
#[must_use]
pub fn markdown(outcome: &Outcome) -> String {
    let (unit, scale) = match outcome.plan.unit {
        Unit::ProcessorTime => ("processor time per second of a call, ms", 1e-6),
        Unit::Instructions => ("million instructions per second of a call", 1e-6),
    };
    let mut text = format!("| measuring | {unit} | answers | turns measured |\n|---|---:|---:|---:|\n");
    for side in [Side::Off, Side::On] {
        let used = |round: &Round| if side == Side::On { round.on } else { round.off };
        let answers: u64 = outcome.rounds.iter().map(|round| used(round).told.answers).sum();
        let turns: u64 = outcome.rounds.iter().map(|round| used(round).told.turns).sum();
        let rates = outcome.rates(side);
        let mean = rates.iter().sum::<f64>() / rates.len().max(1) as f64 * scale;
        // Writing to a string cannot fail.
        let _ = writeln!(text, "| {} | {mean:.3} | {answers} | {turns} |", side.as_str());
    }
    let verdict = match outcome.share() {
        None => "One round says nothing of how sure it is.".to_owned(),
        Some(share) => {
            let met = if share.most() <= MOST {
                "met"
            } else if share.mean - share.error > MOST {
                "**missed**"
            } else {
                "**not decided by this run**"
            };
            format!(
                "Measuring costs {:.2} % ± {:.2} of what the call costs without it (mean of {} rounds, 95 % confidence). Aim: at \
                 most {:.0} %: {met}.",
                share.mean * 100.0,
                share.error * 100.0,
                outcome.rounds.len(),
                MOST * 100.0
            )
        }
    };
    text + "\n" + &verdict + "\n"
}

/// Writes `record.md` and `rounds.json`, with the unit before their names where instructions were counted, into a folder, which
/// is made.
///
/// # Errors
/// The folder or a file cannot be written.
pub fn write(folder: &Path, command: &str, outcome: &Outcome) -> std::io::Result<()> {
    fs::create_dir_all(folder)?;
    let before = match outcome.plan.unit {
        Unit::ProcessorTime => "",
        Unit::Instructions => "instructions-",
    };
    fs::write(folder.join(format!("{before}record.md")), page(command, outcome))?;
    let rounds = serde_json::to_string(&rounds(command, outcome))?;
    // One round per line: readable by people and by `diff`.
    fs::write(folder.join(format!("{before}rounds.json")), rounds.replace("},{", "},\n{") + "\n")
}

fn page(command: &str, outcome: &Outcome) -> String {
    let Machine { processor, processors, memory_gib, system, load_before, compiler, commit, .. } =
        &outcome.machine;
    let Plan { rounds, calls, length, unit, .. } = &outcome.plan;
    let (parts, how) = match unit {
        Unit::ProcessorTime => (2, "both gateways at the same time, sides changed half way"),
        Unit::Instructions => (1, "one gateway after the other under callgrind"),
    };
    format!(
        "# What it costs to measure a call\n\n```sh\n{command}\n```\n\n\
         - Gateway: commit {commit}, {compiler}, release build\n\
         - Machine: {processors} × {processor}, {memory_gib} GiB, {system}\n\
         - Load averages before the start: {load_before}; behind the end: {}\n\
         - {rounds} rounds of {} s a side with {calls} call(s) a side, a question every {} s; {how}\n\n{}\n{}",
        outcome.load_after,
        length.as_secs() * parts,
        PERIOD.as_secs(),
        markdown(outcome),
        include_str!("method.md"),
    )
}

fn rounds(command: &str, outcome: &Outcome) -> Value {
    let used = |used: &Used| {
        json!({
            "amount": used.amount, "seconds": used.length.as_secs_f64(), "answers": used.told.answers,
            "turns_measured": used.told.turns,
        })
    };
    let unit = match outcome.plan.unit {
        Unit::ProcessorTime => "nanoseconds of processor time",
        Unit::Instructions => "instructions",
    };
    let rounds: Vec<Value> = outcome
        .rounds
        .iter()
        .map(|round| json!({ "on": used(&round.on), "off": used(&round.off) }))
        .collect();
    json!({
        "command": command,
        "machine": outcome.machine.to_json(),
        "load_after": outcome.load_after,
        "unit": unit,
        "calls": outcome.plan.calls,
        "share": outcome.share().map(|share| json!({ "mean": share.mean, "error": share.error })),
        "rounds": rounds,
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use voxgate_caller::Speech;

    use super::super::caller::Told;
    use super::*;

    fn outcome(amounts: &[(u64, u64)]) -> Outcome {
        let used =
            |amount, turns| Used { amount, length: Duration::from_secs(1), told: Told { answers: 4, turns } };
        let rounds = amounts.iter().map(|(on, off)| Round { on: used(*on, 4), off: used(*off, 0) }).collect();
        let plan = Plan {
            gateway: "voxgate".into(),
            question: Speech::from_samples(vec![0; 480]),
            unit: Unit::ProcessorTime,
            rounds: amounts.len(),
            calls: 2,
            length: Duration::from_secs(1),
        };
        Outcome { plan, rounds, machine: Machine::default(), load_after: String::new() }
    }

    #[test]
    fn the_aim_is_met_or_missed_only_if_the_whole_interval_says_so() {
        let says = |amounts: &[(u64, u64)], verdict: &str| {
            let text = markdown(&outcome(amounts));
            assert!(text.contains(verdict), "{text}");
        };
        says(&[(20_100_000, 20_000_000), (20_104_000, 20_000_000)], "costs 0.51 % ± 0.13");
        says(&[(20_100_000, 20_000_000), (20_102_000, 20_000_000)], "%: met.");
        says(&[(20_400_000, 20_000_000), (20_402_000, 20_000_000)], "**missed**");
        says(&[(20_400_000, 20_000_000), (20_000_000, 20_000_000)], "**not decided by this run**");
        says(&[(20_400_000, 20_000_000)], "One round says nothing");
        says(&[(20_000_000, 10_000_000), (20_000_000, 10_000_000)], "| off | 5.000 | 8 | 0 |");
    }
}
