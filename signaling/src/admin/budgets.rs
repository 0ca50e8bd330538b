//! Budgets: what is left of them, and those that are set while gateways run.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::Number;
use utoipa::ToSchema;
use voxgate_policy::money::budget::{Budget, Scope, Standing};
use voxgate_policy::money::day::Window;
use voxgate_protocol::money::NanoDollars;
use voxgate_protocol::tenant::{AgentId, KeyId, OrganisationId, TeamId};

use super::AdminApi;
use super::access::Administrator;
use super::keys::{ID_BYTES, random_hex, wanted};
use super::money::ListedBudget;
use super::order::{Asked, At, BareOrder, By, IdempotencyKey, Order, whole};
use super::page::{Page, PageQuery};
use super::reach::Reach;
use super::reply::{AdminError, Refusals};
use super::tenants::{CONFIGURED, Source, created, halves};
use crate::store::StoreError;
use crate::store::budgets::{MOST, StoredBudget};
use crate::store::request::Done;

/// Largest limit: a billion dollars.
const MOST_NANO_DOLLARS: u64 = 1_000_000_000_000_000_000;

/// How long a budget lasts before it begins anew, by the clock of UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum WindowWord {
    Hour,
    Day,
    Month,
    /// Never anew.
    Total,
}

impl WindowWord {
    const fn of(window: Window) -> Self {
        match window {
            Window::Hour => Self::Hour,
            Window::Day => Self::Day,
            Window::Month => Self::Month,
            Window::Total => Self::Total,
        }
    }

    const fn window(self) -> Window {
        match self {
            Self::Hour => Window::Hour,
            Self::Day => Window::Day,
            Self::Month => Window::Month,
            Self::Total => Window::Total,
        }
    }
}

/// A budget, and how it stands in this process. Amounts are billionths of a dollar.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ShownBudget {
    /// Null if it stands in the configuration.
    id: Option<String>,
    source: Source,
    /// The organisation of whoever set it: they and whoever runs the gateway can change it. Null if it stands in the
    /// configuration.
    set_by: Option<String>,
    organisation: String,
    /// Null: of the whole organisation.
    team: Option<String>,
    /// Null: of the whole team.
    key: Option<String>,
    /// Null: of the whole key.
    agent: Option<String>,
    window: WindowWord,
    /// From here on somebody is told; null if nobody is.
    soft_nano_dollars: Option<i64>,
    /// Beyond this nothing is spent; null if there is no limit.
    hard_nano_dollars: Option<i64>,
    /// Spent in the present window, estimates included, by sessions of every gateway as far as this one knows.
    spent_nano_dollars: i64,
    /// Drawn by sessions that run in this process, and not spent yet.
    leased_nano_dollars: i64,
    /// What can still be drawn; null if there is no limit.
    left_nano_dollars: Option<i64>,
}

impl From<ListedBudget> for ShownBudget {
    fn from(listed: ListedBudget) -> Self {
        let Standing { budget, spent, leased } = listed.standing;
        let Scope { organisation, team, key, agent } = budget.scope;
        let committed = spent.saturating_add(leased);
        let left = budget.hard.map(|hard| hard.saturating_sub(committed).max(NanoDollars::ZERO));
        let source = if listed.stored.is_some() { Source::Store } else { Source::Configuration };
        let (id, set_by) = listed.stored.unzip();
        Self {
            id,
            source,
            set_by: set_by.map(|set_by| set_by.to_string()),
            organisation: organisation.to_string(),
            team: team.map(|team| team.to_string()),
            key: key.map(|key| key.to_string()),
            agent: agent.map(|agent| agent.to_string()),
            window: WindowWord::of(budget.window),
            soft_nano_dollars: budget.soft.map(NanoDollars::get),
            hard_nano_dollars: budget.hard.map(NanoDollars::get),
            spent_nano_dollars: spent.get(),
            leased_nano_dollars: leased.get(),
            left_nano_dollars: left.map(NanoDollars::get),
        }
    }
}

