//! What the turns of this process's routes may take, what they took, and what is done about slow ones.

mod relief;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use voxgate_protocol::timeline::HopOwner;
use voxgate_telemetry::latency::account::TurnAccount;
use voxgate_telemetry::latency::budget::{Breach, LatencyBudget, Subject};
use voxgate_telemetry::latency::burn::Window;
use voxgate_telemetry::latency::hold::{Held, HoldRule};
use voxgate_telemetry::latency::route::{Grounds, RouteChange, RouteWatch};
use voxgate_telemetry::latency::watch::{Action, Advice, Tolerance};
use voxgate_telemetry::metrics::Metrics;

pub(crate) use relief::{Optional, Relief};

/// Routes that are watched one by one: 55 kB and a few hundred time series each. Those after them in the order of their
/// names are watched together.
const MOST_WATCHED: usize = 64;

/// Targets of all routes together that are watched one by one: 55 kB each. Those after them are never passed over.
const MOST_TARGETS: usize = 64;

/// The name under which the others are watched.
const OTHERS: &str = "other";

/// What the turns of each route may take, and what is done about slow ones.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct RouteBudgets {
    /// By the route's pattern.
    pub(crate) routes: BTreeMap<String, LatencyBudget>,
    /// The targets of those routes that have a choice, by the same.
    pub(crate) targets: BTreeMap<String, Vec<String>>,
    /// When slow turns are too many.
    pub(crate) tolerance: Tolerance,
    /// What is done then.
    pub(crate) actions: Actions,
}

/// What is done about slow turns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Actions {
    /// Whether it is told.
    pub(crate) alert: bool,
    pub(crate) prefer_another: PreferAnother,
    /// Whether optional work is left out.
    pub(crate) shed_optional: bool,
    /// For how long at least.
    pub(crate) hold: HoldRule,
}

impl Default for Actions {
    fn default() -> Self {
        let (prefer_another, hold) = (PreferAnother::Never, HoldRule::default());
        Self { alert: true, prefer_another, shed_optional: false, hold }
    }
}

/// Whose calls leave a slow target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PreferAnother {
    /// Nobody's.
    Never,
    /// Those that begin, and those of routes that follow better targets.
    NewCalls,
    /// All, between two turns.
    NextTurn,
}

impl PreferAnother {
    /// As the configuration has it.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Never => "never",
            Self::NewCalls => "new_calls",
            Self::NextTurn => "next_turn",
        }
    }
}

#[derive(Default)]
struct Watches {
    tolerance: Tolerance,
    actions: Actions,
    routes: BTreeMap<String, RouteWatch>,
}

/// Watches the turns of every route. A turn costs it one short lock; nothing waits for it.
pub(crate) struct LatencyDesk {
    /// The clock of the watches counts from here.
    began: Instant,
    metrics: Arc<Metrics>,
    watches: Mutex<Watches>,
    measures: AtomicBool,
}

impl LatencyDesk {
    pub(crate) fn new(budgets: RouteBudgets, metrics: Arc<Metrics>) -> Self {
        let (watches, measures) = (Mutex::default(), AtomicBool::new(true));
        let desk = Self { began: Instant::now(), metrics, watches, measures };
        desk.configure(budgets);
        desk
    }

    /// Whether sessions that begin from now on are measured. Of others no turn comes; those that run go on as they began.
    pub(crate) fn measure(&self, measures: bool) {
        self.measures.store(measures, Ordering::Relaxed);
    }

    /// Whether sessions that begin now are measured.
    pub(crate) fn measures(&self) -> bool {
        self.measures.load(Ordering::Relaxed)
    }

    /// Judges and acts by this from the next turn on. What was counted of routes and targets that stay is kept.
    pub(crate) fn configure(&self, budgets: RouteBudgets) {
        let RouteBudgets { routes, targets, tolerance, actions } = budgets;
        let named = routes.into_iter().enumerate().map(|(index, (route, budget))| {
            if index < MOST_WATCHED { (route, budget) } else { (OTHERS.to_owned(), budget) }
        });
        let mut watches = self.lock();
        (watches.actions, watches.tolerance) = (actions, tolerance);
        let mut before = std::mem::take(&mut watches.routes);
        self.metrics.latency_allowed.set(f64::from(tolerance.allowed) / 1_000.0);
        self.metrics.latency_budget_seconds.reset();
        self.metrics.latency_burn.reset();
        self.metrics.latency_advice.reset();
        let mut places = MOST_TARGETS;
        for (route, budget) in named {
            self.show_budget(&route, &budget);
            let mut watch = match before.remove(&route) {
                Some(mut watch) => {
                    watch.set(budget, tolerance, actions.hold);
                    watch
                }
                None => RouteWatch::new(budget, tolerance, actions.hold),
            };
            let targets = targets.get(&route).map(Vec::as_slice).unwrap_or_default();
            let targets = &targets[..targets.len().min(places)];
            places -= targets.len();
            watch.watch_targets(targets);
            for (target, advice) in watch.current() {
                self.metrics.latency_advised(&route, target, advice, true);
            }
            watches.routes.insert(route, watch);
        }
    }

