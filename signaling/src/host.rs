//! The seam to the nodes that run sessions.

use axum::extract::ws::WebSocket;
use futures_util::future::BoxFuture;
use voxgate_policy::key::KeyIndex;
use voxgate_policy::routing::Route;
use voxgate_protocol::id::{CallId, SessionId};
use voxgate_protocol::settings::SessionSettings;
use voxgate_realtime::{ApiError, ParkedConversation};

use crate::permit::Permit;
use crate::resume::ResumeTicket;

/// A session somebody may start: authenticated, admitted, routed.
#[derive(Debug)]
pub struct SessionRequest {
    /// The name of the session.
    pub session_id: SessionId,
    /// What the client asked for.
    pub settings: SessionSettings,
    /// Where it goes.
    pub route: Route,
    /// Its place; drop it when the session is over.
    pub permit: Permit,
    /// With what a client that was lost can go on; `None` if it cannot.
    pub ticket: Option<ResumeTicket>,
    /// The conversation it goes on with.
    pub resumed: Option<ParkedConversation>,
}

/// Runs sessions.
pub trait SessionHost: Send + Sync + 'static {
    /// Answers a WebRTC offer. The session runs from now on; the result is the SDP answer.
    fn answer(
        &self,
        call_id: CallId,
        offer: String,
        request: SessionRequest,
    ) -> BoxFuture<'_, Result<String, ApiError>>;

    /// Answers an offer that restarts ICE of a call of this key; the session goes on. The result is the SDP answer.
    fn restart_ice(
        &self,
        call_id: CallId,
        key: KeyIndex,
        offer: String,
    ) -> BoxFuture<'_, Result<String, ApiError>>;

    /// Ends a call of this key. False if it has none of that name: another key's call is as unknown as one that never was.
    fn hang_up(&self, call_id: CallId, key: KeyIndex) -> BoxFuture<'_, bool>;

    /// A session was refused before it started; for the count of them.
    fn refused(&self, error: &ApiError);

    /// Runs a session on a client's WebSocket until it ends.
    fn serve_socket(&self, socket: WebSocket, request: SessionRequest) -> BoxFuture<'static, ()>;
}
