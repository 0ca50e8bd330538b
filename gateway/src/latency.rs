//! What the turns of this process's routes may take, and what they took.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use voxgate_telemetry::latency::account::TurnAccount;
use voxgate_telemetry::latency::budget::{Breach, LatencyBudget, Subject};
use voxgate_telemetry::latency::burn::Window;
use voxgate_telemetry::latency::watch::{LatencyWatch, Tolerance};
use voxgate_telemetry::metrics::Metrics;

/// Routes that are watched one by one: 55 kB and a few hundred time series each. Those after them in the order of their
/// names are watched together.
const MOST_WATCHED: usize = 64;

/// The name under which the others are watched.
const OTHERS: &str = "other";

/// What the turns of each route may take.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct RouteBudgets {
    /// By the route's pattern.
    pub(crate) routes: BTreeMap<String, LatencyBudget>,
    /// When slow turns are too many.
    pub(crate) tolerance: Tolerance,
}

/// Watches the turns of every route. A turn costs it one short lock; nothing waits for it.
pub(crate) struct LatencyDesk {
    /// The clock of the watches counts from here.
    began: Instant,
    metrics: Arc<Metrics>,
    watches: Mutex<BTreeMap<String, LatencyWatch>>,
}

impl LatencyDesk {
    pub(crate) fn new(budgets: RouteBudgets, metrics: Arc<Metrics>) -> Self {
        let desk = Self { began: Instant::now(), metrics, watches: Mutex::default() };
        desk.configure(budgets);
        desk
    }

    /// Judges by these budgets from the next turn on. What was counted of routes that stay is kept.
    pub(crate) fn configure(&self, budgets: RouteBudgets) {
        let RouteBudgets { routes, tolerance } = budgets;
        let named = routes.into_iter().enumerate().map(|(index, (route, budget))| {
            if index < MOST_WATCHED { (route, budget) } else { (OTHERS.to_owned(), budget) }
        });
        let mut known = self.watches.lock().unwrap_or_else(PoisonError::into_inner);
        let mut before = std::mem::take(&mut *known);
        self.metrics.latency_budget_seconds.reset();
        self.metrics.latency_burn.reset();
        for (route, budget) in named {
            self.show_budget(&route, &budget);
            let watch = match before.remove(&route) {
                Some(mut watch) => {
                    watch.set_budget(budget, tolerance);
                    watch
                }
                None => LatencyWatch::new(budget, tolerance),
            };
            known.insert(route, watch);
        }
    }

    /// Counts a turn of a route. What it breached.
    pub(crate) fn turn(&self, route: &str, account: &TurnAccount) -> Vec<Breach> {
        let now = self.began.elapsed();
        let mut watches = self.watches.lock().unwrap_or_else(PoisonError::into_inner);
        let name = if watches.contains_key(route) { route } else { OTHERS };
        let breaches = watches.get_mut(name).map(|watch| watch.turn(now, account)).unwrap_or_default();
        drop(watches);
        self.metrics.turn_measured(name, account);
        for breach in &breaches {
            self.metrics.latency_breached(name, breach);
        }
        breaches
    }

    /// What the turns of a route may take; `None` if nobody watches it.
    pub(crate) fn budget(&self, route: &str) -> Option<LatencyBudget> {
        let watches = self.watches.lock().unwrap_or_else(PoisonError::into_inner);
        watches.get(route).or_else(|| watches.get(OTHERS)).map(|watch| watch.budget().clone())
    }

    /// Brings the burn up to date, which changes as time passes even without a turn.
    pub(crate) fn show(&self) {
        let now = self.began.elapsed();
        let watches = self.watches.lock().unwrap_or_else(PoisonError::into_inner);
        for (route, watch) in watches.iter() {
            self.show_burn(now, route, watch);
        }
    }

