//! What turns may take.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use voxgate_protocol::timeline::Hop;
use voxgate_telemetry::latency::budget::LatencyBudget;
use voxgate_telemetry::latency::watch::Tolerance;

use super::routes::Route;
use super::written::{Provider, Written};
use crate::latency::RouteBudgets;

/// What turns may take from the caller's last word to the caller's ear, and when slow ones are too many.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Latency {
    /// For routes to providers that recognise, think and speak one after the other (`local`). Default: 1.5 s, after which
    /// callers repeat themselves or leave.
    cascade: Budget,
    /// For routes to models that hear and speak (`openai-realtime`). Default: 1.2 s; above a second a pause is awkward, and
    /// the default pause alone is half of it.
    speech_to_speech: Budget,
    /// Instead of those, by the `model` of a route; what is not named stays. Default: none.
    routes: BTreeMap<String, Budget>,
    /// How many of a thousand turns may be slower, 1 to 1000. Default 50: budgets are for the 95th percentile.
    allowed: u32,
    /// Burn over five minutes and over the hour from which on a route is too slow: how many times the allowance is used.
    /// Default 6, three turns of ten.
    fast: u32,
    /// The same over the hour and over six hours. Default 3.
    slow: u32,
    /// Turns in the shorter window without which nothing is concluded. Default 10.
    turns: u32,
}

impl Default for Latency {
    fn default() -> Self {
        let Tolerance { allowed, fast, slow, turns } = Tolerance::default();
        Self {
            cascade: Budget::default(),
            speech_to_speech: Budget::default(),
            routes: BTreeMap::new(),
            allowed,
            fast,
            slow,
            turns,
        }
    }
}

/// What a turn and its hops may take. `0ms` is no budget.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
struct Budget {
    /// From mouth to ear.
    whole: Option<Limit>,
    /// Hop by hop. They may sum to more than the whole: not all are slow at once.
    hops: BTreeMap<Hop, Limit>,
}

/// Not longer than a turn may last.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
#[serde(transparent)]
struct Limit(#[serde(with = "humantime_serde")] Duration);

impl Budget {
    fn lay_over(&self, budget: &mut LatencyBudget) {
        if let Some(Limit(whole)) = self.whole {
            budget.whole = Some(whole).filter(|whole| !whole.is_zero());
        }
        for (hop, Limit(time)) in &self.hops {
            if time.is_zero() {
                budget.hops.remove(hop);
            } else {
                budget.hops.insert(*hop, *time);
            }
        }
    }
}

/// The budget of every route.
pub(super) fn check(written: &Written, problems: &mut Vec<String>) -> RouteBudgets {
    let Latency { allowed, fast, slow, turns, .. } = written.latency;
    let tolerance = Tolerance { allowed, fast, slow, turns };
    if !tolerance.is_possible() {
        problems.push(
            "latency.allowed, latency.fast and latency.slow must be at least 1, and allowed times fast or slow at most 1000"
                .to_owned(),
        );
    }
    for name in written.latency.routes.keys() {
        if !written.routes.iter().any(|route| route.model() == name) {
            problems.push(format!("latency.routes.{name} is the model of none of the routes"));
        }
    }
    let routes =
        written.routes.iter().map(|route| (route.model().to_owned(), budget(written, route, problems)));
    RouteBudgets { routes: routes.collect(), tolerance }
}

fn budget(written: &Written, route: &Route, problems: &mut Vec<String>) -> LatencyBudget {
    let speaks_itself = route
        .providers()
        .filter_map(|name| written.providers.get(name))
        .any(|provider| matches!(provider, Provider::OpenaiRealtime { .. }));
    let (mut budget, over) = if speaks_itself {
        (LatencyBudget::speech_to_speech(), &written.latency.speech_to_speech)
    } else {
        (LatencyBudget::cascade(), &written.latency.cascade)
    };
    over.lay_over(&mut budget);
    let own = written.latency.routes.get(route.model());
    own.inspect(|own| own.lay_over(&mut budget));
    for subject in budget.faults() {
        let (model, subject) = (route.model(), subject.as_str());
        problems.push(format!(
            "latency: the budget of {subject} for the route {model} is longer than that of the whole, or than an hour"
        ));
    }
    budget
}

#[cfg(test)]
mod tests {
    use super::super::{ConfigError, check as check_all, parse};
    use super::*;

    const ROUTES: &str = "
providers:
  local: { kind: local }
  vendor: { kind: openai-realtime }
routes: [{ model: '*', provider: local }, { model: 'gpt-*', provider: vendor }]
";

    fn budgets(text: &str) -> Result<RouteBudgets, Vec<String>> {
        match check_all(&parse(&format!("{ROUTES}{text}")).unwrap(), &|_| None) {
            Ok(checked) => Ok(checked.latency),
            Err(ConfigError::Problems(problems)) => Err(problems),
            Err(other) => panic!("{other}"),
        }
    }

    const fn ms(ms: u64) -> Option<Duration> {
        Some(Duration::from_millis(ms))
    }

    #[test]
    fn a_route_has_the_budget_of_its_kind_of_provider() {
        let budgets = budgets("").unwrap();
        assert_eq!(budgets.routes["*"], LatencyBudget::cascade());
        assert_eq!(budgets.routes["gpt-*"], LatencyBudget::speech_to_speech());
        assert_eq!(budgets.tolerance, Tolerance::default());
    }

    #[test]
    fn what_is_named_replaces_what_holds_by_default_and_zero_takes_it_away() {
        let text = "
latency:
  allowed: 10
  speech_to_speech: { whole: 1s, hops: { model: 400ms, playout: 0ms } }
  routes: { 'gpt-*': { hops: { model: 300ms, unattributed: 50ms } } }
";
        let budgets = budgets(text).unwrap();
        let route = &budgets.routes["gpt-*"];
        assert_eq!((route.whole, budgets.tolerance.allowed), (ms(1_000), 10));
        let of = |hop: Hop| route.hops.get(&hop).copied();
        assert_eq!((of(Hop::Model), of(Hop::Unattributed), of(Hop::Playout)), (ms(300), ms(50), None));
        assert_eq!(of(Hop::Uplink), ms(50));
        assert_eq!(budgets.routes["*"], LatencyBudget::cascade());
    }

    #[test]
    fn budgets_that_make_no_sense_are_reported() {
        let text = "
latency:
  allowed: 500
  cascade: { whole: 400ms }
  routes: { gone: { whole: 1s }, 'gpt-*': { whole: 2h } }
";
        let problems = budgets(text).unwrap_err();
        let about = |words: &str| problems.iter().filter(|problem| problem.contains(words)).count();
        assert_eq!((about("allowed"), about("latency.routes.gone")), (1, 1), "{problems:#?}");
        assert_eq!((about("endpointing for the route *"), about("whole for the route gpt-*")), (1, 1));
        assert!(parse("latency: { cascade: { hops: { teleport: 1ms } } }").is_err());
    }
}
