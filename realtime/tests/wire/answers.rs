//! The life of an answer.

use serde_json::json;
use voxgate_protocol::bridge::{OutputPart, ResponseStatus};
use voxgate_protocol::conversation::{Content, InputItem, ItemKind, ItemStatus, Role};
use voxgate_protocol::session::{EndReason, SessionCommand, SessionEvent};
use voxgate_protocol::settings::{TokenLimit, ToolChoice};
use voxgate_protocol::usage::TokenUsage;
use voxgate_realtime::ClientKind;

use crate::harness::{Wire, speech};

#[test]
fn a_spoken_answer_unfolds_into_the_events_of_the_api() {
    let mut wire = Wire::open(ClientKind::WebRtc);
    wire.start("resp_1");
    wire.say("resp_1", "item_a", 400, "Hello ");
    wire.say("resp_1", "item_a", 400, "there.");
    wire.item_done("resp_1", "item_a", ItemStatus::Completed);
    wire.done("resp_1", ResponseStatus::Completed);
    let events = wire.take_events();
    let types: Vec<_> = events.iter().map(|event| event["type"].as_str().unwrap()).collect();
    assert_eq!(
        types,
        [
            "response.created",
            "response.output_item.added",
            "conversation.item.added",
            "response.content_part.added",
            "response.output_audio_transcript.delta",
            "response.output_audio_transcript.delta",
            "response.output_audio.done",
            "response.output_audio_transcript.done",
            "response.content_part.done",
            "response.output_item.done",
            "conversation.item.done",
            "response.done",
        ]
    );
    assert_eq!(events[0]["response"]["status"], "in_progress");
    assert_eq!(events[1]["item"]["content"], json!([]));
    assert_eq!(events[3]["part"], json!({"type": "audio", "transcript": ""}));
    assert_eq!(events[7]["transcript"], "Hello there.");
    let output = json!([{"type": "output_audio", "transcript": "Hello there."}]);
    assert_eq!(events[11]["response"]["output"][0]["content"], output);
    assert_eq!(events[11]["response"]["output"][0]["status"], "completed");
    assert_eq!(events[11]["response"]["status_details"], json!(null));
}

#[test]
fn audio_is_sent_to_a_websocket_and_never_over_the_data_channel() {
    let mut wire = Wire::open(ClientKind::WebSocket);
    wire.start("resp_1");
    wire.part("resp_1", "item_a", OutputPart::Audio(speech(20)));
    let delta = wire.take_events().pop().unwrap();
    assert_eq!(delta["type"], "response.output_audio.delta");
    // 480 samples are 960 bytes are 1280 characters.
    assert_eq!(delta["delta"].as_str().unwrap().len(), 1_280);

    let mut wire = Wire::open(ClientKind::WebRtc);
    wire.start("resp_1");
    wire.part("resp_1", "item_a", OutputPart::Audio(speech(20)));
    assert!(!wire.take_types().contains(&"response.output_audio.delta".to_owned()));
}

#[test]
fn a_tool_call_streams_its_arguments_and_completes() {
    let mut wire = Wire::open(ClientKind::WebRtc);
    wire.start("resp_1");
    for delta in ["", "{\"city\":", "\"Oslo\"}"] {
        let delta = delta.to_owned();
        let part = OutputPart::ToolArguments { call_id: "call_1".into(), name: "weather".into(), delta };
        wire.part("resp_1", "item_f", part);
    }
    wire.item_done("resp_1", "item_f", ItemStatus::Completed);
    wire.done("resp_1", ResponseStatus::Completed);
    let events = wire.take_events();
    let types: Vec<_> = events.iter().map(|event| event["type"].as_str().unwrap()).collect();
    assert_eq!(
        types,
        [
            "response.created",
            "response.output_item.added",
            "conversation.item.added",
            "response.function_call_arguments.delta",
            "response.function_call_arguments.delta",
            "response.function_call_arguments.done",
            "response.output_item.done",
            "conversation.item.done",
            "response.done",
        ]
    );
    assert_eq!(events[5]["arguments"], "{\"city\":\"Oslo\"}");
    assert_eq!(events[5]["name"], "weather");
    assert_eq!(events[6]["item"]["status"], "completed");
    assert_eq!(events[6]["item"]["call_id"], "call_1");
}

