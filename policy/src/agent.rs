//! Agents: which tools each of them has, and how people are asked about its calls.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use voxgate_protocol::tenant::AgentId;

use crate::tool::ToolRules;

/// The name of the agent whose rules hold for everybody without rules of their own.
pub const EVERYBODY: &str = "*";

/// How long a person has to decide if nobody says: as long as a caller is likely to wait.
pub const APPROVAL_WINDOW: Duration = Duration::from_secs(60);

/// The tools of an agent, and how people are asked about them. Without any rules every tool may be called.
#[derive(Clone, Debug)]
pub struct AgentRules {
    /// The tools.
    pub tools: Arc<ToolRules>,
    /// How long a person has to decide.
    pub approval_window: Duration,
    /// What the caller hears meanwhile; without it the model finds its own words.
    pub filler: Option<String>,
}

impl Default for AgentRules {
    fn default() -> Self {
        Self { tools: Arc::new(ToolRules::unrestricted()), approval_window: APPROVAL_WINDOW, filler: None }
    }
}

/// Agents by name.
#[derive(Clone, Debug, Default)]
pub struct Agents {
    by_name: BTreeMap<String, AgentRules>,
    others: AgentRules,
}

impl Agents {
    /// These agents; the one named [`EVERYBODY`] stands for all others.
    #[must_use]
    pub fn new(mut by_name: BTreeMap<String, AgentRules>) -> Self {
        let others = by_name.remove(EVERYBODY).unwrap_or_default();
        Self { by_name, others }
    }

    /// The rules of a session of this agent; those of everybody if it has none.
    #[must_use]
    pub fn rules(&self, agent: Option<&AgentId>) -> &AgentRules {
        agent.and_then(|agent| self.by_name.get(agent.as_str())).unwrap_or(&self.others)
    }

    /// Every agent with its name: [`EVERYBODY`], who is always there, and then the others in the order of their names.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &AgentRules)> {
        let named = self.by_name.iter().map(|(name, rules)| (name.as_str(), rules));
        std::iter::once((EVERYBODY, &self.others)).chain(named)
    }
}
