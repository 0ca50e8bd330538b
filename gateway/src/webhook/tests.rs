//! Against a real server.

use std::net::SocketAddr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};

use axum::body::Bytes;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response as Reply};
use axum::routing::post;
use axum::{Json, Router};
use serde_json::{Value, json};
use tokio::sync::Notify;

use super::*;

const SECRET: &str = "a secret of sixteen or more";

/// Longest wait for anything here.
const LIMIT: Duration = Duration::from_secs(20);

struct World {
    webhooks: Webhooks,
    judge: Arc<Judge>,
    metrics: Arc<Metrics>,
    reply: mpsc::Sender<Answered>,
    answered: mpsc::Receiver<Answered>,
    rung: Arc<AtomicU32>,
}

fn judge(url: &str, deadline: Duration, authorities: Vec<reqwest::Certificate>) -> Judge {
    Judge {
        name: "vendor".to_owned(),
        directions: vec![Direction::Agent],
        url: url.parse().unwrap(),
        deadline,
        unanswered: None,
        say: None,
        masks: false,
        is_optional: false,
        secret: Some(Secret::new(SECRET)),
        http: client(authorities).unwrap(),
    }
}

impl World {
    fn new(judge: Judge) -> Self {
        let metrics = Arc::new(Metrics::new().unwrap());
        let (reply, answered) = mpsc::channel(64);
        let webhooks = Webhooks::start(Arc::clone(&metrics));
        Self { webhooks, judge: Arc::new(judge), metrics, reply, answered, rung: Arc::default() }
    }

    fn ask(&self, number: u64, words: &str) -> bool {
        let shown = Shown {
            version: 1,
            rule: "vendor".to_owned(),
            session_id: SessionId::from("sess_1"),
            direction: "agent",
            item_id: ItemId::from("item_1"),
            words: words.to_owned(),
            is_complete: true,
        };
        let rung = Arc::clone(&self.rung);
        let ring: Ring = Arc::new(move || {
            rung.fetch_add(1, Ordering::Relaxed);
        });
        self.webhooks.ask(&self.judge, (number, shown), self.reply.clone(), ring)
    }

    async fn opinion(&mut self) -> Option<Opinion> {
        assert!(self.ask(7, "You could sue."));
        let answered = tokio::time::timeout(LIMIT, self.answered.recv()).await.unwrap().unwrap();
        assert_eq!(answered.number, 7);
        answered.opinion
    }

    fn counted(&self, outcome: &str) -> u64 {
        self.metrics.guardrail_webhooks.with_label_values(&["vendor", outcome]).get()
    }
}

/// Serves on a port of its own; the URL of its root.
async fn serve(router: Router) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await });
    format!("http://{address}/")
}

