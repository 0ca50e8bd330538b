//! What tool calls are judged by: the policies, and the tools each agent has.

use std::sync::Arc;

use voxgate_policy::agent::Agents;
use voxgate_policy::decision::Authorizer;

use crate::approvals::HeldCalls;

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
