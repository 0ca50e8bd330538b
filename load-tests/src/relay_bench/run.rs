//! Round after round, everyone in turn.

use std::io::Write as _;
use std::time::{Duration, Instant};

use anyhow::ensure;

use super::contender::{Contender, Direction, Running, Surroundings, start};
use super::generator::{Generator, Load, Rate};
use super::link::sweep;
use super::sample::Sample;

/// How long a chunk of a sweep may take.
const SWEEP_PATIENCE: Duration = Duration::from_secs(2);

/// What is measured, and how often.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Who, in the order of a round.
    pub contenders: Vec<Contender>,
    /// Numbers of flows.
    pub flows: Vec<u32>,
    /// Packets per second.
    pub rates: Vec<Rate>,
    /// Rounds that count; one more goes before them and is discarded.
    pub rounds: usize,
    /// Before each measurement.
    pub warm_up: Duration,
    /// Each measurement.
    pub length: Duration,
}

impl Plan {
    /// For the record: about a quarter of an hour.
    #[must_use]
    pub fn full() -> Self {
        Self {
            contenders: Contender::ALL.to_vec(),
            flows: vec![1, 100, 10_000],
            rates: vec![Rate::PerSecond(5_000), Rate::PerSecond(50_000), Rate::Most],
            rounds: 6,
            warm_up: Duration::from_millis(150),
            length: Duration::from_millis(800),
        }
    }

    /// For a person in a hurry: less than two minutes, with rough tails.
    #[must_use]
    pub fn quick() -> Self {
        Self {
            rounds: 1,
            warm_up: Duration::from_millis(100),
            length: Duration::from_millis(250),
            ..Self::full()
        }
    }
}

/// Where a measurement belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Case {
    /// Which way.
    pub direction: Direction,
    /// How many flows.
    pub flows: u32,
    /// How many packets per second.
    pub rate: Rate,
}

/// One measurement, by whom and when.
#[derive(Clone, Debug)]
pub struct Cell {
    /// Who.
    pub contender: Contender,
    /// What.
    pub case: Case,
    /// In which round; round 0 is discarded.
    pub round: usize,
    /// Packets sent.
    pub sent: u64,
    /// Packets delivered.
    pub delivered: u64,
    /// Seconds it was counted.
    pub seconds: f64,
    /// Seconds of processor time of the contender.
    pub processor_seconds: f64,
    /// Latency p50, p99 and p99.9 in microseconds.
    pub latency_micros: [f64; 3],
}

impl Cell {
    fn new(contender: Contender, case: Case, round: usize, sample: &Sample) -> Self {
        Self {
            contender,
            case,
            round,
            sent: sample.sent,
            delivered: sample.delivered,
            seconds: sample.length.as_secs_f64(),
            processor_seconds: sample.processor.as_secs_f64(),
            latency_micros: [0.5, 0.99, 0.999].map(|share| sample.latency_micros(share).unwrap_or(f64::NAN)),
        }
    }

    /// Processor time of the contender per delivered packet, in microseconds.
    #[must_use]
    pub fn micros_per_packet(&self) -> f64 {
        self.processor_seconds * 1e6 / self.delivered as f64
    }

    /// Delivered packets per second of processor time.
    #[must_use]
    pub fn packets_per_core(&self) -> f64 {
        self.delivered as f64 / self.processor_seconds
    }

    /// Delivered packets per second.
    #[must_use]
    pub fn packets_per_second(&self) -> f64 {
        self.delivered as f64 / self.seconds
    }

    /// The share of one core the contender used.
    #[must_use]
    pub fn core_share(&self) -> f64 {
        self.processor_seconds / self.seconds
    }

    /// The share of the sent packets that came.
    #[must_use]
    pub fn delivered_share(&self) -> f64 {
        self.delivered as f64 / self.sent as f64
    }
}

/// Runs the plan. A contender that cannot be started is left out from then on, and why is part of the result.
///
/// # Errors
/// A measurement fails.
pub fn run(plan: &Plan, around: &Surroundings) -> anyhow::Result<(Vec<Cell>, Vec<String>)> {
    let mut generator = Generator::default();
    let (mut cells, mut failures) = (Vec::new(), Vec::new());
    let mut contenders = plan.contenders.clone();
    let begin = Instant::now();
    for round in 0..=plan.rounds {
        for flows in &plan.flows {
            for contender in contenders.clone() {
                progress(
                    begin,
                    &format!("round {round} of {}: {}, {flows} flows", plan.rounds, contender.name()),
                )?;
                match start(contender, *flows, around) {
                    Ok(running) => {
                        measure(plan, contender, *flows, round, running, &mut generator, &mut cells)?;
                    }
                    Err(error) => {
                        progress(begin, &format!("left out: {error:#}"))?;
                        failures.push(format!("{error:#}"));
                        contenders.retain(|other| *other != contender);
                    }
                }
            }
        }
    }
    Ok((cells, failures))
}

fn measure(
    plan: &Plan,
    contender: Contender,
    flows: u32,
    round: usize,
    mut running: Running,
    generator: &mut Generator,
    cells: &mut Vec<Cell>,
) -> anyhow::Result<()> {
    let clock = running.process.as_ref().map(super::child::Process::clock);
    for (direction, link) in &mut running.links {
        let forwarded = sweep(link, generator.next_run(), SWEEP_PATIENCE)?;
        ensure!(
            forwarded == link.flows.len(),
            "{} forwards {forwarded} of {flows} flows {}",
            contender.name(),
            direction.name()
        );
        for rate in &plan.rates {
            let load = Load { rate: *rate, warm_up: plan.warm_up, length: plan.length };
            let sample = generator.run(link, load, clock)?;
            let case = Case { direction: *direction, flows, rate: *rate };
            cells.push(Cell::new(contender, case, round, &sample));
        }
    }
    Ok(())
}

/// Tells a waiting person what happens.
fn progress(begin: Instant, text: &str) -> std::io::Result<()> {
    writeln!(std::io::stderr(), "{:>5} s  {text}", begin.elapsed().as_secs())
}
