//! Allow, deny or ask a person: every decision about what a caller may do, by Cedar policies.
//!
//! Asked at the boundaries of sessions, turns and tool calls only, never for a packet. Policies are judged by a schema before
//! they take effect, nothing is allowed that no policy permits, `forbid` wins, and the answer names the policies that
//! decided. Annotations of those policies carry what the caller is obliged to: `@approval("human")`,
//! `@max_session_seconds("900")`, `@guardrail("pii")`.

mod condition;
mod load;
mod slice;
mod words;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use cedar_policy::{Context, Entities, EntityUid, Request};
use sha2::{Digest as _, Sha256};

use crate::directory::Caller;

pub use load::{PolicyFile, PolicyProblem};
pub use words::{Act, Question, Risk};

use condition::Answers;
use slice::{Member, Slices};
use words::Words;

/// What the policies say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Effect {
    /// Go ahead.
    Allow,
    /// Only if a person says so.
    AskPerson,
    /// No.
    Deny,
}

impl Effect {
    /// The name in logs and metric labels.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::AskPerson => "ask_person",
            Self::Deny => "deny",
        }
    }
}

/// What comes with an allowed act. Where several policies allow it, the strictest of each holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Obligations {
    /// A person has to approve.
    pub needs_approval: bool,
    /// Longest session.
    pub max_session: Option<Duration>,
    /// Guardrail sets that have to run.
    pub guardrails: BTreeSet<Arc<str>>,
}

impl Obligations {
    /// Adds what somebody else demands too.
    pub fn add(&mut self, other: &Self) {
        self.needs_approval |= other.needs_approval;
        self.max_session = match (self.max_session, other.max_session) {
            (Some(one), Some(another)) => Some(one.min(another)),
            (one, another) => one.or(another),
        };
        self.guardrails.extend(other.guardrails.iter().cloned());
    }
}

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// What holds.
    pub effect: Effect,
    /// The ids of the policies that decided, in order; empty if nothing permits the act.
    pub policies: Vec<Arc<str>>,
    /// What comes with it; nothing for [`Effect::Deny`].
    pub obligations: Obligations,
}

impl Decision {
    fn denied(policies: Vec<Arc<str>>) -> Self {
        Self { effect: Effect::Deny, policies, obligations: Obligations::default() }
    }

    /// Whether the act may go on, with a person's approval where that is needed.
    #[must_use]
    pub fn is_possible(&self) -> bool {
        self.effect != Effect::Deny
    }
}

/// What is known of a policy besides its text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyNote {
    /// Its `@id`.
    pub name: Arc<str>,
    /// SHA-256 of its text, 64 hexadecimal digits.
    pub hash: String,
    /// Whether it comes with the program.
    pub is_built_in: bool,
    /// Whether it forbids; otherwise it permits.
    pub forbids: bool,
    /// What it demands of what it permits.
    pub obligations: Obligations,
    /// The acts it speaks of.
    pub acts: Vec<Act>,
    /// The organisation, or `organisation/team`, outside of which it means nothing.
    pub tenant: Option<Box<str>>,
}

impl PolicyNote {
    fn of(checked: &load::Checked) -> Self {
        let hash = Sha256::digest(checked.policy.to_string().as_bytes());
        Self {
            name: Arc::clone(&checked.name),
            hash: hash.iter().map(|byte| format!("{byte:02x}")).collect(),
            is_built_in: checked.is_built_in,
            forbids: checked.forbids,
            obligations: checked.obligations.clone(),
            acts: checked.acts.clone(),
            tenant: checked.tenant.clone(),
        }
    }
}

/// Checked policies, ready to decide.
#[derive(Debug)]
pub struct Authorizer {
    notes: Vec<PolicyNote>,
    slices: Slices,
    words: Words,
}

impl Authorizer {
    /// Checks policies and makes them ready. `files` are the configuration's; with none of them the default set holds.
    ///
    /// # Errors
    /// Every problem of every file, in the order of the files and lines.
    pub fn load(files: &[PolicyFile<'_>]) -> Result<Self, Vec<PolicyProblem>> {
        let policies = load::load(files)?;
        let notes = policies.iter().map(PolicyNote::of).collect();
        Ok(Self { notes, slices: Slices::new(policies), words: Words::new() })
    }

    /// Every policy, in the order of the files and lines.
    #[must_use]
    pub fn policies(&self) -> &[PolicyNote] {
        &self.notes
    }

    /// Whether this caller may do this. What cannot be judged is denied.
    #[must_use]
    pub fn decide(&self, caller: &Caller, question: &Question<'_>) -> Decision {
        let Some((request, entities, resource)) = self.put(caller, question) else {
            return Decision::denied(Vec::new());
        };
        let mut permits = Vec::new();
        let mut forbids = Vec::new();
        let mut obligations = Obligations::default();
        for slice in self.slices.of(question.act(), &caller.tenancy, &resource) {
            let mut answers = Answers::new(&slice.conditions, &request, &entities);
            for Member { conditions, terms } in &slice.members {
                match answers.all_hold(conditions) {
                    Some(false) => {}
                    Some(true) if terms.forbids => forbids.push(Arc::clone(&terms.name)),
                    Some(true) => {
                        obligations.add(&terms.obligations);
                        permits.push(Arc::clone(&terms.name));
                    }
                    // A policy that cannot be judged might have been one that forbids.
                    None => return Decision::denied(Vec::new()),
                }
            }
        }
        if !forbids.is_empty() || permits.is_empty() {
            forbids.sort();
            return Decision::denied(forbids);
        }
        permits.sort();
        let effect = if obligations.needs_approval { Effect::AskPerson } else { Effect::Allow };
        Decision { effect, policies: permits, obligations }
    }

    fn put(&self, caller: &Caller, question: &Question<'_>) -> Option<(Request, Entities, EntityUid)> {
        let mut entities = Vec::with_capacity(6);
        let principal: EntityUid = self.words.principal(caller, &mut entities)?;
        let resource = self.words.resource(caller, question, &mut entities)?;
        let action = self.words.action(question.act(), &mut entities);
        let context: Context = question.context()?;
        // Policies are checked against the schema, and the words are made to fit it; checking every request again would
        // cost more than the decision.
        let request = Request::new(principal, action, resource.clone(), context, None).ok()?;
        Some((request, Entities::from_entities(entities, None).ok()?, resource))
    }
}

#[cfg(test)]
mod tests;
