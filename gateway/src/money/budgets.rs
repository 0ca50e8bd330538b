//! The budgets in force: those of the configuration and those of the store, which change apart from each other and are one
//! tree.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use voxgate_policy::money::budget::{Budget, BudgetTree, Scope, Standing};
use voxgate_policy::money::day::Window;
use voxgate_protocol::money::NanoDollars;
use voxgate_signaling::admin::money::ListedBudget;
use voxgate_signaling::store::budgets::StoredBudget;

/// The budgets of this process.
pub(super) struct Budgets {
    /// Rises with every change, so that sessions notice one without waiting for anybody.
    generation: AtomicU64,
    parts: Mutex<Parts>,
}

struct Parts {
    tree: BudgetTree,
    configured: Vec<Budget>,
    stored: Vec<StoredBudget>,
    /// Of which it is not known what others spent.
    unknown: BTreeSet<(Scope, Window)>,
}

impl Parts {
    fn all(&self) -> impl Iterator<Item = &Budget> {
        self.configured.iter().chain(self.stored.iter().map(|stored| &stored.budget))
    }
}

impl Budgets {
    /// The budgets of the configuration; none of the store yet.
    pub(super) fn new(configured: Vec<Budget>) -> Self {
        let tree = BudgetTree::new(configured.iter().cloned());
        let unknown = configured.iter().map(|budget| (budget.scope.clone(), budget.window)).collect();
        let parts = Parts { tree, configured, stored: Vec::new(), unknown };
        Self { generation: AtomicU64::new(0), parts: Mutex::new(parts) }
    }

    /// Counters only, no store: held for microseconds.
    pub(super) fn with<T>(&self, act: impl FnOnce(&mut BudgetTree) -> T) -> T {
        act(&mut self.parts().tree)
    }

    fn parts(&self) -> MutexGuard<'_, Parts> {
        // Sums are whole whatever a panicking thread did between two of them.
        self.parts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Differs from what it was before if budgets have changed since then.
    pub(super) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// Whether nobody has set a budget.
    pub(super) fn is_empty(&self) -> bool {
        self.parts().all().next().is_none()
    }

    /// Puts other budgets in the place of those of the configuration.
    pub(super) fn set_configured(&self, now: Duration, budgets: &[Budget]) {
        self.change(now, |parts| {
            let is_new = parts.configured != budgets;
            parts.configured = budgets.to_vec();
            is_new
        });
    }

    /// Puts other budgets in the place of those of the store.
    pub(super) fn set_stored(&self, now: Duration, budgets: Vec<StoredBudget>) {
        self.change(now, |parts| {
            let is_new = parts.stored != budgets;
            parts.stored = budgets;
            is_new
        });
    }

    fn change(&self, now: Duration, put: impl FnOnce(&mut Parts) -> bool) {
        let mut parts = self.parts();
        if !put(&mut parts) {
            return;
        }
        let all: Vec<Budget> = parts.all().cloned().collect();
        let known: BTreeSet<_> = all.iter().map(|budget| (budget.scope.clone(), budget.window)).collect();
        let added = parts.tree.change(now, all);
        parts.unknown.extend(added);
        parts.unknown.retain(|budget| known.contains(budget));
        self.generation.fetch_add(1, Ordering::Release);
    }

    /// Of which budgets it is not known what others spent.
    pub(super) fn unknown(&self) -> Vec<(Scope, Window)> {
        self.parts().unknown.iter().cloned().collect()
    }

    /// Counts what others spent of a budget in the window that lasts at this time. A window that is over meanwhile is asked for
    /// again.
    pub(super) fn restore(&self, at: Duration, budget: &(Scope, Window), spent: NanoDollars) {
        let mut parts = self.parts();
        if parts.tree.restore(at, &budget.0, budget.1, spent) {
            parts.unknown.remove(budget);
            self.generation.fetch_add(1, Ordering::Release);
        }
    }

    /// Every budget somebody set, those of the configuration first, and how it stands.
    pub(super) fn list(&self, now: Duration) -> Vec<ListedBudget> {
        let (standings, configured, stored) = {
            let mut parts = self.parts();
            (parts.tree.standings(now), parts.configured.clone(), parts.stored.clone())
        };
        // Sessions draw on the tree meanwhile.
        let standings: BTreeMap<(Scope, Window), Standing> = standings
            .into_iter()
            .map(|standing| ((standing.budget.scope.clone(), standing.budget.window), standing))
            .collect();
        let standing = |budget: &Budget| {
            let found = standings.get(&(budget.scope.clone(), budget.window));
            let (spent, leased) = found.map_or_else(Default::default, |found| (found.spent, found.leased));
            Standing { budget: budget.clone(), spent, leased }
        };
        let configured = configured.iter().map(|budget| ListedBudget::configured(standing(budget)));
        let stored = stored.into_iter().map(|stored| {
            let standing = standing(&stored.budget);
            ListedBudget::stored(stored, standing)
        });
        configured.chain(stored).collect()
    }
}