    fn show_burn(&self, now: Duration, route: &str, watch: &LatencyWatch) {
        let budgeted = Subject::all().filter(|subject| watch.budget().of_subject(*subject).is_some());
        for subject in budgeted {
            for window in Window::ALL {
                let labels = [route, subject.as_str(), window.as_str()];
                let burn = watch.burn(now, window, subject);
                self.metrics.latency_burn.with_label_values(&labels).set(burn);
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
}

#[cfg(test)]
mod tests {
    use voxgate_protocol::timeline::{Certainty, Hop};
    use voxgate_protocol::trace::{Moment, TurnTrace, Work};

    use super::*;

    fn turn(model: u64) -> TurnAccount {
        let (from, to) = (Moment::read(Duration::ZERO), Moment::read(Duration::from_millis(model)));
        let works = vec![Work { hop: Hop::Model, from, to }];
        let account = TurnAccount::from_trace(&TurnTrace::new(1, from, to, works)).unwrap();
        assert_eq!(account.whole.certainty, Certainty::Measured);
        account
    }

    fn budgets(routes: &[&str], whole: u64) -> RouteBudgets {
        let budget =
            LatencyBudget { whole: Some(Duration::from_millis(whole)), ..LatencyBudget::speech_to_speech() };
        let routes = routes.iter().map(|route| ((*route).to_owned(), budget.clone())).collect();
        RouteBudgets { routes, tolerance: Tolerance::default() }
    }

    fn shown(metrics: &Metrics, line: &str) -> bool {
        metrics.render().unwrap().lines().any(|shown| shown == line)
    }

    #[test]
    fn a_slow_turn_is_counted_under_its_route_with_the_hop_and_the_owner_that_spent_it() {
        let metrics = Arc::new(Metrics::new().unwrap());
        let desk = LatencyDesk::new(budgets(&["gpt-*"], 1_200), Arc::clone(&metrics));
        assert_eq!(desk.turn("gpt-*", &turn(500)), []);
        assert_eq!(desk.turn("gpt-*", &turn(1_300)).len(), 2);
        desk.show();
        let counted = |line: &str| assert!(shown(&metrics, line), "{line}\n{}", metrics.render().unwrap());
        counted(
            r#"voxgate_latency_breaches_total{owner="provider",route="gpt-*",spender="model",subject="whole"} 1"#,
        );
        counted(
            r#"voxgate_latency_breaches_total{owner="provider",route="gpt-*",spender="model",subject="model"} 1"#,
        );
        counted(r#"voxgate_latency_burn_ratio{route="gpt-*",subject="whole",window="5m"} 10"#);
        counted(r#"voxgate_latency_burn_ratio{route="gpt-*",subject="encode",window="6h"} 0"#);
        counted(r#"voxgate_latency_budget_seconds{route="gpt-*",subject="whole"} 1.2"#);
        counted(r#"voxgate_turn_hop_seconds_sum{hop="model",owner="provider",route="gpt-*"} 1.8"#);
    }

    #[test]
    fn another_budget_judges_the_next_turn_and_forgets_no_turn() {
        let metrics = Arc::new(Metrics::new().unwrap());
        let desk = LatencyDesk::new(budgets(&["a", "b"], 1_200), Arc::clone(&metrics));
        desk.turn("a", &turn(1_300));
        desk.configure(budgets(&["a"], 1_400));
        assert!(desk.turn("a", &turn(1_300)).iter().all(|breach| breach.subject != Subject::Whole));
        desk.show();
        assert!(shown(&metrics, r#"voxgate_latency_burn_ratio{route="a",subject="whole",window="1h"} 10"#));
        assert!(!metrics.render().unwrap().contains(r#"burn_ratio{route="b""#));
    }

    #[test]
    fn routes_beyond_the_limit_and_routes_that_went_are_watched_together() {
        let names: Vec<String> = (0..70).map(|number| format!("m{number:02}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let metrics = Arc::new(Metrics::new().unwrap());
        let desk = LatencyDesk::new(budgets(&names, 1_200), Arc::clone(&metrics));
        for route in ["m00", "m69", "gone"] {
            assert_eq!(desk.turn(route, &turn(1_300)).len(), 2, "{route}");
        }
        assert!(shown(&metrics, r#"voxgate_turn_seconds_count{route="m00"} 1"#));
        assert!(shown(&metrics, r#"voxgate_turn_seconds_count{route="other"} 2"#));
    }
}
