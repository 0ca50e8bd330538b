//! From the measurements of all rounds to one figure per case, and to tables a person can read.

use std::fmt::Write as _;

use super::contender::{Contender, Direction};
use super::generator::Rate;
use super::run::{Case, Cell};
use super::serve::Waiting;

/// Processor time per packet, as a multiple of the raw forwarder's.
pub const MOST_OF_RAW: f64 = 1.15;
/// What busy polling may add to the direct way at the middle, in microseconds.
pub const MOST_ADDED_MICROS: f64 = 5.0;

/// The columns of processor time: those that sleep when there is nothing to do.
const ASLEEP: [Contender; 4] =
    [Contender::Raw(Waiting::Block), Contender::Coturn, Contender::TurnRs, Contender::Relay(Waiting::Block)];
/// Everyone who adds a latency.
const LATE: [Contender; 6] = [
    Contender::Raw(Waiting::Block),
    Contender::Raw(Waiting::BusyPoll),
    Contender::Coturn,
    Contender::TurnRs,
    Contender::Relay(Waiting::Block),
    Contender::Relay(Waiting::BusyPoll),
];

/// The measurements that count.
#[derive(Clone, Copy, Debug)]
pub struct Summary<'a>(pub &'a [Cell]);

impl Summary<'_> {
    /// The middle of a figure over all rounds but the first; nothing where it was not measured.
    #[must_use]
    pub fn middle(&self, contender: Contender, case: Case, figure: impl Fn(&Cell) -> f64) -> Option<f64> {
        let cells = self.0.iter();
        let counted = cells.filter(|cell| cell.round > 0 && cell.contender == contender && cell.case == case);
        median(counted.map(figure).filter(|value| value.is_finite()).collect())
    }

    /// Processor time per packet.
    #[must_use]
    pub fn micros(&self, contender: Contender, case: Case) -> Option<f64> {
        self.middle(contender, case, Cell::micros_per_packet)
    }

    /// The middle of the rounds' ratios of processor time per packet to that of the raw forwarder: both of one round ran
    /// within the same minute.
    #[must_use]
    pub fn of_raw(&self, contender: Contender, case: Case) -> Option<f64> {
        let of = |contender: Contender, round: usize| {
            let found = self
                .0
                .iter()
                .find(|cell| (cell.contender, cell.case, cell.round) == (contender, case, round));
            found.map(Cell::micros_per_packet)
        };
        let rounds = 1..=self.0.iter().map(|cell| cell.round).max().unwrap_or(0);
        let ratios = rounds.filter_map(|round| Some(of(contender, round)? / of(ASLEEP[0], round)?));
        median(ratios.filter(|ratio| ratio.is_finite()).collect())
    }

    /// What a contender adds to the direct way: a latency less the middle of the direct one at the same rate.
    #[must_use]
    pub fn added(&self, contender: Contender, case: Case, quantile: usize) -> Option<f64> {
        let direct = Case { direction: Direction::Up, ..case };
        let base = self.middle(Contender::Direct, direct, |cell| cell.latency_micros[0])?;
        let through = self.middle(contender, case, |cell| cell.latency_micros[quantile])?;
        Some(through - base)
    }

    /// Every case that was measured, in order.
    #[must_use]
    pub fn cases(&self) -> Vec<Case> {
        let mut cases: Vec<Case> = Vec::new();
        for cell in self.0.iter().filter(|cell| cell.contender != Contender::Direct) {
            if !cases.contains(&cell.case) {
                cases.push(cell.case);
            }
        }
        let place = |rate| if let Rate::PerSecond(rate) = rate { rate } else { u32::MAX };
        cases.sort_by_key(|case| (case.direction, place(case.rate), case.flows));
        cases
    }

    /// Whether the relay's processor time meets the aim in a case: near the raw forwarder's, and below every other's.
    #[must_use]
    pub fn is_met(&self, case: Case) -> Option<bool> {
        let relay = Contender::Relay(Waiting::Block);
        let own = self.micros(relay, case)?;
        let others = [Contender::Coturn, Contender::TurnRs];
        let is_lowest =
            others.iter().all(|other| self.micros(*other, case).is_none_or(|micros| own < micros));
        Some(self.of_raw(relay, case)? <= MOST_OF_RAW && is_lowest)
    }
}

fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    if values.len() % 2 == 1 {
        return values.get(middle).copied();
    }
    Some(f64::midpoint(*values.get(middle.checked_sub(1)?)?, *values.get(middle)?))
}

/// The tables as Markdown.
#[must_use]
pub fn markdown(cells: &[Cell]) -> String {
    let summary = Summary(cells);
    let mut text = String::new();
    processor_time(&summary, &mut text);
    latency(&summary, &mut text);
    most(&summary, &mut text);
    text
}

fn processor_time(summary: &Summary<'_>, text: &mut String) {
    text.push_str(
        "### Processor time per delivered packet, µs\n\n\
         In brackets: as a multiple of the raw forwarder, the middle of the rounds' ratios.\n\n\
         | way | packets/s | flows | raw | coturn | turn-rs | relay | aim met |\n|---|---:|---:|---:|---:|---:|---:|---|\n",
    );
    for case in summary.cases() {
        row_head(case, text);
        for contender in ASLEEP {
            let micros = summary.micros(contender, case).map(|micros| format!("{micros:.2}"));
            let ratio = summary.of_raw(contender, case).filter(|_| contender != ASLEEP[0]);
            let ratio = ratio.map_or(String::new(), |ratio| format!(" ({ratio:.2})"));
            put(text, &micros.map_or_else(|| "–".to_owned(), |micros| micros + &ratio));
        }
        put(text, summary.is_met(case).map_or("", |met| if met { "yes" } else { "**no**" }));
        text.push('\n');
    }
}

fn latency(summary: &Summary<'_>, text: &mut String) {
    text.push_str(
        "\n### Latency added to the direct way, µs: p50 / p99 / p99.9\n\n\
         | way | packets/s | flows | raw | raw, busy poll | coturn | turn-rs | relay | relay, busy poll |\n\
         |---|---:|---:|---:|---:|---:|---:|---:|---:|\n",
    );
    for case in summary.cases().into_iter().filter(|case| case.rate != Rate::Most) {
        row_head(case, text);
        for contender in LATE {
            let quantiles = [0, 1, 2].map(|quantile| summary.added(contender, case, quantile));
            let [Some(p50), Some(p99), Some(p999)] = quantiles else {
                put(text, "–");
                continue;
            };
            put(text, &format!("{p50:.1} / {p99:.0} / {p999:.0}"));
        }
        text.push('\n');
    }
}

fn most(summary: &Summary<'_>, text: &mut String) {
    text.push_str(
        "\n### At most: thousands of delivered packets per second of its processor time\n\n\
         In brackets: the share of the core it used; below 97 % the generator was the limit, not the contender.\n\n\
         | way | flows | raw | raw, busy poll | coturn | turn-rs | relay | relay, busy poll |\n\
         |---|---:|---:|---:|---:|---:|---:|---:|\n",
    );
    for case in summary.cases().into_iter().filter(|case| case.rate == Rate::Most) {
        let _ = write!(text, "| {} | {} |", case.direction.name(), case.flows);
        for contender in LATE {
            let share = summary.middle(contender, case, Cell::core_share);
            let packets = summary.middle(contender, case, Cell::packets_per_core);
            let cell = packets.zip(share).map_or_else(
                || "–".to_owned(),
                |(packets, share)| format!("{:.0} ({:.0} %)", packets / 1e3, share * 100.0),
            );
            put(text, &cell);
        }
        text.push('\n');
    }
}

fn row_head(case: Case, text: &mut String) {
    let rate = match case.rate {
        Rate::PerSecond(rate) => rate.to_string(),
        Rate::Most => "most".to_owned(),
    };
    // Writing to a string cannot fail.
    let _ = write!(text, "| {} | {rate} | {} |", case.direction.name(), case.flows);
}

fn put(text: &mut String, cell: &str) {
    let _ = write!(text, " {cell} |");
}
