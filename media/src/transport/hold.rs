//! Holds the first answers back until the caller has tried every relay.
//!
//! A browser stops checking further candidates once one answers, and can then not fall back on the second relay when
//! the first dies. Answering only after each relay was tried makes it keep a working path through each of them.
//!
//! Only UDP relays are waited for. A check over TCP that comes before any over UDP is answered at once.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use voxgate_protocol::path::ClientTransport;

use super::stun::BindingRequest;
use super::{Path, RelayCandidate};

/// Longest wait for the other relays when a call begins, counted from the first check. Browsers start a check every
/// 50 ms.
pub(super) const LONGEST_HOLD: Duration = Duration::from_millis(150);
/// The same after an ICE restart of a caller whose media flow meanwhile, so that waiting costs nothing. A browser whose
/// path works starts a check every 480 ms only.
pub(super) const LONGEST_HOLD_AFTER_RESTART: Duration = Duration::from_millis(600);
/// Checks held; more than a caller sends in that time.
const MOST_HELD: usize = 32;

type Held = (Path, BindingRequest);

#[derive(Debug)]
pub(super) struct Hold {
    untried: Vec<SocketAddr>,
    longest: Duration,
    deadline: Option<Instant>,
    held: Vec<Held>,
}

impl Hold {
    pub(super) fn new(relays: &[RelayCandidate], longest: Duration) -> Self {
        let udp = relays.iter().filter(|relay| relay.transport == ClientTransport::Udp);
        let mut untried: Vec<SocketAddr> = udp.map(|relay| relay.address).collect();
        if untried.len() < 2 {
            // With one relay there is nothing to wait for.
            untried.clear();
        }
        Self { untried, longest, deadline: None, held: Vec::new() }
    }

    /// Takes a verified check and returns the checks to answer now.
    pub(super) fn checked(&mut self, now: Instant, path: Path, check: BindingRequest) -> Vec<Held> {
        let by_udp = path.client.transport == ClientTransport::Udp;
        if !by_udp && self.deadline.is_none() {
            // The network may let no UDP through, and then nothing else will ever come.
            return vec![(path, check)];
        }
        self.untried.retain(|relay| !by_udp || *relay != path.relay);
        if self.held.len() < MOST_HELD {
            self.held.push((path, check));
        }
        let deadline = *self.deadline.get_or_insert(now + self.longest);
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

#[cfg(test)]
mod tests {
    use voxgate_protocol::path::ClientAddress;

    use super::*;

    const UDP: [u8; 2] = [1, 2];
    const STREAM: u8 = 3;
    const CHECK: BindingRequest =
        BindingRequest { transaction: [1; 12], nominated: false, peer_is_controlled: false };

    fn address(relay: u8) -> SocketAddr {
        ([198, 51, 100, relay], 3478).into()
    }

    fn path(relay: u8) -> Path {
        let socket = ([203, 0, 113, 9], 1).into();
        let client = if relay == STREAM { ClientAddress::tcp(socket) } else { ClientAddress::udp(socket) };
        Path { relay: address(relay), client }
    }

    fn hold() -> Hold {
        let mut relays = UDP.map(address).map(RelayCandidate::udp).to_vec();
        relays.push(RelayCandidate::tcp(address(STREAM)));
        Hold::new(&relays, LONGEST_HOLD)
    }

    #[test]
    fn a_check_over_tcp_waits_only_when_udp_is_known_to_work() {
        let now = Instant::now();
        let mut hold = hold();
        assert_eq!(hold.checked(now, path(STREAM), CHECK), [(path(STREAM), CHECK)]);
        assert_eq!(hold.poll_timeout(), None);
        assert!(hold.checked(now, path(UDP[0]), CHECK).is_empty());
        assert!(hold.checked(now, path(STREAM), CHECK).is_empty());
        let released = hold.checked(now, path(UDP[1]), CHECK);
        assert_eq!(released.iter().map(|(path, _)| *path).collect::<Vec<_>>(), [1, STREAM, 2].map(path));
    }

    #[test]
    fn one_udp_relay_beside_a_tcp_one_is_answered_at_once() {
        let relays = [RelayCandidate::udp(address(1)), RelayCandidate::tcp(address(STREAM))];
        let mut hold = Hold::new(&relays, LONGEST_HOLD);
        assert_eq!(hold.checked(Instant::now(), path(1), CHECK).len(), 1);
    }

    #[test]
    fn what_is_held_is_bounded_and_let_go_at_the_deadline() {
        let now = Instant::now();
        let mut hold = hold();
        for _ in 0..1000 {
            assert!(hold.checked(now, path(UDP[0]), CHECK).is_empty());
        }
        assert!(hold.expired(now + LONGEST_HOLD / 2).is_empty());
        assert_eq!(hold.expired(now + LONGEST_HOLD).len(), MOST_HELD);
        assert_eq!(hold.checked(now + LONGEST_HOLD, path(UDP[0]), CHECK).len(), 1);
    }
}
