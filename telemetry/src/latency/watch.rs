//! Watches the turns of one route and says what to do about slow ones. It only says so: whatever is done is done from
//! the next turn on, and by somebody else.

use std::time::Duration;

use voxgate_protocol::timeline::{Hop, HopOwner};

use super::account::TurnAccount;
use super::budget::{Breach, LatencyBudget, Subject};
use super::burn::{BurnRing, Spending, Window};

/// When slow turns are too many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tolerance {
    /// How many of a thousand turns may breach a budget, 1 to 1,000. Default 50: budgets are for the 95th percentile.
    pub allowed: u32,
    /// Burn over five minutes and over the hour from which on something is done. Default 6, three turns of ten: a bad
    /// hour is noticed within minutes of it, a bad minute is not.
    pub fast: u32,
    /// Burn over the hour and over six hours from which on something is done. Default 3.
    pub slow: u32,
    /// Turns in the shorter window without which nothing is concluded. Default 10.
    pub turns: u32,
}

impl Default for Tolerance {
    fn default() -> Self {
        Self { allowed: 50, fast: 6, slow: 3, turns: 10 }
    }
}

impl Tolerance {
    /// Whether it can come about: no burn is higher than that of a route all of whose turns are slow.
    #[must_use]
    pub fn is_possible(&self) -> bool {
        let can = |times: u32| times >= 1 && u64::from(times) * u64::from(self.allowed) <= 1_000;
        self.allowed >= 1 && can(self.fast) && can(self.slow)
    }

    fn is_exceeded(&self, long: Spending, short: Spending, times: u32) -> bool {
        let burns = |spending: Spending| spending.burns(self.allowed, times);
        short.turns >= u64::from(self.turns) && burns(short) && burns(long)
    }
}

/// What can be done about slow turns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Tell a person.
    Alert,
    /// Prefer another target of the route from the next turn on.
    PreferAnother,
    /// Leave out work that answers do without, such as opinions of webhooks that may fail open.
    ShedOptional,
}

impl Action {
    /// The name in JSON and metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Alert => "alert",
            Self::PreferAnother => "prefer_another",
            Self::ShedOptional => "shed_optional",
        }
    }
}

/// One thing to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Advice {
    /// What.
    pub action: Action,
    /// Which budget burns.
    pub subject: Subject,
    /// Who could make it shorter. `None` for the whole and for time no hop explains.
    pub owner: Option<HopOwner>,
}

/// The turns of one route, or of one target of a route.
#[derive(Clone, Debug)]
pub struct LatencyWatch {
    budget: LatencyBudget,
    tolerance: Tolerance,
    ring: BurnRing,
}

impl LatencyWatch {
    /// Begins to watch.
    #[must_use]
    pub fn new(budget: LatencyBudget, tolerance: Tolerance) -> Self {
        Self { budget, tolerance, ring: BurnRing::default() }
    }

    /// Judges by another budget from now on. What was counted stays counted.
    pub fn set_budget(&mut self, budget: LatencyBudget, tolerance: Tolerance) {
        (self.budget, self.tolerance) = (budget, tolerance);
    }

    /// What is judged by.
    #[must_use]
    pub const fn budget(&self) -> &LatencyBudget {
        &self.budget
    }

    /// Counts a turn that was heard at `now`. What it breached, for counters and for whoever watches the session.
    pub fn turn(&mut self, now: Duration, account: &TurnAccount) -> Vec<Breach> {
        let breaches = self.budget.breaches(account);
        self.ring.turn(now, &breaches);
        breaches
    }

    /// How fast the allowance of one subject is used up in a window that ends at `now`.
    #[must_use]
    pub fn burn(&self, now: Duration, window: Window, subject: Subject) -> f64 {
        self.ring.spending(now, window, subject).burn(self.tolerance.allowed)
    }

    /// Turns that were heard in a window that ends at `now`, slow or not.
    #[must_use]
    pub fn turns(&self, now: Duration, window: Window) -> u64 {
        self.ring.spending(now, window, Subject::Whole).turns
    }

    /// The turns that were heard in a window that ends at `now`, and those of them that broke one budget.
    #[must_use]
    pub fn spending(&self, now: Duration, window: Window, subject: Subject) -> Spending {
        self.ring.spending(now, window, subject)
    }

    /// Counts from nothing again.
    pub fn forget(&mut self) {
        self.ring = BurnRing::default();
    }

    /// What to do at `now`, in the order of subjects. An alert for whatever burns; a remedy only while callers feel it,
    /// that is while the whole burns too or has no budget.
    #[must_use]
    pub fn advice(&self, now: Duration) -> Vec<Advice> {
        let is_felt = self.budget.whole.is_none() || self.burns(now, Subject::Whole);
        let budgeted = Subject::all().filter(|subject| self.budget.of_subject(*subject).is_some());
        let burning = budgeted.filter(|subject| self.burns(now, *subject));
        burning.flat_map(|subject| advise(subject, is_felt)).collect()
    }

    fn burns(&self, now: Duration, subject: Subject) -> bool {
        let [five_minutes, hour, six_hours] =
            Window::ALL.map(|window| self.ring.spending(now, window, subject));
        self.tolerance.is_exceeded(hour, five_minutes, self.tolerance.fast)
            || self.tolerance.is_exceeded(six_hours, hour, self.tolerance.slow)
    }
}

fn advise(subject: Subject, is_felt: bool) -> impl Iterator<Item = Advice> {
    let hop = match subject {
        Subject::Hop(hop) if hop != Hop::Unattributed => Some(hop),
        Subject::Hop(_) | Subject::Whole => None,
    };
    let owner = hop.map(Hop::owner);
    let remedy = match owner {
        Some(HopOwner::Provider) => Some(Action::PreferAnother),
        // A machine that is late with its own work has too much of it.
        Some(HopOwner::Gateway) => Some(Action::ShedOptional),
        _ => None,
    };
    let actions = std::iter::once(Action::Alert).chain(remedy.filter(|_| is_felt));
    actions.map(move |action| Advice { action, subject, owner })
}

#[cfg(test)]
mod tests;
