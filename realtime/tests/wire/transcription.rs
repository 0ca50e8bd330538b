//! Transcription sessions: words are written down, nobody answers.

use serde_json::{Value, json};
use voxgate_protocol::session::{SessionCommand, SessionEvent};
use voxgate_protocol::settings::{Purpose, TurnDetection};
use voxgate_realtime::request::{
    client_secret_request, client_secret_response, session_config, transcription_settings,
};
use voxgate_realtime::{Adapter, ClientKind};

use crate::harness::{Wire, validator};

fn session(kind: ClientKind) -> Wire {
    let adapter = Adapter::new(kind, "sess_t".into(), transcription_settings(), 5, 3);
    let mut wire = Wire::around(adapter);
    wire.adapter.open();
    wire.drain();
    wire
}

fn update(session: Value) -> Value {
    json!({"type": "session.update", "session": session})
}

#[test]
fn the_session_object_has_the_shape_of_a_transcription() {
    let mut wire = session(ClientKind::WebSocket);
    let created = wire.take_event("session.created")["session"].take();
    let mut keys: Vec<_> = created.as_object().unwrap().keys().map(String::as_str).collect();
    keys.sort_unstable();
    assert_eq!(keys, ["audio", "expires_at", "id", "include", "object", "type"]);
    assert_eq!(
        (&created["type"], &created["object"]),
        (&json!("transcription"), &json!("realtime.transcription_session"))
    );
    let detection = json!({"type": "server_vad", "threshold": 0.5, "prefix_padding_ms": 300,
        "silence_duration_ms": 500});
    assert_eq!(created["audio"]["input"]["turn_detection"], detection);
    assert!(created["audio"].get("output").is_none());
}

#[test]
fn turns_and_their_words_are_told_and_no_answer_is_asked_for() {
    let mut wire = session(ClientKind::WebSocket);
    wire.take_events();
    wire.caller_turn("item_u", 0, 500);
    let transcript = "Good morning".to_owned();
    wire.core(SessionEvent::InputTranscriptDone { item_id: "item_u".into(), transcript, usage: None });
    assert_eq!(
        wire.take_types(),
        [
            "input_audio_buffer.speech_started",
            "input_audio_buffer.speech_stopped",
            "input_audio_buffer.committed",
            "conversation.item.added",
            "conversation.item.done",
            "conversation.item.input_audio_transcription.completed",
        ]
    );
    assert!(wire.take_commands().is_empty());
}

#[test]
fn a_response_is_refused_and_one_nobody_asked_for_is_stopped_unseen() {
    let mut wire = session(ClientKind::WebSocket);
    wire.take_events();
    wire.send(json!({"type": "response.create", "event_id": "r"}));
    assert_eq!(wire.take_error("invalid_event")["event_id"], "r");
    wire.start("resp_1");
    wire.say("resp_1", "item_a", 100, "Hi");
    assert!(wire.take_events().is_empty());
    let cancel = SessionCommand::CancelResponse { response_id: Some("resp_1".into()) };
    assert_eq!(wire.take_commands(), [cancel]);
}

#[test]
fn an_update_changes_the_recognition_and_never_makes_the_session_answer() {
    let mut wire = session(ClientKind::WebRtc);
    wire.take_events();
    wire.send(update(json!({
        "type": "transcription",
        "audio": {"input": {
            "transcription": {"model": "gpt-4o-transcribe", "language": "de"},
            "turn_detection": {"type": "server_vad", "silence_duration_ms": 800, "create_response": true,
                "idle_timeout_ms": 6_000},
        }},
        "include": ["item.input_audio_transcription.logprobs"],
    })));
    let shown = wire.take_event("session.updated")["session"].take();
    assert_eq!(shown["audio"]["input"]["transcription"]["language"], "de");
    assert_eq!(shown["audio"]["input"]["turn_detection"]["silence_duration_ms"], 800);
    assert_eq!(shown["include"], json!(["item.input_audio_transcription.logprobs"]));
    let Some(TurnDetection::ServerVad(vad)) = &wire.adapter.settings().input.turn_detection else { panic!() };
    assert!(!vad.create_response && !vad.interrupt_response && vad.idle_timeout.is_none());
    wire.send(update(json!({"audio": {"input": {"turn_detection": {"type": "semantic_vad"}}}})));
    wire.take_event("session.updated");
    let Some(TurnDetection::Semantic(vad)) = &wire.adapter.settings().input.turn_detection else { panic!() };
    assert!(!vad.create_response && !vad.interrupt_response);
}

#[test]
fn fields_of_a_conversation_and_another_type_refuse_the_update() {
    let cases = [
        (json!({"type": "realtime"}), "invalid_value", "session.type"),
        (json!({"instructions": "x"}), "unknown_parameter", "session.instructions"),
        (json!({"audio": {"output": {"voice": "x"}}}), "unknown_parameter", "session.audio.output"),
    ];
    let mut wire = session(ClientKind::WebSocket);
    wire.take_events();
    for (session, code, param) in cases {
        wire.send(update(session));
        assert_eq!(wire.take_error(code)["param"], param);
    }
    let mut wire = Wire::open(ClientKind::WebSocket);
    wire.send(update(json!({"type": "transcription"})));
    assert_eq!(wire.take_error("invalid_value")["param"], "session.type");
}

#[test]
fn a_client_secret_can_be_for_a_transcription() {
    let body = json!({"session": {"type": "transcription", "audio": {"input": {
        "transcription": {"model": "whisper-1"}, "turn_detection": null}}}});
    let request = client_secret_request(body.to_string().as_bytes()).unwrap();
    assert_eq!(request.settings.purpose, Purpose::Transcription);
    assert!(request.settings.input.turn_detection.is_none());
    let response = client_secret_response("ek_abc", 1, &request.settings, "sess_1", None);
    let validator = validator(include_str!("../../specs/client-secret-response.schema.json"));
    assert!(validator.is_valid(&response), "{response:#}");
    assert_eq!(response["session"]["type"], "transcription");
    let shown = response["session"].to_string();
    assert_eq!(session_config(shown.as_bytes()).unwrap(), request.settings, "what is shown can be sent back");
}
