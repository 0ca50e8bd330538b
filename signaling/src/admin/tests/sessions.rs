//! Sessions over HTTP.

use std::collections::BTreeMap;

use voxgate_protocol::session::EndReason;
use voxgate_protocol::timeline::Hop;
use voxgate_telemetry::latency::account::TurnAccount;
use voxgate_telemetry::latency::budget::LatencyBudget;
use voxgate_telemetry::latency::stamp::{Claim, Stamp};
use voxgate_telemetry::session::facts::{EventNote, Serving, TurnNote};
use voxgate_telemetry::session::view::EventKind;

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

#[tokio::test]
async fn a_session_that_is_over_is_found_with_its_record_and_listed_where_it_is_asked_for() {
    let world = World::new().await;
    let _runs = world.session("sess_runs", "acme", "red");
    drop(world.session("sess_over", "acme", "red"));
    let key = "acme/red/auditor";
    for (query, seen) in [
        ("", vec!["sess_runs"]),
        ("?state=ended", vec!["sess_over"]),
        ("?state=all", vec!["sess_over", "sess_runs"]),
        ("?state=all&order=worst", vec!["sess_runs", "sess_over"]),
    ] {
        let (_, page) = world.ask(key, "GET", &format!("/admin/v1/sessions{query}"), None).await;
        assert_eq!(ids(&page), seen, "{query}");
    }
    let (_, shown) = world.ask(key, "GET", "/admin/v1/sessions/sess_over", None).await;
    assert_eq!(shown["state"], "ended");
    let (status, record) = world.ask(key, "GET", "/admin/v1/sessions/sess_over/record", None).await;
    assert_eq!((status, &record["session"]), (StatusCode::OK, &shown));
    assert!(record["turns"].is_array() && record["network"].is_array());
    for path in ["", "/record", "/live"] {
        let path = format!("/admin/v1/sessions/sess_over{path}");
        assert_eq!(world.ask("other/red/owner", "GET", &path, None).await.0, StatusCode::NOT_FOUND, "{path}");
    }
}

