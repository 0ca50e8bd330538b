//! What operators and orchestrators ask: is the process alive, does it take sessions, what does it count.

use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use voxgate_relay::core::RelayStats;
use voxgate_relay::shell::RelayHandle;
use voxgate_signaling::permit::Places;
use voxgate_telemetry::metrics::Metrics;

/// What the handlers share.
#[derive(Clone)]
pub(crate) struct Operations {
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) places: Places,
    pub(crate) relay: Arc<RelayHandle>,
    pub(crate) relay_counted: Arc<Mutex<RelayStats>>,
}

/// The operator's routes.
pub(crate) fn router(operations: Operations) -> Router {
    Router::new()
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .with_state(operations)
}

/// The process lives. Depends on nothing else, so that no outside failure gets it restarted.
async fn healthz() -> &'static str {
    "ok\n"
}

/// The process takes sessions.
async fn readyz(State(operations): State<Operations>) -> (StatusCode, &'static str) {
    if operations.places.is_draining() {
        (StatusCode::SERVICE_UNAVAILABLE, "draining\n")
    } else {
        (StatusCode::OK, "ready\n")
    }
}

async fn metrics(State(operations): State<Operations>) -> Response {
    count_relay(&operations);
    match operations.metrics.render() {
        Ok(text) => ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

/// Carries what the relay counted since the last scrape into the catalogue.
fn count_relay(operations: &Operations) {
    let now = operations.relay.stats();
    let mut counted = operations.relay_counted.lock().unwrap_or_else(PoisonError::into_inner);
    for ((direction, fate, value), (_, _, before)) in by_fate(&now).into_iter().zip(by_fate(&counted)) {
        let counter = operations.metrics.relay_datagrams.with_label_values(&[direction, fate]);
        counter.inc_by(value.saturating_sub(before));
    }
    *counted = now;
}

/// What became of the relay's datagrams: direction, fate, count. Directions are seen from the client.
const fn by_fate(stats: &RelayStats) -> [(&'static str, &'static str, u64); 25] {
    [
        ("up", "forwarded", stats.up_datagrams),
        ("up", "drop_client_address", stats.drop_client_address),
        ("up", "drop_oversize", stats.drop_client_oversize),
        ("up", "drop_class", stats.drop_client_class),
        ("up", "drop_no_ufrag", stats.drop_no_ufrag),
        ("up", "drop_foreign_ufrag", stats.drop_foreign_ufrag),
        ("up", "drop_unknown_ufrag_key", stats.drop_unknown_ufrag_key),
        ("up", "drop_forged_ufrag", stats.drop_forged_ufrag),
        ("up", "drop_ended_session", stats.drop_ended_session),
        ("up", "drop_unknown_node", stats.drop_unknown_node),
        ("up", "drop_half_open_full", stats.drop_half_open_full),
        ("up", "drop_unassured_stun", stats.drop_unassured_stun),
        ("up", "drop_unassured_dtls", stats.drop_unassured_dtls),
        ("up", "drop_unassured_media", stats.drop_unassured_media),
        ("up", "refused_takeover", stats.refused_takeover),
        ("down", "forwarded", stats.down_datagrams),
        ("down", "drop_tunnel_malformed", stats.drop_tunnel_malformed),
        ("down", "drop_tunnel_unlisted", stats.drop_tunnel_unlisted),
        ("down", "drop_tunnel_forged", stats.drop_tunnel_forged),
        ("down", "drop_tunnel_misdirected", stats.drop_tunnel_misdirected),
        ("down", "drop_tunnel_replayed", stats.drop_tunnel_replayed),
        ("down", "drop_address", stats.drop_down_address),
        ("down", "drop_unassured_class", stats.drop_down_unassured_class),
        ("down", "drop_budget", stats.drop_down_budget),
        ("down", "send_failed", stats.send_errors),
    ]
}
