//! What a client that plays by itself has probably played.
//!
//! It gets audio faster than it plays it and tells nobody how far it is. Taken is: it plays every piece as soon as it has
//! it and the one before has ended. The Realtime API counts its idle timeout the same way.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use voxgate_protocol::id::ItemId;

/// Items whose playback is remembered.
const MOST_ITEMS: usize = 64;

#[derive(Debug)]
struct Played {
    item_id: ItemId,
    /// Where a run of it without a gap begins, and what of the item came before.
    begins: Instant,
    before: Duration,
    length: Duration,
}

impl Played {
    fn ends(&self) -> Instant {
        self.begins + self.length
    }
}

/// The playback of a message client.
#[derive(Debug, Default)]
pub(super) struct PlaybackEstimate {
    runs: VecDeque<Played>,
    /// Its end is still to be noticed.
    is_sounding: bool,
}

impl PlaybackEstimate {
    /// The client was sent this much of an item.
    pub(super) fn received(&mut self, now: Instant, item_id: &ItemId, length: Duration) {
        self.is_sounding = true;
        let ends = self.runs.back().map(Played::ends);
        let same = self.runs.back_mut().filter(|run| run.item_id == *item_id);
        let before = match same {
            Some(run) if run.ends() >= now => {
                run.length += length;
                return;
            }
            Some(run) => run.before + run.length,
            None => Duration::ZERO,
        };
        if self.runs.len() == MOST_ITEMS {
            self.runs.pop_front();
        }
        let begins = ends.map_or(now, |ends| ends.max(now));
        self.runs.push_back(Played { item_id: item_id.clone(), begins, before, length });
    }

    /// When a piece that comes now would be played.
    pub(super) fn next_begins(&self, now: Instant) -> Instant {
        self.runs.back().map_or(now, |run| run.ends().max(now))
    }

    /// When everything received so far has been played; `None` if nobody waits for that any more.
    pub(super) fn ends(&self) -> Option<Instant> {
        self.runs.back().map(Played::ends).filter(|_| self.is_sounding)
    }

    /// Its end was noticed.
    pub(super) const fn has_ended(&mut self) {
        self.is_sounding = false;
    }

    /// The client says itself what it has played.
    pub(super) fn forget(&mut self) {
        self.runs.clear();
        self.is_sounding = false;
    }

    /// The client was told to stop playing at this time.
    pub(super) fn stop(&mut self, at: Instant) {
        self.runs.retain_mut(|run| {
            run.length = run.length.min(at.saturating_duration_since(run.begins));
            !run.length.is_zero()
        });
        self.is_sounding = false;
    }

    /// The client was lost at this time. Gives the items that were not played to their end, each with what was.
    pub(super) fn cut(&mut self, at: Instant) -> Vec<(ItemId, Duration)> {
        let mut items: Vec<(ItemId, Duration)> = Vec::new();
        for run in self.runs.drain(..).filter(|run| run.ends() > at) {
            if items.iter().any(|(item_id, _)| *item_id == run.item_id) {
                continue;
            }
            items.push((run.item_id, run.before + at.saturating_duration_since(run.begins)));
        }
        items
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn pieces_are_played_one_after_the_other() {
        let start = Instant::now();
        let mut estimate = PlaybackEstimate::default();
        assert_eq!(estimate.ends(), None);
        for item in ["a", "a", "b"] {
            estimate.received(start, &item.into(), 2 * SECOND);
        }
        assert_eq!(estimate.ends(), Some(start + 6 * SECOND));
        let cut = estimate.cut(start + 3 * SECOND);
        assert_eq!(cut, [("a".into(), 3 * SECOND), ("b".into(), Duration::ZERO)]);
        assert_eq!(estimate.cut(start), []);
    }

    #[test]
    fn a_late_piece_leaves_a_gap_that_is_not_counted_as_heard() {
        let start = Instant::now();
        let mut estimate = PlaybackEstimate::default();
        estimate.received(start, &"a".into(), SECOND);
        estimate.received(start + 5 * SECOND, &"a".into(), 2 * SECOND);
        assert_eq!(estimate.ends(), Some(start + 7 * SECOND));
        assert_eq!(estimate.cut(start + 6 * SECOND), [("a".into(), 2 * SECOND)]);
    }

    #[test]
    fn what_the_caller_spoke_over_is_not_lost_again_and_delays_nothing() {
        let start = Instant::now();
        let mut estimate = PlaybackEstimate::default();
        estimate.received(start, &"a".into(), 20 * SECOND);
        estimate.stop(start + SECOND);
        assert_eq!(estimate.ends(), None);
        estimate.received(start + 2 * SECOND, &"b".into(), SECOND);
        assert_eq!(estimate.ends(), Some(start + 3 * SECOND));
        estimate.has_ended();
        assert_eq!(estimate.ends(), None);
        assert_eq!(estimate.cut(start + 2 * SECOND), [("b".into(), Duration::ZERO)]);
    }

    #[test]
    fn what_was_played_to_its_end_is_not_cut() {
        let start = Instant::now();
        let mut estimate = PlaybackEstimate::default();
        estimate.received(start, &"a".into(), SECOND);
        assert_eq!(estimate.cut(start + SECOND), []);
    }
}
