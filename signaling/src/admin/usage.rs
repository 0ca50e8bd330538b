//! What was spent, added up by whatever is asked for.

use std::collections::BTreeSet;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse as _, Response};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use voxgate_policy::money::day::{UtcDay, Window};
use voxgate_protocol::tenant::{OrganisationId, TeamId};

use super::AdminApi;
use super::access::Administrator;
use super::keys::wanted;
use super::order::{Asked, By};
use super::page::{Page, PageQuery, number};
use super::reach::Reach;
use super::reply::{AdminError, Refusals};
use crate::api::unix_now;
use crate::store::usage::{UsageBy, UsageQuestion, UsageRow, usage_csv};

/// One row of a report. A name that was not asked for is null; who speaks through no agent has an empty one. Amounts are billionths
/// of a dollar.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Spent {
    /// In UTC, as `2026-11-21`.
    day: Option<String>,
    organisation: Option<String>,
    team: Option<String>,
    key: Option<String>,
    agent: Option<String>,
    provider: Option<String>,
    model: Option<String>,
    /// The part of a turn.
    hop: Option<String>,
    confirmed_nano_dollars: i64,
    /// Not confirmed yet.
    estimated_nano_dollars: i64,
    /// Of both, what went into audio nobody heard.
    unheard_nano_dollars: i64,
    /// Entries whose usage has no price.
    unpriced: u64,
    /// Entries of the ledger.
    entries: u64,
}

impl From<UsageRow> for Spent {
    fn from(row: UsageRow) -> Self {
        Self {
            confirmed_nano_dollars: row.confirmed.get(),
            estimated_nano_dollars: row.estimated.get(),
            unheard_nano_dollars: row.unheard.get(),
            unpriced: row.unpriced,
            entries: row.entries,
            day: row.day,
            organisation: row.organisation,
            team: row.team,
            key: row.key,
            agent: row.agent,
            provider: row.provider,
            model: row.model,
            hop: row.hop,
        }
    }
}

/// How the rows are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum Form {
    Json,
    Csv,
}

/// What a report is asked for.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct UsageQuery {
    /// By what, with commas between: `day`, `organisation`, `team`, `key`, `agent`, `provider`, `model`, `hop`. The names above one come
    /// with it. Default: everything in one row.
    #[param(
        nullable = false,
        pattern = "^((day|organisation|team|key|agent|provider|model|hop)(,(day|organisation|team|key|agent|provider|model|hop)){0,7})?$"
    )]
    by: Option<String>,
    /// The first day, in UTC. Default: the first of this month.
    #[param(nullable = false, format = Date)]
    first: Option<String>,
    /// The last day, included. Default: today.
    #[param(nullable = false, format = Date)]
    last: Option<String>,
    /// Of this organisation only.
    #[param(nullable = false, min_length = 1, max_length = 64, pattern = "^[A-Za-z0-9._-]+$")]
    organisation: Option<String>,
    /// Of the teams of this id only.
    #[param(nullable = false, min_length = 1, max_length = 64, pattern = "^[A-Za-z0-9._-]+$")]
    team: Option<String>,
    /// `json` or `csv`. Default: `json`.
    #[param(nullable = false, inline)]
    form: Option<Form>,
    /// How many rows at most.
    #[param(minimum = 1, maximum = 200, default = 50, nullable = false)]
    limit: Option<u32>,
    /// `next` of the page before. Default: the first page.
    #[param(pattern = "^[0-9]{1,9}$", nullable = false)]
    after: Option<String>,
}

impl UsageQuery {
    /// The question, narrowed to what whoever asks administers; the rows, and whether they are wanted as CSV.
    fn question(self, administrator: &Administrator) -> Result<(UsageQuestion, Form), AdminError> {
        let now = Duration::from_secs(unix_now());
        let today = UtcDay::of(now);
        let by = names(self.by.as_deref().unwrap_or_default())?;
        let first = day(self.first.as_deref(), "first", UtcDay::of(Window::Month.begins_at(now)))?;
        let last = day(self.last.as_deref(), "last", today)?;
        let skip = self.after.as_deref().map(number).transpose()?.unwrap_or(0);
        let piece = PageQuery { limit: self.limit, after: None }.read()?;
        let mut only = Vec::new();
        let organisation = wanted::<OrganisationId>(self.organisation, "organisation")?;
        only.extend(organisation.map(|name| (UsageBy::Organisation, name.to_string())));
        let team = wanted::<TeamId>(self.team, "team")?;
        only.extend(team.map(|name| (UsageBy::Team, name.to_string())));
        // Whatever is asked for, what is out of reach is not added up.
        match &administrator.reach {
            Reach::Installation => {}
            Reach::Organisation(own) => only.push((UsageBy::Organisation, own.to_string())),
            Reach::Team(own, team) => {
                only.push((UsageBy::Organisation, own.to_string()));
                only.push((UsageBy::Team, team.to_string()));
            }
        }
        let question = UsageQuestion { by, first, last, only, skip, most: piece.look_ahead() };
        Ok((question, self.form.unwrap_or(Form::Json)))
    }
}

/// What the rows are by.
fn names(words: &str) -> Result<BTreeSet<UsageBy>, AdminError> {
    let words: Vec<&str> = if words.is_empty() { Vec::new() } else { words.split(',').collect() };
    let read: Option<BTreeSet<UsageBy>> = words.iter().map(|word| UsageBy::from_word(word)).collect();
    read.filter(|_| words.len() <= UsageBy::ALL.len()).ok_or_else(|| {
        let known = UsageBy::ALL.map(UsageBy::as_str).join(", ");
        AdminError::invalid(format!("'by' is up to eight of {known}, with commas between.")).with_param("by")
    })
}

fn day(text: Option<&str>, param: &'static str, usual: UtcDay) -> Result<UtcDay, AdminError> {
    let Some(text) = text else { return Ok(usual) };
    UtcDay::parse(text)
        .map_err(|_| AdminError::invalid(format!("'{param}' is a day such as 2026-11-21.")).with_param(param))
}

/// What was spent, added up, in the order of the names
///
/// Only what is in reach is added up. As CSV the amounts are dollars, and the cursor is in the header `voxgate-next`.
#[utoipa::path(
    get,
    path = "/admin/v1/usage",
    tag = "money",
    params(UsageQuery),
    responses(
        (status = 200, description = "The rows.", content((Page<Spent> = "application/json"), (String = "text/csv"))),
        Refusals
    )
)]
pub(super) async fn report_usage(
    State(api): State<AdminApi>,
    By(administrator): By,
    Asked(query): Asked<UsageQuery>,
) -> Result<Response, AdminError> {
    let (question, form) = query.question(&administrator)?;
    let mut rows = api.store.usage(&question).await?;
    let limit = question.most.saturating_sub(1);
    let goes_on = rows.len() > limit as usize;
    rows.truncate(limit as usize);
    let next = goes_on.then(|| (question.skip + limit).to_string());
    Ok(match form {
        Form::Json => {
            let items = rows.into_iter().map(Spent::from).collect();
            Json(Page { items, next }).into_response()
        }
        Form::Csv => {
            let text = usage_csv(&question.columns(), &rows);
            let mut response = ([(header::CONTENT_TYPE, "text/csv; charset=utf-8")], text).into_response();
            if let Some(next) = next.and_then(|next| next.parse().ok()) {
                response.headers_mut().insert("voxgate-next", next);
            }
            response
        }
    })
}
