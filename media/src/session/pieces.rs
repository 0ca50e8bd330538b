//! The pieces a message client's audio comes in, held against their own time line.
//!
//! Messages carry no timestamps. But a caller speaks a second in a second: a piece cannot be spoken before its samples were, so the
//! piece that came earliest for its place in the stream tells where all others belong. What comes later was held up, by the network or by a
//! client that was busy; what comes earlier was never spoken live, and nobody waited for it.

use std::time::{Duration, Instant};

/// A piece later than this begins a time line of its own: its client fell silent in between and sent nothing. A network that holds
/// messages up for so long is not seen here.
const LONGEST_HOLD: Duration = Duration::from_secs(1);

/// How long the earliest piece is remembered, at least: until the clocks of both sides have drifted apart by half a millisecond.
const MEMORY: Duration = Duration::from_secs(5);

/// What a piece that is the first of its time line may have waited to be full: more than clients are known to bundle. It may as well
/// be a whole question out of a file.
const USUAL_PIECE: Duration = Duration::from_millis(250);

/// What was seen of the pieces since the session began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PieceStats {
    /// Messages with audio.
    pub pieces: u64,
    /// How unevenly they come: the interarrival jitter of RFC 3550 section 6.4.1, with the place of their last samples in
    /// the stream as their timestamps.
    pub jitter: Duration,
}

/// How a piece came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct MessagePiece {
    /// After the moment its last sample could have been there, if the client left nothing out before it.
    late: Duration,
    /// Before the moment its last sample can have been spoken, if it was spoken live.
    early: Duration,
    /// What its samples can have waited for it to be full.
    longest_wait: Duration,
    /// Its time line, and its place against that.
    line: u64,
    offset: i64,
}

impl MessagePiece {
    /// How long it was held up on its way, with what came after it: what was only held up is caught up with, and what the client
    /// left out is not.
    pub(super) fn held_up(&self, after: impl Iterator<Item = Self>) -> Duration {
        let least = after.filter(|piece| piece.line == self.line).map(|piece| piece.offset).min();
        let caught_up = self.offset.saturating_sub(least.unwrap_or(self.offset)).max(0);
        self.late.min(Duration::from_nanos(caught_up.unsigned_abs()))
    }

    /// How long a sample waited for those behind it.
    pub(super) fn wait(&self, behind: Duration) -> Duration {
        behind.saturating_sub(self.early).min(self.longest_wait)
    }
}

/// Follows the pieces of one client.
#[derive(Debug, Default)]
pub(super) struct PieceClock {
    line: Option<Line>,
    lines: u64,
    stats: PieceStats,
}

/// A time line. Offsets are arrivals less places in the stream, in nanoseconds.
#[derive(Debug)]
struct Line {
    zero: Instant,
    /// How much audio came.
    length: Duration,
    /// The least offset since `turned`, and in the time before.
    least: i64,
    least_before: i64,
    turned: Instant,
    last_late: Duration,
}

impl Line {
    const fn begin(now: Instant, length: Duration) -> Self {
        let least = 0_i64.saturating_sub(nanos(length));
        Self { zero: now, length, least, least_before: i64::MAX, turned: now, last_late: Duration::ZERO }
    }

    fn offset(&self, now: Instant) -> i64 {
        nanos(now.saturating_duration_since(self.zero)).saturating_sub(nanos(self.length))
    }

    fn note(&mut self, now: Instant, offset: i64) {
        if now.saturating_duration_since(self.turned) >= MEMORY {
            (self.least_before, self.least, self.turned) = (self.least, offset, now);
        }
        self.least = self.least.min(offset);
    }
}

impl PieceClock {
    /// A piece with this much sound came.
    pub(super) fn came(&mut self, now: Instant, length: Duration) -> MessagePiece {
        self.stats.pieces += 1;
        if let Some(line) = &mut self.line {
            line.length += length;
            let offset = line.offset(now);
            let least = line.least.min(line.least_before);
            let late = Duration::from_nanos(offset.saturating_sub(least).max(0).unsigned_abs());
            let early = Duration::from_nanos(least.saturating_sub(offset).max(0).unsigned_abs());
            if late <= LONGEST_HOLD {
                line.note(now, offset);
                let unevenness = late.abs_diff(std::mem::replace(&mut line.last_late, late));
                self.stats.jitter = smoothed(self.stats.jitter, unevenness);
                return MessagePiece { late, early, longest_wait: length, line: self.lines, offset };
            }
        }
        let line = Line::begin(now, length);
        let offset = line.least;
        self.line = Some(line);
        self.lines += 1;
        let (late, early) = (Duration::ZERO, Duration::ZERO);
        MessagePiece { late, early, longest_wait: length.min(USUAL_PIECE), line: self.lines, offset }
    }

    /// What comes next may come whenever it likes: the client says itself when it speaks.
    pub(super) fn restart(&mut self) {
        self.line = None;
    }

