//! What usage costs under one revision of the configuration. A session takes it at its start and keeps it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use voxgate_policy::money::day::UtcDay;
use voxgate_policy::money::meter::{MeterConfig, Recogniser, Service};
use voxgate_policy::money::price::{PriceBook, Prices};
use voxgate_policy::routing::Target;
use voxgate_protocol::id::SessionId;
use voxgate_protocol::money::NanoDollars;
use voxgate_protocol::settings::SessionSettings;
use voxgate_protocol::tenant::TenantPath;

/// What becomes of a model the price book does not know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum UnknownPrice {
    /// No session.
    Refuse,
    /// A session whose usage stands in the ledger without an amount.
    Flag,
}

/// Prices, and how sessions draw on budgets.
#[derive(Clone, Debug)]
pub(crate) struct Pricing {
    pub(crate) book: PriceBook,
    pub(crate) unknown_price: UnknownPrice,
    /// Whose prices apply to a configured provider.
    pub(crate) vendors: BTreeMap<String, String>,
    pub(crate) lease: NanoDollars,
}

impl Pricing {
    /// The prices of the repository, for providers nobody has configured.
    #[cfg(test)]
    pub(crate) fn built_in() -> Self {
        let book = PriceBook::built_in().unwrap();
        let (unknown_price, lease) = (UnknownPrice::Flag, NanoDollars::new(50_000_000));
        Self { book, unknown_price, vendors: BTreeMap::new(), lease }
    }

    /// Whether a session with this model may begin although it may have no price.
    pub(super) fn permits(&self, now: Duration, target: &Target, model: &str) -> bool {
        let is_known = || self.prices(now, &target.provider, target.model(model)).is_some();
        self.unknown_price == UnknownPrice::Flag || is_known()
    }

    fn prices(&self, now: Duration, provider: &str, model: &str) -> Option<Prices> {
        let vendor = self.vendors.get(provider)?;
        self.book.find(vendor, model, UtcDay::of(now)).ok().copied()
    }

    pub(super) fn recogniser(&self, now: Duration, provider: &str, settings: &SessionSettings) -> Recogniser {
        let transcription = settings.input.transcription.as_ref();
        let model =
            transcription.and_then(|transcription| transcription.model.as_deref()).unwrap_or_default();
        Recogniser { model: model.into(), prices: self.prices(now, provider, model) }
    }

    pub(super) fn meter(
        &self,
        now: Duration,
        tenant: TenantPath,
        session: SessionId,
        target: &Target,
        settings: &SessionSettings,
    ) -> MeterConfig {
        let Service { provider, model, prices, recogniser } = self.service(now, target, settings);
        let version = Arc::clone(self.book.version());
        MeterConfig { session, tenant, provider, model, prices, version, recogniser }
    }

    pub(super) fn service(&self, now: Duration, target: &Target, settings: &SessionSettings) -> Service {
        let model = target.model(&settings.model);
        Service {
            provider: target.provider.as_str().into(),
            model: model.into(),
            prices: self.prices(now, &target.provider, model),
            recogniser: self.recogniser(now, &target.provider, settings),
        }
    }
}
