//! What operators and orchestrators ask: is the process alive, does it take sessions, what does it count.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use voxgate_signaling::permit::Places;
use voxgate_telemetry::metrics::Metrics;

use crate::latency::LatencyDesk;

/// What the handlers share.
#[derive(Clone)]
pub(crate) struct Operations {
    pub(crate) metrics: Arc<Metrics>,
    /// Shows the burn of budgets at every scrape.
    pub(crate) latency: Arc<LatencyDesk>,
    pub(crate) places: Places,
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
    operations.latency.show();
    prometheus_text(operations.metrics.render())
}

/// The answer to a scrape.
pub(crate) fn prometheus_text(rendered: Result<String, impl std::fmt::Display>) -> Response {
    match rendered {
        Ok(text) => ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}
