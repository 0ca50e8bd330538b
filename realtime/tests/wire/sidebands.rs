//! Connections beside the client's own.

use serde_json::{Value, json};
use voxgate_protocol::bridge::{Fault, FaultOwner, OutputPart, ResponseStatus};
use voxgate_protocol::session::{EndReason, SessionCommand, SessionEvent};
use voxgate_realtime::{ClientKind, SidebandId};

use crate::harness::{Wire, speech};

fn watched(sidebands: u64) -> Wire {
    let mut wire = Wire::open(ClientKind::WebRtc);
    for id in 1..=sidebands {
        wire.adapter.attach(SidebandId(id)).unwrap();
    }
    wire.drain();
    assert!(wire.sidebands.is_empty() && wire.replies.is_empty(), "no session.created on attach");
    wire
}

fn message(id: &str) -> Value {
    let content = json!([{"type": "input_text", "text": "hi"}]);
    json!({"type": "conversation.item.create",
        "item": {"id": id, "type": "message", "role": "user", "content": content}})
}

#[test]
fn a_sideband_sees_exactly_what_the_data_channel_sees() {
    let mut wire = watched(1);
    wire.caller_turn("item_u", 0, 500);
    wire.start("resp_1");
    wire.say("resp_1", "item_a", 400, "Hello");
    wire.part("resp_1", "item_a", OutputPart::Audio(speech(20)));
    wire.core(SessionEvent::PlayoutStarted { response_id: "resp_1".into() });
    wire.truncated("item_a", 100);
    wire.core(SessionEvent::PlayoutCleared { response_id: "resp_1".into() });
    wire.done("resp_1", ResponseStatus::CancelledByTurn);
    wire.send(json!({"type": "session.update", "session": {"instructions": "x"}}));
    wire.send(json!({"type": "conversation.item.retrieve", "item_id": "item_u"}));
    wire.send(json!({"type": "no.such.event", "event_id": "mine"}));
    assert!(wire.events.len() > 15);
    assert_eq!(wire.events, wire.sidebands);
    assert!(wire.replies.is_empty());
}

#[test]
fn a_sideband_that_attaches_before_the_channel_opens_misses_nothing_and_is_not_told_twice() {
    let mut wire = Wire::closed(ClientKind::WebRtc);
    wire.adapter.attach(SidebandId(1)).unwrap();
    wire.caller_turn("item_u", 0, 500);
    assert_eq!((wire.events.len(), wire.sidebands.len()), (0, 5));
    wire.adapter.open();
    wire.drain();
    assert_eq!(wire.events[0]["type"], "session.created");
    assert_eq!(wire.events[1..], wire.sidebands);
}

#[test]
fn what_a_sideband_does_is_done_and_seen_by_all() {
    let mut wire = watched(2);
    wire.sideband_sends(1, &json!({"type": "session.update", "session": {"instructions": "Be brief."}}));
    wire.sideband_sends(1, &message("item_s"));
    wire.sideband_sends(2, &json!({"type": "response.create"}));
    wire.start("resp_1");
    wire.say("resp_1", "item_a", 400, "Hello");
    wire.sideband_sends(2, &json!({"type": "response.cancel"}));
    let truncate = json!({"type": "conversation.item.truncate", "item_id": "item_a", "content_index": 0,
        "audio_end_ms": 200});
    wire.sideband_sends(1, &truncate);
    wire.sideband_sends(1, &json!({"type": "output_audio_buffer.clear"}));
    wire.sideband_sends(1, &json!({"type": "input_audio_buffer.clear"}));
    wire.sideband_sends(1, &json!({"type": "input_audio_buffer.commit"}));
    wire.sideband_sends(1, &json!({"type": "conversation.item.delete", "item_id": "item_s"}));
    assert!(wire.replies.is_empty(), "{:#?}", wire.replies);
    assert_eq!(wire.events, wire.sidebands);
    let types: Vec<_> = wire.events.iter().map(|event| event["type"].as_str().unwrap()).collect();
    assert_eq!(types[..3], ["session.updated", "conversation.item.added", "conversation.item.done"]);
    assert!(matches!(
        wire.take_commands().as_slice(),
        [
            SessionCommand::Configure(_),
            SessionCommand::CreateItem { .. },
            SessionCommand::CreateResponse(_),
            SessionCommand::CancelResponse { .. },
            SessionCommand::Truncate { .. },
            SessionCommand::ClearOutput,
            SessionCommand::ClearInput,
            SessionCommand::CommitInput,
            SessionCommand::DeleteItem { .. },
        ]
    ));
}

