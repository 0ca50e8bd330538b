mod agents;
mod budgets;
mod held_calls;
mod live;
mod money;
mod overview;
mod policies;
mod revisions;
mod sessions;
mod tenants;
mod voices;

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::http::{Method, Request, StatusCode};
use futures_util::future::BoxFuture;
use serde_json::{Value, json};
use tower::ServiceExt as _;
use voxgate_policy::approval::{ApprovalError, ApprovalState, Verdict};
use voxgate_policy::decision::{Authorizer, Risk};
use voxgate_policy::directory::{Caller, Directory, Role, Scope as KeyScope};
use voxgate_policy::key::{KeyHash, KeyIndex};
use voxgate_policy::money::budget::{Budget, Scope, Standing};
use voxgate_policy::money::day::Window;
use voxgate_policy::money::price::{PriceBook, PriceLine};
use voxgate_policy::routing::RouteTable;
use voxgate_protocol::money::NanoDollars;
use voxgate_protocol::revision::RevisionName;
use voxgate_protocol::tenant::{KeyId, OrganisationId, TeamId, TenantPath};
use voxgate_protocol::trace_context::TraceContext;
use voxgate_telemetry::session::facts::SessionFacts;
use voxgate_telemetry::session::view::RecordingView;

use super::access::{RULES, Rule};
use super::approvals::{Approvals, PendingApproval};
use super::money::ListedBudget;
use super::reach::Reach;
use super::*;
use crate::directory::SharedDirectory;
use crate::host::idle::Idle;
use crate::live::Presence;
use crate::store::tests::{TestStore, sqlite};
use crate::terms::Terms;

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
    directory: SharedDirectory,
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
            host: Arc::new(Idle::default()),
        };
        let approvals = Arc::new(Held::default());
        let directory = SharedDirectory::new(Directory::new(keys.clone()).unwrap());
        let configuration = Arc::new(revisions::Fixed::default());
        let api = AdminApi {
            identity: Arc::new(Identity::new(directory.clone())),
            terms: TermsInForce::new(terms),
            live: LiveSessions::default(),
            // Often enough for a test, and seldom enough for a busy machine.
            feeds: Feeds::asking_every(Duration::from_millis(300)),
            turns: HeardTurns::default(),
            fleet: Arc::new(fleet::NoFleet),
            voices: Listening::to(Arc::new(voices::Kept)),
            store: (*store).clone(),
            configured: Arc::new(move || keys.clone()),
            approvals: Arc::clone(&approvals) as Arc<dyn Approvals>,
            configuration: Arc::clone(&configuration) as Arc<dyn Configuration>,
            treasury: Arc::new(Purse),
        };
        Self { approvals, router: router(api.clone()).unwrap(), api, configuration, directory, _store: store }
    }

    fn session(&self, name: &str, organisation: &str, team: &str) -> Presence {
        self.api.live.enter(SessionFacts {
            tenancy: tenancy(organisation, team, "member"),
            model: "m".to_owned(),
            began_at_unix_ms: 1_000,
            ..SessionFacts::new(name.into(), TraceContext::begin(None, (1, 1)))
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
        if reply.headers().get("content-type").is_some_and(|kind| kind == "text/event-stream") {
            // It has no end.
            return (status, Value::Null);
        }
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
    let runs = world.session("sess_1", "acme", "red");
    runs.record().keeps(RecordingView { words: true, voices: true });
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
                || matches!(rule.subject, "configuration" | "latency" | "fleet");
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
async fn what_is_not_as_described_is_refused_with_a_sentence() {
    let world = World::new().await;
    let root = "default/default/owner";
    for (method, path, body, code) in [
        ("GET", "/admin/v1/sessions?limit=0", None, "invalid_request"),
        ("GET", "/admin/v1/sessions?limit=1001", None, "invalid_request"),
        ("GET", "/admin/v1/organisations?limit=201", None, "invalid_request"),
        ("GET", "/admin/v1/sessions?state=asleep", None, "invalid_request"),
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
