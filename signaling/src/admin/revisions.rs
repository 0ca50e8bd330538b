//! Revisions of the configuration: which one runs, what another one would change, putting one in force, going back.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};
use serde_json::Number;
use thiserror::Error;
use utoipa::ToSchema;
use utoipa::openapi::schema::{Object, ObjectBuilder, Schema, Type};
use voxgate_policy::bundle::change::{Change, Kind};
use voxgate_policy::bundle::{Bundle, BundleError};
use voxgate_protocol::revision::{BundleHash, RevisionName};

use super::AdminApi;
use super::order::{Asked, At, By, LargeOrder, Order, whole};
use super::page::{NumberedQuery, Page};
use super::reply::{AdminError, Refusals};
use crate::store::StoreError;
use crate::store::audit::Deed;

/// What put a revision in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// The gateway started with it.
    Start,
    /// The file was read again, on SIGHUP.
    Reload,
    /// Somebody applied it.
    Apply,
    /// Somebody went back to it.
    Rollback,
}

impl Origin {
    const ALL: [Self; 4] = [Self::Start, Self::Reload, Self::Apply, Self::Rollback];

    /// The word in the store and in answers.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Reload => "reload",
            Self::Apply => "apply",
            Self::Rollback => "rollback",
        }
    }

    /// Reads the word.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|origin| origin.as_str() == word)
    }
}

/// A revision, without what it holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RevisionFacts {
    /// Its place in the history of the store, from 1; 0 for one the store does not know.
    pub number: u64,
    /// SHA-256 over everything it holds.
    #[schema(value_type = String, pattern = "^[0-9a-f]{64}$")]
    pub hash: BundleHash,
    /// When it was put in force, in milliseconds since 1970.
    pub made_at_unix_ms: u64,
    /// By whom: the place of a key in the tree, or `gateway`.
    pub made_by: String,
    /// How.
    pub origin: Origin,
}

impl RevisionFacts {
    /// Number and hash.
    #[must_use]
    pub const fn name(&self) -> RevisionName {
        RevisionName { number: self.number, hash: self.hash }
    }
}

/// What a gateway runs with.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct RunningRevision {
    /// The revision new sessions begin with.
    pub revision: RevisionFacts,
    /// Settings of it that wait for a restart.
    pub awaiting_restart: Vec<String>,
    /// Why the file the gateway was started with is not what runs, if it could not be used when it was last read.
    pub refused_file: Option<String>,
    /// How many sessions run with which revision.
    pub sessions: Vec<SessionsOf>,
}

/// Sessions that run with one revision.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SessionsOf {
    /// The number of the revision.
    pub number: u64,
    /// Its hash.
    #[schema(value_type = String)]
    pub hash: BundleHash,
    /// How many.
    pub sessions: usize,
}

/// When a change takes effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum TakesEffect {
    /// At once, for whatever runs.
    Now,
    /// With sessions that begin from now on; those that run keep what they have.
    NewSessions,
    /// When the gateway is started again.
    Restart,
}

/// A change and what it means for sessions that run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PlannedChange {
    /// `added`, `removed`, `changed` or `reordered`.
    #[schema(value_type = String)]
    pub kind: Kind,
    /// Where: `limits.sessions`, `routes[gpt-*].provider`.
    pub path: String,
    /// What it was, as JSON, shortened.
    pub before: Option<String>,
    /// What it would be.
    pub after: Option<String>,
    /// When it takes effect.
    pub takes_effect: TakesEffect,
    /// Sessions that run and use what changes, and go on.
    pub sessions_keeping: usize,
    /// Sessions that end.
    pub sessions_ending: usize,
}

impl PlannedChange {
    /// What differs.
    #[must_use]
    pub fn change(&self) -> Change {
        let Self { kind, path, before, after, .. } = self.clone();
        Change { kind, path, before, after }
    }
}

/// What applying a bundle would do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Plan {
    /// What runs now.
    pub running: RevisionFacts,
    /// The hash of what would run.
    #[schema(value_type = String)]
    pub hash: BundleHash,
    /// What differs.
    pub changes: Vec<PlannedChange>,
    /// Sessions that run now.
    pub sessions_running: usize,
    /// Of them, those that would end because their key is gone.
    pub sessions_ending: usize,
}

