//! Organisations and teams.

use std::collections::BTreeSet;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use voxgate_policy::directory::KeyEntry;
use voxgate_protocol::tenant::{OrganisationId, TeamId};

use super::AdminApi;
use super::access::Administrator;
use super::order::{Asked, At, By, IdempotencyKey, Order, OrganisationPath, TeamPath, checked_name};
use super::page::{Page, PageQuery, Piece};
use super::reach::Reach;
use super::reply::{AdminError, Refusals};
use crate::store::administration::Within;
use crate::store::request::Done;
use crate::store::tenants;

/// Begins the cursor of what stands in the configuration, which comes after what the store holds. No name begins with it.
pub(super) const CONFIGURED: char = '~';

/// Where something is written down: `store`, where it can be changed, or `configuration`, where it is read-only here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum Source {
    Store,
    Configuration,
}

/// Whoever pays.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Organisation {
    id: String,
    /// For people.
    name: String,
    source: Source,
    /// In seconds since 1970; null if the configuration says that it exists.
    created_at: Option<i64>,
}

impl From<tenants::Organisation> for Organisation {
    fn from(stored: tenants::Organisation) -> Self {
        let created_at = Some(stored.created_at / 1_000);
        Self { id: stored.id, name: stored.name, source: Source::Store, created_at }
    }
}

impl Organisation {
    fn configured(id: &OrganisationId) -> Self {
        Self { id: id.to_string(), name: id.to_string(), source: Source::Configuration, created_at: None }
    }
}

/// A part of an organisation; keys belong to teams.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Team {
    organisation: String,
    /// Unique in its organisation.
    id: String,
    /// For people.
    name: String,
    source: Source,
    /// In seconds since 1970; null if the configuration says that it exists.
    created_at: Option<i64>,
}

impl From<tenants::Team> for Team {
    fn from(stored: tenants::Team) -> Self {
        let created_at = Some(stored.created_at / 1_000);
        let tenants::Team { id, organisation_id, name, .. } = stored;
        Self { organisation: organisation_id, id, name, source: Source::Store, created_at }
    }
}

impl Team {
    fn configured(organisation: &OrganisationId, id: &TeamId) -> Self {
        let (organisation, id) = (organisation.to_string(), id.to_string());
        Self { organisation, name: id.clone(), id, source: Source::Configuration, created_at: None }
    }
}

/// Something that is to be made.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewTenant {
    /// Chosen by whoever makes it, and never changed.
    #[schema(min_length = 1, max_length = 64, pattern = "^[A-Za-z0-9._-]+$")]
    id: String,
    /// For people.
    #[schema(min_length = 1, max_length = 100, pattern = "^[^\\u0000-\\u001f\\u007f]+$")]
    name: String,
}

/// Another name.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewName {
    /// For people.
    #[schema(min_length = 1, max_length = 100, pattern = "^[^\\u0000-\\u001f\\u007f]+$")]
    pub(super) name: String,
}

/// The organisations of the configuration.
fn configured_organisations(keys: &[KeyEntry]) -> BTreeSet<&OrganisationId> {
    keys.iter().map(|key| &key.caller.tenancy.organisation).collect()
}

/// The teams of the configuration.
fn configured_teams(keys: &[KeyEntry]) -> BTreeSet<(&OrganisationId, &TeamId)> {
    keys.iter().map(|key| (&key.caller.tenancy.organisation, &key.caller.tenancy.team)).collect()
}

/// Whether an organisation exists for somebody: everybody knows their own.
fn knows(administrator: &Administrator, organisation: &OrganisationId) -> bool {
    administrator.caller.tenancy.organisation == *organisation
        || administrator.reach.covers_organisation(organisation)
}

/// What a piece of a list asks the store for, and what of the configuration.
pub(super) fn halves(piece: &Piece) -> (Option<&str>, &str) {
    match piece.after.strip_prefix(CONFIGURED) {
        Some(configured) => (None, configured),
        None => (Some(&piece.after), ""),
    }
}

