//! What the caller says.

use std::time::Duration;

use serde_json::json;
use voxgate_protocol::audio::SampleRate;
use voxgate_protocol::conversation::{Content, ItemKind};
use voxgate_protocol::session::{SessionCommand, SessionEvent};
use voxgate_protocol::usage::TranscriptionUsage;
use voxgate_realtime::ClientKind;

use crate::harness::Wire;

#[test]
fn a_turn_of_the_caller_becomes_an_item_with_an_unknown_transcript() {
    let mut wire = Wire::open(ClientKind::WebRtc);
    wire.caller_turn("item_u", 1_240, 3_080);
    let events = wire.take_events();
    let types: Vec<_> = events.iter().map(|event| event["type"].as_str().unwrap()).collect();
    assert_eq!(
        types,
        [
            "input_audio_buffer.speech_started",
            "input_audio_buffer.speech_stopped",
            "input_audio_buffer.committed",
            "conversation.item.added",
            "conversation.item.done",
        ]
    );
    assert_eq!(events[0]["audio_start_ms"], 1_240);
    assert_eq!(events[1]["audio_end_ms"], 3_080);
    assert_eq!(events[2]["previous_item_id"], json!(null));
    assert_eq!(events[3]["item"]["content"], json!([{"type": "input_audio", "transcript": null}]));
}

#[test]
fn a_silence_that_lasted_too_long_is_a_turn_of_the_caller() {
    let mut wire = Wire::open(ClientKind::WebSocket);
    // A commit of the client that is not answered yet is not taken for this one.
    wire.send(json!({"type": "input_audio_buffer.commit", "event_id": "c"}));
    let (from, to) = (Duration::from_millis(9_000), Duration::from_millis(15_000));
    wire.core(SessionEvent::InputTimedOut { item_id: "item_i".into(), from, to });
    wire.core(SessionEvent::InputCommitted { item_id: "item_i".into() });
    let events = wire.take_events();
    let types: Vec<_> = events.iter().map(|event| event["type"].as_str().unwrap()).collect();
    assert_eq!(
        types,
        [
            "input_audio_buffer.timeout_triggered",
            "input_audio_buffer.committed",
            "conversation.item.added",
            "conversation.item.done",
        ]
    );
    assert_eq!((&events[0]["audio_start_ms"], &events[0]["audio_end_ms"]), (&json!(9_000), &json!(15_000)));
    assert!(events.iter().all(|event| event["item_id"] == "item_i" || event["item"]["id"] == "item_i"));
    wire.core(SessionEvent::InputEmpty);
    assert_eq!(wire.take_error("input_audio_buffer_commit_empty")["event_id"], "c");
}

#[test]
fn a_transcript_always_reports_usage() {
    let tokens = TranscriptionUsage::Tokens { input_text: 3, input_audio: 18, output: 6 };
    let cases = [
        (None, json!({"type": "duration", "seconds": 1.84})),
        (
            Some(TranscriptionUsage::Audio(Duration::from_millis(2_500))),
            json!({"type": "duration", "seconds": 2.5}),
        ),
        (
            Some(tokens),
            json!({"type": "tokens", "input_tokens": 21, "output_tokens": 6, "total_tokens": 27,
                "input_token_details": {"text_tokens": 3, "audio_tokens": 18}}),
        ),
    ];
    for (usage, shown) in cases {
        let mut wire = Wire::open(ClientKind::WebRtc);
        wire.caller_turn("item_u", 1_240, 3_080);
        wire.take_events();
        wire.core(SessionEvent::InputTranscriptDelta { item_id: "item_u".into(), delta: "Good ".into() });
        let transcript = "Good morning".to_owned();
        wire.core(SessionEvent::InputTranscriptDone { item_id: "item_u".into(), transcript, usage });
        let events = wire.take_events();
        assert_eq!(events[0]["delta"], "Good ");
        assert_eq!(events[1]["usage"], shown);
        assert_eq!(wire.retrieve("item_u")["content"][0]["transcript"], "Good morning");
    }
}

#[test]
fn a_failed_recognition_is_told_without_an_error_event() {
    let mut wire = Wire::open(ClientKind::WebRtc);
    wire.caller_turn("item_u", 0, 100);
    wire.take_events();
    let message = "The audio could not be understood.".to_owned();
    wire.core(SessionEvent::InputTranscriptFailed { item_id: "item_u".into(), message });
    let event = wire.take_event("conversation.item.input_audio_transcription.failed");
    // @openai/agents-realtime passes over the event if `param` is `null`.
    assert!(event["error"].get("param").is_none());
}

