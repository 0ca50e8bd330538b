//! The conversation: order, names, removal.

use serde_json::{Value, json};
use voxgate_protocol::bridge::{OutputPart, ResponseStatus};
use voxgate_protocol::conversation::{Content, ItemKind, Position};
use voxgate_protocol::session::SessionCommand;
use voxgate_realtime::ClientKind;

use crate::harness::Wire;

fn message(id: &str, previous: Option<&str>) -> Value {
    let content = json!([{"type": "input_text", "text": "hi"}]);
    let item = json!({"id": id, "type": "message", "role": "user", "content": content});
    json!({"type": "conversation.item.create", "previous_item_id": previous, "item": item})
}

#[test]
fn items_keep_the_order_and_the_names_the_client_gave() {
    let mut wire = Wire::open(ClientKind::WebSocket);
    let cases = [
        ("b", None, json!(null), Position::Last),
        ("d", None, json!("b"), Position::Last),
        ("c", Some("b"), json!("b"), Position::After("b".into())),
        ("a", Some("root"), json!(null), Position::First),
    ];
    for (id, asked, previous, position) in cases {
        wire.send(message(id, asked));
        let events = wire.take_events();
        assert_eq!(events[0]["type"], "conversation.item.added");
        assert_eq!(events[1]["type"], "conversation.item.done");
        for event in &events {
            assert_eq!(event["item"]["id"], id);
            assert_eq!(event["previous_item_id"], previous);
        }
        let commands = wire.take_commands();
        let [SessionCommand::CreateItem { item, position: asked }] = commands.as_slice() else { panic!() };
        assert_eq!((item.id.as_str(), asked), (id, &position));
    }
}

#[test]
fn a_name_in_use_is_refused() {
    let mut wire = Wire::open(ClientKind::WebSocket);
    wire.send(message("a", None));
    wire.take_events();
    wire.send(message("a", None));
    wire.take_error("item_create_duplicate_item_id");
    wire.start("resp_1");
    wire.part("resp_1", "item_o", OutputPart::Text("x".into()));
    wire.take_events();
    wire.send(message("item_o", None));
    wire.take_error("item_create_duplicate_item_id");
    assert_eq!(wire.take_commands().len(), 1);
}

#[test]
fn an_unknown_predecessor_is_refused_and_nothing_is_added() {
    let mut wire = Wire::open(ClientKind::WebSocket);
    wire.send(message("a", Some("nobody")));
    wire.take_error("item_create_invalid_previous_item_id");
    wire.send(json!({"type": "conversation.item.retrieve", "item_id": "a"}));
    wire.take_error("item_retrieve_invalid_item_id");
    assert!(wire.take_commands().is_empty());
}

#[test]
fn an_item_without_a_name_gets_one() {
    let mut wire = Wire::open(ClientKind::WebSocket);
    let item = json!({"type": "function_call_output", "call_id": "call_1", "output": "21 degrees"});
    wire.send(json!({"type": "conversation.item.create", "item": item}));
    let event = wire.take_events().remove(0);
    assert!(event["item"]["id"].as_str().unwrap().starts_with("item_"));
    assert_eq!(event["item"]["call_id"], "call_1");
}

#[test]
fn every_kind_of_item_is_read_and_shown_again() {
    let items = [
        json!({"type": "message", "role": "system", "content": [{"type": "input_text", "text": "Be brief."}]}),
        json!({"type": "message", "role": "user", "content": [
            {"type": "input_text", "text": "What is this?"},
            {"type": "input_image", "image_url": "data:image/png;base64,AA=="},
            {"type": "input_audio", "transcript": "and this"},
        ]}),
        json!({"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "A cat."}]}),
        json!({"type": "function_call", "call_id": "call_1", "name": "look", "arguments": "{}"}),
        json!({"type": "function_call_output", "call_id": "call_1", "output": "cat"}),
    ];
    let mut wire = Wire::open(ClientKind::WebSocket);
    for item in items {
        wire.send(json!({"type": "conversation.item.create", "item": item}));
        let shown = wire.take_events().remove(0)["item"].take();
        for (key, value) in item.as_object().unwrap() {
            assert_eq!(&shown[key], value);
        }
    }
}

#[test]
fn restored_speech_of_the_agent_is_restored_as_text() {
    let mut wire = Wire::open(ClientKind::WebSocket);
    let content = json!([{"type": "output_audio", "transcript": "As I said."}]);
    let item = json!({"type": "message", "role": "assistant", "content": content});
    wire.send(json!({"type": "conversation.item.create", "item": item}));
    let commands = wire.take_commands();
    let [SessionCommand::CreateItem { item, .. }] = commands.as_slice() else { panic!() };
    let ItemKind::Message { content, .. } = &item.kind else { panic!() };
    assert!(content == &[Content::OutputText("As I said.".into())]);
}

#[test]
fn a_removed_item_is_gone_and_the_order_closes_over_it() {
    let mut wire = Wire::open(ClientKind::WebSocket);
    wire.send(message("a", None));
    wire.send(message("b", None));
    wire.take_events();
    wire.send(json!({"type": "conversation.item.delete", "item_id": "b"}));
    assert_eq!(wire.take_event("conversation.item.deleted")["item_id"], "b");
    wire.send(json!({"type": "conversation.item.delete", "item_id": "b", "event_id": "d2"}));
    assert_eq!(wire.take_error("item_delete_invalid_item_id")["event_id"], "d2");
    wire.send(message("c", None));
    assert_eq!(wire.take_events()[0]["previous_item_id"], "a");
}

#[test]
fn an_item_removed_while_it_is_written_stays_removed() {
    let mut wire = Wire::open(ClientKind::WebRtc);
    wire.start("resp_1");
    wire.say("resp_1", "item_o", 100, "One");
    wire.send(json!({"type": "conversation.item.delete", "item_id": "item_o"}));
    wire.take_events();
    wire.done("resp_1", ResponseStatus::Completed);
    assert!(!wire.take_types().contains(&"conversation.item.done".to_owned()));
    wire.send(json!({"type": "conversation.item.retrieve", "item_id": "item_o"}));
    wire.take_error("item_retrieve_invalid_item_id");
}

#[test]
fn the_caller_and_the_agent_take_turns_in_one_order() {
    let mut wire = Wire::open(ClientKind::WebRtc);
    wire.caller_turn("item_u", 0, 900);
    wire.start("resp_1");
    wire.say("resp_1", "item_a", 100, "Yes?");
    wire.done("resp_1", ResponseStatus::Completed);
    wire.caller_turn("item_v", 2_000, 3_000);
    let events = wire.take_events();
    let added: Vec<_> = events
        .iter()
        .filter(|event| event["type"] == "conversation.item.added")
        .map(|event| (event["item"]["id"].clone(), event["previous_item_id"].clone()))
        .collect();
    let expected = [
        (json!("item_u"), json!(null)),
        (json!("item_a"), json!("item_u")),
        (json!("item_v"), json!("item_a")),
    ];
    assert_eq!(added, expected);
}

#[test]
fn an_item_can_be_read_while_it_is_written() {
    let mut wire = Wire::open(ClientKind::WebRtc);
    wire.start("resp_1");
    wire.say("resp_1", "item_a", 100, "So far");
    wire.take_events();
    let item = wire.retrieve("item_a");
    assert_eq!(item["status"], "in_progress");
    assert_eq!(item["content"][0]["transcript"], "So far");
}
