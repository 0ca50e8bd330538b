mod agents;
mod budgets;
mod revisions;

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::extract::ws::WebSocket;
use axum::http::{Method, Request, StatusCode};
use futures_util::future::BoxFuture;
use serde_json::{Value, json};
use tower::ServiceExt as _;
use voxgate_policy::approval::{ApprovalError, ApprovalState, Verdict};
use voxgate_policy::bundle::RevisionName;
use voxgate_policy::decision::{Authorizer, Decision, Question, Risk};
use voxgate_policy::directory::{Caller, Directory, Role, Scope as KeyScope};
use voxgate_policy::key::{KeyHash, KeyIndex};
use voxgate_policy::money::budget::{Budget, Scope, Standing};
use voxgate_policy::money::day::{UtcDay, Window};
use voxgate_policy::money::ledger::{Certainty, Entry, EntryId, Quantities, Source, Subject};
use voxgate_policy::money::price::{PriceBook, PriceLine};
use voxgate_policy::routing::RouteTable;
use voxgate_protocol::id::{CallId, SessionId};
use voxgate_protocol::money::NanoDollars;
use voxgate_protocol::tenant::{KeyId, OrganisationId, TeamId, TenantPath};
use voxgate_protocol::timeline::Hop;
use voxgate_realtime::ApiError;

use super::access::{RULES, Rule};
use super::approvals::{Approvals, PendingApproval};
use super::money::ListedBudget;
use super::reach::Reach;
use super::*;
use crate::directory::SharedDirectory;
use crate::host::{Recording, ServeSideband, SessionHost, SessionRequest};
use crate::live::{Presence, SessionFacts};
use crate::store::tests::{TestStore, sqlite};
use crate::terms::Terms;

/// Runs nothing.
struct Idle;

impl SessionHost for Idle {
    fn answer(&self, _: CallId, _: String, _: SessionRequest) -> BoxFuture<'_, Result<String, ApiError>> {
        Box::pin(async { Err(ApiError::call_id_not_found()) })
    }

    fn restart_ice(&self, _: CallId, _: KeyIndex, _: String) -> BoxFuture<'_, Result<String, ApiError>> {
        Box::pin(async { Err(ApiError::call_id_not_found()) })
    }

    fn attach(&self, _: CallId, _: KeyIndex) -> BoxFuture<'_, Result<ServeSideband, ApiError>> {
        Box::pin(async { Err(ApiError::call_id_not_found()) })
    }

    fn hang_up(&self, _: CallId, _: KeyIndex) -> BoxFuture<'_, bool> {
        Box::pin(async { false })
    }

    fn refused(&self, _: &ApiError) {}

    fn decided(&self, _: &Caller, _: &Question<'_>, _: &Decision, _: Duration) {}

    fn recording(&self) -> Option<Recording> {
        None
    }

    fn serve_socket(&self, _: WebSocket, _: SessionRequest) -> BoxFuture<'static, ()> {
        Box::pin(async {})
    }
}

/// Has a budget of `acme`, one of `acme/red` and one of `other/red`.
struct Purse;

impl Treasury for Purse {
    fn budgets(&self) -> Vec<ListedBudget> {
        let scope = |organisation: &str, team: Option<&str>| Scope {
            organisation: OrganisationId::new(organisation).unwrap(),
            team: team.map(|team| TeamId::new(team).unwrap()),
            key: None,
            agent: None,
        };
        let hard = Some(NanoDollars::new(10));
        let budget = |scope| Budget { scope, window: Window::Day, soft: None, hard };
        let of = [scope("acme", None), scope("acme", Some("red")), scope("other", Some("red"))];
        let (spent, leased) = (NanoDollars::new(6), NanoDollars::new(1));
        of.map(|scope| ListedBudget::configured(Standing { budget: budget(scope), spent, leased })).into()
    }

    fn refresh(&self) -> BoxFuture<'_, ()> {
        Box::pin(async {})
    }

    fn prices(&self) -> Vec<PriceLine> {
        PriceBook::built_in().unwrap().lines()
    }
}

