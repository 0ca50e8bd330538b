//! The session object and its updates.

use std::time::Duration;

use serde_json::{Value, json};
use voxgate_protocol::session::{SessionCommand, SessionEvent};
use voxgate_protocol::settings::{ToolChoice, TurnDetection};
use voxgate_realtime::ClientKind;

use crate::harness::Wire;

fn update(session: Value) -> Value {
    json!({"type": "session.update", "event_id": "u1", "session": session})
}

#[test]
fn the_session_is_announced_first_and_what_happened_before_follows() {
    let mut wire = Wire::closed(ClientKind::WebRtc);
    wire.caller_turn("item_u", 0, 500);
    wire.start("resp_1");
    assert!(wire.take_events().is_empty());
    wire.adapter.open();
    wire.adapter.open();
    wire.drain();
    let types = wire.take_types();
    assert_eq!(types[0], "session.created");
    assert_eq!(types[1], "input_audio_buffer.speech_started");
    assert_eq!(types.last().unwrap(), "response.created");
    assert_eq!(types.iter().filter(|kind| *kind == "session.created").count(), 1);
}

#[test]
fn a_channel_that_opens_after_too_much_was_missed_starts_with_the_present() {
    let mut wire = Wire::closed(ClientKind::WebRtc);
    wire.start("resp_1");
    for _ in 0..300 {
        wire.say("resp_1", "item_a", 10, &"word ".repeat(1_000));
    }
    wire.adapter.open();
    wire.drain();
    assert_eq!(wire.take_types(), ["session.created"]);
    wire.caller_turn("item_u", 0, 10);
    assert_eq!(wire.take_types().len(), 5);
}

#[test]
fn only_present_fields_change_and_the_answer_comes_at_once() {
    let mut wire = Wire::open(ClientKind::WebRtc);
    wire.send(update(json!({
        "type": "realtime",
        "instructions": "Be brief.",
        "audio": {
            "input": {"transcription": {"model": "asr-1"}, "turn_detection": {"type": "server_vad", "threshold": 0.7}},
            "output": {"voice": "marin", "speed": 1.25},
        },
        "tools": [{"type": "function", "name": "f", "parameters": {"type": "object"}}],
        "tool_choice": {"type": "function", "name": "f"},
        "max_output_tokens": 200,
        "tracing": "auto",
    })));
    wire.take_event("session.updated");
    wire.send(update(json!({"audio": {"input": {"transcription": {"language": "de"}}}})));
    let session = wire.take_event("session.updated")["session"].take();
    assert_eq!(session["instructions"], "Be brief.");
    let input = &session["audio"]["input"];
    assert_eq!(input["transcription"], json!({"model": "asr-1", "language": "de", "prompt": null}));
    assert_eq!(input["turn_detection"]["threshold"], 0.7);
    assert_eq!(input["turn_detection"]["silence_duration_ms"], 500);
    assert_eq!(input["format"], json!({"type": "audio/pcm", "rate": 24_000}));
    assert_eq!(session["audio"]["output"]["speed"], 1.25);
    assert_eq!(session["tracing"], "auto");
    assert_eq!(session["model"], "test-voice");
    assert_eq!(session["expires_at"], 1_800_000_000);
    let settings = wire.adapter.settings();
    assert_eq!(settings.tool_choice, ToolChoice::Function("f".into()));
    assert_eq!(settings.speed_percent, Some(125));
    assert_eq!(wire.take_commands().len(), 2);
}

#[test]
fn empty_values_clear() {
    let mut wire = Wire::open(ClientKind::WebRtc);
    wire.send(update(json!({
        "instructions": "x", "tools": [{"type": "function", "name": "f"}], "tracing": "auto", "max_output_tokens": 9,
        "audio": {"input": {"transcription": {"model": "m"}, "noise_reduction": {"type": "near_field"}}},
    })));
    wire.send(update(json!({
        "instructions": "", "tools": [], "tracing": null, "max_output_tokens": "inf",
        "audio": {"input": {"transcription": null, "noise_reduction": null, "turn_detection": null}},
    })));
    let settings = wire.adapter.settings();
    assert!(settings.instructions.is_none() && settings.tools.is_empty() && settings.vendor.is_empty());
    assert!(settings.max_output_tokens.is_none() && settings.input.transcription.is_none());
    assert!(settings.input.noise_reduction.is_none() && settings.input.turn_detection.is_none());
}

