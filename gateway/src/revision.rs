//! Revisions of the configuration: one is in force, others follow it while the gateway runs.
//!
//! - [`Revision`]: what a session keeps.
//! - [`effect`]: what a change means for sessions that run.
//! - [`last_good`]: what the gateway starts with.
//! - [`keeper`]: puts configurations in force.

pub(crate) mod effect;
pub(crate) mod keeper;
pub(crate) mod last_good;

use std::sync::Arc;
use std::time::Duration;

use voxgate_media::encode::EncoderConfig;
use voxgate_media::session::InterruptionRule;
use voxgate_policy::decision::Obligations;
use voxgate_policy::guardrail::{OnDemand, RuleSet};
use voxgate_protocol::revision::RevisionName;
use voxgate_signaling::terms::Terms;

use crate::approvals::HeldCalls;
use crate::bridges::Bridges;
use crate::config::Checked;
use crate::host::LocalHost;
use crate::latency::LatencyDesk;
use crate::money::{Billing, Money, Pricing};
use crate::permissions::Permissions;
use crate::webhook::{Judge, Webhooks};

/// What sessions share whatever revision they began with. Clones share it.
#[derive(Clone)]
pub(crate) struct Shared {
    /// The tool calls that wait for a person.
    pub(crate) held: HeldCalls,
    /// The way to judges outside.
    pub(crate) webhooks: Webhooks,
    /// Who watches how long turns take.
    pub(crate) latency: Arc<LatencyDesk>,
}

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
    /// Who else is asked about what is said.
    pub(crate) judges: Arc<[Arc<Judge>]>,
    /// Which of both run only where policies demand it.
    pub(crate) on_demand: OnDemand,
    /// How they are asked.
    pub(crate) webhooks: Webhooks,
    /// Which tools may be called.
    pub(crate) permissions: Permissions,
    /// What usage costs.
    pub(crate) pricing: Arc<Pricing>,
    /// Who watches how long turns take.
    pub(crate) latency: Arc<LatencyDesk>,
    /// The providers.
    pub(crate) bridges: Bridges,
}

impl Revision {
    /// The part of a configuration that sessions keep, with what they share.
    pub(crate) fn new(name: RevisionName, config: &Checked, bridges: Bridges, shared: Shared) -> Arc<Self> {
        let Shared { held, webhooks, latency } = shared;
        Arc::new(Self {
            name,
            encoder: config.encoder,
            interruption: config.interruption.clone(),
            max_session: config.limits.session_duration,
            setup_timeout: config.limits.setup_timeout,
            silence_timeout: config.limits.silence_timeout,
            guardrails: Arc::clone(&config.guardrails),
            judges: Arc::clone(&config.judges),
            on_demand: config.on_demand.clone(),
            webhooks,
            permissions: Permissions {
                authorizer: Arc::clone(&config.authorizer),
                agents: Arc::clone(&config.agents),
                held,
            },
            pricing: Arc::clone(&config.money.pricing),
            latency,
            bridges,
        })
    }

    /// The money of the process, with what usage costs under this revision.
    pub(crate) fn billed_by(&self, money: Arc<Money>) -> Billing {
        Billing { money, pricing: Arc::clone(&self.pricing) }
    }

    /// The rules and the judges of a session of which policies demand this.
    pub(crate) fn guardrails_of(&self, demanded: &Obligations) -> (Arc<RuleSet>, Arc<[Arc<Judge>]>) {
        let runs = |name: &str| self.on_demand.runs(name, demanded);
        let judges = self.judges.iter().filter(|judge| runs(&judge.name)).map(Arc::clone).collect();
        (self.guardrails.only(runs), judges)
    }
}

/// What sessions begin with under this configuration, which the host has the rest of.
pub(crate) fn terms(config: &Checked, host: LocalHost) -> Terms {
    Terms {
        revision: host.revision.name,
        authorizer: Arc::clone(&config.authorizer),
        routes: Arc::new(config.routes.clone()),
        default_model: config.default_model.as_str().into(),
        agents: Arc::clone(&config.agents),
        limits: Arc::clone(&config.limit_rules),
        host: Arc::new(host),
    }
}
