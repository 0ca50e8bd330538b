//! What was seen of a turn: moments, before anybody reckons where its time went.

use std::time::Duration;

use serde::Serialize;

use crate::timeline::{Certainty, Hop};

/// A moment of a turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Moment {
    /// Since the trace's zero, which lies before everything in it.
    pub at: Duration,
    /// Whether a clock was read, or the moment was derived from a round trip, a report or a default.
    pub certainty: Certainty,
    /// It is wrong by at most this much; zero if that is not known.
    pub error: Duration,
}

impl Moment {
    /// Read from the gateway's clock.
    #[must_use]
    pub const fn read(at: Duration) -> Self {
        Self { at, certainty: Certainty::Measured, error: Duration::ZERO }
    }

    /// Derived.
    #[must_use]
    pub const fn derived(at: Duration, error: Duration) -> Self {
        Self { at, certainty: Certainty::Estimated, error }
    }
}

/// A hop was at work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Work {
    /// Which.
    pub hop: Hop,
    /// Since when; before [`TurnTrace::mouth`] if it began while the caller spoke.
    pub from: Moment,
    /// Until when.
    pub to: Moment,
}

/// What was seen of one turn. Time that no work covers is nobody's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TurnTrace {
    /// The number of the turn in its session, from 1.
    pub turn: u32,
    /// The caller's last word.
    pub mouth: Moment,
    /// The caller hears the answer.
    pub ear: Moment,
    /// Who was at work in between, in the order it was seen.
    pub works: Vec<Work>,
}

impl TurnTrace {
    /// From the caller's last word to the caller's ear.
    #[must_use]
    pub const fn mouth_to_ear(&self) -> Duration {
        self.ear.at.saturating_sub(self.mouth.at)
    }
}
