//! One set of tests, run against the counters of a process and those in Redis.

pub(super) mod redis_server;

use redis_server::RedisServer;
use voxgate_policy::limits::Rate;

use super::*;

const SECOND: u64 = 1_000_000;
/// Microseconds since 1970 of a day in 2026: numbers as large as the real ones.
const NOW: u64 = 1_790_000_000_000_000;
const LEASE: Duration = Duration::from_secs(30);

fn demand(counter: &str, amount: u64, of: u64, seconds: u64) -> Demand {
    let rate = Rate::new(of, Duration::from_secs(seconds)).unwrap();
    Demand { counter: counter.to_owned(), rate, amount }
}

fn place(counter: &str, most: u64) -> Place {
    Place { counter: counter.to_owned(), most }
}

fn reached(refusal: Result<(), LimitRefusal>) -> Reached {
    match refusal {
        Err(LimitRefusal::Reached(reached)) => reached,
        other => panic!("{other:?}"),
    }
}

async fn shared(server: &RedisServer) -> SharedLimits {
    let limits = SharedLimits::Redis(RedisLimits::new(&server.url()).unwrap());
    server.wait_for_answer(&limits).await;
    limits
}

macro_rules! on_both_counters {
    ($($name:ident),+ $(,)?) => {
        mod here {
            $(#[tokio::test]
            async fn $name() {
                super::$name(super::SharedLimits::default()).await;
            })+
        }

        mod in_redis {
            $(#[tokio::test]
            async fn $name() {
                let server = super::RedisServer::start();
                super::$name(super::shared(&server).await).await;
            })+
        }
    };
}

on_both_counters!(
    a_rate_lets_through_what_it_says_and_tells_when_to_come_again,
    one_full_limit_uses_nothing_of_the_others,
    what_is_only_known_afterwards_holds_up_the_next,
    a_place_is_held_until_it_is_given_back_or_its_lease_ends,
    a_thousand_seeded_asks_are_answered_as_the_arithmetic_says,
);

async fn a_rate_lets_through_what_it_says_and_tells_when_to_come_again(limits: SharedLimits) {
    let start = [demand("starts/key/web", 1, 3, 1)];
    for _ in 0..3 {
        limits.take(NOW, &start).await.unwrap();
    }
    let refused = reached(limits.take(NOW, &start).await);
    assert_eq!(refused.retry_after, Some(Duration::from_micros(333_334)));
    assert!(limits.take(NOW + 333_333, &start).await.is_err());
    limits.take(NOW + 333_334, &start).await.unwrap();
    let too_much = reached(limits.take(NOW, &[demand("starts/key/other", 4, 3, 1)]).await);
    assert_eq!(too_much, Reached { counter: "starts/key/other".to_owned(), retry_after: None });
}

async fn one_full_limit_uses_nothing_of_the_others(limits: SharedLimits) {
    let both = [demand("starts/team/blue", 1, 100, 1), demand("starts/key/web", 1, 1, 1)];
    limits.take(NOW, &both).await.unwrap();
    for _ in 0..50 {
        assert_eq!(reached(limits.take(NOW, &both).await).counter, "starts/key/web");
    }
    limits.take(NOW, &[demand("starts/team/blue", 99, 100, 1)]).await.unwrap();
}

async fn what_is_only_known_afterwards_holds_up_the_next(limits: SharedLimits) {
    let ask = [demand("tokens/key/web", 0, 1_000, 60)];
    limits.take(NOW, &ask).await.unwrap();
    limits.charge(NOW, &[demand("tokens/key/web", 1_500, 1_000, 60)]).await.unwrap();
    let refused = reached(limits.take(NOW, &ask).await);
    assert_eq!(refused.retry_after, Some(Duration::from_micros(30 * SECOND + 1)));
    assert!(limits.take(NOW + 30 * SECOND, &ask).await.is_err());
    limits.take(NOW + 30 * SECOND + 1, &ask).await.unwrap();
}

