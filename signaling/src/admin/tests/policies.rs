//! Policies over HTTP.

use super::*;

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