/// A budget that is to be set: `soft_nano_dollars`, `hard_nano_dollars` or both.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewBudget {
    #[schema(min_length = 1, max_length = 64, pattern = "^[A-Za-z0-9._-]+$")]
    organisation: String,
    /// Default: of the whole organisation.
    #[serde(default)]
    #[schema(min_length = 1, max_length = 64, pattern = "^[A-Za-z0-9._-]+$")]
    team: Option<String>,
    /// A key of the team. Default: of the whole team.
    #[serde(default)]
    #[schema(min_length = 1, max_length = 64, pattern = "^[A-Za-z0-9._-]+$")]
    key: Option<String>,
    /// An agent of the key. Default: of the whole key.
    #[serde(default)]
    #[schema(min_length = 1, max_length = 64, pattern = "^[A-Za-z0-9._-]+$")]
    agent: Option<String>,
    window: WindowWord,
    /// In billionths of a dollar. From here on somebody is told; not above the hard limit. Default: nobody is.
    #[serde(default)]
    #[schema(value_type = Option<u64>, minimum = 1, maximum = 1000000000000000000_i64)]
    soft_nano_dollars: Option<Number>,
    /// In billionths of a dollar. Beyond this nothing is spent. Default: no limit.
    #[serde(default)]
    #[schema(value_type = Option<u64>, minimum = 1, maximum = 1000000000000000000_i64)]
    hard_nano_dollars: Option<Number>,
}

/// Limits in the place of others: one that is missing is none.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewLimits {
    /// In billionths of a dollar. From here on somebody is told; not above the hard limit. Default: nobody is.
    #[serde(default)]
    #[schema(value_type = Option<u64>, minimum = 1, maximum = 1000000000000000000_i64)]
    soft_nano_dollars: Option<Number>,
    /// In billionths of a dollar. Beyond this nothing is spent. Default: no limit.
    #[serde(default)]
    #[schema(value_type = Option<u64>, minimum = 1, maximum = 1000000000000000000_i64)]
    hard_nano_dollars: Option<Number>,
}

type Limits = (Option<NanoDollars>, Option<NanoDollars>);

fn limits(soft: Option<&Number>, hard: Option<&Number>) -> Result<Limits, AdminError> {
    let limit = |number: Option<&Number>, param: &'static str| -> Result<_, AdminError> {
        let Some(number) = number else { return Ok(None) };
        let nano = NanoDollars::new(whole(number, MOST_NANO_DOLLARS, param)?.cast_signed());
        if nano.is_spent() {
            return Err(AdminError::invalid(format!("'{param}' is above zero.")).with_param(param));
        }
        Ok(Some(nano))
    };
    let (soft, hard) = (limit(soft, "soft_nano_dollars")?, limit(hard, "hard_nano_dollars")?);
    if soft.is_none() && hard.is_none() {
        let message = "A budget has 'soft_nano_dollars' or 'hard_nano_dollars'.";
        return Err(AdminError::invalid(message).with_param("hard_nano_dollars"));
    }
    if soft.zip(hard).is_some_and(|(soft, hard)| soft > hard) {
        let message = "'soft_nano_dollars' is not above 'hard_nano_dollars'.";
        return Err(AdminError::invalid(message).with_param("soft_nano_dollars"));
    }
    Ok((soft, hard))
}

impl NewBudget {
    fn read(self) -> Result<Budget, AdminError> {
        let (soft, hard) = limits(self.soft_nano_dollars.as_ref(), self.hard_nano_dollars.as_ref())?;
        let organisation = wanted::<OrganisationId>(Some(self.organisation), "organisation")?;
        let scope = Scope {
            organisation: organisation.unwrap_or_default(),
            team: wanted::<TeamId>(self.team, "team")?,
            key: wanted::<KeyId>(self.key, "key")?,
            agent: wanted::<AgentId>(self.agent, "agent")?,
        };
        if !scope.is_a_place() {
            let message = "A key is named with its team, and an agent with its key.";
            return Err(AdminError::invalid(message));
        }
        Ok(Budget { scope, window: self.window.window(), soft, hard })
    }
}