/// Something `tenancy` spent, in nano-dollars.
fn spent(tenancy: TenantPath, amount: i64) -> Entry {
    let at = Duration::from_secs(1_700_000_000);
    Entry {
        id: EntryId {
            session: SessionId::from(tenancy.to_string()),
            subject: Subject::Connection,
            source: Source::Wire,
            sequence: 0,
        },
        tenant: tenancy,
        provider: "p".into(),
        model: "m".into(),
        hop: Hop::Model,
        day: UtcDay::of(at),
        at,
        prices: "v1".into(),
        certainty: Certainty::Confirmed,
        amount: NanoDollars::new(amount),
        unheard: NanoDollars::ZERO,
        used: Quantities::default(),
    }
}

/// Holds calls and notes what was decided.
#[derive(Default)]
struct Held {
    pending: Mutex<Vec<PendingApproval>>,
    decided: Mutex<Vec<(String, Verdict)>>,
}

impl Held {
    fn hold(&self, id: &str, organisation: &str, team: &str) {
        self.pending.lock().unwrap().push(PendingApproval {
            id: id.to_owned(),
            session: "sess_1".into(),
            call: "call_1".into(),
            tenancy: tenancy(organisation, team, "member"),
            tool: "refund".to_owned(),
            risk: Risk::Dangerous,
            arguments: "{}".to_owned(),
            asked_at_unix_ms: 1,
            deadline_unix_ms: 2,
        });
    }
}

impl Approvals for Held {
    fn pending(&self, within: &Reach) -> Vec<PendingApproval> {
        let pending = self.pending.lock().unwrap();
        pending.iter().filter(|held| within.covers_path(&held.tenancy)).cloned().collect()
    }

    fn decide<'a>(
        &'a self,
        id: &'a str,
        within: &'a Reach,
        verdict: Verdict,
    ) -> BoxFuture<'a, Result<ApprovalState, ApprovalError>> {
        let mut pending = self.pending.lock().unwrap();
        let place = pending.iter().position(|held| held.id == id && within.covers_path(&held.tenancy));
        let found = place.map(|place| pending.remove(place).id).ok_or(ApprovalError::Unknown);
        let state = found.map(|id| {
            self.decided.lock().unwrap().push((id, verdict));
            match verdict {
                Verdict::Approve => ApprovalState::Approved,
                Verdict::Deny => ApprovalState::Denied,
            }
        });
        Box::pin(async move { state })
    }
}

fn tenancy(organisation: &str, team: &str, key: &str) -> TenantPath {
    TenantPath {
        organisation: OrganisationId::new(organisation).unwrap(),
        team: TeamId::new(team).unwrap(),
        key: KeyId::new(key).unwrap(),
        agent: None,
    }
}

/// Whose secret is `organisation/team/role`.
fn entry(organisation: &str, team: &str, role: Role) -> KeyEntry {
    let tenancy = tenancy(organisation, team, role.as_str());
    let hash = KeyHash::of(&format!("{organisation}/{team}/{}", role.as_str()));
    let caller = Caller { tenancy, role, scopes: KeyScope::ALL.into(), is_signed_in: false };
    KeyEntry { hash, caller, expires_at: None, is_revoked: false }
}

/// The administration with keys of every role in `default/default`, `acme/red`, `acme/blue` and `other/red`.
struct World {
    approvals: Arc<Held>,
    router: Router,
    api: AdminApi,
    configuration: Arc<revisions::Fixed>,
    _store: TestStore,
}

impl World {
    async fn new() -> Self {
        Self::with_policies(None).await
    }

    async fn with_policies(text: Option<&str>) -> Self {
        let store = sqlite().await;
        let places = [("default", "default"), ("acme", "red"), ("acme", "blue"), ("other", "red")];
        let keys: Vec<KeyEntry> = places
            .iter()
            .flat_map(|(organisation, team)| Role::ALL.map(|role| entry(organisation, team, role)))
            .collect();
        let files: Vec<_> = text
            .into_iter()
            .map(|text| voxgate_policy::decision::PolicyFile { name: "test.cedar", text })
            .collect();
        let terms = Terms {
            revision: RevisionName::default(),
            authorizer: Arc::new(Authorizer::load(&files).unwrap()),
            routes: Arc::new(RouteTable::default()),
            default_model: "m".into(),
            agents: Arc::new(agents::configured()),
            limits: Arc::default(),
            host: Arc::new(Idle),
        };
        let approvals = Arc::new(Held::default());
        let directory = SharedDirectory::new(Directory::new(keys.clone()).unwrap());
        let configuration = Arc::new(revisions::Fixed::default());
        let api = AdminApi {
            identity: Arc::new(Identity::new(directory)),
            terms: TermsInForce::new(terms),
            live: LiveSessions::default(),
            store: (*store).clone(),
            configured: Arc::new(move || keys.clone()),
            approvals: Arc::clone(&approvals) as Arc<dyn Approvals>,
            configuration: Arc::clone(&configuration) as Arc<dyn Configuration>,
            treasury: Arc::new(Purse),
        };
        Self { approvals, router: router(api.clone()).unwrap(), api, configuration, _store: store }
    }

