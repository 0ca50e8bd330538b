//! Which target a session gets.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use voxgate_protocol::money::NanoDollars;

use super::health::{BreakerRule, CircuitState, Health, Outcome};
use super::target::{Needs, Target};
use super::{Preference, Route, RoutingError};

/// Targets this much slower than the fastest are as good: less than a caller notices, and the noise of measurements.
const AS_FAST: Duration = Duration::from_millis(30);

/// And this much, in percent of the fastest.
const AS_FAST_PERCENT: u32 = 20;

/// What is asked of a router.
#[derive(Clone, Copy, Debug)]
pub struct Ask<'a> {
    /// Among whom.
    pub route: &'a Route,
    /// What the session needs.
    pub needs: &'a Needs,
    /// Targets that are not to be chosen, by their place in the route.
    pub avoid: &'a [usize],
    /// Chance: any number, each as likely as the others.
    pub draw: u64,
}

/// The health of every target, and the choice among them. All times are on one clock that does not go back.
#[derive(Clone, Debug, Default)]
pub struct Router {
    rule: BreakerRule,
    healths: BTreeMap<String, Health>,
    /// By the pattern of a route: those of its targets that are well and too slow for it.
    slow: BTreeMap<String, BTreeSet<String>>,
}

impl Router {
    /// Every target is taken for well until it fails.
    #[must_use]
    pub const fn new(rule: BreakerRule) -> Self {
        Self { rule, healths: BTreeMap::new(), slow: BTreeMap::new() }
    }

    /// These targets of a route, by their names, are well and too slow: from now on they are passed over while another one
    /// could serve. Nothing else changes for them; their circuits stay as they are.
    pub fn pass_over(&mut self, route: &Route, slow: BTreeSet<String>) {
        let pattern = route.pattern.to_string();
        if slow.is_empty() {
            self.slow.remove(&pattern);
        } else {
            self.slow.insert(pattern, slow);
        }
    }

    /// Whether a target of a route is passed over.
    #[must_use]
    pub fn is_passed_over(&self, route: &Route, target: &Target) -> bool {
        // Most routes have none, and a name costs an allocation.
        !self.slow.is_empty()
            && self.slow.get(&route.pattern.to_string()).is_some_and(|slow| slow.contains(&target.name()))
    }

    /// Those of these targets that are not slow; all of them if they all are.
    fn without_slow(&self, route: &Route, among: Vec<usize>) -> Vec<usize> {
        let is_slow = |index: &usize| {
            route.targets.get(*index).is_some_and(|target| self.is_passed_over(route, target))
        };
        let quick: Vec<usize> = among.iter().copied().filter(|index| !is_slow(index)).collect();
        if quick.is_empty() { among } else { quick }
    }

    /// Chooses the target of a session, by its place in the route, and counts on it from now on: a target that is tried
    /// again after a failure gets no other session until this one's [`Router::report`].
    ///
    /// A route with one target always gives it. There is nobody else to ask, and what the provider says itself tells a
    /// client more than that it has failed before.
    ///
    /// # Errors
    /// [`RoutingError::NothingFits`], [`RoutingError::AllTried`] or [`RoutingError::AllCoolingDown`].
    pub fn choose(&mut self, now: Duration, ask: Ask<'_>) -> Result<usize, RoutingError> {
        let fitting = fitting(ask)?;
        let target_at = |index: &usize| ask.route.targets.get(*index);
        let free_at = |index: &usize| target_at(index).map_or(now, |target| self.health(target).free_at(now));
        let is_forced = !ask.route.has_choice();
        let free: Vec<usize> =
            fitting.iter().copied().filter(|index| is_forced || free_at(index) <= now).collect();
        let free = self.without_slow(ask.route, free);
        let chosen = self.pick(now, ask, &free).ok_or_else(|| {
            let first = fitting.iter().map(free_at).min().unwrap_or(now);
            RoutingError::AllCoolingDown { retry_after: first.saturating_sub(now) }
        })?;
        if let Some(target) = ask.route.targets.get(chosen) {
            self.healths.entry(target.name()).or_default().begin(now);
        }
        Ok(chosen)
    }

    /// A target that would serve a session better than the one it has: one that is well and not passed over, and of a higher
    /// priority, cheaper or faster as the route prefers, or any other if the present one is passed over. If the present one
    /// is not well, any that is.
    #[must_use]
    pub fn better(&self, now: Duration, ask: Ask<'_>, current: usize) -> Option<usize> {
        let present = ask.route.targets.get(current)?;
        let is_ill = self.state(present) != CircuitState::Closed;
        let is_slow = self.is_passed_over(ask.route, present);
        let better: Vec<usize> = fitting(ask)
            .ok()?
            .into_iter()
            .filter(|index| *index != current)
            .filter(|index| {
                ask.route.targets.get(*index).is_some_and(|target| {
                    let beats = || is_slow || self.beats(now, ask.route.preference, target, present);
                    self.state(target) == CircuitState::Closed
                        && (is_ill || (!self.is_passed_over(ask.route, target) && beats()))
                })
            })
            .collect();
        self.pick(now, ask, &self.without_slow(ask.route, better))
    }

