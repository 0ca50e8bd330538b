use super::*;
use crate::store::audit::Deed;
use crate::store::budgets::StoredBudget;

const BUDGETS: &str = "/admin/v1/budgets";

/// A budget of a day for `acme`, or for a team of it, that is in the store.
pub(super) async fn stored(world: &World, id: &str, set_by: &str, team: Option<&str>) {
    let organisation = |name: &str| OrganisationId::new(name).unwrap();
    let team = team.map(|team| TeamId::new(team).unwrap());
    let scope = Scope { organisation: organisation("acme"), team, key: None, agent: None };
    let hard = Some(NanoDollars::new(100));
    let budget = Budget { scope, window: Window::Day, soft: None, hard };
    let stored = StoredBudget { id: id.to_owned(), set_by: organisation(set_by), budget, set_at: 1 };
    let by = Deed { actor: "test".to_owned(), at_unix_ms: 1, request: None };
    world.api.store.add_budget(&stored, &by).await.unwrap();
}

fn of(organisation: &str, more: &Value) -> Option<Value> {
    let mut body = json!({ "organisation": organisation, "window": "month", "hard_nano_dollars": 5_000 });
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    Some(body)
}

#[tokio::test]
async fn a_budget_is_set_changed_and_removed_and_the_log_says_by_whom() {
    let world = World::new().await;
    let owner = "acme/red/owner";
    let body =
        of("acme", &json!({ "team": "red", "key": "web", "agent": "clerk", "soft_nano_dollars": 4_000 }));
    let (status, made) = world.ask_marked(owner, "POST", BUDGETS, body.clone(), Some("b1")).await;
    assert_eq!(status, StatusCode::CREATED, "{made}");
    let id = made["id"].as_str().unwrap();
    assert!(id.starts_with("bud_"), "{made}");
    let names =
        ["organisation", "team", "key", "agent", "window", "set_by", "source"].map(|name| &made[name]);
    assert_eq!(names, ["acme", "red", "web", "clerk", "month", "acme", "store"]);
    assert_eq!([&made["soft_nano_dollars"], &made["left_nano_dollars"]], [4_000, 5_000]);
    let (status, again) = world.ask_marked(owner, "POST", BUDGETS, body.clone(), Some("b1")).await;
    assert_eq!((status, &again), (StatusCode::OK, &made));
    let (status, reply) = world.ask(owner, "POST", BUDGETS, body).await;
    assert_eq!((status.as_u16(), &reply["error"]["code"]), (409, &json!("exists")));
    assert!(reply["error"]["message"].as_str().unwrap().contains(id), "it says which: {reply}");

    let path = format!("{BUDGETS}/{id}");
    let (status, changed) = world.ask(owner, "PUT", &path, Some(json!({ "hard_nano_dollars": 70 }))).await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!((&changed["hard_nano_dollars"], &changed["soft_nano_dollars"]), (&json!(70), &Value::Null));
    assert_eq!(world.ask(owner, "GET", &path, None).await.1, changed);
    for _ in 0..2 {
        let (status, _) = world.ask_marked(owner, "DELETE", &path, None, Some("gone")).await;
        assert_eq!(status, StatusCode::NO_CONTENT, "the same request, once done");
    }
    for method in ["GET", "DELETE"] {
        assert_eq!(world.ask(owner, method, &path, None).await.0, StatusCode::NOT_FOUND, "{method}");
    }
    let (_, page) = world.ask("acme/blue/auditor", "GET", "/admin/v1/audit", None).await;
    let log = page["items"].as_array().unwrap();
    let told: Vec<_> = log.iter().map(|entry| &entry["action"]).collect();
    assert_eq!(told, ["budget.remove", "budget.change", "budget.set"]);
    assert!(log.iter().all(|entry| entry["actor"] == owner && entry["subject"] == id), "{page}");
    assert_eq!(log[1]["detail"]["hard_nano_dollars"], 70);
    assert!(world.api.store.verify_audit(None).await.unwrap().findings.is_empty());
}

