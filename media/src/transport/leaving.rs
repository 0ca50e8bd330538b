//! Relays about to stop, and whether the caller has moved away from them.
//!
//! Such a relay waits for its flows to end, so paths through it that merely are kept usable would hold it up until its
//! deadline. They are given up once the caller's own packets have come another way for a while. A relay believed dead is
//! another matter: its paths are kept, because the belief may be wrong.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// How long the caller must have sent through other relays before its paths through one that stops are given up: longer
/// than packets on their way through it take.
pub(super) const SETTLED: Duration = Duration::from_secs(1);
/// A caller not heard another way for this long may have gone back. Listeners report every five seconds.
const UNHEARD: Duration = Duration::from_secs(6);
/// Addresses remembered at a time.
const MOST_LEAVING: usize = 8;

#[derive(Debug, Default)]
pub(super) struct Leaving {
    /// Oldest first.
    relays: Vec<SocketAddr>,
    elsewhere: Option<Elsewhere>,
}

/// The caller's newest packets came through relays that stay.
#[derive(Debug, Clone, Copy)]
struct Elsewhere {
    since: Instant,
    latest: Instant,
}

impl Leaving {
    pub(super) fn leaves(&mut self, relay: SocketAddr) {
        self.stays(relay);
        if self.relays.len() == MOST_LEAVING {
            self.relays.remove(0);
        }
        self.relays.push(relay);
        // What came before says nothing: it may have come through this relay.
        self.elsewhere = None;
    }

    pub(super) fn stays(&mut self, relay: SocketAddr) {
        self.relays.retain(|leaving| *leaving != relay);
    }

    pub(super) fn names(&self, relay: SocketAddr) -> bool {
        self.relays.contains(&relay)
    }

    /// The caller's newest authenticated packet came through `relay`.
    pub(super) fn carried(&mut self, now: Instant, relay: SocketAddr) {
        if self.relays.is_empty() || self.names(relay) {
            self.elsewhere = None;
        } else {
            self.elsewhere.get_or_insert(Elsewhere { since: now, latest: now }).latest = now;
        }
    }

    /// The caller nominated a path through `relay`; if that one stops, the caller is about to go back to it.
    pub(super) fn chosen(&mut self, relay: SocketAddr) {
        if self.names(relay) {
            self.elsewhere = None;
        }
    }

    /// Whether the caller has moved to relays that stay, and is heard there.
    pub(super) fn has_settled(&self, now: Instant) -> bool {
        self.elsewhere.is_some_and(|elsewhere| {
            now.saturating_duration_since(elsewhere.since) >= SETTLED
                && now.saturating_duration_since(elsewhere.latest) < UNHEARD
        })
    }
}