#[test]
fn an_update_without_change_does_not_disturb_the_provider() {
    let mut wire = Wire::open(ClientKind::WebRtc);
    wire.send(update(json!({"type": "realtime"})));
    wire.take_event("session.updated");
    assert!(wire.take_commands().is_empty());
}

#[test]
fn one_unknown_field_refuses_the_whole_update() {
    let cases = [
        (json!({"instructions": "new", "temperature": 0.8}), "session.temperature"),
        (json!({"instructions": "new", "audio": {"inputs": {}}}), "session.audio.inputs"),
        (json!({"instructions": "new", "audio": {"input": {"vad": 1}}}), "session.audio.input.vad"),
        (
            json!({"instructions": "new", "tools": [{"type": "function", "name": "f", "colour": "red"}]}),
            "session.tools[0].colour",
        ),
    ];
    for (session, param) in cases {
        let mut wire = Wire::open(ClientKind::WebRtc);
        wire.send(update(session));
        let error = wire.take_error("unknown_parameter");
        assert_eq!(error["param"], param);
        assert_eq!(error["event_id"], "u1");
        assert_eq!(wire.adapter.settings().instructions, None);
        assert!(wire.take_commands().is_empty());
    }
}

#[test]
fn the_voice_is_fixed_once_the_agent_has_spoken() {
    let mut wire = Wire::open(ClientKind::WebRtc);
    wire.send(update(json!({"audio": {"output": {"voice": "marin"}}})));
    wire.start("resp_1");
    wire.say("resp_1", "item_a", 20, "Hi");
    wire.take_events();
    wire.send(update(json!({"audio": {"output": {"voice": "marin"}}})));
    wire.take_event("session.updated");
    wire.send(update(json!({"audio": {"output": {"voice": "cedar"}}})));
    wire.take_error("cannot_update_voice");
    assert_eq!(wire.adapter.settings().voice.as_deref(), Some("marin"));
}

#[test]
fn the_model_stays_whatever_the_client_believes() {
    let mut wire = Wire::open(ClientKind::WebRtc);
    wire.send(update(json!({"type": "realtime", "model": "gpt-realtime"})));
    assert_eq!(wire.take_event("session.updated")["session"]["model"], "test-voice");
}

#[test]
fn another_audio_format_is_refused_only_where_it_would_be_heard() {
    let g711 = update(json!({"audio": {"input": {"format": {"type": "audio/pcmu"}}}}));
    let slow = update(json!({"audio": {"output": {"format": {"type": "audio/pcm", "rate": 16_000}}}}));
    for event in [&g711, &slow] {
        let mut wire = Wire::open(ClientKind::WebSocket);
        wire.send(event.clone());
        wire.take_error("invalid_value");
        let mut wire = Wire::open(ClientKind::WebRtc);
        wire.send(event.clone());
        let session = wire.take_event("session.updated")["session"].take();
        assert_eq!(session["audio"]["input"]["format"]["rate"], 24_000);
    }
}

#[test]
fn turn_detection_changes_kind_with_its_own_defaults() {
    let mut wire = Wire::open(ClientKind::WebRtc);
    wire.send(update(json!({"audio": {"input": {"turn_detection": {
        "type": "semantic_vad", "eagerness": "low", "interrupt_response": false}}}})));
    let Some(TurnDetection::Semantic(vad)) = &wire.adapter.settings().input.turn_detection else { panic!() };
    assert!(vad.create_response && !vad.interrupt_response);
    wire.send(update(json!({"audio": {"input": {"turn_detection": {
        "type": "server_vad", "idle_timeout_ms": 6_000}}}})));
    let Some(TurnDetection::ServerVad(vad)) = &wire.adapter.settings().input.turn_detection else { panic!() };
    assert!(vad.interrupt_response);
    assert_eq!(vad.idle_timeout, Some(Duration::from_secs(6)));
}

#[test]
fn the_whole_of_the_settings_reaches_the_session() {
    let mut wire = Wire::open(ClientKind::WebRtc);
    wire.send(update(json!({"output_modalities": ["text"], "reasoning": {"effort": "low"}})));
    let commands = wire.take_commands();
    let [SessionCommand::Configure(settings)] = commands.as_slice() else { panic!("{commands:?}") };
    assert_eq!(settings.as_ref(), wire.adapter.settings());
    assert_eq!(settings.vendor["reasoning"]["effort"], "low");
    wire.core(SessionEvent::InputCleared);
}
