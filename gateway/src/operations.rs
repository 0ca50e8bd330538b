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
#[expect(clippy::unused_async, reason = "axum handlers are async")]
async fn healthz() -> &'static str {
    "ok\n"
}

/// The process takes sessions.
#[expect(clippy::unused_async, reason = "axum handlers are async")]
async fn readyz(State(operations): State<Operations>) -> (StatusCode, &'static str) {
    if operations.places.is_draining() {
        (StatusCode::SERVICE_UNAVAILABLE, "draining\n")
    } else {
        (StatusCode::OK, "ready\n")
    }
}

#[expect(clippy::unused_async, reason = "axum handlers are async")]
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
    for ((direction, fate, value), (_, _, before)) in now.by_fate().into_iter().zip(counted.by_fate()) {
        let counter = operations.metrics.relay_datagrams.with_label_values(&[direction, fate]);
        counter.inc_by(value.saturating_sub(before));
    }
    *counted = now;
}