    fn session(&self, name: &str, organisation: &str, team: &str) -> Presence {
        self.api.live.enter(SessionFacts {
            session: name.into(),
            call: None,
            tenancy: tenancy(organisation, team, "member"),
            model: "m".to_owned(),
            transport: "websocket",
            purpose: "conversation",
            revision: RevisionName::default(),
            began_at_unix_ms: 1_000,
        })
    }

    async fn ask(&self, key: &str, method: &str, path: &str, body: Option<Value>) -> (StatusCode, Value) {
        self.ask_marked(key, method, path, body, None).await
    }

    async fn ask_marked(
        &self,
        key: &str,
        method: &str,
        path: &str,
        body: Option<Value>,
        mark: Option<&str>,
    ) -> (StatusCode, Value) {
        let mut request = Request::builder().method(Method::from_bytes(method.as_bytes()).unwrap()).uri(path);
        request = request.header("authorization", format!("Bearer {key}"));
        if let Some(mark) = mark {
            request = request.header("idempotency-key", mark);
        }
        let body = match body {
            Some(body) => {
                request = request.header("content-type", "application/json");
                Body::from(body.to_string())
            }
            None => Body::empty(),
        };
        let reply = self.router.clone().oneshot(request.body(body).unwrap()).await.unwrap();
        let status = reply.status();
        let body = to_bytes(reply.into_body(), 1 << 20).await.unwrap();
        if status == StatusCode::NO_CONTENT {
            assert!(body.is_empty());
            return (status, Value::Null);
        }
        let body = serde_json::from_slice(&body).unwrap_or_else(|error| panic!("{status}: {error}"));
        (status, body)
    }
}

/// The ids of a page.
fn ids(page: &Value) -> Vec<&str> {
    page["items"].as_array().unwrap().iter().map(|item| item["id"].as_str().unwrap()).collect()
}

/// A path of the description with things that exist in `acme/red`, and a body that would do.
fn example(path: &str, method: &str) -> (String, Option<Value>) {
    let concrete = [
        ("{session}", "sess_1"),
        ("{organisation}", "acme"),
        ("{team}", "red"),
        ("{key}", "member"),
        ("{approval}", "appr_1"),
        ("{revision}", "1"),
        ("{agent}", "*"),
        ("{budget}", "bud_acme"),
    ];
    let path = concrete.iter().fold(path.to_owned(), |path, (name, value)| path.replace(name, value));
    let body = match (method, path.ends_with("/keys")) {
        ("POST", true) => Some(json!({ "name": "made" })),
        ("POST", false) if path.ends_with("/decide") => Some(
            json!({ "act": "tool.call", "organisation": "acme", "team": "red", "key": "member", "role": "member" }),
        ),
        ("POST", false) if path.ends_with("/organisations") || path.ends_with("/teams") => {
            Some(json!({ "id": "made", "name": "made" }))
        }
        ("POST", false) if path.ends_with("/plan") => Some(json!({ "bundle": { "configuration": "" } })),
        ("POST", false) if path.ends_with("/apply") => {
            Some(json!({ "bundle": { "configuration": "" }, "follows": "0".repeat(64) }))
        }
        ("POST", false) if path.ends_with("/rollback") => Some(json!({ "follows": "0".repeat(64) })),
        ("POST", false) if path.ends_with("/budgets") => {
            Some(json!({ "organisation": "acme", "window": "hour", "hard_nano_dollars": 5 }))
        }
        ("PUT", _) => Some(json!({ "hard_nano_dollars": 6 })),
        ("PATCH", _) => Some(json!({ "name": "changed" })),
        _ => None,
    };
    (path, body)
}

