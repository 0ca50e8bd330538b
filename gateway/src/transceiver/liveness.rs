//! Which relays live, judged from when frames of theirs came.
//!
//! Relays send a heartbeat every 50 ms or so. A relay that was not heard for [`SILENT_AFTER`] while another one was heard
//! within [`OTHER_WITHIN`] is dead or cut off. Silence of everybody says something about this node or its network and
//! is no reason to move calls. Nor is the silence of one call: paths of live calls fall silent for 150 to 250 ms
//! whenever a browser or a host is busy.

use std::time::{Duration, Instant};

/// A relay unheard for this long is silent, if another is heard: three heartbeats lost and the fourth late.
pub(super) const SILENT_AFTER: Duration = Duration::from_millis(200);

/// How lately another relay must have been heard: one heartbeat may have been lost.
const OTHER_WITHIN: Duration = Duration::from_millis(100);

/// A loop that did not turn for this long was stalled, or nobody was heard: the clock of silence proves nothing then.
const STALLED_AFTER: Duration = Duration::from_millis(100);

/// Time everybody gets to be heard after a stall.
const GRACE: Duration = Duration::from_millis(100);

/// What a relay can be used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum RelayState {
    /// Heard, and to be used.
    Alive,
    /// Heard, but about to stop.
    Draining,
    /// Not heard: never yet, or not for too long.
    Silent,
}

impl RelayState {
    /// Every state, for metrics.
    pub(super) const ALL: [Self; 3] = [Self::Alive, Self::Draining, Self::Silent];

    /// The state's name in metrics and logs.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Alive => "alive",
            Self::Draining => "draining",
            Self::Silent => "silent",
        }
    }
}

#[derive(Clone, Copy, Debug, Default)]
struct Watched {
    heard_at: Option<Instant>,
    is_silent: bool,
    is_draining: bool,
}

impl Watched {
    const fn state(&self) -> RelayState {
        match (self.heard_at, self.is_silent, self.is_draining) {
            (None, ..) | (_, true, _) => RelayState::Silent,
            (_, _, true) => RelayState::Draining,
            _ => RelayState::Alive,
        }
    }
}

/// The watch over all relays of a node, each named by its place in the list.
#[derive(Debug)]
pub(super) struct Liveness {
    relays: Vec<Watched>,
    turned_at: Instant,
    not_before: Instant,
}

impl Liveness {
    /// Watches this many relays, none of them heard yet.
    pub(super) fn new(relays: usize, now: Instant) -> Self {
        Self { relays: vec![Watched::default(); relays], turned_at: now, not_before: now }
    }

    /// What a relay can be used for; silent for one that is not in the list.
    pub(super) fn state(&self, relay: usize) -> RelayState {
        self.relays.get(relay).map_or(RelayState::Silent, Watched::state)
    }

    /// The states of all relays in the order of the list.
    pub(super) fn states(&self) -> impl Iterator<Item = RelayState> + Clone {
        self.relays.iter().map(Watched::state)
    }

    /// Whether a relay, heard or not, last said that it is about to stop.
    pub(super) fn is_draining(&self, relay: usize) -> bool {
        self.relays.get(relay).is_some_and(|watched| watched.is_draining)
    }

    /// The loop begins a turn. Call it before frames are read.
    pub(super) fn turned(&mut self, now: Instant) {
        if now.saturating_duration_since(self.turned_at) > STALLED_AFTER {
            self.not_before = now + GRACE;
        }
        self.turned_at = now;
    }

    /// An authentic frame came; a heartbeat says whether the relay is `draining`. True if that changed its state.
    pub(super) fn heard(&mut self, now: Instant, relay: usize, draining: Option<bool>) -> bool {
        let Some(watched) = self.relays.get_mut(relay) else { return false };
        let before = watched.state();
        watched.heard_at = Some(now);
        watched.is_silent = false;
        watched.is_draining = draining.unwrap_or(watched.is_draining);
        watched.state() != before
    }

    /// The relays that have fallen silent by `now`. They are declared so only if `all_was_read`: whether no datagram
    /// waits in the socket. It is asked only when somebody is suspected.
    pub(super) fn fallen_silent(&mut self, now: Instant, all_was_read: impl FnOnce() -> bool) -> Vec<usize> {
        let suspects: Vec<usize> =
            (0..self.relays.len()).filter(|relay| self.is_suspect(now, *relay)).collect();
        if suspects.is_empty() || !all_was_read() {
            return Vec::new();
        }
        for relay in &suspects {
            self.relays[*relay].is_silent = true;
        }
        suspects
    }

    /// When [`Liveness::fallen_silent`] has to be asked without a frame having come.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        if self.relays.len() < 2 {
            return None;
        }
        let live = self.relays.iter().filter(|watched| !watched.is_silent);
        let due =
            live.filter_map(|watched| watched.heard_at).map(|at| (at + SILENT_AFTER).max(self.not_before));
        // What was due before this turn was looked at in it; the next frame of another relay asks again.
        due.filter(|at| *at > self.turned_at).min()
    }

    fn is_suspect(&self, now: Instant, relay: usize) -> bool {
        let unheard = |watched: &Watched| watched.heard_at.map(|at| now.saturating_duration_since(at));
        let watched = &self.relays[relay];
        let another_is_heard = self.relays.iter().enumerate().any(|(other, watched)| {
            other != relay && unheard(watched).is_some_and(|unheard| unheard <= OTHER_WITHIN)
        });
        now >= self.not_before
            && !watched.is_silent
            && unheard(watched).is_some_and(|unheard| unheard >= SILENT_AFTER)
            && another_is_heard
    }
}

#[cfg(test)]
mod tests;
