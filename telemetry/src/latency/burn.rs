//! How fast a route uses up the slow turns it may have, over three windows.
//!
//! A share of the turns may breach a budget. The burn is how many times that share did: at 1 the allowance is used as
//! allotted, at 20 with an allowance of 5 % every turn is too slow (Google, The Site Reliability Workbook, chapter 5).

use std::time::Duration;

use voxgate_protocol::timeline::Hop;

use super::budget::{Breach, Subject};

/// Turns are counted together for this long; a window ends up to this much early.
const BUCKET: Duration = Duration::from_secs(30);

/// What is counted in a bucket: the whole and every hop.
const SUBJECTS: usize = 1 + Hop::ALL.len();

/// How far back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Window {
    /// What goes on now.
    FiveMinutes,
    /// What is no accident.
    Hour,
    /// What was so all day.
    SixHours,
}

impl Window {
    /// Every window, the shortest first.
    pub const ALL: [Self; 3] = [Self::FiveMinutes, Self::Hour, Self::SixHours];

    /// The name in JSON and metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::FiveMinutes => "5m",
            Self::Hour => "1h",
            Self::SixHours => "6h",
        }
    }

    const fn buckets(self) -> usize {
        match self {
            Self::FiveMinutes => 10,
            Self::Hour => 120,
            Self::SixHours => 720,
        }
    }
}

#[derive(Clone, Copy, Debug)]
struct Bucket {
    turns: u32,
    breaches: [u32; SUBJECTS],
}

impl Bucket {
    const EMPTY: Self = Self { turns: 0, breaches: [0; SUBJECTS] };
}

/// Turns of a window, and those of them that breached one budget.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Spending {
    /// All of them.
    pub turns: u64,
    /// Those that took too long.
    pub breaches: u64,
}

impl Spending {
    /// The burn, if `allowed` of a thousand turns may be too slow. Zero without a turn.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "six hours have fewer than 2^52 turns")]
    pub fn burn(&self, allowed: u32) -> f64 {
        if self.turns == 0 {
            return 0.0;
        }
        self.breaches as f64 * 1_000.0 / (self.turns as f64 * f64::from(allowed.max(1)))
    }

    /// Whether the burn is at least so many times what is allowed, exactly. False without a turn.
    #[must_use]
    pub fn burns(&self, allowed: u32, times: u32) -> bool {
        let limit = u128::from(self.turns) * u128::from(allowed.max(1)) * u128::from(times);
        self.turns > 0 && u128::from(self.breaches) * 1_000 >= limit
    }
}

/// Turns and breaches of the last six hours. About 55 kB, whatever happens.
#[derive(Clone, Debug)]
pub struct BurnRing {
    buckets: Vec<Bucket>,
    /// The bucket that counts now, from the beginning of time.
    newest: u128,
}

impl Default for BurnRing {
    fn default() -> Self {
        Self { buckets: vec![Bucket::EMPTY; Window::SixHours.buckets()], newest: 0 }
    }
}

impl BurnRing {
    /// Counts a turn at `now`. Time that runs backwards stands still.
    pub fn turn(&mut self, now: Duration, breaches: &[Breach]) {
        self.advance(now);
        let place = self.place(self.newest);
        let Some(bucket) = self.buckets.get_mut(place) else { return };
        bucket.turns = bucket.turns.saturating_add(1);
        for (count, subject) in bucket.breaches.iter_mut().zip(Subject::all()) {
            if breaches.iter().any(|breach| breach.subject == subject) {
                *count = count.saturating_add(1);
            }
        }
    }

    /// What was counted of one subject in a window that ends at `now`.
    #[must_use]
    pub fn spending(&self, now: Duration, window: Window, subject: Subject) -> Spending {
        let Some(index) = Subject::all().position(|known| known == subject) else {
            return Spending::default();
        };
        let current = number(now).max(self.newest);
        let oldest = (current + 1).saturating_sub(window.buckets() as u128);
        let kept = (self.newest + 1).saturating_sub(self.buckets.len() as u128);
        let mut spending = Spending::default();
        for number in oldest.max(kept)..=self.newest {
            let Some(bucket) = self.buckets.get(self.place(number)) else { continue };
            spending.turns += u64::from(bucket.turns);
            spending.breaches += u64::from(bucket.breaches.get(index).copied().unwrap_or(0));
        }
        spending
    }

    /// Empties the buckets that time has passed over, each at most once.
    fn advance(&mut self, now: Duration) {
        let current = number(now);
        let kept = (current + 1).saturating_sub(self.buckets.len() as u128);
        for number in kept.max(self.newest + 1)..=current {
            let place = self.place(number);
            if let Some(bucket) = self.buckets.get_mut(place) {
                *bucket = Bucket::EMPTY;
            }
        }
        self.newest = self.newest.max(current);
    }

    fn place(&self, number: u128) -> usize {
        usize::try_from(number % self.buckets.len() as u128).unwrap_or(0)
    }
}

const fn number(now: Duration) -> u128 {
    now.as_nanos() / BUCKET.as_nanos()
}

#[cfg(test)]
mod tests;
