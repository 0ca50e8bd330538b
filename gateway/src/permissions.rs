//! What tool calls are judged by: the policies, and the tools each agent has.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use voxgate_policy::decision::Authorizer;
use voxgate_policy::tool::ToolRules;
use voxgate_protocol::tenant::AgentId;

use crate::approvals::HeldCalls;

/// The name of the agent whose rules hold for everybody without rules of their own.
pub(crate) const EVERYBODY: &str = "*";

/// How long a person has to decide if the configuration does not say: as long as a caller is likely to wait.
pub(crate) const APPROVAL_WINDOW: Duration = Duration::from_secs(60);

/// The tools of an agent, and how people are asked about them.
#[derive(Clone, Debug)]
pub(crate) struct AgentRules {
    pub(crate) tools: Arc<ToolRules>,
    /// How long a person has to decide.
    pub(crate) approval_window: Duration,
    /// What the caller hears meanwhile; without it the model finds its own words.
    pub(crate) filler: Option<String>,
}

impl Default for AgentRules {
    fn default() -> Self {
        Self { tools: Arc::new(ToolRules::unrestricted()), approval_window: APPROVAL_WINDOW, filler: None }
    }
}

/// The agents of the configuration, by name.
#[derive(Clone, Debug, Default)]
pub(crate) struct Agents {
    by_name: BTreeMap<String, AgentRules>,
    others: AgentRules,
}

impl Agents {
    pub(crate) fn new(mut by_name: BTreeMap<String, AgentRules>) -> Self {
        let others = by_name.remove(EVERYBODY).unwrap_or_default();
        Self { by_name, others }
    }

    /// The rules of a session of this agent; those of everybody if it has none.
    pub(crate) fn rules(&self, agent: Option<&AgentId>) -> &AgentRules {
        agent.and_then(|agent| self.by_name.get(agent.as_str())).unwrap_or(&self.others)
    }
}

/// What sessions are given to judge tool calls.
#[derive(Clone)]
pub(crate) struct Permissions {
    pub(crate) authorizer: Arc<Authorizer>,
    pub(crate) agents: Arc<Agents>,
    /// The calls that wait for a person.
    pub(crate) held: HeldCalls,
}

#[cfg(test)]
impl Permissions {
    /// The built-in policies, and every tool with anything.
    pub(crate) fn unrestricted() -> Self {
        let metrics = Arc::new(voxgate_telemetry::metrics::Metrics::new().unwrap());
        let authorizer = Arc::new(Authorizer::load(&[]).unwrap());
        Self { authorizer, agents: Arc::default(), held: HeldCalls::new(metrics, 0) }
    }
}
