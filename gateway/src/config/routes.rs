//! Which model name leads to which providers.

use std::collections::BTreeSet;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use voxgate_policy::routing::{
    self, BreakerRule, ModelPattern, Offers, Preference, RouteTable, Switching, Target as PolicyTarget,
};
use voxgate_protocol::money::NanoDollars;

use super::written::{self, Written};

/// Targets of one route anybody may list; each is compared at every choice.
const MOST_TARGETS: usize = 32;

/// Shares anybody may give.
const WEIGHTS: std::ops::RangeInclusive<u32> = 0..=10_000;

/// How long a target may take, or be silent: below, no provider is quick enough; above, no caller waits.
const PATIENCE: std::ops::RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_mins(1);

/// How long a target may be left alone.
const COOL_DOWNS: std::ops::RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_hours(24);

/// A model name and where it leads: to one `provider`, or to one of several `targets`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Route {
    /// A name, or a beginning followed by `*`.
    model: String,
    /// The name of a provider.
    provider: Option<String>,
    /// The name the provider knows the model by. Default: the client's name.
    provider_model: Option<String>,
    /// Several places that serve the model, instead of `provider`. When one fails, before a call or during it, another
    /// takes over with the conversation so far.
    #[serde(default)]
    targets: Vec<Target>,
    /// What decides between targets of one priority that are well: `weight`, `latency` (how soon their answers begin to
    /// sound, as measured) or `cost`. Default `weight`.
    #[serde(default)]
    prefer: Prefer,
    /// When a session changes its target.
    #[serde(default)]
    switch: Switch,
}

impl Route {
    /// For which names.
    pub(super) fn model(&self) -> &str {
        &self.model
    }

    /// Who may serve them.
    pub(super) fn providers(&self) -> impl Iterator<Item = &str> {
        let listed = self.targets.iter().map(|target| target.provider.as_str());
        self.provider.as_deref().into_iter().chain(listed)
    }

    /// The short form.
    pub(crate) fn to(model: &str, provider: &str) -> Self {
        Self {
            model: model.to_owned(),
            provider: Some(provider.to_owned()),
            provider_model: None,
            targets: Vec::new(),
            prefer: Prefer::default(),
            switch: Switch::default(),
        }
    }
}

/// A place that serves a model.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Target {
    /// The name of a provider. Those of one route are of the kind `openai-realtime` and find turns on the same side.
    provider: String,
    /// The name the provider knows the model by. Default: the client's name.
    provider_model: Option<String>,
    /// Targets with a smaller number go first; the next ones serve while none of these can. Default 0.
    #[serde(default)]
    priority: u32,
    /// Its share among targets of one priority, 0 to 10000; with 0 it gets no session. Default 1.
    #[serde(default = "one")]
    weight: u32,
    /// US dollars a minute of conversation costs there, for `prefer: cost`. Default: dearer than any that says it.
    cost_per_minute: Option<String>,
    /// Whether it speaks. Sessions with spoken answers go elsewhere if not. Default true.
    #[serde(default = "yes")]
    speech: bool,
    /// Whether it calls tools. Default true.
    #[serde(default = "yes")]
    tools: bool,
    /// Whether it takes sessions that only write down what is said. Default true.
    #[serde(default = "yes")]
    transcription: bool,
    /// The languages it knows (ISO 639-1), for clients that name theirs. Default: every one.
    languages: Option<BTreeSet<String>>,
}

const fn one() -> u32 {
    1
}

const fn yes() -> bool {
    true
}

/// What decides between targets of one priority.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
enum Prefer {
    /// Chance, by weight.
    #[default]
    Weight,
    /// The fastest.
    Latency,
    /// The cheapest.
    Cost,
}

/// When a session changes its target.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
struct Switch {
    /// How long one target may take to take the session while another could, 100 ms to 1 min. Default 3 s: several times
    /// what a provider needs, and a caller still waits.
    #[serde(with = "humantime_serde")]
    attempt: Duration,
    /// How long all attempts before a call may take together, up to 1 min. Default 10 s.
    #[serde(with = "humantime_serde")]
    budget: Duration,
    /// How long an answer may give nothing and leave nothing to play before another target is asked, up to 1 min. Default
    /// 5 s: the slowest models think for three.
    #[serde(with = "humantime_serde")]
    silence: Duration,
    /// Whether a session also moves, between two turns, to a better target that is well again. Default false: it stays with
    /// whoever serves it well.
    follow_better: bool,
}

impl Default for Switch {
    fn default() -> Self {
        let Switching { attempt, budget, silence, follows_better } = Switching::default();
        Self { attempt, budget, silence, follow_better: follows_better }
    }
}

/// When targets that fail are left alone.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Routing {
    /// Failures in a row after which a target gets no more sessions, at least 1. One that refuses the key or has too much to
    /// do gets none at once. Default 3: one may be chance.
    failures: u32,
    /// For how long, until one session is let through to see; doubles each time that one fails. Default 10 s.
    #[serde(with = "humantime_serde")]
    cool_down: Duration,
    /// The longest it becomes. Default 5 min.
    #[serde(with = "humantime_serde")]
    longest_cool_down: Duration,
}