#[test]
fn every_act_that_is_described_has_one_rule_and_every_rule_is_described() {
    let document = serde_json::to_value(document()).unwrap();
    let mut described = BTreeSet::new();
    for (path, methods) in document["paths"].as_object().unwrap() {
        for method in methods.as_object().unwrap().keys() {
            described.insert((method.to_uppercase(), path.clone()));
        }
    }
    let rules: Vec<_> = RULES.iter().map(|rule| (rule.method.to_owned(), rule.path.to_owned())).collect();
    assert_eq!(rules.iter().cloned().collect::<BTreeSet<_>>(), described);
    assert_eq!(rules.len(), described.len(), "an act has two rules");
    let asks = |rule: &Rule| rule.method == "GET" || rule.path.ends_with("/decide");
    assert!(RULES.iter().all(|rule| rule.writes != asks(rule)));
    assert!(RULES.iter().all(|rule| !rule.roles.contains(&Role::Member)));
}

#[tokio::test]
async fn every_act_lets_in_the_roles_of_its_rule_and_nobody_else() {
    let world = World::new().await;
    let _runs = world.session("sess_1", "acme", "red");
    world.approvals.hold("appr_1", "acme", "red");
    budgets::stored(&world, "bud_acme", "acme", Some("red")).await;
    for rule in RULES {
        let (path, body) = example(rule.path, rule.method);
        for role in Role::ALL {
            let key = format!("acme/red/{}", role.as_str());
            let (status, reply) = world.ask(&key, rule.method, &path, body.clone()).await;
            let case = format!("{} {} as {role:?}: {status} {reply}", rule.method, rule.path);
            let is_let_in = rule.roles.contains(&role);
            let is_for_the_installation = (rule.method, rule.path) == ("POST", "/admin/v1/organisations")
                || rule.subject == "configuration";
            if is_let_in && !is_for_the_installation {
                // What stands in the configuration cannot be changed; what was decided waits no more.
                let is_decided = rule.subject == "approvals" && status == StatusCode::NOT_FOUND;
                assert!(status.is_success() || status == StatusCode::CONFLICT || is_decided, "{case}");
            } else {
                assert_eq!(status, StatusCode::FORBIDDEN, "{case}");
                assert_eq!(reply["error"]["code"], "permission_denied", "{case}");
            }
        }
        let (status, _) = world.ask("nobody", rule.method, &path, body).await;
        assert!(matches!(status.as_u16(), 401 | 429), "{} {}: {status}", rule.method, rule.path);
    }
}

#[tokio::test]
async fn a_key_without_the_scope_and_a_client_secret_stay_outside() {
    let world = World::new().await;
    let (secret, _) =
        world.api.identity.grant(KeyIndex(0), None, Duration::from_secs(60), crate::api::unix_now(), [3; 32]);
    let (status, reply) = world.ask(&secret, "GET", "/admin/v1/sessions", None).await;
    assert_eq!((status.as_u16(), &reply["error"]["code"]), (403, &json!("permission_denied")));
}

#[tokio::test]
async fn sessions_of_others_are_not_listed_not_found_and_not_ended() {
    let world = World::new().await;
    let red = world.session("sess_red", "acme", "red");
    let blue = world.session("sess_blue", "acme", "blue");
    let other = world.session("sess_other", "other", "red");
    for (key, seen) in [
        ("acme/red/operator", vec!["sess_red"]),
        ("acme/red/owner", vec!["sess_blue", "sess_red"]),
        ("acme/blue/auditor", vec!["sess_blue", "sess_red"]),
        ("other/red/owner", vec!["sess_other"]),
        ("default/default/owner", vec!["sess_blue", "sess_other", "sess_red"]),
        ("default/default/operator", vec![]),
    ] {
        let (_, page) = world.ask(key, "GET", "/admin/v1/sessions", None).await;
        assert_eq!(ids(&page), seen, "{key}");
        for session in ["sess_red", "sess_blue", "sess_other"] {
            let path = format!("/admin/v1/sessions/{session}");
            let (status, _) = world.ask(key, "GET", &path, None).await;
            assert_eq!(status == StatusCode::OK, seen.contains(&session), "{key} {session}: {status}");
        }
    }
    let (status, reply) = world.ask("other/red/owner", "POST", "/admin/v1/sessions/sess_red/end", None).await;
    assert_eq!((status.as_u16(), &reply["error"]["code"]), (404, &json!("not_found")));
    assert!(!red.is_told_to_end() && !blue.is_told_to_end() && !other.is_told_to_end());
}

