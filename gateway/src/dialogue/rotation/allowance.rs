//! How many connections one session may open.

use std::time::{Duration, Instant};

/// Connections that may be opened in a row.
const MOST_IN_A_ROW: u32 = 3;

/// Time after which one more may be opened.
const ONE_MORE_AFTER: Duration = Duration::from_secs(10);

/// How many connections may still be opened: a few in a row, then one now and then.
#[derive(Debug)]
pub(super) struct Allowance {
    left: u32,
    since: Instant,
}

impl Allowance {
    pub(super) const fn full(now: Instant) -> Self {
        Self { left: MOST_IN_A_ROW, since: now }
    }

    fn refill(&mut self, now: Instant) {
        while self.left < MOST_IN_A_ROW && now >= self.since + ONE_MORE_AFTER {
            self.left += 1;
            self.since += ONE_MORE_AFTER;
        }
        if self.left == MOST_IN_A_ROW {
            self.since = now;
        }
    }

    pub(super) fn is_left(&mut self, now: Instant) -> bool {
        self.refill(now);
        self.left > 0
    }

    pub(super) fn take(&mut self, now: Instant) -> bool {
        let is_left = self.is_left(now);
        self.left = self.left.saturating_sub(1);
        is_left
    }

    /// When the next may be opened; in the past if one may now.
    pub(super) fn next_at(&self) -> Instant {
        if self.left > 0 { self.since } else { self.since + ONE_MORE_AFTER }
    }
}
