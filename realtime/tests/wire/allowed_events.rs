//! Client secrets bound to some of the client events.

use serde_json::{Value, json};
use voxgate_realtime::request::{client_secret_request, client_secret_response, default_settings};
use voxgate_realtime::{Adapter, AllowedEvents, ClientKind, SidebandId};

use crate::harness::{Wire, validator};

fn request(client: &Value) -> Result<Option<AllowedEvents>, voxgate_realtime::ApiError> {
    let body = json!({"session": {"type": "realtime", "model": "m"}, "client": client}).to_string();
    client_secret_request(body.as_bytes()).map(|request| request.allowed_events)
}

fn only(events: &Value) -> AllowedEvents {
    request(&json!({"data_channel": {"allowed_client_events": events}})).unwrap().unwrap()
}

fn bound(kind: ClientKind, events: &Value) -> Wire {
    let adapter = Adapter::new(kind, "sess_1".into(), default_settings(), 0, 3).allowing(Some(only(events)));
    let mut wire = Wire::around(adapter);
    wire.adapter.open();
    wire.drain();
    wire.take_events();
    wire
}

#[test]
fn a_bound_client_sends_what_is_allowed_and_is_told_what_is_not() {
    for kind in [ClientKind::WebRtc, ClientKind::WebSocket] {
        let mut wire = bound(kind, &json!(["response.cancel", "response.create"]));
        wire.send(json!({"type": "response.create"}));
        assert_eq!(wire.take_commands().len(), 1);
        wire.send(json!({"type": "session.update", "event_id": "u1", "session": {"instructions": "x"}}));
        let error = wire.take_error("event_not_allowed");
        assert_eq!((&error["event_id"], &error["param"]), (&json!("u1"), &json!("type")));
        assert_eq!(wire.adapter.settings().instructions, None);
        assert!(wire.take_commands().is_empty());
    }
}

#[test]
fn what_is_not_allowed_is_refused_before_its_contents_are_looked_at() {
    let mut wire = bound(ClientKind::WebRtc, &json!([]));
    wire.send(json!({"type": "conversation.item.create", "item": 7}));
    wire.take_error("event_not_allowed");
    wire.send(json!({"type": "no.such.event"}));
    wire.take_error("invalid_value");
}

#[test]
fn a_sideband_is_not_bound() {
    let mut wire = bound(ClientKind::WebRtc, &json!([]));
    wire.adapter.attach(SidebandId(1)).unwrap();
    wire.sideband_sends(1, &json!({"type": "session.update", "session": {"instructions": "x"}}));
    assert_eq!(wire.take_types(), ["session.updated"]);
}

#[test]
fn everything_and_nothing_can_be_allowed() {
    for client in
        [json!({}), json!({"data_channel": {}}), json!({"data_channel": {"allowed_client_events": "all"}})]
    {
        assert_eq!(request(&client).unwrap(), None);
    }
    assert!(!only(&json!([])).allows_configuring());
    assert!(only(&json!(["session.update"])).allows_configuring());
}

#[test]
fn names_that_are_no_client_events_refuse_the_request() {
    let param = "client.data_channel.allowed_client_events";
    for events in [json!(["session.updates"]), json!([7]), json!(["session.created"])] {
        let refusal = request(&json!({"data_channel": {"allowed_client_events": events}})).unwrap_err();
        assert_eq!((refusal.code.as_deref(), refusal.param.as_deref()), (Some("invalid_value"), Some(param)));
    }
    let refusal = request(&json!({"data_chanel": {}})).unwrap_err();
    assert_eq!(refusal.param.as_deref(), Some("client.data_chanel"));
    let refusal = request(&json!({"data_channel": {"allowed_server_events": []}})).unwrap_err();
    assert_eq!(refusal.param.as_deref(), Some("client.data_channel.allowed_server_events"));
}

#[test]
fn the_answer_repeats_what_was_bound_and_keeps_the_shape_of_the_sdk() {
    let allowed = only(&json!(["output_audio_buffer.clear", "response.create"]));
    let response = client_secret_response("ek_abc", 1, &default_settings(), "sess_1", Some(&allowed));
    assert!(validator(include_str!("../../specs/client-secret-response.schema.json")).is_valid(&response));
    let names = json!(["response.create", "output_audio_buffer.clear"]);
    assert_eq!(response["client"]["data_channel"]["allowed_client_events"], names);
    let plain = client_secret_response("ek_abc", 1, &default_settings(), "sess_1", None);
    assert!(plain.get("client").is_none());
}
