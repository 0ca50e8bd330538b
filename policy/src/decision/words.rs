//! What is asked, in the words of the schema.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use cedar_policy::{Context, Entity, EntityId, EntityTypeName, EntityUid, RestrictedExpression};
use voxgate_protocol::tenant::{OrganisationId, TeamId};

use crate::directory::Caller;

/// The acts policies decide about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Act {
    /// A session begins.
    SessionStart,
    /// A session is led to a model.
    ModelUse,
    /// Audio and words go to a region.
    DataTransfer,
    /// The model calls a tool.
    ToolCall,
    /// Voices are kept.
    RecordAudio,
    /// Words are kept.
    RecordTranscript,
    /// Something of the administration is read.
    AdminRead,
    /// Something of the administration is changed.
    AdminWrite,
}

impl Act {
    /// Every act.
    pub const ALL: [Self; 8] = [
        Self::SessionStart,
        Self::ModelUse,
        Self::DataTransfer,
        Self::ToolCall,
        Self::RecordAudio,
        Self::RecordTranscript,
        Self::AdminRead,
        Self::AdminWrite,
    ];

    /// The name in policies and in metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::SessionStart => "session.start",
            Self::ModelUse => "model.use",
            Self::DataTransfer => "data.transfer",
            Self::ToolCall => "tool.call",
            Self::RecordAudio => "record.audio",
            Self::RecordTranscript => "record.transcript",
            Self::AdminRead => "admin.read",
            Self::AdminWrite => "admin.write",
        }
    }

    /// The group it is in, if it is in one.
    pub(super) const fn group(self) -> Option<&'static str> {
        match self {
            Self::RecordAudio | Self::RecordTranscript => Some("record"),
            Self::AdminRead | Self::AdminWrite => Some("admin"),
            _ => None,
        }
    }
}

/// How much harm a tool can do; the configuration says so.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Risk {
    /// It only looks.
    ReadOnly,
    /// It changes what can be changed back. What nobody described counts as this.
    #[default]
    Ordinary,
    /// It does what cannot be taken back.
    Dangerous,
}

impl Risk {
    /// The word in configurations and policies.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ReadOnly => "read_only",
            Self::Ordinary => "ordinary",
            Self::Dangerous => "dangerous",
        }
    }

    /// Reads the word.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        [Self::ReadOnly, Self::Ordinary, Self::Dangerous].into_iter().find(|risk| risk.as_str() == word)
    }
}

/// What a caller wants to do.
#[derive(Clone, Copy, Debug)]
pub enum Question<'a> {
    /// Begin a session in the caller's team.
    SessionStart {
        /// `webrtc` or `websocket`.
        transport: &'a str,
        /// `conversation` or `transcription`.
        purpose: &'a str,
    },
    /// Be led to a model.
    ModelUse {
        /// The model's name, as the client gave it.
        model: &'a str,
        /// The configured provider.
        provider: &'a str,
        /// Where the provider works, if the configuration says so.
        region: Option<&'a str>,
        /// `conversation` or `transcription`.
        purpose: &'a str,
    },
    /// Send audio and words to a region.
    DataTransfer {
        /// The region.
        region: &'a str,
    },
    /// Call a tool.
    ToolCall {
        /// Its name.
        tool: &'a str,
        /// How much harm it can do.
        risk: Risk,
    },
    /// Keep voices of the caller's team.
    RecordAudio {
        /// For how long.
        keep: Duration,
    },
    /// Keep words of the caller's team.
    RecordTranscript {
        /// For how long.
        keep: Duration,
    },
    /// Read or change something of an organisation, or of one of its teams.
    Administer {
        /// Whether something is changed.
        writes: bool,
        /// What it is about, such as `keys`.
        subject: &'a str,
        /// Whose.
        organisation: &'a OrganisationId,
        /// Of which team; `None` for the whole organisation.
        team: Option<&'a TeamId>,
    },
}

impl Question<'_> {
    /// The act asked about.
    #[must_use]
    pub const fn act(&self) -> Act {
        match self {
            Self::SessionStart { .. } => Act::SessionStart,
            Self::ModelUse { .. } => Act::ModelUse,
            Self::DataTransfer { .. } => Act::DataTransfer,
            Self::ToolCall { .. } => Act::ToolCall,
            Self::RecordAudio { .. } => Act::RecordAudio,
            Self::RecordTranscript { .. } => Act::RecordTranscript,
            Self::Administer { writes: false, .. } => Act::AdminRead,
            Self::Administer { writes: true, .. } => Act::AdminWrite,
        }
    }

    pub(super) fn context(&self) -> Option<Context> {
        let word =
            |name: &str, value: &str| (name.to_owned(), RestrictedExpression::new_string(value.to_owned()));
        let pairs = match self {
            Self::SessionStart { transport, purpose } => {
                vec![word("transport", transport), word("purpose", purpose)]
            }
            Self::ModelUse { purpose, .. } => vec![word("purpose", purpose)],
            Self::DataTransfer { .. } | Self::ToolCall { .. } => return Some(Context::empty()),
            Self::RecordAudio { keep } | Self::RecordTranscript { keep } => {
                let seconds = i64::try_from(keep.as_secs()).unwrap_or(i64::MAX);
                vec![("keep_seconds".to_owned(), RestrictedExpression::new_long(seconds))]
            }
            Self::Administer { subject, .. } => vec![word("subject", subject)],
        };
        Context::from_pairs(pairs).ok()
    }
}

