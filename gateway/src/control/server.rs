//! The gateway's control listener.

use std::sync::Arc;

use axum::extract::{Path, Query, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::Deserialize;
use voxgate_policy::key::{KeyHash, KeyRing};
use voxgate_protocol::id::RelayId;

use super::LONG_POLL;
use super::state::{ControlState, RotateError};

/// The routes of the control listener. `token` is what relays and operators have to present.
pub(crate) fn router(state: Arc<ControlState>, token: &str) -> Router {
    // The ring compares hashes in constant time.
    let ring = Arc::new(KeyRing::new(vec![KeyHash::of(token)]));
    Router::new()
        .route("/internal/v1/relays/{id}/allow-list", get(allow_list))
        .route("/internal/v1/ufrag-keys/rotate", post(rotate))
        .with_state(state)
        .layer(middleware::from_fn_with_state(ring, authorize))
}

async fn authorize(State(ring): State<Arc<KeyRing>>, request: Request, next: Next) -> Response {
    match bearer(request.headers()).map(|token| ring.authenticate(token)) {
        Some(Ok(_)) => next.run(request).await,
        _ => {
            let challenge = [(header::WWW_AUTHENTICATE, "Bearer")];
            (StatusCode::UNAUTHORIZED, challenge, "the bearer token is missing or wrong\n").into_response()
        }
    }
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    headers.get(header::AUTHORIZATION)?.to_str().ok()?.strip_prefix("Bearer ")
}

#[derive(Deserialize)]
pub(super) struct Held {
    /// The revision the relay holds; absent if it holds none.
    pub(super) after: Option<u64>,
}

pub(super) async fn allow_list(
    State(state): State<Arc<ControlState>>,
    Path(id): Path<u32>,
    Query(held): Query<Held>,
) -> Response {
    let relay = RelayId(id);
    if state.list(relay).is_none() {
        let message = format!("relay {id} is not among the relays of this gateway\n");
        return (StatusCode::NOT_FOUND, message).into_response();
    }
    if let Some(revision) = held.after {
        state.relay_holds(relay, revision);
    }
    // A timeout is an answer of its own: the relay holds the present list, and the control plane lives.
    if tokio::time::timeout(LONG_POLL, state.changed(held.after)).await.is_err() {
        return StatusCode::NO_CONTENT.into_response();
    }
    Json(state.list(relay)).into_response()
}

async fn rotate(State(state): State<Arc<ControlState>>) -> Response {
    // In a task of its own, so that a client that goes away does not leave a key published and never used.
    match tokio::spawn(state.rotate()).await {
        Ok(Ok(rotation)) => Json(rotation).into_response(),
        Ok(Err(error @ (RotateError::Busy | RotateError::NoFreeId))) => {
            (StatusCode::CONFLICT, format!("{error}\n")).into_response()
        }
        Ok(Err(error @ RotateError::Random)) => {
            (StatusCode::SERVICE_UNAVAILABLE, format!("{error}\n")).into_response()
        }
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}
