//! Policies taken apart into their conditions, so that a decision asks each condition once, however many policies share it.
//!
//! A policy applies if its scope and every `when` hold and no `unless` does. Cedar asks these from left to right and stops at
//! the first that does not hold; so do [`Answers`], in the same order and with Cedar's own evaluator.

use std::collections::HashMap;
use std::sync::Arc;

use cedar_policy::pst::{BinaryOp, Clause, Expr, UnaryOp};
use cedar_policy::{
    ActionConstraint, Entities, EntityUid, EvalResult, Expression, Policy, PrincipalConstraint, Request,
    ResourceConstraint, eval_expression,
};

/// The conditions of a policy in Cedar's language, scope first; all of them must hold.
pub(super) fn conditions(policy: &Policy) -> Result<Vec<String>, String> {
    let mut texts = scope(policy);
    let written = policy.to_pst().map_err(|error| error.to_string())?;
    for clause in written.body().clauses() {
        match clause {
            Clause::When(wanted) => conjuncts(wanted, &mut texts),
            Clause::Unless(unwanted) => {
                let holds_not = Expr::UnaryOp { op: UnaryOp::Not, expr: Arc::clone(unwanted) };
                texts.push(holds_not.to_string());
            }
        }
    }
    Ok(texts)
}

fn scope(policy: &Policy) -> Vec<String> {
    let principal = match policy.principal_constraint() {
        PrincipalConstraint::Any => None,
        PrincipalConstraint::Eq(uid) => Some(format!("principal == {uid}")),
        PrincipalConstraint::In(uid) => Some(format!("principal in {uid}")),
        PrincipalConstraint::Is(kind) => Some(format!("principal is {kind}")),
        PrincipalConstraint::IsIn(kind, uid) => Some(format!("principal is {kind} in {uid}")),
    };
    let action = match policy.action_constraint() {
        ActionConstraint::Any => None,
        ActionConstraint::Eq(uid) => Some(format!("action == {uid}")),
        ActionConstraint::In(uids) => {
            let uids: Vec<String> = uids.iter().map(ToString::to_string).collect();
            Some(format!("action in [{}]", uids.join(", ")))
        }
    };
    let resource = match policy.resource_constraint() {
        ResourceConstraint::Any => None,
        ResourceConstraint::Eq(uid) => Some(format!("resource == {uid}")),
        ResourceConstraint::In(uid) => Some(format!("resource in {uid}")),
        ResourceConstraint::Is(kind) => Some(format!("resource is {kind}")),
        ResourceConstraint::IsIn(kind, uid) => Some(format!("resource is {kind} in {uid}")),
    };
    [principal, action, resource].into_iter().flatten().collect()
}

/// What an `&&` joins are conditions of their own.
fn conjuncts(expr: &Expr, texts: &mut Vec<String>) {
    match expr {
        Expr::BinaryOp { op: BinaryOp::And, left, right } => {
            conjuncts(left, texts);
            conjuncts(right, texts);
        }
        one => texts.push(one.to_string()),
    }
}

/// Conditions that were read, each known by its text.
#[derive(Debug, Default)]
pub(super) struct Vocabulary {
    known: HashMap<String, Condition>,
}

/// One condition of policies.
#[derive(Clone, Debug)]
pub(super) struct Condition {
    text: Arc<str>,
    test: Test,
}

/// How a condition is judged.
#[derive(Clone, Debug)]
enum Test {
    /// By looking whether the resource is this one: what most of many policies differ in.
    Resource(EntityUid),
    /// By Cedar.
    Evaluated(Expression),
}

impl Test {
    fn read(text: &str) -> Result<Self, String> {
        let resource = text.strip_prefix("resource == ").map(str::parse);
        if let Some(Ok(resource)) = resource {
            return Ok(Self::Resource(resource));
        }
        text.parse().map(Self::Evaluated).map_err(|error| format!("{text}: {error}"))
    }

    fn holds(&self, request: &Request, entities: &Entities) -> Option<bool> {
        match self {
            Self::Resource(wanted) => Some(request.resource()? == wanted),
            Self::Evaluated(expression) => match eval_expression(request, entities, expression) {
                Ok(EvalResult::Bool(answer)) => Some(answer),
                _ => None,
            },
        }
    }
}

impl Vocabulary {
    /// Reads a condition, and makes sure that it reads as it was written.
    pub(super) fn read(&mut self, text: String) -> Result<Condition, String> {
        if let Some(condition) = self.known.get(&text) {
            return Ok(condition.clone());
        }
        let alone = format!("permit (principal, action, resource) when {{ {text} }};");
        let alone = Policy::parse(None, alone).map_err(|error| format!("{text}: {error}"))?;
        if conditions(&alone)? != [text.as_str()] {
            return Err(format!("{text}: this condition reads otherwise than it is written"));
        }
        let condition = Condition { text: text.as_str().into(), test: Test::read(&text)? };
        self.known.insert(text, condition.clone());
        Ok(condition)
    }
}

/// The conditions of a set of policies, each once, known by its place.
#[derive(Debug, Default)]
pub(super) struct Conditions {
    all: Vec<Test>,
    places: HashMap<Arc<str>, usize>,
}

impl Conditions {
    /// Where the condition stands, put there if it is new.
    pub(super) fn place(&mut self, condition: &Condition) -> usize {
        let next = self.all.len();
        let place = *self.places.entry(Arc::clone(&condition.text)).or_insert(next);
        if place == next {
            self.all.push(condition.test.clone());
        }
        place
    }
}

/// What conditions say of one request.
pub(super) struct Answers<'a> {
    conditions: &'a [Test],
    request: &'a Request,
    entities: &'a Entities,
    known: Vec<Option<bool>>,
}

impl<'a> Answers<'a> {
    pub(super) fn new(conditions: &'a Conditions, request: &'a Request, entities: &'a Entities) -> Self {
        let known = vec![None; conditions.all.len()];
        Self { conditions: &conditions.all, request, entities, known }
    }

    /// Whether all of these hold; `None` if one cannot be judged before one is found that does not hold.
    pub(super) fn all_hold(&mut self, places: &[usize]) -> Option<bool> {
        for place in places {
            if !self.holds(*place)? {
                return Some(false);
            }
        }
        Some(true)
    }

    fn holds(&mut self, place: usize) -> Option<bool> {
        if self.known[place].is_none() {
            self.known[place] = self.conditions[place].holds(self.request, self.entities);
        }
        self.known[place]
    }
}

#[cfg(test)]
mod tests;
