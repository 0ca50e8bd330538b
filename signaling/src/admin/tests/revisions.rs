//! Revisions of the configuration over HTTP.

use std::sync::Mutex;

use voxgate_policy::bundle::Bundle;
use voxgate_policy::bundle::change::Kind;
use voxgate_protocol::revision::BundleHash;

use super::*;
use crate::admin::revisions::{
    ConfigurationError, Origin, Plan, PlannedChange, RevisionFacts, RunningRevision, TakesEffect,
};
use crate::store::audit::Deed;

/// What a gateway without a configuration runs with.
pub(super) fn running() -> RunningRevision {
    let RevisionName { number, hash } = RevisionName::default();
    let (made_by, origin) = ("gateway".to_owned(), Origin::Start);
    let revision = RevisionFacts { number, hash, made_at_unix_ms: 0, made_by, origin };
    RunningRevision { revision, awaiting_restart: Vec::new(), refused_file: None, sessions: Vec::new() }
}

/// Runs always the same, finds one change in everything but `broken`, and notes who applied what.
#[derive(Default)]
pub(super) struct Fixed {
    applied: Mutex<Vec<(String, String)>>,
}

impl Fixed {
    fn done(
        &self,
        what: &str,
        follows: Option<BundleHash>,
        by: Deed,
    ) -> Result<RunningRevision, ConfigurationError> {
        if follows != Some(running().revision.hash) {
            return Err(ConfigurationError::Stale(running().revision.name()));
        }
        self.applied.lock().unwrap().push((what.to_owned(), by.actor));
        Ok(running())
    }
}

impl Configuration for Fixed {
    fn running(&self) -> RunningRevision {
        running()
    }

    fn plan(&self, bundle: Bundle) -> BoxFuture<'_, Result<Plan, ConfigurationError>> {
        Box::pin(async move {
            if bundle.configuration() == "broken" {
                let problems = vec!["voxgate.yaml:1:1: one".to_owned(), "voxgate.yaml:2:1: two".to_owned()];
                return Err(ConfigurationError::Problems(problems));
            }
            let change = PlannedChange {
                kind: Kind::Changed,
                path: "limits.sessions".to_owned(),
                before: Some("1".to_owned()),
                after: Some("2".to_owned()),
                takes_effect: TakesEffect::Now,
                sessions_keeping: 3,
                sessions_ending: 0,
            };
            Ok(Plan {
                running: running().revision,
                hash: bundle.hash(),
                changes: vec![change],
                sessions_running: 3,
                sessions_ending: 0,
            })
        })
    }

    fn apply(
        &self,
        bundle: Bundle,
        follows: Option<BundleHash>,
        by: Deed,
    ) -> BoxFuture<'_, Result<RunningRevision, ConfigurationError>> {
        Box::pin(async move { self.done(bundle.configuration(), follows, by) })
    }

    fn roll_back(
        &self,
        to: Option<u64>,
        follows: Option<BundleHash>,
        by: Deed,
    ) -> BoxFuture<'_, Result<RunningRevision, ConfigurationError>> {
        Box::pin(async move { self.done(&format!("back to {to:?}"), follows, by) })
    }
}

const OWNER: &str = "default/default/owner";

#[tokio::test]
async fn a_plan_says_what_would_change_and_every_problem_of_what_cannot_be_used() {
    let world = World::new().await;
    let plan = |text: &str| Some(json!({ "bundle": { "configuration": text } }));
    let (status, reply) = world.ask(OWNER, "POST", "/admin/v1/configuration/plan", plan("a: 1")).await;
    assert_eq!(
        (status, &reply["changes"][0]["path"]),
        (StatusCode::OK, &json!("limits.sessions")),
        "{reply}"
    );
    assert_eq!(reply["changes"][0]["takes_effect"], "now");
    let (status, reply) = world.ask(OWNER, "POST", "/admin/v1/configuration/plan", plan("broken")).await;
    assert_eq!((status, &reply["error"]["code"]), (StatusCode::BAD_REQUEST, &json!("configuration_invalid")));
    assert_eq!(reply["error"]["problems"].as_array().unwrap().len(), 2, "{reply}");
}

