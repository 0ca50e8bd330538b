use voxgate_protocol::audio::SampleCount;
use voxgate_protocol::bridge::{BridgeEvent, FaultOwner, OutputPart, ResponseStatus, TurnStage};
use voxgate_protocol::conversation::{Content, InputItem, Item, ItemKind, ItemStatus, Role};
use voxgate_protocol::id::ToolCallId;
use voxgate_protocol::settings::{
    ResponseOptions, ServerVad, TokenLimit, Tool, ToolChoice, Transcription, TurnDetection,
};
use voxgate_protocol::usage::{TokenUsage, TranscriptionUsage};

use super::*;

fn settings() -> SessionSettings {
    let mut settings = SessionSettings {
        model: "gpt-realtime-2.1".into(),
        instructions: Some("Be brief.".into()),
        voice: Some("marin".into()),
        speed_percent: Some(125),
        tools: vec![Tool {
            name: "weather".into(),
            description: None,
            parameters: json!({"type": "object"}),
        }],
        tool_choice: ToolChoice::Function("weather".into()),
        ..SessionSettings::default()
    };
    settings.input.turn_detection =
        Some(TurnDetection::ServerVad(ServerVad { threshold: 0.3, ..ServerVad::default() }));
    settings.vendor.insert("tracing".into(), json!("auto"));
    settings.vendor.insert("audio".into(), json!({"output": {"voice": "other", "x": 1}}));
    settings
}

fn codec(turn_owner: TurnOwner) -> Codec {
    Codec::new(OpenAiOptions { turn_owner, settings: settings(), transcription_model: None })
}

