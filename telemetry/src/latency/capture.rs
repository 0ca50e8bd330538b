//! When a caller's samples were captured, from what a few of the caller's packets say about it.
//!
//! A sender stamps a packet when the stamps before it do not tell its time any more, and once in a while. Between two
//! stamps time passes as samples do.

use std::collections::VecDeque;
use std::time::Duration;

/// RTP counts Opus at 48 kHz (RFC 7587 section 4.1).
const TICKS_PER_SECOND: i64 = 48_000;

/// Stamps remembered. One comes at least once a second.
const REMEMBERED: usize = 16;

/// Further away than this a stamp tells nothing: a sender may be that long without one.
const FARTHEST_TICKS: i64 = 5 * TICKS_PER_SECOND;

/// Follows one caller's stamps.
#[derive(Clone, Debug, Default)]
pub struct CaptureTimes {
    /// RTP timestamps and the moments their samples were captured, in order of arrival.
    stamps: VecDeque<(u32, Duration)>,
}

impl CaptureTimes {
    /// The sample with this RTP timestamp was captured at `at`, by whatever clock the sender has.
    pub fn stamped(&mut self, timestamp: u32, at: Duration) {
        if self.stamps.len() == REMEMBERED {
            self.stamps.pop_front();
        }
        self.stamps.push_back((timestamp, at));
    }

    /// When a sample was captured, by the sender's clock and the nearest stamp. `None` without one near it.
    #[must_use]
    pub fn captured(&self, sample: u32) -> Option<Duration> {
        let behind = |timestamp: u32| i64::from(sample.wrapping_sub(timestamp).cast_signed());
        let near = self.stamps.iter().map(|(timestamp, at)| (behind(*timestamp), *at));
        let (ticks, at) = near.min_by_key(|(ticks, _)| ticks.unsigned_abs())?;
        if ticks.abs() > FARTHEST_TICKS {
            return None;
        }
        let apart =
            Duration::from_nanos(ticks.unsigned_abs() * 1_000_000 / (TICKS_PER_SECOND as u64 / 1_000));
        if ticks < 0 { at.checked_sub(apart) } else { at.checked_add(apart) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn a_sample_was_captured_as_long_after_its_stamp_as_samples_lie_between_even_where_timestamps_wrap() {
        let mut times = CaptureTimes::default();
        assert_eq!(times.captured(0), None);
        times.stamped(u32::MAX - 479, 1_000 * MS);
        assert_eq!(times.captured(480), Some(1_020 * MS));
        assert_eq!(times.captured(u32::MAX - 959), Some(990 * MS));
    }

    #[test]
    fn the_nearest_stamp_counts_and_one_that_is_far_away_does_not() {
        let mut times = CaptureTimes::default();
        times.stamped(0, 1_000 * MS);
        // The caller's sound card stood still for 30 ms.
        times.stamped(48_000, 2_030 * MS);
        assert_eq!(times.captured(4_800), Some(1_100 * MS));
        assert_eq!(times.captured(43_200), Some(1_930 * MS));
        assert_eq!(times.captured(48_000 * 7), None);
        assert_eq!(times.captured(0_u32.wrapping_sub(48_000 * 6)), None);
    }

    #[test]
    fn stamps_of_a_long_call_are_forgotten_and_impossible_ones_tell_nothing() {
        let mut times = CaptureTimes::default();
        for second in 0..100_u32 {
            times.stamped(second * 48_000, Duration::from_secs(second.into()));
        }
        assert_eq!(times.stamps.len(), REMEMBERED);
        assert_eq!(times.captured(40 * 48_000), None);
        let mut times = CaptureTimes::default();
        times.stamped(0, Duration::ZERO);
        assert_eq!(times.captured(u32::MAX), None, "before all time");
        times.stamped(480_000, Duration::MAX);
        assert_eq!(times.captured(480_001), None, "after all time");
    }
}