impl Default for Routing {
    fn default() -> Self {
        let BreakerRule { failures, cool_down, longest_cool_down } = BreakerRule::default();
        Self { failures, cool_down, longest_cool_down }
    }
}

/// The routes, and when their targets are left alone.
pub(super) fn check(written: &Written, problems: &mut Vec<String>) -> (RouteTable, BreakerRule) {
    if written.routes.is_empty() {
        problems.push("routes is empty; at least one model must lead to a provider".to_owned());
    }
    let routes = written
        .routes
        .iter()
        .enumerate()
        .filter_map(|(index, route)| check_route(written, &format!("routes[{index}]"), route, problems));
    let table = RouteTable::new(routes.collect());
    (table, check_breaker(written.routing, problems))
}

fn check_route(
    written: &Written,
    place: &str,
    route: &Route,
    problems: &mut Vec<String>,
) -> Option<routing::Route> {
    let pattern =
        ModelPattern::parse(&route.model).map_err(|error| problems.push(format!("{place}: {error}")));
    let targets = match (&route.provider, route.targets.as_slice()) {
        (Some(provider), []) => {
            let short = PolicyTarget::new(provider, route.provider_model.as_deref());
            vec![short_target(written, place, short, problems)]
        }
        (None, targets @ [_, ..]) => check_targets(written, place, targets, problems),
        (Some(_), _) => {
            problems.push(format!("{place} has both provider and targets; keep one"));
            return None;
        }
        (None, []) => {
            problems.push(format!("{place} leads nowhere; it needs a provider or targets"));
            return None;
        }
    };
    if route.provider.is_none() && route.provider_model.is_some() {
        problems.push(format!("{place}.provider_model belongs to each of the targets"));
    }
    let switching = check_switch(place, route.switch, problems);
    let preference = match route.prefer {
        Prefer::Weight => Preference::Weight,
        Prefer::Latency => Preference::Latency,
        Prefer::Cost => Preference::Cost,
    };
    Some(routing::Route { pattern: pattern.ok()?, targets, preference, switching })
}

fn short_target(
    written: &Written,
    place: &str,
    target: PolicyTarget,
    problems: &mut Vec<String>,
) -> PolicyTarget {
    if !written.providers.contains_key(&target.provider) {
        problems.push(format!(
            "{place} leads to the provider {:?}, which is not among providers",
            target.provider
        ));
    }
    PolicyTarget { region: region(written, &target.provider), ..target }
}

fn check_targets(
    written: &Written,
    place: &str,
    targets: &[Target],
    problems: &mut Vec<String>,
) -> Vec<PolicyTarget> {
    if targets.len() > MOST_TARGETS {
        problems.push(format!("{place}.targets has more than {MOST_TARGETS} entries"));
    }
    if targets.iter().all(|target| target.weight == 0) {
        problems.push(format!("{place}.targets all have weight 0, so none gets a session"));
    }
    let names: BTreeSet<_> =
        targets.iter().map(|target| (&target.provider, &target.provider_model)).collect();
    if names.len() < targets.len() {
        problems.push(format!("{place}.targets names one target twice"));
    }
    check_alike(written, place, targets, problems);
    let each = targets.iter().enumerate();
    each.map(|(index, target)| check_target(written, &format!("{place}.targets[{index}]"), target, problems))
        .collect()
}

/// A conversation moves only between targets that hear and speak the same way.
fn check_alike(written: &Written, place: &str, targets: &[Target], problems: &mut Vec<String>) {
    if targets.len() < 2 {
        return;
    }
    let mut sides = BTreeSet::new();
    for target in targets {
        match written.providers.get(&target.provider) {
            Some(written::Provider::OpenaiRealtime { turn_detection, .. }) => {
                sides.insert(matches!(turn_detection, written::TurnSide::Gateway));
            }
            Some(written::Provider::Local { .. }) => problems.push(format!(
                "{place}.targets has the provider {:?} of kind local among others; a conversation moves only between \
                 providers of kind openai-realtime",
                target.provider
            )),
            None => {}
        }
    }
    if sides.len() > 1 {
        problems.push(format!(
            "{place}.targets find turns on different sides; give their providers the same turn_detection"
        ));
    }
}

fn check_target(written: &Written, place: &str, target: &Target, problems: &mut Vec<String>) -> PolicyTarget {
    if !WEIGHTS.contains(&target.weight) {
        problems.push(format!("{place}.weight is {}; it must be 0 to 10000", target.weight));
    }
    let cost = target.cost_per_minute.as_ref().and_then(|amount| match NanoDollars::from_dollars(amount) {
        Ok(cost) if cost >= NanoDollars::ZERO => Some(cost),
        Ok(_) => {
            problems.push(format!("{place}.cost_per_minute is below zero"));
            None
        }
        Err(error) => {
            problems.push(format!("{place}.cost_per_minute: {error}"));
            None
        }
    });
    let languages = target.languages.as_ref().map(|languages| {
        if languages.is_empty() || languages.iter().any(|name| !is_language(name)) {
            problems.push(format!("{place}.languages must be names such as en and de"));
        }
        languages.iter().map(|name| name.to_ascii_lowercase()).collect()
    });
    let Target { speech, tools, transcription, .. } = *target;
    let bare = PolicyTarget::new(&target.provider, target.provider_model.as_deref());
    let checked = PolicyTarget {
        priority: target.priority,
        weight: target.weight,
        cost,
        offers: Offers { speech, tools, transcription, languages },
        ..bare
    };
    short_target(written, place, checked, problems)
}

