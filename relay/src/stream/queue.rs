//! What waits for one connection, bounded in bytes and in time.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use voxgate_protocol::framing::{LENGTH_BYTES, MAX_DATAGRAM};

/// Datagrams in the order they are to be written. Its memory grows to what has waited at most and is reused.
#[derive(Clone, Debug)]
pub(super) struct SendQueue {
    bytes: VecDeque<u8>,
    waiting: VecDeque<Waiting>,
    most_bytes: usize,
    longest_wait: Duration,
}

#[derive(Clone, Copy, Debug)]
struct Waiting {
    since: Instant,
    length: u16,
}

/// What one [`SendQueue::take`] moved.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Taken {
    /// Datagrams framed.
    pub(super) frames: u64,
    /// Datagrams that had waited too long.
    pub(super) stale: u64,
}

impl SendQueue {
    pub(super) const fn new(most_bytes: usize, longest_wait: Duration) -> Self {
        Self { bytes: VecDeque::new(), waiting: VecDeque::new(), most_bytes, longest_wait }
    }

    /// Appends a datagram; `false` when there is no room for it or it is none that a frame can hold.
    pub(super) fn push(&mut self, now: Instant, datagram: &[u8]) -> bool {
        let room = self.most_bytes.saturating_sub(self.bytes.len());
        let fits = (1..=MAX_DATAGRAM.min(room)).contains(&datagram.len());
        if fits && let Ok(length) = u16::try_from(datagram.len()) {
            self.bytes.extend(datagram);
            self.waiting.push_back(Waiting { since: now, length });
        }
        fits
    }

    /// Moves datagrams to `out` as frames, oldest first, until `out` holds `most` bytes, and drops those that have
    /// waited too long. One datagram at least is moved, if there is a fresh one.
    pub(super) fn take(&mut self, now: Instant, out: &mut Vec<u8>, most: usize) -> Taken {
        let mut taken = Taken::default();
        while let Some(Waiting { since, length }) = self.waiting.front().copied() {
            let stale = now.saturating_duration_since(since) > self.longest_wait;
            let frame = LENGTH_BYTES + usize::from(length);
            if !stale && taken.frames > 0 && out.len() + frame > most {
                break;
            }
            self.waiting.pop_front();
            let datagram = self.bytes.drain(..usize::from(length));
            if stale {
                taken.stale += 1;
            } else {
                out.extend_from_slice(&length.to_be_bytes());
                out.extend(datagram);
                taken.frames += 1;
            }
        }
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WAIT: Duration = Duration::from_millis(200);

    #[test]
    fn what_waits_comes_out_framed_and_in_order() {
        let now = Instant::now();
        let mut queue = SendQueue::new(1000, WAIT);
        assert!(queue.push(now, &[1, 2]) && queue.push(now, &[3]));
        let mut out = Vec::new();
        assert_eq!(queue.take(now, &mut out, 4096), Taken { frames: 2, stale: 0 });
        assert_eq!(out, [0, 2, 1, 2, 0, 1, 3]);
        assert_eq!(queue.take(now, &mut out, 4096), Taken::default());
    }

    #[test]
    fn a_slow_reader_is_bounded_in_bytes_and_the_newest_is_dropped() {
        let now = Instant::now();
        let mut queue = SendQueue::new(1000, WAIT);
        let kept = (0..200).filter(|_| queue.push(now, &[7; 160])).count();
        assert_eq!(kept, 6);
        let mut out = Vec::new();
        assert_eq!(queue.take(now, &mut out, usize::MAX).frames, 6);
        assert!(queue.push(now, &[7; 160]), "an emptied queue has room again");
    }

    #[test]
    fn a_slow_reader_is_bounded_in_time_and_hears_the_newest() {
        let start = Instant::now();
        let mut queue = SendQueue::new(64 << 10, WAIT);
        for number in 0..50_u8 {
            assert!(queue.push(start + Duration::from_millis(20) * u32::from(number), &[number]));
        }
        let mut out = Vec::new();
        let taken = queue.take(start + Duration::from_millis(980), &mut out, usize::MAX);
        assert_eq!(taken, Taken { frames: 11, stale: 39 });
        assert_eq!(out[..3], [0, 1, 39]);
        assert!(queue.bytes.is_empty());
    }

    #[test]
    fn a_full_write_leaves_the_rest_and_one_datagram_always_goes() {
        let now = Instant::now();
        let mut queue = SendQueue::new(64 << 10, WAIT);
        for _ in 0..3 {
            queue.push(now, &[5; 1000]);
        }
        for _ in 0..3 {
            let mut out = Vec::new();
            assert_eq!(queue.take(now, &mut out, 10).frames, 1);
            assert_eq!(out.len(), 1002);
        }
    }

    #[test]
    fn what_no_frame_holds_is_refused() {
        let mut queue = SendQueue::new(64 << 10, WAIT);
        assert!(!queue.push(Instant::now(), &[]));
        assert!(!queue.push(Instant::now(), &[0; MAX_DATAGRAM + 1]));
    }
}