#[tokio::test]
async fn what_whoever_runs_the_gateway_has_set_is_seen_and_not_lifted_by_whom_it_binds() {
    let world = World::new().await;
    stored(&world, "bud_above", "default", None).await;
    stored(&world, "bud_own", "acme", None).await;
    let lift = Some(json!({ "hard_nano_dollars": 1_000_000 }));
    let ask = async |key: &str, method: &str, id: &str| {
        let body = lift.clone().filter(|_| method == "PUT");
        world.ask(key, method, &format!("{BUDGETS}/{id}"), body).await.0.as_u16()
    };
    assert_eq!(ask("acme/red/owner", "GET", "bud_above").await, 200);
    for method in ["PUT", "DELETE"] {
        assert_eq!(ask("acme/red/owner", method, "bud_above").await, 403, "{method}");
        assert_eq!(ask("other/red/owner", method, "bud_own").await, 404, "{method}");
        assert_eq!(ask("acme/red/operator", method, "bud_own").await, 403, "{method}");
    }
    assert_eq!(ask("other/red/owner", "GET", "bud_own").await, 404);
    assert_eq!(ask("acme/red/operator", "GET", "bud_own").await, 404, "it is for the other teams too");
    assert_eq!(ask("acme/red/owner", "DELETE", "bud_own").await, 204);
    assert_eq!(ask("default/default/owner", "DELETE", "bud_above").await, 204);
}

#[tokio::test]
async fn a_budget_of_a_place_out_of_reach_cannot_be_set() {
    let world = World::new().await;
    for (key, body, status) in [
        ("acme/red/owner", of("other", &json!({})), 404),
        ("acme/red/owner", of("nobody", &json!({})), 404),
        ("acme/red/owner", of("other", &json!({ "team": "red" })), 404),
        ("acme/red/owner", of("acme", &json!({ "team": "blue" })), 201),
        ("acme/red/operator", of("acme", &json!({ "team": "red" })), 403),
        ("default/default/owner", of("other", &json!({})), 201),
    ] {
        let (found, reply) = world.ask(key, "POST", BUDGETS, body.clone()).await;
        assert_eq!(found.as_u16(), status, "{key} {body:?}: {reply}");
    }
    let (_, nobody) = world.ask("acme/red/owner", "POST", BUDGETS, of("nobody", &json!({}))).await;
    let (_, other) = world.ask("acme/red/owner", "POST", BUDGETS, of("other", &json!({}))).await;
    assert_eq!(nobody, other, "nobody can tell whether it is there");
}

#[tokio::test]
async fn a_budget_that_makes_no_sense_is_refused_with_what_is_wrong() {
    let world = World::new().await;
    for (more, param) in [
        (json!({ "hard_nano_dollars": null }), json!("hard_nano_dollars")),
        (json!({ "hard_nano_dollars": 0 }), json!("hard_nano_dollars")),
        (json!({ "hard_nano_dollars": -1 }), json!("hard_nano_dollars")),
        (json!({ "hard_nano_dollars": 0.5 }), json!("hard_nano_dollars")),
        (json!({ "hard_nano_dollars": 1_000_000_000_000_000_001_u64 }), json!("hard_nano_dollars")),
        (json!({ "soft_nano_dollars": 5_001 }), json!("soft_nano_dollars")),
        (json!({ "team": "a/b" }), json!("team")),
        (json!({ "key": "web" }), Value::Null),
        (json!({ "team": "red", "agent": "clerk" }), Value::Null),
        (json!({ "window": "week" }), Value::Null),
        (json!({ "dollars": 5 }), Value::Null),
    ] {
        let (status, reply) = world.ask("acme/red/owner", "POST", BUDGETS, of("acme", &more)).await;
        assert_eq!((status.as_u16(), &reply["error"]["param"]), (400, &param), "{more}: {reply}");
    }
}
