//! Limits: how many sessions at once, and how much of something in a stretch of time.
//!
//! Rates are leaky buckets in whole numbers: a bucket holds what was used, and drains at the allowed rate; what does not fit
//! is refused. Concurrent sessions are leases: whoever holds one renews it, and those of a node that died run out. The same
//! arithmetic runs as a script inside Redis for nodes that share their limits, so every number here stays below 2⁵³, the
//! whole numbers of that script's language.

pub mod credit;
pub mod rules;

use std::collections::BTreeMap;
use std::time::Duration;

use thiserror::Error;

/// The largest amount a rule may allow in its window: three times its product with the longest window stays below 2⁵³.
pub const LARGEST_AMOUNT: u64 = 40_000_000;

/// The longest window of a rule.
pub const LONGEST_WINDOW: Duration = Duration::from_secs(60);

/// What is counted, and for whom: `tokens/team/default/blue`. Chosen by whoever asks; equal names share a count.
pub type Counter = String;

/// How much is allowed in how much time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    amount: u64,
    window_us: u64,
}

/// A rate nobody could keep.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum LimitError {
    /// The amount is zero or too large.
    #[error("a limit must be 1 to {LARGEST_AMOUNT}")]
    Amount,
    /// The window is shorter than a millisecond or too long.
    #[error("the window of a limit must be 1 ms to {} s", LONGEST_WINDOW.as_secs())]
    Window,
}

impl Rate {
    /// So much in every `window`.
    ///
    /// # Errors
    /// [`LimitError`] if the amount or the window is out of range.
    pub fn new(amount: u64, window: Duration) -> Result<Self, LimitError> {
        if !(1..=LARGEST_AMOUNT).contains(&amount) {
            return Err(LimitError::Amount);
        }
        if !(Duration::from_millis(1)..=LONGEST_WINDOW).contains(&window) {
            return Err(LimitError::Window);
        }
        Ok(Self { amount, window_us: window.as_micros() as u64 })
    }

    /// How much is allowed in a window.
    #[must_use]
    pub const fn amount(self) -> u64 {
        self.amount
    }

    /// The window in microseconds.
    #[must_use]
    pub const fn window_us(self) -> u64 {
        self.window_us
    }

    /// A full bucket. What is used counts `window_us` for each unit, so that draining needs no division.
    const fn capacity(self) -> u64 {
        self.amount * self.window_us
    }
}

/// What somebody wants to use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Demand {
    /// Of what, for whom.
    pub counter: Counter,
    /// What is allowed.
    pub rate: Rate,
    /// How much. More than the rate allows at once never fits; zero asks only whether there is room for any.
    pub amount: u64,
}

/// A place among concurrent sessions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Among whose sessions.
    pub counter: Counter,
    /// How many there may be.
    pub most: u64,
}

/// Why something is refused.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("the limit of {counter} is reached")]
pub struct Reached {
    /// The first limit in the order asked that has no room.
    pub counter: Counter,
    /// When it would fit if nobody else came; `None` if only the end of a session makes room, or nothing does.
    pub retry_after: Option<Duration>,
}

/// What was used, as of a time.
#[derive(Clone, Copy, Debug, Default)]
struct Bucket {
    level: u64,
    at_us: u64,
    rate: Option<Rate>,
}

impl Bucket {
    /// What is left of it now. A clock that ran backwards drains nothing.
    fn level(self, rate: Rate, now_us: u64) -> u64 {
        let passed = now_us.saturating_sub(self.at_us).min(2 * rate.window_us);
        self.level.saturating_sub(passed * rate.amount)
    }
}

/// The limits of one process.
#[derive(Clone, Debug, Default)]
pub struct Limiter {
    buckets: BTreeMap<Counter, Bucket>,
    /// Sessions by counter, with the end of their lease.
    places: BTreeMap<Counter, BTreeMap<String, u64>>,
}

