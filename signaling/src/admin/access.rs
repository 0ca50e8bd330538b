//! The table of acts and roles, and the door.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use axum::extract::{FromRequestParts, MatchedPath, Request, State};
use axum::http::Method;
use axum::http::request::Parts;
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use voxgate_policy::decision::{Effect, Question};
use voxgate_policy::directory::{Caller, Role, Scope};
use voxgate_protocol::tenant::{OrganisationId, TeamId, TenantPath};

use super::AdminApi;
use super::reach::Reach;
use super::reply::AdminError;
use crate::api::{bearer, unix_now};
use crate::terms::Terms;

/// One act of the administration and who may do it. What stands in no rule cannot be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rule {
    /// The HTTP method.
    pub method: &'static str,
    /// The path, as the description of the API writes it.
    pub path: &'static str,
    /// What it is about, in the words of policies.
    pub subject: &'static str,
    /// Whether it changes something.
    pub writes: bool,
    /// The roles that may, as far as the policies let them.
    pub roles: &'static [Role],
}

/// Who sees.
const READERS: &[Role] = &[Role::Owner, Role::Operator, Role::Auditor];
/// Who minds running calls.
const MINDERS: &[Role] = &[Role::Owner, Role::Operator];
/// Who decides about everything else.
const OWNERS: &[Role] = &[Role::Owner];

const fn read(path: &'static str, subject: &'static str) -> Rule {
    Rule { method: "GET", path, subject, writes: false, roles: READERS }
}

const fn write(
    method: &'static str,
    path: &'static str,
    subject: &'static str,
    roles: &'static [Role],
) -> Rule {
    Rule { method, path, subject, writes: true, roles }
}

const ORGANISATION: &str = "/admin/v1/organisations/{organisation}";
const TEAMS: &str = "/admin/v1/organisations/{organisation}/teams";
const TEAM: &str = "/admin/v1/organisations/{organisation}/teams/{team}";
const KEYS: &str = "/admin/v1/organisations/{organisation}/teams/{team}/keys";
const KEY: &str = "/admin/v1/organisations/{organisation}/teams/{team}/keys/{key}";

const BUDGET: &str = "/admin/v1/budgets/{budget}";

/// Every act.
pub const RULES: &[Rule] = &[
    read("/admin/v1/sessions", "sessions"),
    read("/admin/v1/sessions/{session}", "sessions"),
    read("/admin/v1/sessions/{session}/record", "sessions"),
    read("/admin/v1/sessions/{session}/audio", "voices"),
    read("/admin/v1/sessions/{session}/live", "sessions"),
    read("/admin/v1/live", "sessions"),
    write("POST", "/admin/v1/sessions/{session}/end", "sessions", MINDERS),
    read("/admin/v1/overview", "sessions"),
    read("/admin/v1/latency", "latency"),
    read("/admin/v1/fleet", "fleet"),
    read("/admin/v1/approvals", "approvals"),
    write("POST", "/admin/v1/approvals/{approval}/approve", "approvals", MINDERS),
    write("POST", "/admin/v1/approvals/{approval}/deny", "approvals", MINDERS),
    read("/admin/v1/agents", "agents"),
    read("/admin/v1/agents/{agent}", "agents"),
    read("/admin/v1/usage", "usage"),
    read("/admin/v1/budgets", "budgets"),
    write("POST", "/admin/v1/budgets", "budgets", OWNERS),
    read(BUDGET, "budgets"),
    write("PUT", BUDGET, "budgets", OWNERS),
    write("DELETE", BUDGET, "budgets", OWNERS),
    read("/admin/v1/prices", "prices"),
    read("/admin/v1/policies", "policies"),
    Rule {
        method: "POST",
        path: "/admin/v1/policies/decide",
        subject: "policies",
        writes: false,
        roles: READERS,
    },
    read("/admin/v1/organisations", "organisations"),
    write("POST", "/admin/v1/organisations", "organisations", OWNERS),
    read(ORGANISATION, "organisations"),
    write("PATCH", ORGANISATION, "organisations", OWNERS),
    read(TEAMS, "teams"),
    write("POST", TEAMS, "teams", OWNERS),
    read(TEAM, "teams"),
    write("PATCH", TEAM, "teams", OWNERS),
    read("/admin/v1/keys", "keys"),
    write("POST", KEYS, "keys", OWNERS),
    read(KEY, "keys"),
    write("PATCH", KEY, "keys", OWNERS),
    write("POST", "/admin/v1/organisations/{organisation}/teams/{team}/keys/{key}/revoke", "keys", OWNERS),
    read("/admin/v1/configuration", "configuration"),
    read("/admin/v1/configuration/revisions", "configuration"),
    read("/admin/v1/configuration/revisions/{revision}", "configuration"),
    write("POST", "/admin/v1/configuration/plan", "configuration", OWNERS),
    write("POST", "/admin/v1/configuration/apply", "configuration", OWNERS),
    write("POST", "/admin/v1/configuration/rollback", "configuration", OWNERS),
    Rule {
        method: "GET",
        path: "/admin/v1/audit",
        subject: "audit",
        writes: false,
        roles: &[Role::Owner, Role::Auditor],
    },
];

