//! The network paths a caller has proven, and the one that carries the call.
//!
//! A path is proven by a connectivity check with a correct MESSAGE-INTEGRITY and by nothing else. The call follows
//! the caller: to the path of the last nominating check, and to the path on which its newest media arrived.

use std::time::{Duration, Instant};

use super::Path;

/// Paths kept for one call. A caller with a few interfaces and two relays stays far below.
const MOST_PATHS: usize = 16;
/// A path without a check for this long is forgotten; browsers check a live path every 2.5 s, aiortc every 5 s.
const IDLE: Duration = Duration::from_secs(30);
/// When the current path said nothing for this long, a plain check on another path takes the call over: a peer
/// that does not nominate again (aiortc after a NAT rebinding) would otherwise never be heard.
const SILENT: Duration = Duration::from_secs(6);

#[derive(Debug)]
struct Proven {
    path: Path,
    checked: Instant,
    heard: Instant,
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
}

impl Paths {
    /// Where to send.
    pub(super) fn current(&self) -> Option<Path> {
        self.current
    }

    pub(super) fn is_proven(&self, path: Path) -> bool {
        self.proven.iter().any(|proven| proven.path == path)
    }

    /// A check passed on `path`.
    pub(super) fn checked(&mut self, now: Instant, path: Path, nominated: bool) -> Checked {
        let current_is_silent = self.current_heard().is_none_or(|heard| now.duration_since(heard) >= SILENT);
        if nominated || current_is_silent {
            self.current = Some(path);
        }
        if let Some(known) = self.proven.iter_mut().find(|proven| proven.path == path) {
            known.checked = now;
            known.heard = now;
            return Checked { is_new: false, evicted: None };
        }
        let evicted = if self.proven.len() >= MOST_PATHS { self.evict() } else { None };
        self.proven.push(Proven { path, checked: now, heard: now });
        Checked { is_new: true, evicted }
    }

    /// Authenticated media arrived on `path`; `newest` if it is ahead of all media before it.
    pub(super) fn heard(&mut self, now: Instant, path: Path, newest: bool) {
        if let Some(known) = self.proven.iter_mut().find(|proven| proven.path == path) {
            known.heard = now;
            if newest {
                self.current = Some(path);
            }
        }
    }

    /// Forgets paths that are no longer checked and names them.
    pub(super) fn expire(&mut self, now: Instant) -> Vec<Path> {
        let current = self.current;
        let (kept, idle) = std::mem::take(&mut self.proven)
            .into_iter()
            .partition(|proven| Some(proven.path) == current || now.duration_since(proven.checked) < IDLE);
        self.proven = kept;
        idle.into_iter().map(|proven: Proven| proven.path).collect()
    }

    fn current_heard(&self) -> Option<Instant> {
        let current = self.current?;
        self.proven.iter().find(|proven| proven.path == current).map(|proven| proven.heard)
    }

    fn evict(&mut self) -> Option<Path> {
        let candidates =
            self.proven.iter().enumerate().filter(|(_, proven)| Some(proven.path) != self.current);
        let (oldest, _) = candidates.min_by_key(|(_, proven)| proven.checked)?;
        Some(self.proven.swap_remove(oldest).path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(port: u16) -> Path {
        Path { relay: ([198, 51, 100, 1], 3478).into(), client: ([203, 0, 113, 9], port).into() }
    }

    #[test]
    fn the_call_follows_nomination_and_not_a_mere_check() {
        let start = Instant::now();
        let mut paths = Paths::default();
        assert!(paths.checked(start, path(1), false).is_new);
        assert_eq!(
            paths.current(),
            Some(path(1)),
            "the first proven path carries the call until one is nominated"
        );
        paths.checked(start, path(2), false);
        assert_eq!(paths.current(), Some(path(1)));
        paths.checked(start, path(2), true);
        assert_eq!(paths.current(), Some(path(2)));
    }

    #[test]
    fn newest_media_moves_the_call_only_between_proven_paths() {
        let start = Instant::now();
        let mut paths = Paths::default();
        paths.checked(start, path(1), true);
        paths.heard(start, path(7), true);
        assert_eq!(paths.current(), Some(path(1)));
        paths.checked(start, path(2), false);
        paths.heard(start, path(2), false);
        assert_eq!(paths.current(), Some(path(1)), "late media does not pull the call back");
        paths.heard(start, path(2), true);
        assert_eq!(paths.current(), Some(path(2)));
    }

    #[test]
    fn a_check_takes_over_from_a_silent_path() {
        let start = Instant::now();
        let mut paths = Paths::default();
        paths.checked(start, path(1), true);
        paths.checked(start + SILENT, path(2), false);
        assert_eq!(paths.current(), Some(path(2)));
    }

    #[test]
    fn the_table_is_bounded_and_the_current_path_is_never_given_up() {
        let start = Instant::now();
        let mut paths = Paths::default();
        paths.checked(start, path(1), true);
        let mut evicted = 0;
        for port in 2..200 {
            let now = start + Duration::from_millis(u64::from(port));
            evicted += usize::from(paths.checked(now, path(port), false).evicted.is_some());
        }
        assert_eq!(evicted, 199 - MOST_PATHS);
        assert!(paths.is_proven(path(1)));
        assert_eq!(paths.expire(start + 2 * IDLE).len(), MOST_PATHS - 1);
        assert!(paths.is_proven(path(1)));
    }
}
