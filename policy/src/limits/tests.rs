use proptest::prelude::*;

use super::*;

const SECOND: u64 = 1_000_000;

fn demand(counter: &str, amount: u64, of: u64, seconds: u64) -> Demand {
    let rate = Rate::new(of, Duration::from_secs(seconds)).unwrap();
    Demand { counter: counter.to_owned(), rate, amount }
}

fn place(counter: &str, most: u64) -> Place {
    Place { counter: counter.to_owned(), most }
}

#[test]
fn a_rate_lets_through_what_it_says_and_tells_when_to_come_again() {
    let mut limiter = Limiter::default();
    let start = [demand("starts/key/web", 1, 3, 1)];
    for _ in 0..3 {
        assert_eq!(limiter.take(5, &start), Ok(()));
    }
    let refused = limiter.take(5, &start).unwrap_err();
    assert_eq!(refused.retry_after, Some(Duration::from_micros(333_334)));
    assert!(limiter.take(5 + 333_333, &start).is_err());
    assert_eq!(limiter.take(5 + 333_334, &start), Ok(()));
}

#[test]
fn a_clock_that_was_set_back_drains_nothing_twice() {
    let mut limiter = Limiter::default();
    let start = [demand("starts/key/web", 1, 2, 10)];
    assert_eq!(limiter.take(100 * SECOND, &start), Ok(()));
    assert_eq!(limiter.take(50 * SECOND, &start), Ok(()));
    assert!(limiter.take(100 * SECOND, &start).is_err());
}

#[test]
fn one_full_limit_uses_nothing_of_the_others() {
    let mut limiter = Limiter::default();
    let team = demand("starts/team/blue", 1, 100, 1);
    let both = [team.clone(), demand("starts/key/web", 1, 1, 1)];
    assert_eq!(limiter.take(0, &both), Ok(()));
    for _ in 0..50 {
        assert_eq!(limiter.take(0, &both).unwrap_err().counter, "starts/key/web");
    }
    let rest = Demand { amount: 99, ..team };
    assert_eq!(limiter.take(0, &[rest]), Ok(()), "only the admitted start counts for the team");
}

#[test]
fn what_is_only_known_afterwards_holds_up_the_next() {
    let mut limiter = Limiter::default();
    let ask = [demand("tokens/key/web", 0, 1_000, 60)];
    assert_eq!(limiter.take(0, &ask), Ok(()));
    limiter.charge(0, &[demand("tokens/key/web", 1_500, 1_000, 60)]);
    let refused = limiter.take(0, &ask).unwrap_err();
    assert_eq!(refused.retry_after, Some(Duration::from_micros(30 * SECOND + 1)));
    assert!(limiter.take(30 * SECOND, &ask).is_err());
    assert_eq!(limiter.take(30 * SECOND + 1, &ask), Ok(()));
    limiter.charge(0, &[demand("tokens/key/web", u64::MAX, 1_000, 60)]);
    assert_eq!(limiter.take(121 * SECOND, &ask), Ok(()), "forgotten after two windows");
}

#[test]
fn more_than_a_limit_never_fits_and_says_so() {
    let mut limiter = Limiter::default();
    for amount in [11, u64::MAX] {
        let refused = limiter.take(0, &[demand("responses", amount, 10, 60)]).unwrap_err();
        assert_eq!(refused.retry_after, None);
    }
}

#[test]
fn a_place_is_held_until_it_is_given_back_or_its_lease_ends() {
    let mut limiter = Limiter::default();
    let (key, team) = (place("sessions/key/web", 2), place("sessions/team/blue", 3));
    let lease = Duration::from_secs(30);
    let both = [key.clone(), team.clone()];
    assert_eq!(limiter.hold(0, "a", &both, lease), Ok(()));
    assert_eq!(limiter.hold(0, "b", &both, lease), Ok(()));
    assert_eq!(limiter.hold(0, "b", &both, lease), Ok(()), "whoever holds one asks again");
    assert_eq!(limiter.hold(0, "c", &both, lease).unwrap_err().counter, "sessions/key/web");
    assert_eq!(limiter.held(0, "sessions/team/blue"), 2, "who was refused holds nothing");
    limiter.release("a", &both);
    assert_eq!(limiter.hold(0, "c", &both, lease), Ok(()));
    limiter.renew(29 * SECOND, "c", &both, lease);
    assert_eq!(limiter.hold(30 * SECOND, "d", &both, lease), Ok(()), "the lease of b has ended");
    assert_eq!(limiter.held(30 * SECOND, "sessions/key/web"), 2);
    limiter.renew(31 * SECOND, "b", &both, lease);
    assert_eq!(limiter.held(31 * SECOND, "sessions/key/web"), 3, "a session that runs is not thrown out");
}

#[test]
fn idle_counters_take_no_memory() {
    let mut limiter = Limiter::default();
    for number in 0..1_000 {
        limiter.take(0, &[demand(&format!("starts/key/{number}"), 1, 1, 1)]).unwrap();
        limiter.hold(0, "s", &[place(&format!("sessions/{number}"), 1)], Duration::from_secs(1)).unwrap();
    }
    assert_eq!(limiter.counters(), 2_000);
    limiter.forget_idle(SECOND - 1);
    assert_eq!(limiter.counters(), 2_000);
    limiter.forget_idle(SECOND);
    assert_eq!(limiter.counters(), 0);
}

#[test]
fn a_rate_out_of_range_is_refused() {
    assert_eq!(Rate::new(0, LONGEST_WINDOW), Err(LimitError::Amount));
    assert_eq!(Rate::new(LARGEST_AMOUNT + 1, LONGEST_WINDOW), Err(LimitError::Amount));
    assert_eq!(Rate::new(1, Duration::from_secs(61)), Err(LimitError::Window));
    assert!(Rate::new(LARGEST_AMOUNT, LONGEST_WINDOW).is_ok());
}

proptest! {
    /// In any stretch of time no more gets through than a full bucket and what drained in that time.
    #[test]
    fn no_stretch_of_time_admits_more_than_the_rate(
        of in 1_u64..20,
        seconds in 1_u64..60,
        asks in proptest::collection::vec((0_u64..3_000_000, 1_u64..5), 1..200),
    ) {
        let mut limiter = Limiter::default();
        let (mut now, mut admitted) = (0, Vec::new());
        for (pause, amount) in asks {
            now += pause;
            if limiter.take(now, &[demand("x", amount, of, seconds)]).is_ok() {
                admitted.push((now, amount));
            }
        }
        for (index, (from, _)) in admitted.iter().enumerate() {
            let mut sum = 0;
            for (at, amount) in &admitted[index..] {
                sum += amount;
                let allowed = of * seconds * SECOND + (at - from) * of;
                prop_assert!(sum * seconds * SECOND <= allowed, "{sum} between {from} and {at}");
            }
        }
    }

    /// The arithmetic stays in the numbers of the script in Redis, whatever comes.
    #[test]
    fn no_number_leaves_the_whole_numbers_of_the_script(amounts in proptest::collection::vec(0_u64.., 1..50)) {
        let mut limiter = Limiter::default();
        for (index, amount) in amounts.into_iter().enumerate() {
            let now = index as u64 * 7 * SECOND;
            limiter.charge(now, &[demand("x", amount, LARGEST_AMOUNT, 60)]);
            let bucket = limiter.buckets.get("x").copied().unwrap_or_default();
            prop_assert!(bucket.level + LARGEST_AMOUNT * LONGEST_WINDOW.as_micros() as u64 + 60_000_000 < 1 << 53);
        }
    }
}
