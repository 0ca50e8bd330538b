//! The figures against the aims.

use std::fmt::Write as _;
use std::time::Duration;

use serde_json::{Value, json};

use super::figures::{SetUp, Times, quantile};
use super::histogram::Histogram;
use super::round::{Outcome, Round};

/// What a figure should be, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Aim {
    /// The middle.
    pub p50: Option<f64>,
    /// The ninety-ninth of a hundred.
    pub p99: Option<f64>,
}

const NO_AIM: Aim = Aim { p50: None, p99: None };
const INGRESS: Aim = Aim { p50: Some(0.3), p99: Some(2.0) };
const EGRESS: Aim = Aim { p50: Some(1.0), p99: Some(5.0) };
const SET_UP: Aim = Aim { p50: Some(200.0), p99: Some(200.0) };

/// One row: a figure at a number of sessions, in milliseconds.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// What was measured.
    pub what: &'static str,
    /// Who measured it: `gateway` or `outside`.
    pub by: &'static str,
    /// Sessions at once.
    pub sessions: usize,
    /// How often.
    pub count: u64,
    /// The middle.
    pub p50: Option<f64>,
    /// The ninety-ninth of a hundred; the greatest of less than a hundred.
    pub p99: Option<f64>,
    /// What it should be.
    pub aim: Aim,
}

impl Row {
    fn inside(what: &'static str, sessions: usize, histogram: &Histogram, aim: Aim) -> Self {
        let ms = |share| histogram.quantile(share).map(|seconds| seconds * 1_000.0);
        Self { what, by: "gateway", sessions, count: histogram.count(), p50: ms(0.5), p99: ms(0.99), aim }
    }

    fn outside(what: &'static str, sessions: usize, times: &[Duration], aim: Aim) -> Self {
        let ms = |share| quantile(times, share).map(|time| time.as_secs_f64() * 1_000.0);
        Self { what, by: "outside", sessions, count: times.len() as u64, p50: ms(0.5), p99: ms(0.99), aim }
    }

    /// Whether the aim is met; nothing without an aim. What was not measured is not met.
    #[must_use]
    pub fn is_met(&self) -> Option<bool> {
        let within = |value: Option<f64>, limit: Option<f64>| {
            limit.map(|limit| value.is_some_and(|value| value <= limit))
        };
        match (within(self.p50, self.aim.p50), within(self.p99, self.aim.p99)) {
            (None, None) => None,
            (p50, p99) => Some(p50.unwrap_or(true) && p99.unwrap_or(true)),
        }
    }

    /// For the record.
    #[must_use]
    pub fn to_json(&self) -> Value {
        json!({
            "what": self.what, "measured_by": self.by, "sessions": self.sessions, "count": self.count,
            "p50_ms": self.p50, "p99_ms": self.p99, "aim_p50_ms": self.aim.p50, "aim_p99_ms": self.aim.p99,
            "aim_met": self.is_met(),
        })
    }
}

/// Every figure at every number of sessions, those with an aim first.
#[must_use]
pub fn rows(outcome: &Outcome) -> Vec<Row> {
    let sizes = sizes(outcome);
    let mut rows = Vec::new();
    for (what, name, aim) in [("ingress", "ingress", INGRESS), ("egress", "egress", EGRESS)] {
        rows.extend(sizes.iter().map(|size| Row::inside(what, *size, &inside(outcome, *size, name), aim)));
    }
    rows.extend(set_up_rows(1, outcome.set_ups.iter()));
    for size in sizes.iter().filter(|size| **size > 1) {
        let set_ups = of_size(outcome, *size).flat_map(|round| &round.set_ups);
        rows.extend(set_up_rows(*size, set_ups));
    }
    for size in &sizes {
        let times = |pick: fn(&Round) -> &Times| -> Vec<Duration> {
            of_size(outcome, *size).flat_map(pick).map(|(_, time)| *time).collect()
        };
        rows.push(Row::outside("ingress, wire to wire", *size, &times(|round| &round.ingress), NO_AIM));
        rows.push(Row::outside("egress, wire to wire", *size, &times(|round| &round.egress), NO_AIM));
        let late = inside(outcome, *size, "pacing_late");
        rows.push(Row::inside("lateness of packets in answers", *size, &late, NO_AIM));
    }
    let answer = outcome.set_up_inside.get("answer").cloned().unwrap_or_default();
    rows.push(Row::inside("SDP answer", 1, &answer, NO_AIM));
    rows
}

fn set_up_rows<'a>(sessions: usize, set_ups: impl Iterator<Item = &'a SetUp> + Clone) -> [Row; 2] {
    let of = |what, pick: fn(&SetUp) -> Option<Duration>| {
        let times: Vec<Duration> = set_ups.clone().filter_map(pick).collect();
        Row::outside(what, sessions, &times, SET_UP)
    };
    [
        of("offer to caller's audio at the provider", |set_up| set_up.audio_at_provider),
        of("offer to first audio at the caller", |set_up| set_up.audio_at_caller),
    ]
}

