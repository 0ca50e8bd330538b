//! Limits of organisations, teams, keys and agents, and the leases drawn on them.
//!
//! A session never spends from a budget directly. It draws a lease, spends that, and draws again. What all sessions have
//! drawn and spent together never passes a hard limit, so a limit can be overspent only by what a session spends after its
//! last lease is used up: at most its lease (one charge that comes at once, such as the reading of a long conversation)
//! and its rate for as long as it takes to cancel the answer.

mod history;

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use voxgate_protocol::money::NanoDollars;
use voxgate_protocol::tenant::{AgentId, KeyId, OrganisationId, TeamId, TenantPath};

use self::history::History;
use super::day::Window;

/// A node of the tree: an organisation, or a part of one. A name without the names above it is no place in the tree.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scope {
    /// The organisation.
    pub organisation: OrganisationId,
    /// A team of it.
    #[serde(default)]
    pub team: Option<TeamId>,
    /// A key of the team.
    #[serde(default)]
    pub key: Option<KeyId>,
    /// An agent of the key.
    #[serde(default)]
    pub agent: Option<AgentId>,
}

impl Scope {
    /// Whether every name stands below another.
    #[must_use]
    pub const fn is_a_place(&self) -> bool {
        (self.team.is_some() || self.key.is_none()) && (self.key.is_some() || self.agent.is_none())
    }

    /// Whether what happens at this place of the tree counts here.
    #[must_use]
    pub fn covers(&self, path: &TenantPath) -> bool {
        self.organisation == path.organisation
            && self.team.as_ref().is_none_or(|team| *team == path.team)
            && self.key.as_ref().is_none_or(|key| *key == path.key)
            && self.agent.as_ref().is_none_or(|agent| Some(agent) == path.agent.as_ref())
    }

    /// Whether another node is this one or below it.
    fn contains(&self, other: &Self) -> bool {
        self.organisation == other.organisation
            && (self.team.is_none() || self.team == other.team)
            && (self.key.is_none() || self.key == other.key)
            && (self.agent.is_none() || self.agent == other.agent)
    }

    /// Where a session is.
    fn of(path: &TenantPath) -> Self {
        let TenantPath { organisation, team, key, agent } = path.clone();
        Self { organisation, team: Some(team), key: Some(key), agent }
    }

    /// The nodes above a session, from the root down.
    fn above(path: &TenantPath) -> impl Iterator<Item = Self> {
        let organisation =
            Self { organisation: path.organisation.clone(), team: None, key: None, agent: None };
        let team = Self { team: Some(path.team.clone()), ..organisation.clone() };
        let key = Self { key: Some(path.key.clone()), ..team.clone() };
        let agent = path.agent.clone().map(|agent| Self { agent: Some(agent), ..key.clone() });
        [organisation, team, key].into_iter().chain(agent)
    }
}

/// The narrowest name and whose it is: `team support of acme`.
impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { organisation, team, key, agent } = self;
        match (team, key, agent) {
            (Some(team), Some(key), Some(agent)) => write!(f, "agent {agent} of {organisation}/{team}/{key}"),
            (Some(team), Some(key), None) => write!(f, "key {key} of {organisation}/{team}"),
            (Some(team), None, _) => write!(f, "team {team} of {organisation}"),
            (None, ..) => write!(f, "organisation {organisation}"),
        }
    }
}

/// A budget.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Budget {
    /// Whose.
    pub scope: Scope,
    /// How long it lasts.
    pub window: Window,
    /// From here on somebody is told.
    pub soft: Option<NanoDollars>,
    /// Beyond this nothing is spent.
    pub hard: Option<NanoDollars>,
}

/// A budget and what became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// The budget.
    pub budget: Budget,
    /// Spent in the present window.
    pub spent: NanoDollars,
    /// Drawn by sessions that run, and not spent yet.
    pub leased: NanoDollars,
}

#[derive(Clone, Debug)]
struct Account {
    budget: Budget,
    window: i64,
    /// Spent by sessions of this process.
    here: NanoDollars,
    /// Spent by others: processes before this one, other gateways, people.
    elsewhere: NanoDollars,
    leased: NanoDollars,
    has_warned: bool,
}

