//! How many requests of unconfirmed addresses a host may send.

use std::time::Duration;

use super::key::{Keyed, Source};
use std::hash::BuildHasher as _;

/// Hosts share the buckets by a keyed hash, so that their number is bounded whatever arrives; two that share one also
/// share its rate.
const BUCKETS: usize = 16_384;

/// A rate with a burst for each source: the generic cell rate algorithm (ITU-T I.371), one number per bucket.
#[derive(Clone, Debug)]
pub(super) struct RateLimit {
    /// When the bucket will be empty again, microseconds on the table's clock.
    empty_at: Vec<u64>,
    interval: u64,
    burst: u64,
}

impl RateLimit {
    pub(super) fn new(per_second: u32, burst: u32) -> Self {
        let interval = Duration::from_secs(1) / per_second.max(1);
        let interval = u64::try_from(interval.as_micros()).unwrap_or(u64::MAX).max(1);
        Self { empty_at: vec![0; BUCKETS], interval, burst: interval * u64::from(burst.max(1)) }
    }

    /// Counts one request at `now`. `false`, and not counted, when it is one too many.
    pub(super) fn admit(&mut self, keyed: &Keyed, source: Source, now: u64) -> bool {
        let Some(empty_at) = self.empty_at.get_mut(bucket(keyed, source)) else { return false };
        let filled = (*empty_at).max(now) + self.interval;
        let admitted = filled - now <= self.burst;
        if admitted {
            *empty_at = filled;
        }
        admitted
    }
}

pub(super) fn bucket(keyed: &Keyed, source: Source) -> usize {
    keyed.hash_one(source) as usize % BUCKETS
}
