//! When a relay says hello to a node.

use std::time::{Duration, Instant};

/// Between hellos to a node that answers: its path stays measured and a restarted node hears of the relay.
const STEADY: Duration = Duration::from_secs(5);
const FIRST_RETRY: Duration = Duration::from_millis(250);
/// The least time between a hello and one that a stale frame asks for.
const LEAST: Duration = Duration::from_millis(100);

/// The schedule of hellos to one node: repeated with doubling pauses until the node is heard, then steadily.
#[derive(Clone, Copy, Debug)]
pub(super) struct Greeting {
    next: Instant,
    last: Option<Instant>,
    pause: Duration,
}

impl Greeting {
    pub(super) const fn new(now: Instant) -> Self {
        Self { next: now, last: None, pause: FIRST_RETRY }
    }

    pub(super) const fn next(&self) -> Instant {
        self.next
    }

    pub(super) fn due(&self, now: Instant) -> bool {
        self.next <= now
    }

    pub(super) fn sent(&mut self, now: Instant) {
        self.last = Some(now);
        self.next = now + self.pause;
        self.pause = (self.pause * 2).min(STEADY);
    }

    /// The node knows the relay's present life.
    pub(super) fn answered(&mut self, now: Instant) {
        if self.pause < STEADY {
            self.pause = STEADY;
            self.next = self.last.unwrap_or(now) + STEADY;
        }
    }

    /// The node does not know the relay's present life.
    pub(super) fn repeat_soon(&mut self, now: Instant) {
        let soon = self.last.map_or(now, |last| (last + LEAST).max(now));
        self.next = self.next.min(soon);
    }
}
