//! The output audio buffer and truncation.

use serde_json::json;
use std::time::Duration;
use voxgate_protocol::bridge::{OutputPart, ResponseStatus};
use voxgate_protocol::conversation::ItemStatus;
use voxgate_protocol::session::{SessionCommand, SessionEvent};
use voxgate_realtime::ClientKind;

use crate::harness::Wire;

#[test]
fn stopped_waits_for_the_end_of_the_answer() {
    let mut wire = Wire::open(ClientKind::WebRtc);
    wire.start("resp_1");
    wire.say("resp_1", "item_a", 100, "Hm");
    wire.take_events();
    wire.core(SessionEvent::PlayoutStarted { response_id: "resp_1".into() });
    wire.core(SessionEvent::PlayoutStopped { response_id: "resp_1".into() });
    assert_eq!(wire.take_types(), ["output_audio_buffer.started"]);
    wire.done("resp_1", ResponseStatus::Completed);
    let types = wire.take_types();
    assert_eq!(types[types.len() - 2..], ["response.done", "output_audio_buffer.stopped"]);
}

#[test]
fn what_started_ends_exactly_once() {
    let mut wire = Wire::open(ClientKind::WebRtc);
    wire.start("resp_1");
    wire.done("resp_1", ResponseStatus::Completed);
    wire.take_events();
    wire.core(SessionEvent::PlayoutCleared { response_id: "resp_1".into() });
    assert!(wire.take_events().is_empty());
    for _ in 0..2 {
        wire.core(SessionEvent::PlayoutStarted { response_id: "resp_1".into() });
    }
    wire.core(SessionEvent::PlayoutCleared { response_id: "resp_1".into() });
    wire.core(SessionEvent::PlayoutStopped { response_id: "resp_1".into() });
    assert_eq!(wire.take_types(), ["output_audio_buffer.started", "output_audio_buffer.cleared"]);
}

#[test]
fn a_websocket_client_has_no_output_audio_buffer() {
    let mut wire = Wire::open(ClientKind::WebSocket);
    wire.start("resp_1");
    wire.take_events();
    wire.core(SessionEvent::PlayoutStarted { response_id: "resp_1".into() });
    wire.core(SessionEvent::PlayoutStopped { response_id: "resp_1".into() });
    assert!(wire.take_events().is_empty());
    wire.send(json!({"type": "output_audio_buffer.clear", "event_id": "o1"}));
    assert_eq!(wire.take_error("invalid_event")["event_id"], "o1");
}

#[test]
fn clearing_silence_is_no_error() {
    let mut wire = Wire::open(ClientKind::WebRtc);
    wire.send(json!({"type": "output_audio_buffer.clear"}));
    wire.send(json!({"type": "output_audio_buffer.clear"}));
    assert_eq!(wire.take_commands(), [SessionCommand::ClearOutput, SessionCommand::ClearOutput]);
    assert!(wire.take_events().is_empty());
}

#[test]
fn an_interrupted_answer_keeps_the_words_that_were_heard() {
    let mut wire = Wire::open(ClientKind::WebRtc);
    wire.start("resp_1");
    wire.say("resp_1", "item_a", 2_000, "one two three four five");
    wire.core(SessionEvent::SpeechStarted { item_id: "item_u".into(), at: Duration::from_secs(4) });
    wire.take_events();
    wire.truncated("item_a", 1_000);
    let event = wire.take_event("conversation.item.truncated");
    assert_eq!(event["audio_end_ms"], 1_000);
    assert_eq!(wire.retrieve("item_a")["content"][0]["transcript"], "one two");
    wire.item_done("resp_1", "item_a", ItemStatus::Incomplete);
    wire.done("resp_1", ResponseStatus::CancelledByTurn);
    let events = wire.take_events();
    let spoken =
        events.iter().find(|event| event["type"] == "response.output_audio_transcript.done").unwrap();
    assert_eq!(spoken["transcript"], "one two three four five");
    let done = &events.last().unwrap()["response"];
    assert_eq!(done["output"][0]["content"][0]["transcript"], "one two");
    assert_eq!(wire.retrieve("item_a")["content"][0]["transcript"], "one two");
}

#[test]
fn an_answer_can_be_cut_after_it_is_done() {
    let mut wire = Wire::open(ClientKind::WebRtc);
    wire.start("resp_1");
    wire.say("resp_1", "item_a", 2_000, "one two three four five");
    wire.done("resp_1", ResponseStatus::Completed);
    wire.take_events();
    wire.truncated("item_a", 1_000);
    wire.take_event("conversation.item.truncated");
    assert_eq!(wire.retrieve("item_a")["content"][0]["transcript"], "one two");
    // Cutting again beyond the cut changes nothing.
    wire.truncated("item_a", 1_900);
    assert_eq!(wire.take_event("conversation.item.truncated")["audio_end_ms"], 1_000);
    assert_eq!(wire.retrieve("item_a")["content"][0]["transcript"], "one two");
}

#[test]
fn a_client_that_overestimates_what_it_played_is_clamped() {
    let mut wire = Wire::open(ClientKind::WebSocket);
    wire.start("resp_1");
    wire.say("resp_1", "item_a", 500, "one two");
    wire.take_events();
    wire.send(json!({
        "type": "conversation.item.truncate", "item_id": "item_a", "content_index": 0, "audio_end_ms": 60_000.7
    }));
    let heard = Duration::from_millis(500);
    assert_eq!(
        wire.take_commands(),
        [SessionCommand::Truncate { item_id: "item_a".into(), content_index: 0, heard }]
    );
    assert!(wire.take_events().is_empty());
}

#[test]
fn only_speech_of_the_agent_can_be_truncated() {
    let mut wire = Wire::open(ClientKind::WebSocket);
    wire.caller_turn("item_u", 0, 500);
    wire.start("resp_1");
    wire.part("resp_1", "item_t", OutputPart::Text("read me".into()));
    wire.take_events();
    let truncate = |item: &str, index: u64| json!({"type": "conversation.item.truncate", "item_id": item, "content_index": index, "audio_end_ms": 0});
    for (item, index) in [("item_u", 0), ("item_t", 0), ("item_t", 7)] {
        wire.send(truncate(item, index));
        wire.take_error("unsupported_content_type");
    }
    wire.send(truncate("item_nobody", 0));
    wire.take_error("item_truncate_invalid_item_id");
    assert!(wire.take_commands().is_empty());
}