/// Organisations, those of the store first
#[utoipa::path(
    get,
    path = "/admin/v1/organisations",
    tag = "organisations",
    params(PageQuery),
    responses((status = 200, body = Page<Organisation>), Refusals)
)]
pub(super) async fn list_organisations(
    State(api): State<AdminApi>,
    By(administrator): By,
    Asked(query): Asked<PageQuery>,
) -> Result<Json<Page<Organisation>>, AdminError> {
    let piece = query.read()?;
    let own = administrator.caller.tenancy.organisation.as_str();
    let organisation = if administrator.reach == Reach::Installation { "" } else { own };
    let within = Within { organisation, team: "" };
    let (stored, configured) = halves(&piece);
    let mut found: Vec<Organisation> = match stored {
        Some(after) => {
            let page = api.store.organisations_within(within, after, piece.look_ahead()).await?;
            page.into_iter().map(Organisation::from).collect()
        }
        None => Vec::new(),
    };
    let keys = (api.configured)();
    for id in configured_organisations(&keys) {
        let is_next = id.as_str() > configured && found.len() <= piece.limit as usize;
        if is_next && knows(&administrator, id) && api.store.organisation(id.as_str()).await?.is_none() {
            found.push(Organisation::configured(id));
        }
    }
    Ok(Json(piece.cut(found, |last| match last.source {
        Source::Store => last.id.clone(),
        Source::Configuration => format!("{CONFIGURED}{}", last.id),
    })))
}

/// Make an organisation
///
/// Only whoever runs the gateway can: owners of the organisation `default`.
#[utoipa::path(
    post,
    path = "/admin/v1/organisations",
    tag = "organisations",
    params(IdempotencyKey),
    request_body = NewTenant,
    responses(
        (status = 200, description = "The same request made it before.", body = Organisation),
        (status = 201, description = "It is made.", body = Organisation),
        Refusals
    )
)]
pub(super) async fn create_organisation(
    State(api): State<AdminApi>,
    By(administrator): By,
    Order { what, by }: Order<NewTenant>,
) -> Result<(StatusCode, Json<Organisation>), AdminError> {
    if administrator.reach != Reach::Installation {
        let message =
            "Only owners of the organisation 'default', which runs the gateway, make organisations.";
        return Err(AdminError::denied(message));
    }
    let id = OrganisationId::new(&what.id).map_err(|error| malformed_id(&error.to_string()))?;
    if configured_organisations(&(api.configured)()).contains(&id) {
        return Err(AdminError::configured("organisation"));
    }
    let name = checked_name(&what.name)?.to_owned();
    let organisation = tenants::Organisation { id: what.id, name, created_at: by.at_unix_ms };
    let done = api.store.add_organisation(&organisation, &by).await?;
    let made = api.store.organisation(id.as_str()).await?.ok_or_else(no_organisation)?;
    Ok((created(&done), Json(made.into())))
}

/// One organisation
#[utoipa::path(
    get,
    path = "/admin/v1/organisations/{organisation}",
    tag = "organisations",
    params(OrganisationPath),
    responses((status = 200, body = Organisation), Refusals)
)]
pub(super) async fn look_at_organisation(
    State(api): State<AdminApi>,
    By(administrator): By,
    At(id): At<OrganisationId>,
) -> Result<Json<Organisation>, AdminError> {
    find_organisation(&api, &administrator, &id).await.map(Json)
}

async fn find_organisation(
    api: &AdminApi,
    administrator: &Administrator,
    id: &OrganisationId,
) -> Result<Organisation, AdminError> {
    if !knows(administrator, id) {
        return Err(no_organisation());
    }
    if let Some(stored) = api.store.organisation(id.as_str()).await? {
        return Ok(stored.into());
    }
    let is_configured = configured_organisations(&(api.configured)()).contains(id);
    is_configured.then(|| Organisation::configured(id)).ok_or_else(no_organisation)
}