#[tokio::test]
async fn a_configuration_is_put_in_force_only_behind_the_one_it_was_planned_for() {
    let world = World::new().await;
    let order = |follows: &str| {
        let files = json!({ "rules.cedar": "permit (principal, action, resource);" });
        Some(json!({ "bundle": { "configuration": "a: 1", "files": files }, "follows": follows }))
    };
    let (status, reply) =
        world.ask(OWNER, "POST", "/admin/v1/configuration/apply", order(&"f".repeat(64))).await;
    assert_eq!((status, &reply["error"]["code"]), (StatusCode::CONFLICT, &json!("configuration_stale")));
    let hash = running().revision.hash.to_string();
    let (status, reply) = world.ask(OWNER, "POST", "/admin/v1/configuration/apply", order(&hash)).await;
    assert_eq!((status, &reply["revision"]["hash"]), (StatusCode::OK, &json!(hash)), "{reply}");
    let back = Some(json!({ "revision": 4, "follows": hash }));
    let (status, _) = world.ask(OWNER, "POST", "/admin/v1/configuration/rollback", back).await;
    assert_eq!(status, StatusCode::OK);
    let by = |what: &str| (what.to_owned(), OWNER.to_owned());
    assert_eq!(*world.configuration.applied.lock().unwrap(), [by("a: 1"), by("back to Some(4)")]);
}

#[tokio::test]
async fn what_is_no_order_is_refused_before_anything_is_done() {
    let world = World::new().await;
    let hash = running().revision.hash.to_string();
    let large = json!({ "bundle": { "configuration": "x".repeat(9 << 20) }, "follows": hash });
    let (status, _) = world.ask(OWNER, "POST", "/admin/v1/configuration/apply", Some(large)).await;
    assert_eq!(status, StatusCode::PAYLOAD_TOO_LARGE);
    for wrong in [
        json!({ "bundle": { "configuration": "" } }),
        json!({ "bundle": { "configuration": "", "files": { "": "x" } }, "follows": hash }),
        json!({ "bundle": { "configuration": "" }, "follows": "abc" }),
        json!({ "bundle": { "configuration": "" }, "follows": hash, "force": true }),
    ] {
        let case = wrong.to_string();
        let (status, reply) = world.ask(OWNER, "POST", "/admin/v1/configuration/apply", Some(wrong)).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{case} {reply}");
    }
    assert!(world.configuration.applied.lock().unwrap().is_empty());
}

#[tokio::test]
async fn revisions_of_the_store_come_in_pages_and_whole() {
    let world = World::new().await;
    let by = Deed { actor: "cli".to_owned(), at_unix_ms: 5, request: None };
    for text in ["one", "two", "three"] {
        let bundle = Bundle::new(text.to_owned(), [].into()).unwrap();
        world.api.store.add_revision(&bundle, Origin::Apply, &by, |_| Ok::<(), ()>(())).await.unwrap();
    }
    let numbers = |page: &Value| -> Vec<u64> {
        page["items"].as_array().unwrap().iter().map(|item| item["number"].as_u64().unwrap()).collect()
    };
    let (_, page) = world.ask(OWNER, "GET", "/admin/v1/configuration/revisions?limit=2", None).await;
    assert_eq!((numbers(&page), &page["next"]), (vec![3, 2], &json!("2")));
    let (_, page) = world.ask(OWNER, "GET", "/admin/v1/configuration/revisions?limit=2&after=2", None).await;
    assert_eq!((numbers(&page), &page["next"]), (vec![1], &Value::Null));
    let (_, whole) = world.ask(OWNER, "GET", "/admin/v1/configuration/revisions/2", None).await;
    assert_eq!(whole["bundle"]["configuration"], "two");
    let (status, _) = world.ask(OWNER, "GET", "/admin/v1/configuration/revisions/9", None).await;
    assert_eq!(status, StatusCode::NOT_FOUND);
}
