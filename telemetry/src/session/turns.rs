//! The turns of a session: how they are shown, and how slow they were.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use voxgate_protocol::timeline::Hop;
use voxgate_protocol::usage::TokenUsage;

use crate::latency::account::HopAccount;
use crate::latency::budget::{Breach, LatencyBudget, Subject};

use super::facts::{Serving, TurnNote};
use super::kept::{Kept, Stamped};
use super::view::{BreachView, HopView, StretchView, TokensView, TurnView};

/// Turns that decide which session is the worst at present.
pub(super) const RECENT: usize = 10;

impl Stamped for TurnView {
    type Key = u32;

    fn key(&self) -> u32 {
        self.turn
    }

    fn seq(&self) -> u64 {
        self.seq
    }

    fn stamp(&mut self, seq: u64) {
        self.seq = seq;
    }
}

/// The last turns, and what is known of all of them.
#[derive(Clone, Debug)]
pub(super) struct Turns {
    kept: Kept<TurnView>,
    /// The times of the kept turns in whole microseconds, in their order of coming and in order of size.
    times: VecDeque<u64>,
    sorted: Vec<u64>,
    measured: u32,
    breached: u32,
    spenders: [u32; Hop::ALL.len()],
    recent: VecDeque<bool>,
}

impl Turns {
    pub(super) const fn new(most: usize) -> Self {
        Self {
            kept: Kept::new(most),
            times: VecDeque::new(),
            sorted: Vec::new(),
            measured: 0,
            breached: 0,
            spenders: [0; Hop::ALL.len()],
            recent: VecDeque::new(),
        }
    }

    /// A turn was measured.
    pub(super) fn add(&mut self, seq: u64, at: Duration, note: TurnNote<'_>, serving: &Serving) {
        let view = turn_view(at, note, serving);
        self.measured = self.measured.saturating_add(1);
        self.breached = self.breached.saturating_add(u32::from(!note.breaches.is_empty()));
        for spender in note.breaches.iter().filter_map(|breach| breach.spender) {
            if let Some(count) = self.spenders.get_mut(spender as usize) {
                *count = count.saturating_add(1);
            }
        }
        if self.recent.len() == RECENT {
            self.recent.pop_front();
        }
        self.recent.push_back(note.breaches.iter().any(|breach| breach.subject == Subject::Whole));
        let time = note.account.whole.duration.as_micros() as u64;
        self.times.push_back(time);
        self.sorted.insert(self.sorted.partition_point(|other| *other < time), time);
        if self.kept.push(seq, view).is_some()
            && let Some(oldest) = self.times.pop_front()
        {
            self.sorted.remove(self.sorted.partition_point(|other| *other < oldest));
        }
    }

    /// Changes a turn that is still kept.
    pub(super) fn change(&mut self, seq: u64, turn: u32, change: impl FnOnce(&mut TurnView)) -> bool {
        self.kept.change(seq, &turn, change)
    }

    /// The number of the newest turn.
    pub(super) fn newest(&self) -> Option<&TurnView> {
        self.kept.newest().next()
    }

    /// The newest first.
    pub(super) fn last(&self, most: usize) -> Vec<TurnView> {
        self.kept.newest().take(most).cloned().collect()
    }

    /// A quantile of the kept turns by the nearest rank, exactly. `percent` is 1 to 100.
    pub(super) fn quantile(&self, percent: usize) -> Option<Duration> {
        let rank = (self.sorted.len() * percent).div_ceil(100).max(1);
        self.sorted.get(rank - 1).map(|micros| Duration::from_micros(*micros))
    }

    pub(super) const fn measured(&self) -> u32 {
        self.measured
    }

    pub(super) const fn breached(&self) -> u32 {
        self.breached
    }

    /// Of the last turns, those whose whole took too long.
    pub(super) fn recent_breaches(&self) -> u32 {
        self.recent.iter().filter(|is_breach| **is_breach).count() as u32
    }

    /// The hop that spent most of the broken budgets; of several the first in their order.
    pub(super) fn worst_hop(&self) -> Option<Hop> {
        let most = self.spenders.iter().copied().max().filter(|most| *most > 0)?;
        Hop::ALL.into_iter().zip(self.spenders).find(|(_, count)| *count == most).map(|(hop, _)| hop)
    }

    pub(super) fn since(&self, revision: u64) -> Vec<Arc<TurnView>> {
        self.kept.since(revision)
    }

    pub(super) fn len(&self) -> usize {
        self.kept.len()
    }

    pub(super) const fn is_truncated(&self) -> bool {
        self.kept.is_truncated()
    }
}

fn turn_view(at: Duration, note: TurnNote<'_>, serving: &Serving) -> TurnView {
    let TurnNote { account, budget, breaches } = note;
    let budget_of = |subject| budget.and_then(|budget: &LatencyBudget| budget.of_subject(subject));
    let hops = account.hops.iter().map(|hop| hop_view(hop, budget_of(Subject::Hop(hop.hop))));
    let is_served = !serving.provider.is_empty();
    TurnView {
        seq: 0,
        turn: account.turn,
        at_ms: milliseconds(at),
        mouth_to_ear_ms: milliseconds(account.whole.duration),
        certainty: account.whole.certainty,
        error_ms: milliseconds(account.whole.error),
        budget_ms: budget_of(Subject::Whole).map(milliseconds),
        route: serving.route.clone(),
        provider: is_served.then(|| serving.provider.clone()),
        region: serving.region.clone(),
        model: serving.model.clone(),
        interrupted: false,
        cost_nano_dollars: None,
        tokens: None,
        hops: hops.collect(),
        unattributed_ms: milliseconds(account.unattributed),
        overrun_ms: milliseconds(account.overrun),
        unknown: account.unknown.clone(),
        breaches: breaches.iter().map(breach_view).collect(),
    }
}

fn hop_view(hop: &HopAccount, budget: Option<Duration>) -> HopView {
    let stretches = hop.stretches.iter().map(|stretch| StretchView {
        start_ms: milliseconds(stretch.start),
        duration_ms: milliseconds(stretch.duration),
        overlapped: stretch.is_overlapped,
    });
    HopView {
        hop: hop.hop,
        owner: hop.hop.owner(),
        certainty: hop.certainty,
        duration_ms: milliseconds(hop.duration),
        overlapped_ms: milliseconds(hop.overlapped),
        ahead_ms: milliseconds(hop.ahead),
        error_ms: milliseconds(hop.error),
        budget_ms: budget.map(milliseconds),
        stretches: stretches.collect(),
    }
}

fn breach_view(breach: &Breach) -> BreachView {
    BreachView {
        subject: breach.subject.as_str().to_owned(),
        spender: breach.spender,
        owner: breach.owner(),
        budget_ms: milliseconds(breach.budget),
        spent_ms: milliseconds(breach.spent),
        certain: breach.is_certain,
    }
}

impl TokensView {
    /// With what one more answer used.
    pub(super) fn plus(self, usage: &TokenUsage) -> Self {
        let cached = usage.cached_text.saturating_add(usage.cached_audio).saturating_add(usage.cached_image);
        Self {
            input_text: self.input_text.saturating_add(usage.input_text),
            input_audio: self.input_audio.saturating_add(usage.input_audio),
            cached: self.cached.saturating_add(cached),
            output_text: self.output_text.saturating_add(usage.output_text),
            output_audio: self.output_audio.saturating_add(usage.output_audio),
        }
    }
}

/// Exact to the nanosecond for all that fits a session.
pub(super) fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1_000.0
}
