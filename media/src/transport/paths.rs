//! The network paths a caller has proven, and the one that carries the call.
//!
//! A path is proven by a connectivity check with a correct MESSAGE-INTEGRITY and by nothing else. Which of them carries
//! the call is decided by what the caller does, the stronger sign first:
//!
//! 1. The path on which its newest authenticated packet arrived: it has moved already.
//! 2. The path of its last nominating check, from another client address only once it has answered there, unless the check is older than the caller's last ICE restart or goes
//!    through a relay that is avoided: a relay that dies and comes back brings old nominations with it.
//! 3. When the current path is lost, the path last heard after it: a caller that does not nominate again (aiortc after
//!    a NAT rebinding) would otherwise never be heard. A path is lost when our own question on it went unanswered for a
//!    second, which is at the earliest 1.5 s after it fell silent. Being wrong costs nothing: the path moved to works
//!    too, and the next media packet moves the call back.
//!
//! Paths through a relay that is about to stop are given up (`leaving.rs`) once the call has moved to another.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use voxgate_protocol::path::ClientTransport;

use super::Path;
use super::leaving::Leaving;
use super::stun::TransactionId;
use super::warm::{self, Inquiry};

/// Paths kept for one call. A caller with a few interfaces and two relays stays far below.
const MOST_PATHS: usize = 16;
/// A path without a check or an answer for this long is forgotten; a caller's consent to be sent media lasts as long
/// (RFC 7675 section 5.1).
const IDLE: Duration = Duration::from_secs(30);
/// When the current path said nothing for this long it counts as lost even if it was never asked.
const SILENT: Duration = Duration::from_secs(6);
/// A path heard this recently is as good as one heard just now.
const FRESH: Duration = Duration::from_secs(3);
/// An idle path that answers nothing for this long is not worth moving to.
const DEAD: Duration = Duration::from_secs(3);
/// Relays avoided at a time.
const MOST_AVOIDED: usize = 8;

#[derive(Debug)]
struct Proven {
    path: Path,
    /// Number of the credentials of the last check.
    generation: u32,
    /// Last check or answer: what the caller's consent rests on.
    consented: Instant,
    /// Last authentic datagram of any kind.
    heard: Instant,
    inquiry: Inquiry,
    /// The caller receives here: it answered a question of ours, or its own packets came from here.
    is_reached: bool,
}

impl Proven {
    fn hear(&mut self, now: Instant) {
        self.heard = now;
        self.inquiry.heard();
    }

    fn is_lost(&self, now: Instant, patience: Duration) -> bool {
        self.inquiry.lost_at(patience).is_some_and(|lost| now >= lost)
    }
}

/// A verified check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Check {
    /// The caller wants this path to carry the call.
    pub(super) nominated: bool,
    /// Number of the credentials it came with.
    pub(super) generation: u32,
}

/// What a check changed.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Checked {
    /// The path was not proven before.
    pub(super) is_new: bool,
    /// The path given up to make room.
    pub(super) evicted: Option<Path>,
}

#[derive(Debug, Default)]
pub(super) struct Paths {
    proven: Vec<Proven>,
    current: Option<Path>,
    /// What a check asked to become current, and will be once the caller has answered there.
    wanted: Option<Path>,
    /// Something authenticated has come, so that the call has a path it can keep.
    has_carried: bool,
    /// Generation of the last nomination followed.
    nominated_in: u32,
    /// Relays believed dead, and since when.
    avoided: Vec<(SocketAddr, Instant)>,
    /// Relays about to stop.
    leaving: Leaving,
    /// The caller answers checks, so that not answering means something.
    answers: bool,
}

impl Paths {
    /// Where to send.
    pub(super) fn current(&self) -> Option<Path> {
        self.current
    }

    pub(super) fn is_proven(&self, path: Path) -> bool {
        self.find(path).is_some()
    }

    /// A check passed on `path`.
    pub(super) fn checked(&mut self, now: Instant, path: Path, check: Check) -> Checked {
        let nominated = check.nominated && check.generation >= self.nominated_in;
        if !nominated && !self.is_proven(path) && self.has_left(now, path.relay) {
            // An answer keeps the path in the caller's mind for the worst case; a flow would keep the relay.
            return Checked { is_new: false, evicted: None };
        }
        if nominated {
            self.nominated_in = check.generation;
            self.leaving.chosen(path.relay);
        }
        let current_is_avoided = self.current.is_some_and(|current| self.avoids(current.relay));
        let is_better = if self.avoids(path.relay) {
            nominated && current_is_avoided
        } else {
            nominated || current_is_avoided
        };
        if is_better || self.current_is_lost(now) {
            self.prefer(path);
        }
        if let Some(known) = self.find_mut(path) {
            known.generation = check.generation.max(known.generation);
            known.consented = now;
            known.hear(now);
            return Checked { is_new: false, evicted: None };
        }
        let evicted = if self.proven.len() >= MOST_PATHS { self.evict() } else { None };
        let generation = check.generation;
        self.proven.push(Proven {
            path,
            generation,
            consented: now,
            heard: now,
            inquiry: Inquiry::default(),
            is_reached: false,
        });
        Checked { is_new: true, evicted }
    }

