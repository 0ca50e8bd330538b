//! A conversation that goes on in another session.

use serde_json::json;
use voxgate_protocol::bridge::ResponseStatus;
use voxgate_protocol::conversation::ItemStatus;
use voxgate_protocol::session::{EndReason, SessionEvent};
use voxgate_realtime::{Adapter, ClientKind};

use crate::harness::Wire;

/// The session of a client that was lost, and the one it comes back to.
fn resumed() -> Wire {
    let mut lost = Wire::open(ClientKind::WebRtc);
    let content = json!([{"type": "input_text", "text": "hi"}]);
    let item = json!({"id": "typed", "type": "message", "role": "user", "content": content});
    lost.send(json!({"type": "conversation.item.create", "item": item}));
    lost.send(
        json!({"type": "session.update", "session": {"type": "realtime", "instructions": "Be brief."}}),
    );
    lost.start("resp_1");
    lost.say("resp_1", "said", 2_000, "one two three four");
    lost.item_done("resp_1", "said", ItemStatus::Completed);
    lost.core(SessionEvent::ResponseDone {
        response_id: "resp_1".into(),
        status: ResponseStatus::Completed,
        usage: None,
    });
    lost.core(SessionEvent::Ended(EndReason::ClientLost));
    let parked = lost.adapter.park();
    assert!(!format!("{parked:?}").contains("hi"));
    let settings = parked.settings().clone();
    let adapter =
        Adapter::new(ClientKind::WebSocket, "sess_2".into(), settings, 1_800_000_000, 12).resuming(parked);
    Wire::around(adapter)
}

#[test]
fn settings_items_and_their_order_are_found_again() {
    let mut wire = resumed();
    wire.adapter.open();
    wire.drain();
    let created = wire.take_event("session.created");
    assert_eq!(created["session"]["instructions"], "Be brief.");
    assert_eq!(created["session"]["id"], "sess_2");
    wire.send(json!({"type": "conversation.item.retrieve", "item_id": "said"}));
    let said = wire.take_event("conversation.item.retrieved")["item"]["content"][0]["transcript"].take();
    assert_eq!(said, "one two three four");
    let content = json!([{"type": "input_text", "text": "again"}]);
    let item = json!({"id": "typed", "type": "message", "role": "user", "content": content});
    wire.send(json!({"type": "conversation.item.create", "item": item}));
    wire.take_error("item_create_duplicate_item_id");
    let told: Vec<String> = wire
        .adapter
        .context()
        .into_iter()
        .filter_map(|entry| Some(entry.item?.id.as_str().to_owned()))
        .collect();
    assert_eq!(told, ["typed", "said"]);
}

#[test]
fn an_answer_of_the_lost_session_is_cut_by_its_own_length_and_the_voice_stays_fixed() {
    let mut wire = resumed();
    wire.adapter.open();
    wire.drain();
    wire.take_events();
    wire.core(SessionEvent::ItemTruncated {
        item_id: "said".into(),
        content_index: 0,
        heard: std::time::Duration::from_secs(1),
    });
    assert_eq!(wire.take_event("conversation.item.truncated")["audio_end_ms"], 1_000);
    wire.send(json!({"type": "conversation.item.retrieve", "item_id": "said"}));
    let said = wire.take_event("conversation.item.retrieved")["item"]["content"][0]["transcript"].take();
    assert_eq!(said, "one two");
    let voice = json!({"type": "realtime", "audio": {"output": {"voice": "cedar"}}});
    wire.send(json!({"type": "session.update", "session": voice}));
    wire.take_error("cannot_update_voice");
}
