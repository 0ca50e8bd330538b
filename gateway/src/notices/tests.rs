//! Against a real server.

use std::collections::BTreeMap;
use std::sync::Mutex;

use axum::Router;
use axum::body::Bytes;
use axum::http::HeaderMap;
use axum::routing::post;
use serde_json::Value;
use voxgate_protocol::id::SessionId;
use voxgate_protocol::session::EndReason;
use voxgate_protocol::timeline::Hop;
use voxgate_protocol::trace_context::TraceContext;
use voxgate_signaling::live::{LiveSessions, Presence};
use voxgate_telemetry::latency::account::TurnAccount;
use voxgate_telemetry::latency::budget::LatencyBudget;
use voxgate_telemetry::latency::stamp::{Claim, Stamp};
use voxgate_telemetry::session::facts::{SessionFacts, TurnNote, WordsChange};
use voxgate_telemetry::session::view::{Lane, RecordingView};

use super::*;
use crate::webhook;

const SECRET: &str = "a secret of sixteen or more";

/// Longest wait for anything here.
const LIMIT: Duration = Duration::from_secs(20);

/// A server that answers with these statuses in turn, then with 200, and keeps what it was told.
#[derive(Clone, Default)]
struct Server {
    answers: Arc<Mutex<Vec<StatusCode>>>,
    told: Arc<Mutex<Vec<(HeaderMap, Bytes)>>>,
}

impl Server {
    async fn start(answers: &[StatusCode]) -> (Self, Url) {
        let server = Self { answers: Arc::new(Mutex::new(answers.to_vec())), ..Self::default() };
        let kept = server.clone();
        let handler = async move |headers: HeaderMap, body: Bytes| {
            kept.told.lock().unwrap().push((headers, body));
            let mut answers = kept.answers.lock().unwrap();
            if answers.is_empty() { StatusCode::OK } else { answers.remove(0) }
        };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap()).parse().unwrap();
        let router = Router::new().route("/", post(handler));
        tokio::spawn(async move { axum::serve(listener, router).await });
        (server, url)
    }

    fn bodies(&self) -> Vec<Value> {
        self.told.lock().unwrap().iter().map(|(_, body)| serde_json::from_slice(body).unwrap()).collect()
    }
}

struct World {
    live: LiveSessions,
    notices: Notices,
    metrics: Arc<Metrics>,
}

impl World {
    fn new(url: Url, occasions: &[Occasion], retries: u32) -> Self {
        let metrics = Arc::new(Metrics::new().unwrap());
        let recipient = Recipient {
            name: "crm".to_owned(),
            url,
            occasions: occasions.to_vec(),
            deadline: LIMIT,
            retries,
            pause: Duration::from_millis(1),
            secret: Some(Secret::new(SECRET)),
            http: webhook::client(Vec::new()).unwrap(),
        };
        let notices = Notices::start(&[Arc::new(recipient)], &metrics);
        let live = LiveSessions::default();
        live.add_sink(Arc::new(notices.clone()));
        Self { live, notices, metrics }
    }

    fn session(&self) -> Presence {
        self.live.enter(SessionFacts {
            model: "m".to_owned(),
            ..SessionFacts::new(SessionId::from("sess_1"), TraceContext::begin(None, (1, 1)))
        })
    }

    fn counted(&self, outcome: &str) -> u64 {
        self.metrics.session_webhooks.with_label_values(&["crm", outcome]).get()
    }
}

fn turn(record: &SessionRecord, number: u32, model_ms: u32) {
    let at = |ms: u32| Stamp::gateway(Duration::from_millis(ms.into()));
    let claim = Claim::new(Hop::Model, at(0), at(model_ms));
    let account = TurnAccount::from_claims(number, &at(0), &at(model_ms), &[claim]).unwrap();
    let budget = LatencyBudget { whole: Some(Duration::from_millis(500)), hops: BTreeMap::new() };
    let breaches = budget.breaches(&account);
    record.turn(Duration::ZERO, TurnNote { account: &account, budget: Some(&budget), breaches: &breaches });
}

