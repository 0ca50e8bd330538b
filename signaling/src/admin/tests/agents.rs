use std::collections::BTreeMap;

use voxgate_policy::agent::{AgentRules, Agents};
use voxgate_policy::tool::{ArgumentLimit, ToolRule, ToolRules};
use voxgate_protocol::tenant::AgentId;

use super::*;
use crate::store::audit::Deed;
use crate::store::keys::StoredKey;
use crate::store::tenants::{Organisation, Team};

/// `billing` with a dangerous tool, and `clerk` with one that only reads. Everybody else may call everything.
pub(super) fn configured() -> Agents {
    let arguments = [
        ("amount", ArgumentLimit::Number { minimum: 0.0, maximum: 99.5 }),
        ("currency", ArgumentLimit::OneOf(["EUR", "USD"].map(str::to_owned).into())),
        ("note", ArgumentLimit::Text { longest: 10 }),
        ("urgent", ArgumentLimit::Boolean),
    ]
    .map(|(name, limit)| (name.to_owned(), limit));
    let refund = ToolRule { risk: Risk::Dangerous, arguments: arguments.into(), allows_others: false };
    let look = ToolRule { risk: Risk::ReadOnly, arguments: BTreeMap::new(), allows_others: true };
    let rules = |tool: &str, rule, window, filler: Option<&str>| AgentRules {
        tools: Arc::new(ToolRules { tools: [(tool.to_owned(), rule)].into(), allows_others: false }),
        approval_window: Duration::from_secs(window),
        filler: filler.map(str::to_owned),
    };
    let billing = rules("refund", refund, 90, Some("One moment, please."));
    let clerk = rules("look", look, 60, None);
    Agents::new([("billing".to_owned(), billing), ("clerk".to_owned(), clerk)].into())
}

/// A key of a team of the store that is narrowed to an agent.
async fn narrowed(world: &World, (organisation, team): (&str, &str), id: &str, agent: &str) {
    let caller = Caller {
        tenancy: TenantPath { agent: Some(AgentId::new(agent).unwrap()), ..tenancy(organisation, team, id) },
        ..Caller::default()
    };
    let entry = KeyEntry { hash: KeyHash::of(id), caller, expires_at: None, is_revoked: false };
    let key = StoredKey { entry, name: id.to_owned(), created_at: 1, revoked_at: None };
    world.api.store.add_key(&key, &deed()).await.unwrap();
}

fn deed() -> Deed {
    Deed { actor: "test".to_owned(), at_unix_ms: 1, request: None }
}

/// The organisations `acme` and `other` of the configuration, in the store as well, so that they can have keys there.
async fn with_teams_in_store(world: &World) {
    for id in ["acme", "other"] {
        let organisation = Organisation { id: id.to_owned(), name: id.to_owned(), created_at: 1 };
        world.api.store.add_organisation(&organisation, &deed()).await.unwrap();
    }
    for (organisation, id) in [("acme", "red"), ("acme", "blue"), ("other", "red")] {
        let id = id.to_owned();
        let team = Team { name: id.clone(), id, organisation_id: organisation.to_owned(), created_at: 1 };
        world.api.store.add_team(&team, &deed()).await.unwrap();
    }
}