/// The numbers of sessions of the rounds, in order, each once.
#[must_use]
pub fn sizes(outcome: &Outcome) -> Vec<usize> {
    let mut sizes: Vec<usize> = outcome.rounds.iter().map(|round| round.sessions).collect();
    sizes.dedup();
    sizes
}

fn of_size(outcome: &Outcome, sessions: usize) -> impl Iterator<Item = &Round> + Clone {
    outcome.rounds.iter().filter(move |round| round.sessions == sessions)
}

fn inside(outcome: &Outcome, sessions: usize, name: &str) -> Histogram {
    of_size(outcome, sessions)
        .filter_map(|round| round.inside.get(name))
        .fold(Histogram::default(), |sum, histogram| sum.and(histogram))
}

/// The figures as Markdown: the table, what a session costs, the steps of a set-up, and the verdict.
#[must_use]
pub fn markdown(outcome: &Outcome) -> String {
    let rows = rows(outcome);
    let mut text = String::from(
        "| figure | measured by | sessions | count | p50 ms | p99 ms | aim p50 / p99 | met |\n\
         |---|---|---:|---:|---:|---:|---|---|\n",
    );
    let number = |value: Option<f64>| value.map_or_else(|| "–".to_owned(), |value| format!("{value:.2}"));
    for row in &rows {
        let aim = match (row.aim.p50, row.aim.p99) {
            (None, None) => String::new(),
            (p50, p99) => format!("{} / {}", number(p50), number(p99)),
        };
        let met = row.is_met().map_or("", |met| if met { "yes" } else { "**no**" });
        let (p50, p99) = (number(row.p50), number(row.p99));
        let Row { what, by, sessions, count, .. } = row;
        // Writing to a string cannot fail.
        let _ = writeln!(text, "| {what} | {by} | {sessions} | {count} | {p50} | {p99} | {aim} | {met} |");
    }
    text.push('\n');
    costs(outcome, &mut text);
    steps(outcome, &mut text);
    let missed: Vec<String> = rows
        .iter()
        .filter(|row| row.is_met() == Some(false))
        .map(|row| format!("{} at {} session(s)", row.what, row.sessions))
        .collect();
    let verdict = if missed.is_empty() {
        "Every aim is met.".to_owned()
    } else {
        format!("Missed: {}.", missed.join("; "))
    };
    let _ = writeln!(text, "\n{verdict}");
    text
}

fn costs(outcome: &Outcome, text: &mut String) {
    for size in sizes(outcome) {
        let sum = |pick: fn(&Round) -> Duration| -> f64 {
            of_size(outcome, size).map(|round| pick(round).as_secs_f64()).sum()
        };
        let talked = sum(|round| round.length);
        let memory = of_size(outcome, size).map(|round| round.resident_bytes).max().unwrap_or(0);
        let _ = writeln!(
            text,
            "- {size} session(s): {:.1} ms of the gateway's CPU per second and session; the callers, the tap and \
             the provider took {:.0} % of a core beside it; {:.1} MiB resident, {:.2} MiB per session over the \
             {:.1} MiB of an idle gateway.",
            sum(|round| round.gateway_cpu) / talked / size as f64 * 1_000.0,
            sum(|round| round.bench_cpu) / talked * 100.0,
            mebibytes(memory),
            mebibytes(memory.saturating_sub(outcome.idle_bytes)) / size as f64,
            mebibytes(outcome.idle_bytes),
        );
    }
}

fn mebibytes(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

/// The middle of every step of the set-ups with nobody else there.
fn steps(outcome: &Outcome, text: &mut String) {
    let Some(first) = outcome.set_ups.first() else { return };
    let middle = |index: usize| {
        let times: Vec<Duration> =
            outcome.set_ups.iter().filter_map(|set_up| Some(set_up.steps.get(index)?.1)).collect();
        quantile(&times, 0.5).unwrap_or_default().as_secs_f64() * 1_000.0
    };
    let steps: Vec<String> = first
        .steps
        .iter()
        .enumerate()
        .map(|(index, (name, _))| format!("{} {:.0} ms", name.replace('_', " "), middle(index)))
        .collect();
    let _ = writeln!(text, "- Steps of a set-up since the POST of the offer, p50: {}.", steps.join(", "));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_aim_needs_both_quantiles_and_a_measurement() {
        let times: Vec<Duration> = (1..=100).map(|ms| Duration::from_micros(ms * 100)).collect();
        let row = |p50, p99| Row::outside("x", 1, &times, Aim { p50, p99 }).is_met();
        assert_eq!(row(Some(5.0), Some(9.9)), Some(true));
        assert_eq!(row(Some(5.0), Some(9.8)), Some(false));
        assert_eq!(row(Some(4.9), None), Some(false));
        assert_eq!(row(None, None), None);
        assert_eq!(Row::outside("x", 1, &[], SET_UP).is_met(), Some(false));
    }
}