#[tokio::test]
async fn a_judge_is_shown_signed_words_and_its_opinion_rings_the_session() {
    let seen: Arc<Mutex<Vec<(HeaderMap, Bytes)>>> = Arc::default();
    let kept = Arc::clone(&seen);
    let handler = async move |headers: HeaderMap, body: Bytes| {
        kept.lock().unwrap().push((headers, body));
        Json(json!({"act": "replace", "say": "No."}))
    };
    let url = serve(Router::new().route("/", post(handler))).await;
    let mut world = World::new(judge(&url, LIMIT, Vec::new()));
    assert_eq!(world.opinion().await, Some(Opinion::Replace { say: Some("No.".to_owned()) }));
    let (headers, body) = seen.lock().unwrap().pop().unwrap();
    let shown: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(
        shown,
        json!({"version": 1, "rule": "vendor", "session_id": "sess_1", "direction": "agent", "item_id": "item_1",
               "words": "You could sue.", "is_complete": true})
    );
    let signature = headers[SIGNATURE].to_str().unwrap();
    let at: u64 = signature.strip_prefix("t=").unwrap().split(',').next().unwrap().parse().unwrap();
    assert_eq!(signature, sign(&Secret::new(SECRET), at, &body).unwrap());
    assert_ne!(signature, sign(&Secret::new("another secret"), at, &body).unwrap());
    assert_eq!(world.counted("answered"), 1);
    let rings = async {
        while world.rung.load(Ordering::Relaxed) == 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(LIMIT, rings).await.unwrap();
}

#[tokio::test]
async fn whatever_is_no_opinion_counts_as_none() {
    type Answer = fn() -> Reply;
    let answers: [(Answer, &str); 6] = [
        (|| StatusCode::INTERNAL_SERVER_ERROR.into_response(), "an error"),
        (|| (StatusCode::FOUND, [(header::LOCATION, "/elsewhere")]).into_response(), "a redirect"),
        (|| "no JSON".into_response(), "no JSON"),
        (|| Json(json!({"act": "hide"})).into_response(), "an act nobody knows"),
        (|| Json(json!({"act": "mask", "words": ["sue"]})).into_response(), "an act it may not ask for"),
        (|| "x".repeat(4 * LONGEST_OPINION).into_response(), "a flood"),
    ];
    for (answer, name) in answers {
        let elsewhere = async || Json(json!({"act": "end"}));
        let router = Router::new()
            .route("/", post(async move || answer()))
            .route("/elsewhere", post(elsewhere).get(elsewhere));
        let url = serve(router).await;
        let mut world = World::new(judge(&url, LIMIT, Vec::new()));
        assert_eq!(world.opinion().await, None, "{name}");
        assert_eq!(world.counted("failed"), 1, "{name}");
    }
    let mut nobody = World::new(judge("http://127.0.0.1:1/", LIMIT, Vec::new()));
    assert_eq!(nobody.opinion().await, None);
}

#[tokio::test]
async fn a_judge_that_may_says_what_is_to_be_hidden() {
    let handler = async || Json(json!({"act": "mask", "words": ["sue"]}));
    let url = serve(Router::new().route("/", post(handler))).await;
    let mut world = World::new(Judge { masks: true, ..judge(&url, LIMIT, Vec::new()) });
    let words = voxgate_policy::guardrail::Hidden::new(["sue".to_owned()]);
    assert_eq!(world.opinion().await, Some(Opinion::Mask { words }));
}

#[tokio::test]
async fn a_judge_that_does_not_answer_in_time_is_late_and_holds_nobody_up() {
    let silence = Arc::new(Notify::new());
    let waits = Arc::clone(&silence);
    let handler = async move || {
        waits.notified().await;
        Json(json!({"act": "end"}))
    };
    let url = serve(Router::new().route("/", post(handler))).await;
    let mut world = World::new(judge(&url, Duration::from_millis(50), Vec::new()));
    assert_eq!(world.opinion().await, None);
    assert_eq!(world.counted("late"), 1);
    // Asking never waits: while the task that asks does not run, what finds no room is told.
    let taken = (0..MOST_WAITING as u64 * 2).filter(|number| world.ask(*number, "x.")).count();
    assert_eq!(taken, MOST_WAITING);
}

/// A certificate of its own authority, and the authority.
fn certificate() -> (rcgen::Certificate, rcgen::KeyPair, reqwest::Certificate) {
    let authority_key = rcgen::KeyPair::generate().unwrap();
    let mut parameters = rcgen::CertificateParams::new(Vec::new()).unwrap();
    parameters.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let authority = parameters.self_signed(&authority_key).unwrap();
    let issuer = rcgen::Issuer::new(parameters, authority_key);
    let key = rcgen::KeyPair::generate().unwrap();
    let served = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    let served = served.signed_by(&key, &issuer).unwrap();
    (served, key, reqwest::Certificate::from_pem(authority.pem().as_bytes()).unwrap())
}

#[tokio::test]
async fn words_go_only_to_a_server_whose_certificate_is_trusted() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let (served, key, authority) = certificate();
    let pem = (served.pem().into_bytes(), key.serialize_pem().into_bytes());
    let tls = axum_server::tls_rustls::RustlsConfig::from_pem(pem.0, pem.1).await.unwrap();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let address: SocketAddr = listener.local_addr().unwrap();
    let asked = Arc::new(AtomicU32::new(0));
    let count = Arc::clone(&asked);
    let handler = async move || {
        count.fetch_add(1, Ordering::Relaxed);
        Json(json!({"act": "note"}))
    };
    let router = Router::new().route("/", post(handler));
    let server = axum_server::from_tcp_rustls(listener, tls).unwrap();
    tokio::spawn(server.serve(router.into_make_service()));
    let url = format!("https://localhost:{}/", address.port());
    let mut trusting = World::new(judge(&url, LIMIT, vec![authority]));
    assert_eq!(trusting.opinion().await, Some(Opinion::Note));
    let mut careful = World::new(judge(&url, LIMIT, Vec::new()));
    assert_eq!(careful.opinion().await, None);
    assert_eq!(asked.load(Ordering::Relaxed), 1);
}
