//! The sessions that run: list, look, end.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Serialize;
use serde_json::json;
use utoipa::{IntoParams, ToSchema};
use voxgate_protocol::id::SessionId;

use super::AdminApi;
use super::order::{Asked, At, BareOrder, By, IdempotencyKey};
use super::page::{Page, PageQuery};
use super::reply::{AdminError, Refusals};
use crate::live::SessionStanding;
use crate::store::administration::Witnessed;

/// A session that runs in this process.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Session {
    /// `sess_…`.
    id: String,
    /// `rtc_…`, as clients and sidebands name the call; null for one over a WebSocket.
    call: Option<String>,
    organisation: String,
    team: String,
    key: String,
    /// The agent its key is narrowed to.
    agent: Option<String>,
    /// As the client named it.
    model: String,
    /// The configured provider that serves it; null until one does.
    provider: Option<String>,
    /// Where the provider works, if the configuration says so.
    region: Option<String>,
    /// `webrtc` or `websocket`.
    transport: &'static str,
    /// `conversation` or `transcription`.
    purpose: &'static str,
    /// `connecting`, `open` or `ending`.
    state: &'static str,
    /// The revision of the configuration it keeps to its end.
    revision_number: u64,
    /// Its hash.
    revision_hash: String,
    /// In seconds since 1970.
    began_at: u64,
    /// Answers that were completed.
    answers: u32,
    /// What it has cost so far in billionths of a dollar, estimates included; null if nobody counts.
    cost_nano_dollars: Option<i64>,
}

impl From<SessionStanding> for Session {
    fn from(standing: SessionStanding) -> Self {
        let SessionStanding { facts, summary } = standing;
        Self {
            id: summary.id,
            call: summary.call,
            organisation: summary.organisation,
            team: summary.team,
            key: summary.key,
            agent: summary.agent,
            model: summary.model,
            provider: summary.provider,
            region: summary.region,
            transport: facts.transport,
            purpose: facts.purpose,
            state: summary.state.as_str(),
            revision_number: summary.revision_number,
            revision_hash: summary.revision_hash,
            began_at: facts.began_at_unix_ms / 1_000,
            answers: summary.answers,
            cost_nano_dollars: summary.cost_nano_dollars,
        }
    }
}

/// Sessions that run, in the order of their ids
#[utoipa::path(
    get,
    path = "/admin/v1/sessions",
    tag = "sessions",
    params(PageQuery),
    responses((status = 200, body = Page<Session>), Refusals)
)]
pub(super) async fn list_sessions(
    State(api): State<AdminApi>,
    By(administrator): By,
    Asked(query): Asked<PageQuery>,
) -> Result<Json<Page<Session>>, AdminError> {
    let piece = query.read()?;
    let most = piece.look_ahead() as usize;
    // The reach is asked under the lock of the list, the policies are not.
    let found = api.live.list(&piece.after, most, |facts| administrator.reach.covers_path(&facts.tenancy));
    let page = piece.cut(found, |session| session.facts.session.to_string());
    let Page { items, next } = page;
    let items = items.into_iter().filter(|session| administrator.covers(&session.facts.tenancy));
    Ok(Json(Page { items: items.map(Session::from).collect(), next }))
}

/// Where a session is.
#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
#[expect(dead_code, reason = "it only describes")]
pub(super) struct SessionPath {
    /// The id of the session.
    #[param(max_length = 64, pattern = "^[A-Za-z0-9_-]+$")]
    session: String,
}

/// One session that runs
#[utoipa::path(
    get,
    path = "/admin/v1/sessions/{session}",
    tag = "sessions",
    params(SessionPath),
    responses((status = 200, body = Session), Refusals)
)]
pub(super) async fn look_at_session(
    State(api): State<AdminApi>,
    By(administrator): By,
    At(id): At<SessionId>,
) -> Result<Json<Session>, AdminError> {
    let found = api.live.find(&id).filter(|session| administrator.covers(&session.facts.tenancy));
    found.map(|session| Json(session.into())).ok_or_else(no_session)
}

/// End a session
///
/// Its client is told `session_ended_by_operator`, and a WebSocket is closed with 1008, so that it does not come back by itself.
/// The session is gone from the list within a second. Ending one that ends already changes nothing.
#[utoipa::path(
    post,
    path = "/admin/v1/sessions/{session}/end",
    tag = "sessions",
    params(SessionPath, IdempotencyKey),
    responses((status = 202, description = "It ends.", body = Session), Refusals)
)]
pub(super) async fn end_session(
    State(api): State<AdminApi>,
    By(administrator): By,
    At(id): At<SessionId>,
    BareOrder(deed): BareOrder,
) -> Result<(StatusCode, Json<Session>), AdminError> {
    let found = api.live.find(&id).filter(|session| administrator.covers(&session.facts.tenancy));
    let standing = found.ok_or_else(no_session)?;
    let tenancy = &standing.facts.tenancy;
    let detail = json!({
        "organisation": tenancy.organisation, "team": tenancy.team, "key": tenancy.key,
        "model": standing.facts.model,
    });
    let end = async { api.live.end(&id).ok_or_else(no_session) };
    let ended = match api.store.witness(&deed, ("session.end", id.as_str()), &detail, end).await? {
        Witnessed::Now(ended) => ended,
        Witnessed::Before => standing,
        Witnessed::Refused(refusal) => return Err(refusal),
    };
    Ok((StatusCode::ACCEPTED, Json(ended.into())))
}

fn no_session() -> AdminError {
    AdminError::not_found("session")
}