async fn a_place_is_held_until_it_is_given_back_or_its_lease_ends(limits: SharedLimits) {
    let both = [place("sessions/key/web", 2), place("sessions/team/blue", 3)];
    for session in ["a", "b", "b"] {
        limits.hold(NOW, session, &both, LEASE).await.unwrap();
    }
    assert_eq!(reached(limits.hold(NOW, "c", &both, LEASE).await).counter, "sessions/key/web");
    assert_eq!(limits.held(NOW, "sessions/team/blue").await.unwrap(), 2);
    limits.release("a", &both).await.unwrap();
    limits.hold(NOW, "c", &both, LEASE).await.unwrap();
    limits.renew(NOW + 29 * SECOND, "c", &both, LEASE).await.unwrap();
    limits.hold(NOW + 30 * SECOND, "d", &both, LEASE).await.unwrap();
    assert_eq!(limits.held(NOW + 30 * SECOND, "sessions/key/web").await.unwrap(), 2, "c and d");
    limits.renew(NOW + 31 * SECOND, "b", &both, LEASE).await.unwrap();
    assert_eq!(limits.held(NOW + 31 * SECOND, "sessions/key/web").await.unwrap(), 3);
}

/// The reference is the pure limiter; the numbers are chosen to touch every edge of it, the largest included.
async fn a_thousand_seeded_asks_are_answered_as_the_arithmetic_says(limits: SharedLimits) {
    let mut pure = Limiter::default();
    let mut seeds = voxgate_protocol::id::IdSource::new(2026);
    let mut now = NOW;
    for round in 0..1_000 {
        let draw = seeds.next_seed();
        now += draw % 2_000_003;
        let of = [1, 7, 1_000, LARGEST_AMOUNT][(draw >> 8) as usize % 4];
        let amount = [0, 1, of / 2, of, of + 1, u64::MAX][(draw >> 16) as usize % 6];
        let seconds = [1, 60][(draw >> 24) as usize % 2];
        let demands = [demand(&format!("x/{of}/{seconds}"), amount, of, seconds)];
        if (draw >> 32).is_multiple_of(3) {
            pure.charge(now, &demands);
            limits.charge(now, &demands).await.unwrap();
        } else {
            let expected = pure.take(now, &demands);
            let answered = limits.take(now, &demands).await.map_err(|refusal| match refusal {
                LimitRefusal::Reached(reached) => reached,
                LimitRefusal::Away(error) => panic!("{error}"),
            });
            assert_eq!(answered, expected, "round {round}: {demands:?}");
        }
    }
}

#[tokio::test]
async fn two_nodes_that_ask_at_once_share_one_limit() {
    let server = RedisServer::start();
    let (one, other) = (shared(&server).await, shared(&server).await);
    let take = async |limits: &SharedLimits| {
        let mut admitted = 0;
        for _ in 0..40 {
            admitted += u32::from(limits.take(NOW, &[demand("starts", 1, 30, 1)]).await.is_ok());
        }
        admitted
    };
    let (first, second) = tokio::join!(take(&one), take(&other));
    assert_eq!(first + second, 30);
}

#[tokio::test]
async fn while_redis_is_away_nothing_is_admitted_and_afterwards_it_goes_on() {
    let mut server = RedisServer::start();
    let limits = shared(&server).await;
    let start = [demand("starts", 1, 3, 60)];
    limits.take(NOW, &start).await.unwrap();
    server.stop();
    assert!(matches!(limits.take(NOW, &start).await, Err(LimitRefusal::Away(_))));
    assert!(matches!(limits.renew(NOW, "a", &[place("s", 1)], LEASE).await, Err(LimitRefusal::Away(_))));
    server.start_again();
    server.wait_for_answer(&limits).await;
    limits.renew(NOW, "a", &[place("s", 1)], LEASE).await.unwrap();
    assert_eq!(limits.held(NOW, "s").await.unwrap(), 1, "a running session is counted again");
}
