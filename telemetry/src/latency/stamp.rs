//! Moments, and the stretches between them that hops claim.

use std::time::Duration;

use voxgate_protocol::timeline::{Certainty, Hop};
use voxgate_protocol::trace::{Moment, Work};

use super::clock::ClockOffset;

/// Whose clock read a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Clock {
    Gateway,
    Client,
}

/// A moment of a turn, since the session began and on the gateway's clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    at: Duration,
    clock: Clock,
    certainty: Certainty,
    error: Duration,
    /// How wrong the reading itself may be, whatever the clock says.
    read_error: Duration,
}

impl Stamp {
    /// Read from the gateway's clock.
    #[must_use]
    pub const fn gateway(at: Duration) -> Self {
        Self {
            at,
            clock: Clock::Gateway,
            certainty: Certainty::Measured,
            error: Duration::ZERO,
            read_error: Duration::ZERO,
        }
    }

    /// Read from the client's clock. `None` if that was before the session began.
    ///
    /// Two stamps of one turn must come from the same offset: what lies between them is then free of its error.
    #[must_use]
    pub fn client(at: Duration, offset: &ClockOffset) -> Option<Self> {
        let at = offset.to_gateway(at)?;
        Some(Self {
            at,
            clock: Clock::Client,
            certainty: Certainty::Measured,
            error: offset.error(),
            read_error: Duration::ZERO,
        })
    }

    /// Nobody read a clock: derived from a round trip, a report or a default, and wrong by at most `error`.
    #[must_use]
    pub const fn estimated(at: Duration, error: Duration) -> Self {
        Self { at, clock: Clock::Gateway, certainty: Certainty::Estimated, error, read_error: Duration::ZERO }
    }

    /// The same clock read this much later.
    #[must_use]
    pub const fn later(self, by: Duration) -> Self {
        Self { at: self.at.saturating_add(by), ..self }
    }

    /// Whoever read the clock may have been this much too early or too late.
    #[must_use]
    pub const fn wrong_by(self, read_error: Duration) -> Self {
        Self { read_error, ..self }
    }

    /// When.
    #[must_use]
    pub const fn at(&self) -> Duration {
        self.at
    }

    /// How wrong it may be because of its clock or of how it was derived.
    pub(super) const fn error(&self) -> Duration {
        self.error
    }

    /// How the time to another stamp is known, and how wrong it may be. Two readings of one clock are a measurement.
    pub(super) fn reading(&self, other: &Self) -> (Certainty, Duration) {
        let is_read = |stamp: &Self| stamp.certainty == Certainty::Measured;
        let read_error = self.read_error.saturating_add(other.read_error);
        if self.clock == other.clock && is_read(self) && is_read(other) {
            (Certainty::Measured, read_error)
        } else {
            (Certainty::Estimated, self.error.saturating_add(other.error).saturating_add(read_error))
        }
    }
}

impl From<&Moment> for Stamp {
    fn from(moment: &Moment) -> Self {
        let Moment { at, certainty, error } = *moment;
        Self { at, clock: Clock::Gateway, certainty, error, read_error: Duration::ZERO }
    }
}

/// A hop says that it was at work. A hop may claim several stretches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claim {
    /// Which.
    pub hop: Hop,
    /// Since when. `None` if nobody saw it begin.
    pub from: Option<Stamp>,
    /// Until when. `None` if nobody saw it end.
    pub to: Option<Stamp>,
    /// Nobody waited for it while another hop was at work, wherever it stands in the order of hops: a guardrail that
    /// listens beside the model.
    pub is_beside: bool,
}

impl From<&Work> for Claim {
    fn from(work: &Work) -> Self {
        Self::new(work.hop, Stamp::from(&work.from), Stamp::from(&work.to))
    }
}

impl Claim {
    /// A hop of the sequence.
    #[must_use]
    pub const fn new(hop: Hop, from: Stamp, to: Stamp) -> Self {
        Self { hop, from: Some(from), to: Some(to), is_beside: false }
    }

    /// A hop of which nobody saw anything.
    #[must_use]
    pub const fn unseen(hop: Hop) -> Self {
        Self { hop, from: None, to: None, is_beside: false }
    }

    /// Work that goes on beside the sequence.
    #[must_use]
    pub const fn beside(hop: Hop, from: Stamp, to: Stamp) -> Self {
        Self { hop, from: Some(from), to: Some(to), is_beside: true }
    }
}
