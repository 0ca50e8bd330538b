//! Held tool calls over HTTP.

use super::*;

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
async fn the_reason_of_a_decision_stands_in_the_audit_log_and_one_that_is_too_long_decides_nothing() {
    let world = World::new().await;
    world.approvals.hold("appr_1", "acme", "red");
    let deny = "/admin/v1/approvals/appr_1/deny";
    let long = json!({ "reason": "ü".repeat(501) });
    let (status, reply) = world.ask("acme/red/operator", "POST", deny, Some(long)).await;
    assert_eq!((status.as_u16(), &reply["error"]["param"]), (400, &json!("reason")));
    assert_eq!(*world.approvals.decided.lock().unwrap(), []);
    let why = || Some(json!({ "reason": "the order is not theirs" }));
    for _ in 0..2 {
        let (status, _) = world.ask_marked("acme/red/operator", "POST", deny, why(), Some("d1")).await;
        assert_eq!(status.as_u16(), 200);
    }
    let (status, reply) = world.ask_marked("acme/red/operator", "POST", deny, None, Some("d1")).await;
    assert_eq!((status.as_u16(), &reply["error"]["code"]), (409, &json!("idempotency_key_reused")));
    assert_eq!(*world.approvals.decided.lock().unwrap(), [("appr_1".to_owned(), Verdict::Deny)]);
    let (_, page) = world.ask("acme/red/auditor", "GET", "/admin/v1/audit", None).await;
    assert_eq!(page["items"][0]["detail"]["reason"], "the order is not theirs");
}