    /// An authenticated packet arrived on `path`; `newest` if it is ahead of all before it.
    pub(super) fn heard(&mut self, now: Instant, path: Path, newest: bool) {
        let Some(known) = self.find_mut(path) else { return };
        known.hear(now);
        known.is_reached = true;
        self.has_carried = true;
        if newest {
            self.current = Some(path);
            self.wanted = None;
            // Whoever believed this relay dead was wrong, or it is back.
            self.avoided.retain(|(relay, _)| *relay != path.relay);
            self.leaving.carried(now, path.relay);
        }
    }

    /// The credentials of the question `transaction` that was put on `path` and is still open.
    pub(super) fn question(&self, path: Path, transaction: TransactionId) -> Option<u32> {
        let known = self.find(path).filter(|known| known.inquiry.expects(transaction));
        known.map(|known| known.generation)
    }

    /// The caller answered the question `transaction` on `path`.
    pub(super) fn answered(&mut self, now: Instant, path: Path, transaction: TransactionId) {
        if let Some(known) = self.find_mut(path) {
            known.inquiry.answered(transaction);
            known.consented = now;
            known.hear(now);
            known.is_reached = true;
            self.answers = true;
            if self.wanted == Some(path) {
                self.prefer(path);
            }
        }
    }

    /// Moves the call off `relay`, to the freshest path through another; true if it moved.
    ///
    /// Until newest media come through `relay`, its paths carry the call only when nothing else does.
    pub(super) fn avoid(&mut self, now: Instant, relay: SocketAddr) -> bool {
        self.avoided.retain(|(avoided, _)| *avoided != relay);
        if self.avoided.len() == MOST_AVOIDED {
            self.avoided.remove(0);
        }
        self.avoided.push((relay, now));
        if self.current.is_none_or(|current| current.relay != relay) {
            return false;
        }
        let usable = self.proven.iter().filter(|proven| {
            let dead = self.answers && proven.is_lost(now, DEAD);
            // A relay that was given up must have shown since then that it lives.
            let shunned = self.avoided_since(proven.path.relay).is_some_and(|since| proven.heard <= since);
            !dead && !shunned && proven.path.relay != relay
        });
        let best = usable.max_by_key(|proven| {
            let fresh = now.saturating_duration_since(proven.heard) <= FRESH;
            (fresh && proven.path.client.transport == ClientTransport::Udp, proven.heard)
        });
        let best = best.map(|proven| proven.path);
        self.current = best.or(self.current);
        best.is_some()
    }

    /// Takes relays back into use.
    pub(super) fn trust(&mut self, relays: impl Iterator<Item = SocketAddr>) {
        for relay in relays {
            self.avoided.retain(|(avoided, _)| *avoided != relay);
            self.leaving.stays(relay);
        }
    }

    /// `relay` is about to stop.
    pub(super) fn leave(&mut self, relay: SocketAddr) {
        self.leaving.leaves(relay);
    }

    /// `relay` does not stop after all, or is back.
    pub(super) fn stay(&mut self, relay: SocketAddr) {
        self.leaving.stays(relay);
    }

    /// Forgets the paths through relays that the call has left, and names them.
    pub(super) fn give_up(&mut self, now: Instant) -> Vec<Path> {
        let left: Vec<Path> = self
            .proven
            .iter()
            .map(|proven| proven.path)
            .filter(|path| self.has_left(now, path.relay))
            .collect();
        self.proven.retain(|proven| !left.contains(&proven.path));
        left
    }

    /// Leaves a lost path for the one last heard after it.
    pub(super) fn follow(&mut self, now: Instant) {
        if !self.current_is_lost(now) {
            return;
        }
        let lost = self.current.and_then(|current| self.find(current)).map(|lost| lost.heard);
        let later = self
            .proven
            .iter()
            .filter(|proven| self.may_carry(proven.path) && lost.is_none_or(|lost| proven.heard > lost));
        let best = later.max_by_key(|proven| (!self.avoids(proven.path.relay), proven.heard));
        self.current = best.map(|best| best.path).or(self.current);
    }

    /// The paths to ask now, with the credentials to use.
    pub(super) fn questions(&self, now: Instant) -> Vec<(Path, u32)> {
        let mut due: Vec<&Proven> =
            self.asked().filter(|proven| self.ask_at(proven, now).is_some_and(|at| at <= now)).collect();
        due.sort_by_key(|proven| proven.path);
        due.into_iter().map(|proven| (proven.path, proven.generation)).collect()
    }