    /// Counts a turn of a route, which one target served all of if that is known. What it breached.
    pub(crate) fn turn(&self, route: &str, target: Option<&str>, account: &TurnAccount) -> Vec<Breach> {
        let counted = self.with(route, |place| {
            let breaches = place.watch.turn(place.now, target, account);
            self.look(place);
            (place.name.to_owned(), breaches)
        });
        let (name, breaches) = counted.unwrap_or_else(|| (OTHERS.to_owned(), Vec::new()));
        self.metrics.turn_measured(&name, account);
        for breach in &breaches {
            self.metrics.latency_breached(&name, breach);
        }
        if let Some(target) = target {
            self.metrics.target_turn_measured(target, account, &breaches);
        }
        breaches
    }

    /// What the turns of a route may take; `None` if nobody watches it.
    pub(crate) fn budget(&self, route: &str) -> Option<LatencyBudget> {
        self.with(route, |place| place.watch.budget().clone())
    }

    /// The targets of a route that sessions are to pass over now while it has others.
    pub(crate) fn passed_over(&self, route: &str) -> BTreeSet<String> {
        let slow = self.with(route, |place| {
            if place.actions.prefer_another == PreferAnother::Never {
                return BTreeSet::new();
            }
            self.look(place);
            place.watch.passed_over().map(str::to_owned).collect()
        });
        slow.unwrap_or_default()
    }

    /// Why sessions of a route are to leave one of its targets; `None` if they are not.
    pub(crate) fn grounds_against(&self, route: &str, target: &str) -> Option<Grounds> {
        self.with(route, |place| place.watch.grounds(place.now, Some(target), Action::PreferAnother))?
    }

    /// Why optional work of a route is to be left out; `None` if it is not.
    fn grounds_to_shed(&self, route: &str) -> Option<Grounds> {
        self.with(route, |place| place.watch.grounds(place.now, None, Action::ShedOptional))?
    }

    /// Whether calls that run leave a target that is passed over.
    pub(crate) fn moves_running(&self) -> bool {
        self.prefer_another() == PreferAnother::NextTurn
    }

    /// Whose calls leave a slow target.
    pub(crate) fn prefer_another(&self) -> PreferAnother {
        self.lock().actions.prefer_another
    }

    /// Whether optional work of a route is to be left out now.
    fn sheds(&self, route: &str) -> bool {
        let sheds = self.with(route, |place| {
            if !place.actions.shed_optional {
                return false;
            }
            self.look(place);
            place.watch.sheds()
        });
        sheds.unwrap_or_default()
    }

    /// Optional work of a route was left out.
    fn shed(&self, route: &str, work: Optional) {
        let name = self.with(route, |place| place.name.to_owned()).unwrap_or_else(|| OTHERS.to_owned());
        self.metrics.latency_shed.with_label_values(&[name.as_str(), work.as_str()]).inc();
    }

    /// When slow turns are too many.
    pub(crate) fn tolerance(&self) -> Tolerance {
        self.lock().tolerance
    }

    /// What every route may take, how fast it burns and what is to be done about it, in the order of their names.
    pub(crate) fn report(&self) -> Vec<RouteReport> {
        let now = self.began.elapsed();
        let mut watches = self.lock();
        let Watches { actions, routes, .. } = &mut *watches;
        let reports = routes.iter_mut().map(|(name, watch)| {
            self.look(&mut Place { now, name, actions: *actions, watch });
            let budgeted = Subject::all().filter(|subject| watch.budget().of_subject(*subject).is_some());
            let burn = |subject| (subject, Window::ALL.map(|window| watch.burn(now, window, subject)));
            RouteReport {
                route: name.clone(),
                budget: watch.budget().clone(),
                turns: Window::ALL.map(|window| watch.turns(now, window)),
                burn: budgeted.map(burn).collect(),
                advice: watch.held().map(|(target, held)| (target.map(str::to_owned), held)).collect(),
                now,
            }
        });
        reports.collect()
    }

