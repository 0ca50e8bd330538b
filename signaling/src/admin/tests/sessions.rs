//! Sessions over HTTP.

use super::*;

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
