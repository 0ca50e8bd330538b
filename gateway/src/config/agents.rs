//! Agents and their tools as they are written, and as they are checked.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use voxgate_policy::agent::{APPROVAL_WINDOW, AgentRules, Agents, EVERYBODY};
use voxgate_policy::decision::Risk;
use voxgate_policy::tool::{ArgumentLimit, ToolRule, ToolRules};
use voxgate_protocol::tenant::AgentId;

/// How long a person may be given: less nobody manages, more no caller waits.
const APPROVAL_WINDOWS: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(60 * 60);

/// What an agent may do.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Agent {
    /// The tools its model may call, by name. Default: none.
    pub(crate) tools: BTreeMap<String, Tool>,
    /// Whether it may call tools that are not named, with any arguments; they count as `ordinary`. Default false: who names
    /// tools means these.
    pub(crate) other_tools: bool,
    /// How long a person has to decide about a held call; then it counts as denied. 1s to 1h. Default 60 s: as long as a
    /// caller is likely to wait.
    #[serde(with = "humantime_serde")]
    pub(crate) approval_window: Duration,
    /// The sentence a caller hears while a person decides. Default: the model finds its own, in the language of the call.
    pub(crate) while_waiting: Option<String>,
}

impl Default for Agent {
    fn default() -> Self {
        Self {
            tools: BTreeMap::new(),
            other_tools: false,
            approval_window: APPROVAL_WINDOW,
            while_waiting: None,
        }
    }
}

/// A tool.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Tool {
    /// How much harm it can do: `read_only`, `ordinary` or `dangerous`. Policies decide by it; the built-in ones let a person
    /// decide about every call of a dangerous tool. Default `ordinary`.
    pub(crate) risk: String,
    /// What its arguments may be, by name. One with a limit may still be left out. Default: no limits.
    pub(crate) arguments: BTreeMap<String, Argument>,
    /// Whether arguments without a limit may be given. Default: only if no limits are written.
    pub(crate) other_arguments: Option<bool>,
}

impl Default for Tool {
    fn default() -> Self {
        Self { risk: Risk::default().as_str().to_owned(), arguments: BTreeMap::new(), other_arguments: None }
    }
}

/// What one argument may be: exactly one of these.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Argument {
    /// One of these texts.
    pub(crate) one_of: Vec<String>,
    /// Text of at most so many characters.
    pub(crate) longest: Option<usize>,
    /// A number of at least this; with `maximum`.
    pub(crate) minimum: Option<f64>,
    /// A number of at most this; with `minimum`.
    pub(crate) maximum: Option<f64>,
    /// True or false.
    pub(crate) boolean: bool,
}

/// Every agent, or what is wrong with them.
pub(super) fn check(written: &BTreeMap<String, Agent>, problems: &mut Vec<String>) -> Arc<Agents> {
    let mut agents = BTreeMap::new();
    for (name, agent) in written {
        if name != EVERYBODY
            && let Err(error) = AgentId::new(name)
        {
            problems.push(format!("agents.{name}: {error}"));
        }
        agents.insert(name.clone(), check_agent(name, agent, problems));
    }
    Arc::new(Agents::new(agents))
}

fn check_agent(name: &str, written: &Agent, problems: &mut Vec<String>) -> AgentRules {
    if !APPROVAL_WINDOWS.contains(&written.approval_window) {
        problems.push(format!("agents.{name}.approval_window must be 1s to 1h"));
    }
    let is_sentence = |say: &String| !say.trim().is_empty() && !say.contains('\n');
    if !written.while_waiting.as_ref().is_none_or(is_sentence) {
        problems.push(format!("agents.{name}.while_waiting must be one sentence"));
    }
    let tools = written.tools.iter().filter_map(|(tool, written)| {
        let path = format!("agents.{name}.tools.{tool}");
        check_tool(&path, written, problems).map(|rule| (tool.clone(), rule))
    });
    let tools = ToolRules { tools: tools.collect(), allows_others: written.other_tools };
    AgentRules {
        tools: Arc::new(tools),
        approval_window: written.approval_window,
        filler: written.while_waiting.clone(),
    }
}

