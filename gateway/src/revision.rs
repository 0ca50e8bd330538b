//! A revision of the configuration as sessions meet it.

use std::sync::Arc;
use std::time::Duration;

use voxgate_media::encode::EncoderConfig;
use voxgate_media::session::InterruptionRule;
use voxgate_policy::bundle::RevisionName;
use voxgate_policy::guardrail::RuleSet;

use crate::approvals::HeldCalls;
use crate::bridges::Bridges;
use crate::config::Checked;
use crate::permissions::Permissions;

/// What a session takes of the configuration at its start and keeps to its end, whatever is applied meanwhile. Never changed
/// once it is made.
pub(crate) struct Revision {
    pub(crate) name: RevisionName,
    pub(crate) encoder: EncoderConfig,
    /// When speech over an answer interrupts it; `None` is always and at once.
    pub(crate) interruption: Option<InterruptionRule>,
    /// Longest session.
    pub(crate) max_session: Duration,
    /// Time a caller has to connect.
    pub(crate) setup_timeout: Duration,
    /// Silence on the network after which a caller counts as gone.
    pub(crate) silence_timeout: Duration,
    /// What may be said.
    pub(crate) guardrails: Arc<RuleSet>,
    /// Which tools may be called.
    pub(crate) permissions: Permissions,
    /// The providers.
    pub(crate) bridges: Bridges,
}

impl Revision {
    /// The part of a configuration that sessions keep. Their calls that wait for a person are those of the process.
    pub(crate) fn new(name: RevisionName, config: &Checked, bridges: Bridges, held: HeldCalls) -> Arc<Self> {
        Arc::new(Self {
            name,
            encoder: config.encoder,
            interruption: config.interruption.clone(),
            max_session: config.limits.session_duration,
            setup_timeout: config.limits.setup_timeout,
            silence_timeout: config.limits.silence_timeout,
            guardrails: Arc::clone(&config.guardrails),
            permissions: Permissions {
                authorizer: Arc::clone(&config.authorizer),
                agents: Arc::clone(&config.agents),
                held,
            },
            bridges,
        })
    }
}