    /// Brings burn and advice up to date, which change as time passes even without a turn.
    pub(crate) fn show(&self) {
        for RouteReport { route, burn, .. } in self.report() {
            for (subject, burn) in burn {
                for (window, burn) in Window::ALL.into_iter().zip(burn) {
                    let labels = [route.as_str(), subject.as_str(), window.as_str()];
                    self.metrics.latency_burn.with_label_values(&labels).set(burn);
                }
            }
        }
    }

    fn show_budget(&self, route: &str, budget: &LatencyBudget) {
        for subject in Subject::all() {
            if let Some(time) = budget.of_subject(subject) {
                let gauge = &self.metrics.latency_budget_seconds;
                gauge.with_label_values(&[route, subject.as_str()]).set(time.as_secs_f64());
            }
        }
    }

    /// Brings up to date what is done, and tells what changed. Once, since the lock is held.
    fn look(&self, place: &mut Place<'_>) {
        for RouteChange { target, change } in place.watch.look(place.now) {
            let Advice { action, subject, owner } = change.advice;
            if action == Action::Alert && !place.actions.alert {
                continue;
            }
            self.metrics.latency_advised(place.name, target.as_deref(), change.advice, change.begins);
            let owner = owner.map_or("nobody", HopOwner::as_str);
            let (action, subject) = (action.as_str(), subject.as_str());
            let (route, target) = (place.name, target.as_deref());
            if change.begins {
                tracing::warn!(route, target, action, subject, owner, "turns are too slow");
            } else {
                tracing::info!(route, target, action, subject, owner, "turns are quick enough again");
            }
        }
    }

    /// `None` if no such route is watched.
    fn with<T>(&self, route: &str, act: impl FnOnce(&mut Place<'_>) -> T) -> Option<T> {
        let now = self.began.elapsed();
        let mut watches = self.lock();
        let Watches { actions, routes, .. } = &mut *watches;
        let name = if routes.contains_key(route) { route } else { OTHERS };
        let watch = routes.get_mut(name)?;
        Some(act(&mut Place { now, name, actions: *actions, watch }))
    }

    fn lock(&self) -> MutexGuard<'_, Watches> {
        self.watches.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A route that is looked at while the lock is held.
struct Place<'a> {
    now: Duration,
    /// Under which it is watched.
    name: &'a str,
    actions: Actions,
    watch: &'a mut RouteWatch,
}

/// How the turns of one route are.
#[derive(Clone, Debug)]
pub(crate) struct RouteReport {
    /// Its pattern, or `other`.
    pub(crate) route: String,
    pub(crate) budget: LatencyBudget,
    /// Heard over the windows of [`Window::ALL`], slow or not.
    pub(crate) turns: [u64; 3],
    /// Of every subject with a budget, over the windows of [`Window::ALL`].
    pub(crate) burn: Vec<(Subject, [f64; 3])>,
    /// What is to be done, about the route or one target of it, with times on the clock of `now`.
    pub(crate) advice: Vec<(Option<String>, Held)>,
    /// When this was reported.
    pub(crate) now: Duration,
}

impl std::fmt::Debug for LatencyDesk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LatencyDesk").finish_non_exhaustive()
    }
}

#[cfg(test)]
impl LatencyDesk {
    /// One that watches no route.
    pub(crate) fn idle() -> Arc<Self> {
        Arc::new(Self::new(RouteBudgets::default(), Arc::new(Metrics::new().unwrap())))
    }

    /// One of a gateway that does not measure.
    pub(crate) fn unmeasuring() -> Arc<Self> {
        let desk = Self::idle();
        desk.measure(false);
        desk
    }

    /// One that leaves out the optional work of this route.
    pub(crate) fn shedding(route: &str) -> Arc<Self> {
        let desk = Self::new(tests::strict(route, tests::SHEDDING), Arc::new(Metrics::new().unwrap()));
        desk.turn(route, None, &tests::slow_at(voxgate_protocol::timeline::Hop::Pacing));
        Arc::new(desk)
    }
}

#[cfg(test)]
mod tests;