async fn names(world: &World, key: &str) -> Vec<String> {
    let (_, page) = world.ask(key, "GET", "/admin/v1/agents", None).await;
    page["items"].as_array().unwrap().iter().map(|item| item["name"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn an_agent_is_shown_with_its_tools_and_their_limits() {
    let world = World::new().await;
    let root = "default/default/owner";
    let (status, agent) = world.ask(root, "GET", "/admin/v1/agents/billing", None).await;
    assert_eq!(status, StatusCode::OK);
    let argument = |name: &str, says: Value| {
        let mut argument = json!({ "name": name, "one_of": null, "longest": null, "minimum": null, "maximum": null,
            "boolean": false });
        argument.as_object_mut().unwrap().extend(says.as_object().unwrap().clone());
        argument
    };
    let arguments = [
        argument("amount", json!({ "minimum": 0.0, "maximum": 99.5 })),
        argument("currency", json!({ "one_of": ["EUR", "USD"] })),
        argument("note", json!({ "longest": 10 })),
        argument("urgent", json!({ "boolean": true })),
    ];
    let refund =
        json!({ "name": "refund", "risk": "dangerous", "arguments": arguments, "other_arguments": false });
    let billing = json!({ "name": "billing", "tools": [refund], "other_tools": false, "approval_window_seconds": 90,
        "filler": "One moment, please." });
    assert_eq!(agent, billing);

    let (_, everybody) = world.ask(root, "GET", "/admin/v1/agents/%2A", None).await;
    let unrestricted = json!({ "name": "*", "tools": [], "other_tools": true, "approval_window_seconds": 60,
        "filler": null });
    assert_eq!(everybody, unrestricted, "nothing is configured for everybody");
    let (_, page) = world.ask(root, "GET", "/admin/v1/agents?limit=1&after=1", None).await;
    assert_eq!((&page["items"], &page["next"]), (&json!([billing]), &json!("2")));
    let (status, reply) = world.ask(root, "GET", "/admin/v1/agents/nobody", None).await;
    assert_eq!((status.as_u16(), &reply["error"]["code"]), (404, &json!("not_found")));
}

#[tokio::test]
async fn an_agent_exists_for_who_reaches_a_key_that_is_narrowed_to_it() {
    let world = World::new().await;
    with_teams_in_store(&world).await;
    narrowed(&world, ("acme", "red"), "key_red", "clerk").await;
    narrowed(&world, ("other", "red"), "key_other", "billing").await;
    narrowed(&world, ("other", "red"), "key_unknown", "unknown").await;
    for (key, seen) in [
        ("default/default/owner", vec!["*", "billing", "clerk"]),
        ("default/default/auditor", vec!["*", "billing", "clerk"]),
        ("default/default/operator", vec!["*"]),
        ("acme/blue/owner", vec!["*", "clerk"]),
        ("acme/red/operator", vec!["*", "clerk"]),
        ("acme/blue/operator", vec!["*"]),
        ("other/red/auditor", vec!["*", "billing"]),
    ] {
        assert_eq!(names(&world, key).await, seen, "{key}");
        for agent in ["billing", "clerk"] {
            let (status, reply) = world.ask(key, "GET", &format!("/admin/v1/agents/{agent}"), None).await;
            assert_eq!(status == StatusCode::OK, seen.contains(&agent), "{key} {agent}: {status}");
            if status != StatusCode::OK {
                let (_, nobody) = world.ask(key, "GET", "/admin/v1/agents/nobody", None).await;
                assert_eq!(reply, nobody, "what is out of reach is answered like what does not exist");
            }
        }
    }
    world.api.store.revoke_key("key_red", &deed()).await.unwrap();
    assert_eq!(names(&world, "acme/red/operator").await, ["*"], "a revoked key carries no agent");
}

#[tokio::test]
async fn a_team_that_policies_keep_away_shows_no_agents() {
    let policies = r#"
        @id("roles") permit (principal in Role::"owner", action in Action::"admin", resource);
        @id("secret") forbid (principal, action in Action::"admin", resource == Team::"acme/blue");
    "#;
    let world = World::with_policies(Some(policies)).await;
    with_teams_in_store(&world).await;
    narrowed(&world, ("acme", "blue"), "key_blue", "billing").await;
    narrowed(&world, ("acme", "red"), "key_red", "clerk").await;
    assert_eq!(names(&world, "acme/red/owner").await, ["*", "clerk"]);
}

#[tokio::test]
async fn a_team_that_policies_keep_away_is_in_no_list_although_the_store_has_it() {
    let policies = r#"
        @id("roles") permit (principal in Role::"owner", action in Action::"admin", resource);
        @id("secret") forbid (principal, action in Action::"admin", resource == Team::"acme/blue");
    "#;
    let world = World::with_policies(Some(policies)).await;
    with_teams_in_store(&world).await;
    for (team, id) in
        [("blue", "key_1"), ("blue", "key_2"), ("red", "key_3"), ("blue", "key_4"), ("red", "key_5")]
    {
        narrowed(&world, ("acme", team), id, "clerk").await;
    }
    let owner = "acme/red/owner";
    let (_, page) = world.ask(owner, "GET", "/admin/v1/keys?limit=1", None).await;
    assert_eq!((ids(&page), &page["next"]), (vec!["key_3"], &json!("key_3")));
    let (_, page) = world.ask(owner, "GET", "/admin/v1/keys?limit=2&agent=clerk&after=key_3", None).await;
    assert_eq!((ids(&page), &page["next"]), (vec!["key_5"], &Value::Null));
    let (_, page) = world.ask(owner, "GET", "/admin/v1/organisations/acme/teams?limit=1", None).await;
    assert_eq!((ids(&page), &page["next"]), (vec!["red"], &Value::Null));
}

#[tokio::test]
async fn keys_are_listed_by_the_agent_they_are_narrowed_to() {
    let world = World::new().await;
    with_teams_in_store(&world).await;
    narrowed(&world, ("acme", "red"), "key_1", "clerk").await;
    narrowed(&world, ("acme", "blue"), "key_2", "billing").await;
    narrowed(&world, ("other", "red"), "key_3", "clerk").await;
    for (key, seen) in [
        ("default/default/owner", vec!["key_1", "key_3"]),
        ("acme/red/owner", vec!["key_1"]),
        ("acme/blue/operator", vec![]),
    ] {
        let (_, page) = world.ask(key, "GET", "/admin/v1/keys?agent=clerk", None).await;
        assert_eq!(ids(&page), seen, "{key}");
    }
    let (status, reply) = world.ask("acme/red/owner", "GET", "/admin/v1/keys?agent=a%20b", None).await;
    assert_eq!((status.as_u16(), &reply["error"]["param"]), (400, &json!("agent")));
}
