//! How long frames take in each direction of a tunnel.
//!
//! A frame says when its sender sent it, and its echo when the sender received which frame of this side. What both
//! directions took together needs one clock. What each took needs the distance between both clocks, which a quick exchange
//! tells best: it is wrong by at most half of the time on the way (RFC 5905, section 8), and by what the clocks have
//! run apart since. So a direction that becomes slower is seen to, and one that was slower from the beginning is
//! shared between both, within the error that is told.

use std::time::{Duration, Instant};

/// How fast two clocks may run apart, in parts per million: crystals of servers stay within 50, and there are two.
const DRIFT_PPM: u32 = 100;

/// The last frame of each direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Passage {
    /// What the newest frame of the other side took to here.
    pub coming: Duration,
    /// What the newest frame the other side had received by then took to there.
    pub going: Duration,
    /// Each is at most this much longer or shorter, if the one is as much shorter or longer.
    pub error: Duration,
}

/// Differences between two clocks in wrapping microseconds: the receiver's at the arrival less the sender's at the departure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Exchange {
    pub(super) coming: u32,
    pub(super) going: u32,
    /// Between the arrival of one and the departure of the other.
    pub(super) held: Duration,
}

impl Exchange {
    /// The time on the way: the distance of the clocks is in one and, with the other sign, in the other.
    pub(super) const fn round_trip(&self) -> Duration {
        Duration::from_micros(self.coming.wrapping_add(self.going) as u64)
    }
}

/// What an exchange said about the distance of the clocks.
#[derive(Clone, Copy, Debug)]
struct Distance {
    /// In wrapping microseconds.
    micros: u32,
    error: Duration,
    at: Instant,
}

impl Distance {
    fn of(exchange: &Exchange, now: Instant) -> Self {
        let half = exchange.coming.wrapping_add(exchange.going) / 2;
        // The middle of an odd number of microseconds is rounded, and so is every reading.
        let rounding = Duration::from_micros(2);
        let error = Duration::from_micros(u64::from(half)) + rounding + drift(exchange.held);
        Self { micros: exchange.coming.wrapping_sub(half), error, at: now }
    }

    fn error(&self, now: Instant) -> Duration {
        self.error.saturating_add(drift(now.saturating_duration_since(self.at)))
    }

    /// Whether both can be true.
    fn agrees(&self, other: &Self, now: Instant) -> bool {
        let apart = self.micros.wrapping_sub(other.micros).cast_signed().unsigned_abs();
        Duration::from_micros(u64::from(apart)) <= self.error(now).saturating_add(other.error(now))
    }
}

/// Follows both directions of one tunnel. All errors grow alike, so the exchange that says the distance of the clocks best
/// is the only one to be remembered.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Passages {
    distance: Option<Distance>,
    newest: Option<Passage>,
}

impl Passages {
    pub(super) const fn newest(&self) -> Option<Passage> {
        self.newest
    }

    /// Takes an exchange into account whose last frame came at `now`. One that cannot be true together with what was known
    /// means that the other side has another clock.
    pub(super) fn exchanged(&mut self, now: Instant, exchange: &Exchange) {
        let fresh = Distance::of(exchange, now);
        let known = self.distance.filter(|known| known.agrees(&fresh, now));
        let distance = known.filter(|known| known.error(now) < fresh.error).unwrap_or(fresh);
        self.distance = Some(distance);
        let both = exchange.round_trip();
        let coming = exchange.coming.wrapping_sub(distance.micros).cast_signed().max(0).unsigned_abs();
        let coming = Duration::from_micros(u64::from(coming)).min(both);
        let error = distance.error(now).min(both);
        self.newest = Some(Passage { coming, going: both - coming, error });
    }
}

