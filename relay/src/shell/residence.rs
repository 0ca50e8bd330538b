//! How long datagrams stay in the relay.

use std::ops::AddAssign;
use std::time::Duration;

/// The upper bounds of the buckets but the last, which has none.
pub const RESIDENCE_BOUNDS: [Duration; 13] = [
    Duration::from_micros(10),
    Duration::from_micros(20),
    Duration::from_micros(50),
    Duration::from_micros(100),
    Duration::from_micros(200),
    Duration::from_micros(500),
    Duration::from_millis(1),
    Duration::from_millis(2),
    Duration::from_millis(5),
    Duration::from_millis(10),
    Duration::from_millis(20),
    Duration::from_millis(50),
    Duration::from_millis(100),
];

/// A histogram of the time from a datagram's arrival in the kernel until it was given back to the kernel on its way out,
/// over all datagrams the relay has passed on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Residence {
    /// How many fell into each bucket alone: above the bound before, and at most [`RESIDENCE_BOUNDS`] of the same index.
    pub counts: [u64; RESIDENCE_BOUNDS.len() + 1],
    /// The sum of all times.
    pub sum: Duration,
}

impl Residence {
    /// Adds one time.
    pub(super) fn record(&mut self, stay: Duration) {
        let bucket = RESIDENCE_BOUNDS.iter().take_while(|bound| **bound < stay).count();
        self.counts[bucket] += 1;
        self.sum += stay;
    }

    /// How many times it holds.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }
}

impl AddAssign for Residence {
    fn add_assign(&mut self, other: Self) {
        for (count, others) in self.counts.iter_mut().zip(other.counts) {
            *count += others;
        }
        self.sum += other.sum;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_falls_into_the_first_bucket_whose_bound_it_does_not_exceed() {
        let mut residence = Residence::default();
        for micros in [0, 10, 11, 99_999, 100_000, 100_001] {
            residence.record(Duration::from_micros(micros));
        }
        assert_eq!((residence.counts[0], residence.counts[1]), (2, 1));
        assert_eq!((residence.counts[12], residence.counts[13]), (2, 1));
        assert_eq!((residence.count(), residence.sum), (6, Duration::from_micros(300_021)));
    }

    #[test]
    fn the_bounds_ascend() {
        assert!(RESIDENCE_BOUNDS.is_sorted_by(|one, next| one < next));
    }
}
