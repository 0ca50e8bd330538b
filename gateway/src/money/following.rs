//! What others do to budgets that are shared through the store: processes before this one, other gateways, people. They spend,
//! and they set budgets.

use std::sync::Arc;
use std::time::Duration;

use voxgate_signaling::outbox::Outbox;
use voxgate_signaling::store::{Store, StoreError};
use voxgate_telemetry::metrics::Metrics;

use super::budgets::Budgets;
use super::tell_soft_limit;
use crate::host::since_unix_epoch;

/// Between two looks at the store, and after one that did not answer.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Longest wait for an answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// Numbers of the ledger read at once. Each stands for one delivery, which is at most 500 entries.
const AT_ONCE: i64 = 20;

/// Counts in the budgets of this process what it did not spend itself, and keeps them as the store has them. Whoever looks
/// takes turns.
pub(super) struct Following(tokio::sync::Mutex<Follower>);

impl Following {
    /// Nothing is known of the store yet. `node` is the name of this process in the ledger.
    pub(super) fn new(
        node: Arc<str>,
        budgets: Arc<Budgets>,
        outbox: Outbox,
        store: Store,
        metrics: Arc<Metrics>,
    ) -> Self {
        let follower = Follower { node, budgets, outbox, store, metrics, known: None, read_at: None };
        Self(tokio::sync::Mutex::new(follower))
    }

    /// Looks once.
    ///
    /// # Errors
    /// [`StoreError`] if the store does not answer; what was found before that counts.
    pub(super) async fn look(&self) -> Result<(), StoreError> {
        self.0.lock().await.look().await
    }

    /// Looks, and says whether the store answered in time.
    pub(super) async fn try_to_look(&self) -> bool {
        matches!(tokio::time::timeout(PATIENCE, self.look()).await, Ok(Ok(())))
    }

    /// Looks until the task is aborted.
    pub(super) async fn run(self: Arc<Self>) {
        let mut is_away = self.0.lock().await.known.is_none();
        loop {
            let is_there = self.try_to_look().await;
            if is_there && is_away {
                tracing::info!("budgets know what others spent");
            } else if !is_there && !is_away {
                tracing::warn!("the store does not answer; budgets do not see what other gateways spend");
            }
            is_away = !is_there;
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }
}

struct Follower {
    node: Arc<str>,
    budgets: Arc<Budgets>,
    outbox: Outbox,
    store: Store,
    metrics: Arc<Metrics>,
    /// The number up to which the budgets know the ledger; `None` until they know what was before.
    known: Option<i64>,
    /// The number of changes at which the budgets of the store were read.
    read_at: Option<i64>,
}

impl Follower {
    async fn look(&mut self) -> Result<(), StoreError> {
        let known = match self.known {
            Some(known) => known,
            None => self.begin().await?,
        };
        self.read_budgets().await?;
        let known = self.go_on(known).await?;
        self.catch_up(known).await
    }

    /// Delivers what an earlier process left. What is added from then on has a greater number than what this gives.
    async fn begin(&mut self) -> Result<i64, StoreError> {
        self.store.prepare().await?;
        while self.outbox.deliver(&self.store).await? > 0 {}
        let head = self.store.ledger_head().await?;
        self.known = Some(head);
        Ok(head)
    }

    async fn read_budgets(&mut self) -> Result<(), StoreError> {
        // The number first: what changes in between is read twice and not missed.
        let changes = self.store.budget_changes().await?;
        if self.read_at != Some(changes) {
            let budgets = self.store.budgets().await?;
            self.budgets.set_stored(since_unix_epoch(), budgets);
            self.read_at = Some(changes);
        }
        Ok(())
    }

    /// Counts what others added since the last look.
    async fn go_on(&mut self, mut known: i64) -> Result<i64, StoreError> {
        let head = self.store.ledger_head().await?;
        // Without budgets there is nothing to count; one that comes asks for all that was before.
        if self.budgets.is_empty() {
            known = head;
        }
        while known < head {
            let last = head.min(known.saturating_add(AT_ONCE));
            let spent = self.store.spent_elsewhere(&self.node, known, last).await?;
            let now = since_unix_epoch();
            self.budgets.with(|budgets| {
                for entry in spent {
                    for budget in budgets.note_elsewhere(now, &entry.tenant, entry.at, entry.amount) {
                        tell_soft_limit(&self.metrics, &entry.tenant, &budget);
                    }
                }
            });
            known = last;
            self.known = Some(known);
        }
        self.known = Some(known);
        Ok(known)
    }

    /// Asks what others spent, up to that number, of budgets of which this is not known. What this process spent stands in
    /// them already.
    async fn catch_up(&self, known: i64) -> Result<(), StoreError> {
        for budget in self.budgets.unknown() {
            let (scope, window) = &budget;
            let now = since_unix_epoch();
            let spent = self.store.spent_since(scope, window.begins_at(now), (&self.node, known)).await?;
            self.budgets.restore(now, &budget, spent);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
