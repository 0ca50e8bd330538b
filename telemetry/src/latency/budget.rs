//! What a turn may take, and which hop took more.

use std::collections::BTreeMap;
use std::time::Duration;

use voxgate_protocol::timeline::{Certainty, Hop, HopOwner};

use super::LONGEST_TURN;
use super::account::{TurnAccount, Whole};

/// What a budget is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Subject {
    /// From mouth to ear.
    Whole,
    /// One hop, or the time no hop explains.
    Hop(Hop),
}

impl Subject {
    /// Every subject: the whole, then the hops in order.
    pub fn all() -> impl Iterator<Item = Self> {
        std::iter::once(Self::Whole).chain(Hop::ALL.into_iter().map(Self::Hop))
    }

    /// The name in JSON and metrics: that of the hop, or `whole`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Whole => "whole",
            Self::Hop(hop) => hop.as_str(),
        }
    }
}

/// What the turns of a route may take. A subject without a budget may take any time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LatencyBudget {
    /// From mouth to ear.
    pub whole: Option<Duration>,
    /// Hop by hop. They may sum to more than the whole: a turn in which every hop uses all it has is too slow.
    pub hops: BTreeMap<Hop, Duration>,
}

/// What client, network and gateway may take of a turn, in milliseconds, whoever answers. Two frames for a device and for
/// reordering, 100 ms of round trip, the 6.5 ms Opus looks ahead, 500 ms of pause (the default of `silence_duration_ms`) and what finds its end, three
/// frames of jitter buffer and two of loudspeaker.
const AROUND: [(Hop, u32); 12] = [
    (Hop::Capture, 40),
    (Hop::Uplink, 50),
    (Hop::RelayIn, 5),
    (Hop::Jitter, 40),
    (Hop::Decode, 5),
    (Hop::Endpointing, 550),
    (Hop::Policy, 10),
    (Hop::Pacing, 20),
    (Hop::Encode, 12),
    (Hop::RelayOut, 5),
    (Hop::Downlink, 50),
    (Hop::Playout, 100),
];

impl LatencyBudget {
    /// For recognition, model and voice behind each other: 1.5 s, after which callers repeat themselves or leave.
    #[must_use]
    pub fn cascade() -> Self {
        let vendors = [(Hop::Stt, 150), (Hop::Model, 450), (Hop::Aggregation, 50), (Hop::Tts, 200)];
        Self::of(1_500, &vendors)
    }

    /// For a model that hears and speaks: 1.2 s. Above a second a pause is awkward; the default pause is half of it.
    #[must_use]
    pub fn speech_to_speech() -> Self {
        Self::of(1_200, &[(Hop::Model, 500)])
    }

    fn of(whole: u32, vendors: &[(Hop, u32)]) -> Self {
        let hops = AROUND.iter().chain(vendors);
        Self {
            whole: Some(Duration::from_millis(whole.into())),
            hops: hops.map(|(hop, budget)| (*hop, Duration::from_millis((*budget).into()))).collect(),
        }
    }

    /// The budget of one subject.
    #[must_use]
    pub fn of_subject(&self, subject: Subject) -> Option<Duration> {
        match subject {
            Subject::Whole => self.whole,
            Subject::Hop(hop) => self.hops.get(&hop).copied(),
        }
    }

    /// What is wrong with it, if anything: subjects whose budget is nothing, longer than any turn may last, or longer than
    /// that of the whole.
    #[must_use]
    pub fn faults(&self) -> Vec<Subject> {
        let longest = self.whole.unwrap_or(LONGEST_TURN).min(LONGEST_TURN);
        let is_wrong = |subject: &Subject| {
            let limit = if *subject == Subject::Whole { LONGEST_TURN } else { longest };
            self.of_subject(*subject).is_some_and(|budget| budget.is_zero() || budget > limit)
        };
        Subject::all().filter(is_wrong).collect()
    }

    /// What took more than it may, the whole first, then the hops in order.
    #[must_use]
    pub fn breaches(&self, account: &TurnAccount) -> Vec<Breach> {
        Subject::all().filter_map(|subject| self.breach(account, subject)).collect()
    }

    fn breach(&self, account: &TurnAccount, subject: Subject) -> Option<Breach> {
        let budget = self.of_subject(subject)?;
        let Whole { duration, certainty, error } = account.whole;
        let (spent, certainty, error) = match subject {
            Subject::Whole => (duration, certainty, error),
            Subject::Hop(Hop::Unattributed) => (account.unattributed, certainty, error),
            Subject::Hop(hop) => account.hop(hop).map(|hop| (hop.duration, hop.certainty, hop.error))?,
        };
        let spender = match subject {
            Subject::Whole => self.spender(account),
            Subject::Hop(hop) => Some(hop),
        };
        // An estimate without an error is one whose error nobody knows.
        let is_bounded = certainty == Certainty::Measured || !error.is_zero();
        let is_certain = is_bounded && spent.saturating_sub(error) > budget;
        (spent > budget).then_some(Breach { subject, spender, spent, budget, is_certain })
    }

    /// Who spent the whole: the hop furthest over its own budget; if all kept theirs, the longest.
    fn spender(&self, account: &TurnAccount) -> Option<Hop> {
        let rest = (Hop::Unattributed, account.unattributed);
        let spent = || account.hops.iter().map(|hop| (hop.hop, hop.duration)).chain([rest]);
        let excess = |(hop, spent): (Hop, Duration)| {
            let excess = spent.saturating_sub(*self.hops.get(&hop)?);
            (!excess.is_zero()).then_some((excess, hop))
        };
        let longest = || spent().map(|(hop, spent)| (spent, hop)).max();
        spent().filter_map(excess).max().or_else(longest).map(|(_, hop)| hop)
    }
}

/// A subject took more than its budget.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Breach {
    /// What.
    pub subject: Subject,
    /// The hop that spent it: of the whole the one furthest over its own budget, else the longest.
    pub spender: Option<Hop>,
    /// How long it took.
    pub spent: Duration,
    /// How long it may take.
    pub budget: Duration,
    /// Whether it is a breach even if an estimate is wrong by all it may be. Never with an estimate of
    /// which nobody knows how wrong it is.
    pub is_certain: bool,
}

impl Breach {
    /// Who can do something about it. Nobody, if no hop explains the time.
    #[must_use]
    pub fn owner(&self) -> Option<HopOwner> {
        self.spender.filter(|hop| *hop != Hop::Unattributed).map(Hop::owner)
    }
}

#[cfg(test)]
mod tests;
