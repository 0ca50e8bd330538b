//! What sessions begin with: the part of a configuration they keep to their end.
//!
//! One revision is in force at a time. Whoever begins a session takes it once, and decides and starts with nothing else, so
//! that no session is led by the routes of one revision under the policies of another.

use std::sync::{Arc, PoisonError, RwLock};

use voxgate_policy::agent::Agents;
use voxgate_policy::decision::Authorizer;
use voxgate_policy::limits::rules::LimitRules;
use voxgate_policy::routing::RouteTable;
use voxgate_protocol::revision::RevisionName;

use crate::host::SessionHost;

/// What a revision of the configuration says about sessions.
pub struct Terms {
    /// Which revision.
    pub revision: RevisionName,
    /// What the policies allow.
    pub authorizer: Arc<Authorizer>,
    /// Model names to providers.
    pub routes: Arc<RouteTable>,
    /// The model of a client that names none.
    pub default_model: Arc<str>,
    /// Which tools each agent has.
    pub agents: Arc<Agents>,
    /// How many sessions, and how much of what in a minute.
    pub limits: Arc<LimitRules>,
    /// Who runs sessions, with everything else of the revision.
    pub host: Arc<dyn SessionHost>,
}

impl std::fmt::Debug for Terms {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Terms").field("revision", &self.revision).finish_non_exhaustive()
    }
}

/// The terms in force. Clones share them.
#[derive(Clone, Debug)]
pub struct TermsInForce(Arc<RwLock<Arc<Terms>>>);

impl TermsInForce {
    /// The first terms.
    #[must_use]
    pub fn new(terms: Terms) -> Self {
        Self(Arc::new(RwLock::new(Arc::new(terms))))
    }

    /// The terms of now. They stay whole, whatever is put in force later.
    #[must_use]
    pub fn now(&self) -> Arc<Terms> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Puts other terms in force, together with whatever `along` changes: nobody takes terms meanwhile. Nothing changes if
    /// `along` fails. It holds up every request, so it must not wait for anything.
    ///
    /// # Errors
    /// What `along` fails with.
    pub fn replace<E>(&self, terms: Terms, along: impl FnOnce() -> Result<(), E>) -> Result<(), E> {
        let mut current = self.0.write().unwrap_or_else(PoisonError::into_inner);
        along()?;
        *current = Arc::new(terms);
        Ok(())
    }

    /// What is looked up beside the terms but changes with them, such as whose a key is, together with the terms it belongs
    /// to. No other terms are put in force meanwhile, so `look_up` must not wait for anything.
    pub fn with<T>(&self, look_up: impl FnOnce() -> T) -> (Arc<Terms>, T) {
        let current = self.0.read().unwrap_or_else(PoisonError::into_inner);
        (Arc::clone(&current), look_up())
    }
}

#[cfg(test)]
mod tests;
