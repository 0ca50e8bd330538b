//! The policies in force, and what they would say.

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use serde_json::Number;
use std::collections::BTreeSet;
use std::time::Duration;
use utoipa::ToSchema;

use voxgate_policy::decision::{Obligations, PolicyNote, Question, Risk};
use voxgate_policy::directory::{Caller, Scope};
use voxgate_protocol::tenant::{AgentId, KeyId, OrganisationId, TeamId, TenantPath};

use super::AdminApi;
use super::access::Administrator;
use super::keys::RoleWord;
use super::order::{Asked, By, Inquiry, whole};
use super::page::{Page, PageQuery};
use super::reach::Reach;
use super::reply::{AdminError, Refusals};

/// Longest word of a question, in characters.
const LONGEST_WORD: usize = 200;

fn zero() -> Number {
    Number::from(0_u8)
}

/// What a policy demands of what it permits.
#[derive(Debug, Serialize, ToSchema)]
struct Demands {
    /// A person has to approve.
    needs_approval: bool,
    /// Longest session.
    max_session_seconds: Option<u64>,
    /// Guardrail sets that have to run.
    guardrails: Vec<String>,
}

impl From<&Obligations> for Demands {
    fn from(obligations: &Obligations) -> Self {
        Self {
            needs_approval: obligations.needs_approval,
            max_session_seconds: obligations.max_session.map(|most| most.as_secs()),
            guardrails: obligations.guardrails.iter().map(ToString::to_string).collect(),
        }
    }
}

/// A policy in force.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Policy {
    /// Its `@id`, by which logs and decisions name it.
    id: String,
    /// SHA-256 of its text, 64 hexadecimal digits.
    hash: String,
    /// Whether it forbids; otherwise it permits.
    forbids: bool,
    /// Whether it comes with the gateway.
    is_built_in: bool,
    /// The organisation, or `organisation/team`, it is for alone; null if it is for all.
    tenant: Option<String>,
    /// The acts it speaks of.
    acts: Vec<&'static str>,
    demands: Demands,
}

impl From<&PolicyNote> for Policy {
    fn from(note: &PolicyNote) -> Self {
        Self {
            id: note.name.to_string(),
            hash: note.hash.clone(),
            forbids: note.forbids,
            is_built_in: note.is_built_in,
            tenant: note.tenant.as_deref().map(str::to_owned),
            acts: note.acts.iter().map(|act| act.as_str()).collect(),
            demands: Demands::from(&note.obligations),
        }
    }
}

/// A policy that is for all may speak of others in its text and its name; only whoever runs the gateway sees it.
fn sees(administrator: &Administrator, note: &PolicyNote) -> bool {
    let TenantPath { organisation, team, .. } = &administrator.caller.tenancy;
    match (&administrator.reach, note.tenant.as_deref()) {
        (Reach::Installation, _) => true,
        (_, None) => note.is_built_in,
        (_, Some(tenant)) if tenant == organisation.as_str() => true,
        (Reach::Organisation(own), Some(tenant)) => {
            tenant.split_once('/').is_some_and(|(organisation, _)| organisation == own.as_str())
        }
        (Reach::Team(..), Some(tenant)) => tenant == format!("{organisation}/{team}"),
    }
}

/// The policies in force
///
/// Those that come with the gateway, and those for whoever asks; whoever runs the gateway sees all.
#[utoipa::path(
    get,
    path = "/admin/v1/policies",
    tag = "policies",
    params(PageQuery),
    responses((status = 200, body = Page<Policy>), Refusals)
)]
pub(super) async fn list_policies(
    State(api): State<AdminApi>,
    By(administrator): By,
    Asked(query): Asked<PageQuery>,
) -> Result<Json<Page<Policy>>, AdminError> {
    let piece = query.read()?;
    let terms = api.terms.now();
    let seen = terms.authorizer.policies().iter().filter(|note| sees(&administrator, note));
    Ok(Json(piece.numbered(seen.map(Policy::from))))
}

/// An act that might be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, ToSchema)]
enum ActWord {
    #[serde(rename = "session.start")]
    SessionStart,
    #[serde(rename = "model.use")]
    ModelUse,
    #[serde(rename = "data.transfer")]
    DataTransfer,
    #[serde(rename = "tool.call")]
    ToolCall,
    #[serde(rename = "record.audio")]
    RecordAudio,
    #[serde(rename = "record.transcript")]
    RecordTranscript,
    #[serde(rename = "admin.read")]
    AdminRead,
    #[serde(rename = "admin.write")]
    AdminWrite,
}

/// How much harm a tool can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum RiskWord {
    ReadOnly,
    Ordinary,
    Dangerous,
}

