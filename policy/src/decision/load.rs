//! Policies as they are written, checked, every problem reported at once.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use cedar_policy::{
    ActionConstraint, Effect, EntityUid, Policy, PolicyId, PolicySet, PrincipalConstraint,
    ResourceConstraint, Schema, ValidationMode, Validator,
};
use miette::Diagnostic;

use super::condition::{self, Condition, Vocabulary};
use super::{Act, Obligations};

/// What policies may speak of.
const SCHEMA: &str = include_str!("schema.cedarschema");

/// What holds without policies of the configuration.
const DEFAULT: PolicyFile<'static> =
    PolicyFile { name: "default.cedar", text: include_str!("default.cedar") };

/// What holds always.
const ISOLATION: PolicyFile<'static> =
    PolicyFile { name: "isolation.cedar", text: include_str!("isolation.cedar") };

/// Most policies of an installation: what can be checked in a second.
const MAX_POLICIES: usize = 10_000;

/// Session lengths a policy may demand, in seconds: the range the configuration allows too.
const SESSION_SECONDS: std::ops::RangeInclusive<u64> = 10..=86_400;

/// A file of policies in Cedar's language.
#[derive(Clone, Copy, Debug)]
pub struct PolicyFile<'a> {
    /// The name problems are reported under.
    pub name: &'a str,
    /// The text.
    pub text: &'a str,
}

/// One thing that is wrong with a policy.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PolicyProblem {
    /// In which file.
    pub file: String,
    /// On which line, from 1; 0 if it is about the whole file.
    pub line: usize,
    /// What.
    pub message: String,
}

impl fmt::Display for PolicyProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.file, self.line, self.message)
    }
}

/// A checked policy.
#[derive(Debug)]
pub(super) struct Checked {
    pub(super) policy: Policy,
    pub(super) name: Arc<str>,
    /// Whether it comes with the program.
    pub(super) is_built_in: bool,
    pub(super) forbids: bool,
    pub(super) obligations: Obligations,
    /// The acts it speaks of.
    pub(super) acts: Vec<Act>,
    /// The organisation, or organisation and team, outside of which it means nothing.
    pub(super) tenant: Option<Box<str>>,
    /// The one resource it speaks of; `None` if there may be others.
    pub(super) resource: Option<EntityUid>,
    /// What must hold for it to apply, in the order in which it is asked.
    pub(super) conditions: Vec<Condition>,
}