impl Limiter {
    /// Uses all of it, or nothing. `now_us` is in microseconds since any fixed time.
    ///
    /// # Errors
    /// [`Reached`] for the first demand that does not fit.
    pub fn take(&mut self, now_us: u64, demands: &[Demand]) -> Result<(), Reached> {
        for demand in demands {
            let level = self.level(demand, now_us);
            // To ask for nothing is to ask whether anything fits.
            let needed = (demand.amount.min(LARGEST_AMOUNT + 1) * demand.rate.window_us).max(1);
            let capacity = demand.rate.capacity();
            let excess = (level + needed).saturating_sub(capacity);
            if excess > 0 {
                let retry_after =
                    (needed <= capacity).then(|| Duration::from_micros(excess.div_ceil(demand.rate.amount)));
                return Err(Reached { counter: demand.counter.clone(), retry_after });
            }
        }
        self.charge(now_us, demands);
        Ok(())
    }

    /// Notes what was used already, whether it fitted or not: the next one who takes waits the longer.
    pub fn charge(&mut self, now_us: u64, demands: &[Demand]) {
        for demand in demands.iter().filter(|demand| demand.amount > 0) {
            let level = self.level(demand, now_us);
            let used = demand.amount.min(LARGEST_AMOUNT) * demand.rate.window_us;
            let at_us = self.buckets.get(&demand.counter).map_or(now_us, |bucket| bucket.at_us.max(now_us));
            // However much was used too much, it is forgotten after two windows.
            let level = (level + used).min(2 * demand.rate.capacity());
            self.buckets.insert(demand.counter.clone(), Bucket { level, at_us, rate: Some(demand.rate) });
        }
    }

    fn level(&self, demand: &Demand, now_us: u64) -> u64 {
        self.buckets.get(&demand.counter).map_or(0, |bucket| bucket.level(demand.rate, now_us))
    }

    /// Takes a place of each, or none, until the lease ends. Whoever holds them already renews them.
    ///
    /// # Errors
    /// [`Reached`] for the first that is full.
    pub fn hold(
        &mut self,
        now_us: u64,
        session: &str,
        places: &[Place],
        lease: Duration,
    ) -> Result<(), Reached> {
        for place in places {
            let held = self.places.entry(place.counter.clone()).or_default();
            held.retain(|_, ends_us| *ends_us > now_us);
            if held.len() as u64 >= place.most && !held.contains_key(session) {
                return Err(Reached { counter: place.counter.clone(), retry_after: None });
            }
        }
        self.renew(now_us, session, places, lease);
        Ok(())
    }

    /// Renews places whether or not there is room: a session that runs is not ended because its lease ran out while nobody
    /// could be asked.
    pub fn renew(&mut self, now_us: u64, session: &str, places: &[Place], lease: Duration) {
        let ends_us = now_us.saturating_add(lease.as_micros() as u64);
        for place in places {
            self.places.entry(place.counter.clone()).or_default().insert(session.to_owned(), ends_us);
        }
    }

    /// Gives places back.
    pub fn release(&mut self, session: &str, places: &[Place]) {
        for place in places {
            if let Some(held) = self.places.get_mut(&place.counter) {
                held.remove(session);
                if held.is_empty() {
                    self.places.remove(&place.counter);
                }
            }
        }
    }

    /// Sessions that hold a place.
    #[must_use]
    pub fn held(&self, now_us: u64, counter: &str) -> u64 {
        let held = self.places.get(counter).into_iter().flat_map(BTreeMap::values);
        held.filter(|ends_us| **ends_us > now_us).count() as u64
    }

    /// Forgets what is drained and run out, so that counters of keys that are gone take no memory. Worth a call a minute.
    pub fn forget_idle(&mut self, now_us: u64) {
        self.buckets.retain(|_, bucket| bucket.rate.is_some_and(|rate| bucket.level(rate, now_us) > 0));
        self.places.retain(|_, held| {
            held.retain(|_, ends_us| *ends_us > now_us);
            !held.is_empty()
        });
    }

    /// Counters in memory.
    #[must_use]
    pub fn counters(&self) -> usize {
        self.buckets.len() + self.places.len()
    }
}

#[cfg(test)]
mod tests;