/// Who might do what. What an act has no use for is not looked at; what is left out is empty.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct WhatIf {
    act: ActWord,
    /// Who would do it: of this organisation.
    #[schema(min_length = 1, max_length = 64, pattern = "^[A-Za-z0-9._-]+$")]
    organisation: String,
    /// Of this team.
    #[schema(min_length = 1, max_length = 64, pattern = "^[A-Za-z0-9._-]+$")]
    team: String,
    /// With a key of this id, which need not exist.
    #[schema(min_length = 1, max_length = 64, pattern = "^[A-Za-z0-9._-]+$")]
    key: String,
    role: RoleWord,
    /// The agent the key is narrowed to.
    #[serde(default)]
    #[schema(min_length = 1, max_length = 64, pattern = "^[A-Za-z0-9._-]+$")]
    agent: Option<String>,
    /// `webrtc` or `websocket`, for `session.start`.
    #[serde(default)]
    #[schema(max_length = 200)]
    transport: String,
    /// `conversation` or `transcription`, for `session.start` and `model.use`.
    #[serde(default)]
    #[schema(max_length = 200)]
    purpose: String,
    /// For `model.use`.
    #[serde(default)]
    #[schema(max_length = 200)]
    model: String,
    /// For `model.use`.
    #[serde(default)]
    #[schema(max_length = 200)]
    provider: String,
    /// For `model.use` and `data.transfer`.
    #[serde(default)]
    #[schema(max_length = 200)]
    region: Option<String>,
    /// For `tool.call`.
    #[serde(default)]
    #[schema(max_length = 200)]
    tool: String,
    /// For `tool.call`. Default: `ordinary`.
    #[serde(default)]
    risk: Option<RiskWord>,
    /// For `record.audio` and `record.transcript`.
    #[serde(default = "zero")]
    #[schema(value_type = u64, minimum = 0, maximum = 4294967295_i64)]
    keep_seconds: Number,
    /// For `admin.read` and `admin.write`: what it is about, such as `keys`.
    #[serde(default)]
    #[schema(max_length = 200)]
    subject: String,
}

/// What the policies would say. Nothing happens, and nothing is counted.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Verdict {
    /// `allow`, `ask_person` or `deny`.
    effect: &'static str,
    /// The ids of the policies that decide; none if nothing permits the act.
    policies: Vec<String>,
    demands: Demands,
}

/// What the policies would say about an act
///
/// Nothing happens, and nothing is written down.
#[utoipa::path(
    post,
    path = "/admin/v1/policies/decide",
    tag = "policies",
    request_body = WhatIf,
    responses((status = 200, body = Verdict), Refusals)
)]
pub(super) async fn decide(
    State(api): State<AdminApi>,
    By(administrator): By,
    Inquiry(what): Inquiry<WhatIf>,
) -> Result<Json<Verdict>, AdminError> {
    let caller = what.caller()?;
    if !administrator.covers(&caller.tenancy) {
        return Err(AdminError::not_found("team"));
    }
    let decision = api.terms.now().authorizer.decide(&caller, &what.question(&caller)?);
    Ok(Json(Verdict {
        effect: decision.effect.as_str(),
        policies: decision.policies.iter().map(ToString::to_string).collect(),
        demands: Demands::from(&decision.obligations),
    }))
}

impl WhatIf {
    fn caller(&self) -> Result<Caller, AdminError> {
        let malformed = |param: &'static str| {
            move |_| AdminError::invalid(format!("'{param}' is no name.")).with_param(param)
        };
        let tenancy = TenantPath {
            organisation: OrganisationId::new(&self.organisation).map_err(malformed("organisation"))?,
            team: TeamId::new(&self.team).map_err(malformed("team"))?,
            key: KeyId::new(&self.key).map_err(malformed("key"))?,
            agent: self.agent.as_deref().map(AgentId::new).transpose().map_err(malformed("agent"))?,
        };
        let scopes: BTreeSet<Scope> = Scope::ALL.into();
        Ok(Caller { tenancy, role: self.role.role(), scopes, is_signed_in: false })
    }

    fn question<'a>(&'a self, caller: &'a Caller) -> Result<Question<'a>, AdminError> {
        let keep = Duration::from_secs(whole(&self.keep_seconds, u64::from(u32::MAX), "keep_seconds")?);
        self.check_words()?;
        let administer = |writes: bool| Question::Administer {
            writes,
            subject: &self.subject,
            organisation: &caller.tenancy.organisation,
            team: Some(&caller.tenancy.team),
        };
        Ok(match self.act {
            ActWord::SessionStart => {
                Question::SessionStart { transport: &self.transport, purpose: &self.purpose }
            }
            ActWord::ModelUse => Question::ModelUse {
                model: &self.model,
                provider: &self.provider,
                region: self.region.as_deref(),
                purpose: &self.purpose,
            },
            ActWord::DataTransfer => {
                Question::DataTransfer { region: self.region.as_deref().unwrap_or_default() }
            }
            ActWord::ToolCall => Question::ToolCall { tool: &self.tool, risk: self.risk() },
            ActWord::RecordAudio => Question::RecordAudio { keep },
            ActWord::RecordTranscript => Question::RecordTranscript { keep },
            ActWord::AdminRead => administer(false),
            ActWord::AdminWrite => administer(true),
        })
    }

    fn check_words(&self) -> Result<(), AdminError> {
        let words = [
            ("transport", self.transport.as_str()),
            ("purpose", &self.purpose),
            ("model", &self.model),
            ("provider", &self.provider),
            ("region", self.region.as_deref().unwrap_or_default()),
            ("tool", &self.tool),
            ("subject", &self.subject),
        ];
        let long = words.into_iter().find(|(_, word)| word.chars().count() > LONGEST_WORD);
        long.map_or(Ok(()), |(param, _)| {
            let message = format!("'{param}' has at most {LONGEST_WORD} characters.");
            Err(AdminError::invalid(message).with_param(param))
        })
    }

    fn risk(&self) -> Risk {
        match self.risk {
            Some(RiskWord::ReadOnly) => Risk::ReadOnly,
            Some(RiskWord::Ordinary) | None => Risk::Ordinary,
            Some(RiskWord::Dangerous) => Risk::Dangerous,
        }
    }
}