/// Give an organisation another name
#[utoipa::path(
    patch,
    path = "/admin/v1/organisations/{organisation}",
    tag = "organisations",
    params(OrganisationPath, IdempotencyKey),
    request_body = NewName,
    responses((status = 200, body = Organisation), Refusals)
)]
pub(super) async fn change_organisation(
    State(api): State<AdminApi>,
    By(administrator): By,
    At(id): At<OrganisationId>,
    Order { what, by }: Order<NewName>,
) -> Result<Json<Organisation>, AdminError> {
    let found = find_organisation(&api, &administrator, &id).await?;
    if found.source == Source::Configuration {
        return Err(AdminError::configured("organisation"));
    }
    api.store.rename_organisation(id.as_str(), checked_name(&what.name)?, &by).await?;
    find_organisation(&api, &administrator, &id).await.map(Json)
}

/// Teams of an organisation, those of the store first
#[utoipa::path(
    get,
    path = "/admin/v1/organisations/{organisation}/teams",
    tag = "teams",
    params(OrganisationPath, PageQuery),
    responses((status = 200, body = Page<Team>), Refusals)
)]
pub(super) async fn list_teams(
    State(api): State<AdminApi>,
    By(administrator): By,
    At(organisation): At<OrganisationId>,
    Asked(query): Asked<PageQuery>,
) -> Result<Json<Page<Team>>, AdminError> {
    let piece = query.read()?;
    find_organisation(&api, &administrator, &organisation).await?;
    let team = match &administrator.reach {
        Reach::Team(_, team) => team.as_str(),
        Reach::Installation | Reach::Organisation(_) => "",
    };
    let within = Within { organisation: organisation.as_str(), team };
    let (stored, configured) = halves(&piece);
    let mut found = match stored {
        Some(after) => stored_teams(&api, &administrator, within, after, piece.look_ahead()).await?,
        None => Vec::new(),
    };
    let keys = (api.configured)();
    for (of, id) in configured_teams(&keys) {
        let is_next = *of == organisation && id.as_str() > configured && found.len() <= piece.limit as usize;
        let is_known = is_next && administrator.covers_team(of, id);
        if is_known && api.store.team(of.as_str(), id.as_str()).await?.is_none() {
            found.push(Team::configured(of, id));
        }
    }
    Ok(Json(piece.cut(found, |last| match last.source {
        Source::Store => last.id.clone(),
        Source::Configuration => format!("{CONFIGURED}{}", last.id),
    })))
}

/// The first `most` teams of the store behind `after` that exist for somebody: policies may keep some in reach away.
async fn stored_teams(
    api: &AdminApi,
    administrator: &Administrator,
    within: Within<'_>,
    after: &str,
    most: u32,
) -> Result<Vec<Team>, AdminError> {
    let mut after = after.to_owned();
    let mut found = Vec::new();
    loop {
        let batch = api.store.teams_within(within, &after, most).await?;
        let is_last = batch.len() < most as usize;
        if let Some(last) = batch.last() {
            after.clone_from(&last.id);
        }
        for team in batch {
            let (of, id) = (OrganisationId::new(&team.organisation_id), TeamId::new(&team.id));
            if of.is_ok_and(|of| id.is_ok_and(|id| administrator.covers_team(&of, &id))) {
                found.push(Team::from(team));
            }
        }
        if is_last || found.len() >= most as usize {
            found.truncate(most as usize);
            return Ok(found);
        }
    }
}

