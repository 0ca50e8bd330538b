//! Tool calls that wait for a person: list, approve, deny.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::{IntoParams, ToSchema};
use voxgate_policy::approval::{ApprovalError, Verdict};

use super::AdminApi;
use super::access::Administrator;
use super::approvals::PendingApproval;
use super::order::{Asked, At, BriefOrder, By, IdempotencyKey, Order};
use super::page::{Page, PageQuery};
use super::reply::{AdminError, Refusals};
use crate::store::administration::Witnessed;
use crate::store::audit::Deed;

/// Longest wait for a session to take a verdict. It only has to notice it; the store waits meanwhile.
const VERDICT_TIMEOUT: Duration = Duration::from_secs(2);

/// A tool call that is held until somebody decides.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct HeldCall {
    /// `appr_…`.
    id: String,
    /// The session it happens in.
    session: String,
    /// The provider's name of the call, as client events have it.
    call: String,
    organisation: String,
    team: String,
    key: String,
    /// The agent of the session, if it has one.
    agent: Option<String>,
    tool: String,
    /// `read_only`, `ordinary` or `dangerous`.
    risk: &'static str,
    /// What the model wants the tool called with: JSON text. It may hold what the caller said.
    arguments: String,
    /// In milliseconds since 1970.
    asked_at_ms: u64,
    /// When it counts as denied, in milliseconds since 1970.
    deadline_ms: u64,
}

impl From<PendingApproval> for HeldCall {
    fn from(pending: PendingApproval) -> Self {
        let tenancy = &pending.tenancy;
        Self {
            session: pending.session.to_string(),
            call: pending.call.to_string(),
            organisation: tenancy.organisation.to_string(),
            team: tenancy.team.to_string(),
            key: tenancy.key.to_string(),
            agent: tenancy.agent.as_ref().map(ToString::to_string),
            risk: pending.risk.as_str(),
            asked_at_ms: pending.asked_at_unix_ms,
            deadline_ms: pending.deadline_unix_ms,
            id: pending.id,
            tool: pending.tool,
            arguments: pending.arguments,
        }
    }
}

/// Where a held call is.
#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
#[expect(dead_code, reason = "it only describes")]
pub(super) struct ApprovalPath {
    /// The id of the held call.
    #[param(max_length = 64, pattern = "^[A-Za-z0-9_-]+$")]
    approval: String,
}

/// Longest reason, in characters.
const LONGEST_REASON: usize = 500;

/// Why somebody decided so.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Why {
    /// For people who read the audit log, where it stands. Default: none.
    #[serde(default)]
    #[schema(max_length = 500)]
    reason: Option<String>,
}

/// The reason as it goes into the audit log.
fn reason(why: Option<Why>) -> Result<Option<String>, AdminError> {
    let reason = why.and_then(|why| why.reason).filter(|reason| !reason.trim().is_empty());
    if reason.as_ref().is_some_and(|reason| reason.chars().count() > LONGEST_REASON) {
        let message = format!("'reason' has at most {LONGEST_REASON} characters.");
        return Err(AdminError::invalid(message).with_param("reason"));
    }
    Ok(reason)
}

/// What became of a held call.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Decided {
    id: String,
    /// `approved` or `denied`.
    state: &'static str,
}

/// Tool calls that wait for a person, in the order of their ids
#[utoipa::path(
    get,
    path = "/admin/v1/approvals",
    tag = "approvals",
    params(PageQuery),
    responses((status = 200, body = Page<HeldCall>), Refusals)
)]
pub(super) async fn list_approvals(
    State(api): State<AdminApi>,
    By(administrator): By,
    Asked(query): Asked<PageQuery>,
) -> Result<Json<Page<HeldCall>>, AdminError> {
    let piece = query.read()?;
    let behind = pending(&api, &administrator).filter(|held| held.id > piece.after);
    let found = behind.take(piece.look_ahead() as usize).map(HeldCall::from).collect();
    Ok(Json(piece.cut(found, |held| held.id.clone())))
}

fn pending(api: &AdminApi, administrator: &Administrator) -> impl Iterator<Item = PendingApproval> {
    let mut held = api.approvals.pending(&administrator.reach);
    held.retain(|held| administrator.covers(&held.tenancy));
    held.into_iter()
}

