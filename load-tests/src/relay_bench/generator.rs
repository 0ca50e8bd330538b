//! The open-loop generator: sends when it is time to, whatever comes back, and counts what does.

use std::num::ParseIntError;
use std::str::FromStr;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};

use super::batch::{BATCH, Batch};
use super::link::Link;
use super::payload::Stamp;
use super::processor::ProcessorClock;
use super::sample::Sample;

/// How long nothing must come before a new run begins.
const SILENCE: Duration = Duration::from_millis(20);
/// How long a contender may take to empty its queues.
const LONGEST_DRAIN: Duration = Duration::from_secs(5);

/// Batches received before the next packets are sent: more than a turn sends, so that nothing piles up.
const BATCHES_PER_TURN: usize = 4;

/// How many packets per second are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rate {
    /// So many, evenly spaced.
    PerSecond(u32),
    /// As many as the generator can, in full batches: more than the contender can take.
    Most,
}

impl FromStr for Rate {
    type Err = ParseIntError;

    fn from_str(text: &str) -> Result<Self, ParseIntError> {
        if text == "most" { Ok(Self::Most) } else { text.parse().map(Self::PerSecond) }
    }
}

/// One measurement.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    /// Packets per second.
    pub rate: Rate,
    /// Time before counting begins.
    pub warm_up: Duration,
    /// Time in which is counted.
    pub length: Duration,
}

/// The generator with its buffers.
#[expect(missing_debug_implementations, reason = "it holds nothing but buffers")]
pub struct Generator {
    origin: Instant,
    runs: u32,
    sending: Batch,
    receiving: Batch,
}

impl Default for Generator {
    fn default() -> Self {
        Self { origin: Instant::now(), runs: 0, sending: Batch::default(), receiving: Batch::default() }
    }
}

impl Generator {
    /// A number no earlier run has had.
    pub const fn next_run(&mut self) -> u32 {
        self.runs += 1;
        self.runs
    }

    /// Runs one measurement through a link.
    ///
    /// # Errors
    /// A socket fails, a frame is not authentic, or the contender has ended.
    pub fn run(
        &mut self,
        link: &mut Link,
        load: Load,
        contender: Option<ProcessorClock>,
    ) -> anyhow::Result<Sample> {
        self.drain(link)?;
        let run = self.next_run();
        let mut counted = Counted::new(run, self.origin, load);
        let mut pace = Pace::new(load.rate, Instant::now());
        self.turn_until(Instant::now() + load.warm_up, &mut pace, link, &mut counted)?;
        counted.counts = true;
        let (since, before) = (Instant::now(), read(contender)?);
        let now = self.turn_until(since + load.length, &mut pace, link, &mut counted)?;
        let processor = read(contender)?.saturating_sub(before);
        counted.latencies.sort_unstable();
        Ok(Sample {
            sent: counted.sent,
            delivered: counted.delivered,
            length: now.saturating_duration_since(since),
            processor,
            latencies: counted.latencies,
        })
    }

    /// Sends and receives in turn until it is time to stop; says when it did.
    fn turn_until(
        &mut self,
        end: Instant,
        pace: &mut Pace,
        link: &mut Link,
        counted: &mut Counted,
    ) -> anyhow::Result<Instant> {
        loop {
            let now = Instant::now();
            if now >= end {
                return Ok(now);
            }
            let due = pace.due(now);
            if due > 0 {
                self.send(link, counted, due)?;
            }
            self.receive(link, counted)?;
        }
    }

    fn send(&mut self, link: &mut Link, counted: &mut Counted, due: usize) -> anyhow::Result<()> {
        let now = Instant::now();
        let sent_at = nanos(now.saturating_duration_since(self.origin));
        let flows = link.flows.len() as u32;
        for index in 0..due {
            let stamp = Stamp { run: counted.run, flow: counted.next_flow, sent_at };
            link.write(&mut self.sending, index, now, stamp)?;
            counted.next_flow = (counted.next_flow + 1) % flows;
        }
        let taken = self.sending.send(&link.sender, due).context("the generator cannot send")?;
        ensure!(taken == due, "the kernel took {taken} of {due} datagrams");
        if counted.counts {
            counted.sent += due as u64;
        }
        Ok(())
    }

    fn receive(&mut self, link: &mut Link, counted: &mut Counted) -> anyhow::Result<()> {
        for _ in 0..BATCHES_PER_TURN {
            counted.now = None;
            if link.receive(&mut self.receiving, |stamp| counted.arrived(stamp))? < BATCH {
                break;
            }
        }
        Ok(())
    }

    /// Takes what earlier runs have left in queues.
    fn drain(&mut self, link: &mut Link) -> anyhow::Result<()> {
        let begin = Instant::now();
        let mut last = begin;
        while last.elapsed() < SILENCE {
            let mut came = false;
            link.receive(&mut self.receiving, |_| came = true)?;
            if came {
                last = Instant::now();
                ensure!(begin.elapsed() < LONGEST_DRAIN, "the contender does not come to rest");
            }
        }
        Ok(())
    }
}

/// When how many packets are due.
struct Pace {
    rate: Rate,
    begin: Instant,
    sent: u64,
}

impl Pace {
    const fn new(rate: Rate, begin: Instant) -> Self {
        Self { rate, begin, sent: 0 }
    }

    fn due(&mut self, now: Instant) -> usize {
        let Rate::PerSecond(rate) = self.rate else { return BATCH };
        let nanos = u128::from(nanos(now.saturating_duration_since(self.begin)));
        let target = (nanos * u128::from(rate) / 1_000_000_000) as u64;
        let due = target.saturating_sub(self.sent).min(BATCH as u64);
        self.sent += due;
        due as usize
    }
}

/// What one run has counted.
struct Counted {
    run: u32,
    origin: Instant,
    counts: bool,
    next_flow: u32,
    sent: u64,
    delivered: u64,
    /// The moment the batch being read came.
    now: Option<u64>,
    latencies: Vec<u32>,
}

impl Counted {
    fn new(run: u32, origin: Instant, load: Load) -> Self {
        let most = match load.rate {
            Rate::PerSecond(rate) => rate,
            Rate::Most => 1_000_000,
        };
        let expected = f64::from(most) * load.length.as_secs_f64() * 1.2;
        let latencies = Vec::with_capacity(expected as usize);
        Self { run, origin, counts: false, next_flow: 0, sent: 0, delivered: 0, now: None, latencies }
    }

    fn arrived(&mut self, stamp: Stamp) {
        if self.counts && stamp.run == self.run {
            let now = *self.now.get_or_insert_with(|| nanos(self.origin.elapsed()));
            self.delivered += 1;
            self.latencies.push(u32::try_from(now.saturating_sub(stamp.sent_at)).unwrap_or(u32::MAX));
        }
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

fn read(clock: Option<ProcessorClock>) -> anyhow::Result<Duration> {
    clock.map_or(Ok(Duration::ZERO), |clock| clock.read().context("the contender has ended"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_even_pace_owes_what_time_has_passed_and_no_more() {
        let begin = Instant::now();
        let mut pace = Pace::new(Rate::PerSecond(5_000), begin);
        let after = |micros| begin + Duration::from_micros(micros);
        assert_eq!(pace.due(after(199)), 0);
        assert_eq!(pace.due(after(400)), 2);
        assert_eq!(pace.due(after(599)), 0);
        assert_eq!(pace.due(after(1_000_000)), BATCH);
    }
}
