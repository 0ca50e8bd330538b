//! API keys.

use std::collections::{BTreeMap, BTreeSet};

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::Number;
use utoipa::{IntoParams, ToSchema};
use voxgate_policy::directory::{Caller, KeyEntry, Role, Scope};
use voxgate_policy::key::KeyHash;
use voxgate_protocol::tenant::{AgentId, KeyId, OrganisationId, TeamId, TenantPath};

use super::AdminApi;
use super::access::Administrator;
use super::order::{Asked, At, BareOrder, By, IdempotencyKey, KeyPath, Order, TeamPath, checked_name, whole};
use super::page::{Page, PageQuery};
use super::reach::Reach;
use super::reply::{AdminError, Refusals};
use super::tenants::{CONFIGURED, NewName, Source, created, find_team, halves};
use crate::api::{random_bytes, unix_now};
use crate::store::administration::Within;
use crate::store::keys::StoredKey;
use crate::store::request::Done;

/// Bytes of a key: 192 bits, as the first key of an installation has.
const KEY_BYTES: usize = 24;

/// Bytes of the id of something that is made.
pub(super) const ID_BYTES: usize = 10;

/// The end of the year 9999, in seconds since 1970: later nobody can write as a date.
const LAST_EXPIRY: u64 = 253_402_300_799;

/// A role, as `voxgate_policy::directory::Role`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum RoleWord {
    Owner,
    Operator,
    Auditor,
    Member,
}

impl RoleWord {
    const fn of(role: Role) -> Self {
        match role {
            Role::Owner => Self::Owner,
            Role::Operator => Self::Operator,
            Role::Auditor => Self::Auditor,
            Role::Member => Self::Member,
        }
    }

    pub(super) const fn role(self) -> Role {
        match self {
            Self::Owner => Role::Owner,
            Self::Operator => Role::Operator,
            Self::Auditor => Role::Auditor,
            Self::Member => Role::Member,
        }
    }
}

/// What a key opens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum ScopeWord {
    Calls,
    ClientSecrets,
    Sidebands,
    Admin,
}

impl ScopeWord {
    const fn of(scope: Scope) -> Self {
        match scope {
            Scope::Calls => Self::Calls,
            Scope::ClientSecrets => Self::ClientSecrets,
            Scope::Sidebands => Self::Sidebands,
            Scope::Admin => Self::Admin,
        }
    }

    const fn scope(self) -> Scope {
        match self {
            Self::Calls => Scope::Calls,
            Self::ClientSecrets => Scope::ClientSecrets,
            Self::Sidebands => Scope::Sidebands,
            Self::Admin => Scope::Admin,
        }
    }
}

/// Whether a key works.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum KeyState {
    Live,
    Expired,
    Revoked,
}

/// An API key. The key itself is kept nowhere.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Key {
    organisation: String,
    team: String,
    /// Unique in its team.
    id: String,
    /// For people; null if it stands in the configuration.
    name: Option<String>,
    role: RoleWord,
    scopes: Vec<ScopeWord>,
    /// The agent it is narrowed to.
    agent: Option<String>,
    state: KeyState,
    source: Source,
    /// In seconds since 1970, like the other times; null if it stands in the configuration.
    created_at: Option<i64>,
    /// Null: it works until it is revoked.
    expires_at: Option<u64>,
    revoked_at: Option<i64>,
}

impl Key {
    fn of(entry: &KeyEntry, source: Source) -> Self {
        let TenantPath { organisation, team, key, agent } = &entry.caller.tenancy;
        let state = match entry.expires_at {
            _ if entry.is_revoked => KeyState::Revoked,
            Some(at) if at <= unix_now() => KeyState::Expired,
            _ => KeyState::Live,
        };
        Self {
            organisation: organisation.to_string(),
            team: team.to_string(),
            id: key.to_string(),
            name: None,
            role: RoleWord::of(entry.caller.role),
            scopes: entry.caller.scopes.iter().map(|scope| ScopeWord::of(*scope)).collect(),
            agent: agent.as_ref().map(ToString::to_string),
            state,
            source,
            created_at: None,
            expires_at: entry.expires_at,
            revoked_at: None,
        }
    }

    fn stored(key: StoredKey) -> Self {
        let shown = Self::of(&key.entry, Source::Store);
        let (created_at, revoked_at) = (Some(key.created_at / 1_000), key.revoked_at.map(|at| at / 1_000));
        Self { name: Some(key.name), created_at, revoked_at, ..shown }
    }

    /// Where the next page begins if this is the last of one.
    fn cursor(&self) -> String {
        match self.source {
            Source::Store => self.id.clone(),
            Source::Configuration => format!("{CONFIGURED}{}/{}/{}", self.organisation, self.team, self.id),
        }
    }
}