#[test]
fn a_transcript_ahead_of_its_commit_brings_the_item_and_the_commit_does_not_repeat_it() {
    let mut wire = Wire::open(ClientKind::WebRtc);
    wire.core(SessionEvent::SpeechStarted { item_id: "item_u".into(), at: Duration::ZERO });
    wire.take_events();
    let transcript = "Yes".to_owned();
    wire.core(SessionEvent::InputTranscriptDone { item_id: "item_u".into(), transcript, usage: None });
    assert_eq!(
        wire.take_types(),
        [
            "conversation.item.added",
            "conversation.item.done",
            "conversation.item.input_audio_transcription.completed"
        ]
    );
    wire.core(SessionEvent::InputCommitted { item_id: "item_u".into() });
    wire.take_event("input_audio_buffer.committed");
}

#[test]
fn a_transcript_of_a_removed_item_does_not_bring_it_back() {
    let mut wire = Wire::open(ClientKind::WebRtc);
    wire.caller_turn("item_u", 0, 500);
    wire.send(json!({"type": "conversation.item.delete", "item_id": "item_u"}));
    wire.take_events();
    let transcript = "Forget it".to_owned();
    wire.core(SessionEvent::InputTranscriptDone { item_id: "item_u".into(), transcript, usage: None });
    assert!(wire.take_events().is_empty());
}

#[test]
fn appended_audio_reaches_the_session_as_samples_even_across_odd_cuts() {
    let mut wire = Wire::open(ClientKind::WebSocket);
    // Bytes 1 2 3 and 4, the second without padding.
    wire.send(json!({"type": "input_audio_buffer.append", "audio": "AQID"}));
    wire.send(json!({"type": "input_audio_buffer.append", "audio": "BA"}));
    let commands = wire.take_commands();
    let samples: Vec<_> = commands
        .iter()
        .map(|command| match command {
            SessionCommand::AppendAudio(pcm) => {
                assert_eq!(pcm.rate, SampleRate::HZ_24000);
                pcm.samples.clone()
            }
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(samples, [[0x0201], [0x0403]]);
    assert!(wire.take_events().is_empty());
}

#[test]
fn audio_that_is_not_base64_is_refused() {
    let mut wire = Wire::open(ClientKind::WebSocket);
    wire.send(json!({"type": "input_audio_buffer.append", "audio": "not base64!", "event_id": "a1"}));
    assert_eq!(wire.take_error("invalid_value")["event_id"], "a1");
}

#[test]
fn audio_in_events_is_refused_on_a_webrtc_call() {
    let mut wire = Wire::open(ClientKind::WebRtc);
    wire.send(json!({"type": "input_audio_buffer.append", "audio": "AQID"}));
    wire.take_error("invalid_event");
    assert!(wire.take_commands().is_empty());
}

#[test]
fn an_empty_commit_is_refused_with_the_name_of_its_event() {
    let mut wire = Wire::open(ClientKind::WebSocket);
    wire.send(json!({"type": "input_audio_buffer.commit", "event_id": "c1"}));
    wire.send(json!({"type": "input_audio_buffer.commit", "event_id": "c2"}));
    wire.core(SessionEvent::InputCommitted { item_id: "item_u".into() });
    wire.take_events();
    wire.core(SessionEvent::InputEmpty);
    assert_eq!(wire.take_error("input_audio_buffer_commit_empty")["event_id"], "c2");
}

#[test]
fn clearing_the_input_is_confirmed() {
    let mut wire = Wire::open(ClientKind::WebSocket);
    wire.send(json!({"type": "input_audio_buffer.clear"}));
    assert_eq!(wire.take_commands(), [SessionCommand::ClearInput]);
    wire.core(SessionEvent::InputCleared);
    wire.take_event("input_audio_buffer.cleared");
}

#[test]
fn words_the_client_did_not_ask_for_are_remembered_and_not_shown() {
    let mut wire = Wire::open(ClientKind::WebSocket);
    wire.caller_turn("item_u", 0, 500);
    wire.take_events();
    wire.core(SessionEvent::InputWords { item_id: "item_u".into(), words: "what time is it".into() });
    wire.core(SessionEvent::InputWords { item_id: "item_unknown".into(), words: "never said".into() });
    assert_eq!(wire.take_types(), [""; 0]);
    wire.send(json!({"type": "conversation.item.retrieve", "item_id": "item_u"}));
    let item = wire.take_event("conversation.item.retrieved")["item"].take();
    assert_eq!(item["content"], json!([{"type": "input_audio", "transcript": null}]));
    let context = wire.adapter.context();
    let told: Vec<_> = context.iter().filter_map(|entry| Some(&entry.item.as_ref()?.kind)).collect();
    let [ItemKind::Message { content, .. }] = told.as_slice() else { panic!("{told:?}") };
    assert_eq!(content, &[Content::InputText("what time is it".into())]);
}