/// Make a team
#[utoipa::path(
    post,
    path = "/admin/v1/organisations/{organisation}/teams",
    tag = "teams",
    params(OrganisationPath, IdempotencyKey),
    request_body = NewTenant,
    responses(
        (status = 200, description = "The same request made it before.", body = Team),
        (status = 201, description = "It is made.", body = Team),
        Refusals
    )
)]
pub(super) async fn create_team(
    State(api): State<AdminApi>,
    By(administrator): By,
    At(organisation): At<OrganisationId>,
    Order { what, by }: Order<NewTenant>,
) -> Result<(StatusCode, Json<Team>), AdminError> {
    let parent = find_organisation(&api, &administrator, &organisation).await?;
    let id = TeamId::new(&what.id).map_err(|error| malformed_id(&error.to_string()))?;
    if !administrator.covers_team(&organisation, &id) {
        return Err(AdminError::denied("The policies of this gateway do not allow this team."));
    }
    let is_configured = configured_teams(&(api.configured)()).contains(&(&organisation, &id));
    if parent.source == Source::Configuration || is_configured {
        return Err(AdminError::configured("organisation or team"));
    }
    let team = tenants::Team {
        id: what.id.clone(),
        organisation_id: organisation.to_string(),
        name: checked_name(&what.name)?.to_owned(),
        created_at: by.at_unix_ms,
    };
    let done = api.store.add_team(&team, &by).await?;
    let made = api.store.team(organisation.as_str(), id.as_str()).await?.ok_or_else(no_team)?;
    Ok((created(&done), Json(made.into())))
}

/// One team
#[utoipa::path(
    get,
    path = "/admin/v1/organisations/{organisation}/teams/{team}",
    tag = "teams",
    params(TeamPath),
    responses((status = 200, body = Team), Refusals)
)]
pub(super) async fn look_at_team(
    State(api): State<AdminApi>,
    By(administrator): By,
    At((organisation, team)): At<(OrganisationId, TeamId)>,
) -> Result<Json<Team>, AdminError> {
    find_team(&api, &administrator, &organisation, &team).await.map(Json)
}

/// Give a team another name
#[utoipa::path(
    patch,
    path = "/admin/v1/organisations/{organisation}/teams/{team}",
    tag = "teams",
    params(TeamPath, IdempotencyKey),
    request_body = NewName,
    responses((status = 200, body = Team), Refusals)
)]
pub(super) async fn change_team(
    State(api): State<AdminApi>,
    By(administrator): By,
    At((organisation, team)): At<(OrganisationId, TeamId)>,
    Order { what, by }: Order<NewName>,
) -> Result<Json<Team>, AdminError> {
    let found = find_team(&api, &administrator, &organisation, &team).await?;
    if found.source == Source::Configuration {
        return Err(AdminError::configured("team"));
    }
    let name = checked_name(&what.name)?;
    api.store.rename_team(organisation.as_str(), team.as_str(), name, &by).await?;
    find_team(&api, &administrator, &organisation, &team).await.map(Json)
}

/// A team that exists for whoever asks.
pub(super) async fn find_team(
    api: &AdminApi,
    administrator: &Administrator,
    organisation: &OrganisationId,
    team: &TeamId,
) -> Result<Team, AdminError> {
    if !administrator.covers_team(organisation, team) {
        return Err(no_team());
    }
    if let Some(stored) = api.store.team(organisation.as_str(), team.as_str()).await? {
        return Ok(stored.into());
    }
    let is_configured = configured_teams(&(api.configured)()).contains(&(organisation, team));
    is_configured.then(|| Team::configured(organisation, team)).ok_or_else(no_team)
}

impl Team {
    /// Whether it can be changed here.
    pub(super) const fn is_stored(&self) -> bool {
        matches!(self.source, Source::Store)
    }
}

/// 201 for what was made, 200 for what the same request had made before.
pub(super) const fn created(done: &Done) -> StatusCode {
    match done {
        Done::Now => StatusCode::CREATED,
        Done::Before(_) => StatusCode::OK,
    }
}

fn malformed_id(why: &str) -> AdminError {
    AdminError::invalid(format!("'id' is no name: {why}.")).with_param("id")
}

fn no_organisation() -> AdminError {
    AdminError::not_found("organisation")
}

fn no_team() -> AdminError {
    AdminError::not_found("team")
}
