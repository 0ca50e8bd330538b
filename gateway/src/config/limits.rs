//! Limits of organisations, teams, keys, agents and models.

use std::collections::BTreeMap;
use std::time::Duration;

use voxgate_policy::limits::Rate;
use voxgate_policy::limits::rules::{Level, LimitRule, LimitRules, Resource, Whom};
use voxgate_policy::routing::ModelPattern;

use super::written;
use crate::limits::AUDIO_UNIT;

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_mins(1);

/// Every rule, or those without a fault.
pub(super) fn check(rules: &[written::LimitRule], problems: &mut Vec<String>) -> LimitRules {
    let checked = rules.iter().enumerate().filter_map(|(index, rule)| {
        let before = problems.len();
        let checked = check_rule(&format!("limits.rules[{index}]"), rule, problems);
        checked.filter(|_| problems.len() == before)
    });
    LimitRules::new(checked.collect())
}

fn check_rule(name: &str, rule: &written::LimitRule, problems: &mut Vec<String>) -> Option<LimitRule> {
    let written::LimitRule { organisation, team, key, agent, model, each, sessions, .. } = rule;
    let gap = [organisation.is_some(), team.is_some(), key.is_some(), agent.is_some()];
    if gap.windows(2).any(|pair| !pair[0] && pair[1]) {
        problems.push(format!("{name} names a team, key or agent without what it belongs to"));
    }
    if *sessions == Some(0) {
        problems.push(format!("{name}.sessions must be at least 1"));
    }
    let before = problems.len();
    let rates = rates(name, rule, problems);
    if rates.is_empty() && sessions.is_none() && before == problems.len() {
        problems.push(format!("{name} limits nothing"));
    }
    let model = model.as_deref().map(ModelPattern::parse).transpose();
    let model = model.map_err(|error| problems.push(format!("{name}.model: {error}"))).ok()?;
    let whom = Whom {
        organisation: organisation.clone(),
        team: team.clone(),
        key: key.clone(),
        agent: agent.clone(),
        model,
    };
    let each = each.map(|each| match each {
        written::Level::Organisation => Level::Organisation,
        written::Level::Team => Level::Team,
        written::Level::Key => Level::Key,
        written::Level::Agent => Level::Agent,
    });
    Some(LimitRule { whom, each, sessions: *sessions, rates })
}

fn rates(name: &str, rule: &written::LimitRule, problems: &mut Vec<String>) -> BTreeMap<Resource, Rate> {
    let in_a_second = (SECOND.as_millis() / AUDIO_UNIT.as_millis()) as u64;
    let audio = rule.audio_seconds_per_minute.map(|seconds| seconds.saturating_mul(in_a_second));
    let rates = [
        ("session_starts_per_second", Resource::Starts, rule.session_starts_per_second, SECOND),
        ("audio_seconds_per_minute", Resource::Audio, audio, MINUTE),
        ("responses_per_minute", Resource::Responses, rule.responses_per_minute, MINUTE),
        ("tool_calls_per_minute", Resource::ToolCalls, rule.tool_calls_per_minute, MINUTE),
        ("tokens_per_minute", Resource::Tokens, rule.tokens_per_minute, MINUTE),
    ];
    let checked =
        rates.into_iter().filter_map(|(field, resource, amount, window)| match Rate::new(amount?, window) {
            Ok(rate) => Some((resource, rate)),
            Err(error) => {
                problems.push(format!("{name}.{field}: {error}"));
                None
            }
        });
    checked.collect()
}

#[cfg(test)]
mod tests {
    use voxgate_protocol::tenant::TenantPath;

    use super::*;

    fn read(text: &str) -> Result<LimitRules, Vec<String>> {
        let written: Vec<written::LimitRule> = serde_saphyr::from_str(text).unwrap();
        let mut problems = Vec::new();
        let rules = check(&written, &mut problems);
        if problems.is_empty() { Ok(rules) } else { Err(problems) }
    }

    #[test]
    fn every_limit_reaches_the_session_it_is_for() {
        let rules = read(
            "- { organisation: default, each: key, sessions: 3, session_starts_per_second: 2, audio_seconds_per_minute: 90 }
- { model: \"large*\", responses_per_minute: 5, tool_calls_per_minute: 6, tokens_per_minute: 7 }",
        );
        let rules = rules.unwrap();
        let small = rules.of(&TenantPath::default(), "small");
        assert_eq!(small.places[0].most, 3);
        assert_eq!(small.narrowest(Resource::Starts), Some(2));
        assert_eq!(small.narrowest(Resource::Audio), Some(900), "tenths of a second");
        assert_eq!(small.narrowest(Resource::Tokens), None);
        let large = rules.of(&TenantPath::default(), "large-1");
        let narrowest =
            [Resource::Responses, Resource::ToolCalls, Resource::Tokens].map(|each| large.narrowest(each));
        assert_eq!(narrowest, [Some(5), Some(6), Some(7)]);
    }

    #[test]
    fn every_fault_of_a_rule_is_named() {
        let problems = read(
            "- { team: red, sessions: 0 }
- { organisation: acme }
- { model: \"a*b\", tokens_per_minute: 0 }",
        );
        let problems = problems.unwrap_err();
        assert_eq!(problems.len(), 5, "{problems:#?}");
        assert!(problems[2].starts_with("limits.rules[1] limits nothing"), "{problems:#?}");
    }
}