/// Somebody who came through the door.
#[derive(Clone)]
pub(super) struct Administrator {
    pub(super) caller: Caller,
    pub(super) reach: Reach,
    rule: &'static Rule,
    terms: Arc<Terms>,
}

impl Administrator {
    /// How the audit log names them: their place in the tree.
    pub(super) fn actor(&self) -> String {
        self.caller.tenancy.to_string()
    }

    /// Whether a place in the tree exists for them as far as this act goes.
    pub(super) fn covers(&self, path: &TenantPath) -> bool {
        self.covers_team(&path.organisation, &path.team)
    }

    /// Whether a team exists for them as far as this act goes: it is in their reach, and the policies do not keep it away.
    pub(super) fn covers_team(&self, organisation: &OrganisationId, team: &TeamId) -> bool {
        // Policies speak of the caller's own organisation only; what others have is in nobody's reach but of those who run
        // the gateway, and they were judged at the door.
        let is_own = *organisation == self.caller.tenancy.organisation;
        self.reach.covers(organisation, team) && (!is_own || self.is_permitted(Some(team)))
    }

    /// What names every organisation is only for whoever runs the gateway.
    pub(super) fn runs_the_gateway(&self) -> Result<(), AdminError> {
        if self.reach == Reach::Installation {
            return Ok(());
        }
        Err(AdminError::denied(
            "This is only for keys of the organisation 'default', which runs the gateway.",
        ))
    }

    /// The same, asked once for each team.
    pub(super) fn sight(&self) -> Sight {
        Sight { administrator: self.clone(), teams: BTreeMap::new() }
    }

    fn is_permitted(&self, team: Option<&TeamId>) -> bool {
        let question = Question::Administer {
            writes: self.rule.writes,
            subject: self.rule.subject,
            organisation: &self.caller.tenancy.organisation,
            team,
        };
        let began = Instant::now();
        let decision = self.terms.authorizer.decide(&self.caller, &question);
        self.terms.host.decided(&self.caller, &question, &decision, began.elapsed());
        // Nobody is asked about an act of the administration: what waits for a person is refused.
        decision.effect == Effect::Allow
    }
}

/// What exists for an administrator, remembered: of a thousand sessions most are of a few teams, and the policies need not be
/// asked again for each.
pub(super) struct Sight {
    administrator: Administrator,
    teams: BTreeMap<(OrganisationId, TeamId), bool>,
}

impl Sight {
    /// Whether a team exists for them.
    pub(super) fn sees(&mut self, organisation: &OrganisationId, team: &TeamId) -> bool {
        let Self { administrator, teams } = self;
        // What is out of reach is not remembered: there may be any number of it.
        administrator.reach.covers(organisation, team)
            && *teams
                .entry((organisation.clone(), team.clone()))
                .or_insert_with(|| administrator.covers_team(organisation, team))
    }

    /// The same by their names.
    pub(super) fn sees_names(&mut self, organisation: &str, team: &str) -> bool {
        let names = (OrganisationId::new(organisation), TeamId::new(team));
        matches!(names, (Ok(organisation), Ok(team)) if self.sees(&organisation, &team))
    }
}

