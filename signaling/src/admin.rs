//! The administration over HTTP, under `/admin/v1`.
//!
//! Keys with the scope `admin` come in; [`access`] says which role may do what, the policies may forbid more, and what is outside
//! a caller's [`reach`] does not exist for them. Everything that changes something stands in the audit log.
//!
//! - [`access`]: the table of acts and roles, and the door.
//! - [`reach`]: how much of the tree somebody administers.
//! - [`reply`]: the one shape of refusals.
//! - [`order`]: what is asked for: queries, paths and bodies, read strictly.
//! - [`page`]: long lists, a piece at a time.
//! - [`sessions`], [`tenants`], [`keys`], [`agents`], [`usage`], [`budgets`], [`money`], [`policies`], [`audit`]: what is administered.
//! - [`overview`]: turns beside each other; [`fleet`]: what they run on, and the seam to whoever knows.
//! - [`voices`]: what was kept of voices, and the seam to whoever keeps it.
//! - [`live`]: feeds of what changes; [`feed`]: what their readers share.
//! - [`approvals`]: the seam to whoever holds tool calls for a person; [`held_calls`]: what is done about them.
//! - [`revisions`]: revisions of the configuration.

#![expect(unused_qualifications, reason = "the macros that describe the API write them")]

pub mod access;
pub mod agents;
pub mod approvals;
pub mod audit;
pub mod budgets;
pub mod feed;
pub mod fleet;
pub mod held_calls;
pub mod keys;
pub mod live;
pub mod money;
mod order;
pub mod overview;
mod page;
pub mod policies;
pub mod reach;
mod reply;
pub mod revisions;
mod search;
pub mod sessions;
pub mod tenants;
pub mod usage;
pub mod voices;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use axum::http::header;
use axum::response::IntoResponse as _;
use axum::routing::get;
use axum::{Router, middleware};
use utoipa::openapi::OpenApi as Document;
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityScheme};
use utoipa::{Modify, OpenApi};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use voxgate_policy::directory::KeyEntry;

use crate::heard::HeardTurns;
use crate::identity::Identity;
use crate::live::LiveSessions;
use crate::store::Store;
use crate::terms::TermsInForce;

use self::approvals::Approvals;
use self::feed::Feeds;
use self::fleet::Fleet;
use self::money::Treasury;
use self::revisions::Configuration;
use self::voices::Listening;

/// The keys of the configuration as they are now.
pub type ConfiguredKeys = Arc<dyn Fn() -> Vec<KeyEntry> + Send + Sync>;

/// What the handlers share.
#[derive(Clone)]
pub struct AdminApi {
    /// Keys.
    pub identity: Arc<Identity>,
    /// What the policies allow.
    pub terms: TermsInForce,
    /// The sessions of this process.
    pub live: LiveSessions,
    /// Who follows them.
    pub feeds: Feeds,
    /// Its turns.
    pub turns: HeardTurns,
    /// What they run on.
    pub fleet: Arc<dyn Fleet>,
    /// What was kept of their voices.
    pub voices: Listening,
    /// Organisations, teams, keys and the audit log.
    pub store: Store,
    /// The keys the store does not have; they are shown and cannot be changed.
    pub configured: ConfiguredKeys,
    /// Tool calls that wait.
    pub approvals: Arc<dyn Approvals>,
    /// Puts configurations in force.
    pub configuration: Arc<dyn Configuration>,
    /// Budgets and prices.
    pub treasury: Arc<dyn Treasury>,
}

impl fmt::Debug for AdminApi {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AdminApi").field("store", &self.store).finish_non_exhaustive()
    }
}

/// Where the description of this API is served, to anybody.
pub const DOCUMENT_PATH: &str = "/admin/v1/openapi.json";

#[derive(OpenApi)]
#[openapi(
    info(
        title = "voxgate administration",
        description = "Organisations, teams, keys, sessions and the audit log of a voxgate gateway. Every request carries a key \
                       with the scope `admin` as bearer token. Lists come in pages: hand `next` back as `after`. A write that \
                       carries an `Idempotency-Key` happens once, however often it is sent."
    ),
    components(schemas(reply::ErrorBody)),
    modifiers(&Bearer),
    security(("key" = []))
)]
struct Described;

struct Bearer;

impl Modify for Bearer {
    fn modify(&self, document: &mut Document) {
        let key = SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer));
        document.components.get_or_insert_default().add_security_scheme("key", key);
    }
}

fn described() -> OpenApiRouter<AdminApi> {
    OpenApiRouter::with_openapi(Described::openapi())
        .routes(routes!(sessions::list_sessions))
        .routes(routes!(sessions::look_at_session))
        .routes(routes!(sessions::end_session))
        .routes(routes!(sessions::look_at_record))
        .routes(routes!(voices::listen_to_session))
        .routes(routes!(live::follow_session))
        .routes(routes!(live::follow_sessions))
        .routes(routes!(overview::look_at_overview))
        .routes(routes!(fleet::look_at_latency))
        .routes(routes!(fleet::look_at_fleet))
        .routes(routes!(tenants::list_organisations, tenants::create_organisation))
        .routes(routes!(tenants::look_at_organisation, tenants::change_organisation))
        .routes(routes!(tenants::list_teams, tenants::create_team))
        .routes(routes!(tenants::look_at_team, tenants::change_team))
        .routes(routes!(keys::list_keys))
        .routes(routes!(keys::create_key))
        .routes(routes!(keys::look_at_key, keys::change_key))
        .routes(routes!(keys::revoke_key))
        .routes(routes!(agents::list_agents))
        .routes(routes!(agents::look_at_agent))
        .routes(routes!(held_calls::list_approvals))
        .routes(routes!(held_calls::approve))
        .routes(routes!(held_calls::deny))
        .routes(routes!(usage::report_usage))
        .routes(routes!(budgets::list_budgets, budgets::set_budget))
        .routes(routes!(budgets::look_at_budget, budgets::change_budget, budgets::remove_budget))
        .routes(routes!(money::list_prices))
        .routes(routes!(policies::list_policies))
        .routes(routes!(policies::decide))
        .routes(routes!(audit::list_audit))
        .routes(routes!(revisions::look_at_configuration))
        .routes(routes!(revisions::list_revisions))
        .routes(routes!(revisions::look_at_revision))
        .routes(routes!(revisions::plan_configuration))
        .routes(routes!(revisions::apply_configuration))
        .routes(routes!(revisions::roll_back_configuration))
}

/// The description of this API.
#[must_use]
pub fn document() -> Document {
    described().into_openapi()
}

/// As JSON has it.
fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1_000.0
}

/// The routes of the administration.
///
/// # Errors
/// [`serde_json::Error`] if the description cannot be written, which is a fault of the program.
pub fn router(api: AdminApi) -> Result<Router, serde_json::Error> {
    let (routes, document) = described().split_for_parts();
    let document: Arc<str> = serde_json::to_string(&document)?.into();
    let door = middleware::from_fn_with_state(api.clone(), access::admit);
    let served = move || {
        let document = document.to_string();
        async move { ([(header::CONTENT_TYPE, "application/json")], document).into_response() }
    };
    Ok(routes
        .route_layer(door)
        .route("/admin/v1/{*path}", axum::routing::any(access::unknown))
        .route(DOCUMENT_PATH, get(served))
        .with_state(api))
}

#[cfg(test)]
mod tests;