impl Account {
    const fn new(budget: Budget) -> Self {
        let (here, elsewhere, leased) = (NanoDollars::ZERO, NanoDollars::ZERO, NanoDollars::ZERO);
        Self { budget, window: i64::MIN, here, elsewhere, leased, has_warned: false }
    }

    /// A new window begins with nothing spent. Leases that are out count in it until they are used or given back.
    fn roll(&mut self, now: Duration) {
        let window = self.budget.window.index(now);
        // A clock that was set back does not bring an old window back.
        if window > self.window {
            self.window = window;
            self.here = NanoDollars::ZERO;
            self.elsewhere = NanoDollars::ZERO;
            self.has_warned = false;
        }
    }

    const fn spent(&self) -> NanoDollars {
        self.here.saturating_add(self.elsewhere)
    }

    const fn committed(&self) -> NanoDollars {
        self.spent().saturating_add(self.leased)
    }

    const fn left(&self) -> NanoDollars {
        match self.budget.hard {
            Some(hard) => hard.saturating_sub(self.committed()),
            None => NanoDollars::MAX,
        }
    }

    fn warns(&mut self) -> bool {
        let is_over = self.budget.soft.is_some_and(|soft| self.committed() > soft);
        let is_news = is_over && !self.has_warned;
        self.has_warned |= is_over;
        is_news
    }

    /// The budget, if its soft limit is passed and nobody knows.
    fn news(&mut self) -> Option<Budget> {
        self.warns().then(|| self.budget.clone())
    }
}

/// What a session wants of its budgets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Demand {
    /// Spent since the last time; negative if an estimate turned out to be too high.
    pub spent: NanoDollars,
    /// How much of that was drawn before.
    pub from_lease: NanoDollars,
    /// To be drawn; negative to give back.
    pub want: NanoDollars,
}

/// What a session got.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Draw {
    /// How much it may spend in addition.
    pub granted: NanoDollars,
    /// The budgets whose soft limits were passed, for the first time in their windows.
    pub warns: Vec<Budget>,
    /// The budget with the least left, if that is less than was wanted.
    pub short: Option<Budget>,
}

/// Every budget of an installation. Where nobody has set one, nothing limits.
#[derive(Clone, Debug, Default)]
pub struct BudgetTree {
    accounts: BTreeMap<Scope, Vec<Account>>,
    history: History,
}

impl BudgetTree {
    /// Budgets of which nothing is spent. Of two for the same node and window the lower limits hold.
    #[must_use]
    pub fn new(budgets: impl IntoIterator<Item = Budget>) -> Self {
        let mut tree = Self::default();
        tree.change(Duration::ZERO, budgets);
        tree
    }

    /// Puts other budgets in the place of these; of two for the same node and window the lower limits hold. One of the same
    /// node and window keeps what was spent and drawn, and who was told of its soft limit is told again only if that rises;
    /// one that is new counts what sessions of this process spent and have drawn. A limit below what is committed grants
    /// nothing more; leases that are out remain until [`Lease::renew`].
    ///
    /// The budgets that are new, of which it is not known what others spent: [`BudgetTree::restore`].
    pub fn change(
        &mut self,
        now: Duration,
        budgets: impl IntoIterator<Item = Budget>,
    ) -> Vec<(Scope, Window)> {
        let mut before = std::mem::take(&mut self.accounts);
        let mut added = Vec::new();
        for ((scope, window), budget) in strictest(budgets) {
            let same = before.get_mut(&scope).and_then(|accounts| {
                let place = accounts.iter().position(|account| account.budget.window == window)?;
                Some(accounts.swap_remove(place))
            });
            let account = match same {
                Some(account) => Account { budget, ..account },
                None => {
                    added.push((scope.clone(), window));
                    self.opened(now, budget)
                }
            };
            self.accounts.entry(scope).or_default().push(account);
        }
        for account in self.accounts.values_mut().flatten() {
            account.roll(now);
            account.has_warned &= account.budget.soft.is_some_and(|soft| account.committed() > soft);
        }
        added
    }