#[tokio::test]
async fn of_a_record_that_is_known_up_to_a_revision_only_what_is_newer_comes() {
    let world = World::new().await;
    let runs = world.session("sess_1", "acme", "red");
    let event = |text: &str| EventNote::warning(EventKind::Limit, text);
    let told = async |since: u64| {
        let path = format!("/admin/v1/sessions/sess_1/record?since={since}");
        let (status, part) = world.ask("acme/red/owner", "GET", &path, None).await;
        assert_eq!(status, StatusCode::OK, "{part}");
        let texts =
            part["events"].as_array().unwrap().iter().map(|event| event["text"].as_str().unwrap().to_owned());
        (texts.collect::<Vec<_>>(), part["revision"].as_u64().unwrap())
    };
    runs.record().event(Duration::from_secs(1), event("one"));
    let (texts, revision) = told(0).await;
    assert_eq!(texts.last().unwrap(), "one");
    assert_eq!(told(revision).await, (Vec::new(), revision));
    runs.record().event(Duration::from_secs(2), event("two"));
    assert_eq!(told(revision).await.0, ["two"]);
    assert!(told(0).await.0.ends_with(&["one".to_owned(), "two".to_owned()]));
    let path = "/admin/v1/sessions/sess_1/record?since=-1";
    assert_eq!(world.ask("acme/red/owner", "GET", path, None).await.0, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn a_record_is_a_file_to_keep_where_it_is_asked_for_as_one() {
    let world = World::new().await;
    let _runs = world.session("sess_1", "acme", "red");
    for (query, name) in [("", None), ("?download=1", Some("attachment; filename=\"voxgate-sess_1.json\""))] {
        let request = Request::builder()
            .uri(format!("/admin/v1/sessions/sess_1/record{query}"))
            .header("authorization", "Bearer acme/red/owner");
        let reply = world.router.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
        let disposition = reply.headers().get("content-disposition");
        assert_eq!(disposition.map(|value| value.to_str().unwrap()), name);
    }
    let path = "/admin/v1/sessions/sess_1/record?download=2";
    assert_eq!(world.ask("acme/red/owner", "GET", path, None).await.0, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn sessions_are_searched_and_filtered() {
    let world = World::new().await;
    let now = std::time::Instant::now();
    let serving = |provider: &str, region: &str| Serving {
        provider: provider.to_owned(),
        region: Some(region.to_owned()),
        ..Serving::default()
    };
    let (one, two) = (world.session("sess_1", "acme", "red"), world.session("sess_2", "acme", "blue"));
    one.served_by(now, serving("vendor", "eu"));
    two.served_by(now, serving("vendor", "us"));
    two.record().carried_by(Duration::ZERO, Some("relay-7"));
    two.record().ended(Duration::from_secs(1), Some(EndReason::HungUp));
    drop(two);
    for (query, seen) in [
        ("search=VENDOR", vec!["sess_1", "sess_2"]),
        ("search=vendor+EU", vec!["sess_1"]),
        ("search=relay-7", vec!["sess_2"]),
        ("search=hung_up", vec!["sess_2"]),
        ("search=nobody", vec![]),
        ("search=redm", vec![]),
        ("provider=vendor&region=us", vec!["sess_2"]),
        ("provider=vend", vec![]),
        ("end_reason=hung_up", vec!["sess_2"]),
        ("team=blue", vec!["sess_2"]),
        ("relay=relay-7", vec!["sess_2"]),
        ("organisation=acme&model=m", vec!["sess_1", "sess_2"]),
    ] {
        let path = format!("/admin/v1/sessions?state=all&{query}");
        let (_, page) = world.ask("acme/red/owner", "GET", &path, None).await;
        assert_eq!(ids(&page), seen, "{query}");
    }
}

#[tokio::test]
async fn every_order_has_pages_that_follow_each_other() {
    let world = World::new().await;
    let _sessions: Vec<_> =
        (1..=7).map(|number| world.session(&format!("sess_{number}"), "acme", "red")).collect();
    for order in ["id", "begun", "worst"] {
        let (mut seen, mut after) = (Vec::new(), String::new());
        loop {
            let path = format!("/admin/v1/sessions?order={order}&limit=2{after}");
            let (_, page) = world.ask("acme/red/owner", "GET", &path, None).await;
            seen.extend(ids(&page).into_iter().map(str::to_owned));
            let Some(next) = page["next"].as_str() else { break };
            after = format!("&after={next}");
            assert!(seen.len() < 20, "{order}");
        }
        let whole = format!("/admin/v1/sessions?order={order}&limit=1000");
        let (_, page) = world.ask("acme/red/owner", "GET", &whole, None).await;
        assert_eq!((seen.len(), seen), (7, ids(&page).into_iter().map(str::to_owned).collect()), "{order}");
    }
}

#[tokio::test]
async fn the_worst_session_is_the_one_with_most_slow_turns() {
    let world = World::new().await;
    let (fine, slow) = (world.session("sess_a", "acme", "red"), world.session("sess_b", "acme", "red"));
    for (presence, model) in [(&fine, 300), (&slow, 900)] {
        let at = |ms: u32| Stamp::gateway(Duration::from_millis(ms.into()));
        let claim = Claim::new(Hop::Model, at(0), at(model));
        let account = TurnAccount::from_claims(1, &at(0), &at(model), &[claim]).unwrap();
        let budget = LatencyBudget { whole: Some(Duration::from_millis(500)), hops: BTreeMap::new() };
        let breaches = budget.breaches(&account);
        let note = TurnNote { account: &account, budget: Some(&budget), breaches: &breaches };
        presence.record().turn(Duration::ZERO, note);
    }
    let (_, page) = world.ask("acme/red/owner", "GET", "/admin/v1/sessions?order=worst", None).await;
    assert_eq!(ids(&page), ["sess_b", "sess_a"]);
    assert_eq!((&page["items"][0]["breaches"], &page["items"][0]["worst_hop"]), (&json!(1), &json!("model")));
    assert_eq!(page["items"][0]["mouth_to_ear_p95_ms"], 900.0);
}
