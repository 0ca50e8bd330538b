//! What others spend from budgets that are shared through the store: processes before this one, other gateways, people.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use voxgate_policy::money::budget::{BudgetTree, Scope};
use voxgate_policy::money::day::Window;
use voxgate_signaling::outbox::Outbox;
use voxgate_signaling::store::{Store, StoreError};
use voxgate_telemetry::metrics::Metrics;

use crate::host::since_unix_epoch;

/// Between two looks at the ledger, and after a store that did not answer.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Longest wait for an answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// Numbers of the ledger read at once. Each stands for one delivery, which is at most 500 entries.
const AT_ONCE: i64 = 20;

/// Counts in the budgets of this process what it did not spend itself.
pub(super) struct Following {
    /// The name of this process in the ledger.
    pub(super) node: Arc<str>,
    pub(super) wanted: BTreeSet<(Scope, Window)>,
    pub(super) budgets: Arc<Mutex<BudgetTree>>,
    pub(super) outbox: Outbox,
    pub(super) store: Store,
    pub(super) metrics: Arc<Metrics>,
    /// The number up to which the budgets know the ledger; `None` until they know what was before.
    pub(super) known: Option<i64>,
}

impl Following {
    /// Looks once: at the first time for what was spent in every present window, from then on for what came since.
    pub(super) async fn look(&mut self) -> Result<(), StoreError> {
        match self.known {
            None => self.begin().await,
            Some(known) => self.go_on(known).await,
        }
    }

    /// Looks until the task is aborted.
    pub(super) async fn run(mut self) {
        let mut is_away = self.known.is_none();
        loop {
            let looked = tokio::time::timeout(PATIENCE, self.look()).await;
            let is_there = matches!(looked, Ok(Ok(())));
            if is_there && is_away {
                tracing::info!("budgets know what others spent");
            } else if !is_there && !is_away {
                tracing::warn!("the store does not answer; budgets do not see what other gateways spend");
            }
            is_away = !is_there;
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Delivers what an earlier process left, then counts what the store says was spent. What this process spent meanwhile
    /// stands in its budgets already.
    async fn begin(&mut self) -> Result<(), StoreError> {
        self.store.prepare().await?;
        while self.outbox.deliver(&self.store).await? > 0 {}
        // What is added from here on has a greater number, and is found by the next look.
        let head = self.store.ledger_head().await?;
        let now = since_unix_epoch();
        let mut spent = Vec::new();
        for (scope, window) in &self.wanted {
            let since = window.begins_at(now);
            spent.push(self.store.spent_since(scope, since, (&self.node, head)).await?);
        }
        let mut budgets = self.budgets.lock().unwrap_or_else(PoisonError::into_inner);
        for ((scope, window), spent) in self.wanted.iter().zip(spent) {
            budgets.restore(now, scope, *window, spent);
        }
        self.known = Some(head);
        Ok(())
    }

    async fn go_on(&mut self, mut known: i64) -> Result<(), StoreError> {
        if self.wanted.is_empty() {
            return Ok(());
        }
        let head = self.store.ledger_head().await?;
        while known < head {
            let last = head.min(known.saturating_add(AT_ONCE));
            let spent = self.store.spent_elsewhere(&self.node, known, last).await?;
            let now = since_unix_epoch();
            let mut budgets = self.budgets.lock().unwrap_or_else(PoisonError::into_inner);
            for entry in spent {
                if budgets.note_elsewhere(now, &entry.tenant, entry.at, entry.amount) {
                    self.metrics.budget_actions.with_label_values(&["warn"]).inc();
                    tracing::warn!(tenant = %entry.tenant, "a budget has passed its soft limit");
                }
            }
            drop(budgets);
            known = last;
            self.known = Some(known);
        }
        Ok(())
    }
}
