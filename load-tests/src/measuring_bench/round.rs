//! The rounds: in each both sides carry the same calls.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use tokio::task::{JoinSet, spawn_blocking};
use voxgate_caller::Speech;

use super::caller::{Caller, PERIOD, Told};
use super::meter::{Unit, Watched};

/// From the first question to the first reading: everybody has begun, and clocks are known.
const SETTLING: Duration = Duration::from_secs(6);

/// Callers who dial at once.
const DIALLING: usize = 4;

/// Whether the gateway measures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// It does, and its callers report, tell their clock and what they saw of turns.
    On,
    /// It does not, and its callers are like those of other vendors' SDKs, which open no channel but `oai-events`.
    Off,
}

impl Side {
    /// Its name in records.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::On => "on",
            Self::Off => "off",
        }
    }
}

/// How much is measured.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The gateway's binary, a release build.
    pub gateway: PathBuf,
    /// What callers ask.
    pub question: Speech,
    /// What is counted.
    pub unit: Unit,
    /// Rounds that count.
    pub rounds: usize,
    /// Calls of each side in a round.
    pub calls: usize,
    /// How long is counted in a round.
    pub length: Duration,
}

/// What one side used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Used {
    /// Nanoseconds of processor time, or instructions.
    pub amount: u64,
    /// For how long it was counted.
    pub length: Duration,
    /// What its callers were told.
    pub told: Told,
}

impl Used {
    /// Per second and call.
    #[must_use]
    pub fn rate(&self, calls: usize) -> f64 {
        self.amount as f64 / self.length.as_secs_f64() / calls as f64
    }
}

/// One round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Round {
    /// With measuring.
    pub on: Used,
    /// Without.
    pub off: Used,
}

/// Runs a plan; says on standard error how far it is.
///
/// # Errors
/// A gateway does not start, a call fails, or a side did not do what it is there for.
pub async fn run(plan: &Plan) -> anyhow::Result<Vec<Round>> {
    let folder = std::env::temp_dir().join(format!("voxgate-measuring-bench-{}", std::process::id()));
    std::fs::create_dir_all(&folder)?;
    let measured = Box::pin(run_in(plan, &folder)).await;
    // What cannot be removed is left to the system.
    let _ = std::fs::remove_dir_all(&folder);
    measured
}

async fn run_in(plan: &Plan, folder: &Path) -> anyhow::Result<Vec<Round>> {
    let mut rounds = Vec::new();
    for number in 1..=plan.rounds {
        let first = if number % 2 == 0 { Side::On } else { Side::Off };
        let round = match plan.unit {
            Unit::ProcessorTime => Box::pin(beside(plan, folder, first)).await,
            Unit::Instructions => Box::pin(in_turn(plan, folder, first)).await,
        };
        let round = round.with_context(|| format!("round {number}"))?;
        check(&round)?;
        let more = (round.on.rate(plan.calls) / round.off.rate(plan.calls) - 1.0) * 100.0;
        say(&format!("round {number} of {}: measuring costs {more:.2} %", plan.rounds));
        rounds.push(round);
    }
    Ok(rounds)
}

/// A comparison of gateways that do something else than they should is none.
fn check(round: &Round) -> anyhow::Result<()> {
    let Round { on, off } = round;
    ensure!(off.told.turns == 0, "the side that does not measure told of {} turns", off.told.turns);
    ensure!(on.told.turns > 0, "the side that measures told of no turn");
    let (more, less) = (on.told.answers.max(off.told.answers), on.told.answers.min(off.told.answers));
    ensure!(less > 0 && more - less <= more / 20, "one side answered {more} times, the other {less}");
    Ok(())
}

/// Both at the same time: what else the machine does hits both. Each has a new process in each round, since where a
/// process happens to lie in memory makes it a little faster or slower for as long as it lives.
async fn beside(plan: &Plan, folder: &Path, first: Side) -> anyhow::Result<Round> {
    let second = if first == Side::On { Side::Off } else { Side::On };
    let mut one = Stand::open(plan, first, folder).await?;
    let mut other = Stand::open(plan, second, folder).await?;
    let begin = Instant::now() + Duration::from_millis(200);
    let (used_one, used_other) = tokio::join!(one.talk(plan, begin), other.talk(plan, begin));
    let (used_one, used_other) = (used_one?, used_other?);
    Ok(if first == Side::On {
        Round { on: used_one, off: used_other }
    } else {
        Round { on: used_other, off: used_one }
    })
}