#[tokio::test]
async fn a_session_is_ended_once_per_request_and_the_log_says_who_did_it() {
    let world = World::new().await;
    let session = world.session("sess_red", "acme", "red");
    let path = "/admin/v1/sessions/sess_red/end";
    for _ in 0..2 {
        let (status, reply) = world.ask_marked("acme/red/operator", "POST", path, None, Some("once")).await;
        assert_eq!((status.as_u16(), &reply["state"]), (202, &json!("ending")));
        assert!(session.is_told_to_end());
    }
    let (_, page) = world.ask("acme/blue/auditor", "GET", "/admin/v1/audit", None).await;
    let log = page["items"].as_array().unwrap();
    assert_eq!(log.len(), 1, "{page}");
    assert_eq!(log[0]["action"], "session.end");
    assert_eq!(log[0]["actor"], "acme/red/operator");
    assert_eq!(log[0]["detail"]["team"], "red");
    let (_, page) = world.ask("other/red/owner", "GET", "/admin/v1/audit", None).await;
    assert_eq!(page["items"], json!([]), "another organisation's log");
    assert!(world.api.store.verify_audit(None).await.unwrap().findings.is_empty());
}

#[tokio::test]
async fn lists_come_in_pages_without_gaps_over_store_and_configuration() {
    let world = World::new().await;
    let root = "default/default/owner";
    for name in ["a", "b"] {
        let body = Some(json!({ "id": name, "name": name }));
        let (status, _) = world.ask(root, "POST", "/admin/v1/organisations", body).await;
        assert_eq!(status, StatusCode::CREATED);
    }
    let (mut seen, mut after) = (Vec::new(), String::new());
    for _ in 0..10 {
        let path = format!("/admin/v1/organisations?limit=2{after}");
        let (_, page) = world.ask(root, "GET", &path, None).await;
        seen.extend(ids(&page).into_iter().map(str::to_owned));
        match page["next"].as_str() {
            Some(next) => after = format!("&after={next}"),
            None => break,
        }
    }
    assert_eq!(seen, ["a", "b", "default", "acme", "other"], "those of the store first");
}

#[tokio::test]
async fn an_organisation_gets_teams_and_keys_and_a_key_is_shown_once() {
    let world = World::new().await;
    let root = "default/default/owner";
    let new = |id: &str| Some(json!({ "id": id, "name": "Ä name" }));
    let (status, made) = world.ask(root, "POST", "/admin/v1/organisations", new("new")).await;
    assert_eq!((status.as_u16(), &made["source"]), (201, &json!("store")));
    let (status, reply) = world.ask(root, "POST", "/admin/v1/organisations", new("new")).await;
    assert_eq!((status.as_u16(), &reply["error"]["code"]), (409, &json!("exists")));
    let teams = "/admin/v1/organisations/new/teams";
    assert_eq!(world.ask(root, "POST", teams, new("desk")).await.0, StatusCode::CREATED);
    let keys = "/admin/v1/organisations/new/teams/desk/keys";
    let key = Some(json!({ "name": "laptop", "role": "operator", "expires_at": 9_000_000_000_u64 }));
    let (status, made) = world.ask_marked(root, "POST", keys, key.clone(), Some("k1")).await;
    assert_eq!(status, StatusCode::CREATED);
    let secret = made["secret"].as_str().unwrap();
    assert!(secret.starts_with("vg_") && secret.len() == 51, "{}", secret.len());
    let id = made["key"]["id"].as_str().unwrap();
    let stored = world.api.store.key("new", "desk", id).await.unwrap().unwrap();
    assert_eq!(stored.entry.hash, KeyHash::of(secret));
    let (status, again) = world.ask_marked(root, "POST", keys, key, Some("k1")).await;
    assert_eq!((status.as_u16(), &again["secret"], &again["key"]["id"]), (200, &Value::Null, &json!(id)));
    let other = Some(json!({ "name": "another" }));
    let (status, reply) = world.ask_marked(root, "POST", keys, other, Some("k1")).await;
    assert_eq!((status.as_u16(), &reply["error"]["code"]), (409, &json!("idempotency_key_reused")));

    let at = format!("{keys}/{id}");
    let (_, renamed) = world.ask(root, "PATCH", &at, Some(json!({ "name": "desktop" }))).await;
    assert_eq!(renamed["name"], "desktop");
    for _ in 0..2 {
        let (status, revoked) = world.ask(root, "POST", &format!("{at}/revoke"), None).await;
        assert_eq!((status.as_u16(), &revoked["state"]), (200, &json!("revoked")));
    }
    let (_, page) = world.ask(root, "GET", "/admin/v1/audit?limit=200", None).await;
    let told: Vec<_> = page["items"].as_array().unwrap().iter().map(|entry| &entry["action"]).collect();
    assert_eq!(told, ["key.revoke", "key.rename", "key.create", "team.create", "organisation.create"]);
    assert!(!page.to_string().contains(secret));
    let (_, page) = world.ask("acme/red/owner", "GET", "/admin/v1/keys?organisation=new", None).await;
    assert_eq!(page["items"], json!([]), "keys of another organisation");
}