    /// The question `transaction` was put on `path`.
    pub(super) fn ask(&mut self, now: Instant, path: Path, transaction: TransactionId) {
        if let Some(known) = self.find_mut(path) {
            known.inquiry.ask(now, transaction);
        }
    }

    /// When [`Paths::questions`] or [`Paths::follow`] has something to do.
    pub(super) fn poll_timeout(&self, now: Instant) -> Option<Instant> {
        let questions = self.asked().filter_map(|proven| self.ask_at(proven, now)).min();
        let current = self.current.and_then(|current| self.find(current));
        let lost = current.and_then(|current| current.inquiry.lost_at(warm::PATIENCE));
        // Once lost there is nothing more to wait for than what comes in.
        questions.into_iter().chain(lost.filter(|lost| *lost > now)).min()
    }

    /// Forgets paths the caller no longer cares for and names them.
    pub(super) fn expire(&mut self, now: Instant) -> Vec<Path> {
        let current = self.current;
        let (kept, idle) = std::mem::take(&mut self.proven).into_iter().partition(|proven| {
            Some(proven.path) == current || now.saturating_duration_since(proven.consented) < IDLE
        });
        self.proven = kept;
        idle.into_iter().map(|proven: Proven| proven.path).collect()
    }

    /// The path a check asked for and that has to be asked before it may carry the call.
    pub(super) const fn wanted(&self) -> Option<Path> {
        self.wanted
    }

    /// Makes a path current, at once or when it has answered.
    fn prefer(&mut self, path: Path) {
        if self.may_carry(path) {
            self.current = Some(path);
            self.wanted = None;
        } else {
            self.wanted = Some(path);
        }
    }

    /// Whether the call may be sent along a path on the word of a check. A check proves that its sender knows the
    /// password, not that it receives at the address it claims: with a forged one a caller could have its answer sent
    /// to somebody else. So once the call has a path that carried something, another client address must answer first.
    fn may_carry(&self, path: Path) -> bool {
        let is_elsewhere = self.current.is_some_and(|current| current.client != path.client);
        !self.has_carried || !is_elsewhere || self.find(path).is_some_and(|known| known.is_reached)
    }

    fn find(&self, path: Path) -> Option<&Proven> {
        self.proven.iter().find(|proven| proven.path == path)
    }

    fn find_mut(&mut self, path: Path) -> Option<&mut Proven> {
        self.proven.iter_mut().find(|proven| proven.path == path)
    }

    fn avoided_since(&self, relay: SocketAddr) -> Option<Instant> {
        self.avoided.iter().find(|(avoided, _)| *avoided == relay).map(|(_, since)| *since)
    }

    fn avoids(&self, relay: SocketAddr) -> bool {
        self.avoided_since(relay).is_some()
    }

    /// Whether `relay` is about to stop and the call goes well through another one, which is not.
    fn has_left(&self, now: Instant, relay: SocketAddr) -> bool {
        let stays = |current: Path| !self.leaving.names(current.relay) && !self.avoids(current.relay);
        self.leaving.names(relay)
            && self.leaving.has_settled(now)
            && self.current.is_some_and(stays)
            && !self.current_is_lost(now)
    }

    fn current_is_lost(&self, now: Instant) -> bool {
        self.current.and_then(|current| self.find(current)).is_none_or(|current| {
            current.is_lost(now, warm::PATIENCE) || now.saturating_duration_since(current.heard) >= SILENT
        })
    }

    /// The current path and the idle ones that are worth asking.
    fn asked(&self) -> impl Iterator<Item = &Proven> {
        let mut idle: Vec<&Proven> =
            self.proven.iter().filter(|proven| Some(proven.path) != self.current).collect();
        idle.sort_by_key(|proven| std::cmp::Reverse(proven.heard));
        idle.truncate(warm::MOST_ASKED);
        idle.into_iter().chain(self.current.and_then(|current| self.find(current)))
    }

    fn ask_at(&self, proven: &Proven, now: Instant) -> Option<Instant> {
        if Some(proven.path) == self.current {
            let due = proven.inquiry.next(warm::CURRENT_PAUSE)?;
            Some(due.not_before(proven.heard + warm::CURRENT_PAUSE))
        } else {
            Some(proven.inquiry.next(warm::IDLE_PAUSE)?.not_before(now))
        }
    }

    fn evict(&mut self) -> Option<Path> {
        let candidates =
            self.proven.iter().enumerate().filter(|(_, proven)| Some(proven.path) != self.current);
        let (oldest, _) = candidates.min_by_key(|(_, proven)| proven.heard)?;
        Some(self.proven.swap_remove(oldest).path)
    }
}

#[cfg(test)]
mod tests;
