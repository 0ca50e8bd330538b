//! Whole calls, recorded. The recordings are also read by the parsers of the real SDKs (see `corpus/README.md`).

use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use voxgate_protocol::bridge::{OutputPart, ResponseStatus};
use voxgate_protocol::conversation::ItemStatus;
use voxgate_protocol::session::{EndReason, SessionEvent};
use voxgate_protocol::usage::{TokenUsage, TranscriptionUsage};
use voxgate_realtime::ClientKind;

use crate::harness::Wire;

/// A call with a greeting, a turn with a tool call, an interruption, a text answer, refusals and an end.
fn call(kind: ClientKind) -> Vec<Value> {
    let mut wire = Wire::closed(kind);
    wire.adapter.open();
    greet(&mut wire);
    ask_with_tool(&mut wire);
    interrupt(&mut wire);
    write(&mut wire);
    wire.core(SessionEvent::Ended(EndReason::MaximumDuration));
    wire.take_events()
}

fn greet(wire: &mut Wire) {
    wire.send(json!({"type": "session.update", "session": {
        "type": "realtime", "model": "gpt-realtime", "instructions": "Help.", "tracing": "auto",
        "audio": {"input": {"transcription": {"model": "asr"}, "turn_detection": {"type": "semantic_vad"}},
            "output": {"voice": "marin", "speed": 1}},
        "tools": [{"type": "function", "name": "weather", "parameters": {"type": "object"}}],
    }}));
    let metadata = json!({"client_event_id": "greeting"});
    wire.send(json!({"type": "response.create", "event_id": "g1", "response": {"metadata": metadata}}));
    wire.start("resp_greeting");
    wire.say("resp_greeting", "item_greeting", 20, "Hello, ");
    wire.core(SessionEvent::PlayoutStarted { response_id: "resp_greeting".into() });
    wire.say("resp_greeting", "item_greeting", 20, "how can I help?");
    wire.item_done("resp_greeting", "item_greeting", ItemStatus::Completed);
    let usage = TokenUsage { input_text: 30, output_text: 9, output_audio: 31, ..TokenUsage::default() };
    wire.done_with_usage("resp_greeting", usage);
    wire.core(SessionEvent::PlayoutStopped { response_id: "resp_greeting".into() });
}

fn ask_with_tool(wire: &mut Wire) {
    wire.caller_turn("item_question", 1_200, 2_900);
    wire.start("resp_tool");
    for delta in ["", "{\"city\":", "\"Oslo\"}"] {
        let delta = delta.to_owned();
        let part = OutputPart::ToolArguments { call_id: "call_w".into(), name: "weather".into(), delta };
        wire.part("resp_tool", "item_tool", part);
    }
    wire.core(SessionEvent::InputTranscriptDelta { item_id: "item_question".into(), delta: "Rain ".into() });
    let usage = Some(TranscriptionUsage::Tokens { input_text: 2, input_audio: 17, output: 4 });
    let transcript = "Rain in Oslo?".to_owned();
    wire.core(SessionEvent::InputTranscriptDone { item_id: "item_question".into(), transcript, usage });
    wire.item_done("resp_tool", "item_tool", ItemStatus::Completed);
    wire.done("resp_tool", ResponseStatus::Completed);
    let item = json!({"type": "function_call_output", "call_id": "call_w", "output": "dry"});
    wire.send(json!({"type": "conversation.item.create", "item": item}));
    wire.send(json!({"type": "conversation.item.retrieve", "item_id": "item_question"}));
}

fn interrupt(wire: &mut Wire) {
    wire.send(json!({"type": "response.create"}));
    wire.start("resp_answer");
    wire.say("resp_answer", "item_answer", 60, "It stays dry in Oslo for the whole day.");
    wire.core(SessionEvent::PlayoutStarted { response_id: "resp_answer".into() });
    let at = Duration::from_millis(5_000);
    wire.core(SessionEvent::SpeechStarted { item_id: "item_barge".into(), at });
    wire.core(SessionEvent::PlayoutCleared { response_id: "resp_answer".into() });
    wire.truncated("item_answer", 30);
    wire.done("resp_answer", ResponseStatus::CancelledByTurn);
    wire.send(json!({"type": "conversation.item.retrieve", "item_id": "item_answer"}));
    wire.core(SessionEvent::SpeechStopped { item_id: "item_barge".into(), at: Duration::from_millis(5_700) });
    wire.core(SessionEvent::InputCommitted { item_id: "item_barge".into() });
    let message = "Not understood.".to_owned();
    wire.core(SessionEvent::InputTranscriptFailed { item_id: "item_barge".into(), message });
}

fn write(wire: &mut Wire) {
    wire.send(json!({"type": "response.create", "response": {"output_modalities": ["text"]}}));
    wire.start("resp_text");
    wire.part("resp_text", "item_text", OutputPart::Text("Done.".into()));
    wire.done("resp_text", ResponseStatus::IncompleteByTokens);
    wire.send(json!({"type": "response.cancel", "event_id": "too_late"}));
    wire.send(json!({"type": "conversation.item.delete", "item_id": "item_text"}));
    wire.send(json!({"type": "output_audio_buffer.clear"}));
    wire.core(SessionEvent::InputCleared);
    wire.start("resp_last");
    wire.done("resp_last", ResponseStatus::Failed { code: "overloaded".into(), message: "Busy.".into() });
}

fn assert_as_recorded(name: &str, kind: ClientKind) {
    let events = call(kind);
    let lines: Vec<_> = events.iter().map(Value::to_string).collect();
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus/server-events").join(name);
    let fresh = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::write(&fresh, lines.join("\n") + "\n").unwrap();
    let recorded = std::fs::read_to_string(&path).unwrap_or_default();
    for (index, (event, expected)) in events.iter().zip(recorded.lines()).enumerate() {
        let expected: Value = serde_json::from_str(expected).unwrap();
        assert_eq!(*event, expected, "line {} of {name}", index + 1);
    }
    assert_eq!(lines.len(), recorded.lines().count(), "the new recording is {}", fresh.display());
}

#[test]
fn a_webrtc_call_reads_as_recorded() {
    assert_as_recorded("webrtc.jsonl", ClientKind::WebRtc);
}

#[test]
fn a_websocket_call_reads_as_recorded() {
    assert_as_recorded("websocket.jsonl", ClientKind::WebSocket);
}