#[test]
fn every_way_to_end_has_its_status_and_details() {
    let failed = ResponseStatus::Failed { code: "overloaded".into(), message: "Try again.".into() };
    let error = json!({"type": "server_error", "code": "overloaded", "message": "Try again."});
    let cases = [
        (ResponseStatus::CancelledByTurn, json!({"type": "cancelled", "reason": "turn_detected"})),
        (ResponseStatus::CancelledByClient, json!({"type": "cancelled", "reason": "client_cancelled"})),
        (ResponseStatus::IncompleteByTokens, json!({"type": "incomplete", "reason": "max_output_tokens"})),
        (ResponseStatus::IncompleteByFilter, json!({"type": "incomplete", "reason": "content_filter"})),
        (failed, json!({"type": "failed", "error": error})),
    ];
    for (status, details) in cases {
        let mut wire = Wire::open(ClientKind::WebRtc);
        wire.start("resp_1");
        wire.part("resp_1", "item_a", OutputPart::Text("Well".into()));
        wire.done("resp_1", status);
        let events = wire.take_events();
        let last = &events.last().unwrap()["response"];
        assert_eq!(last["status"], details["type"]);
        assert_eq!(last["status_details"], details);
        // What was still being written is closed, cut off.
        assert_eq!(last["output"][0]["status"], "incomplete");
        assert!(events.iter().any(|event| event["type"] == "response.output_text.done"));
    }
}

#[test]
fn usage_is_passed_on_with_its_details() {
    let mut wire = Wire::open(ClientKind::WebRtc);
    wire.start("resp_1");
    let usage = TokenUsage {
        input_text: 100,
        input_audio: 50,
        input_image: 0,
        cached_text: 60,
        cached_audio: 4,
        cached_image: 0,
        output_text: 20,
        output_audio: 80,
    };
    wire.done_with_usage("resp_1", usage);
    let used = &wire.take_events().pop().unwrap()["response"]["usage"];
    assert_eq!(used["total_tokens"], 250);
    assert_eq!(used["input_token_details"]["cached_tokens"], 64);
    assert_eq!(used["output_token_details"]["audio_tokens"], 80);
}

#[test]
fn the_metadata_of_a_request_returns_with_its_answer() {
    let mut wire = Wire::open(ClientKind::WebSocket);
    let metadata = json!({"client_event_id": "response_create_7"});
    wire.send(json!({"type": "response.create", "event_id": "e7", "response": {"metadata": metadata}}));
    assert!(matches!(wire.take_commands().as_slice(), [SessionCommand::CreateResponse(_)]));
    wire.start("resp_1");
    assert_eq!(wire.take_event("response.created")["response"]["metadata"], metadata);
    wire.done("resp_1", ResponseStatus::Completed);
    assert_eq!(wire.take_event("response.done")["response"]["metadata"], metadata);
    // The next answer belongs to nobody's request.
    wire.start("resp_2");
    assert_eq!(wire.take_event("response.created")["response"]["metadata"], json!(null));
}

#[test]
fn a_second_answer_is_refused_while_one_is_written_or_awaited() {
    let mut wire = Wire::open(ClientKind::WebSocket);
    wire.send(json!({"type": "response.create"}));
    wire.send(json!({"type": "response.create", "event_id": "second"}));
    let error = wire.take_error("conversation_already_has_active_response");
    assert_eq!(error["event_id"], "second");
    wire.start("resp_1");
    wire.take_events();
    wire.send(json!({"type": "response.create", "event_id": "third"}));
    assert_eq!(wire.take_error("conversation_already_has_active_response")["event_id"], "third");
    assert_eq!(wire.take_commands().len(), 1);
}

#[test]
fn an_answer_outside_the_conversation_leaves_no_item_in_it() {
    let mut wire = Wire::open(ClientKind::WebSocket);
    wire.caller_turn("item_x", 0, 500);
    wire.start("resp_1");
    wire.take_events();
    let params = json!({"conversation": "none", "output_modalities": ["text"], "metadata": {"topic": "summary"},
        "input": [{"type": "item_reference", "id": "item_x"}]});
    wire.send(json!({"type": "response.create", "response": params}));
    let commands = wire.take_commands();
    let [SessionCommand::CreateResponse(options)] = commands.as_slice() else { panic!("{commands:?}") };
    assert!(options.is_beside);
    wire.start("resp_2");
    wire.part("resp_2", "item_s", OutputPart::Text("Short.".into()));
    wire.done("resp_2", ResponseStatus::Completed);
    let events = wire.take_events();
    assert_eq!(events[0]["response"]["conversation_id"], json!(null));
    assert_eq!(events[0]["response"]["metadata"]["topic"], "summary");
    assert!(events.iter().all(|event| event["type"] != "conversation.item.added"));
    // The first answer is still being written.
    wire.done("resp_1", ResponseStatus::Completed);
    assert_eq!(wire.take_event("response.done")["response"]["id"], "resp_1");
    wire.send(json!({"type": "conversation.item.retrieve", "item_id": "item_s"}));
    wire.take_error("item_retrieve_invalid_item_id");
}