/// The entity types of the schema, read once.
#[derive(Debug)]
pub(super) struct Words {
    types: HashMap<&'static str, EntityTypeName>,
    actions: Vec<EntityUid>,
}

const TYPES: [&str; 11] =
    ["Organisation", "Team", "Role", "Key", "User", "Agent", "Provider", "Region", "Model", "Tool", "Action"];

impl Words {
    pub(super) fn new() -> Self {
        let read = |name: &'static str| Some((name, name.parse().ok()?));
        let types: HashMap<_, EntityTypeName> = TYPES.into_iter().filter_map(read).collect();
        let words = Self { types, actions: Vec::new() };
        let actions = Act::ALL.iter().filter_map(|act| words.uid("Action", act.as_str())).collect();
        Self { actions, ..words }
    }

    fn uid(&self, kind: &str, id: &str) -> Option<EntityUid> {
        let kind = self.types.get(kind)?.clone();
        Some(EntityUid::from_type_name_and_id(kind, EntityId::new(id)))
    }

    /// The act, with the group it is in.
    pub(super) fn action(&self, act: Act, entities: &mut Vec<Entity>) -> EntityUid {
        let action = self.actions[act as usize].clone();
        if let Some(group) = act.group().and_then(|group| self.uid("Action", group)) {
            entities.push(Entity::new_no_attrs(action.clone(), HashSet::from([group])));
        }
        action
    }

    /// The caller, with everything it is in.
    pub(super) fn principal(&self, caller: &Caller, entities: &mut Vec<Entity>) -> Option<EntityUid> {
        let tenancy = &caller.tenancy;
        let organisation = self.uid("Organisation", tenancy.organisation.as_str())?;
        let team_id = format!("{}/{}", tenancy.organisation, tenancy.team);
        let team = self.uid("Team", &team_id)?;
        let role = self.uid("Role", caller.role.as_str())?;
        let kind = if caller.is_signed_in { "User" } else { "Key" };
        let key = self.uid(kind, &format!("{team_id}/{}", tenancy.key))?;
        let place = || {
            let reference = |uid: &EntityUid| RestrictedExpression::new_entity_uid(uid.clone());
            HashMap::from([
                ("organisation".to_owned(), reference(&organisation)),
                ("team".to_owned(), reference(&team)),
            ])
        };
        let mut principal = key.clone();
        entities.push(Entity::new(key.clone(), place(), HashSet::from([team.clone(), role])).ok()?);
        if let Some(agent) = &tenancy.agent {
            principal = self.uid("Agent", &format!("{team_id}/{agent}"))?;
            entities.push(Entity::new(principal.clone(), place(), HashSet::from([key])).ok()?);
        }
        entities.push(Entity::new_no_attrs(team.clone(), HashSet::from([organisation.clone()])));
        Some(principal)
    }

    /// What the act is done to, with everything that is in.
    pub(super) fn resource(
        &self,
        caller: &Caller,
        question: &Question<'_>,
        entities: &mut Vec<Entity>,
    ) -> Option<EntityUid> {
        let tenancy = &caller.tenancy;
        match *question {
            Question::SessionStart { .. }
            | Question::RecordAudio { .. }
            | Question::RecordTranscript { .. } => {
                self.uid("Team", &format!("{}/{}", tenancy.organisation, tenancy.team))
            }
            Question::ModelUse { model, provider, region, .. } => {
                let model = self.uid("Model", model)?;
                let mut parents = HashSet::from([self.uid("Provider", provider)?]);
                parents.extend(region.and_then(|region| self.uid("Region", region)));
                entities.push(Entity::new_no_attrs(model.clone(), parents));
                Some(model)
            }
            Question::DataTransfer { region } => self.uid("Region", region),
            Question::ToolCall { tool, risk } => {
                let tool = self.uid("Tool", tool)?;
                let risk = RestrictedExpression::new_string(risk.as_str().to_owned());
                let attributes = HashMap::from([("risk".to_owned(), risk)]);
                entities.push(Entity::new(tool.clone(), attributes, HashSet::new()).ok()?);
                Some(tool)
            }
            Question::Administer { organisation, team: None, .. } => {
                self.uid("Organisation", organisation.as_str())
            }
            Question::Administer { organisation, team: Some(team), .. } => {
                let uid = self.uid("Team", &format!("{organisation}/{team}"))?;
                let is_own = tenancy.organisation == *organisation && tenancy.team == *team;
                if !is_own {
                    let parent = self.uid("Organisation", organisation.as_str())?;
                    entities.push(Entity::new_no_attrs(uid.clone(), HashSet::from([parent])));
                }
                Some(uid)
            }
        }
    }
}