/// A key that is to be made.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewKey {
    /// For people: who or what uses it.
    #[schema(min_length = 1, max_length = 100, pattern = "^[^\\u0000-\\u001f\\u007f]+$")]
    name: String,
    /// Default: `member`.
    #[serde(default)]
    #[schema(nullable = false)]
    role: Option<RoleWord>,
    /// Default: all, but for members not `admin`.
    #[serde(default)]
    #[schema(nullable = false, min_items = 1, max_items = 4)]
    scopes: Option<Vec<ScopeWord>>,
    /// The agent it is narrowed to. Default: none.
    #[serde(default)]
    #[schema(min_length = 1, max_length = 64, pattern = "^[A-Za-z0-9._-]+$")]
    agent: Option<String>,
    /// In seconds since 1970. Default: it works until it is revoked.
    #[serde(default)]
    #[schema(value_type = Option<u64>, minimum = 0, maximum = 253402300799_i64)]
    expires_at: Option<Number>,
}

/// A key that was made.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct MadeKey {
    key: Key,
    /// The key itself, shown this once. Null if the same request made it before: make another one, and revoke this.
    secret: Option<String>,
}

/// Which keys.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct KeysQuery {
    /// How many items at most.
    #[param(minimum = 1, maximum = 200, default = 50, nullable = false)]
    limit: Option<u32>,
    /// `next` of the page before. Default: the first page.
    #[param(max_length = 200, pattern = "^[A-Za-z0-9._~/-]*$", nullable = false)]
    after: Option<String>,
    /// Of this organisation only.
    #[param(min_length = 1, max_length = 64, pattern = "^[A-Za-z0-9._-]+$", nullable = false)]
    organisation: Option<String>,
    /// Of the teams of this id only.
    #[param(min_length = 1, max_length = 64, pattern = "^[A-Za-z0-9._-]+$", nullable = false)]
    team: Option<String>,
    /// Narrowed to this agent only.
    #[param(min_length = 1, max_length = 64, pattern = "^[A-Za-z0-9._-]+$", nullable = false)]
    agent: Option<String>,
}

/// Keys, those of the store first
#[utoipa::path(
    get,
    path = "/admin/v1/keys",
    tag = "keys",
    params(KeysQuery),
    responses((status = 200, body = Page<Key>), Refusals)
)]
pub(super) async fn list_keys(
    State(api): State<AdminApi>,
    By(administrator): By,
    Asked(query): Asked<KeysQuery>,
) -> Result<Json<Page<Key>>, AdminError> {
    let piece = PageQuery { limit: query.limit, after: query.after }.read()?;
    let organisation = wanted::<OrganisationId>(query.organisation, "organisation")?;
    let team = wanted::<TeamId>(query.team, "team")?;
    let agent = wanted::<AgentId>(query.agent, "agent")?;
    let is_wanted = |entry: &KeyEntry| {
        let tenancy = &entry.caller.tenancy;
        organisation.as_ref().is_none_or(|wanted| *wanted == tenancy.organisation)
            && team.as_ref().is_none_or(|wanted| *wanted == tenancy.team)
            && agent.as_ref().is_none_or(|wanted| tenancy.agent.as_ref() == Some(wanted))
            && administrator.covers(tenancy)
    };
    let asked = Within {
        organisation: organisation.as_ref().map_or("", OrganisationId::as_str),
        team: team.as_ref().map_or("", TeamId::as_str),
    };
    let (stored, configured) = halves(&piece);
    let mut found = Vec::new();
    if let (Some(after), Some(within)) = (stored, narrowed(&administrator.reach, asked)) {
        let room = piece.look_ahead();
        let keys = stored_keys(&api, &administrator, (within, agent.as_ref()), after, room).await?;
        found.extend(keys.into_iter().map(Key::stored));
    }
    let mut entries = (api.configured)();
    entries.retain(|entry| is_wanted(entry));
    entries.sort_by_key(place_of);
    let room = (piece.look_ahead() as usize).saturating_sub(found.len());
    let next = entries.iter().filter(|entry| place_of(entry).as_str() > configured).take(room);
    found.extend(next.map(|entry| Key::of(entry, Source::Configuration)));
    Ok(Json(piece.cut(found, Key::cursor)))
}

