//! From the measurements of all rounds to one figure a cell, as a table a person can read.

use std::fmt::Write as _;
use std::time::Duration;

use super::contender::Contender;
use super::round::{Cell, Load};

/// What voxgate may cost, as a share of the cheapest of the others.
pub const MOST_OF_BEST: f64 = 0.5;

/// The measurements that count.
#[derive(Clone, Copy, Debug)]
pub struct Summary<'a>(pub &'a [Cell]);

impl Summary<'_> {
    /// The middle of a figure over all rounds but the first.
    #[must_use]
    pub fn middle(
        &self,
        contender: Contender,
        load: Load,
        figure: impl Fn(&Cell) -> Option<Duration>,
    ) -> Option<Duration> {
        let counted =
            self.0.iter().filter(|cell| (cell.contender, cell.load) == (contender, load) && cell.round > 0);
        let mut values: Vec<Duration> = counted.filter_map(figure).collect();
        values.sort_unstable();
        values.get(values.len() / 2).copied()
    }

    /// What a contender adds to the direct way: the middle over the rounds of the difference within one round.
    #[must_use]
    pub fn added(&self, contender: Contender, load: Load, share: f64) -> Option<f64> {
        let of = |round, contender| {
            let found = self
                .0
                .iter()
                .find(|cell| (cell.round, cell.contender, cell.load) == (round, contender, load));
            found.and_then(|cell| cell.quantile(share)).map(|time| time.as_secs_f64() * 1e3)
        };
        let rounds = 1..=self.0.iter().map(|cell| cell.round).max()?;
        let mut values: Vec<f64> =
            rounds.filter_map(|round| Some(of(round, contender)? - of(round, Contender::Direct)?)).collect();
        values.sort_by(f64::total_cmp);
        values.get(values.len() / 2).copied()
    }

    /// Processor time of voxgate per event as a share of the cheapest other.
    #[must_use]
    pub fn of_best(&self, load: Load) -> Option<f64> {
        let per_event = |contender| self.middle(contender, load, Cell::processor_per_event);
        let best = [Contender::Smg, Contender::Litellm].into_iter().filter_map(per_event).min()?;
        Some(per_event(Contender::Voxgate)?.as_secs_f64() / best.as_secs_f64())
    }

    /// Processor time above the pipe's, of voxgate as a share of the cheapest other's: what the gateways themselves do, without
    /// what the sockets cost each of them.
    #[must_use]
    pub fn above_pipe(&self, load: Load) -> Option<f64> {
        let per_event = |contender| self.middle(contender, load, Cell::processor_per_event);
        let pipe = per_event(Contender::Pipe)?;
        let best = [Contender::Smg, Contender::Litellm].into_iter().filter_map(per_event).min()?;
        let own = |time: Duration| time.as_secs_f64() - pipe.as_secs_f64();
        Some(own(per_event(Contender::Voxgate)?) / own(best))
    }

    /// Whether a gateway that did nothing but copy would use no more than it may.
    #[must_use]
    pub fn is_within_reach(&self, load: Load) -> bool {
        let per_event = |contender| self.middle(contender, load, Cell::processor_per_event);
        let best = [Contender::Smg, Contender::Litellm].into_iter().filter_map(per_event).min();
        best.zip(per_event(Contender::Pipe)).is_some_and(|(best, pipe)| pipe <= best.mul_f64(MOST_OF_BEST))
    }

    fn loads(&self) -> Vec<Load> {
        let mut loads: Vec<Load> = self.0.iter().map(|cell| cell.load).collect();
        loads.sort_unstable();
        loads.dedup();
        loads
    }

    fn contenders(&self) -> Vec<Contender> {
        let mut contenders: Vec<Contender> = self.0.iter().map(|cell| cell.contender).collect();
        contenders.sort_unstable();
        contenders.dedup();
        contenders
    }
}

