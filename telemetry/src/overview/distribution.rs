//! Quantiles and histogram of durations.

use std::time::Duration;

/// The upper ends of the buckets in milliseconds; a duration of exactly that is inside. Finer where a single hop is, a
/// tenth to a quarter of the value where a turn is, which is about what callers can tell apart.
pub const BOUNDS_MS: [u32; 26] = [
    1, 2, 5, 10, 20, 35, 50, 75, 100, 150, 200, 250, 300, 400, 500, 600, 700, 800, 1_000, 1_200, 1_500,
    2_000, 3_000, 5_000, 10_000, 30_000,
];

/// One bucket for each bound, and one for what is longer than the last.
pub const BUCKETS: usize = BOUNDS_MS.len() + 1;

/// The bucket of a duration.
#[must_use]
pub fn bucket(duration: Duration) -> usize {
    BOUNDS_MS.partition_point(|bound| Duration::from_millis(u64::from(*bound)) < duration)
}

/// The smallest of the durations that at least `permille` of a thousand are not longer than (the nearest rank): always
/// one that was measured, never one between two. `None` without any. They have to be sorted.
#[must_use]
pub fn quantile(sorted: &[Duration], permille: u32) -> Option<Duration> {
    let rank = (sorted.len() as u128 * u128::from(permille.min(1_000))).div_ceil(1_000);
    let place = usize::try_from(rank).unwrap_or(usize::MAX).saturating_sub(1);
    sorted.get(place).copied()
}

/// How long something took, many times.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Distribution {
    /// How many times.
    pub count: u64,
    /// Half of them took no longer.
    pub p50: Duration,
    /// Nineteen of twenty took no longer.
    pub p95: Duration,
    /// Ninety-nine of a hundred took no longer.
    pub p99: Duration,
    /// The longest.
    pub max: Duration,
    /// All of them together, shared out evenly, down to the nanosecond.
    pub mean: Duration,
    /// How many are in each bucket of [`BOUNDS_MS`].
    pub histogram: [u64; BUCKETS],
}

impl Distribution {
    /// Of some durations; `None` without any.
    #[must_use]
    pub fn of(mut durations: Vec<Duration>) -> Option<Self> {
        durations.sort_unstable();
        let mut histogram = [0; BUCKETS];
        let mut sum = 0_u128;
        for duration in &durations {
            sum += duration.as_nanos();
            if let Some(count) = histogram.get_mut(bucket(*duration)) {
                *count += 1;
            }
        }
        let mean = u64::try_from(sum.checked_div(durations.len() as u128)?).unwrap_or(u64::MAX);
        Some(Self {
            count: durations.len() as u64,
            p50: quantile(&durations, 500)?,
            p95: quantile(&durations, 950)?,
            p99: quantile(&durations, 990)?,
            max: durations.last().copied()?,
            mean: Duration::from_nanos(mean),
            histogram,
        })
    }
}
