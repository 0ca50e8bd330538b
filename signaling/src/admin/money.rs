//! What the gateway knows of money, and its prices.

use axum::Json;
use axum::extract::State;
use futures_util::future::BoxFuture;
use serde::Serialize;
use utoipa::ToSchema;
use voxgate_policy::money::budget::Standing;
use voxgate_policy::money::price::{PriceLine, TokenPrices, WirePrices};
use voxgate_protocol::money::NanoDollars;
use voxgate_protocol::tenant::OrganisationId;

use super::AdminApi;
use super::order::Asked;
use super::page::{Page, PageQuery};
use super::reply::{AdminError, Refusals};
use crate::store::budgets::StoredBudget;

/// A budget somebody set, and how it stands in this process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedBudget {
    /// With the limits whoever set it chose. Others may have set lower ones for the same place and window.
    pub standing: Standing,
    /// Its id and who set it, if it is one of the store and not of the configuration.
    pub stored: Option<(String, OrganisationId)>,
}

impl ListedBudget {
    /// One of the configuration.
    #[must_use]
    pub const fn configured(standing: Standing) -> Self {
        Self { standing, stored: None }
    }

    /// One of the store.
    #[must_use]
    pub fn stored(budget: StoredBudget, standing: Standing) -> Self {
        Self { standing, stored: Some((budget.id, budget.set_by)) }
    }

    /// Its id, if it is one of the store.
    #[must_use]
    pub fn id(&self) -> Option<&str> {
        self.stored.as_ref().map(|(id, _)| id.as_str())
    }
}

/// What the gateway knows of money.
pub trait Treasury: Send + Sync + 'static {
    /// Every budget and how it stands: those of the configuration in their order, then those of the store in the order of
    /// their ids.
    fn budgets(&self) -> Vec<ListedBudget>;

    /// Makes budgets of the store that were changed hold in this process. One that cannot be read now is read later.
    fn refresh(&self) -> BoxFuture<'_, ()>;

    /// Every price, by vendor and model, the latest first.
    fn prices(&self) -> Vec<PriceLine>;
}

/// Where nothing costs anything.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoTreasury;

impl Treasury for NoTreasury {
    fn budgets(&self) -> Vec<ListedBudget> {
        Vec::new()
    }

    fn refresh(&self) -> BoxFuture<'_, ()> {
        Box::pin(async {})
    }

    fn prices(&self) -> Vec<PriceLine> {
        Vec::new()
    }
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