/// A budget exists for whoever reaches everything it is for: what is left of an organisation's says what its other teams spend.
fn reaches(administrator: &Administrator, scope: &Scope) -> bool {
    match (&administrator.reach, &scope.team) {
        (_, Some(team)) => administrator.covers_team(&scope.organisation, team),
        (reach, None) => reach.covers_organisation(&scope.organisation),
    }
}

/// A budget of the store as this process has it; one it has not heard of yet has nothing spent in it.
fn shown(api: &AdminApi, stored: StoredBudget) -> ShownBudget {
    let known = api.treasury.budgets().into_iter().find(|listed| listed.id() == Some(stored.id.as_str()));
    let (spent, leased) =
        known.map_or_else(Default::default, |known| (known.standing.spent, known.standing.leased));
    let standing = Standing { budget: stored.budget.clone(), spent, leased };
    ListedBudget::stored(stored, standing).into()
}

/// A budget of the store that exists for whoever asks.
async fn find(api: &AdminApi, administrator: &Administrator, id: &str) -> Result<StoredBudget, AdminError> {
    let found = api.store.budget(id).await?;
    let found = found.filter(|found| reaches(administrator, &found.budget.scope));
    found.ok_or_else(|| AdminError::not_found("budget"))
}

/// The same, if whoever asks may change it: what whoever runs the gateway has set for an organisation is not for that to lift.
async fn find_own(
    api: &AdminApi,
    administrator: &Administrator,
    id: &str,
) -> Result<StoredBudget, AdminError> {
    let found = find(api, administrator, id).await?;
    let own = &administrator.caller.tenancy.organisation;
    if administrator.reach != Reach::Installation && found.set_by != *own {
        return Err(AdminError::denied("This budget was set by another organisation."));
    }
    Ok(found)
}

/// Budgets, with what is spent, drawn and left: those of the store first
#[utoipa::path(
    get,
    path = "/admin/v1/budgets",
    tag = "money",
    params(PageQuery),
    responses((status = 200, body = Page<ShownBudget>), Refusals)
)]
pub(super) async fn list_budgets(
    State(api): State<AdminApi>,
    By(administrator): By,
    Asked(query): Asked<PageQuery>,
) -> Result<Json<Page<ShownBudget>>, AdminError> {
    let piece = query.read()?;
    let (stored, configured) = halves(&piece);
    let mut behind: Vec<(String, ListedBudget)> = Vec::new();
    let mut place = 0_u32;
    for listed in api.treasury.budgets() {
        let (is_behind, cursor) = match listed.id() {
            Some(id) => (stored.is_some_and(|after| id > after), id.to_owned()),
            None => {
                place += 1;
                (configured.parse().map_or(true, |after: u32| place > after), format!("{CONFIGURED}{place}"))
            }
        };
        if is_behind && reaches(&administrator, &listed.standing.budget.scope) {
            behind.push((cursor, listed));
        }
    }
    // In the store first; each half is in its order.
    behind.sort_by_key(|(_, listed)| listed.stored.is_none());
    behind.truncate(piece.look_ahead() as usize);
    let Page { items, next } = piece.cut(behind, |(cursor, _)| cursor.clone());
    let items = items.into_iter().map(|(_, listed)| listed.into()).collect();
    Ok(Json(Page { items, next }))
}