    pub(super) const fn stats(&self) -> PieceStats {
        self.stats
    }
}

/// A sixteenth of the way to the new value.
fn smoothed(before: Duration, now: Duration) -> Duration {
    before - before / 16 + now / 16
}

/// Up to 292 years.
const fn nanos(duration: Duration) -> i64 {
    let nanos = duration.as_nanos();
    if nanos > i64::MAX as u128 { i64::MAX } else { nanos as i64 }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    /// Pieces of 100 ms, each this many milliseconds after the first.
    fn came(arrivals: &[u32]) -> (Vec<MessagePiece>, PieceClock) {
        let start = Instant::now();
        let mut clock = PieceClock::default();
        let pieces = arrivals.iter().map(|at| clock.came(start + *at * MS, 100 * MS)).collect();
        (pieces, clock)
    }

    fn lates(arrivals: &[u32]) -> Vec<u128> {
        came(arrivals).0.iter().map(|piece| piece.late.as_millis()).collect()
    }

    #[test]
    fn pieces_that_come_as_they_are_spoken_are_never_late_and_wait_to_be_full() {
        let (pieces, clock) = came(&[0, 100, 200, 300]);
        assert!(pieces.iter().all(|piece| piece.late.is_zero()));
        assert_eq!((pieces[2].wait(70 * MS), pieces[2].wait(5 * MS)), (70 * MS, 5 * MS));
        assert_eq!(clock.stats(), PieceStats { pieces: 4, jitter: Duration::ZERO });
    }

    #[test]
    fn what_a_network_held_up_is_late_by_as_much() {
        assert_eq!(lates(&[0, 100, 450, 450, 450, 500]), [0, 0, 250, 150, 50, 0]);
        let (_, clock) = came(&[0, 100, 450, 450, 450, 500]);
        assert!((20 * MS..60 * MS).contains(&clock.stats().jitter), "{:?}", clock.stats());
    }

    #[test]
    fn the_first_piece_need_not_be_the_earliest() {
        assert_eq!(lates(&[0, 40, 140, 240]), [0, 0, 0, 0]);
        let (pieces, _) = came(&[0, 40, 140, 240]);
        assert_eq!(pieces[1].wait(100 * MS), 40 * MS, "it cannot have been spoken before the one before it");
    }

    #[test]
    fn nobody_waits_for_what_was_never_spoken_live() {
        let (pieces, clock) = came(&[0, 1, 2, 3]);
        for piece in &pieces[1..] {
            assert_eq!((piece.late, piece.wait(80 * MS)), (Duration::ZERO, Duration::ZERO));
        }
        assert!(clock.stats().jitter.is_zero(), "to come early is not uneven");
        let whole = PieceClock::default().came(Instant::now(), 60_000 * MS);
        assert_eq!(whole.wait(20_000 * MS), USUAL_PIECE);
    }

    #[test]
    fn a_client_that_sent_nothing_for_a_while_is_not_late() {
        assert_eq!(lates(&[0, 100, 1_900, 2_000, 2_050]), [0, 0, 0, 0, 0]);
        let (_, mut clock) = came(&[0, 100]);
        clock.restart();
        let next = clock.came(Instant::now() + 700 * MS, 20 * MS);
        assert_eq!(next.late, Duration::ZERO);
    }

    #[test]
    fn only_what_is_caught_up_with_was_held_up_on_the_way() {
        let held_up = |arrivals: &[u32]| {
            let (pieces, _) = came(arrivals);
            pieces[2].held_up(pieces[3..].iter().copied())
        };
        assert_eq!(held_up(&[0, 100, 450, 450, 450, 500]), 250 * MS);
        assert_eq!(
            held_up(&[0, 100, 450, 550, 650, 750]),
            Duration::ZERO,
            "the client sent nothing for a while"
        );
        assert_eq!(held_up(&[0, 100, 450, 450, 550, 650]), 100 * MS);
        assert_eq!(held_up(&[0, 1, 2, 3, 4, 5]), Duration::ZERO, "what comes early is not caught up with");
        assert_eq!(held_up(&[0, 100, 450]), Duration::ZERO, "nobody knows yet");
        assert_eq!(held_up(&[0, 100, 450, 2_000]), Duration::ZERO);
    }

    #[test]
    fn an_early_piece_is_forgotten_after_a_while() {
        let start = Instant::now();
        let mut clock = PieceClock::default();
        clock.came(start, 500 * MS);
        let late = |clock: &mut PieceClock, ms: u32| clock.came(start + ms * MS, 100 * MS).late;
        assert_eq!(late(&mut clock, 500), 400 * MS);
        let lates: Vec<_> = (6..=120).map(|number| late(&mut clock, number * 100)).collect();
        assert_eq!((lates[0], *lates.last().unwrap()), (400 * MS, Duration::ZERO));
    }
}
