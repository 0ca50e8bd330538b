//! Guardrails as they are written, and as they are checked.

use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use reqwest::Url;
use serde::{Deserialize, Serialize};
use voxgate_policy::decision::Authorizer;
use voxgate_policy::guardrail::{
    Act, Detector, Direction, GuardrailError, OnDemand, PersonalKind, Rule, RuleSet,
};

use voxgate_providers::Secret;

use crate::webhook::{self, Judge};

/// How long a judge may be given.
const DEADLINES: RangeInclusive<Duration> = Duration::from_millis(50)..=Duration::from_secs(10);

/// Judges outside; each is shown every word of its direction.
const MOST_JUDGES: usize = 8;

/// A secret anybody could guess signs nothing.
const SHORTEST_SECRET: usize = 16;

/// A rule over the words of a call.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Guardrail {
    /// Its name in logs and metrics.
    pub(crate) name: String,
    /// The set it is in: then it runs only in sessions of which a policy demands the set (`@guardrail("...")`). Default: none, and
    /// it runs in every session.
    pub(crate) set: Option<String>,
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
    /// Or a judge of your own, outside.
    pub(crate) webhook: Option<Webhook>,
    /// What is done. With `webhook` the judge says so, and this is only what is done if it does not answer.
    pub(crate) act: Option<WrittenAct>,
    /// With `act: replace`, the sentence that is said instead of the answer.
    pub(crate) say: Option<String>,
}

/// A server that is shown words as they come and says what is to be done about them. Nothing waits for it.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Webhook {
    /// Where: `https`, or `http` on this machine. Words are sent there by POST; redirects are not followed.
    pub(crate) url: String,
    /// Longest wait for an answer, from the words on: 50ms to 10s. Default 800 ms: an opinion that comes later finds that the
    /// answer was heard.
    #[serde(default = "default_deadline", with = "humantime_serde")]
    pub(crate) deadline: Duration,
    /// `open`: without an answer in time nothing is done. `closed`: `act` is. Default `open`: a judge that is away does not end
    /// every call.
    #[serde(default)]
    pub(crate) fail: Fail,
    /// Whether its answer may be `mask`, with the words that are hidden from then on, where words go on as text. Default false:
    /// with any such webhook replay logs hold no words at all.
    #[serde(default)]
    pub(crate) masks: bool,
    /// Name of the environment variable with the secret that bodies are signed with (`voxgate-signature`), 16 or more
    /// characters. Default: they are not signed.
    pub(crate) secret_env: Option<String>,
    /// File with that secret, instead.
    pub(crate) secret_file: Option<PathBuf>,
    /// PEM file with authorities to trust besides the public ones. Default: none.
    pub(crate) ca_file: Option<PathBuf>,
}

fn default_deadline() -> Duration {
    Duration::from_millis(800)
}

/// What no answer means.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Fail {
    /// Nothing.
    #[default]
    Open,
    /// That a rule is broken.
    Closed,
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
    /// Hide what was found where words go on as text, to models and into conversations that are told again. With any such rule
    /// replay logs hold no words at all.
    Mask,
    /// Take the answer back and say something else.
    Replace,
    /// End the call.
    End,
}