fn drift(passed: Duration) -> Duration {
    passed.saturating_mul(DRIFT_PPM) / 1_000_000
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MS: Duration = Duration::from_millis(1);

    /// The other side's clock shows this much more, in microseconds; it wraps.
    fn exchange(ahead: u32, coming: Duration, going: Duration) -> Exchange {
        let micros = |time: Duration| time.as_micros() as u32;
        Exchange {
            coming: micros(coming).wrapping_sub(ahead),
            going: micros(going).wrapping_add(ahead),
            held: Duration::ZERO,
        }
    }

    fn is_near(one: Duration, other: Duration, by: Duration) -> bool {
        one.abs_diff(other) <= by
    }

    #[test]
    fn a_direction_that_becomes_slower_is_told_from_the_other() {
        for ahead in [0, 5_000_000, u32::MAX - 3, 1 << 31] {
            let start = Instant::now();
            let mut passages = Passages::default();
            passages.exchanged(start, &exchange(ahead, MS / 2, MS / 2));
            for (coming, going) in [(150 * MS, MS / 2), (MS / 2, 150 * MS), (70 * MS, 80 * MS)] {
                passages.exchanged(start + 1_000 * MS, &exchange(ahead, coming, going));
                let passage = passages.newest().unwrap();
                assert!(passage.error < MS, "{passage:?}");
                assert!(is_near(passage.coming, coming, passage.error), "{passage:?}");
                assert!(is_near(passage.going, going, passage.error), "{passage:?}");
                assert_eq!(passage.coming + passage.going, coming + going);
            }
        }
    }

    #[test]
    fn a_way_that_was_slow_from_the_beginning_is_shared_and_says_so() {
        let mut passages = Passages::default();
        passages.exchanged(Instant::now(), &exchange(77, 100 * MS, Duration::ZERO));
        let passage = passages.newest().unwrap();
        assert_eq!((passage.coming, passage.going), (50 * MS, 50 * MS));
        assert!(is_near(passage.error, 50 * MS, MS));
    }

    #[test]
    fn the_best_exchange_counts_until_the_clocks_may_have_run_apart_by_more_than_a_new_one_is_wrong() {
        let start = Instant::now();
        let mut passages = Passages::default();
        passages.exchanged(start, &exchange(9, MS, MS));
        passages.exchanged(start + 100_000 * MS, &exchange(9, 61 * MS, MS));
        let passage = passages.newest().unwrap();
        assert!(is_near(passage.coming, 61 * MS, MS) && is_near(passage.error, 11 * MS, MS), "{passage:?}");
        passages.exchanged(start + 400_000 * MS, &exchange(9, 61 * MS, MS));
        let passage = passages.newest().unwrap();
        assert_eq!(passage.coming, 31 * MS, "half of it, since the old exchange says no more");
    }

    #[test]
    fn another_clock_is_noticed_with_its_first_exchange() {
        let start = Instant::now();
        let mut passages = Passages::default();
        passages.exchanged(start, &exchange(1_000, MS, MS));
        passages.exchanged(start + MS, &exchange(900_000_000, 3 * MS, MS));
        let passage = passages.newest().unwrap();
        assert_eq!((passage.coming, passage.going), (2 * MS, 2 * MS));
    }

    proptest! {
        #[test]
        fn whatever_the_clocks_do_both_directions_are_within_the_error(
            ahead: u32,
            ways in prop::collection::vec((0..400_000_u64, 0..400_000_u64, 0..60_000_u64), 1..40),
        ) {
            let start = Instant::now();
            let (mut passages, mut now) = (Passages::default(), start);
            for (coming, going, pause) in ways {
                now += Duration::from_millis(pause);
                let (coming, going) = (Duration::from_micros(coming), Duration::from_micros(going));
                passages.exchanged(now, &exchange(ahead, coming, going));
                let passage = passages.newest().unwrap();
                prop_assert!(is_near(passage.coming, coming, passage.error), "{passage:?} {coming:?}");
                prop_assert!(is_near(passage.going, going, passage.error), "{passage:?} {going:?}");
            }
        }

        #[test]
        fn any_readings_give_times_that_sum_to_the_round_trip(
            readings in prop::collection::vec((any::<u32>(), any::<u32>(), any::<u64>()), 1..40),
        ) {
            let now = Instant::now();
            let mut passages = Passages::default();
            for (coming, going, held) in readings {
                let exchange = Exchange { coming, going, held: Duration::from_millis(held) };
                passages.exchanged(now, &exchange);
                let passage = passages.newest().unwrap();
                prop_assert_eq!(passage.coming + passage.going, exchange.round_trip());
                prop_assert!(passage.error <= exchange.round_trip());
            }
        }
    }
}