#[tokio::test]
async fn what_stands_in_the_configuration_is_shown_and_not_changed() {
    let world = World::new().await;
    let owner = "acme/red/owner";
    let (_, key) = world.ask(owner, "GET", "/admin/v1/organisations/acme/teams/blue/keys/member", None).await;
    assert_eq!((&key["source"], &key["role"]), (&json!("configuration"), &json!("member")));
    for (method, path, body) in [
        ("POST", "/admin/v1/organisations/acme/teams/blue/keys/member/revoke", None),
        ("PATCH", "/admin/v1/organisations/acme/teams/blue", Some(json!({ "name": "x" }))),
        ("PATCH", "/admin/v1/organisations/acme", Some(json!({ "name": "x" }))),
        ("POST", "/admin/v1/organisations/acme/teams/blue/keys", Some(json!({ "name": "x" }))),
    ] {
        let (status, reply) = world.ask(owner, method, path, body).await;
        assert_eq!(
            (status.as_u16(), &reply["error"]["code"]),
            (409, &json!("configured")),
            "{method} {path}"
        );
    }
}

#[tokio::test]
async fn a_policy_takes_away_what_a_role_would_have() {
    let policies = r#"
        @id("roles") permit (principal in Role::"owner", action in Action::"admin", resource);
        @id("secret") forbid (principal, action in Action::"admin", resource == Team::"acme/blue");
        @id("no-keys") forbid (principal, action == Action::"admin.write", resource)
            when { context.subject == "teams" };
    "#;
    let world = World::with_policies(Some(policies)).await;
    let (_red, _blue) =
        (world.session("sess_red", "acme", "red"), world.session("sess_blue", "acme", "blue"));
    let (_, page) = world.ask("acme/red/owner", "GET", "/admin/v1/sessions", None).await;
    assert_eq!(ids(&page), ["sess_red"]);
    let (status, _) = world.ask("acme/red/owner", "GET", "/admin/v1/sessions/sess_blue", None).await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    let (status, _) = world.ask("acme/red/auditor", "GET", "/admin/v1/sessions", None).await;
    assert_eq!(status, StatusCode::FORBIDDEN, "no policy permits it");
    let team = Some(json!({ "name": "x" }));
    let (status, _) =
        world.ask("acme/red/owner", "PATCH", "/admin/v1/organisations/acme/teams/red", team).await;
    assert_eq!(status, StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn what_is_not_as_described_is_refused_with_a_sentence() {
    let world = World::new().await;
    let root = "default/default/owner";
    for (method, path, body, code) in [
        ("GET", "/admin/v1/sessions?limit=0", None, "invalid_request"),
        ("GET", "/admin/v1/sessions?limit=201", None, "invalid_request"),
        ("GET", "/admin/v1/sessions?limit=x", None, "invalid_request"),
        ("GET", "/admin/v1/sessions?page=2", None, "invalid_request"),
        ("GET", "/admin/v1/sessions?after=%00", None, "invalid_request"),
        ("GET", "/admin/v1/audit?after=x", None, "invalid_request"),
        ("POST", "/admin/v1/organisations", None, "unsupported_media_type"),
        ("POST", "/admin/v1/organisations", Some(json!({ "id": "x" })), "invalid_request"),
        ("POST", "/admin/v1/organisations", Some(json!({ "id": "a/b", "name": "x" })), "invalid_request"),
        ("POST", "/admin/v1/organisations", Some(json!({ "id": "x", "name": "" })), "invalid_request"),
        (
            "POST",
            "/admin/v1/organisations",
            Some(json!({ "id": "x", "name": "x", "owner": 1 })),
            "invalid_request",
        ),
        (
            "POST",
            "/admin/v1/organisations",
            Some(json!({ "id": "x", "name": "x".repeat(20_000) })),
            "request_too_large",
        ),
        ("PUT", "/admin/v1/sessions", None, "method_not_allowed"),
        ("GET", "/admin/v1/nothing", None, "not_found"),
        ("GET", "/admin/v1/organisations/a%20b", None, "not_found"),
    ] {
        let (status, reply) = world.ask(root, method, path, body).await;
        assert!(status.is_client_error(), "{method} {path}: {status}");
        assert_eq!(reply["error"]["code"], code, "{method} {path}: {reply}");
        let message = reply["error"]["message"].as_str().unwrap();
        assert!(message.ends_with('.') && message.len() < 300, "{message}");
    }
}

#[tokio::test]
async fn a_held_call_is_decided_once_by_somebody_it_belongs_to_and_the_log_says_who() {
    let world = World::new().await;
    world.approvals.hold("appr_1", "acme", "red");
    world.approvals.hold("appr_2", "acme", "blue");
    let (_, page) = world.ask("acme/red/operator", "GET", "/admin/v1/approvals", None).await;
    assert_eq!(ids(&page), ["appr_1"]);
    let approve = "/admin/v1/approvals/appr_1/approve";
    for stranger in ["other/red/owner", "acme/blue/operator"] {
        assert_eq!(world.ask(stranger, "POST", approve, None).await.0, StatusCode::NOT_FOUND, "{stranger}");
    }
    assert_eq!(*world.approvals.decided.lock().unwrap(), []);
    for _ in 0..2 {
        let (status, reply) = world.ask_marked("acme/red/operator", "POST", approve, None, Some("a1")).await;
        assert_eq!((status.as_u16(), &reply["state"]), (200, &json!("approved")));
    }
    let deny = "/admin/v1/approvals/appr_1/deny";
    assert_eq!(world.ask("acme/red/operator", "POST", deny, None).await.0, StatusCode::NOT_FOUND);
    assert_eq!(*world.approvals.decided.lock().unwrap(), [("appr_1".to_owned(), Verdict::Approve)]);
    let (_, page) = world.ask("acme/red/auditor", "GET", "/admin/v1/audit", None).await;
    let told: Vec<_> = page["items"].as_array().unwrap().iter().map(|entry| &entry["action"]).collect();
    assert_eq!(told, ["approval.approve"]);
    assert_eq!(page["items"][0]["actor"], "acme/red/operator");
}

#[tokio::test]
async fn the_policies_in_force_are_shown_and_asked_what_they_would_say() {
    let policies = r#"
        @id("roles") permit (principal in Role::"owner", action in Action::"admin", resource);
        @id("red-refunds") @approval("human")
        permit (principal in Team::"acme/red", action == Action::"tool.call", resource == Tool::"refund");
        @id("others-secret") permit (principal in Organisation::"other", action, resource);
    "#;
    let world = World::with_policies(Some(policies)).await;
    let (_, page) = world.ask("acme/red/owner", "GET", "/admin/v1/policies", None).await;
    assert!(ids(&page).contains(&"red-refunds") && ids(&page).contains(&"nothing-of-another-organisation"));
    assert!(!ids(&page).contains(&"others-secret") && !ids(&page).contains(&"roles"), "{page}");
    let shown = page["items"].as_array().unwrap().iter().find(|item| item["id"] == "red-refunds").unwrap();
    assert_eq!((&shown["tenant"], &shown["demands"]["needs_approval"]), (&json!("acme/red"), &json!(true)));
    assert_eq!(shown["hash"].as_str().unwrap().len(), 64);
    let (_, page) = world.ask("default/default/owner", "GET", "/admin/v1/policies", None).await;
    assert!(ids(&page).contains(&"others-secret"));

    let what = |organisation: &str, tool: &str| {
        Some(
            json!({ "act": "tool.call", "organisation": organisation, "team": "red", "key": "k", "role": "member",
            "tool": tool }),
        )
    };
    let decide = "/admin/v1/policies/decide";
    let (_, verdict) = world.ask("acme/red/owner", "POST", decide, what("acme", "refund")).await;
    assert_eq!((&verdict["effect"], &verdict["policies"]), (&json!("ask_person"), &json!(["red-refunds"])));
    let (_, verdict) = world.ask("acme/red/owner", "POST", decide, what("acme", "lookup")).await;
    assert_eq!((&verdict["effect"], &verdict["policies"]), (&json!("deny"), &json!([])));
    let (status, _) = world.ask("acme/red/owner", "POST", decide, what("other", "refund")).await;
    assert_eq!(status, StatusCode::NOT_FOUND, "another organisation's policies are not asked");
}

/// Every `$ref` below a value.
fn references<'a>(value: &'a Value, found: &mut Vec<&'a str>) {
    match value {
        Value::Object(fields) => {
            found.extend(fields.get("$ref").and_then(Value::as_str));
            fields.values().for_each(|value| references(value, found));
        }
        Value::Array(values) => values.iter().for_each(|value| references(value, found)),
        _ => {}
    }
}

#[test]
fn the_description_refers_to_nothing_it_does_not_have() {
    let document = serde_json::to_value(document()).unwrap();
    let mut found = Vec::new();
    references(&document, &mut found);
    assert!(found.len() > 20, "{}", found.len());
    for reference in found {
        assert!(document.pointer(reference.trim_start_matches('#')).is_some(), "{reference}");
    }
}

#[tokio::test]
async fn a_budget_is_seen_by_who_reaches_everything_it_is_for() {
    let world = World::new().await;
    for (key, seen) in [
        ("acme/red/owner", 2),
        ("acme/blue/auditor", 2),
        ("acme/red/operator", 1),
        ("acme/blue/operator", 0),
        ("other/red/owner", 1),
        ("default/default/owner", 3),
    ] {
        let (_, page) = world.ask(key, "GET", "/admin/v1/budgets", None).await;
        let budgets = page["items"].as_array().unwrap();
        assert_eq!(budgets.len(), seen, "{key}: {page}");
        assert!(budgets.iter().all(|budget| budget["left_nano_dollars"] == 3 && budget["window"] == "day"));
    }
}

#[tokio::test]
async fn every_price_is_listed_once_with_its_day_and_source() {
    let world = World::new().await;
    let (mut seen, mut after) = (Vec::new(), String::new());
    for _ in 0..100 {
        let path = format!("/admin/v1/prices?limit=7{after}");
        let (_, page) = world.ask("acme/red/owner", "GET", &path, None).await;
        seen.extend(page["items"].as_array().unwrap().clone());
        match page["next"].as_str() {
            Some(next) => after = format!("&after={next}"),
            None => break,
        }
    }
    assert_eq!(seen.len(), PriceBook::built_in().unwrap().lines().len());
    for price in seen {
        assert_eq!(price["valid_from"].as_str().unwrap().len(), 10, "{price}");
        assert!(!price["source"].as_str().unwrap().is_empty(), "{price}");
    }
}

#[tokio::test]
async fn usage_is_added_up_over_what_is_in_reach_and_over_nothing_else() {
    let world = World::new().await;
    let entries = [("acme", "red", 5), ("acme", "blue", 7), ("other", "red", 11)]
        .map(|(organisation, team, amount)| spent(tenancy(organisation, team, "member"), amount));
    world.api.store.add_to_ledger(&entries).await.unwrap();
    let all = "/admin/v1/usage?first=2020-01-01&last=2030-01-01";
    for (key, sum) in [
        ("acme/red/owner", 12),
        ("acme/red/operator", 5),
        ("other/red/auditor", 11),
        ("default/default/owner", 23),
        ("default/default/operator", 0),
    ] {
        let (_, page) = world.ask(key, "GET", all, None).await;
        assert_eq!(page["items"][0]["confirmed_nano_dollars"], sum, "{key}: {page}");
    }
    let foreign = format!("{all}&organisation=other");
    let (_, page) = world.ask("acme/red/owner", "GET", &foreign, None).await;
    assert_eq!(page["items"][0]["entries"], 0, "asked for, and out of reach");
    let by_team = format!("{all}&by=team&limit=1");
    let (_, page) = world.ask("acme/red/owner", "GET", &by_team, None).await;
    assert_eq!((&page["items"][0]["team"], &page["next"]), (&json!("blue"), &json!("1")));
    let (_, page) = world.ask("acme/red/owner", "GET", &format!("{by_team}&after=1"), None).await;
    assert_eq!((&page["items"][0]["team"], &page["next"]), (&json!("red"), &Value::Null));
    let (status, reply) = world.ask("acme/red/owner", "GET", "/admin/v1/usage?by=mood", None).await;
    assert_eq!((status.as_u16(), &reply["error"]["param"]), (400, &json!("by")));
}
