//! Which session somebody should look at first.

/// How bad a session is; the worst is the greatest.
///
/// A session that runs is worse than one that is over: nobody can do anything for the latter. Then count the turns among
/// the last ten whose whole broke its budget; then the 95th percentile from mouth to ear; then the packets lost. Sessions
/// that are equally bad are to be put in the order of their names, so that a list does not jump.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Badness {
    /// Whether it runs.
    pub runs: bool,
    /// Of the last ten turns, those that took longer than the whole may.
    pub recent_breaches: u32,
    /// In whole milliseconds; zero without a turn.
    pub p95_ms: u32,
    /// Lost packets of a million; zero if that is not known.
    pub loss_ppm: u32,
}

impl Badness {
    /// One number in the same order, below 2^50, so that it is exact in JSON. Percentiles above four hours are equal.
    #[must_use]
    pub fn number(&self) -> u64 {
        let runs = u64::from(self.runs);
        let recent = u64::from(self.recent_breaches.min(0xf));
        let p95 = u64::from(self.p95_ms.min(0xff_ffff));
        let loss = u64::from(self.loss_ppm.min(0xf_ffff));
        runs << 48 | recent << 44 | p95 << 20 | loss
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn badness() -> impl Strategy<Value = Badness> {
        (any::<bool>(), 0..=10_u32, 0..10_000_u32, 0..=1_000_000_u32).prop_map(
            |(runs, recent_breaches, p95_ms, loss_ppm)| Badness { runs, recent_breaches, p95_ms, loss_ppm },
        )
    }

    proptest! {
        #[test]
        fn the_number_has_the_order_of_the_badness(one in badness(), other in badness()) {
            prop_assert_eq!(one.cmp(&other), one.number().cmp(&other.number()));
            prop_assert!(one.number() < 1 << 50);
        }
    }
}