    fn beats(&self, now: Duration, preference: Preference, target: &Target, present: &Target) -> bool {
        if target.priority != present.priority {
            return target.priority < present.priority;
        }
        match preference {
            Preference::Weight => false,
            Preference::Cost => price(target) < price(present),
            Preference::Latency => {
                let measured = |target| self.health(target).first_audio(now);
                measured(target).zip(measured(present)).is_some_and(|(there, here)| here > as_fast_as(there))
            }
        }
    }

    /// How it went with a target. Gives the state of its circuit if that has changed.
    pub fn report(&mut self, now: Duration, target: &Target, outcome: Outcome) -> Option<CircuitState> {
        let health = self.healths.entry(target.name()).or_default();
        let before = health.state();
        health.report(now, &self.rule, outcome);
        Some(health.state()).filter(|after| *after != before)
    }

    /// Whether a target gets sessions.
    #[must_use]
    pub fn state(&self, target: &Target) -> CircuitState {
        self.health(target).state()
    }

    /// Whether a target could be given a session now.
    #[must_use]
    pub fn is_free(&self, now: Duration, target: &Target) -> bool {
        self.health(target).free_at(now) <= now
    }

    /// How long a target takes to speak, as measured lately.
    #[must_use]
    pub fn first_audio(&self, now: Duration, target: &Target) -> Option<Duration> {
        self.health(target).first_audio(now)
    }

    fn health(&self, target: &Target) -> Health {
        self.healths.get(&target.name()).copied().unwrap_or_default()
    }

    /// One of these targets: of the highest priority, preferred by the route, and by weight among equals.
    fn pick(&self, now: Duration, ask: Ask<'_>, among: &[usize]) -> Option<usize> {
        let mut left: Vec<(usize, &Target)> =
            among.iter().filter_map(|index| Some((*index, ask.route.targets.get(*index)?))).collect();
        let priority = left.iter().map(|(_, target)| target.priority).min()?;
        left.retain(|(_, target)| target.priority == priority);
        match ask.route.preference {
            Preference::Weight => {}
            Preference::Cost => {
                let least = left.iter().map(|(_, target)| price(target)).min()?;
                left.retain(|(_, target)| price(target) == least);
            }
            Preference::Latency => {
                let measured = |target: &Target| self.health(target).first_audio(now);
                let fastest = left.iter().filter_map(|(_, target)| measured(target)).min();
                // One that was not measured is tried, or nobody would ever know.
                let is_fast = |time: Duration| fastest.is_none_or(|fastest| time <= as_fast_as(fastest));
                left.retain(|(_, target)| measured(target).is_none_or(is_fast));
            }
        }
        by_weight(&left, ask.draw)
    }
}

/// The targets that can do what is needed and are not to be avoided.
fn fitting(ask: Ask<'_>) -> Result<Vec<usize>, RoutingError> {
    let mut lack = None;
    let mut fitting = Vec::new();
    for (index, target) in ask.route.targets.iter().enumerate() {
        match ask.needs.met_by(target) {
            Ok(()) if target.weight > 0 || !ask.route.has_choice() => fitting.push(index),
            Ok(()) => {}
            Err(error) => lack = lack.or(Some(error)),
        }
    }
    if fitting.is_empty() {
        return Err(lack.unwrap_or(RoutingError::AllTried));
    }
    fitting.retain(|index| !ask.avoid.contains(index));
    if fitting.is_empty() { Err(RoutingError::AllTried) } else { Ok(fitting) }
}

fn price(target: &Target) -> NanoDollars {
    target.cost.unwrap_or(NanoDollars::MAX)
}

fn as_fast_as(fastest: Duration) -> Duration {
    fastest + AS_FAST.max(fastest * AS_FAST_PERCENT / 100)
}

/// One of these, in proportion to their weights. The draw is scaled by multiplication, which is even to one part in
/// 2⁶⁴ divided by the sum of the weights.
fn by_weight(among: &[(usize, &Target)], draw: u64) -> Option<usize> {
    let sum: u64 = among.iter().map(|(_, target)| u64::from(target.weight)).sum();
    let mut place = ((u128::from(draw) * u128::from(sum)) >> 64) as u64;
    for (index, target) in among {
        let weight = u64::from(target.weight);
        if place < weight {
            return Some(*index);
        }
        place -= weight;
    }
    among.first().map(|(index, _)| *index)
}
