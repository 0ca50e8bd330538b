//! What sessions of this process cost: prices, budgets and the way to the ledger behind one door.

mod account;
mod following;
mod posting;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use voxgate_policy::money::budget::{Budget, BudgetTree, Demand, Draw, Standing};
use voxgate_policy::money::day::UtcDay;
use voxgate_policy::money::ledger::{Certainty, Entry};
use voxgate_policy::money::meter::{MeterConfig, Recogniser, Service};
use voxgate_policy::money::price::{PriceBook, PriceLine, Prices};
use voxgate_policy::routing::Target;
use voxgate_protocol::id::SessionId;
use voxgate_protocol::money::NanoDollars;
use voxgate_protocol::settings::SessionSettings;
use voxgate_protocol::tenant::TenantPath;
use voxgate_realtime::{ApiError, ErrorKind};
use voxgate_signaling::admin::money::Treasury;
use voxgate_signaling::outbox::{self, Outbox};
use voxgate_signaling::store::{Store, StoreError};
use voxgate_telemetry::metrics::Metrics;

use crate::host::since_unix_epoch;

pub(crate) use account::{Account, Act};
use following::Following;
use posting::Posting;

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
    budgets: Arc<Mutex<BudgetTree>>,
    posting: Posting,
    metrics: Arc<Metrics>,
}

impl Money {
    /// Opens the node's outbox in this folder, hands what waits there to the store, and counts what the store says was spent
    /// in the present window of every budget, and from then on what other gateways spend. While the store is away budgets
    /// begin with nothing spent; what they had spent is counted as soon as it is back.
    ///
    /// # Errors
    /// [`StoreError`] if the outbox cannot be opened.
    pub(crate) async fn open(
        config: MoneyConfig,
        folder: &Path,
        store: Store,
        metrics: Arc<Metrics>,
    ) -> Result<Self, StoreError> {
        let node: Arc<str> = format!("{:x}-{:x}", since_unix_epoch().as_nanos(), std::process::id()).into();
        let outbox = Outbox::open(&folder.join(outbox::FILE_NAME)).await?.of(&node);
        let budgets = Arc::new(Mutex::new(BudgetTree::new(config.budgets.iter().cloned())));
        let wanted = config.budgets.iter().map(|budget| (budget.scope.clone(), budget.window));
        let mut following = Following {
            node,
            wanted: wanted.collect(),
            budgets: Arc::clone(&budgets),
            outbox: outbox.clone(),
            store: store.clone(),
            metrics: Arc::clone(&metrics),
            known: None,
        };
        if let Err(error) = following.look().await {
            tracing::warn!(%error, "budgets do not know yet what was spent before this start");
        }
        let posting = Posting::start(outbox, store, following, Arc::clone(&metrics));
        Ok(Self { config, budgets, posting, metrics })
    }

    /// Whether a session may begin as far as money is concerned.
    pub(crate) fn may_start(
        &self,
        now: Duration,
        tenant: &TenantPath,
        target: &Target,
        model: &str,
    ) -> Result<(), ApiError> {
        if !self.with_budgets(|budgets| budgets.has_left(now, tenant)) {
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
        tenant: TenantPath,
        session: SessionId,
        target: &Target,
        settings: &SessionSettings,
    ) -> MeterConfig {
        let Service { provider, model, prices, recogniser } = self.service(now, target, settings);
        let version = Arc::clone(self.config.book.version());
        MeterConfig { session, tenant, provider, model, prices, version, recogniser }
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

    /// Takes what a session said at once.
    fn keep(&self, entries: Vec<Entry>) {
        entries.iter().for_each(|entry| self.count(entry));
        if !entries.is_empty() {
            self.posting.hand_in(entries);
        }
    }

    fn count(&self, entry: &Entry) {
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
    }

    fn acted(&self, action: &str) {
        self.metrics.budget_actions.with_label_values(&[action]).inc();
    }

    /// Waits until everything is written and, if the store is there, delivered.
    pub(crate) async fn finish(&self) {
        self.posting.finish().await;
    }
}

impl Treasury for Money {
    fn budgets(&self) -> Vec<Standing> {
        self.with_budgets(|budgets| budgets.standings(since_unix_epoch()))
    }

    fn prices(&self) -> Vec<PriceLine> {
        self.config.book.lines()
    }
}

impl std::fmt::Debug for Money {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Money").field("book", self.config.book.version()).finish_non_exhaustive()
    }
}
