//! The audit log.

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};
use voxgate_policy::audit::StoredEntry;

use super::AdminApi;
use super::order::{Asked, By};
use super::page::{Page, PageQuery};
use super::reach::Reach;
use super::reply::{AdminError, Refusals};

/// Entries read from the store at once.
const ROWS: u32 = 200;

/// Entries looked through for one page. Whoever sees few of them gets short pages, and goes on.
const MOST_LOOKED_THROUGH: usize = 4_000;

/// Who did what. Each entry is chained to the one before it; `voxgate audit verify` checks the chain.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct AuditEntry {
    /// Its place in the log; the first is 1.
    sequence: i64,
    /// In milliseconds since 1970.
    at_ms: i64,
    /// Who: `organisation/team/key`, `cli`, or `gateway`.
    actor: String,
    /// What was done, as `noun.verb`.
    action: String,
    /// The id of what it was done to.
    subject: String,
    /// More about it.
    #[schema(value_type = Object)]
    detail: Value,
    /// The hash of the entry before, 64 hexadecimal digits.
    previous: String,
    /// Its own.
    hash: String,
}

impl From<StoredEntry> for AuditEntry {
    fn from(stored: StoredEntry) -> Self {
        let StoredEntry { sequence, entry, previous, hash } = stored;
        let detail =
            serde_json::from_str(&entry.detail).unwrap_or_else(|_| Value::Object(Default::default()));
        Self {
            sequence,
            at_ms: entry.at_unix_ms,
            actor: entry.actor,
            action: entry.action,
            subject: entry.subject,
            detail,
            previous: previous.to_hex(),
            hash: hash.to_hex(),
        }
    }
}

/// Which piece of the log.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct AuditQuery {
    /// How many items at most.
    #[param(minimum = 1, maximum = 200, default = 50, nullable = false)]
    limit: Option<u32>,
    /// `next` of the page before. Default: the newest entries.
    #[param(pattern = "^[0-9]{1,18}$", nullable = false)]
    after: Option<String>,
}

/// The audit log, the newest entry first
///
/// An organisation sees what concerns it; whoever runs the gateway sees everything. A page may be shorter than asked for and still
/// have a `next`.
#[utoipa::path(
    get,
    path = "/admin/v1/audit",
    tag = "audit",
    params(AuditQuery),
    responses((status = 200, body = Page<AuditEntry>), Refusals)
)]
pub(super) async fn list_audit(
    State(api): State<AdminApi>,
    By(administrator): By,
    Asked(query): Asked<AuditQuery>,
) -> Result<Json<Page<AuditEntry>>, AdminError> {
    let mut before = place(query.after.as_deref())?;
    let piece = PageQuery { limit: query.limit, after: None }.read()?;
    let limit = piece.limit as usize;
    let mut items: Vec<AuditEntry> = Vec::new();
    let mut looked_through = 0;
    loop {
        let rows = api.store.audit_before(before, ROWS).await?;
        let is_last = rows.len() < ROWS as usize;
        looked_through += rows.len();
        for row in rows {
            if items.len() == limit {
                return Ok(Json(Page { items, next: Some(before.to_string()) }));
            }
            before = row.sequence;
            let entry = AuditEntry::from(row);
            if is_visible(&administrator.reach, &entry.detail) {
                items.push(entry);
            }
        }
        if is_last {
            return Ok(Json(Page { items, next: None }));
        }
        if looked_through >= MOST_LOOKED_THROUGH {
            return Ok(Json(Page { items, next: Some(before.to_string()) }));
        }
    }
}

fn place(after: Option<&str>) -> Result<i64, AdminError> {
    let Some(after) = after else { return Ok(i64::MAX) };
    let is_number = (1..=18).contains(&after.len()) && after.bytes().all(|byte| byte.is_ascii_digit());
    let read = if is_number { after.parse().ok() } else { None };
    read.ok_or_else(|| AdminError::invalid("'after' is the 'next' of another page.").with_param("after"))
}

/// Whose entry it is, its detail says: every change of something that belongs to somebody names the organisation.
fn is_visible(reach: &Reach, detail: &Value) -> bool {
    let of = |name: &str| detail.get(name).and_then(Value::as_str);
    match reach {
        Reach::Installation => true,
        Reach::Organisation(organisation) => of("organisation") == Some(organisation.as_str()),
        Reach::Team(organisation, team) => {
            of("organisation") == Some(organisation.as_str()) && of("team") == Some(team.as_str())
        }
    }
}
