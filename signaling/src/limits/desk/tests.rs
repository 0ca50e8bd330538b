use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use voxgate_policy::limits::Rate;
use voxgate_policy::limits::rules::{LimitRule, Whom};

use super::super::tests::redis_server::RedisServer;
use super::super::{RedisLimits, SharedLimits};
use super::*;

fn rules(sessions: Option<u64>, resource: Resource, amount: u64) -> LimitRules {
    let window = if resource == Resource::Starts { 1 } else { 60 };
    let rate = Rate::new(amount, Duration::from_secs(window)).unwrap();
    LimitRules::new(vec![LimitRule {
        whom: Whom::default(),
        each: None,
        sessions,
        rates: [(resource, rate)].into(),
    }])
}

fn session(number: u128) -> SessionId {
    SessionId::from_random(number)
}

async fn in_redis(server: &RedisServer, when_away: WhenAway) -> Arc<LimitDesk> {
    let counters = SharedLimits::Redis(RedisLimits::new(&server.url()).unwrap());
    server.wait_for_answer(&counters).await;
    LimitDesk::new(counters, when_away)
}

async fn admit(desk: &Arc<LimitDesk>, rules: &LimitRules, number: u128) -> Result<LimitLease, Closed> {
    desk.admit(rules, &session(number), &TenantPath::default(), "m").await
}

/// Until the task that gives a place back has run.
async fn held_becomes(desk: &LimitDesk, expected: u64) {
    let becomes = async {
        while desk.counters.held(now_us(), "sessions/*").await.unwrap() != expected {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), becomes).await.unwrap();
}

async fn places_are_given_back(desk: Arc<LimitDesk>) {
    let rules = rules(Some(1), Resource::Responses, 10);
    let first = admit(&desk, &rules, 1).await.unwrap();
    let refused = admit(&desk, &rules, 2).await.unwrap_err();
    assert_eq!((refused.error.status, refused.error.code.as_deref()), (429, Some("rate_limit_exceeded")));
    assert_eq!(refused.error.message, "The limit of concurrent sessions is reached; end a session first.");
    drop(first);
    held_becomes(&desk, 0).await;
    admit(&desk, &rules, 2).await.unwrap();
}

async fn a_refused_start_keeps_no_place(desk: Arc<LimitDesk>) {
    let rules = rules(Some(5), Resource::Starts, 1);
    let _first = admit(&desk, &rules, 1).await.unwrap();
    let mut refused = None;
    // A slow machine may see a second go by between two of them.
    for number in 2..6 {
        refused = refused.or(admit(&desk, &rules, number).await.err());
    }
    let refused = refused.unwrap();
    assert!(refused.retry_after <= Duration::from_secs(1), "{refused:?}");
    held_becomes(&desk, 1).await;
}

#[tokio::test]
async fn places_are_given_back_in_the_process() {
    places_are_given_back(LimitDesk::new(SharedLimits::default(), WhenAway::Refuse)).await;
}

#[tokio::test]
async fn places_are_given_back_in_redis() {
    let server = RedisServer::start();
    places_are_given_back(in_redis(&server, WhenAway::Refuse).await).await;
}

#[tokio::test]
async fn a_refused_start_keeps_no_place_in_the_process() {
    a_refused_start_keeps_no_place(LimitDesk::new(SharedLimits::default(), WhenAway::Refuse)).await;
}

#[tokio::test]
async fn a_refused_start_keeps_no_place_in_redis() {
    let server = RedisServer::start();
    a_refused_start_keeps_no_place(in_redis(&server, WhenAway::Refuse).await).await;
}

async fn asked(lease: &LimitLease, amount: u64) -> Answer {
    let (sender, mut answers): (_, UnboundedReceiver<Answered>) = unbounded_channel();
    lease.ask_elsewhere(Resource::Responses, Ask { used: 0, wanted: amount }, sender);
    tokio::time::timeout(Duration::from_secs(30), answers.recv()).await.unwrap().unwrap().1
}

#[tokio::test]
async fn while_redis_is_away_running_sessions_are_limited_by_their_node_and_new_ones_follow_the_setting() {
    let mut server = RedisServer::start();
    let rules = rules(Some(3), Resource::Responses, 2);
    let strict = in_redis(&server, WhenAway::Refuse).await;
    let lenient = in_redis(&server, WhenAway::Allow).await;
    let running = admit(&strict, &rules, 1).await.unwrap();
    let elsewhere = admit(&lenient, &rules, 2).await.unwrap();
    assert_eq!(asked(&running, 2).await, Answer::Granted);
    assert!(matches!(asked(&elsewhere, 1).await, Answer::Refused { .. }), "both nodes share one limit");
    server.stop();
    assert_eq!(asked(&running, 2).await, Answer::Granted, "this node's own count begins");
    assert!(matches!(asked(&running, 1).await, Answer::Refused { .. }));
    let refused = admit(&strict, &rules, 3).await.unwrap_err();
    assert_eq!((refused.error.status, refused.retry_after), (503, TRY_AGAIN));
    let allowed = admit(&lenient, &rules, 4).await.unwrap();
    server.start_again();
    server.wait_for_answer(&strict.counters).await;
    strict.renew().await;
    lenient.renew().await;
    held_becomes(&strict, 3).await;
    drop((running, elsewhere, allowed));
    held_becomes(&strict, 0).await;
}
