//! Whole conversations between the OpenAI codec and the provider simulator, in virtual time, with every event of
//! either side checked against the vendor's schemas.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod provider_schemas {
    pub(crate) mod harness;
    pub(crate) mod schema;
}

use std::time::Duration;

use provider_schemas::harness::Harness;
use serde_json::json;
use voxgate_load_tests::provider_sim::{AnswerAudio, SimConfig, SimFault};
use voxgate_protocol::bridge::{BridgeCommand, BridgeEvent, OutputPart, ResponseStatus, TurnOwner};
use voxgate_protocol::conversation::{Content, Item, ItemKind, ItemStatus, Position, Role};
use voxgate_protocol::id::{ItemId, ToolCallId};
use voxgate_protocol::settings::{
    OutputModality, ResponseOptions, SemanticVad, SessionSettings, Tool, Transcription, TurnDetection,
};

const SECOND: Duration = Duration::from_secs(1);

fn settings() -> SessionSettings {
    let mut settings = SessionSettings {
        model: "gpt-realtime-2.1".into(),
        instructions: Some("Be brief.".into()),
        voice: Some("cedar".into()),
        speed_percent: Some(110),
        max_output_tokens: Some(500),
        ..SessionSettings::default()
    };
    settings.input.transcription =
        Some(Transcription { language: Some("en".into()), ..Transcription::default() });
    settings.input.noise_reduction = Some("near_field".into());
    settings.input.turn_detection = Some(TurnDetection::ServerVad(Default::default()));
    settings.vendor.insert("tracing".into(), json!("auto"));
    settings.vendor.insert("truncation".into(), json!("auto"));
    settings
}

fn weather() -> Tool {
    Tool {
        name: "weather".into(),
        description: Some("Tells the weather.".into()),
        parameters: json!({"type": "object", "properties": {}}),
    }
}

fn text_item(id: &str, role: Role, text: &str) -> Item {
    let content = match role {
        Role::Assistant => Content::OutputText(text.into()),
        Role::User | Role::System => Content::InputText(text.into()),
    };
    let kind = ItemKind::Message { role, content: vec![content] };
    Item { id: ItemId::from(id), status: ItemStatus::Completed, kind }
}

fn answer_of(length: Duration) -> SimConfig {
    SimConfig { answer: AnswerAudio::Tones { length, marked: true }, ..SimConfig::default() }
}

#[test]
fn a_spoken_turn_is_heard_recognised_and_answered() {
    let config = SimConfig { transcript: Some("What time is it?".into()), ..answer_of(SECOND) };
    let mut call = Harness::new(config, TurnOwner::Provider, settings());
    call.speak(SECOND);
    call.be_silent(SECOND);
    call.run_for(10 * SECOND);
    assert!(call.events.contains(&BridgeEvent::Ready));
    let words = call.events.iter().find_map(|event| match event {
        BridgeEvent::InputTranscriptDone { transcript, usage: Some(_), .. } => Some(transcript.as_str()),
        _ => None,
    });
    assert_eq!(words, Some("What time is it?"));
    assert_eq!(call.spoken_samples(), 24_000);
    assert_eq!(call.statuses(), [ResponseStatus::Completed]);
    assert_eq!(call.kinds("response.output_audio.delta"), 10);
    assert_eq!(call.kinds("error"), 0);
}

#[test]
fn speech_interrupts_the_answer_and_what_was_heard_is_kept() {
    let mut call = Harness::new(answer_of(20 * SECOND), TurnOwner::Provider, settings());
    call.speak(SECOND);
    call.be_silent(SECOND);
    call.run_for(SECOND);
    let item_id = call.spoken_item();
    call.speak(SECOND / 2);
    assert_eq!(call.statuses(), [ResponseStatus::CancelledByTurn]);
    call.send(&BridgeCommand::CancelResponse { response_id: None });
    call.send(&BridgeCommand::Truncate { item_id, content_index: 0, heard: SECOND / 2 });
    assert_eq!(call.kinds("conversation.item.truncated"), 1);
    assert_eq!(call.kinds("error"), 1, "the late cancel is answered with an error");
    assert!(call.faults().is_empty(), "which is nobody's fault");
}

#[test]
fn a_turn_of_the_gateway_keeps_the_gateways_name() {
    let mut call = Harness::new(answer_of(SECOND), TurnOwner::Gateway, settings());
    call.speak(SECOND);
    call.be_silent(2 * SECOND);
    assert_eq!(call.kinds("input_audio_buffer.committed"), 0, "turn detection is off");
    call.send(&BridgeCommand::CommitInput { item_id: ItemId::from("item_mine"), is_silence: false });
    call.send(&BridgeCommand::CreateResponse(Box::default()));
    call.run_for(5 * SECOND);
    assert!(call.events.contains(&BridgeEvent::InputCommitted { item_id: ItemId::from("item_mine") }));
    assert_eq!(call.statuses(), [ResponseStatus::Completed]);
    call.send(&BridgeCommand::CommitInput { item_id: ItemId::from("item_empty"), is_silence: false });
    assert_eq!(call.faults(), ["input_audio_buffer_commit_empty"]);
    call.send(&BridgeCommand::ClearInput);
    assert_eq!(call.kinds("input_audio_buffer.cleared"), 1);
}