#[tokio::test]
async fn the_end_of_a_session_is_told_with_its_figures_signed_and_without_a_word() {
    let (server, url) = Server::start(&[]).await;
    let world = World::new(url, &[Occasion::SessionEnded], 0);
    let session = world.session();
    let record = session.record();
    record.keeps(RecordingView { words: true, voices: false });
    record.words(Duration::ZERO, "item_1", Lane::Caller, WordsChange::Complete("my secret plan"));
    turn(record, 1, 400);
    record.ended(Duration::from_secs(2), Some(EndReason::HungUp));
    drop(session);
    world.notices.finish(LIMIT).await;
    let [(headers, body)] = <[_; 1]>::try_from(server.told.lock().unwrap().clone()).unwrap();
    let told: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!((&told["event"], &told["id"]), (&"session_ended".into(), &"sess_1.session_ended".into()));
    let summary = serde_json::to_value(world.live.record(&"sess_1".into()).unwrap().summary()).unwrap();
    assert_eq!(told["session"], summary);
    assert_eq!((&summary["end_reason"], &summary["mouth_to_ear_p95_ms"]), (&"hung_up".into(), &400.0.into()));
    assert!(!String::from_utf8_lossy(&body).contains("secret plan"));
    let signature = headers[SIGNATURE].to_str().unwrap();
    let at: u64 = signature.strip_prefix("t=").unwrap().split(',').next().unwrap().parse().unwrap();
    assert_eq!(signature, sign(&Secret::new(SECRET), at, &body).unwrap());
    assert_eq!(world.counted("delivered"), 1);
}

#[tokio::test]
async fn a_server_that_stumbles_is_told_again_the_same_and_counted_once() {
    let stumbles = [StatusCode::INTERNAL_SERVER_ERROR, StatusCode::TOO_MANY_REQUESTS];
    let (server, url) = Server::start(&stumbles).await;
    let world = World::new(url, &[Occasion::SessionEnded], 3);
    drop(world.session());
    world.notices.finish(LIMIT).await;
    let bodies = server.bodies();
    assert_eq!(bodies.len(), 3);
    assert!(bodies.iter().all(|body| *body == bodies[0]));
    assert_eq!((world.counted("delivered"), world.counted("failed")), (1, 0));
}

#[tokio::test]
async fn a_server_that_refuses_is_left_alone_and_one_that_never_recovers_is_given_up() {
    for (status, attempts) in
        [(StatusCode::BAD_REQUEST, 1), (StatusCode::FOUND, 1), (StatusCode::BAD_GATEWAY, 3)]
    {
        let (server, url) = Server::start(&[status; 9]).await;
        let world = World::new(url, &[Occasion::SessionEnded], 2);
        drop(world.session());
        world.notices.finish(LIMIT).await;
        assert_eq!(server.bodies().len(), attempts, "{status}");
        assert_eq!(world.counted("failed"), 1, "{status}");
    }
    let world = World::new("http://127.0.0.1:1/".parse().unwrap(), &[Occasion::SessionEnded], 1);
    drop(world.session());
    world.notices.finish(LIMIT).await;
    assert_eq!(world.counted("failed"), 1, "nobody there");
}

#[tokio::test]
async fn a_turn_that_took_too_long_is_told_where_it_is_asked_for() {
    let (server, url) = Server::start(&[]).await;
    let world = World::new(url, &[Occasion::TurnBreached], 0);
    let session = world.session();
    turn(session.record(), 1, 400);
    turn(session.record(), 2, 600);
    drop(session);
    world.notices.finish(LIMIT).await;
    let [told] = <[Value; 1]>::try_from(server.bodies()).unwrap();
    assert_eq!((&told["event"], &told["turn"]["turn"]), (&"turn_breached".into(), &2.into()));
    assert_eq!(told["turn"]["breaches"][0]["spender"], "model");
}

#[tokio::test]
async fn what_finds_no_room_is_dropped_and_counted_and_holds_no_session_up() {
    let (_server, url) = Server::start(&[]).await;
    let world = World::new(url, &[Occasion::SessionEnded], 0);
    // The task that sends does not run while this one does not wait.
    (0..MOST_WAITING + 5).for_each(|_| drop(world.session()));
    assert_eq!(world.counted("dropped"), 5);
    world.notices.finish(LIMIT).await;
    assert_eq!(world.counted("delivered"), MOST_WAITING as u64);
}
