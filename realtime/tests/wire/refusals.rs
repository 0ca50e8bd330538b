//! Messages and failures that end in an `error` event, and those that must not.

use serde_json::json;
use voxgate_protocol::bridge::{Fault, FaultOwner};
use voxgate_protocol::session::{EndReason, SessionEvent};
use voxgate_realtime::{Adapter, ClientKind};

use crate::harness::Wire;

fn fault(owner: FaultOwner, code: &str, is_final: bool) -> SessionEvent {
    SessionEvent::Fault(Fault {
        owner,
        code: code.to_owned(),
        message: "It failed.".to_owned(),
        may_retry: false,
        may_switch: false,
        is_final,
    })
}

#[test]
fn garbage_is_answered_and_survived() {
    let mut wire = Wire::open(ClientKind::WebSocket);
    let deep = "[".repeat(5_000);
    let wide = format!("[{}0]", "0,".repeat(100_000));
    for text in ["", "{", "null", "[]", "\"x\"", "{\"type\":", "\u{0}", &deep, &wide] {
        wire.send_text(text);
        assert_eq!(wire.take_error("invalid_event")["event_id"], json!(null));
    }
    wire.send(json!({"type": "session.update", "session": {}}));
    wire.take_event("session.updated");
}

#[test]
fn a_message_longer_than_a_data_channel_carries_is_refused() {
    let mut wire = Wire::open(ClientKind::WebRtc);
    wire.send_text(&format!("{{\"type\":\"{}\"}}", "x".repeat(2 * 1024 * 1024)));
    wire.take_error("invalid_event");
}

#[test]
fn an_unknown_event_is_refused_by_name() {
    let mut wire = Wire::open(ClientKind::WebSocket);
    wire.send(json!({"type": "session.updates", "event_id": "e1"}));
    let error = wire.take_error("invalid_value");
    assert_eq!((&error["param"], &error["event_id"]), (&json!("type"), &json!("e1")));
    wire.send(json!({"event_id": "e2"}));
    assert_eq!(wire.take_error("missing_required_parameter")["event_id"], "e2");
}

#[test]
fn fields_of_the_wrong_type_are_refused_with_their_path() {
    let cases = [
        (json!({"type": "response.create", "response": 5}), "response"),
        (json!({"type": "response.create", "response": {"instructions": 5}}), "response.instructions"),
        (json!({"type": "conversation.item.delete", "item_id": 5}), "item_id"),
        (
            json!({"type": "conversation.item.create", "item": {"type": "message", "role": "user", "content": [5]}}),
            "item.content[0]",
        ),
        (
            json!({"type": "session.update", "session": {"audio": {"output": {"speed": "fast"}}}}),
            "session.audio.output.speed",
        ),
    ];
    let mut wire = Wire::open(ClientKind::WebSocket);
    for (event, param) in cases {
        wire.send(event);
        assert_eq!(wire.take_error("invalid_type")["param"], param);
    }
}

#[test]
fn a_failure_is_told_by_whose_it_is() {
    let cases = [
        (FaultOwner::Client, "invalid_value", "invalid_request_error"),
        (FaultOwner::Provider, "provider_timeout", "server_error"),
        (FaultOwner::Gateway, "no_route", "server_error"),
        (FaultOwner::Provider, "insufficient_quota", "insufficient_quota"),
        (FaultOwner::Provider, "rate_limit_exceeded", "rate_limit_error"),
    ];
    let mut wire = Wire::open(ClientKind::WebRtc);
    for (owner, code, kind) in cases {
        wire.core(fault(owner, code, false));
        assert_eq!(wire.take_error(code)["type"], kind);
    }
}

#[test]
fn races_the_client_did_not_cause_are_not_told() {
    let mut wire = Wire::open(ClientKind::WebRtc);
    wire.start("resp_1");
    wire.take_events();
    for code in [
        "response_cancel_not_active",
        "conversation_already_has_active_response",
        "input_audio_buffer_commit_empty",
    ] {
        wire.core(fault(FaultOwner::Client, code, false));
        assert!(wire.take_events().is_empty());
    }
}

#[test]
fn a_failed_request_is_told_with_its_name_and_frees_the_conversation() {
    let mut wire = Wire::open(ClientKind::WebSocket);
    wire.send(json!({"type": "response.create", "event_id": "agents_js_response_create_1"}));
    wire.core(fault(FaultOwner::Provider, "provider_overloaded", false));
    assert_eq!(wire.take_error("provider_overloaded")["event_id"], "agents_js_response_create_1");
    wire.send(json!({"type": "response.create"}));
    assert!(wire.take_events().is_empty());
    assert_eq!(wire.take_commands().len(), 2);
}

#[test]
fn a_request_that_lost_the_race_against_the_callers_turn_is_told_with_its_name() {
    let mut wire = Wire::open(ClientKind::WebSocket);
    wire.send(json!({"type": "response.create", "event_id": "mine"}));
    wire.start("resp_of_the_turn");
    wire.take_events();
    let code = "conversation_already_has_active_response";
    wire.core(fault(FaultOwner::Client, code, false));
    assert_eq!(wire.take_error(code)["event_id"], "mine");
}

#[test]
fn the_end_after_a_final_failure_is_not_a_second_error() {
    let mut wire = Wire::open(ClientKind::WebRtc);
    wire.core(fault(FaultOwner::Provider, "provider_gone", true));
    wire.take_error("provider_gone");
    wire.core(SessionEvent::Ended(EndReason::ProviderFailed));
    assert!(wire.take_events().is_empty());
}

#[test]
fn only_ends_the_client_cannot_see_coming_are_errors() {
    let cases = [
        (EndReason::ClientClosed, None),
        (EndReason::ClientLost, None),
        (EndReason::HungUp, None),
        (EndReason::SetupTimeout, None),
        (EndReason::ProviderFailed, Some("provider_failed")),
        (EndReason::MaximumDuration, Some("session_expired")),
        (EndReason::Drained, Some("server_shutting_down")),
        (EndReason::BudgetExhausted, Some("insufficient_quota")),
        (EndReason::RateLimited, Some("rate_limit_exceeded")),
    ];
    for (reason, code) in cases {
        let mut wire = Wire::open(ClientKind::WebRtc);
        wire.core(SessionEvent::Ended(reason));
        match code {
            Some(code) => drop(wire.take_error(code)),
            None => assert!(wire.take_events().is_empty()),
        }
    }
}

#[test]
fn debug_output_never_shows_a_word() {
    let mut wire = Wire::open(ClientKind::WebSocket);
    let content = json!([{"type": "input_text", "text": "confidential"}]);
    let item = json!({"type": "message", "role": "user", "content": content});
    wire.adapter.handle_text(&json!({"type": "conversation.item.create", "item": item}).to_string());
    let shown = |adapter: &mut Adapter| {
        let outputs: Vec<_> = std::iter::from_fn(|| adapter.poll_output()).collect();
        assert_eq!(outputs.len(), 3);
        format!("{adapter:?} {outputs:?}")
    };
    assert!(!shown(&mut wire.adapter).contains("confidential"));
}