#[test]
fn cancelling_reaches_the_session_once_and_is_refused_without_an_answer() {
    let mut wire = Wire::open(ClientKind::WebRtc);
    wire.send(json!({"type": "response.cancel", "event_id": "c0"}));
    assert_eq!(wire.take_error("response_cancel_not_active")["event_id"], "c0");
    wire.start("resp_1");
    wire.take_events();
    wire.send(json!({"type": "response.cancel"}));
    wire.send(json!({"type": "response.cancel", "response_id": "resp_1"}));
    assert_eq!(wire.take_commands(), [SessionCommand::CancelResponse { response_id: None }]);
    assert!(wire.take_events().is_empty());
    wire.send(json!({"type": "response.cancel", "response_id": "resp_other"}));
    wire.take_error("response_cancel_not_active");
}

#[test]
fn an_awaited_answer_can_be_cancelled_before_it_begins() {
    let mut wire = Wire::open(ClientKind::WebRtc);
    wire.send(json!({"type": "response.create"}));
    wire.send(json!({"type": "response.cancel"}));
    wire.send(json!({"type": "response.create"}));
    assert_eq!(wire.take_commands().len(), 3);
    assert!(wire.take_events().is_empty());
}

#[test]
fn an_answer_that_begins_ends_the_one_before() {
    let mut wire = Wire::open(ClientKind::WebRtc);
    wire.start("resp_1");
    wire.start("resp_2");
    assert_eq!(wire.take_types(), ["response.created", "response.done", "response.created"]);
    // The end of the first was told; it is not told again, and late pieces go nowhere.
    wire.say("resp_1", "item_a", 20, "late");
    wire.done("resp_1", ResponseStatus::Completed);
    assert!(wire.take_events().is_empty());
}

#[test]
fn an_answer_that_fails_before_it_begins_closes_its_request() {
    let mut wire = Wire::open(ClientKind::WebRtc);
    wire.send(json!({"type": "response.create", "response": {"metadata": {"k": "v"}}}));
    wire.done("resp_1", ResponseStatus::Failed { code: "overloaded".into(), message: "Busy.".into() });
    let events = wire.take_events();
    assert_eq!(events.len(), 2);
    assert_eq!(events[1]["response"]["metadata"]["k"], "v");
    assert_eq!(events[1]["response"]["status"], "failed");
}

#[test]
fn the_end_of_the_session_leaves_nothing_open() {
    let mut wire = Wire::open(ClientKind::WebRtc);
    wire.start("resp_1");
    wire.say("resp_1", "item_a", 100, "And so");
    wire.core(SessionEvent::PlayoutStarted { response_id: "resp_1".into() });
    wire.take_events();
    wire.core(SessionEvent::Ended(EndReason::MaximumDuration));
    let events = wire.take_events();
    let types: Vec<_> = events.iter().map(|event| event["type"].as_str().unwrap()).collect();
    assert!(types.contains(&"response.done"));
    assert!(types.contains(&"output_audio_buffer.cleared"));
    assert_eq!(events.last().unwrap()["error"]["code"], "session_expired");
    wire.start("resp_2");
    wire.send(json!({"type": "response.create"}));
    assert!(wire.take_events().is_empty() && wire.take_commands().is_empty());
}

#[test]
fn what_an_answer_is_asked_for_with_reaches_the_session_and_returns() {
    let mut wire = Wire::open(ClientKind::WebSocket);
    let tool = json!({"type": "function", "name": "f", "parameters": {"type": "object"}});
    wire.send(json!({"type": "response.create", "response": {
        "output_modalities": ["text"], "max_output_tokens": 40, "tools": [tool], "instructions": "In Latin.",
        "tool_choice": {"type": "function", "name": "f"}}}));
    let commands = wire.take_commands();
    let [SessionCommand::CreateResponse(options)] = commands.as_slice() else { panic!("{commands:?}") };
    assert_eq!(options.max_output_tokens, Some(TokenLimit::Tokens(40)));
    assert_eq!(options.tool_choice, Some(ToolChoice::Function("f".into())));
    assert_eq!(options.tools.as_ref().map(Vec::len), Some(1));
    assert_eq!(options.instructions.as_deref(), Some("In Latin."));
    wire.start("resp_1");
    let response = wire.take_event("response.created")["response"].take();
    assert_eq!(
        (&response["output_modalities"], &response["max_output_tokens"]),
        (&json!(["text"]), &json!(40))
    );
    wire.part("resp_1", "item_a", OutputPart::Text("Ave".into()));
    wire.done("resp_1", ResponseStatus::IncompleteByTokens);
    let types = wire.take_types();
    assert_eq!(
        types,
        [
            "response.output_item.added",
            "conversation.item.added",
            "response.content_part.added",
            "response.output_text.delta",
            "response.output_text.done",
            "response.content_part.done",
            "response.output_item.done",
            "conversation.item.done",
            "response.done",
        ]
    );
}