/// Somebody who came in and stays: whether they still may is asked again and again.
pub(super) struct Vigil {
    api: AdminApi,
    credential: Option<String>,
    method: Method,
    path: String,
    administrator: Administrator,
    due: Instant,
}

impl Vigil {
    /// What they may see at present.
    pub(super) const fn administrator(&self) -> &Administrator {
        &self.administrator
    }

    /// Waits until it is time to ask. May be dropped while it waits and called again.
    pub(super) async fn due(&self) {
        tokio::time::sleep_until(self.due.into()).await;
    }

    /// Asks: what they may see from now on; `None` if their key opens this no more. Asking may wait for an identity provider, so
    /// it must not be dropped halfway again and again.
    pub(super) async fn ask(&mut self) -> Option<Administrator> {
        let credential = self.credential.as_deref();
        self.api.identity.prepare(credential).await;
        self.administrator = judge(&self.api, credential, &self.method, &self.path).ok()?;
        self.due = Instant::now() + self.api.feeds.asked_again();
        Some(self.administrator.clone())
    }
}

impl FromRequestParts<AdminApi> for Vigil {
    type Rejection = AdminError;

    async fn from_request_parts(parts: &mut Parts, api: &AdminApi) -> Result<Self, AdminError> {
        // Without the door nobody is let in.
        let administrator = parts.extensions.get::<Administrator>().cloned();
        let administrator =
            administrator.ok_or_else(|| AdminError::denied("Nobody checked who asks for this."))?;
        let path = parts.extensions.get::<MatchedPath>().map(MatchedPath::as_str).unwrap_or_default();
        Ok(Self {
            api: api.clone(),
            credential: bearer(&parts.headers).map(str::to_owned),
            method: parts.method.clone(),
            path: path.to_owned(),
            administrator,
            due: Instant::now() + api.feeds.asked_again(),
        })
    }
}

/// Lets in who may do what the request asks for.
pub(super) async fn admit(State(api): State<AdminApi>, mut request: Request, next: Next) -> Response {
    let credential = bearer(request.headers()).map(str::to_owned);
    api.identity.prepare(credential.as_deref()).await;
    let path = request.extensions().get::<MatchedPath>().map(MatchedPath::as_str).unwrap_or_default();
    match judge(&api, credential.as_deref(), request.method(), path) {
        Ok(administrator) => {
            request.extensions_mut().insert(administrator);
            next.run(request).await
        }
        Err(refusal) => refusal.into_response(),
    }
}

fn judge(
    api: &AdminApi,
    credential: Option<&str>,
    method: &Method,
    path: &str,
) -> Result<Administrator, AdminError> {
    let (terms, principal) =
        api.terms.with(|| api.identity.authenticate(credential, unix_now(), Scope::Admin));
    let principal = principal?;
    if principal.is_client_secret {
        return Err(AdminError::denied("A client secret does not open the administration."));
    }
    let Some(rule) = rule(method, path) else { return Err(no_such_method(path)) };
    let caller = principal.caller;
    if !rule.roles.contains(&caller.role) {
        let message = format!("The role '{}' does not allow this.", caller.role.as_str());
        return Err(AdminError::denied(message));
    }
    let administrator = Administrator { reach: Reach::of(&caller), caller, rule, terms };
    let team = match &administrator.reach {
        Reach::Team(_, team) => Some(team.clone()),
        Reach::Organisation(_) | Reach::Installation => None,
    };
    if !administrator.is_permitted(team.as_ref()) {
        return Err(AdminError::denied("The policies of this gateway do not allow this."));
    }
    Ok(administrator)
}

/// The rule of a request. HEAD is GET without the body.
fn rule(method: &Method, path: &str) -> Option<&'static Rule> {
    let method = if method == Method::HEAD { "GET" } else { method.as_str() };
    RULES.iter().find(|rule| rule.method == method && rule.path == path)
}

fn no_such_method(path: &str) -> AdminError {
    let known = RULES.iter().filter(|rule| rule.path == path);
    let known: Vec<&str> = known.map(|rule| rule.method).collect();
    AdminError::no_such_method(&known.join(", "))
}

/// What no rule names.
pub(super) async fn unknown() -> AdminError {
    AdminError::not_found("address")
}
