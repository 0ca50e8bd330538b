//! Organisations, teams and keys over HTTP.

use super::*;

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