/// One after the other: callgrind leaves no time for two.
async fn in_turn(plan: &Plan, folder: &Path, first: Side) -> anyhow::Result<Round> {
    let second = if first == Side::On { Side::Off } else { Side::On };
    let mut used = Vec::new();
    for side in [first, second] {
        let mut stand = Stand::open(plan, side, folder).await?;
        used.push(stand.talk(plan, Instant::now() + Duration::from_millis(200)).await?);
    }
    let [one, other] = used[..] else { anyhow::bail!("two sides were measured") };
    Ok(if first == Side::On { Round { on: one, off: other } } else { Round { on: other, off: one } })
}

/// A gateway and its callers.
struct Stand {
    gateway: Option<Watched>,
    callers: Vec<Caller>,
}

impl Stand {
    async fn open(plan: &Plan, side: Side, folder: &Path) -> anyhow::Result<Self> {
        let gateway = Watched::start(&plan.gateway, side, plan.unit, folder).await?;
        let base_url = gateway.base_url();
        let mut callers = Vec::new();
        while callers.len() < plan.calls {
            let mut dialling = JoinSet::new();
            for _ in 0..DIALLING.min(plan.calls - callers.len()) {
                let base_url = base_url.clone();
                dialling.spawn(async move { Box::pin(Caller::connect(&base_url, side == Side::On)).await });
            }
            while let Some(caller) = dialling.join_next().await {
                callers.push(caller?.with_context(|| gateway.log())?);
            }
        }
        Ok(Self { gateway: Some(gateway), callers })
    }

    /// Lets all talk from `begin` on, each at another time within a period, and counts once they have settled.
    async fn talk(&mut self, plan: &Plan, begin: Instant) -> anyhow::Result<Used> {
        let callers = std::mem::take(&mut self.callers);
        let counted = begin + SETTLING;
        let until = counted + plan.length;
        let mut talking = JoinSet::new();
        for (number, mut caller) in (0..).zip(callers) {
            let question = plan.question.clone();
            let first = begin + PERIOD * number / u32::try_from(plan.calls)?;
            talking.spawn(async move {
                let last = until + Duration::from_secs(1);
                Ok::<_, anyhow::Error>((caller.converse(&question, first, last).await?, caller))
            });
        }
        let (amount, length) = self.count(counted, until).await?;
        let mut told = Told::default();
        while let Some(talked) = talking.join_next().await {
            let (heard, caller) = talked??;
            told = told.and(heard);
            caller.hang_up().await?;
        }
        Ok(Used { amount, length, told })
    }

    async fn count(&mut self, from: Instant, until: Instant) -> anyhow::Result<(u64, Duration)> {
        let mut gateway = self.gateway.take().context("a gateway is counted once")?;
        tokio::time::sleep_until(from.into()).await;
        // Callgrind is told by a program of its own: nobody's sound may wait for that.
        let (mut gateway, began) = spawn_blocking(move || {
            gateway.begin()?;
            Ok::<_, anyhow::Error>((gateway, Instant::now()))
        })
        .await??;
        tokio::time::sleep_until(until.into()).await;
        let ended = Instant::now();
        let (gateway, amount) = spawn_blocking(move || {
            let amount = gateway.end()?;
            Ok::<_, anyhow::Error>((gateway, amount))
        })
        .await??;
        self.gateway = Some(gateway);
        Ok((amount, ended.saturating_duration_since(began)))
    }
}

/// A sign of life for the person who waits.
fn say(line: &str) {
    // A closed terminal does not end the benchmark.
    let _ = writeln!(std::io::stderr(), "{line}");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn used(answers: u64, turns: u64) -> Used {
        Used { amount: 3_000, length: Duration::from_secs(2), told: Told { answers, turns } }
    }

    #[test]
    fn a_rate_is_of_one_call_and_second() {
        assert!((used(1, 1).rate(3) - 500.0).abs() < 1e-9);
    }

    #[test]
    fn gateways_that_did_different_things_are_not_compared() {
        assert!(check(&Round { on: used(40, 39), off: used(40, 0) }).is_ok());
        assert!(check(&Round { on: used(40, 39), off: used(39, 0) }).is_ok());
        for (on, off) in
            [(used(40, 0), used(40, 0)), (used(40, 39), used(40, 1)), (used(40, 39), used(30, 0))]
        {
            assert!(check(&Round { on, off }).is_err(), "{on:?} {off:?}");
        }
        assert!(check(&Round { on: used(0, 1), off: used(0, 0) }).is_err(), "nobody was answered");
    }
}