/// Set a budget
///
/// It holds at once in this process, for running sessions too, and within a few seconds in others that share the store. One for the
/// same place and window as another is set beside it by somebody else, or stands in the configuration: then the lower limits hold.
#[utoipa::path(
    post,
    path = "/admin/v1/budgets",
    tag = "money",
    params(IdempotencyKey),
    request_body = NewBudget,
    responses(
        (status = 200, description = "The same request set it before.", body = ShownBudget),
        (status = 201, description = "It is set.", body = ShownBudget),
        Refusals
    )
)]
pub(super) async fn set_budget(
    State(api): State<AdminApi>,
    By(administrator): By,
    Order { what, by }: Order<NewBudget>,
) -> Result<(StatusCode, Json<ShownBudget>), AdminError> {
    let budget = what.read()?;
    if !reaches(&administrator, &budget.scope) {
        let what = if budget.scope.team.is_some() { "team" } else { "organisation" };
        return Err(AdminError::not_found(what));
    }
    let set_by = administrator.caller.tenancy.organisation.clone();
    let id = format!("bud_{}", random_hex::<ID_BYTES>()?);
    let stored = StoredBudget { id, set_by, budget, set_at: by.at_unix_ms };
    let done = api.store.add_budget(&stored, &by).await.map_err(refusal)?;
    let stored = match &done {
        Done::Now => stored,
        Done::Before(id) => find(&api, &administrator, id).await?,
    };
    api.treasury.refresh().await;
    Ok((created(&done), Json(shown(&api, stored))))
}

fn refusal(error: StoreError) -> AdminError {
    match error {
        StoreError::Exists { id, .. } => {
            let message = format!("There is a budget for this place and window already, {id}: change that.");
            AdminError::conflict("exists", message)
        }
        StoreError::TooMany { .. } => {
            AdminError::conflict("too_many", format!("An organisation sets at most {MOST} budgets."))
        }
        error => error.into(),
    }
}

/// One budget of the store
#[utoipa::path(
    get,
    path = "/admin/v1/budgets/{budget}",
    tag = "money",
    params(("budget" = String, Path, max_length = 64, pattern = "^[A-Za-z0-9._-]+$")),
    responses((status = 200, body = ShownBudget), Refusals)
)]
pub(super) async fn look_at_budget(
    State(api): State<AdminApi>,
    By(administrator): By,
    At(id): At<String>,
) -> Result<Json<ShownBudget>, AdminError> {
    let stored = find(&api, &administrator, &id).await?;
    Ok(Json(shown(&api, stored)))
}

/// Put other limits in the place of a budget's
///
/// They hold as soon as those of a budget that is set. Running sessions of a limit that is lowered end if nothing is left.
#[utoipa::path(
    put,
    path = "/admin/v1/budgets/{budget}",
    tag = "money",
    params(("budget" = String, Path, max_length = 64, pattern = "^[A-Za-z0-9._-]+$"), IdempotencyKey),
    request_body = NewLimits,
    responses((status = 200, body = ShownBudget), Refusals)
)]
pub(super) async fn change_budget(
    State(api): State<AdminApi>,
    By(administrator): By,
    At(id): At<String>,
    Order { what, by }: Order<NewLimits>,
) -> Result<Json<ShownBudget>, AdminError> {
    let limits = limits(what.soft_nano_dollars.as_ref(), what.hard_nano_dollars.as_ref())?;
    let found = find_own(&api, &administrator, &id).await?;
    api.store.change_budget(&found.id, limits, &by).await?;
    api.treasury.refresh().await;
    let stored = find(&api, &administrator, &id).await?;
    Ok(Json(shown(&api, stored)))
}

/// Take a budget away
///
/// What stands in the ledger stays.
#[utoipa::path(
    delete,
    path = "/admin/v1/budgets/{budget}",
    tag = "money",
    params(("budget" = String, Path, max_length = 64, pattern = "^[A-Za-z0-9._-]+$"), IdempotencyKey),
    responses((status = 204, description = "It is gone."), Refusals)
)]
pub(super) async fn remove_budget(
    State(api): State<AdminApi>,
    By(administrator): By,
    At(id): At<String>,
    BareOrder(by): BareOrder,
) -> Result<StatusCode, AdminError> {
    if api.store.has_done(&by, &id).await? {
        return Ok(StatusCode::NO_CONTENT);
    }
    let found = find_own(&api, &administrator, &id).await?;
    api.store.remove_budget(&found.id, &by).await?;
    api.treasury.refresh().await;
    Ok(StatusCode::NO_CONTENT)
}
