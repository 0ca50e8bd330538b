//! Puts arriving packets back into order, with the least possible wait.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use bytes::Bytes;

/// A packet that overtook another waits this long for it: three frames.
const LONGEST_WAIT: Duration = Duration::from_millis(60);

/// More waiting packets than this mean that the missing one is lost.
const MOST_WAITING: usize = 4;

/// A sequence number that jumps further than this starts a new stream (RFC 3550 appendix A.1 uses the same limit).
const LONGEST_JUMP: i64 = 3_000;

/// An audio packet as it came from the network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arrival {
    /// RTP sequence number.
    pub sequence: u16,
    /// RTP timestamp, 48 000 per second.
    pub timestamp: u32,
    /// One Opus packet.
    pub payload: Bytes,
    /// When it was read.
    pub arrived_at: Instant,
}

/// Packets in the order they were sent.
#[derive(Debug, Default)]
pub struct Reorder {
    next: Option<i64>,
    waiting: BTreeMap<i64, Arrival>,
    lost: u64,
    late: u64,
}

impl Reorder {
    /// Takes a packet. A duplicate, or one that comes after its place was given up, is dropped.
    pub fn push(&mut self, arrival: Arrival) {
        let next = *self.next.get_or_insert_with(|| i64::from(arrival.sequence));
        let ahead = i64::from(arrival.sequence.wrapping_sub(next as u16) as i16);
        let place = next + ahead;
        if ahead.abs() > LONGEST_JUMP {
            self.waiting.clear();
            self.next = Some(place);
        } else if ahead < 0 {
            self.late += 1;
            return;
        }
        self.waiting.entry(place).or_insert(arrival);
    }

    /// The next packet in order, if it is here or if waiting for an earlier one makes no sense any more.
    pub fn pop(&mut self, now: Instant) -> Option<Arrival> {
        let next = self.next?;
        let (place, arrival) = self.waiting.first_key_value()?;
        let gap = place - next;
        let given_up = arrival.arrived_at + LONGEST_WAIT <= now || self.waiting.len() > MOST_WAITING;
        if gap > 0 && !given_up {
            return None;
        }
        let (place, arrival) = self.waiting.pop_first()?;
        self.lost += gap.max(0) as u64;
        self.next = Some(place + 1);
        Some(arrival)
    }

    /// When [`Reorder::pop`] gives up on a missing packet.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        self.waiting.first_key_value().map(|(_, arrival)| arrival.arrived_at + LONGEST_WAIT)
    }

    /// Packets that never came in time.
    #[must_use]
    pub const fn lost(&self) -> u64 {
        self.lost
    }

    /// Packets that came after their place was given up, duplicates included.
    #[must_use]
    pub const fn late(&self) -> u64 {
        self.late
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(sequence: u16, arrived_at: Instant) -> Arrival {
        Arrival { sequence, timestamp: u32::from(sequence) * 960, payload: Bytes::new(), arrived_at }
    }

    fn released(reorder: &mut Reorder, now: Instant) -> Vec<u16> {
        std::iter::from_fn(|| reorder.pop(now)).map(|arrival| arrival.sequence).collect()
    }

    #[test]
    fn packets_in_order_pass_without_a_wait_across_the_wrap() {
        let now = Instant::now();
        let mut reorder = Reorder::default();
        for sequence in [65_534, 65_535, 0, 1] {
            reorder.push(packet(sequence, now));
            assert_eq!(released(&mut reorder, now), [sequence]);
        }
        assert_eq!(reorder.lost(), 0);
    }

    #[test]
    fn a_packet_that_overtook_another_waits_for_it() {
        let now = Instant::now();
        let mut reorder = Reorder::default();
        for (sequence, expected) in [(10, vec![10]), (12, vec![]), (11, vec![11, 12])] {
            reorder.push(packet(sequence, now));
            assert_eq!(released(&mut reorder, now), expected);
        }
    }

    #[test]
    fn a_lost_packet_is_given_up_after_its_time() {
        let now = Instant::now();
        let mut reorder = Reorder::default();
        reorder.push(packet(1, now));
        assert_eq!(released(&mut reorder, now), [1]);
        reorder.push(packet(4, now));
        assert!(released(&mut reorder, now).is_empty());
        let deadline = reorder.deadline().unwrap();
        assert_eq!(released(&mut reorder, deadline), [4]);
        assert_eq!(reorder.lost(), 2);
        reorder.push(packet(3, deadline));
        assert_eq!((released(&mut reorder, deadline), reorder.late()), (vec![], 1));
    }

    #[test]
    fn a_full_buffer_does_not_wait() {
        let now = Instant::now();
        let mut reorder = Reorder::default();
        reorder.push(packet(1, now));
        assert_eq!(released(&mut reorder, now), [1]);
        for sequence in 3..8 {
            reorder.push(packet(sequence, now));
        }
        assert_eq!(released(&mut reorder, now), [3, 4, 5, 6, 7]);
    }

    #[test]
    fn a_new_stream_of_numbers_is_followed_at_once() {
        let now = Instant::now();
        let mut reorder = Reorder::default();
        reorder.push(packet(1, now));
        assert_eq!(released(&mut reorder, now), [1]);
        reorder.push(packet(30_000, now));
        assert_eq!((released(&mut reorder, now), reorder.lost()), (vec![30_000], 0));
    }
}
