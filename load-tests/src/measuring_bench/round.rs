//! The rounds: in each both sides carry the same calls.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use futures_util::future::join_all;
use tokio::task::{JoinSet, spawn_blocking};
use voxgate_caller::Speech;
use voxgate_caller::pacing::FRAME;

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

    /// The other one.
    #[must_use]
    pub const fn other(self) -> Self {
        match self {
            Self::On => Self::Off,
            Self::Off => Self::On,
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
    /// How long is counted of a side in a row: in a round twice, once of each gateway.
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

    /// Both together.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self {
            amount: self.amount + other.amount,
            length: self.length + other.length,
            told: self.told.and(other.told),
        }
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

impl Round {
    /// Of what a gateway of this side used, and of what one of the other side did.
    const fn of(side: Side, used: Used, other: Used) -> Self {
        match side {
            Side::On => Self { on: used, off: other },
            Side::Off => Self { on: other, off: used },
        }
    }

    /// Both together.
    fn and(self, other: Self) -> Self {
        Self { on: self.on.and(other.on), off: self.off.and(other.off) }
    }
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

/// Both at the same time, and then once more with their sides changed. What else the machine does at a time hits both sides;
/// and where a process happens to lie in memory, which makes it a little faster or slower for as long as it lives, does too.
async fn beside(plan: &Plan, folder: &Path, first: Side) -> anyhow::Result<Round> {
    // Packets that come close together are taken together, which is cheaper. So those of all callers are spread evenly.
    let beat = Instant::now();
    let between = FRAME / u32::try_from(2 * plan.calls)?;
    let mut one = Stand::open(plan, first, beat, folder).await?;
    let mut other = Stand::open(plan, first.other(), beat + between, folder).await?;
    let before = Box::pin(both(plan, &mut one, &mut other)).await?;
    one.change_sides().await?;
    other.change_sides().await?;
    let after = Box::pin(both(plan, &mut one, &mut other)).await?;
    Ok(before.and(after))
}

/// The same calls at the same time at both.
async fn both(plan: &Plan, one: &mut Stand, other: &mut Stand) -> anyhow::Result<Round> {
    one.dial(plan).await?;
    other.dial(plan).await?;
    let begin = Instant::now() + Duration::from_millis(200);
    let (used, used_other) = tokio::join!(one.talk(plan, begin), other.talk(plan, begin));
    Ok(Round::of(one.side, used?, used_other?))
}

/// One after the other: callgrind leaves no time for two.
async fn in_turn(plan: &Plan, folder: &Path, first: Side) -> anyhow::Result<Round> {
    let mut used = Vec::new();
    for side in [first, first.other()] {
        let mut stand = Stand::open(plan, side, Instant::now(), folder).await?;
        stand.dial(plan).await?;
        used.push(stand.talk(plan, Instant::now() + Duration::from_millis(200)).await?);
    }
    let [one, other] = used[..] else { anyhow::bail!("two sides were measured") };
    Ok(Round::of(first, one, other))
}

/// A gateway and its callers.
struct Stand {
    side: Side,
    /// When its first caller's packets leave, and every 20 ms.
    beat: Instant,
    gateway: Option<Watched>,
    callers: Vec<Caller>,
}

impl Stand {
    async fn open(plan: &Plan, side: Side, beat: Instant, folder: &Path) -> anyhow::Result<Self> {
        let gateway = Watched::start(&plan.gateway, side, plan.unit, folder).await?;
        Ok(Self { side, beat, gateway: Some(gateway), callers: Vec::new() })
    }

    /// The same process goes on as one of the other side.
    async fn change_sides(&mut self) -> anyhow::Result<()> {
        self.side = self.side.other();
        self.watched()?.join(self.side).await
    }

    fn watched(&self) -> anyhow::Result<&Watched> {
        self.gateway.as_ref().context("a gateway that could not be counted was lost")
    }

    async fn dial(&mut self, plan: &Plan) -> anyhow::Result<()> {
        let gateway = self.watched()?;
        let (base_url, reports) = (gateway.base_url(), self.side == Side::On);
        let calls = u32::try_from(plan.calls)?;
        let beats: Vec<Instant> = (0..calls).map(|number| self.beat + FRAME * number / calls).collect();
        let mut callers = Vec::new();
        for beats in beats.chunks(DIALLING) {
            let dialling = beats.iter().map(|beat| Box::pin(Caller::connect(&base_url, *beat, reports)));
            for caller in join_all(dialling).await {
                callers.push(caller.with_context(|| gateway.log())?);
            }
        }
        self.callers = callers;
        Ok(())
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
        let mut gateway = self.gateway.take().context("a gateway that could not be counted was lost")?;
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
    fn a_round_of_gateways_that_changed_sides_has_what_both_used_on_each() {
        let spent = |amount| Used { amount, ..used(4, 0) };
        // One of them is slower, and so was everything in the second half.
        let first = Round::of(Side::On, spent(1_010), spent(1_100));
        let second = Round::of(Side::On.other(), spent(2_000), spent(2_222));
        let round = first.and(second);
        assert_eq!((round.on.amount, round.off.amount), (1_010 + 2_222, 1_100 + 2_000));
        assert_eq!((round.on.length, round.on.told.answers), (Duration::from_secs(4), 8));
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
