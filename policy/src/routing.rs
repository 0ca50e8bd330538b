//! Model names to provider targets, and which target serves a session.
//!
//! A [`RouteTable`] finds the route of a model name; a route has one target or several. [`Router`] chooses among them by
//! priority, health, preference and weight, and is told how each choice went ([`Outcome`]). [`Itinerary`] is one
//! session's way through the targets. No clock and no chance in here: the time and the random draw are arguments.

mod choice;
mod fault;
mod health;
mod itinerary;
mod target;

#[cfg(test)]
mod simulation_tests;
#[cfg(test)]
mod tests;

use std::fmt;
use std::time::Duration;

use thiserror::Error;

pub use choice::{Ask, Router};
pub use fault::{Remedy, Trouble};
pub use health::{BreakerRule, CircuitState, Outcome};
pub use itinerary::Itinerary;
pub use target::{Needs, Offers, Target};

/// Which model names a route answers for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ModelPattern {
    /// This name.
    Exact(String),
    /// Every name that begins so; written `gpt-*`. `*` alone is every name.
    Prefix(String),
}

/// As configurations write it.
impl fmt::Display for ModelPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(name) => f.write_str(name),
            Self::Prefix(prefix) => write!(f, "{prefix}*"),
        }
    }
}

impl ModelPattern {
    /// Reads a pattern: a name, or a beginning followed by one `*`.
    ///
    /// # Errors
    /// [`RoutingError::MalformedPattern`] if empty or if `*` stands elsewhere than at the end.
    pub fn parse(text: &str) -> Result<Self, RoutingError> {
        let malformed = || RoutingError::MalformedPattern { pattern: text.to_owned() };
        match text.strip_suffix('*') {
            Some(prefix) if !prefix.contains('*') => Ok(Self::Prefix(prefix.to_owned())),
            None if !text.is_empty() && !text.contains('*') => Ok(Self::Exact(text.to_owned())),
            _ => Err(malformed()),
        }
    }

    pub(crate) fn matches(&self, model: &str) -> bool {
        match self {
            Self::Exact(name) => name == model,
            Self::Prefix(prefix) => model.starts_with(prefix.as_str()),
        }
    }

    /// How narrow the pattern is: an exact name beats any prefix, a longer prefix beats a shorter one.
    pub(crate) const fn rank(&self) -> (bool, usize) {
        match self {
            Self::Exact(name) => (true, name.len()),
            Self::Prefix(prefix) => (false, prefix.len()),
        }
    }
}

/// What decides between targets of one priority that are all well.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Preference {
    /// Chance, in proportion to their weights.
    #[default]
    Weight,
    /// Who gave the first audio of its answers soonest, as measured; equals share by weight.
    Latency,
    /// Who costs least, as configured; equals share by weight.
    Cost,
}

/// When a session leaves the target that serves it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Switching {
    /// How long one target may take to take a session over while another one could.
    pub attempt: Duration,
    /// How long all attempts together may take before the session is told that nobody serves it.
    pub budget: Duration,
    /// How long an answer may give nothing, neither sound nor text nor a tool call, and nothing of it is left to play,
    /// before another target takes over.
    pub silence: Duration,
    /// Whether a session also moves to a better target that is well again, from the next turn on. Otherwise it stays
    /// with whoever serves it.
    pub follows_better: bool,
}

impl Default for Switching {
    fn default() -> Self {
        Self {
            attempt: Duration::from_secs(3),
            budget: Duration::from_secs(10),
            silence: Duration::from_secs(5),
            follows_better: false,
        }
    }
}

/// Where the sessions of some model names go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// For which names.
    pub pattern: ModelPattern,
    /// Who may serve them.
    pub targets: Vec<Target>,
    /// What decides between targets of one priority.
    pub preference: Preference,
    /// When a session changes its target.
    pub switching: Switching,
}

impl Route {
    /// A route with one target.
    #[must_use]
    pub fn to(pattern: ModelPattern, target: Target) -> Self {
        Self {
            pattern,
            targets: vec![target],
            preference: Preference::default(),
            switching: Switching::default(),
        }
    }

    /// The route with only those targets for which `may` says so; `None` if none is left.
    #[must_use]
    pub fn only(&self, mut may: impl FnMut(&Target) -> bool) -> Option<Self> {
        let targets: Vec<Target> = self.targets.iter().filter(|target| may(target)).cloned().collect();
        (!targets.is_empty()).then(|| Self { targets, ..self.clone() })
    }

    /// Whether there is a choice at all.
    #[must_use]
    pub const fn has_choice(&self) -> bool {
        self.targets.len() > 1
    }
}

/// What can go wrong on the way to a provider.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum RoutingError {
    /// A pattern that means nothing.
    #[error("the model pattern {pattern:?} must be a name, or a beginning followed by one `*` at the end")]
    MalformedPattern {
        /// As written.
        pattern: String,
    },
    /// No route answers.
    #[error("the model {model:?} is not served by this gateway")]
    UnknownModel {
        /// As asked for.
        model: String,
    },
    /// There are targets, and none of them can do what the session needs.
    #[error("no target of this model offers what the session asks for: {need}")]
    NothingFits {
        /// What they lack.
        need: &'static str,
    },
    /// Every target that could serve is cooling down after failures.
    #[error("every target of this model has failed lately and is cooling down")]
    AllCoolingDown {
        /// When the first of them is tried again.
        retry_after: Duration,
    },
    /// The session has tried every target there is.
    #[error("every target of this model was tried")]
    AllTried,
}

/// Every route, narrowest pattern first.
#[derive(Clone, Debug, Default)]
pub struct RouteTable {
    routes: Vec<Route>,
}

impl RouteTable {
    /// Orders the routes by how narrow they are; equal ones keep their order.
    #[must_use]
    pub fn new(mut routes: Vec<Route>) -> Self {
        routes.sort_by_key(|route| std::cmp::Reverse(route.pattern.rank()));
        Self { routes }
    }

    /// The route for a model name. No model has a control character in its name: ledgers and terminals would trip over it.
    ///
    /// # Errors
    /// [`RoutingError::UnknownModel`] if no pattern matches.
    pub fn resolve(&self, model: &str) -> Result<&Route, RoutingError> {
        self.routes
            .iter()
            .find(|route| route.pattern.matches(model) && !model.contains(char::is_control))
            .ok_or_else(|| RoutingError::UnknownModel { model: model.to_owned() })
    }

    /// Every route, narrowest pattern first.
    pub fn routes(&self) -> impl Iterator<Item = &Route> {
        self.routes.iter()
    }

    /// Every target of every route.
    pub fn targets(&self) -> impl Iterator<Item = &Target> {
        self.routes.iter().flat_map(|route| &route.targets)
    }
}