#[test]
fn a_tool_is_called_and_its_output_is_answered_in_text() {
    let settings = SessionSettings { tools: vec![weather()], modality: OutputModality::Text, ..settings() };
    let mut call = Harness::new(SimConfig::default(), TurnOwner::Provider, settings);
    let item = text_item("q", Role::User, "How is the weather?");
    call.send(&BridgeCommand::CreateItem { item, position: Position::Last });
    call.send(&BridgeCommand::CreateResponse(Box::default()));
    call.run_for(5 * SECOND);
    let mut arguments = String::new();
    let mut asked = None;
    for event in &call.events {
        if let BridgeEvent::Output { part: OutputPart::ToolArguments { call_id, name, delta }, .. } = event {
            assert_eq!(name, "weather");
            arguments.push_str(delta);
            asked = Some(call_id.clone());
        }
    }
    assert_eq!(arguments, r#"{"query":"How is the weather?"}"#);
    let call_id: ToolCallId = asked.expect("the tool is called");
    let kind = ItemKind::ToolOutput { call_id, output: "{\"sky\":\"blue\"}".into() };
    let item = Item { id: ItemId::from("o"), status: ItemStatus::Completed, kind };
    call.send(&BridgeCommand::CreateItem { item, position: Position::Last });
    call.send(&BridgeCommand::CreateResponse(Box::default()));
    call.run_for(5 * SECOND);
    assert_eq!(call.statuses(), [ResponseStatus::Completed, ResponseStatus::Completed]);
    assert!(call.text().starts_with("This is answer number 2"));
}

#[test]
fn every_other_command_and_every_refusal_is_well_formed() {
    let mut call = Harness::new(answer_of(SECOND), TurnOwner::Provider, settings());
    let roles = [("s", Role::System), ("u", Role::User), ("a", Role::Assistant)];
    for (id, role) in roles {
        let item = text_item(id, role, "words");
        call.send(&BridgeCommand::CreateItem { item, position: Position::First });
    }
    let item = text_item("u", Role::User, "again");
    call.send(&BridgeCommand::CreateItem { item, position: Position::After(ItemId::from("a")) });
    assert_eq!(call.faults(), ["item_create_duplicate_item_id"]);
    call.raw(&json!({"type": "conversation.item.retrieve", "item_id": "u"}));
    call.send(&BridgeCommand::DeleteItem { item_id: ItemId::from("u") });
    call.raw(&json!({"type": "conversation.item.retrieve", "item_id": "u"}));
    let options = ResponseOptions {
        metadata: json!({"client_event_id": "x"}).as_object().cloned(),
        tools: Some(vec![weather()]),
        is_beside: true,
        ..ResponseOptions::default()
    };
    call.send(&BridgeCommand::CreateResponse(Box::new(options)));
    call.run_for(5 * SECOND);
    assert_eq!(call.last("response.done")["response"]["metadata"], json!({"client_event_id": "x"}));
    let mut later = settings();
    later.input.turn_detection = Some(TurnDetection::Semantic(SemanticVad::default()));
    call.send(&BridgeCommand::Configure(Box::new(later.clone())));
    assert_eq!(
        call.last("session.updated")["session"]["audio"]["input"]["turn_detection"]["type"],
        "semantic_vad"
    );
    later.voice = Some("marin".into());
    call.send(&BridgeCommand::Configure(Box::new(later)));
    assert_eq!(call.last("error")["error"]["code"], "cannot_update_voice");
    call.raw(&json!({"type": "session.update", "session": {"type": "realtime", "modalities": ["text"]}}));
    assert_eq!(call.last("error")["error"]["param"], "session.modalities");
    for broken in
        [json!([]), json!({"type": "no.such"}), json!({"type": "input_audio_buffer.append", "audio": "!"})]
    {
        call.raw(&broken);
    }
    assert_eq!(call.kinds("error"), 7);
}

#[test]
fn configured_failures_are_well_formed_too() {
    let told = |code: &str| SimFault::FailResponse { code: code.into(), message: "no".into() };
    let error = |code: &str| SimFault::ErrorAtResponse { code: code.into(), message: "no".into() };
    for fault in [told("insufficient_quota"), error("rate_limit_exceeded"), SimFault::StallAfter(SECOND / 2)]
    {
        let config = SimConfig { fault: Some(fault.clone()), ..answer_of(SECOND) };
        let mut call = Harness::new(config, TurnOwner::Provider, settings());
        call.send(&BridgeCommand::CreateResponse(Box::default()));
        call.run_for(5 * SECOND);
        match fault {
            SimFault::FailResponse { .. } => {
                let status =
                    ResponseStatus::Failed { code: "insufficient_quota".into(), message: "no".into() };
                assert_eq!(call.statuses(), [status]);
            }
            SimFault::ErrorAtResponse { .. } => assert_eq!(call.faults(), ["rate_limit_exceeded"]),
            _ => {
                assert_eq!(call.statuses(), []);
                call.send(&BridgeCommand::CancelResponse { response_id: None });
                assert_eq!(call.statuses(), [ResponseStatus::CancelledByClient]);
            }
        }
    }
}

#[test]
fn a_session_ends_at_its_limit_with_1001() {
    let config = SimConfig { session_limit: Some(3 * SECOND), ..SimConfig::default() };
    let mut call = Harness::new(config, TurnOwner::Provider, settings());
    call.run_for(4 * SECOND);
    assert_eq!(call.faults(), ["session_expired"]);
    assert_eq!(call.closed, Some(1_001));
}
