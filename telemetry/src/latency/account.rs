//! What each hop of a turn took.

use std::time::Duration;

use voxgate_protocol::timeline::{Certainty, Hop, HopOwner, HopTime, TurnTimeline};
use voxgate_protocol::trace::TurnTrace;

use super::LatencyError;
use super::attribution::attribute;
use super::fit::fit;
use super::stamp::{Claim, Stamp};

/// From the caller's last word to the caller's ear.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Whole {
    /// How long.
    pub duration: Duration,
    /// Measured if one clock, such as the client's, saw both ends.
    pub certainty: Certainty,
    /// It is at most this much longer or shorter; zero where that is not known, as for the sum of estimated hops.
    pub error: Duration,
}

impl Whole {
    /// Between two stamps.
    ///
    /// # Errors
    /// [`LatencyError::HeardTooSoon`] and [`LatencyError::TooLong`].
    pub fn between(mouth: &Stamp, ear: &Stamp) -> Result<Self, LatencyError> {
        let duration = ear.at().checked_sub(mouth.at()).ok_or(LatencyError::HeardTooSoon)?;
        let (certainty, error) = mouth.reading(ear);
        Self { duration, certainty, error }.checked()
    }

    /// Measured by one clock.
    #[must_use]
    pub const fn measured(duration: Duration) -> Self {
        Self { duration, certainty: Certainty::Measured, error: Duration::ZERO }
    }

    pub(super) fn checked(self) -> Result<Self, LatencyError> {
        if self.duration > super::LONGEST_TURN { Err(LatencyError::TooLong) } else { Ok(self) }
    }
}

/// A piece of a hop's time within the turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stretch {
    /// Since the caller's last word.
    pub start: Duration,
    /// How long.
    pub duration: Duration,
    /// Whether the turn waited for it, or another hop was waited for meanwhile.
    pub is_overlapped: bool,
}

/// One hop of one turn.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HopAccount {
    /// Which. Never [`Hop::Unattributed`].
    pub hop: Hop,
    /// What the turn waited for it: its part of the sum.
    pub duration: Duration,
    /// Work done while the turn waited for another hop. No part of the sum.
    pub overlapped: Duration,
    /// Work done before the caller's last word, such as recognition of the words before. No part of the sum.
    pub ahead: Duration,
    /// How [`HopAccount::duration`] is known.
    pub certainty: Certainty,
    /// How wrong it may be because of the client's clock or an estimate; zero if not known to be.
    pub error: Duration,
    /// Where in the turn, in order of time. Empty where only durations are known.
    pub stretches: Vec<Stretch>,
}

impl HopAccount {
    pub(super) const fn idle(hop: Hop) -> Self {
        Self {
            hop,
            duration: Duration::ZERO,
            overlapped: Duration::ZERO,
            ahead: Duration::ZERO,
            certainty: Certainty::Measured,
            error: Duration::ZERO,
            stretches: Vec::new(),
        }
    }
}

/// Where the time of one turn went.
///
/// The durations of [`TurnAccount::hops`] and [`TurnAccount::unattributed`] sum exactly to [`TurnAccount::whole`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TurnAccount {
    /// The number of the turn in its session, from 1.
    pub turn: u32,
    /// From mouth to ear.
    pub whole: Whole,
    /// The hops that took part, in their order, each once.
    pub hops: Vec<HopAccount>,
    /// What no hop explains.
    pub unattributed: Duration,
    /// How much longer the hops said they took than the whole did. It was taken off the estimated ones, and off the
    /// measured ones only when nothing else was left; more than a few milliseconds means that an estimate is bad.
    pub overrun: Duration,
    /// Hops that were at work, but whose beginning or end nobody saw, or saw in the wrong order. Their time is in
    /// [`TurnAccount::unattributed`], as far as no other claim of theirs covers it.
    pub unknown: Vec<Hop>,
}

impl TurnAccount {
    /// From moments. A stretch goes to the one hop the turn waited for: of those at work the first in the order of hops,
    /// since those after it could not have ended the turn before it was done. Work beside the sequence comes last.
    ///
    /// # Errors
    /// Any [`LatencyError`].
    pub fn from_claims(
        turn: u32,
        mouth: &Stamp,
        ear: &Stamp,
        claims: &[Claim],
    ) -> Result<Self, LatencyError> {
        attribute(turn, mouth, ear, claims)
    }

    /// From what a session saw of the turn.
    ///
    /// # Errors
    /// Any [`LatencyError`].
    pub fn from_trace(trace: &TurnTrace) -> Result<Self, LatencyError> {
        let seen = trace.works.iter().map(Claim::from);
        let claims: Vec<Claim> = seen.chain(trace.unseen.iter().copied().map(Claim::unseen)).collect();
        attribute(trace.turn, &Stamp::from(&trace.mouth), &Stamp::from(&trace.ear), &claims)
    }

    /// From a waterfall whose hops are durations in sequence, and from what the whole was measured to be, if it was.
    /// Without that the hops are the whole.
    ///
    /// # Errors
    /// [`LatencyError::TooLong`].
    pub fn from_timeline(timeline: &TurnTimeline, whole: Option<Whole>) -> Result<Self, LatencyError> {
        fit(timeline, whole)
    }

    /// The account as a waterfall, `unattributed` last if there is any.
    #[must_use]
    pub fn timeline(&self) -> TurnTimeline {
        let hops = self.hops.iter().map(|hop| HopTime {
            hop: hop.hop,
            duration: hop.duration,
            certainty: hop.certainty,
        });
        let rest =
            HopTime { hop: Hop::Unattributed, duration: self.unattributed, certainty: self.whole.certainty };
        let rest = Some(rest).filter(|rest| !rest.duration.is_zero());
        TurnTimeline { turn: self.turn, hops: hops.chain(rest).collect() }
    }

    /// One hop, if it took part.
    #[must_use]
    pub fn hop(&self, hop: Hop) -> Option<&HopAccount> {
        self.hops.iter().find(|account| account.hop == hop)
    }

    /// What the turn waited for one owner's hops. Time that no hop explains is nobody's.
    #[must_use]
    pub fn owned_by(&self, owner: HopOwner) -> Duration {
        self.hops.iter().filter(|account| account.hop.owner() == owner).map(|account| account.duration).sum()
    }
}
