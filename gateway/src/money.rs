//! What sessions of this process cost: prices, budgets and the ledger's file behind one door.

mod account;
mod journal;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use voxgate_policy::key::KeyIndex;
use voxgate_policy::money::budget::{Budget, BudgetTree, Demand, Draw};
use voxgate_policy::money::day::UtcDay;
use voxgate_policy::money::ledger::{Certainty, Entry};
use voxgate_policy::money::meter::{MeterConfig, Recogniser, Service};
use voxgate_policy::money::price::{PriceBook, Prices};
use voxgate_policy::routing::Target;
use voxgate_protocol::id::SessionId;
use voxgate_protocol::money::NanoDollars;
use voxgate_protocol::settings::SessionSettings;
use voxgate_protocol::tenant::{KeyId, TenantPath};
use voxgate_realtime::{ApiError, ErrorKind};
use voxgate_telemetry::metrics::Metrics;

pub(crate) use account::{Account, Act};
use journal::Journal;

/// What becomes of a model the price book does not know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum UnknownPrice {
    /// No session.
    Refuse,
    /// A session whose usage stands in the ledger without an amount.
    Flag,
}

/// What the configuration says about money.
#[derive(Clone, Debug)]
pub(crate) struct MoneyConfig {
    pub(crate) book: PriceBook,
    pub(crate) unknown_price: UnknownPrice,
    /// Whose prices apply to a configured provider.
    pub(crate) vendors: BTreeMap<String, String>,
    pub(crate) lease: NanoDollars,
    pub(crate) budgets: Vec<Budget>,
}

/// Everything about money that sessions share.
pub(crate) struct Money {
    config: MoneyConfig,
    budgets: Mutex<BudgetTree>,
    journal: Journal,
    metrics: Arc<Metrics>,
}

impl Money {
    /// Reads what was spent before from the ledger's files in this folder, and writes on there.
    pub(crate) fn open(config: MoneyConfig, folder: &Path, metrics: Arc<Metrics>) -> std::io::Result<Self> {
        let mut budgets = BudgetTree::new(config.budgets.iter().cloned());
        if !config.budgets.is_empty() {
            journal::read(folder, |entry| {
                budgets.restore(entry.day.begins_at(), &entry.tenant, entry.amount);
            })?;
        }
        let journal = Journal::open(folder)?;
        Ok(Self { config, budgets: Mutex::new(budgets), journal, metrics })
    }

    /// Whether a session may begin as far as money is concerned.
    pub(crate) fn may_start(
        &self,
        now: Duration,
        key: KeyIndex,
        target: &Target,
        model: &str,
    ) -> Result<(), ApiError> {
        if !self.with_budgets(|budgets| budgets.has_left(now, &tenant_of(key))) {
            self.acted("refuse");
            return Err(ApiError::insufficient_quota());
        }
        let model = target.model(model);
        let is_known = self.prices(now, &target.provider, model).is_some();
        if !is_known && self.config.unknown_price == UnknownPrice::Refuse {
            self.acted("refuse");
            let message = "The model has no price at this gateway, which refuses such models.";
            return Err(
                ApiError::new(403, ErrorKind::InvalidRequest, "model_unpriced", message).with_param("model")
            );
        }
        Ok(())
    }

    fn prices(&self, now: Duration, provider: &str, model: &str) -> Option<Prices> {
        let vendor = self.config.vendors.get(provider)?;
        self.config.book.find(vendor, model, UtcDay::of(now)).ok().copied()
    }

    fn recogniser(&self, now: Duration, provider: &str, settings: &SessionSettings) -> Recogniser {
        let transcription = settings.input.transcription.as_ref();
        let model =
            transcription.and_then(|transcription| transcription.model.as_deref()).unwrap_or_default();
        Recogniser { model: model.into(), prices: self.prices(now, provider, model) }
    }

    fn meter(
        &self,
        now: Duration,
        key: KeyIndex,
        session: SessionId,
        target: &Target,
        settings: &SessionSettings,
    ) -> MeterConfig {
        let Service { provider, model, prices, recogniser } = self.service(now, target, settings);
        let version = Arc::clone(self.config.book.version());
        MeterConfig { session, tenant: tenant_of(key), provider, model, prices, version, recogniser }
    }

    fn service(&self, now: Duration, target: &Target, settings: &SessionSettings) -> Service {
        let model = target.model(&settings.model);
        Service {
            provider: target.provider.as_str().into(),
            model: model.into(),
            prices: self.prices(now, &target.provider, model),
            recogniser: self.recogniser(now, &target.provider, settings),
        }
    }

    /// Counters only, no store: held for microseconds.
    fn with_budgets<T>(&self, act: impl FnOnce(&mut BudgetTree) -> T) -> T {
        act(&mut self.budgets.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn draw(&self, now: Duration, tenant: &TenantPath, demand: Demand) -> Draw {
        self.with_budgets(|budgets| budgets.draw(now, tenant, demand))
    }

    fn keep(&self, entry: &Entry) {
        let provider = &[&*entry.provider];
        let dollars = entry.amount.as_shown_dollars();
        match entry.certainty {
            Certainty::Confirmed => {
                self.metrics
                    .cost_dollars
                    .with_label_values(&[&*entry.provider, entry.hop.as_str()])
                    .inc_by(dollars);
            }
            Certainty::Estimated => {
                self.metrics.cost_estimated_dollars.with_label_values(provider).add(dollars)
            }
            Certainty::Unpriced => self.metrics.usage_unpriced.with_label_values(provider).inc(),
        }
        let unheard = entry.unheard.as_shown_dollars().max(0.0);
        self.metrics.cost_unheard_dollars.with_label_values(provider).inc_by(unheard);
        if !self.journal.write(entry) {
            self.metrics.ledger_lost.inc();
        }
    }

    fn acted(&self, action: &str) {
        self.metrics.budget_actions.with_label_values(&[action]).inc();
    }

    /// Waits until everything is written.
    pub(crate) fn finish(&self) {
        self.journal.finish();
    }
}

impl std::fmt::Debug for Money {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Money").field("book", self.config.book.version()).finish_non_exhaustive()
    }
}

/// The key in the data folder is `default`, those of `key_hashes` are `key-1`, `key-2`, … in the order they stand there;
/// all of the team and the organisation `default`.
fn tenant_of(key: KeyIndex) -> TenantPath {
    let name = format!("key-{}", key.0);
    let key = if key.0 == 0 { None } else { KeyId::new(&name).ok() };
    TenantPath { key: key.unwrap_or_default(), ..TenantPath::default() }
}
