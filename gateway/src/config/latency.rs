//! What turns may take.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use voxgate_protocol::timeline::Hop;
use voxgate_telemetry::latency::budget::LatencyBudget;
use voxgate_telemetry::latency::hold::HoldRule;
use voxgate_telemetry::latency::watch::Tolerance;

use voxgate_policy::routing::RouteTable;

use super::routes::Route;
use super::written::{Provider, Written};
use crate::latency::{Actions, PreferAnother, RouteBudgets};

/// How long an action may be held.
const HOLDS: std::ops::RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_hours(24);

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
    /// What is done then.
    actions: WrittenActions,
}

/// What is done about a route or a target that is too slow, from the next turn on. Nothing of it slows a call down.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
struct WrittenActions {
    /// Whether it is told: in the log when it begins and ends, and by `voxgate_latency_advice`. Default true.
    alert: bool,
    /// Whether a target whose own hops burn is passed over while its route has another that is not: `never`, `new_calls` (and
    /// calls of routes that `follow_better`), `next_turn` (every call, between two turns). Its circuit stays closed. Default
    /// `never`: the other target may be dearer, and sound like somebody else.
    prefer_another: WrittenPreference,
    /// Whether optional work of a route is left out while the gateway's own hops burn: questions to guardrail webhooks that fail
    /// open, mask nothing and are in no set, and the voices in replay logs of sessions that begin. Never what is demanded,
    /// nor money, nor the audit log. Default false: you asked for that work.
    shed_optional: bool,
    /// How long that is done at least, 1 s to 24 h. Then a target is tried again. Default 5 min.
    #[serde(with = "humantime_serde")]
    hold: Duration,
    /// What that time becomes, doubling each time it is needed again soon, up to 24 h. Default 1 h.
    #[serde(with = "humantime_serde")]
    longest_hold: Duration,
}

impl Default for WrittenActions {
    fn default() -> Self {
        let HoldRule { shortest, longest } = HoldRule::default();
        Self {
            alert: true,
            prefer_another: WrittenPreference::default(),
            shed_optional: false,
            hold: shortest,
            longest_hold: longest,
        }
    }
}

/// Whose calls leave a slow target.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
enum WrittenPreference {
    /// Nobody's.
    #[default]
    Never,
    /// Calls that begin.
    NewCalls,
    /// Every call.
    NextTurn,
}

impl WrittenActions {
    fn check(self, problems: &mut Vec<String>) -> Actions {
        let Self { alert, prefer_another, shed_optional, hold, longest_hold } = self;
        if !HOLDS.contains(&hold) || !HOLDS.contains(&longest_hold) {
            problems
                .push("latency.actions.hold and latency.actions.longest_hold must be 1s to 24h".to_owned());
        }
        if longest_hold < hold {
            problems.push("latency.actions.longest_hold is shorter than latency.actions.hold".to_owned());
        }
        let prefer_another = match prefer_another {
            WrittenPreference::Never => PreferAnother::Never,
            WrittenPreference::NewCalls => PreferAnother::NewCalls,
            WrittenPreference::NextTurn => PreferAnother::NextTurn,
        };
        let hold = HoldRule { shortest: hold, longest: longest_hold };
        Actions { alert, prefer_another, shed_optional, hold }
    }
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
            actions: WrittenActions::default(),
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
pub(super) fn check(written: &Written, table: &RouteTable, problems: &mut Vec<String>) -> RouteBudgets {
    let Latency { allowed, fast, slow, turns, actions, .. } = written.latency;
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
    let routes = routes.collect();
    let with_choice = table.routes().filter(|route| route.has_choice());
    let targets = with_choice.map(|route| {
        let names = route.targets.iter().map(voxgate_policy::routing::Target::name);
        (route.pattern.to_string(), names.collect())
    });
    RouteBudgets { routes, targets: targets.collect(), tolerance, actions: actions.check(problems) }
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