/// Checks the files, the default set if there are none, and the policies that always hold.
pub(super) fn load(files: &[PolicyFile<'_>]) -> Result<Vec<Checked>, Vec<PolicyProblem>> {
    let whole =
        |message: String| vec![PolicyProblem { file: "schema.cedarschema".to_owned(), line: 0, message }];
    let (schema, _) = Schema::from_cedarschema_str(SCHEMA).map_err(|error| whole(error.to_string()))?;
    let validator = Validator::new(schema);
    let mut reader = Reader {
        validator,
        names: BTreeMap::new(),
        vocabulary: Vocabulary::default(),
        problems: Vec::new(),
        checked: Vec::new(),
    };
    if files.is_empty() {
        reader.read(&DEFAULT);
    }
    for file in files.iter().chain([&ISOLATION]) {
        reader.read(file);
    }
    if reader.checked.len() > MAX_POLICIES {
        let message = format!("there are more than {MAX_POLICIES} policies");
        reader.problems.push(PolicyProblem { file: "policies".to_owned(), line: 0, message });
    }
    if reader.problems.is_empty() { Ok(reader.checked) } else { Err(reader.problems) }
}

struct Reader {
    validator: Validator,
    /// Where each name was given first.
    names: BTreeMap<Arc<str>, String>,
    vocabulary: Vocabulary,
    problems: Vec<PolicyProblem>,
    checked: Vec<Checked>,
}

impl Reader {
    fn read(&mut self, file: &PolicyFile<'_>) {
        let before = self.problems.len();
        match file.text.parse::<PolicySet>() {
            Ok(set) => self.judge(file, &set),
            Err(errors) => {
                for error in errors.iter() {
                    self.complain(file, line_of(file, error), error.to_string());
                }
            }
        }
        if let Some(of_file) = self.problems.get_mut(before..) {
            of_file.sort();
        }
    }

    fn judge(&mut self, file: &PolicyFile<'_>, set: &PolicySet) {
        if let Some(template) = set.templates().next() {
            let line = line_of_text(file, template.to_string().as_str());
            self.complain(file, line, "templates are not used here; write the policy out".to_owned());
        }
        let result = self.validator.validate(set, ValidationMode::Strict);
        let errors = result.validation_errors().map(|error| (line_of(file, error), error.to_string()));
        // What looks like another character, or can never apply, is not what its author meant.
        let warnings =
            result.validation_warnings().map(|warning| (line_of(file, warning), warning.to_string()));
        for (line, message) in errors.chain(warnings) {
            self.complain(file, line, message);
        }
        let mut policies: Vec<&Policy> = set.policies().collect();
        policies.sort_by_key(|policy| number_of(policy.id()));
        for (number, policy) in policies.into_iter().enumerate() {
            let text = policy.to_cedar().unwrap_or_default();
            let line = line_of_text(file, &text);
            self.take(file, line, number, policy);
        }
    }

    fn take(&mut self, file: &PolicyFile<'_>, line: usize, number: usize, policy: &Policy) {
        let name: Arc<str> = policy
            .annotation("id")
            .map_or_else(|| format!("{}#{}", file.name, number + 1).into(), |id| id.trim().into());
        if name.is_empty() {
            self.complain(file, line, "@id is empty".to_owned());
        }
        let here = format!("{}:{line}", file.name);
        if let Some(first) = self.names.insert(Arc::clone(&name), here) {
            self.complain(file, line, format!("@id({name:?}) is given at {first} too"));
        }
        let forbids = policy.effect() == Effect::Forbid;
        let obligations = self.obligations(file, line, policy, forbids);
        for uid in scope_entities(policy) {
            if let Err(message) = check_place(&uid) {
                self.complain(file, line, message);
            }
        }
        let texts = condition::conditions(policy);
        let read = |texts: Vec<_>| texts.into_iter().map(|text| self.vocabulary.read(text)).collect();
        let conditions = texts.and_then(read).unwrap_or_else(|message: String| {
            self.complain(file, line, message);
            Vec::new()
        });
        self.checked.push(Checked {
            policy: policy.clone(),
            name,
            is_built_in: [DEFAULT, ISOLATION].iter().any(|own| own.text == file.text),
            forbids,
            obligations,
            acts: acts(&policy.action_constraint()),
            tenant: tenant(&policy.principal_constraint()),
            resource: only_resource(policy.resource_constraint()),
            conditions,
        });
    }

    fn obligations(
        &mut self,
        file: &PolicyFile<'_>,
        line: usize,
        policy: &Policy,
        forbids: bool,
    ) -> Obligations {
        let mut obligations = Obligations::default();
        for (key, value) in policy.annotations() {
            let fault = match key {
                "id" | "advice" => continue,
                "approval" | "max_session_seconds" | "guardrail" if forbids => {
                    Some(format!("@{key} obliges nobody on a policy that forbids"))
                }
                "approval" if value == "human" => {
                    obligations.needs_approval = true;
                    None
                }
                "approval" => Some(format!("@approval is {value:?}; only \"human\" is known")),
                "max_session_seconds" => match value.parse() {
                    Ok(seconds) if SESSION_SECONDS.contains(&seconds) => {
                        obligations.max_session = Some(Duration::from_secs(seconds));
                        None
                    }
                    _ => Some(format!("@max_session_seconds is {value:?}; it must be 10 to 86400")),
                },
                "guardrail" if value.trim().is_empty() => Some("@guardrail names no set".to_owned()),
                "guardrail" => {
                    obligations.guardrails.extend(value.split(',').map(|set| Arc::from(set.trim())));
                    None
                }
                _ => Some(format!(
                    "@{key} is not known; known are @id, @advice, @approval, @max_session_seconds and @guardrail"
                )),
            };
            if let Some(message) = fault {
                self.complain(file, line, message);
            }
        }
        obligations
    }

    fn complain(&mut self, file: &PolicyFile<'_>, line: usize, message: String) {
        self.problems.push(PolicyProblem { file: file.name.to_owned(), line, message });
    }
}

/// The number of a policy in its file: the parser calls them `policy0`, `policy1`, …
fn number_of(id: &PolicyId) -> usize {
    let id: &str = id.as_ref();
    id.trim_start_matches("policy").parse().unwrap_or(usize::MAX)
}

/// The line a finding of Cedar is about.
fn line_of(file: &PolicyFile<'_>, finding: &dyn Diagnostic) -> usize {
    let label = finding.labels().and_then(|mut labels| labels.next());
    label.map_or(0, |label| line_at(file.text, label.offset()))
}

fn line_of_text(file: &PolicyFile<'_>, part: &str) -> usize {
    let offset = Some(part).filter(|part| !part.is_empty()).and_then(|part| file.text.find(part));
    offset.map_or(0, |offset| line_at(file.text, offset))
}

fn line_at(text: &str, offset: usize) -> usize {
    let before = text.as_bytes().get(..offset).unwrap_or(text.as_bytes());
    before.iter().filter(|byte| **byte == b'\n').count() + 1
}

/// The acts an action constraint speaks of.
fn acts(constraint: &ActionConstraint) -> Vec<Act> {
    let names: Vec<&EntityUid> = match constraint {
        ActionConstraint::Any => return Act::ALL.to_vec(),
        ActionConstraint::Eq(uid) => vec![uid],
        ActionConstraint::In(uids) => uids.iter().collect(),
    };
    let is_meant = |act: &Act| {
        names.iter().any(|uid| {
            let name: &str = uid.id().as_ref();
            name == act.as_str() || Some(name) == act.group()
        })
    };
    Act::ALL.into_iter().filter(is_meant).collect()
}

/// The tenant a principal constraint is confined to.
fn tenant(constraint: &PrincipalConstraint) -> Option<Box<str>> {
    let uid = match constraint {
        PrincipalConstraint::Any | PrincipalConstraint::Is(_) => return None,
        PrincipalConstraint::In(uid) | PrincipalConstraint::Eq(uid) | PrincipalConstraint::IsIn(_, uid) => {
            uid
        }
    };
    let id: &str = uid.id().as_ref();
    match uid.type_name().basename() {
        "Organisation" => Some(id.into()),
        "Team" => Some(id.into()),
        "Key" | "User" | "Agent" => id.rsplit_once('/').map(|(team, _)| team.into()),
        _ => None,
    }
}

/// The resource a constraint is about, where it can be no other: what lies in an entity may be many.
fn only_resource(constraint: ResourceConstraint) -> Option<EntityUid> {
    match constraint {
        ResourceConstraint::Eq(uid) => Some(uid),
        ResourceConstraint::Any
        | ResourceConstraint::In(_)
        | ResourceConstraint::Is(_)
        | ResourceConstraint::IsIn(..) => None,
    }
}

/// The entities named in principal and resource constraint.
fn scope_entities(policy: &Policy) -> Vec<EntityUid> {
    let principal = match policy.principal_constraint() {
        PrincipalConstraint::Any | PrincipalConstraint::Is(_) => None,
        PrincipalConstraint::In(uid) | PrincipalConstraint::Eq(uid) | PrincipalConstraint::IsIn(_, uid) => {
            Some(uid)
        }
    };
    let resource = match policy.resource_constraint() {
        ResourceConstraint::Any | ResourceConstraint::Is(_) => None,
        ResourceConstraint::In(uid) | ResourceConstraint::Eq(uid) | ResourceConstraint::IsIn(_, uid) => {
            Some(uid)
        }
    };
    principal.into_iter().chain(resource).collect()
}

/// Whether an entity's id has as many parts as its type needs; otherwise it could never match.
fn check_place(uid: &EntityUid) -> Result<(), String> {
    let id: &str = uid.id().as_ref();
    let (parts, form) = match uid.type_name().basename() {
        "Organisation" => (1, "organisation"),
        "Team" => (2, "organisation/team"),
        "Key" | "User" | "Agent" => (3, "organisation/team/name"),
        _ => return Ok(()),
    };
    let has = id.split('/').filter(|part| !part.is_empty()).count();
    if has == parts && id.split('/').count() == parts {
        Ok(())
    } else {
        Err(format!("{uid} can never match: its id must be \"{form}\""))
    }
}