#[test]
fn an_answer_may_be_longer_than_the_sessions_answers() {
    let mut wire = Wire::open(ClientKind::WebSocket);
    wire.send(json!({"type": "session.update", "session": {"type": "realtime", "max_output_tokens": 40}}));
    wire.take_events();
    for (asked, limit, shown) in [
        (json!("inf"), Some(TokenLimit::Unlimited), json!("inf")),
        (json!(null), None, json!(40)),
        (json!(90), Some(TokenLimit::Tokens(90)), json!(90)),
    ] {
        wire.take_commands();
        wire.send(json!({"type": "response.create", "response": {"max_output_tokens": asked}}));
        let commands = wire.take_commands();
        let [SessionCommand::CreateResponse(options)] = commands.as_slice() else { panic!("{commands:?}") };
        assert_eq!(options.max_output_tokens, limit);
        let name = format!("resp_{asked}");
        wire.start(&name);
        assert_eq!(wire.take_event("response.created")["response"]["max_output_tokens"], shown);
        wire.done(&name, ResponseStatus::Completed);
        wire.take_events();
    }
}

#[test]
fn the_input_of_an_answer_is_checked_like_items_and_its_references_against_the_conversation() {
    let message = |part| json!({"type": "message", "role": "user", "content": [part]});
    let good = message(json!({"type": "input_text", "text": "hi"}));
    let cases = [
        (json!([{"type": "item_reference", "id": "item_x"}]), "invalid_value", "response.input[0].id"),
        (json!([good, {"type": "item_reference"}]), "missing_required_parameter", "response.input[1].id"),
        (json!([message(json!({"type": "text"}))]), "invalid_value", "response.input[0].content[0].type"),
        (json!([7]), "invalid_type", "response.input[0]"),
        (json!([{"type": "mcp_call"}]), "invalid_value", "response.input[0].type"),
    ];
    let mut wire = Wire::open(ClientKind::WebSocket);
    for (input, code, param) in cases {
        wire.send(json!({"type": "response.create", "event_id": "r", "response": {"input": input}}));
        let error = wire.take_error(code);
        assert_eq!((&error["param"], &error["event_id"]), (&json!(param), &json!("r")));
    }
    assert!(wire.take_commands().is_empty());
    wire.caller_turn("item_x", 0, 500);
    wire.take_events();
    let input = json!([good, {"type": "item_reference", "id": "item_x"}]);
    wire.send(json!({"type": "response.create", "response": {"input": input, "conversation": "none"}}));
    let commands = wire.take_commands();
    let [SessionCommand::CreateResponse(options)] = commands.as_slice() else { panic!("{commands:?}") };
    let kind = ItemKind::Message { role: Role::User, content: vec![Content::InputText("hi".into())] };
    assert_eq!(
        options.input.as_deref(),
        Some([InputItem::New(kind), InputItem::Reference("item_x".into())].as_slice())
    );
}

#[test]
fn mcp_is_refused_in_words_that_say_so() {
    let cases = [
        json!({"type": "session.update", "session": {"tools": [{"type": "mcp", "server_label": "x"}]}}),
        json!({"type": "session.update", "session": {"tool_choice": {"type": "mcp", "server_label": "x"}}}),
        json!({"type": "response.create", "response": {"tools": [{"type": "mcp", "server_label": "x"}]}}),
        json!({"type": "conversation.item.create", "item": {"type": "mcp_approval_response", "approve": true}}),
    ];
    let mut wire = Wire::open(ClientKind::WebSocket);
    for event in cases {
        wire.send(event);
        assert!(
            wire.take_error("invalid_value")["message"]
                .as_str()
                .unwrap()
                .contains("MCP tools are not supported")
        );
    }
}
