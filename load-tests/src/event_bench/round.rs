//! The rounds: everyone takes a turn in each.

use std::io::Write as _;
use std::time::{Duration, Instant};

use anyhow::Context as _;

use super::client::{Client, Seen};
use super::contender::{Contender, Running, Surroundings};

/// A load.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Load {
    /// Sessions at once.
    pub sessions: u32,
    /// Time between two pieces of one session. A piece holds 20 ms, so 20 ms is a conversation.
    pub pause: Duration,
}

/// How much is measured.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Who.
    pub contenders: Vec<Contender>,
    /// Under which loads.
    pub loads: Vec<Load>,
    /// So many rounds, after one that is discarded.
    pub rounds: usize,
    /// How long each load is held.
    pub length: Duration,
}

impl Plan {
    /// For the record: about ten minutes.
    #[must_use]
    pub fn full() -> Self {
        Self {
            contenders: Contender::ALL.to_vec(),
            loads: loads(),
            rounds: 5,
            length: Duration::from_secs(10),
        }
    }

    /// For a person in a hurry: a minute and a half.
    #[must_use]
    pub fn quick() -> Self {
        Self { rounds: 1, length: Duration::from_secs(5), ..Self::full() }
    }
}

fn loads() -> Vec<Load> {
    let pause = Duration::from_millis(20);
    vec![Load { sessions: 1, pause }, Load { sessions: 8, pause }]
}

/// One measurement.
#[derive(Clone, Debug)]
pub struct Cell {
    /// Number of the round; 0 is discarded.
    pub round: usize,
    /// Who.
    pub contender: Contender,
    /// Under which load.
    pub load: Load,
    /// Pieces of audio the clients sent.
    pub sent: u64,
    /// Round trips of those that came back, ascending.
    pub round_trips: Vec<Duration>,
    /// What the gateway's process used, user and system, while the clients talked; none for the direct way.
    pub processor: Option<Duration>,
    /// The gateway's resident memory at the end, in bytes; none for the direct way.
    pub resident_bytes: Option<u64>,
}

impl Cell {
    /// Processor time of the gateway for a piece that went to the vendor and came back.
    #[must_use]
    pub fn processor_per_event(&self) -> Option<Duration> {
        let events = u32::try_from(self.round_trips.len()).ok().filter(|events| *events > 0)?;
        Some(self.processor? / events)
    }

    /// The round trip below which a share of them lie.
    #[must_use]
    pub fn quantile(&self, share: f64) -> Option<Duration> {
        let last = self.round_trips.len().checked_sub(1)?;
        self.round_trips.get((share * last as f64).round() as usize).copied()
    }
}

/// Measures; reports progress to standard error. Gives the measurements, and why who was left out.
///
/// # Errors
/// No runtime. A contender that fails is left out.
pub fn run(plan: &Plan, around: &Surroundings) -> anyhow::Result<(Vec<Cell>, Vec<String>)> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (mut cells, mut failures, mut running) = (Vec::new(), Vec::new(), Vec::new());
    for contender in &plan.contenders {
        say(&format!("starting {}", contender.name()));
        match Running::start(*contender, around) {
            Ok(ready) => running.push((*contender, ready)),
            Err(error) => failures.push(format!("{}: {error:#}", contender.name())),
        }
    }
    for round in 0..=plan.rounds {
        for load in &plan.loads {
            // Another order in every round, so that nobody always follows the same neighbour.
            for turn in 0..running.len() {
                let (contender, ready) = &running[(turn + round) % running.len()];
                say(&format!(
                    "round {round} of {}, {} sessions, {}",
                    plan.rounds,
                    load.sessions,
                    contender.name()
                ));
                let outcome = runtime.block_on(measure(ready, *load, plan.length));
                match outcome {
                    Ok((seen, processor, resident_bytes)) => {
                        cells.push(cell((round, *contender, *load), seen, processor, resident_bytes));
                    }
                    Err(error) => failures.push(format!("{} in round {round}: {error:#}", contender.name())),
                }
            }
        }
    }
    Ok((cells, failures))
}

type Measured = (Vec<Seen>, Option<Duration>, Option<u64>);

async fn measure(ready: &Running, load: Load, length: Duration) -> anyhow::Result<Measured> {
    let mut clients = Vec::new();
    for _ in 0..load.sessions {
        clients.push(Client::begin(&ready.door).await?);
    }
    let clock = ready.process.as_ref().map(|process| process.clock());
    let before = clock.map(|clock| clock.read()).transpose()?;
    let begin = Instant::now() + Duration::from_millis(100);
    let pieces = u32::try_from(length.as_nanos() / load.pause.as_nanos())?;
    let talks: Vec<_> = (0..)
        .zip(clients)
        .map(|(number, client)| {
            // Callers do not speak in step.
            let begin = begin + load.pause * number / load.sessions;
            tokio::spawn(client.talk(begin, load.pause, pieces))
        })
        .collect();
    let mut seen = Vec::new();
    for talk in talks {
        seen.push(talk.await.context("a client panicked")??);
    }
    let after = clock.map(|clock| clock.read()).transpose()?;
    let resident = ready.process.as_ref().map(|process| process.resident_bytes()).transpose()?;
    Ok((seen, after.zip(before).map(|(after, before)| after.saturating_sub(before)), resident))
}

fn cell(
    (round, contender, load): (usize, Contender, Load),
    seen: Vec<Seen>,
    processor: Option<Duration>,
    resident_bytes: Option<u64>,
) -> Cell {
    let sent = seen.iter().map(|seen| seen.sent).sum();
    let mut round_trips: Vec<Duration> = seen.into_iter().flat_map(|seen| seen.round_trips).collect();
    round_trips.sort_unstable();
    Cell { round, contender, load, sent, round_trips, processor, resident_bytes }
}

fn say(line: &str) {
    // Progress only.
    let _ = writeln!(std::io::stderr(), "{line}");
}
