//! The turns of one route and of each of its targets, and what is done about slow ones.
//!
//! A route is told about and has optional work left out; a target is passed over while the route has another. One that is
//! passed over is hardly measured any more, so what was counted of it cannot clear it: when it was passed over for
//! long enough, it is forgotten, and its next turns decide anew.

use std::collections::BTreeMap;
use std::time::Duration;

use super::account::TurnAccount;
use super::budget::{Breach, LatencyBudget, Subject};
use super::burn::{Spending, Window};
use super::hold::{Change, Held, HoldRule, Stance};
use super::watch::{Action, Advice, LatencyWatch, Tolerance};

/// What was advised is not reckoned anew more often than this, unless a slow turn may change it.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// Something began or ended for a route, or for one of its targets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteChange {
    /// The target; `None` for the route.
    pub target: Option<String>,
    /// What.
    pub change: Change,
}

/// Why something is done: the budget that burns, and the turns that broke it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grounds {
    /// Which budget.
    pub subject: Subject,
    /// What it allows; `None` if there is no such budget any more.
    pub budget: Option<Duration>,
    /// The turns of the last hour, and those of them that took longer. Of a target that has been passed over for long there
    /// may be none.
    pub spending: Spending,
}

#[derive(Clone, Debug)]
struct Watched {
    watch: LatencyWatch,
    stance: Stance,
}

impl Watched {
    fn new(budget: LatencyBudget, tolerance: Tolerance, rule: HoldRule) -> Self {
        Self { watch: LatencyWatch::new(budget, tolerance), stance: Stance::new(rule) }
    }

    fn look(&mut self, now: Duration, is_done: impl Fn(&Advice) -> bool) -> Vec<Change> {
        let mut advice = self.watch.advice(now);
        advice.retain(is_done);
        self.stance.follow(now, &advice)
    }

    fn grounds(&self, now: Duration, action: Action) -> Option<Grounds> {
        let Advice { subject, .. } = self.stance.current().find(|advice| advice.action == action)?;
        let budget = self.watch.budget().of_subject(subject);
        Some(Grounds { subject, budget, spending: self.watch.spending(now, Window::Hour, subject) })
    }
}

/// Watches one route. About 55 kB, and as much for each target that is watched.
#[derive(Clone, Debug)]
pub struct RouteWatch {
    budget: LatencyBudget,
    tolerance: Tolerance,
    rule: HoldRule,
    whole: Watched,
    targets: BTreeMap<String, Watched>,
    looked_at: Option<Duration>,
}

impl RouteWatch {
    /// Begins to watch.
    #[must_use]
    pub fn new(budget: LatencyBudget, tolerance: Tolerance, rule: HoldRule) -> Self {
        let whole = Watched::new(budget.clone(), tolerance, rule);
        Self { budget, tolerance, rule, whole, targets: BTreeMap::new(), looked_at: None }
    }

    /// Judges by this from now on. What was counted stays counted.
    pub fn set(&mut self, budget: LatencyBudget, tolerance: Tolerance, rule: HoldRule) {
        for watched in self.targets.values_mut().chain([&mut self.whole]) {
            watched.watch.set_budget(budget.clone(), tolerance);
            watched.stance.set_rule(rule);
        }
        (self.budget, self.tolerance, self.rule) = (budget, tolerance, rule);
        self.looked_at = None;
    }

    /// Watches these targets one by one: of others what was counted is forgotten.
    pub fn watch_targets(&mut self, names: &[String]) {
        self.targets.retain(|name, _| names.contains(name));
        for name in names {
            let Self { budget, tolerance, rule, .. } = self;
            let begin = || Watched::new(budget.clone(), *tolerance, *rule);
            self.targets.entry(name.clone()).or_insert_with(begin);
        }
    }

    /// What is judged by.
    #[must_use]
    pub const fn budget(&self) -> &LatencyBudget {
        &self.budget
    }

    /// Counts a turn that was heard at `now`, also for the target that served it if that is watched. What it breached.
    pub fn turn(&mut self, now: Duration, target: Option<&str>, account: &TurnAccount) -> Vec<Breach> {
        let breaches = self.whole.watch.turn(now, account);
        if let Some(watched) = target.and_then(|target| self.targets.get_mut(target)) {
            watched.watch.turn(now, account);
        }
        if !breaches.is_empty() {
            self.looked_at = None;
        }
        breaches
    }

    /// Brings up to date what is done. What that changed.
    pub fn look(&mut self, now: Duration) -> Vec<RouteChange> {
        if self.looked_at.is_some_and(|at| now < at + LOOK_AGAIN) {
            return Vec::new();
        }
        self.looked_at = Some(now);
        // Whom to prefer is decided for each target by itself.
        let of_route = |advice: &Advice| advice.action != Action::PreferAnother;
        let changes = self.whole.look(now, of_route);
        let mut changes: Vec<RouteChange> =
            changes.into_iter().map(|change| RouteChange { target: None, change }).collect();
        for (name, watched) in &mut self.targets {
            if watched.stance.is_served(now, Action::PreferAnother) {
                watched.watch.forget();
            }
            let news = watched.look(now, |advice| advice.action == Action::PreferAnother);
            let told = |change| RouteChange { target: Some(name.clone()), change };
            changes.extend(news.into_iter().map(told));
        }
        changes
    }

    /// Whether a target is to be passed over while the route has another, as of the last [`RouteWatch::look`].
    #[must_use]
    pub fn is_passed_over(&self, target: &str) -> bool {
        self.targets.get(target).is_some_and(|watched| watched.stance.does(Action::PreferAnother))
    }

    /// Every target that is to be, as of the last [`RouteWatch::look`].
    pub fn passed_over(&self) -> impl Iterator<Item = &str> {
        self.targets.keys().map(String::as_str).filter(|name| self.is_passed_over(name))
    }

    /// Whether optional work is to be left out, as of the last [`RouteWatch::look`].
    #[must_use]
    pub fn sheds(&self) -> bool {
        self.whole.stance.does(Action::ShedOptional)
    }

    /// Why this is done for the route (`None`) or one of its targets; `None` if it is not, as of the last
    /// [`RouteWatch::look`].
    #[must_use]
    pub fn grounds(&self, now: Duration, target: Option<&str>, action: Action) -> Option<Grounds> {
        let watched = match target {
            Some(target) => self.targets.get(target)?,
            None => &self.whole,
        };
        watched.grounds(now, action)
    }

    /// What is done, for the route (`None`) and for its targets.
    pub fn current(&self) -> impl Iterator<Item = (Option<&str>, Advice)> {
        self.held().map(|(target, held)| (target, held.advice))
    }

    /// The same with its times, on the clock of [`RouteWatch::look`].
    pub fn held(&self) -> impl Iterator<Item = (Option<&str>, Held)> {
        let targets = self.targets.iter();
        let of_targets = targets
            .flat_map(|(name, watched)| watched.stance.held().map(move |held| (Some(name.as_str()), held)));
        self.whole.stance.held().map(|held| (None, held)).chain(of_targets)
    }

    /// Turns that were heard in a window that ends at `now`, slow or not.
    #[must_use]
    pub fn turns(&self, now: Duration, window: Window) -> u64 {
        self.whole.watch.turns(now, window)
    }

    /// How fast the allowance of one subject is used up in a window that ends at `now`.
    #[must_use]
    pub fn burn(&self, now: Duration, window: Window, subject: Subject) -> f64 {
        self.whole.watch.burn(now, window, subject)
    }
}

#[cfg(test)]
mod tests;
