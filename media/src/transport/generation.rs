//! The ICE credentials of a call: one generation from the offer, one more from every ICE restart.
//!
//! After a restart the caller's checks with the old credentials are answered on until the new ones have proven
//! themselves and [`GRACE`] is over, so that media never wait for the restart.

use std::time::{Duration, Instant};

use super::hold::Hold;
use super::stun::{BindingRequest, StunRejection};

/// How long older credentials stay valid after the first check with newer ones.
pub(super) const GRACE: Duration = Duration::from_secs(30);
/// Shortest pause between two restarts of one call.
pub(super) const RESTART_PAUSE: Duration = Duration::from_millis(200);
/// Generations kept: the one in use, and restarts of which no check has come yet.
const MOST_KEPT: usize = 4;

/// The credentials of both sides.
pub(super) struct Generation {
    /// Counts from zero, the first offer's.
    pub(super) number: u32,
    pub(super) hold: Hold,
    pub(super) password: String,
    pub(super) peer_password: String,
    ufrag: String,
    peer_ufrag: String,
    valid_until: Option<Instant>,
}

impl Generation {
    pub(super) fn new(hold: Hold, own: (&str, &str), peer: (&str, &str)) -> Self {
        Self {
            number: 0,
            hold,
            ufrag: own.0.to_owned(),
            password: own.1.to_owned(),
            peer_ufrag: peer.0.to_owned(),
            peer_password: peer.1.to_owned(),
            valid_until: None,
        }
    }

    /// What a check of ours is addressed to.
    pub(super) fn peer_username(&self) -> String {
        format!("{}:{}", self.peer_ufrag, self.ufrag)
    }

    fn is_valid(&self, now: Instant) -> bool {
        self.valid_until.is_none_or(|until| now < until)
    }

    /// Whether a check names these credentials: `own:peer` fragments.
    fn is_named_by(&self, username: &[u8]) -> bool {
        let rest = username.strip_prefix(self.ufrag.as_bytes());
        rest.and_then(|rest| rest.strip_prefix(b":")).is_some_and(|rest| rest == self.peer_ufrag.as_bytes())
    }
}

impl std::fmt::Debug for Generation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Generation").field("number", &self.number).finish_non_exhaustive()
    }
}

/// All generations that may still be used, the newest last.
#[derive(Debug)]
pub(super) struct Generations {
    kept: Vec<Generation>,
    /// The newest one a check came with.
    used: u32,
    started: u32,
    restarted: Option<Instant>,
}

impl Generations {
    pub(super) fn new(first: Generation) -> Self {
        Self { kept: vec![first], used: 0, started: 0, restarted: None }
    }

    /// How many restarts there were.
    pub(super) fn restarts(&self) -> u32 {
        self.started
    }

    pub(super) fn get(&self, number: u32) -> Option<&Generation> {
        self.kept.iter().find(|generation| generation.number == number)
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Generation> {
        self.kept.iter_mut()
    }

    /// When the first of the holds ends.
    pub(super) fn poll_hold(&self) -> Option<Instant> {
        self.kept.iter().filter_map(|generation| generation.hold.poll_timeout()).min()
    }

    /// Whether a restart at `now` is too soon after the one before.
    pub(super) fn is_too_soon(&self, now: Instant) -> bool {
        self.restarted.is_some_and(|at| now.saturating_duration_since(at) < RESTART_PAUSE)
    }

    /// Whether the fragment of the peer belongs to a generation already kept.
    pub(super) fn knows(&self, peer_ufrag: &str) -> bool {
        self.kept.iter().any(|generation| generation.peer_ufrag == peer_ufrag)
    }

    pub(super) fn restart(&mut self, now: Instant, mut generation: Generation) {
        self.expire(now);
        if self.kept.len() == MOST_KEPT {
            // A caller that restarts again and again gives its oldest attempts up; what carries the call stays.
            let oldest = self.kept.iter().position(|generation| generation.number != self.used);
            self.kept.remove(oldest.unwrap_or(0));
        }
        self.started = self.started.saturating_add(1);
        generation.number = self.started;
        self.restarted = Some(now);
        self.kept.push(generation);
    }

    /// Reads a check and finds the credentials it was made with.
    pub(super) fn verify(
        &self,
        now: Instant,
        datagram: &[u8],
    ) -> Result<(u32, BindingRequest), StunRejection> {
        let mut found = None;
        let check = BindingRequest::verify(datagram, |username| {
            let mut valid = self.kept.iter().filter(|generation| generation.is_valid(now));
            let named = valid.find(|generation| generation.is_named_by(username))?;
            found = Some(named.number);
            Some(named.password.as_str())
        })?;
        found.map(|number| (number, check)).ok_or(StunRejection::Username)
    }

    /// A check with the credentials `number` came, so the caller has them; older ones begin to expire.
    pub(super) fn checked(&mut self, now: Instant, number: u32) {
        if number <= self.used {
            return;
        }
        self.used = number;
        for older in self.kept.iter_mut().filter(|generation| generation.number < number) {
            older.valid_until.get_or_insert(now + GRACE);
        }
    }

    pub(super) fn expire(&mut self, now: Instant) {
        self.kept.retain(|generation| generation.is_valid(now));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transport::stun;

    const PASSWORD: &str = "a password of a good length";

    fn generation(peer: &str) -> Generation {
        Generation::new(Hold::new(&[], Duration::ZERO), ("own", PASSWORD), (peer, PASSWORD))
    }

    fn is_valid(generations: &Generations, now: Instant, peer: &str) -> bool {
        let check = stun::nominating_check([1; 12], &format!("own:{peer}"), PASSWORD);
        generations.verify(now, &check).is_ok()
    }

    #[test]
    fn old_credentials_outlive_the_first_use_of_new_ones_by_the_grace_and_no_more() {
        let start = Instant::now();
        let mut generations = Generations::new(generation("first"));
        generations.restart(start, generation("second"));
        let later = start + 10 * GRACE;
        assert!(is_valid(&generations, later, "first"), "nobody used the new ones yet");
        generations.checked(later, 1);
        generations.checked(later + GRACE / 2, 1);
        assert!(is_valid(&generations, later + GRACE - Duration::from_millis(1), "first"));
        assert!(!is_valid(&generations, later + GRACE, "first"));
        assert!(is_valid(&generations, later + GRACE, "second"));
        generations.expire(later + GRACE);
        assert!(generations.get(0).is_none() && generations.get(1).is_some());
    }

    #[test]
    fn a_caller_that_only_restarts_keeps_the_credentials_in_use_and_few_others() {
        let start = Instant::now();
        let mut generations = Generations::new(generation("in use"));
        for number in 1..=50u32 {
            let now = start + number * RESTART_PAUSE;
            assert!(!generations.is_too_soon(now));
            generations.restart(now, generation(&format!("attempt{number}")));
            assert!(generations.is_too_soon(now + RESTART_PAUSE / 2));
            assert!(generations.kept.len() <= MOST_KEPT);
            assert!(is_valid(&generations, now, "in use"));
            assert!(is_valid(&generations, now, &format!("attempt{number}")));
        }
        assert!(!is_valid(&generations, start + Duration::from_secs(20), "attempt40"));
        assert_eq!(generations.restarts(), 50);
    }

    #[test]
    fn a_username_must_match_as_a_whole() {
        let generations = Generations::new(generation("peer"));
        let now = Instant::now();
        for wrong in ["peers", "pee", "", "peer:", "x"] {
            assert!(!is_valid(&generations, now, wrong), "{wrong}");
        }
        assert!(is_valid(&generations, now, "peer"));
    }
}