    fn opened(&self, now: Duration, budget: Budget) -> Account {
        let mut account = Account::new(budget);
        account.roll(now);
        (account.here, account.leased) =
            self.history.below(now, &account.budget.scope, account.budget.window);
        account
    }

    /// Counts what the ledger says others spent below a node in the window that lasts at this time, instead of what was noted
    /// of them before. Who was told of a soft limit before is not told again. False if another window lasts meanwhile, or
    /// there is no such budget: then nothing is counted.
    pub fn restore(&mut self, at: Duration, scope: &Scope, window: Window, spent: NanoDollars) -> bool {
        let mut of_scope = self.accounts.get_mut(scope).into_iter().flatten();
        let Some(account) = of_scope.find(|account| account.budget.window == window) else { return false };
        account.roll(at);
        let is_present = account.window == window.index(at);
        if is_present {
            account.elsewhere = spent;
            account.warns();
        }
        is_present
    }

    /// Counts what somebody else spent at `at`, another gateway or a person, in the windows that last at both times. Gives
    /// the budgets whose soft limits were passed by it, for the first time in their windows.
    pub fn note_elsewhere(
        &mut self,
        now: Duration,
        tenant: &TenantPath,
        at: Duration,
        spent: NanoDollars,
    ) -> Vec<Budget> {
        let mut warns = Vec::new();
        self.on_each(now, tenant, |account| {
            if account.budget.window.index(at) == account.window {
                account.elsewhere = account.elsewhere.saturating_add(spent);
                warns.extend(account.news());
            }
        });
        warns
    }

    /// Whether anything is left for a session to begin with.
    #[must_use]
    pub fn has_left(&mut self, now: Duration, tenant: &TenantPath) -> bool {
        !self.left(now, tenant).is_spent()
    }

    /// The least that any budget above a session has left.
    pub fn left(&mut self, now: Duration, tenant: &TenantPath) -> NanoDollars {
        let mut left = NanoDollars::MAX;
        self.on_each(now, tenant, |account| left = left.min(account.left()));
        left
    }

    /// The budget above a session that has the least left, the highest of several.
    #[must_use]
    pub fn tightest(&mut self, now: Duration, tenant: &TenantPath) -> Option<Budget> {
        let mut tightest: Option<(NanoDollars, Budget)> = None;
        self.on_each(now, tenant, |account| {
            let left = account.left();
            if tightest.as_ref().is_none_or(|(least, _)| left < *least) {
                tightest = Some((left, account.budget.clone()));
            }
        });
        tightest.map(|(_, budget)| budget)
    }

    /// Books what was spent and grants as much of what is wanted as every budget above has left.
    pub fn draw(&mut self, now: Duration, tenant: &TenantPath, demand: Demand) -> Draw {
        self.on_each(now, tenant, |account| {
            account.here = account.here.saturating_add(demand.spent);
            account.leased = account.leased.saturating_sub(demand.from_lease);
        });
        // What is given back needs nobody's leave.
        let left = self.left(now, tenant).max(NanoDollars::ZERO);
        let granted = demand.want.min(left);
        let short = if granted < demand.want { self.tightest(now, tenant) } else { None };
        let mut warns = Vec::new();
        self.on_each(now, tenant, |account| {
            account.leased = account.leased.saturating_add(granted);
            warns.extend(account.news());
        });
        let leased = granted.saturating_sub(demand.from_lease);
        self.history.note(now, tenant, demand.spent, leased);
        Draw { granted, warns, short }
    }

    /// Spent in the present window and drawn, of every budget of a node.
    pub fn standing(&mut self, now: Duration, scope: &Scope) -> Vec<(Budget, NanoDollars, NanoDollars)> {
        let of_scope = self.accounts.get_mut(scope).into_iter().flatten();
        let standing = of_scope.map(|account| {
            account.roll(now);
            (account.budget.clone(), account.spent(), account.leased)
        });
        standing.collect()
    }

