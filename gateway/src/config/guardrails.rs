//! Guardrails as they are written, and as they are checked.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use voxgate_policy::guardrail::{Act, Detector, Direction, GuardrailError, PersonalKind, Rule, RuleSet};

/// A rule over the words of a call.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Guardrail {
    /// Its name in logs and metrics.
    pub(crate) name: String,
    /// Whose words it looks at.
    pub(crate) on: Vec<On>,
    /// What it looks for: words and phrases, whatever their case.
    #[serde(default)]
    pub(crate) words: Vec<String>,
    /// Or a regular expression, whatever the case.
    pub(crate) pattern: Option<String>,
    /// Or personal data.
    #[serde(default)]
    pub(crate) personal: Vec<Personal>,
    /// Or attempts to take the place of your instructions, in English.
    #[serde(default)]
    pub(crate) injection: bool,
    /// What is done.
    pub(crate) act: WrittenAct,
    /// With `act: replace`, the sentence that is said instead of the answer.
    pub(crate) say: Option<String>,
}

/// Whose words.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum On {
    /// Recognised or typed.
    Caller,
    /// Spoken or written.
    Agent,
    /// Arguments of the agent's tool calls.
    ToolArguments,
}

/// Personal data.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Personal {
    /// Written or spoken.
    Email,
    /// Written or spoken digit by digit.
    Phone,
    /// Payment cards with a right check digit, written or spoken digit by digit.
    Card,
    /// With right check digits.
    Iban,
    /// Of the United States.
    SocialSecurity,
}

/// What is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum WrittenAct {
    /// Count it and log that it happened.
    Note,
    /// Take the answer back and say something else.
    Replace,
    /// End the call.
    End,
}

/// Every rule, or what is wrong with them.
pub(super) fn check(written: &[Guardrail], problems: &mut Vec<String>) -> Arc<RuleSet> {
    let mut rules = Vec::new();
    for guardrail in written {
        match rule(guardrail) {
            Ok(rule) => rules.push(rule),
            Err(reason) => problems.push(format!("guardrails.{}: {reason}", guardrail.name)),
        }
    }
    match RuleSet::new(rules) {
        Ok(set) => {
            let set = Arc::new(set);
            problems.extend(written.iter().filter_map(|guardrail| contradiction(&set, guardrail)));
            set
        }
        Err(error) => {
            problems.push(format!("guardrails: {error}"));
            Arc::default()
        }
    }
}

fn rule(written: &Guardrail) -> Result<Rule, String> {
    let directions = written.on.iter().map(|on| match on {
        On::Caller => Direction::Caller,
        On::Agent => Direction::Agent,
        On::ToolArguments => Direction::ToolArguments,
    });
    Ok(Rule {
        name: written.name.clone(),
        directions: directions.collect(),
        detector: detector(written)?,
        act: act(written)?,
    })
}

fn detector(written: &Guardrail) -> Result<Detector, String> {
    let ways: Vec<Result<Detector, GuardrailError>> = [
        (!written.words.is_empty()).then(|| Detector::words(written.words.iter().map(String::as_str))),
        written.pattern.as_deref().map(Detector::pattern),
        (!written.personal.is_empty()).then(|| Detector::personal(&kinds(&written.personal))),
        written.injection.then(Detector::injection),
    ]
    .into_iter()
    .flatten()
    .collect();
    match <[_; 1]>::try_from(ways) {
        Ok([detector]) => detector.map_err(|error| error.to_string()),
        Err(_) => Err("give exactly one of words, pattern, personal and injection".to_owned()),
    }
}

fn kinds(written: &[Personal]) -> Vec<PersonalKind> {
    let kinds = written.iter().map(|kind| match kind {
        Personal::Email => PersonalKind::Email,
        Personal::Phone => PersonalKind::Phone,
        Personal::Card => PersonalKind::Card,
        Personal::Iban => PersonalKind::Iban,
        Personal::SocialSecurity => PersonalKind::SocialSecurity,
    });
    kinds.collect()
}

fn act(written: &Guardrail) -> Result<Act, String> {
    match (written.act, &written.say) {
        (WrittenAct::Replace, Some(say)) if !say.trim().is_empty() && !say.contains('\n') => {
            Ok(Act::Replace { say: say.clone() })
        }
        (WrittenAct::Replace, _) => Err("act: replace needs one sentence in `say`".to_owned()),
        (_, Some(_)) => Err("`say` is only said with act: replace".to_owned()),
        (WrittenAct::Note, None) => Ok(Act::Note),
        (WrittenAct::End, None) => Ok(Act::End),
    }
}

/// A sentence that breaks a rule itself would be replaced in its turn.
fn contradiction(set: &Arc<RuleSet>, written: &Guardrail) -> Option<String> {
    let findings = set.scan(Direction::Agent, written.say.as_deref()?);
    let (finding, act) = set.strongest(&findings)?;
    let breaks = &set.rule(finding.rule).name;
    (*act > Act::Mask)
        .then(|| format!("guardrails.{}: what it says breaks the guardrail {breaks:?}", written.name))
}