fn check_tool(path: &str, written: &Tool, problems: &mut Vec<String>) -> Option<ToolRule> {
    let before = problems.len();
    let risk = Risk::from_word(&written.risk);
    if risk.is_none() {
        let risk = &written.risk;
        problems.push(format!("{path}.risk is {risk:?}; it must be read_only, ordinary or dangerous"));
    }
    let mut arguments = BTreeMap::new();
    for (argument, written) in &written.arguments {
        match limit(written) {
            Ok(limit) => drop(arguments.insert(argument.clone(), limit)),
            Err(reason) => problems.push(format!("{path}.arguments.{argument}: {reason}")),
        }
    }
    let allows_others = written.other_arguments.unwrap_or(written.arguments.is_empty());
    let rule = ToolRule { risk: risk?, arguments, allows_others };
    (before == problems.len()).then_some(rule)
}

fn limit(written: &Argument) -> Result<ArgumentLimit, &'static str> {
    let number = match (written.minimum, written.maximum) {
        (Some(minimum), Some(maximum)) if minimum <= maximum => {
            Some(ArgumentLimit::Number { minimum, maximum })
        }
        (None, None) => None,
        _ => return Err("a number needs minimum and maximum, the smaller first"),
    };
    let ways = [
        (!written.one_of.is_empty()).then(|| ArgumentLimit::OneOf(written.one_of.iter().cloned().collect())),
        written.longest.map(|longest| ArgumentLimit::Text { longest }),
        number,
        written.boolean.then_some(ArgumentLimit::Boolean),
    ];
    let mut ways = ways.into_iter().flatten();
    match (ways.next(), ways.next()) {
        (Some(limit), None) => Ok(limit),
        _ => Err("give exactly one of one_of, longest, minimum with maximum, and boolean: true"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Arc<Agents>, Vec<String>> {
        let written: BTreeMap<String, Agent> = serde_saphyr::from_str(text).unwrap();
        let mut problems = Vec::new();
        let agents = check(&written, &mut problems);
        if problems.is_empty() { Ok(agents) } else { Err(problems) }
    }

    fn id(name: &str) -> Option<AgentId> {
        Some(AgentId::new(name).unwrap())
    }

    #[test]
    fn an_agent_has_the_tools_it_is_given_and_nothing_else() {
        let agents = read(
            "
             billing:
               approval_window: 90s
               while_waiting: One moment, please.
               tools:
                 look: {}
                 refund: { risk: dangerous, arguments: { amount: { minimum: 0, maximum: 99.5 },
                           currency: { one_of: [EUR, USD] }, note: { longest: 10 }, urgent: { boolean: true } } }
             '*': { other_tools: true, tools: { erase: { risk: dangerous } } }",
        )
        .unwrap();
        let billing = agents.rules(id("billing").as_ref());
        assert_eq!(billing.approval_window, Duration::from_secs(90));
        assert_eq!(billing.filler.as_deref(), Some("One moment, please."));
        assert_eq!(billing.tools.check("look", r#"{"anything": 1}"#), Ok(Risk::Ordinary));
        let refund = r#"{"amount": 99, "currency": "EUR", "note": "thanks", "urgent": false}"#;
        assert_eq!(billing.tools.check("refund", refund), Ok(Risk::Dangerous));
        for (tool, arguments) in
            [("refund", r#"{"amount": 100}"#), ("refund", r#"{"other": 1}"#), ("erase", "{}")]
        {
            assert!(billing.tools.check(tool, arguments).is_err(), "{tool} {arguments}");
        }
        for agent in [None, id("unknown")] {
            let rules = agents.rules(agent.as_ref());
            assert_eq!(rules.tools.check("erase", "{}"), Ok(Risk::Dangerous));
            assert_eq!(rules.tools.check("anything", "{}"), Ok(Risk::Ordinary));
        }
    }

    #[test]
    fn without_agents_every_tool_may_be_called() {
        let agents = read("{}").unwrap();
        assert_eq!(agents.rules(id("any").as_ref()).tools.check("any", "{}"), Ok(Risk::Ordinary));
    }

    #[test]
    fn every_fault_of_an_agent_is_named_with_its_place() {
        let problems = read(
            "
             bad name: {}
             a: { approval_window: 2h, while_waiting: '', tools: { t: { risk: high, arguments: {
                  none: {}, half: { minimum: 1 }, upside: { minimum: 2, maximum: 1 },
                  two: { longest: 1, boolean: true } } } } }",
        )
        .unwrap_err();
        assert_eq!(problems.len(), 8, "{problems:#?}");
        assert!(problems.iter().any(|problem| problem.starts_with("agents.a.tools.t.arguments.two: give")));
    }
}