/// Every rule, or what is wrong with them.
pub(super) fn check(written: &[Guardrail], problems: &mut Vec<String>) -> Arc<RuleSet> {
    let mut rules = Vec::new();
    for guardrail in written.iter().filter(|guardrail| guardrail.webhook.is_none()) {
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

/// The rules that run only where policies demand their set. A policy that demands a set without rules would demand nothing.
pub(super) fn on_demand(
    written: &[Guardrail],
    authorizer: Option<&Authorizer>,
    problems: &mut Vec<String>,
) -> OnDemand {
    let sets = written.iter().filter_map(|guardrail| {
        let set = guardrail.set.as_deref()?;
        Some((guardrail.name.clone(), set.trim().into()))
    });
    let sets = OnDemand::new(sets);
    if sets.has("") {
        problems.push("guardrails: a set has no name".to_owned());
    }
    for policy in authorizer.into_iter().flat_map(Authorizer::policies) {
        for set in policy.obligations.guardrails.iter().filter(|set| !sets.has(set)) {
            let name = &policy.name;
            problems.push(format!("policies: {name:?} demands the guardrail set {set:?}, which has no rule"));
        }
    }
    sets
}

fn rule(written: &Guardrail) -> Result<Rule, String> {
    Ok(Rule {
        name: written.name.clone(),
        directions: directions(written),
        detector: detector(written)?,
        act: act(written)?,
    })
}

fn directions(written: &Guardrail) -> Vec<Direction> {
    let directions = written.on.iter().map(|on| match on {
        On::Caller => Direction::Caller,
        On::Agent => Direction::Agent,
        On::ToolArguments => Direction::ToolArguments,
    });
    directions.collect()
}

/// The rules whose judges are outside.
pub(super) fn judges(
    written: &[Guardrail],
    environment: &dyn Fn(&str) -> Option<String>,
    problems: &mut Vec<String>,
) -> Arc<[Arc<Judge>]> {
    let mut judges = Vec::new();
    for (index, guardrail) in written.iter().enumerate() {
        let Some(webhook) = &guardrail.webhook else { continue };
        let mut complain = |reason: String| problems.push(format!("guardrails.{}: {reason}", guardrail.name));
        if written[..index].iter().any(|other| other.name == guardrail.name) {
            complain("another guardrail has this name; give each its own".to_owned());
        }
        match judge(guardrail, webhook, environment) {
            Ok(judge) => judges.push(Arc::new(judge)),
            Err(reason) => complain(reason),
        }
    }
    if judges.len() > MOST_JUDGES {
        problems.push(format!("guardrails: there are more than {MOST_JUDGES} webhooks"));
    }
    judges.into()
}

fn judge(
    written: &Guardrail,
    webhook: &Webhook,
    environment: &dyn Fn(&str) -> Option<String>,
) -> Result<Judge, String> {
    let has_detector = !written.words.is_empty()
        || written.pattern.is_some()
        || !written.personal.is_empty()
        || written.injection;
    if has_detector || written.on.is_empty() {
        return Err(
            "a webhook stands alone, with at least one of caller, agent and tool_arguments in `on`".into()
        );
    }
    if !DEADLINES.contains(&webhook.deadline) {
        return Err("webhook.deadline must be 50ms to 10s".to_owned());
    }
    let unanswered = match (webhook.fail, written.act) {
        (Fail::Open, None) => None,
        (Fail::Open, Some(_)) => {
            return Err("`act` is what is done with webhook.fail: closed only".to_owned());
        }
        (Fail::Closed, Some(WrittenAct::Replace | WrittenAct::End)) => Some(act(written)?),
        (Fail::Closed, _) => return Err("webhook.fail: closed needs act: replace or act: end".to_owned()),
    };
    Ok(Judge {
        name: written.name.clone(),
        directions: directions(written),
        url: address(&webhook.url)?,
        deadline: webhook.deadline,
        unanswered,
        say: written.say.clone(),
        masks: webhook.masks,
        // What hides words protects somebody, and what is in a set is demanded wherever it runs.
        is_optional: webhook.fail == Fail::Open && !webhook.masks && written.set.is_none(),
        secret: secret((webhook.secret_env.as_deref(), webhook.secret_file.as_deref()), environment)?,
        http: client(webhook.ca_file.as_deref())?,
    })
}

/// Words of callers travel inside TLS unless they stay on this machine.
pub(super) fn address(url: &str) -> Result<Url, String> {
    let parsed = Url::parse(url).map_err(|error| format!("webhook.url cannot be used: {error}"))?;
    let is_here = parsed.host_str().is_some_and(|host| {
        let host = host.trim_matches(['[', ']']);
        host == "localhost" || host.parse().is_ok_and(|address: IpAddr| address.is_loopback())
    });
    match parsed.scheme() {
        "https" => Ok(parsed),
        "http" if is_here => Ok(parsed),
        _ => Err("webhook.url must begin with https://, or http:// for this machine".to_owned()),
    }
}

/// The secret of a webhook, from the environment or from a file.
pub(super) fn secret(
    (variable, file): (Option<&str>, Option<&Path>),
    environment: &dyn Fn(&str) -> Option<String>,
) -> Result<Option<Secret>, String> {
    let secret = match (variable, file) {
        (Some(_), Some(_)) => return Err("webhook has both secret_env and secret_file; keep one".to_owned()),
        (None, None) => return Ok(None),
        (Some(variable), None) => environment(variable).ok_or_else(|| {
            format!("webhook.secret_env names {variable}, which is not set in the environment")
        })?,
        (None, Some(file)) => std::fs::read_to_string(file)
            .map_err(|error| format!("webhook.secret_file {} cannot be read: {error}", file.display()))?,
    };
    match secret.trim() {
        secret if secret.len() >= SHORTEST_SECRET => Ok(Some(Secret::new(secret))),
        _ => Err(format!("the secret of webhook must have {SHORTEST_SECRET} or more characters")),
    }
}

/// A client that trusts the authorities of a file besides the public ones.
pub(super) fn client(authorities: Option<&Path>) -> Result<reqwest::Client, String> {
    let read = |path: &Path| {
        let unusable =
            |reason: String| format!("webhook.ca_file {} cannot be used: {reason}", path.display());
        let pem = std::fs::read(path).map_err(|error| unusable(error.to_string()))?;
        reqwest::Certificate::from_pem_bundle(&pem).map_err(|error| unusable(error.to_string()))
    };
    let authorities = authorities.map(read).transpose()?.unwrap_or_default();
    webhook::client(authorities).map_err(|error| format!("webhook: TLS cannot be set up: {error}"))
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
    let Some(act) = written.act else { return Err("`act` must be given".to_owned()) };
    match (act, &written.say) {
        (WrittenAct::Replace, Some(say)) if !say.trim().is_empty() && !say.contains('\n') => {
            Ok(Act::Replace { say: say.clone() })
        }
        (WrittenAct::Replace, _) => Err("act: replace needs one sentence in `say`".to_owned()),
        (_, Some(_)) => Err("`say` is only said with act: replace".to_owned()),
        (WrittenAct::Note, None) => Ok(Act::Note),
        (WrittenAct::Mask, None) => Ok(Act::Mask),
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

#[cfg(test)]
mod tests {
    use voxgate_policy::decision::{Obligations, PolicyFile};

    use super::*;

    #[test]
    fn a_set_that_a_policy_demands_has_a_rule() {
        let text = r#"@id("cards") @guardrail("pii, brand") permit (principal, action, resource);"#;
        let authorizer = Authorizer::load(&[PolicyFile { name: "mine.cedar", text }]).unwrap();
        let written = "[{ name: cards, set: pii, on: [caller], personal: [card], act: note }]";
        let written: Vec<Guardrail> = serde_saphyr::from_str(written).unwrap();
        let mut problems = Vec::new();
        let sets = on_demand(&written, Some(&authorizer), &mut problems);
        assert_eq!(problems.len(), 1, "{problems:?}");
        assert!(problems[0].contains("cards") && problems[0].contains("brand"), "{problems:?}");
        assert!(!sets.runs("cards", &Obligations::default()));
    }
}