/// Let a held tool call happen
#[utoipa::path(
    post,
    path = "/admin/v1/approvals/{approval}/approve",
    tag = "approvals",
    params(ApprovalPath, IdempotencyKey),
    request_body = Option<Why>,
    responses((status = 200, body = Decided), Refusals)
)]
pub(super) async fn approve(
    State(api): State<AdminApi>,
    By(administrator): By,
    At(id): At<String>,
    BriefOrder(order): BriefOrder<Why>,
) -> Result<Json<Decided>, AdminError> {
    decide(&api, &administrator, id, Verdict::Approve, order).await
}

/// Refuse a held tool call
#[utoipa::path(
    post,
    path = "/admin/v1/approvals/{approval}/deny",
    tag = "approvals",
    params(ApprovalPath, IdempotencyKey),
    request_body = Option<Why>,
    responses((status = 200, body = Decided), Refusals)
)]
pub(super) async fn deny(
    State(api): State<AdminApi>,
    By(administrator): By,
    At(id): At<String>,
    BriefOrder(order): BriefOrder<Why>,
) -> Result<Json<Decided>, AdminError> {
    decide(&api, &administrator, id, Verdict::Deny, order).await
}

async fn decide(
    api: &AdminApi,
    administrator: &Administrator,
    id: String,
    verdict: Verdict,
    Order { what, by }: Order<Option<Why>>,
) -> Result<Json<Decided>, AdminError> {
    let reason = reason(what)?;
    let (action, meant) = match verdict {
        Verdict::Approve => ("approval.approve", "approved"),
        Verdict::Deny => ("approval.deny", "denied"),
    };
    let held = pending(api, administrator).find(|held| held.id == id);
    // A request that was done before finds nothing waiting any more, and is answered all the same.
    let Some(held) = held else {
        settled(api, administrator, &by, (action, &id), verdict).await?;
        return Ok(Json(Decided { state: meant, id }));
    };
    let mut detail = json!({
        "organisation": held.tenancy.organisation, "team": held.tenancy.team, "key": held.tenancy.key,
        "session": held.session, "tool": held.tool,
    });
    if let (Some(reason), Some(detail)) = (reason, detail.as_object_mut()) {
        detail.insert("reason".to_owned(), reason.into());
    }
    let act = async {
        let decided = api.approvals.decide(&id, &administrator.reach, verdict);
        match tokio::time::timeout(VERDICT_TIMEOUT, decided).await {
            Ok(decided) => decided.map_err(refused),
            Err(_) => Err(refused(ApprovalError::Unknown)),
        }
    };
    match api.store.witness(&by, (action, &id), &detail, act).await? {
        Witnessed::Now(state) => Ok(Json(Decided { state: state.as_str(), id })),
        Witnessed::Before => Ok(Json(Decided { state: meant, id })),
        Witnessed::Refused(refusal) => Err(refusal),
    }
}

/// What does not wait: the same request decided it, somebody else did, or there is no such thing.
async fn settled(
    api: &AdminApi,
    administrator: &Administrator,
    by: &Deed,
    (act, id): (&str, &str),
    verdict: Verdict,
) -> Result<(), AdminError> {
    let reach = &administrator.reach;
    let is_kept_away = api.approvals.pending(reach).iter().any(|held| held.id.as_str() == id);
    let refusal = async {
        let error = match is_kept_away {
            true => ApprovalError::Unknown,
            false => api.approvals.decide(id, reach, verdict).await.err().unwrap_or(ApprovalError::Unknown),
        };
        Err::<(), _>(refused(error))
    };
    match api.store.witness(by, (act, id), &json!({}), refusal).await? {
        Witnessed::Before | Witnessed::Now(()) => Ok(()),
        Witnessed::Refused(refusal) => Err(refusal),
    }
}

fn refused(error: ApprovalError) -> AdminError {
    match error {
        ApprovalError::Unknown => AdminError::not_found("approval"),
        ApprovalError::AlreadyDecided(state) => {
            let message = format!("It is {} already.", state.as_str());
            AdminError::conflict("already_decided", message)
        }
    }
}
