//! What sessions of this process cost: prices, budgets and the way to the ledger behind one door.

mod account;
mod budgets;
mod following;
mod posting;
mod pricing;

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::BoxFuture;
use voxgate_policy::money::budget::{Budget, Demand, Draw};
use voxgate_policy::money::ledger::{Certainty, Entry};
use voxgate_policy::money::price::PriceLine;
use voxgate_policy::routing::Target;
use voxgate_protocol::tenant::TenantPath;
use voxgate_realtime::{ApiError, ErrorKind};
use voxgate_signaling::admin::money::{ListedBudget, Treasury};
use voxgate_signaling::outbox::{self, Outbox};
use voxgate_signaling::store::{Store, StoreError};
use voxgate_telemetry::metrics::Metrics;

use crate::host::since_unix_epoch;

pub(crate) use account::{Account, Act};
use budgets::Budgets;
use following::Following;
use posting::Posting;
pub(crate) use pricing::{Pricing, UnknownPrice};

/// What the configuration says about money.
#[derive(Clone, Debug)]
pub(crate) struct MoneyConfig {
    /// What sessions take at their start and keep.
    pub(crate) pricing: Arc<Pricing>,
    /// What binds those that run.
    pub(crate) budgets: Vec<Budget>,
}

/// Everything about money that sessions share.
pub(crate) struct Money {
    /// That of the configuration in force, for those who ask. Sessions have that of their revision.
    pricing: Mutex<Arc<Pricing>>,
    budgets: Arc<Budgets>,
    following: Arc<Following>,
    posting: Posting,
    metrics: Arc<Metrics>,
}

/// The money a session is served with.
#[derive(Clone)]
pub(crate) struct Billing {
    pub(crate) money: Arc<Money>,
    /// Kept to its end, whatever is applied meanwhile.
    pub(crate) pricing: Arc<Pricing>,
}

impl Money {
    /// Opens the node's outbox in this folder, hands what waits there to the store, and counts what the store says was spent
    /// in the present window of every budget, and from then on what other gateways spend. While the store is away budgets
    /// begin with nothing spent, and without those the store has; both count as soon as it is back.
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
        let budgets = Arc::new(Budgets::new(config.budgets));
        let following =
            Following::new(node, Arc::clone(&budgets), outbox.clone(), store.clone(), Arc::clone(&metrics));
        let following = Arc::new(following);
        if let Err(error) = following.look().await {
            tracing::warn!(%error, "budgets do not know yet what was spent before this start");
        }
        let posting = Posting::start(outbox, store, Arc::clone(&following), Arc::clone(&metrics));
        Ok(Self { pricing: Mutex::new(config.pricing), budgets, following, posting, metrics })
    }

    /// Another configuration is in force: its budgets bind running sessions as soon as anything happens in them, its prices are
    /// for sessions that begin from now on.
    pub(crate) fn change(&self, now: Duration, config: &MoneyConfig) {
        *self.pricing.lock().unwrap_or_else(PoisonError::into_inner) = Arc::clone(&config.pricing);
        self.budgets.set_configured(now, &config.budgets);
    }

    /// Whether a session may begin as far as money is concerned.
    pub(crate) fn may_start(
        &self,
        now: Duration,
        pricing: &Pricing,
        tenant: &TenantPath,
        target: &Target,
        model: &str,
    ) -> Result<(), ApiError> {
        if !self.budgets.with(|budgets| budgets.has_left(now, tenant)) {
            self.acted("refuse");
            return Err(ApiError::insufficient_quota());
        }
        if !pricing.permits(now, target, model) {
            self.acted("refuse");
            let message = "The model has no price at this gateway, which refuses such models.";
            return Err(
                ApiError::new(403, ErrorKind::InvalidRequest, "model_unpriced", message).with_param("model")
            );
        }
        Ok(())
    }

    /// A budget above a session of this tenant has passed its soft limit.
    fn warned(&self, tenant: &TenantPath, budget: &Budget) {
        tell_soft_limit(&self.metrics, tenant, budget);
    }

    fn draw(&self, now: Duration, tenant: &TenantPath, demand: Demand) -> Draw {
        self.budgets.with(|budgets| budgets.draw(now, tenant, demand))
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

/// Counts and logs that a budget above a session of this tenant has passed its soft limit.
fn tell_soft_limit(metrics: &Metrics, tenant: &TenantPath, Budget { scope, window, .. }: &Budget) {
    metrics.budget_actions.with_label_values(&["warn"]).inc();
    let window = window.as_str();
    tracing::warn!(%tenant, budget = %scope, window, "a budget has passed its soft limit");
}

impl Treasury for Money {
    fn budgets(&self) -> Vec<ListedBudget> {
        self.budgets.list(since_unix_epoch())
    }

    fn refresh(&self) -> BoxFuture<'_, ()> {
        Box::pin(async {
            if !self.following.try_to_look().await {
                tracing::warn!("budgets were changed and the store does not answer; they hold when it does");
            }
        })
    }

    fn prices(&self) -> Vec<PriceLine> {
        self.pricing.lock().unwrap_or_else(PoisonError::into_inner).book.lines()
    }
}

impl std::fmt::Debug for Money {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Money(..)")
    }
}