fn is_language(name: &str) -> bool {
    (2..=3).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_alphabetic())
}

fn check_switch(place: &str, switch: Switch, problems: &mut Vec<String>) -> Switching {
    let Switch { attempt, budget, silence, follow_better } = switch;
    for (name, time) in [("attempt", attempt), ("budget", budget), ("silence", silence)] {
        if !PATIENCE.contains(&time) {
            problems.push(format!("{place}.switch.{name} must be 100ms to 1m"));
        }
    }
    if budget < attempt {
        problems.push(format!("{place}.switch.budget is shorter than one attempt"));
    }
    Switching { attempt, budget, silence, follows_better: follow_better }
}

fn check_breaker(routing: Routing, problems: &mut Vec<String>) -> BreakerRule {
    let Routing { failures, cool_down, longest_cool_down } = routing;
    if failures == 0 {
        problems.push("routing.failures must be at least 1".to_owned());
    }
    if !COOL_DOWNS.contains(&cool_down) || !COOL_DOWNS.contains(&longest_cool_down) {
        problems.push("routing.cool_down and routing.longest_cool_down must be 1s to 24h".to_owned());
    }
    if longest_cool_down < cool_down {
        problems.push("routing.longest_cool_down is shorter than routing.cool_down".to_owned());
    }
    BreakerRule { failures, cool_down, longest_cool_down }
}

/// Where a provider works, as far as it is said.
fn region(written: &Written, provider: &str) -> Option<String> {
    match written.providers.get(provider)? {
        written::Provider::OpenaiRealtime { region, .. } => region.clone(),
        written::Provider::Local { .. } => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::{ConfigError, check as check_all, parse};
    use super::*;

    const PROVIDERS: &str = "
providers:
  local: { kind: local }
  us: { kind: openai-realtime, region: us }
  eu: { kind: openai-realtime, region: eu }
  ours: { kind: openai-realtime, turn_detection: gateway }
";

    fn routes(text: &str) -> Result<RouteTable, Vec<String>> {
        let written = parse(&format!("{PROVIDERS}{text}")).unwrap();
        match check_all(&written, &|_| None) {
            Ok(checked) => Ok(checked.routes),
            Err(ConfigError::Problems(problems)) => Err(problems),
            Err(other) => panic!("{other}"),
        }
    }

    #[test]
    fn the_short_form_is_one_target() {
        let table = routes("routes: [{ model: '*', provider: eu, provider_model: m }]").unwrap();
        let route = table.resolve("anything").unwrap();
        assert_eq!(route.targets.len(), 1);
        assert_eq!(
            (route.targets[0].name(), route.targets[0].region.as_deref()),
            ("eu/m".to_owned(), Some("eu"))
        );
    }

    #[test]
    fn the_long_form_says_everything_about_each_target() {
        let text = "
routes:
  - model: 'gpt-*'
    prefer: cost
    switch: { attempt: 1s, budget: 4s, silence: 2s, follow_better: true }
    targets:
      - { provider: us, weight: 3, cost_per_minute: '0.10', languages: [EN, de] }
      - { provider: eu, provider_model: m, priority: 1, tools: false }
";
        let table = routes(text).unwrap();
        let route = table.resolve("gpt-realtime").unwrap();
        assert_eq!(route.preference, Preference::Cost);
        assert!(route.switching.follows_better);
        assert_eq!(route.switching.attempt, Duration::from_secs(1));
        let [us, eu] = &route.targets[..] else { panic!("{route:?}") };
        assert_eq!((us.weight, us.cost), (3, Some(NanoDollars::new(100_000_000))));
        assert_eq!(us.offers.languages, Some(["en".to_owned(), "de".to_owned()].into()));
        assert_eq!((eu.priority, eu.offers.tools, eu.name()), (1, false, "eu/m".to_owned()));
    }

    #[test]
    fn what_makes_no_sense_is_reported_together() {
        let text = "
routing: { failures: 0, cool_down: 1m, longest_cool_down: 30s }
routes:
  - { model: a, provider: us, targets: [{ provider: eu }] }
  - { model: b }
  - { model: c, provider_model: m, targets: [{ provider: us }, { provider: us }] }
  - { model: d, targets: [{ provider: local }, { provider: us }] }
  - { model: e, targets: [{ provider: us }, { provider: ours }] }
  - { model: f, switch: { attempt: 5s, budget: 1s, silence: 2h }, targets: [{ provider: us, weight: 0 }] }
  - { model: g, targets: [{ provider: gone, weight: 20000, cost_per_minute: much, languages: [english] }] }
";
        let problems = routes(text).unwrap_err();
        assert_eq!(problems.len(), 15, "{problems:#?}");
    }
}
