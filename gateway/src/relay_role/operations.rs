//! What operators and orchestrators ask a relay.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::get;
use voxgate_relay::shell::RelayHandle;
use voxgate_telemetry::relay::RelayMetrics;

use crate::control::client::Freshness;
use crate::operations::prometheus_text;

/// What the handlers share.
#[derive(Clone, Debug)]
pub(super) struct Operations {
    metrics: RelayMetrics,
    relay: Arc<RelayHandle>,
    freshness: Arc<Freshness>,
}

impl Operations {
    pub(super) const fn new(
        metrics: RelayMetrics,
        relay: Arc<RelayHandle>,
        freshness: Arc<Freshness>,
    ) -> Self {
        Self { metrics, relay, freshness }
    }
}

pub(super) fn router(operations: Operations) -> Router {
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

/// The relay can take new calls. A control plane that is away changes nothing: the last list is good.
async fn readyz(State(operations): State<Operations>) -> (StatusCode, &'static str) {
    if operations.relay.is_draining() {
        (StatusCode::SERVICE_UNAVAILABLE, "draining\n")
    } else if operations.freshness.has_list() {
        (StatusCode::OK, "ready\n")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "no allow-list yet\n")
    }
}

async fn metrics(State(operations): State<Operations>) -> Response {
    prometheus_text(operations.metrics.render())
}
