//! Model names to provider targets.

use thiserror::Error;

/// Which model names a route answers for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ModelPattern {
    /// This name.
    Exact(String),
    /// Every name that begins so; written `gpt-*`. `*` alone is every name.
    Prefix(String),
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

/// Where a session goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// For which names.
    pub pattern: ModelPattern,
    /// The configured provider.
    pub provider: String,
    /// The name the provider knows the model by; `None` hands the client's name on.
    pub provider_model: Option<String>,
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

    /// The route for a model name.
    ///
    /// # Errors
    /// [`RoutingError::UnknownModel`] if no pattern matches.
    pub fn resolve(&self, model: &str) -> Result<&Route, RoutingError> {
        self.routes
            .iter()
            .find(|route| route.pattern.matches(model))
            .ok_or_else(|| RoutingError::UnknownModel { model: model.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn route(pattern: &str, provider: &str) -> Route {
        Route {
            pattern: ModelPattern::parse(pattern).unwrap(),
            provider: provider.to_owned(),
            provider_model: None,
        }
    }

    #[test]
    fn the_narrowest_pattern_wins_whatever_the_order() {
        let table = RouteTable::new(vec![
            route("*", "local"),
            route("gpt-*", "openai"),
            route("gpt-realtime-mini", "azure"),
            route("gpt-realtime*", "eu"),
        ]);
        let provider = |model| table.resolve(model).unwrap().provider.clone();
        assert_eq!(provider("gpt-realtime-mini"), "azure");
        assert_eq!(provider("gpt-realtime-2"), "eu");
        assert_eq!(provider("gpt-4o"), "openai");
        assert_eq!(provider("anything"), "local");
    }

    #[test]
    fn a_model_without_a_route_is_refused_by_name() {
        let table = RouteTable::new(vec![route("gpt-*", "openai")]);
        let error = table.resolve("grok").unwrap_err();
        assert_eq!(error.to_string(), "the model \"grok\" is not served by this gateway");
    }

    #[test]
    fn a_star_may_only_stand_at_the_end() {
        for wrong in ["", "g*t", "**", "*x"] {
            assert!(ModelPattern::parse(wrong).is_err(), "{wrong}");
        }
    }
}