/// The first `most` keys of the store behind `after` that exist for somebody: policies may keep teams in reach away.
async fn stored_keys(
    api: &AdminApi,
    administrator: &Administrator,
    (within, agent): (Within<'_>, Option<&AgentId>),
    after: &str,
    most: u32,
) -> Result<Vec<StoredKey>, AdminError> {
    let mut after = after.to_owned();
    let mut found = Vec::new();
    // A team is judged once, however many keys it has.
    let mut teams: BTreeMap<(OrganisationId, TeamId), bool> = BTreeMap::new();
    loop {
        let batch = api.store.keys_within(within, agent, &after, most).await?;
        let is_last = batch.len() < most as usize;
        if let Some(last) = batch.last() {
            last.id().clone_into(&mut after);
        }
        found.extend(batch.into_iter().filter(|key| {
            let TenantPath { organisation, team, .. } = &key.entry.caller.tenancy;
            let judged = teams.entry((organisation.clone(), team.clone()));
            *judged.or_insert_with(|| administrator.covers_team(organisation, team))
        }));
        if is_last || found.len() >= most as usize {
            found.truncate(most as usize);
            return Ok(found);
        }
    }
}

fn place_of(entry: &KeyEntry) -> String {
    let TenantPath { organisation, team, key, .. } = &entry.caller.tenancy;
    format!("{organisation}/{team}/{key}")
}

/// A name a list is narrowed to.
pub(super) fn wanted<T: TryFrom<String>>(
    name: Option<String>,
    param: &'static str,
) -> Result<Option<T>, AdminError> {
    let read = name.map(T::try_from).transpose();
    read.map_err(|_| AdminError::invalid(format!("'{param}' is no name.")).with_param(param))
}

/// What was asked for, as far as it is in reach; `None` if nothing of it is.
fn narrowed<'a>(reach: &'a Reach, asked: Within<'a>) -> Option<Within<'a>> {
    let narrow = |own: &'a str, asked: &'a str| match asked {
        "" => Some(own),
        asked => (own.is_empty() || own == asked).then_some(asked),
    };
    let all = reach_of(reach);
    let organisation = narrow(all.organisation, asked.organisation)?;
    Some(Within { organisation, team: narrow(all.team, asked.team)? })
}

/// Everything in reach.
pub(super) fn reach_of(reach: &Reach) -> Within<'_> {
    match reach {
        Reach::Installation => Within::default(),
        Reach::Organisation(organisation) => Within { organisation: organisation.as_str(), team: "" },
        Reach::Team(organisation, team) => {
            Within { organisation: organisation.as_str(), team: team.as_str() }
        }
    }
}

/// Make a key
///
/// The key itself is in the answer and nowhere else. Running gateways take it within a second.
#[utoipa::path(
    post,
    path = "/admin/v1/organisations/{organisation}/teams/{team}/keys",
    tag = "keys",
    params(TeamPath, IdempotencyKey),
    request_body = NewKey,
    responses(
        (status = 200, description = "The same request made it before.", body = MadeKey),
        (status = 201, description = "It is made.", body = MadeKey),
        Refusals
    )
)]
pub(super) async fn create_key(
    State(api): State<AdminApi>,
    By(administrator): By,
    At((organisation, team)): At<(OrganisationId, TeamId)>,
    Order { what, by }: Order<NewKey>,
) -> Result<(StatusCode, Json<MadeKey>), AdminError> {
    if !find_team(&api, &administrator, &organisation, &team).await?.is_stored() {
        return Err(AdminError::configured("team"));
    }
    let secret = format!("vg_{}", random_hex::<KEY_BYTES>()?);
    let caller = what.caller(organisation.clone(), team.clone())?;
    let expires_at = what.expires_at.as_ref().map(|at| whole(at, LAST_EXPIRY, "expires_at")).transpose()?;
    let entry = KeyEntry { hash: KeyHash::of(&secret), caller, expires_at, is_revoked: false };
    let name = checked_name(&what.name)?.to_owned();
    let key = StoredKey { entry, name, created_at: by.at_unix_ms, revoked_at: None };
    let done = api.store.add_key(&key, &by).await?;
    let (id, secret) = match &done {
        Done::Now => (key.id(), Some(secret)),
        Done::Before(id) => (id.as_str(), None),
    };
    let made = api.store.key(organisation.as_str(), team.as_str(), id).await?.ok_or_else(no_key)?;
    Ok((created(&done), Json(MadeKey { key: Key::stored(made), secret })))
}

