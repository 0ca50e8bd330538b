//! The seam to the nodes that run sessions.

#[cfg(test)]
pub(crate) mod idle;

use std::time::Duration;

use axum::extract::ws::WebSocket;
use futures_util::future::BoxFuture;
use voxgate_policy::decision::{Decision, Obligations, Question};
use voxgate_policy::directory::Caller;
use voxgate_policy::key::KeyIndex;
use voxgate_policy::routing::Route;
use voxgate_protocol::id::{CallId, SessionId};
use voxgate_protocol::revision::RevisionName;
use voxgate_protocol::settings::SessionSettings;
use voxgate_realtime::{AllowedEvents, ApiError};

use crate::limits::desk::LimitLease;
use crate::live::Presence;
use crate::permit::Permit;
use crate::resume::{ResumeTicket, Resumed};

/// What is kept of sessions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Recording {
    /// Whether voices are kept with the words.
    pub audio: bool,
    /// The age at which what was kept is removed.
    pub keep: Duration,
}

/// A session somebody may start: authenticated, admitted, routed.
#[derive(Debug)]
pub struct SessionRequest {
    /// The name of the session.
    pub session_id: SessionId,
    /// The configuration it runs with, to its end.
    pub revision: RevisionName,
    /// What the client asked for.
    pub settings: SessionSettings,
    /// Where it may go.
    pub route: Route,
    /// Its place; drop it when the session is over.
    pub permit: Permit,
    /// Its place on the list of running sessions; drop it when the session is over.
    pub presence: Presence,
    /// Its limits; drop them when the session is over.
    pub limits: LimitLease,
    /// With what a client that was lost can go on; `None` if it cannot.
    pub ticket: Option<ResumeTicket>,
    /// The conversation it goes on with.
    pub resumed: Option<Resumed>,
    /// The client events its client may send; `None` means all.
    pub allowed_events: Option<AllowedEvents>,
    /// Who asks.
    pub caller: Caller,
    /// What the policies that let the session begin demand of it.
    pub obligations: Obligations,
    /// What may be kept of it; `None` for nothing at all.
    pub recording: Option<Recording>,
}

/// Serves the WebSocket of a sideband connection until it or its call ends. Dropping it uncalled detaches.
pub type ServeSideband = Box<dyn FnOnce(WebSocket) -> BoxFuture<'static, ()> + Send>;

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

    /// Attaches a sideband connection to a call of this key.
    ///
    /// # Errors
    /// `call_id_not_found` if the key has no such call, `rate_limit_exceeded` if the call has enough sideband connections.
    fn attach(&self, call_id: CallId, key: KeyIndex) -> BoxFuture<'_, Result<ServeSideband, ApiError>>;

    /// Ends a call of this key. False if it has none of that name: another key's call is as unknown as one that never was.
    fn hang_up(&self, call_id: CallId, key: KeyIndex) -> BoxFuture<'_, bool>;

    /// Takes what the client of a call of this key measured of its own side, as it came.
    ///
    /// # Errors
    /// `call_id_not_found` if the key has no such call, `invalid_type` for what is no report.
    fn report(&self, call_id: CallId, key: KeyIndex, report: String) -> BoxFuture<'_, Result<(), ApiError>>;

    /// A session was refused before it started; for the count of them.
    fn refused(&self, error: &ApiError);

    /// The policies decided, in this time; for the count of decisions and the audit log. Must not wait for anything.
    fn decided(&self, caller: &Caller, question: &Question<'_>, decision: &Decision, took: Duration);

    /// What it would keep of every session, if the policies let it.
    fn recording(&self) -> Option<Recording>;

    /// Runs a session on a client's WebSocket until it ends.
    fn serve_socket(&self, socket: WebSocket, request: SessionRequest) -> BoxFuture<'static, ()>;
}