/// Why a configuration was not put in force. Nothing has changed then.
#[derive(Debug, Error)]
pub enum ConfigurationError {
    /// It cannot be used.
    #[error("the configuration has {} problem(s):\n{}", .0.len(), .0.join("\n"))]
    Problems(Vec<String>),
    /// Another one runs than the one it was meant to follow.
    #[error("the gateway runs revision {0} meanwhile; plan again")]
    Stale(RevisionName),
    /// There is nothing to go back to.
    #[error("there is no such revision")]
    NoSuchRevision,
    /// The store is away: what changes stands in the audit log, or does not change.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Something inside failed.
    #[error("the configuration could not be put in force: {0}")]
    Failed(String),
}

/// Puts configurations in force. Whoever implements it knows every part of them.
pub trait Configuration: Send + Sync + 'static {
    /// What runs.
    fn running(&self) -> RunningRevision;

    /// What a bundle would change.
    fn plan(&self, bundle: Bundle) -> BoxFuture<'_, Result<Plan, ConfigurationError>>;

    /// Puts a bundle in force if `follows` runs, or if nobody says what should. Returns once new sessions begin with it.
    fn apply(
        &self,
        bundle: Bundle,
        follows: Option<BundleHash>,
        by: Deed,
    ) -> BoxFuture<'_, Result<RunningRevision, ConfigurationError>>;

    /// Goes back to a revision, or to the one before what runs, as [`Configuration::apply`] does. What it holds becomes a
    /// revision of its own.
    fn roll_back(
        &self,
        to: Option<u64>,
        follows: Option<BundleHash>,
        by: Deed,
    ) -> BoxFuture<'_, Result<RunningRevision, ConfigurationError>>;
}

/// A configuration and the files it names.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct BundleBody {
    /// The text of the configuration, YAML.
    configuration: String,
    /// The texts of the files it names (policies, prices), by the names it has for them.
    #[serde(default)]
    #[schema(schema_with = files_by_name)]
    files: BTreeMap<String, String>,
}

/// Texts by names, as bundles take them.
fn files_by_name() -> Object {
    let text = || ObjectBuilder::new().schema_type(Type::String);
    let name = text().min_length(Some(1)).build();
    let files = ObjectBuilder::new().schema_type(Type::Object).property_names(Some(name));
    files.additional_properties(Some(Schema::Object(text().build()))).build()
}

/// What is to be compared with what runs.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct PlanOrder {
    bundle: BundleBody,
}

/// What is to be put in force.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ApplyOrder {
    bundle: BundleBody,
    /// The hash of the revision that runs, as the plan says; if another one runs meanwhile, nothing is done.
    #[schema(value_type = String, pattern = "^[0-9a-f]{64}$")]
    follows: BundleHash,
}

/// What to go back to.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RollbackOrder {
    /// The number of a revision. Default: the last one before what runs that holds something else.
    #[serde(default)]
    #[schema(value_type = Option<u32>)]
    revision: Option<Number>,
    /// The hash of the revision that runs; if another one runs meanwhile, nothing is done.
    #[schema(value_type = String, pattern = "^[0-9a-f]{64}$")]
    follows: BundleHash,
}

/// A revision with what it holds.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct WholeRevision {
    #[serde(flatten)]
    facts: RevisionFacts,
    /// The configuration and its files. They hold no secret, only where secrets are.
    bundle: BundleBody,
}

/// Which revision runs
#[utoipa::path(
    get,
    path = "/admin/v1/configuration",
    tag = "configuration",
    responses((status = 200, body = RunningRevision), Refusals)
)]
pub(super) async fn look_at_configuration(
    State(api): State<AdminApi>,
    By(administrator): By,
) -> Result<Json<RunningRevision>, AdminError> {
    administrator.runs_the_gateway()?;
    Ok(Json(api.configuration.running()))
}

/// Revisions, the newest first
#[utoipa::path(
    get,
    path = "/admin/v1/configuration/revisions",
    tag = "configuration",
    params(NumberedQuery),
    responses((status = 200, body = Page<RevisionFacts>), Refusals)
)]
pub(super) async fn list_revisions(
    State(api): State<AdminApi>,
    By(administrator): By,
    Asked(query): Asked<NumberedQuery>,
) -> Result<Json<Page<RevisionFacts>>, AdminError> {
    administrator.runs_the_gateway()?;
    let (piece, before) = query.read()?;
    let found = api.store.revisions(before.map(Into::into), piece.look_ahead()).await?;
    Ok(Json(piece.cut(found, |revision| revision.number.to_string())))
}

