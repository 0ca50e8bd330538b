//! Sessions: list, look, read the record, end.

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use serde::Deserialize;
use serde_json::json;
use utoipa::IntoParams;
use voxgate_protocol::id::SessionId;
use voxgate_telemetry::session::SessionRecord;
use voxgate_telemetry::session::facts::SessionFacts;
use voxgate_telemetry::session::view::{RecordView, SummaryView};

use super::AdminApi;
use super::access::Administrator;
use super::live::written;
use super::order::{Asked, At, BareOrder, By, IdempotencyKey};
use super::page::Page;
use super::reply::{AdminError, Refusals};
use super::search::SessionsQuery;
use crate::store::administration::Witnessed;

/// Sessions that run or are over, with their figures
///
/// Of those that are over the last 1,000 are known, as far as they fit 64 MiB, and none from before the process began.
#[utoipa::path(
    get,
    path = "/admin/v1/sessions",
    tag = "sessions",
    params(SessionsQuery),
    responses((status = 200, body = Page<SummaryView>), Refusals)
)]
pub(super) async fn list_sessions(
    State(api): State<AdminApi>,
    By(administrator): By,
    Asked(query): Asked<SessionsQuery>,
) -> Result<Json<Page<SummaryView>>, AdminError> {
    let search = query.read()?;
    // The reach is asked under the lock of the list, the policies are not.
    let mut records = api.live.records(|facts| administrator.reach.covers_path(&facts.tenancy));
    let mut sight = administrator.sight();
    records.retain(|record| {
        let tenancy = &record.facts().tenancy;
        sight.sees(&tenancy.organisation, &tenancy.team)
    });
    Ok(Json(search.page(records)))
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

/// The record of a session, if it exists for whoever asks.
pub(super) fn record_of(
    api: &AdminApi,
    administrator: &Administrator,
    id: &SessionId,
) -> Result<SessionRecord, AdminError> {
    let found = api.live.record(id).filter(|record| administrator.covers(&record.facts().tenancy));
    found.ok_or_else(no_session)
}

/// One session that runs, or one of the last that are over
#[utoipa::path(
    get,
    path = "/admin/v1/sessions/{session}",
    tag = "sessions",
    params(SessionPath),
    responses((status = 200, body = SummaryView), Refusals)
)]
pub(super) async fn look_at_session(
    State(api): State<AdminApi>,
    By(administrator): By,
    At(id): At<SessionId>,
) -> Result<Json<SummaryView>, AdminError> {
    record_of(&api, &administrator, &id).map(|record| Json(record.summary()))
}

/// How a record is handed out.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct RecordQuery {
    /// `1`: as a file to keep. Default: `0`.
    #[param(nullable = false, minimum = 0, maximum = 1)]
    download: Option<u8>,
    /// The `revision` of the record that is known already: only what is newer comes. Default: 0, all of it.
    #[param(nullable = false)]
    since: Option<u64>,
}

/// All that is kept of a session: its turns, its network, who spoke when, what was said as far as it may be kept, and events
#[utoipa::path(
    get,
    path = "/admin/v1/sessions/{session}/record",
    tag = "sessions",
    params(SessionPath, RecordQuery),
    responses((status = 200, body = RecordView), Refusals)
)]
pub(super) async fn look_at_record(
    State(api): State<AdminApi>,
    By(administrator): By,
    At(id): At<SessionId>,
    Asked(query): Asked<RecordQuery>,
) -> Result<Response, AdminError> {
    let is_file = match query.download {
        None | Some(0) => false,
        Some(1) => true,
        Some(_) => return Err(AdminError::invalid("'download' is 0 or 1.").with_param("download")),
    };
    let record = record_of(&api, &administrator, &id)?;
    let text = written(record.view_since(query.since.unwrap_or(0))).await;
    let text = text.ok_or_else(|| AdminError::failed("The record could not be written."))?;
    let mut response = ([(header::CONTENT_TYPE, "application/json")], text).into_response();
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if is_file {
        let name = format!("attachment; filename=\"voxgate-{id}.json\"");
        let name = HeaderValue::try_from(name).map_err(|_| no_session())?;
        response.headers_mut().insert(header::CONTENT_DISPOSITION, name);
    }
    Ok(response)
}

/// End a session
///
/// Its client is told `session_ended_by_operator`, and a WebSocket is closed with 1008, so that it does not come back by itself.
/// The session is over within a second. Ending one that ends already changes nothing.
#[utoipa::path(
    post,
    path = "/admin/v1/sessions/{session}/end",
    tag = "sessions",
    params(SessionPath, IdempotencyKey),
    responses((status = 202, description = "It ends.", body = SummaryView), Refusals)
)]
pub(super) async fn end_session(
    State(api): State<AdminApi>,
    By(administrator): By,
    At(id): At<SessionId>,
    BareOrder(deed): BareOrder,
) -> Result<(StatusCode, Json<SummaryView>), AdminError> {
    let found = api.live.find(&id).filter(|record| administrator.covers(&record.facts().tenancy));
    let record = found.ok_or_else(no_session)?;
    let SessionFacts { tenancy, model, .. } = record.facts();
    let detail = json!({
        "organisation": tenancy.organisation, "team": tenancy.team, "key": tenancy.key,
        "model": model,
    });
    let end = async { api.live.end(&id).ok_or_else(no_session) };
    let ended = match api.store.witness(&deed, ("session.end", id.as_str()), &detail, end).await? {
        Witnessed::Now(ended) => ended,
        Witnessed::Before => record.summary(),
        Witnessed::Refused(refusal) => return Err(refusal),
    };
    Ok((StatusCode::ACCEPTED, Json(ended)))
}

pub(super) fn no_session() -> AdminError {
    AdminError::not_found("session")
}
