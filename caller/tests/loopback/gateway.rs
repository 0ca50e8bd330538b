//! A stand-in for a gateway: the HTTP of the Realtime API and an answering WebRTC peer, on loopback.
//!
//! It answers every question with the same scripted events and the same tone, and reports a turn on the channel
//! `voxgate`.

mod answering;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::{FromRequest, Multipart, Path, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{patch, post};
use serde_json::{Value, json};
use webrtc::peer_connection::PeerConnection;

pub(crate) use answering::{ANSWER_TONE_HZ, Behaviour, LOSE_RELAY};

pub(crate) const API_KEY: &str = "sk-test";
const EPHEMERAL_KEY: &str = "ek_test";
pub(crate) const CALL_ID: &str = "rtc_test";

/// What the stand-in was asked.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    pub(crate) sessions: Vec<Value>,
    pub(crate) hang_ups: Vec<String>,
    pub(crate) reports: Vec<Value>,
    pub(crate) client_events: Vec<Value>,
    /// Offers that restart ICE.
    pub(crate) restarts: Vec<String>,
}

#[derive(Clone)]
struct Shared {
    seen: Arc<Mutex<Seen>>,
    behaviour: Behaviour,
    /// They live as long as the gateway.
    peers: Arc<tokio::sync::Mutex<Vec<Arc<dyn PeerConnection>>>>,
}

pub(crate) struct Gateway {
    pub(crate) base_url: String,
    pub(crate) seen: Arc<Mutex<Seen>>,
}

impl Gateway {
    pub(crate) async fn start(behaviour: Behaviour) -> Self {
        let seen = Arc::new(Mutex::new(Seen::default()));
        let shared = Shared { seen: Arc::clone(&seen), behaviour, peers: Arc::default() };
        let routes = Router::new()
            .route("/v1/realtime/client_secrets", post(client_secret))
            .route("/v1/realtime/calls", post(open_call))
            .route("/v1/realtime/calls/{id}", patch(restart))
            .route("/v1/realtime/calls/{id}/hangup", post(hang_up))
            .with_state(shared);
        let listener = tokio::net::TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
        let base_url = format!("http://{}/v1", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, routes).await });
        Self { base_url, seen }
    }
}

async fn client_secret(State(shared): State<Shared>, headers: HeaderMap, body: Bytes) -> Response {
    if bearer(&headers) != API_KEY {
        return refused();
    }
    let request: Value = serde_json::from_slice(&body).unwrap();
    shared.seen.lock().unwrap().sessions.push(request["session"].clone());
    axum::Json(json!({"value": EPHEMERAL_KEY, "expires_at": 1, "session": {}})).into_response()
}

async fn open_call(State(shared): State<Shared>, request: Request) -> Response {
    let key = bearer(request.headers()).to_owned();
    let kind = request.headers()[header::CONTENT_TYPE].to_str().unwrap().to_owned();
    let offer = match key.as_str() {
        EPHEMERAL_KEY => {
            assert_eq!(kind, "application/sdp");
            String::from_request(request, &()).await.unwrap()
        }
        API_KEY => {
            let mut form = Multipart::from_request(request, &()).await.unwrap();
            let mut offer = String::new();
            while let Some(field) = form.next_field().await.unwrap() {
                let name = field.name().unwrap().to_owned();
                let content_type = field.content_type().unwrap().to_owned();
                let text = field.text().await.unwrap();
                match (name.as_str(), content_type.as_str()) {
                    ("sdp", "application/sdp") => offer = text,
                    ("session", "application/json") => {
                        shared.seen.lock().unwrap().sessions.push(serde_json::from_str(&text).unwrap());
                    }
                    other => panic!("unexpected part {other:?}"),
                }
            }
            offer
        }
        _ => return refused(),
    };
    assert!(!offer.contains("a=candidate"), "the caller must not wait for its own candidates");
    let (peer, answer) = answering::answer(offer, shared.behaviour, Arc::clone(&shared.seen)).await;
    shared.peers.lock().await.push(peer);
    let location = format!("/v1/realtime/calls/{CALL_ID}");
    let headers = [(header::CONTENT_TYPE, "application/sdp".to_owned()), (header::LOCATION, location)];
    (StatusCode::CREATED, headers, answer).into_response()
}

/// The first attempt finds a gateway that is busy.
async fn restart(State(shared): State<Shared>, headers: HeaderMap, offer: String) -> Response {
    assert_eq!(
        (bearer(&headers), headers[header::CONTENT_TYPE].as_bytes()),
        (API_KEY, &b"application/sdp"[..])
    );
    shared.seen.lock().unwrap().restarts.push(offer.clone());
    if shared.seen.lock().unwrap().restarts.len() == 1 {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    }
    let peers = shared.peers.lock().await;
    answering::answer_again(peers[0].as_ref(), offer).await.into_response()
}

async fn hang_up(State(shared): State<Shared>, Path(id): Path<String>, headers: HeaderMap) -> Response {
    if bearer(&headers) != API_KEY {
        return refused();
    }
    shared.seen.lock().unwrap().hang_ups.push(id);
    StatusCode::OK.into_response()
}

fn bearer(headers: &HeaderMap) -> &str {
    headers[header::AUTHORIZATION].to_str().unwrap().strip_prefix("Bearer ").unwrap()
}

fn refused() -> Response {
    let message = "Incorrect API key provided";
    let body =
        json!({"error": {"message": message, "type": "invalid_request_error", "code": "invalid_api_key"}});
    (StatusCode::UNAUTHORIZED, axum::Json(body)).into_response()
}