#[test]
fn an_error_that_answers_a_sideband_is_told_to_it_alone() {
    let mut wire = watched(2);
    let cases = [
        (json!({"type": "no.such.event", "event_id": "e"}), "invalid_value"),
        (json!({"type": "response.cancel", "event_id": "e"}), "response_cancel_not_active"),
        (json!({"type": "session.update", "event_id": "e", "session": {"voice": "x"}}), "unknown_parameter"),
        (json!({"type": "input_audio_buffer.append", "event_id": "e", "audio": "AAAA"}), "invalid_event"),
    ];
    for (event, code) in cases {
        wire.sideband_sends(2, &event);
        let (id, reply) = wire.replies.pop().unwrap();
        assert_eq!(
            (id, &reply["error"]["code"], &reply["error"]["event_id"]),
            (2, &json!(code), &json!("e"))
        );
    }
    assert!(wire.replies.is_empty() && wire.events.is_empty() && wire.sidebands.is_empty());
}

#[test]
fn an_error_that_comes_later_still_finds_the_sideband_that_asked() {
    let mut wire = watched(2);
    wire.sideband_sends(1, &json!({"type": "input_audio_buffer.commit", "event_id": "c"}));
    wire.core(SessionEvent::InputEmpty);
    wire.sideband_sends(2, &json!({"type": "response.create", "event_id": "r"}));
    wire.core(fault("provider_overloaded", false));
    let asked: Vec<_> =
        wire.replies.iter().map(|(id, reply)| (*id, reply["error"]["event_id"].clone())).collect();
    assert_eq!(asked, [(1, json!("c")), (2, json!("r"))]);
    assert!(wire.events.is_empty() && wire.sidebands.is_empty());
}

#[test]
fn a_failure_that_ends_the_session_is_told_to_everybody_whoever_asked() {
    let mut wire = watched(1);
    wire.sideband_sends(1, &json!({"type": "response.create", "event_id": "r"}));
    wire.core(fault("provider_gone", true));
    assert_eq!(wire.take_error("provider_gone")["event_id"], json!(null));
    assert_eq!(wire.sidebands.len(), 1);
}

#[test]
fn a_retrieved_item_is_shown_to_the_sideband_that_asked() {
    let mut wire = watched(2);
    wire.caller_turn("item_u", 0, 500);
    wire.take_events();
    wire.sideband_sends(2, &json!({"type": "conversation.item.retrieve", "item_id": "item_u"}));
    let [(2, reply)] = wire.replies.as_slice() else { panic!("{:?}", wire.replies) };
    assert_eq!(reply["type"], "conversation.item.retrieved");
    assert!(wire.events.is_empty());
}

#[test]
fn a_session_has_four_sidebands_and_takes_another_when_one_has_gone() {
    let mut wire = watched(4);
    assert_eq!(wire.adapter.attach(SidebandId(5)).unwrap_err().status, 429);
    wire.adapter.detach(SidebandId(2));
    wire.adapter.attach(SidebandId(5)).unwrap();
    wire.sideband_sends(2, &json!({"type": "response.create"}));
    assert!(wire.take_commands().is_empty(), "who has gone is not heard");
    for id in [1, 3, 4, 5] {
        wire.adapter.detach(SidebandId(id));
    }
    wire.caller_turn("item_u", 0, 500);
    assert!(wire.sidebands.is_empty());
    assert_eq!(wire.take_types().len(), 5);
}

#[test]
fn the_end_of_the_session_is_seen_and_nobody_attaches_to_what_is_over() {
    let mut wire = watched(1);
    wire.start("resp_1");
    wire.core(SessionEvent::Ended(EndReason::HungUp));
    let types: Vec<_> = wire.sidebands.iter().map(|event| event["type"].as_str().unwrap()).collect();
    assert_eq!(types, ["response.created", "response.done"]);
    assert_eq!(wire.adapter.attach(SidebandId(2)).unwrap_err().code.as_deref(), Some("call_id_not_found"));
}

fn fault(code: &str, is_final: bool) -> SessionEvent {
    SessionEvent::Fault(Fault {
        owner: FaultOwner::Provider,
        code: code.to_owned(),
        message: "It failed.".to_owned(),
        may_retry: false,
        may_switch: false,
        is_final,
    })
}
