//! The agents of the configuration in force, and what each of them may do.

use std::collections::BTreeSet;

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;
use voxgate_policy::agent::{AgentRules, EVERYBODY};
use voxgate_policy::tool::{ArgumentLimit, ToolRule};
use voxgate_protocol::tenant::{AgentId, TenantPath};

use super::AdminApi;
use super::access::Administrator;
use super::keys::reach_of;
use super::order::{Asked, At, By};
use super::page::{Page, PageQuery};
use super::reach::Reach;
use super::reply::{AdminError, Refusals};

/// Most pairs of a team and an agent of its keys that are looked through; an organisation with more of them does not see the
/// agents of the rest.
const MOST_IN_USE: u32 = 10_000;

/// What one argument of a tool may be: one of the values in `one_of`, text of at most `longest` characters, a number from
/// `minimum` to `maximum`, or true or false. What does not apply is null.
#[derive(Debug, Serialize, ToSchema)]
struct ShownArgument {
    name: String,
    one_of: Option<Vec<String>>,
    longest: Option<usize>,
    minimum: Option<f64>,
    maximum: Option<f64>,
    boolean: bool,
}

impl ShownArgument {
    fn of(name: &str, limit: &ArgumentLimit) -> Self {
        let unlimited = Self {
            name: name.to_owned(),
            one_of: None,
            longest: None,
            minimum: None,
            maximum: None,
            boolean: false,
        };
        match limit {
            ArgumentLimit::OneOf(values) => {
                Self { one_of: Some(values.iter().cloned().collect()), ..unlimited }
            }
            ArgumentLimit::Text { longest } => Self { longest: Some(*longest), ..unlimited },
            ArgumentLimit::Number { minimum, maximum } => {
                Self { minimum: Some(*minimum), maximum: Some(*maximum), ..unlimited }
            }
            ArgumentLimit::Boolean => Self { boolean: true, ..unlimited },
        }
    }
}

/// A tool an agent may call.
#[derive(Debug, Serialize, ToSchema)]
struct ShownTool {
    name: String,
    /// How much harm it can do: `read_only`, `ordinary` or `dangerous`.
    risk: &'static str,
    /// The arguments that have a limit. They may be left out of a call.
    arguments: Vec<ShownArgument>,
    /// Whether other arguments may be given.
    other_arguments: bool,
}

impl ShownTool {
    fn of(name: &str, rule: &ToolRule) -> Self {
        let arguments = rule.arguments.iter().map(|(name, limit)| ShownArgument::of(name, limit));
        Self {
            name: name.to_owned(),
            risk: rule.risk.as_str(),
            arguments: arguments.collect(),
            other_arguments: rule.allows_others,
        }
    }
}

/// An agent of the configuration.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Agent {
    /// `*`: everybody without an agent, or with one that has no rules of its own.
    name: String,
    /// The tools its model may call, by name.
    tools: Vec<ShownTool>,
    /// Whether it may call tools that are not named, with any arguments; they count as `ordinary`.
    other_tools: bool,
    /// How long a person has to decide about a held call, in whole seconds.
    approval_window_seconds: u64,
    /// The sentence a caller hears meanwhile; null: the model finds its own.
    filler: Option<String>,
}

impl Agent {
    fn of(name: &str, rules: &AgentRules) -> Self {
        Self {
            name: name.to_owned(),
            tools: rules.tools.tools.iter().map(|(name, rule)| ShownTool::of(name, rule)).collect(),
            other_tools: rules.tools.allows_others,
            approval_window_seconds: rules.approval_window.as_secs(),
            filler: rules.filler.clone(),
        }
    }
}

/// Which agents exist for somebody. An agent names no tenant, and its tools may say what another one does; so whoever does
/// not run the gateway sees those to which a key in reach is narrowed, and `*`, which holds for keys without.
enum Seen {
    All,
    Named(BTreeSet<AgentId>),
}

impl Seen {
    async fn by(api: &AdminApi, administrator: &Administrator) -> Result<Self, AdminError> {
        if administrator.reach == Reach::Installation {
            return Ok(Self::All);
        }
        let stored = api.store.agents_within(reach_of(&administrator.reach), MOST_IN_USE).await?;
        let stored = stored
            .into_iter()
            .filter(|key| administrator.covers_team(&key.organisation, &key.team))
            .map(|key| key.agent);
        let configured = (api.configured)().into_iter().filter_map(|key| {
            let TenantPath { organisation, team, agent, .. } = key.caller.tenancy;
            agent.filter(|_| !key.is_revoked && administrator.covers_team(&organisation, &team))
        });
        Ok(Self::Named(stored.chain(configured).chain(administrator.caller.tenancy.agent.clone()).collect()))
    }

    fn has(&self, name: &str) -> bool {
        match self {
            Self::All => true,
            Self::Named(agents) => name == EVERYBODY || agents.iter().any(|agent| agent.as_str() == name),
        }
    }
}

/// The agents of the configuration in force
///
/// `*` and those to which a key of whoever asks is narrowed; whoever runs the gateway sees all. `GET /admin/v1/keys?agent=`
/// lists the keys narrowed to one. What stands here is changed in the configuration.
#[utoipa::path(
    get,
    path = "/admin/v1/agents",
    tag = "agents",
    params(PageQuery),
    responses((status = 200, body = Page<Agent>), Refusals)
)]
pub(super) async fn list_agents(
    State(api): State<AdminApi>,
    By(administrator): By,
    Asked(query): Asked<PageQuery>,
) -> Result<Json<Page<Agent>>, AdminError> {
    let piece = query.read()?;
    let seen = Seen::by(&api, &administrator).await?;
    let terms = api.terms.now();
    let shown = terms.agents.iter().filter(|(name, _)| seen.has(name));
    Ok(Json(piece.numbered(shown.map(|(name, rules)| Agent::of(name, rules)))))
}

/// One agent
#[utoipa::path(
    get,
    path = "/admin/v1/agents/{agent}",
    tag = "agents",
    params(("agent" = String, Path, max_length = 64, pattern = "^([*]|[A-Za-z0-9._-]+)$")),
    responses((status = 200, body = Agent), Refusals)
)]
pub(super) async fn look_at_agent(
    State(api): State<AdminApi>,
    By(administrator): By,
    At(name): At<String>,
) -> Result<Json<Agent>, AdminError> {
    let seen = Seen::by(&api, &administrator).await?;
    let terms = api.terms.now();
    let found = terms.agents.iter().find(|(known, _)| *known == name && seen.has(known));
    found.map(|(name, rules)| Json(Agent::of(name, rules))).ok_or_else(|| AdminError::not_found("agent"))
}