fn ready(turn_owner: TurnOwner) -> Codec {
    let mut codec = codec(turn_owner);
    assert_eq!(codec.decode(r#"{"type":"session.created","event_id":"e1","session":{}}"#), []);
    assert!(codec.poll_transmit().is_some());
    assert_eq!(codec.decode(r#"{"type":"session.updated","session":{}}"#), [BridgeEvent::Ready]);
    codec
}

fn sent(frames: Vec<String>) -> Value {
    let [frame] = frames.as_slice() else { panic!("one frame expected, got {frames:?}") };
    serde_json::from_str(frame).unwrap()
}

fn tell(codec: &mut Codec, event: Value) -> Vec<BridgeEvent> {
    codec.decode(&event.to_string())
}

/// An answer in progress whose item `i` has spoken this long.
fn speak(codec: &mut Codec, length_ms: usize) {
    tell(codec, json!({"type": "response.created", "response": {"id": "r"}}));
    let delta = STANDARD.encode(vec![0_u8; length_ms * 48]);
    let events = tell(
        codec,
        json!({"type": "response.output_audio.delta", "response_id": "r", "item_id": "i", "delta": delta}),
    );
    assert_eq!(events.len(), 2);
}

#[test]
fn the_first_settings_are_sent_whole_when_the_session_exists() {
    let mut codec = codec(TurnOwner::Provider);
    assert!(codec.poll_transmit().is_none());
    codec.decode(r#"{"type":"session.created"}"#);
    let update: Value = serde_json::from_str(&codec.poll_transmit().unwrap()).unwrap();
    assert_eq!(update["type"], "session.update");
    let format = json!({"type": "audio/pcm", "rate": 24_000});
    assert_eq!(
        update["session"],
        json!({
            "type": "realtime",
            "output_modalities": ["audio"],
            "instructions": "Be brief.",
            "audio": {
                "input": {
                    "format": format, "transcription": null, "noise_reduction": null,
                    "turn_detection": {
                        "type": "server_vad", "threshold": 0.3, "prefix_padding_ms": 300,
                        "silence_duration_ms": 500, "create_response": true, "interrupt_response": true,
                    },
                },
                "output": { "format": format, "voice": "marin", "speed": 1.25, "x": 1 },
            },
            "tools": [{"type": "function", "name": "weather", "parameters": {"type": "object"}}],
            "tool_choice": {"type": "function", "name": "weather"},
            "max_output_tokens": "inf",
            "tracing": "auto",
        })
    );
}

#[test]
fn words_the_client_does_not_want_to_see_are_recognised_for_the_gateway_only() {
    let mut settings = settings();
    let options = |settings: &SessionSettings| OpenAiOptions {
        turn_owner: TurnOwner::Provider,
        settings: settings.clone(),
        transcription_model: Some("scribe".into()),
    };
    let transcription = |codec: &mut Codec| {
        codec.decode(r#"{"type":"session.created"}"#);
        let update: Value = serde_json::from_str(&codec.poll_transmit().unwrap()).unwrap();
        update["session"]["audio"]["input"]["transcription"].clone()
    };
    let event = |step: &str| {
        json!({"type": format!("conversation.item.input_audio_transcription.{step}"), "item_id": "u",
            "transcript": "hello", "delta": "hel", "error": {"message": "Noise."}})
    };
    let mut silent = Codec::new(options(&settings));
    assert_eq!(transcription(&mut silent), json!({"model": "scribe"}));
    let unseen = BridgeEvent::InputWords { item_id: "u".into(), words: "hello".into() };
    assert_eq!(tell(&mut silent, event("delta")), []);
    assert_eq!(tell(&mut silent, event("completed")), [unseen]);
    assert_eq!(tell(&mut silent, event("failed")), []);
    assert_eq!(silent.ignored(), 0);

    settings.input.transcription =
        Some(Transcription { language: Some("de".into()), ..Transcription::default() });
    let mut curious = Codec::new(options(&settings));
    assert_eq!(transcription(&mut curious), json!({"model": "scribe", "language": "de"}));
    assert!(matches!(tell(&mut curious, event("completed"))[..], [BridgeEvent::InputTranscriptDone { .. }]));
    settings.input.transcription =
        Some(Transcription { model: Some("own".into()), ..Transcription::default() });
    assert_eq!(transcription(&mut Codec::new(options(&settings))), json!({"model": "own"}));
}

#[test]
fn turn_detection_is_off_when_the_gateway_owns_the_turn() {
    let mut codec = codec(TurnOwner::Gateway);
    codec.decode(r#"{"type":"session.created"}"#);
    let update: Value = serde_json::from_str(&codec.poll_transmit().unwrap()).unwrap();
    assert_eq!(update["session"]["audio"]["input"].get("turn_detection"), Some(&Value::Null));
}

#[test]
fn later_settings_leave_out_the_known_voice_and_clear_what_is_gone() {
    let mut codec = ready(TurnOwner::Provider);
    let later = SessionSettings { instructions: None, ..settings() };
    let update = sent(codec.encode(&BridgeCommand::Configure(Box::new(later))));
    assert_eq!(update["session"]["instructions"], "");
    assert_eq!(update["session"]["audio"]["output"].get("voice"), None);
}

#[test]
fn a_spoken_answer_becomes_a_well_formed_stream() {
    let mut codec = ready(TurnOwner::Provider);
    let r = || ResponseId::from("r");
    let i = || ItemId::from("i");
    assert_eq!(
        tell(
            &mut codec,
            json!({"type": "response.created", "response": {"id": "r", "status": "in_progress"}})
        ),
        [BridgeEvent::ResponseStarted { response_id: r() }]
    );
    assert!(codec.is_answering());
    let added = json!({"type": "response.output_item.added", "response_id": "r", "output_index": 0,
        "item": {"id": "i", "type": "message", "role": "assistant", "content": []}});
    assert_eq!(tell(&mut codec, added), []);
    let words = json!({"type": "response.output_audio_transcript.delta", "response_id": "r", "item_id": "i",
        "delta": "Hi"});
    let part = OutputPart::Transcript("Hi".into());
    assert_eq!(
        tell(&mut codec, words),
        [
            BridgeEvent::Stage(TurnStage::FirstToken),
            BridgeEvent::Output { response_id: r(), item_id: i(), part },
        ]
    );
    let sound = json!({"type": "response.output_audio.delta", "response_id": "r", "item_id": "i",
        "delta": STANDARD.encode([1, 0, 2, 0])});
    let part = OutputPart::Audio(Pcm { rate: RATE, samples: vec![1, 2] });
    assert_eq!(tell(&mut codec, sound), [BridgeEvent::Output { response_id: r(), item_id: i(), part }]);
    let done = json!({"type": "response.output_item.done", "response_id": "r",
        "item": {"id": "i", "type": "message", "status": "completed"}});
    assert_eq!(
        tell(&mut codec, done),
        [BridgeEvent::OutputItemDone { response_id: r(), item_id: i(), status: ItemStatus::Completed }]
    );
    let usage = json!({"total_tokens": 100, "input_tokens": 70, "output_tokens": 30,
        "input_token_details": {"text_tokens": 20, "audio_tokens": 50, "cached_tokens": 12,
            "cached_tokens_details": {"text_tokens": 8, "audio_tokens": 4}},
        "output_token_details": {"text_tokens": 10, "audio_tokens": 20}});
    let used = TokenUsage {
        input_text: 20,
        input_audio: 50,
        cached_text: 8,
        cached_audio: 4,
        output_text: 10,
        output_audio: 20,
        ..TokenUsage::default()
    };
    assert_eq!(
        tell(
            &mut codec,
            json!({"type": "response.done",
            "response": {"id": "r", "status": "completed", "usage": usage}})
        ),
        [BridgeEvent::ResponseDone {
            response_id: r(),
            status: ResponseStatus::Completed,
            usage: Some(used)
        }]
    );
    assert!(!codec.is_answering());
    assert_eq!(codec.ignored(), 0);
}

#[test]
fn a_sample_cut_in_two_is_put_together() {
    let mut codec = ready(TurnOwner::Provider);
    let mut samples = Vec::new();
    for bytes in [&[1_u8, 0, 2][..], &[0, 3, 0]] {
        let event = json!({"type": "response.output_audio.delta", "response_id": "r", "item_id": "i",
            "delta": STANDARD.encode(bytes)});
        for event in tell(&mut codec, event) {
            if let BridgeEvent::Output { part: OutputPart::Audio(pcm), .. } = event {
                samples.extend(pcm.samples);
            }
        }
    }
    assert_eq!(samples, [1, 2, 3]);
}

#[test]
fn a_piece_of_audio_is_read_the_same_the_short_way_and_the_long() {
    let long_name = "i".repeat(300);
    let pieces = [
        r#"{"type":"response.output_audio.delta","response_id":"r","item_id":"i","delta":"AQACAA=="}"#,
        r#"{"event_id":"e","type":"response.output_audio.delta","response_id":"r","item_id":"i","delta":"AQAC"}"#,
        r#"{"type":"response.output_audio.delta","item_id":"i","output_index":0,"delta":"AAMA"}"#,
        r#"{"type":"response.output_audio.delta","response_id":null,"item_id":"i","delta":"AAMA"}"#,
        r#"{"type":"response.output_audio.delta","response_id":"","item_id":"i","delta":"AAMA"}"#,
        r#"{"type":"response.output_audio.delta","response_id":"other","item_id":"i","delta":"AAMA"}"#,
        r#"{"type":"response.output_audio.delta","response_id":"r","item_id":"i","delta":"no base64"}"#,
        r#"{"type":"response.output_audio.delta","response_id":"r","item_id":"i","delta":""}"#,
        r#"{"type":"response.output_audio.delta","response_id":"r","item_id":"i","delta":"AA==","delta":"AQA="}"#,
        r#"{"type":"response.output_audio.delta","response_id":"r","item_id":"i"}"#,
        r#"{"type":"response.output_audio.done","response_id":"r","item_id":"i","note":"response.output_audio.delta"}"#,
        r#"["response.output_audio.delta","r","i","AQACAA=="]"#,
        &format!(
            r#"{{"type":"response.output_audio.delta","response_id":"r","item_id":"{long_name}","delta":"AQA="}}"#
        ),
    ];
    let [mut short, mut long] = [ready(TurnOwner::Provider), ready(TurnOwner::Provider)];
    for codec in [&mut short, &mut long] {
        tell(codec, json!({"type": "response.created", "response": {"id": "r"}}));
    }
    for piece in pieces {
        // An escape means the same, and has to be looked at more closely.
        let escaped = piece.replace("output_audio", "output\\u005faudio");
        assert_eq!(short.decode(piece), long.decode(&escaped), "{piece}");
        assert_eq!(short.ignored(), long.ignored(), "{piece}");
    }
    assert!(short.answers.spoken(&ItemId::from("i"), RATE).is_some_and(|(spoken, _)| !spoken.is_zero()));
}

#[test]
fn a_tool_call_is_shown_with_its_name_whether_or_not_its_arguments_are_streamed() {
    for streams in [true, false] {
        let mut codec = ready(TurnOwner::Provider);
        let item = json!({"id": "f", "type": "function_call", "name": "weather", "call_id": "c",
            "arguments": "", "status": "in_progress"});
        let mut told =
            tell(&mut codec, json!({"type": "response.output_item.added", "response_id": "r", "item": item}));
        if streams {
            for delta in ["{\"x\"", ":1}"] {
                told.extend(tell(
                    &mut codec,
                    json!({"type": "response.function_call_arguments.delta",
                    "response_id": "r", "item_id": "f", "call_id": "c", "delta": delta}),
                ));
            }
        }
        told.extend(tell(
            &mut codec,
            json!({"type": "response.function_call_arguments.done",
            "response_id": "r", "item_id": "f", "call_id": "c", "name": "weather", "arguments": "{\"x\":1}"}),
        ));
        let mut joined = String::new();
        for event in told {
            if let BridgeEvent::Output { part: OutputPart::ToolArguments { call_id, name, delta }, .. } =
                event
            {
                assert_eq!((call_id, name.as_str()), (ToolCallId::from("c"), "weather"));
                joined.push_str(&delta);
            }
        }
        assert_eq!(joined, "{\"x\":1}");
    }
}

#[test]
fn an_item_the_vendor_forgot_to_end_ends_with_its_answer() {
    let mut codec = ready(TurnOwner::Provider);
    speak(&mut codec, 100);
    let done = json!({"type": "response.done", "response": {"id": "r", "status": "cancelled",
        "status_details": {"type": "cancelled", "reason": "turn_detected"}}});
    let events = tell(&mut codec, done.clone());
    let expected = BridgeEvent::OutputItemDone {
        response_id: ResponseId::from("r"),
        item_id: ItemId::from("i"),
        status: ItemStatus::Incomplete,
    };
    assert_eq!(events[0], expected);
    assert!(matches!(&events[1], BridgeEvent::ResponseDone { status: ResponseStatus::CancelledByTurn, .. }));
    assert_eq!(tell(&mut codec, done), []);
}

#[test]
fn truncation_is_clamped_to_what_was_received() {
    let cut = |heard_ms| BridgeCommand::Truncate {
        item_id: ItemId::from("i"),
        content_index: 0,
        heard: Duration::from_millis(heard_ms),
    };
    let mut codec = ready(TurnOwner::Provider);
    assert!(codec.encode(&cut(10)).is_empty(), "an item that never spoke cannot be cut");
    speak(&mut codec, 100);
    assert_eq!(sent(codec.encode(&cut(60)))["audio_end_ms"], 60);
    assert_eq!(sent(codec.encode(&cut(5_000)))["audio_end_ms"], 100);
    assert_eq!(sent(codec.encode(&cut(0)))["type"], "conversation.item.delete");
    tell(&mut codec, json!({"type": "response.done", "response": {"id": "r", "status": "completed"}}));
    assert!(codec.encode(&cut(100)).is_empty(), "heard to its end");
    assert_eq!(sent(codec.encode(&cut(99)))["audio_end_ms"], 99);
}

#[test]
fn an_answer_that_has_ended_is_not_cancelled() {
    let mut codec = ready(TurnOwner::Provider);
    speak(&mut codec, 20);
    let cancel = BridgeCommand::CancelResponse { response_id: Some(ResponseId::from("r")) };
    assert_eq!(sent(codec.encode(&cancel))["response_id"], "r");
    tell(&mut codec, json!({"type": "response.done", "response": {"id": "r", "status": "completed"}}));
    assert!(codec.encode(&cancel).is_empty());
}

#[test]
fn the_gateways_name_of_a_turn_is_used_in_both_directions() {
    let mut codec = ready(TurnOwner::Gateway);
    let ours = ItemId::from("item_ours");
    let commit = sent(codec.encode(&BridgeCommand::CommitInput { item_id: ours.clone(), is_silence: false }));
    assert_eq!(commit["type"], "input_audio_buffer.commit");
    let committed = json!({"type": "input_audio_buffer.committed", "item_id": "item_vendors"});
    assert_eq!(tell(&mut codec, committed), [BridgeEvent::InputCommitted { item_id: ours.clone() }]);
    let done = json!({"type": "conversation.item.input_audio_transcription.completed", "content_index": 0,
        "item_id": "item_vendors", "transcript": "hello", "usage": {"type": "duration", "seconds": 1.5}});
    let usage = Some(TranscriptionUsage::Audio(Duration::from_millis(1_500)));
    let transcript = "hello".to_owned();
    assert_eq!(
        tell(&mut codec, done),
        [BridgeEvent::InputTranscriptDone { item_id: ours.clone(), transcript, usage }]
    );
    let input = vec![InputItem::Reference(ours.clone()), InputItem::Reference("item_other".into())];
    let options = ResponseOptions { input: Some(input), is_beside: true, ..ResponseOptions::default() };
    let asked = sent(codec.encode(&BridgeCommand::CreateResponse(Box::new(options))));
    let reference = |id: &str| json!({"type": "item_reference", "id": id});
    assert_eq!(
        asked["response"],
        json!({"input": [reference("item_vendors"), reference("item_other")], "conversation": "none"})
    );
    let delete = sent(codec.encode(&BridgeCommand::DeleteItem { item_id: ours }));
    assert_eq!(delete["item_id"], "item_vendors");
}

#[test]
fn what_is_written_for_one_answer_only_has_no_name() {
    let mut codec = ready(TurnOwner::Provider);
    let kind = ItemKind::Message { role: Role::User, content: vec![Content::InputText("hi".into())] };
    let options = ResponseOptions {
        input: Some(vec![InputItem::New(kind)]),
        max_output_tokens: Some(TokenLimit::Unlimited),
        ..ResponseOptions::default()
    };
    let asked = sent(codec.encode(&BridgeCommand::CreateResponse(Box::new(options))));
    let content = json!([{"type": "input_text", "text": "hi"}]);
    let input = json!([{"type": "message", "role": "user", "content": content}]);
    assert_eq!(asked["response"], json!({"input": input, "max_output_tokens": "inf"}));
}

#[test]
fn what_names_a_turn_waits_until_the_vendor_has_named_it() {
    let mut codec = ready(TurnOwner::Gateway);
    let commit = |id: &str| BridgeCommand::CommitInput { item_id: id.into(), is_silence: false };
    let named = |id: &str| {
        let input = Some(vec![InputItem::Reference(id.into())]);
        BridgeCommand::CreateResponse(Box::new(ResponseOptions { input, ..ResponseOptions::default() }))
    };
    sent(codec.encode(&commit("first")));
    sent(codec.encode(&commit("second")));
    assert!(codec.encode(&named("second")).is_empty());
    assert!(codec.encode(&BridgeCommand::DeleteItem { item_id: "other".into() }).is_empty(), "in order");
    assert!(codec.is_answering());
    let committed = |id: &str| json!({"type": "input_audio_buffer.committed", "item_id": id});
    tell(&mut codec, committed("v1"));
    assert_eq!(codec.poll_transmit(), None);
    tell(&mut codec, committed("v2"));
    let asked: Value = serde_json::from_str(&codec.poll_transmit().unwrap()).unwrap();
    assert_eq!(asked["response"]["input"][0]["id"], "v2");
    let deleted: Value = serde_json::from_str(&codec.poll_transmit().unwrap()).unwrap();
    assert_eq!(deleted["item_id"], "other");

    let refused = sent(codec.encode(&commit("third")));
    assert!(codec.encode(&named("third")).is_empty());
    tell(
        &mut codec,
        json!({"type": "error", "error": {"type": "invalid_request_error",
        "code": "input_audio_buffer_commit_empty", "message": "empty", "event_id": refused["event_id"]}}),
    );
    assert!(codec.poll_transmit().is_some(), "the vendor says what it thinks of it");
}

#[test]
fn a_refused_commit_does_not_shift_the_names_of_later_turns() {
    let mut codec = ready(TurnOwner::Gateway);
    let empty =
        sent(codec.encode(&BridgeCommand::CommitInput { item_id: ItemId::from("first"), is_silence: false }));
    codec.encode(&BridgeCommand::CommitInput { item_id: ItemId::from("second"), is_silence: false });
    let events = tell(
        &mut codec,
        json!({"type": "error", "error": {"type": "invalid_request_error",
        "code": "input_audio_buffer_commit_empty", "message": "empty", "event_id": empty["event_id"]}}),
    );
    let [BridgeEvent::Fault(fault)] = events.as_slice() else { panic!("one fault expected") };
    assert_eq!((fault.owner, fault.is_final), (FaultOwner::Client, false));
    let committed = json!({"type": "input_audio_buffer.committed", "item_id": "v"});
    assert_eq!(
        tell(&mut codec, committed),
        [BridgeEvent::InputCommitted { item_id: ItemId::from("second") }]
    );
}

#[test]
fn the_vendors_turn_detection_keeps_its_own_names_and_counts_skipped_audio() {
    let mut codec = ready(TurnOwner::Provider);
    codec.skip_audio(Duration::from_millis(40));
    let started = json!({"type": "input_audio_buffer.speech_started", "item_id": "v", "audio_start_ms": 100});
    let at = Duration::from_millis(140);
    assert_eq!(tell(&mut codec, started), [BridgeEvent::SpeechStarted { item_id: ItemId::from("v"), at }]);
    let committed = json!({"type": "input_audio_buffer.committed", "item_id": "v"});
    assert_eq!(tell(&mut codec, committed), [BridgeEvent::InputCommitted { item_id: ItemId::from("v") }]);
}

#[test]
fn races_are_not_faults_and_a_refused_answer_is_no_longer_awaited() {
    let mut codec = ready(TurnOwner::Provider);
    let asked = sent(codec.encode(&BridgeCommand::CreateResponse(Box::default())));
    assert!(codec.is_answering());
    let error = |code: &str, event_id: &Value| {
        json!({"type": "error", "error": {"type": "invalid_request_error", "code": code, "message": "m",
            "event_id": event_id}})
    };
    let active = error("conversation_already_has_active_response", &asked["event_id"]);
    assert_eq!(tell(&mut codec, active), []);
    assert!(!codec.is_answering());
    assert_eq!(tell(&mut codec, error("response_cancel_not_active", &Value::Null)), []);
    speak(&mut codec, 100);
    let heard = Duration::from_millis(50);
    let cut =
        sent(codec.encode(&BridgeCommand::Truncate { item_id: ItemId::from("i"), content_index: 0, heard }));
    assert_eq!(tell(&mut codec, error("invalid_value", &cut["event_id"])), []);
    assert_eq!(codec.ignored(), 3);
}

#[test]
fn errors_become_faults_that_say_what_may_be_done() {
    let cases = [
        ("invalid_api_key", FaultOwner::Gateway, "provider_refused_key", false, true, true),
        ("insufficient_quota", FaultOwner::Provider, "insufficient_quota", false, true, true),
        ("session_expired", FaultOwner::Provider, "session_expired", true, true, true),
        ("rate_limit_exceeded", FaultOwner::Provider, "rate_limit_exceeded", true, true, false),
        ("invalid_value", FaultOwner::Client, "invalid_value", false, false, false),
    ];
    for (code, owner, told, may_retry, may_switch, is_final) in cases {
        let mut codec = ready(TurnOwner::Provider);
        let events = tell(
            &mut codec,
            json!({"type": "error",
            "error": {"type": "invalid_request_error", "code": code, "message": "key sk-123 is wrong"}}),
        );
        let [BridgeEvent::Fault(fault)] = events.as_slice() else { panic!("one fault expected") };
        let seen = (fault.owner, fault.code.as_str(), fault.may_retry, fault.may_switch, fault.is_final);
        assert_eq!(seen, (owner, told, may_retry, may_switch, is_final));
        assert!(!fault.message.contains("sk-123"), "{}", fault.message);
    }
}

#[test]
fn a_session_whose_settings_are_refused_never_becomes_ready() {
    let mut codec = codec(TurnOwner::Provider);
    codec.decode(r#"{"type":"session.created"}"#);
    let update: Value = serde_json::from_str(&codec.poll_transmit().unwrap()).unwrap();
    let events = tell(
        &mut codec,
        json!({"type": "error", "error": {"type": "invalid_request_error",
        "code": "unknown_parameter", "message": "Unknown parameter", "event_id": update["event_id"]}}),
    );
    let [BridgeEvent::Fault(fault)] = events.as_slice() else { panic!("one fault expected") };
    assert!(fault.is_final && fault.owner == FaultOwner::Client && !codec.is_ready());
}

#[test]
fn items_answers_and_audio_are_written_in_the_vendors_words() {
    let mut codec = ready(TurnOwner::Provider);
    let kind = ItemKind::Message {
        role: Role::Assistant,
        content: vec![Content::OutputAudio { transcript: "said".into() }],
    };
    let item = Item { id: ItemId::from("a"), status: ItemStatus::Completed, kind };
    let created = sent(codec.encode(&BridgeCommand::CreateItem { item, position: Position::First }));
    assert_eq!(created["previous_item_id"], "root");
    assert_eq!(
        created["item"],
        json!({"id": "a", "type": "message", "role": "assistant",
            "content": [{"type": "output_text", "text": "said"}]})
    );
    let options = ResponseOptions {
        max_output_tokens: Some(TokenLimit::Tokens(10)),
        metadata: json!({"client_event_id": "x"}).as_object().cloned(),
        ..ResponseOptions::default()
    };
    let asked = sent(codec.encode(&BridgeCommand::CreateResponse(Box::new(options))));
    assert_eq!(asked["response"], json!({"max_output_tokens": 10, "metadata": {"client_event_id": "x"}}));
    let pcm = Pcm { rate: RATE, samples: vec![1, -1] };
    assert_eq!(pcm.len(), SampleCount(2));
    assert_eq!(
        sent(codec.encode(&BridgeCommand::Audio(pcm))),
        json!({"type": "input_audio_buffer.append", "audio": STANDARD.encode([1, 0, 255, 255])})
    );
}

#[test]
fn an_item_whose_name_is_too_long_for_the_vendor_has_a_short_one_there() {
    let mut codec = ready(TurnOwner::Provider);
    let ours = ItemId::from("3f0c9a52-7d5e-4f0f-9d43-0a6a51a3c2f1");
    let kind = ItemKind::Message { role: Role::User, content: vec![Content::InputText("hi".into())] };
    let item = |id: &ItemId| Item { id: id.clone(), status: ItemStatus::Completed, kind: kind.clone() };
    let create = |item, position| BridgeCommand::CreateItem { item, position };
    let created = sent(codec.encode(&create(item(&ours), Position::Last)));
    let name = created["item"]["id"].as_str().unwrap().to_owned();
    assert!(name.len() <= 32 && !name.is_empty(), "{name}");
    let next = sent(codec.encode(&create(item(&"short".into()), Position::After(ours.clone()))));
    assert_eq!((&next["item"]["id"], &next["previous_item_id"]), (&json!("short"), &json!(name)));
    let delete = sent(codec.encode(&BridgeCommand::DeleteItem { item_id: ours }));
    assert_eq!(delete["item_id"], json!(name));
}

#[test]
fn an_item_that_cannot_be_restored_is_nobodys_error() {
    let mut codec = ready(TurnOwner::Provider);
    let kind = ItemKind::Message { role: Role::User, content: vec![Content::InputText("hi".into())] };
    let item = Item { id: ItemId::from("a"), status: ItemStatus::Completed, kind };
    let restore = BridgeCommand::RestoreItem { item: item.clone(), position: Position::After("b".into()) };
    let restored = sent(codec.encode(&restore));
    assert_eq!(
        (&restored["type"], &restored["previous_item_id"]),
        (&json!("conversation.item.create"), &json!("b"))
    );
    let refusal = |frame: &Value| {
        json!({"type": "error", "error": {"type": "invalid_request_error", "code": "item_create_invalid_previous_item_id",
            "message": "There is no b.", "event_id": frame["event_id"]}})
    };
    assert_eq!(tell(&mut codec, refusal(&restored)), []);
    let written =
        sent(codec.encode(&BridgeCommand::CreateItem { item, position: Position::After("b".into()) }));
    assert_eq!(tell(&mut codec, refusal(&written)).len(), 1, "what a client wrote is another matter");
}
