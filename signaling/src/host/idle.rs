//! A host for tests that runs nothing.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::extract::ws::WebSocket;
use futures_util::future::BoxFuture;
use voxgate_policy::decision::{Act, Decision, Effect, Question};
use voxgate_policy::directory::Caller;
use voxgate_policy::key::KeyIndex;
use voxgate_protocol::id::CallId;
use voxgate_realtime::ApiError;

use super::{Recording, ServeSideband, SessionHost, SessionRequest};

/// What was decided: the act, the answer and the policies that gave it.
pub(crate) type Decided = (Act, Effect, Vec<Arc<str>>);

/// Runs nothing, would keep `recording` of sessions, and notes what was decided.
#[derive(Default)]
pub(crate) struct Idle {
    recording: Option<Recording>,
    decided: Mutex<Vec<Decided>>,
}

impl Idle {
    /// Would keep this of sessions.
    pub(crate) fn recording(recording: Option<Recording>) -> Self {
        Self { recording, ..Self::default() }
    }

    /// What was decided since this was asked last.
    pub(crate) fn take_decided(&self) -> Vec<Decided> {
        std::mem::take(&mut *self.decided.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl SessionHost for Idle {
    fn answer(&self, _: CallId, _: String, _: SessionRequest) -> BoxFuture<'_, Result<String, ApiError>> {
        Box::pin(async { Err(ApiError::call_id_not_found()) })
    }

    fn restart_ice(&self, _: CallId, _: KeyIndex, _: String) -> BoxFuture<'_, Result<String, ApiError>> {
        Box::pin(async { Err(ApiError::call_id_not_found()) })
    }

    fn attach(&self, _: CallId, _: KeyIndex) -> BoxFuture<'_, Result<ServeSideband, ApiError>> {
        Box::pin(async { Err(ApiError::call_id_not_found()) })
    }

    fn hang_up(&self, _: CallId, _: KeyIndex) -> BoxFuture<'_, bool> {
        Box::pin(async { false })
    }

    fn report(&self, _: CallId, _: KeyIndex, _: String) -> BoxFuture<'_, Result<(), ApiError>> {
        Box::pin(async { Err(ApiError::call_id_not_found()) })
    }

    fn refused(&self, _: &ApiError) {}

    fn decided(&self, _: &Caller, question: &Question<'_>, decision: &Decision, _: Duration) {
        let decided = (question.act(), decision.effect, decision.policies.clone());
        self.decided.lock().unwrap_or_else(PoisonError::into_inner).push(decided);
    }

    fn recording(&self) -> Option<Recording> {
        self.recording
    }

    fn serve_socket(&self, _: WebSocket, _: SessionRequest) -> BoxFuture<'static, ()> {
        Box::pin(async {})
    }
}