/// The table as Markdown.
#[must_use]
pub fn markdown(cells: &[Cell]) -> String {
    let summary = Summary(cells);
    let mut text = String::from(
        "| sessions | gateway | processor time per event, µs | added latency p50 / p99, ms | came back | memory, MiB |\n\
         |---:|---|---:|---:|---:|---:|\n",
    );
    for load in summary.loads() {
        for contender in summary.contenders() {
            row(&summary, load, contender, &mut text);
        }
    }
    for load in summary.loads() {
        if let Some(share) = summary.of_best(load) {
            let met = if share <= MOST_OF_BEST { "met" } else { "**not met**" };
            // Writing to a string cannot fail.
            let _ = writeln!(
                text,
                "\nWith {} sessions voxgate uses {share:.2} of the processor time of the best other. Aim: at most \
                 {MOST_OF_BEST}: {met}.",
                load.sessions
            );
        }
        if let Some(share) = summary.above_pipe(load) {
            let _ = writeln!(
                text,
                "Above what the pipe uses: {share:.2} of what the best other uses above it. Half of the best other is {}.",
                if summary.is_within_reach(load) {
                    "more than the pipe uses"
                } else {
                    "less than the pipe itself uses"
                }
            );
        }
    }
    text
}

fn row(summary: &Summary<'_>, load: Load, contender: Contender, text: &mut String) {
    let counted =
        || summary.0.iter().filter(|cell| (cell.contender, cell.load) == (contender, load) && cell.round > 0);
    let sent: u64 = counted().map(|cell| cell.sent).sum();
    let back: usize = counted().map(|cell| cell.round_trips.len()).sum();
    let processor = summary.middle(contender, load, Cell::processor_per_event);
    let processor =
        processor.map_or_else(|| "–".to_owned(), |time| format!("{:.1}", time.as_secs_f64() * 1e6));
    let added = [0.5, 0.99].map(|share| summary.added(contender, load, share));
    let latency = match (contender, added) {
        (Contender::Direct, _) => {
            let of = |share| summary.middle(contender, load, |cell| cell.quantile(share)).unwrap_or_default();
            format!("({:.2} / {:.2} in all)", of(0.5).as_secs_f64() * 1e3, of(0.99).as_secs_f64() * 1e3)
        }
        (_, [Some(p50), Some(p99)]) => format!("{p50:.2} / {p99:.2}"),
        _ => "–".to_owned(),
    };
    let memory = counted().filter_map(|cell| cell.resident_bytes).max();
    let memory = memory.map_or_else(|| "–".to_owned(), |bytes| (bytes >> 20).to_string());
    // Writing to a string cannot fail.
    let _ = writeln!(
        text,
        "| {} | {} | {processor} | {latency} | {back} of {sent} | {memory} |",
        load.sessions,
        contender.name()
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOAD: Load = Load { sessions: 8, pause: Duration::from_millis(20) };

    fn cell(round: usize, contender: Contender, processor_ms: u64, trip_ms: u64) -> Cell {
        Cell {
            round,
            contender,
            load: LOAD,
            sent: 100,
            round_trips: vec![Duration::from_millis(trip_ms); 100],
            processor: (contender != Contender::Direct).then(|| Duration::from_millis(processor_ms)),
            resident_bytes: None,
        }
    }

    #[test]
    fn the_first_round_is_discarded_and_latency_is_compared_within_a_round() {
        let cells = [
            cell(0, Contender::Voxgate, 900, 99),
            cell(1, Contender::Direct, 0, 1),
            cell(1, Contender::Voxgate, 4, 2),
            cell(1, Contender::Smg, 10, 3),
            cell(2, Contender::Direct, 0, 11),
            cell(2, Contender::Voxgate, 4, 12),
            cell(2, Contender::Smg, 10, 13),
        ];
        let summary = Summary(&cells);
        assert_eq!(summary.added(Contender::Voxgate, LOAD, 0.5), Some(1.0));
        assert_eq!(summary.of_best(LOAD).map(|share| (share * 100.0).round()), Some(40.0));
        assert_eq!(summary.above_pipe(LOAD), None, "no pipe was measured");
        assert!(markdown(&cells).contains("| 8 | voxgate | 40.0 | 1.00 / 1.00 | 200 of 200 | – |"));
    }

    #[test]
    fn what_the_sockets_cost_everybody_is_told_apart() {
        let cells = [
            cell(1, Contender::Pipe, 6, 2),
            cell(1, Contender::Voxgate, 8, 2),
            cell(1, Contender::Smg, 10, 3),
            cell(1, Contender::Litellm, 40, 3),
        ];
        let summary = Summary(&cells);
        assert_eq!(summary.above_pipe(LOAD).map(|share| (share * 100.0).round()), Some(50.0));
        assert!(!summary.is_within_reach(LOAD));
        assert!(markdown(&cells).contains("Half of the best other is less than the pipe itself uses."));
    }
}