    /// How every budget stands, in the order of the tree.
    pub fn standings(&mut self, now: Duration) -> Vec<Standing> {
        let standing = self.accounts.values_mut().flatten().map(|account| {
            account.roll(now);
            Standing { budget: account.budget.clone(), spent: account.spent(), leased: account.leased }
        });
        standing.collect()
    }

    fn on_each(&mut self, now: Duration, tenant: &TenantPath, mut act: impl FnMut(&mut Account)) {
        if self.accounts.is_empty() {
            return;
        }
        for scope in Scope::above(tenant) {
            for account in self.accounts.get_mut(&scope).into_iter().flatten() {
                account.roll(now);
                act(account);
            }
        }
    }
}

/// One budget for each node and window, with the lowest limits anybody set.
fn strictest(budgets: impl IntoIterator<Item = Budget>) -> BTreeMap<(Scope, Window), Budget> {
    let lower = |one: Option<NanoDollars>, other: Option<NanoDollars>| match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    };
    let mut found: BTreeMap<(Scope, Window), Budget> = BTreeMap::new();
    for budget in budgets {
        let (soft, hard) = (budget.soft, budget.hard);
        let kept = found.entry((budget.scope.clone(), budget.window)).or_insert(budget);
        kept.soft = lower(kept.soft, soft);
        kept.hard = lower(kept.hard, hard);
    }
    found
}

/// The lease of one session. Costs are totals since its beginning.
#[derive(Clone, Copy, Debug)]
pub struct Lease {
    /// How much is drawn ahead.
    size: NanoDollars,
    /// Drawn and not yet booked as spent.
    drawn: NanoDollars,
    /// The cost the budgets know of.
    booked: NanoDollars,
    is_last: bool,
}

impl Lease {
    /// A lease of which nothing is drawn yet.
    #[must_use]
    pub const fn new(size: NanoDollars) -> Self {
        Self { size, drawn: NanoDollars::ZERO, booked: NanoDollars::ZERO, is_last: false }
    }

    /// What is left to spend at this cost; negative once the lease is overspent.
    #[must_use]
    pub const fn left(&self, cost: NanoDollars) -> NanoDollars {
        self.drawn.saturating_sub(cost.saturating_sub(self.booked))
    }

    /// Whether the budgets did not grant all that was wanted the last time.
    #[must_use]
    pub const fn is_last(&self) -> bool {
        self.is_last
    }

    /// What to ask for, if less than half of the lease is left.
    #[must_use]
    pub fn demand(&self, cost: NanoDollars) -> Option<Demand> {
        let left = self.left(cost);
        let is_low = left.saturating_add(left) < self.size;
        let want = self.size.saturating_sub(left.max(NanoDollars::ZERO));
        is_low.then(|| Demand { want, ..self.book(cost) })
    }

    /// Gives back what is left and asks for a whole lease, because the budgets have changed: what they do not grant now is gone.
    #[must_use]
    pub fn renew(&self, cost: NanoDollars) -> Demand {
        Demand { spent: cost.saturating_sub(self.booked), from_lease: self.drawn, want: self.size }
    }

    /// The answer to a demand at this cost: so much was granted.
    pub fn drew(&mut self, cost: NanoDollars, demand: Demand, granted: NanoDollars) {
        self.drawn = self.drawn.saturating_sub(demand.from_lease).saturating_add(granted);
        self.booked = cost;
        self.is_last = granted < demand.want;
    }

    /// The session is over and cost this: the rest goes back.
    #[must_use]
    pub fn give_back(&self, cost: NanoDollars) -> Demand {
        let rest = self.left(cost).max(NanoDollars::ZERO);
        Demand { want: NanoDollars::ZERO.saturating_sub(rest), ..self.book(cost) }
    }

    /// What is overspent counts as spent without ever having been drawn.
    fn book(&self, cost: NanoDollars) -> Demand {
        let spent = cost.saturating_sub(self.booked);
        Demand { spent, from_lease: spent.min(self.drawn), want: NanoDollars::ZERO }
    }
}

#[cfg(test)]
mod tests;
