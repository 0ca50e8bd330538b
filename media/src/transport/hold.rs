//! Holds the first answers back until the caller has tried every relay.
//!
//! A browser stops checking further candidates once one answers, and can then not fall back on the second relay when
//! the first dies. Answering only after each relay was tried makes it keep a working path through each of them.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::Path;
use super::stun::BindingRequest;

/// Longest wait for the other relays, counted from the first check. Browsers start a check every 50 ms.
pub(super) const LONGEST_HOLD: Duration = Duration::from_millis(150);
/// Checks held; more than a caller sends in that time.
const MOST_HELD: usize = 32;

type Held = (Path, BindingRequest);

#[derive(Debug)]
pub(super) struct Hold {
    untried: Vec<SocketAddr>,
    deadline: Option<Instant>,
    held: Vec<Held>,
}

impl Hold {
    pub(super) fn new(relays: &[SocketAddr]) -> Self {
        // With one relay there is nothing to wait for.
        let untried = if relays.len() > 1 { relays.to_vec() } else { Vec::new() };
        Self { untried, deadline: None, held: Vec::new() }
    }

    /// Takes a verified check and returns the checks to answer now.
    pub(super) fn checked(&mut self, now: Instant, path: Path, check: BindingRequest) -> Vec<Held> {
        self.untried.retain(|relay| *relay != path.relay);
        if self.held.len() < MOST_HELD {
            self.held.push((path, check));
        }
        let deadline = *self.deadline.get_or_insert(now + LONGEST_HOLD);
        if self.untried.is_empty() || now >= deadline { self.release() } else { Vec::new() }
    }

    /// The checks to answer because the wait is over.
    pub(super) fn expired(&mut self, now: Instant) -> Vec<Held> {
        if self.poll_timeout().is_some_and(|deadline| now >= deadline) { self.release() } else { Vec::new() }
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.deadline.filter(|_| !self.held.is_empty())
    }

    fn release(&mut self) -> Vec<Held> {
        self.untried.clear();
        std::mem::take(&mut self.held)
    }
}
