//! Budgets and prices, as the gateway applies them.

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;
use voxgate_policy::money::budget::{Scope, Standing};
use voxgate_policy::money::price::{PriceLine, TokenPrices, WirePrices};
use voxgate_protocol::money::NanoDollars;

use super::AdminApi;
use super::access::Administrator;
use super::order::{Asked, By};
use super::page::{Page, PageQuery};
use super::reply::{AdminError, Refusals};

/// What the gateway knows of money.
pub trait Treasury: Send + Sync + 'static {
    /// Every budget and how it stands, in the order of the tree.
    fn budgets(&self) -> Vec<Standing>;

    /// Every price, by vendor and model, the latest first.
    fn prices(&self) -> Vec<PriceLine>;
}

/// Where nothing costs anything.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoTreasury;

impl Treasury for NoTreasury {
    fn budgets(&self) -> Vec<Standing> {
        Vec::new()
    }

    fn prices(&self) -> Vec<PriceLine> {
        Vec::new()
    }
}

/// A budget of the configuration, and how it stands in this process.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ShownBudget {
    organisation: String,
    /// Null: of the whole organisation.
    team: Option<String>,
    /// Null: of the whole team.
    key: Option<String>,
    /// Null: of the whole key.
    agent: Option<String>,
    /// `hour`, `day`, `month` or `total`; the borders are those of UTC.
    window: &'static str,
    /// In billionths of a dollar, like the other amounts. From here on somebody is told; null if nobody is.
    soft_nano_dollars: Option<i64>,
    /// Beyond this nothing is spent; null if there is no limit.
    hard_nano_dollars: Option<i64>,
    /// Spent in the present window, estimates included.
    spent_nano_dollars: i64,
    /// Drawn by sessions that run, and not spent yet.
    leased_nano_dollars: i64,
    /// What can still be drawn; null if there is no limit.
    left_nano_dollars: Option<i64>,
}

impl From<Standing> for ShownBudget {
    fn from(standing: Standing) -> Self {
        let Standing { budget, spent, leased } = standing;
        let Scope { organisation, team, key, agent } = budget.scope;
        let committed = spent.saturating_add(leased);
        let left = budget.hard.map(|hard| hard.saturating_sub(committed).max(NanoDollars::ZERO));
        Self {
            organisation: organisation.to_string(),
            team: team.map(|team| team.to_string()),
            key: key.map(|key| key.to_string()),
            agent: agent.map(|agent| agent.to_string()),
            window: budget.window.as_str(),
            soft_nano_dollars: budget.soft.map(NanoDollars::get),
            hard_nano_dollars: budget.hard.map(NanoDollars::get),
            spent_nano_dollars: spent.get(),
            leased_nano_dollars: leased.get(),
            left_nano_dollars: left.map(NanoDollars::get),
        }
    }
}

/// A budget is seen by whoever reaches everything it is for: what is left of an organisation's says what its other teams spend.
fn sees(administrator: &Administrator, scope: &Scope) -> bool {
    match (&administrator.reach, &scope.team) {
        (_, Some(team)) => administrator.covers_team(&scope.organisation, team),
        (reach, None) => reach.covers_organisation(&scope.organisation),
    }
}

/// Budgets, with what is spent, drawn and left
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
    let mut budgets = api.treasury.budgets();
    budgets.retain(|standing| sees(&administrator, &standing.budget.scope));
    Ok(Json(piece.numbered(budgets.into_iter().map(ShownBudget::from))))
}

/// What a model costs from a day on. Amounts are billionths of a dollar; null is what the book does not say, and usage of that
/// kind stands in the ledger without an amount.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ShownPrice {
    vendor: String,
    /// A name, or a pattern such as `gpt-realtime*`.
    model: String,
    /// The first day, in UTC, as `2026-11-21`.
    valid_from: String,
    /// Where it was read.
    source: String,
    is_free: bool,
    /// Of a million tokens each.
    per_million_tokens: ShownTokenPrices,
    by_wire: ShownWirePrices,
}

#[derive(Debug, Serialize, ToSchema)]
struct ShownTokenPrices {
    input_text: Option<i64>,
    input_audio: Option<i64>,
    input_image: Option<i64>,
    cached_text: Option<i64>,
    cached_audio: Option<i64>,
    cached_image: Option<i64>,
    output_text: Option<i64>,
    output_audio: Option<i64>,
}

#[derive(Debug, Serialize, ToSchema)]
struct ShownWirePrices {
    /// A minute of the connection.
    connected_minute: Option<i64>,
    /// The shortest connection that is billed, in seconds.
    connected_minimum_seconds: u64,
    /// A minute of audio sent to the vendor.
    input_audio_minute: Option<i64>,
    /// A minute of audio the vendor made.
    output_audio_minute: Option<i64>,
    /// A million characters spoken.
    million_characters: Option<i64>,
}

const fn nano(amount: Option<NanoDollars>) -> Option<i64> {
    match amount {
        Some(amount) => Some(amount.get()),
        None => None,
    }
}

impl From<TokenPrices> for ShownTokenPrices {
    fn from(prices: TokenPrices) -> Self {
        Self {
            input_text: nano(prices.input_text),
            input_audio: nano(prices.input_audio),
            input_image: nano(prices.input_image),
            cached_text: nano(prices.cached_text),
            cached_audio: nano(prices.cached_audio),
            cached_image: nano(prices.cached_image),
            output_text: nano(prices.output_text),
            output_audio: nano(prices.output_audio),
        }
    }
}

impl From<WirePrices> for ShownWirePrices {
    fn from(prices: WirePrices) -> Self {
        Self {
            connected_minute: nano(prices.connected_minute),
            connected_minimum_seconds: prices.connected_minimum_seconds,
            input_audio_minute: nano(prices.input_audio_minute),
            output_audio_minute: nano(prices.output_audio_minute),
            million_characters: nano(prices.million_characters),
        }
    }
}

impl From<PriceLine> for ShownPrice {
    fn from(line: PriceLine) -> Self {
        Self {
            vendor: line.vendor,
            model: line.model,
            valid_from: line.valid_from.to_string(),
            source: line.source.to_string(),
            is_free: line.prices.is_free,
            per_million_tokens: line.prices.tokens.into(),
            by_wire: line.prices.wire.into(),
        }
    }
}

/// The price book, by vendor
#[utoipa::path(
    get,
    path = "/admin/v1/prices",
    tag = "money",
    params(PageQuery),
    responses((status = 200, body = Page<ShownPrice>), Refusals)
)]
pub(super) async fn list_prices(
    State(api): State<AdminApi>,
    Asked(query): Asked<PageQuery>,
) -> Result<Json<Page<ShownPrice>>, AdminError> {
    let piece = query.read()?;
    Ok(Json(piece.numbered(api.treasury.prices().into_iter().map(ShownPrice::from))))
}