impl NewKey {
    fn caller(&self, organisation: OrganisationId, team: TeamId) -> Result<Caller, AdminError> {
        if self.scopes.as_ref().is_some_and(|scopes| scopes.is_empty() || scopes.len() > Scope::ALL.len()) {
            let message = "'scopes' names one to four scopes, or is left out.";
            return Err(AdminError::invalid(message).with_param("scopes"));
        }
        let role = self.role.map_or(Role::Member, RoleWord::role);
        let is_usual = |scope: &Scope| *scope != Scope::Admin || role != Role::Member;
        let scopes: BTreeSet<Scope> = match &self.scopes {
            Some(words) => words.iter().map(|word| word.scope()).collect(),
            None => Scope::ALL.into_iter().filter(is_usual).collect(),
        };
        let id = KeyId::new(&format!("key_{}", random_hex::<ID_BYTES>()?)).map_err(|_| no_key())?;
        let agent = self.agent.as_deref().map(AgentId::new).transpose().map_err(|error| {
            AdminError::invalid(format!("'agent' is no name: {error}.")).with_param("agent")
        })?;
        let tenancy = TenantPath { organisation, team, key: id, agent };
        Ok(Caller { tenancy, role, scopes, is_signed_in: false })
    }
}

pub(super) fn random_hex<const BYTES: usize>() -> Result<String, AdminError> {
    let random = random_bytes().map_err(|_| AdminError::no_random())?;
    Ok(random.iter().take(BYTES).map(|byte| format!("{byte:02x}")).collect())
}

/// One key
#[utoipa::path(
    get,
    path = "/admin/v1/organisations/{organisation}/teams/{team}/keys/{key}",
    tag = "keys",
    params(KeyPath),
    responses((status = 200, body = Key), Refusals)
)]
pub(super) async fn look_at_key(
    State(api): State<AdminApi>,
    By(administrator): By,
    At(place): At<(OrganisationId, TeamId, KeyId)>,
) -> Result<Json<Key>, AdminError> {
    find_key(&api, &administrator, &place).await.map(Json)
}

/// Give a key another name
#[utoipa::path(
    patch,
    path = "/admin/v1/organisations/{organisation}/teams/{team}/keys/{key}",
    tag = "keys",
    params(KeyPath, IdempotencyKey),
    request_body = NewName,
    responses((status = 200, body = Key), Refusals)
)]
pub(super) async fn change_key(
    State(api): State<AdminApi>,
    By(administrator): By,
    At(place): At<(OrganisationId, TeamId, KeyId)>,
    Order { what, by }: Order<NewName>,
) -> Result<Json<Key>, AdminError> {
    let name = checked_name(&what.name)?;
    find_stored(&api, &administrator, &place).await?;
    let (organisation, team, key) = &place;
    api.store.rename_key(organisation.as_str(), team.as_str(), key.as_str(), name, &by).await?;
    find_key(&api, &administrator, &place).await.map(Json)
}

/// Revoke a key for good
///
/// Running gateways refuse it, and end its sessions, within a second. It stays on the list as revoked; revoking it again changes
/// nothing.
#[utoipa::path(
    post,
    path = "/admin/v1/organisations/{organisation}/teams/{team}/keys/{key}/revoke",
    tag = "keys",
    params(KeyPath, IdempotencyKey),
    responses((status = 200, description = "It is revoked.", body = Key), Refusals)
)]
pub(super) async fn revoke_key(
    State(api): State<AdminApi>,
    By(administrator): By,
    At(place): At<(OrganisationId, TeamId, KeyId)>,
    BareOrder(deed): BareOrder,
) -> Result<Json<Key>, AdminError> {
    find_stored(&api, &administrator, &place).await?;
    api.store.revoke_key(place.2.as_str(), &deed).await?;
    find_key(&api, &administrator, &place).await.map(Json)
}

async fn find_stored(
    api: &AdminApi,
    administrator: &Administrator,
    place: &(OrganisationId, TeamId, KeyId),
) -> Result<(), AdminError> {
    match find_key(api, administrator, place).await?.source {
        Source::Store => Ok(()),
        Source::Configuration => Err(AdminError::configured("key")),
    }
}

async fn find_key(
    api: &AdminApi,
    administrator: &Administrator,
    (organisation, team, key): &(OrganisationId, TeamId, KeyId),
) -> Result<Key, AdminError> {
    if !administrator.covers_team(organisation, team) {
        return Err(no_key());
    }
    if let Some(stored) = api.store.key(organisation.as_str(), team.as_str(), key.as_str()).await? {
        return Ok(Key::stored(stored));
    }
    let is_it = |entry: &&KeyEntry| {
        let tenancy = &entry.caller.tenancy;
        tenancy.organisation == *organisation && tenancy.team == *team && tenancy.key == *key
    };
    let configured = (api.configured)();
    let found = configured.iter().find(is_it);
    found.map(|entry| Key::of(entry, Source::Configuration)).ok_or_else(no_key)
}

fn no_key() -> AdminError {
    AdminError::not_found("key")
}