/// One revision with what it holds
#[utoipa::path(
    get,
    path = "/admin/v1/configuration/revisions/{revision}",
    tag = "configuration",
    params(("revision" = u32, Path, description = "The number of the revision.")),
    responses((status = 200, body = WholeRevision), Refusals)
)]
pub(super) async fn look_at_revision(
    State(api): State<AdminApi>,
    By(administrator): By,
    At(number): At<u32>,
) -> Result<Json<WholeRevision>, AdminError> {
    administrator.runs_the_gateway()?;
    let found = api.store.revision(number.into()).await?;
    let (facts, bundle) = found.ok_or_else(|| AdminError::not_found("revision"))?;
    let files = bundle.files().map(|(name, text)| (name.to_owned(), text.to_owned()));
    let configuration = bundle.configuration().to_owned();
    Ok(Json(WholeRevision { facts, bundle: BundleBody { configuration, files: files.collect() } }))
}

/// What a configuration would change
///
/// Nothing is changed. Every change says when it takes effect and how many of the sessions that run it touches.
#[utoipa::path(
    post,
    path = "/admin/v1/configuration/plan",
    tag = "configuration",
    request_body = PlanOrder,
    responses((status = 200, body = Plan), Refusals)
)]
pub(super) async fn plan_configuration(
    State(api): State<AdminApi>,
    By(administrator): By,
    LargeOrder(Order { what, .. }): LargeOrder<PlanOrder>,
) -> Result<Json<Plan>, AdminError> {
    administrator.runs_the_gateway()?;
    Ok(Json(api.configuration.plan(what.bundle.read()?).await?))
}

/// Put a configuration in force
///
/// New sessions begin with it once this is answered; those that run keep theirs to their end, but for those whose key it takes
/// back. A configuration with problems changes nothing, and all its problems are listed.
#[utoipa::path(
    post,
    path = "/admin/v1/configuration/apply",
    tag = "configuration",
    request_body = ApplyOrder,
    responses((status = 200, body = RunningRevision), Refusals)
)]
pub(super) async fn apply_configuration(
    State(api): State<AdminApi>,
    By(administrator): By,
    LargeOrder(Order { what, by }): LargeOrder<ApplyOrder>,
) -> Result<Json<RunningRevision>, AdminError> {
    administrator.runs_the_gateway()?;
    Ok(Json(api.configuration.apply(what.bundle.read()?, Some(what.follows), by).await?))
}

/// Go back to an earlier revision
///
/// What it holds is put in force as a revision of its own.
#[utoipa::path(
    post,
    path = "/admin/v1/configuration/rollback",
    tag = "configuration",
    request_body = RollbackOrder,
    responses((status = 200, body = RunningRevision), Refusals)
)]
pub(super) async fn roll_back_configuration(
    State(api): State<AdminApi>,
    By(administrator): By,
    Order { what, by }: Order<RollbackOrder>,
) -> Result<Json<RunningRevision>, AdminError> {
    administrator.runs_the_gateway()?;
    let number = |number: &Number| whole(number, u64::from(u32::MAX), "revision");
    let to = what.revision.as_ref().map(number).transpose()?;
    Ok(Json(api.configuration.roll_back(to, Some(what.follows), by).await?))
}

impl BundleBody {
    fn read(self) -> Result<Bundle, AdminError> {
        let bundle = Bundle::new(self.configuration, self.files);
        bundle.map_err(|error: BundleError| AdminError::invalid(format!("{error}.")).with_param("bundle"))
    }
}

impl From<ConfigurationError> for AdminError {
    fn from(error: ConfigurationError) -> Self {
        match error {
            ConfigurationError::Problems(problems) => {
                let message =
                    format!("The configuration has {} problem(s); nothing was changed.", problems.len());
                Self::new(StatusCode::BAD_REQUEST, "configuration_invalid", message).with_problems(problems)
            }
            ConfigurationError::Stale(running) => {
                let message = format!("The gateway runs revision {running} meanwhile; plan again.");
                Self::conflict("configuration_stale", message)
            }
            ConfigurationError::NoSuchRevision => Self::not_found("revision"),
            ConfigurationError::Store(error) => error.into(),
            ConfigurationError::Failed(reason) => {
                tracing::error!(reason, "a configuration could not be put in force");
                Self::conflict(
                    "configuration_failed",
                    format!("The configuration cannot be put in force: {reason}."),
                )
            }
        }
    }
}
