//! Any order of client messages and session events leaves the client with a consistent stream.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use proptest::prelude::*;
use serde_json::{Value, json};
use voxgate_protocol::bridge::{Fault, FaultOwner, OutputPart, ResponseStatus};
use voxgate_protocol::conversation::ItemStatus;
use voxgate_protocol::session::{EndReason, SessionEvent};
use voxgate_realtime::ClientKind;

use crate::harness::{Wire, speech};

#[derive(Clone, Debug)]
enum Step {
    Client(Value),
    Core(SessionEvent),
}

/// Few names, so that they collide.
fn name(prefix: &'static str) -> impl Strategy<Value = String> {
    (0..4_u8).prop_map(move |number| format!("{prefix}_{number}"))
}

fn client_step() -> impl Strategy<Value = Step> {
    let previous = prop_oneof![Just(None), Just(Some("root".to_owned())), name("item").prop_map(Some)];
    let create = (name("item"), previous).prop_map(|(id, previous)| {
        let content = json!([{"type": "input_text", "text": "hi"}]);
        let item = json!({"id": id, "type": "message", "role": "user", "content": content});
        json!({"type": "conversation.item.create", "previous_item_id": previous, "item": item})
    });
    let truncate = (name("item"), 0..3_u32, 0..5_000_u32).prop_map(|(id, index, heard)| {
        json!({"type": "conversation.item.truncate", "item_id": id, "content_index": index, "audio_end_ms": heard})
    });
    let event = prop_oneof![
        create,
        truncate,
        name("item").prop_map(|id| json!({"type": "conversation.item.delete", "item_id": id})),
        name("item").prop_map(|id| json!({"type": "conversation.item.retrieve", "item_id": id})),
        Just(json!({"type": "response.create", "response": {"metadata": {"k": "v"}}})),
        Just(json!({"type": "response.create", "response": {"conversation": "none"}})),
        Just(json!({"type": "response.cancel"})),
        name("resp").prop_map(|id| json!({"type": "response.cancel", "response_id": id})),
        Just(json!({"type": "input_audio_buffer.commit", "event_id": "commit"})),
        Just(json!({"type": "input_audio_buffer.append", "audio": "AAAA"})),
        Just(json!({"type": "output_audio_buffer.clear"})),
        Just(json!({"type": "session.update", "session": {"instructions": "x"}})),
        Just(json!({"type": "session.update", "session": {"audio": {"output": {"voice": "v"}}}})),
        Just(json!({"type": 7})),
    ];
    event.prop_map(Step::Client)
}

fn part() -> impl Strategy<Value = OutputPart> {
    prop_oneof![
        (0..500_u64).prop_map(|milliseconds| OutputPart::Audio(speech(milliseconds))),
        Just(OutputPart::Transcript("two words ".to_owned())),
        Just(OutputPart::Text("text".to_owned())),
        Just(OutputPart::ToolArguments {
            call_id: "call_1".into(),
            name: "f".to_owned(),
            delta: "{}".to_owned()
        }),
    ]
}

fn response_step() -> impl Strategy<Value = SessionEvent> {
    let status = prop_oneof![
        Just(ResponseStatus::Completed),
        Just(ResponseStatus::CancelledByTurn),
        Just(ResponseStatus::Failed { code: "broken".to_owned(), message: "Broken.".to_owned() }),
    ];
    prop_oneof![
        1 => name("resp").prop_map(|id| SessionEvent::ResponseStarted { response_id: id.into(), is_for_turn: false }),
        4 => (name("resp"), name("item"), part()).prop_map(|(response, item, part)| SessionEvent::Output {
            response_id: response.into(),
            item_id: item.into(),
            part,
        }),
        1 => (name("resp"), name("item")).prop_map(|(response, item)| SessionEvent::OutputItemDone {
            response_id: response.into(),
            item_id: item.into(),
            status: ItemStatus::Completed,
        }),
        1 => (name("resp"), status).prop_map(|(id, status)| SessionEvent::ResponseDone {
            response_id: id.into(),
            status,
            usage: None,
        }),
        1 => name("resp").prop_map(|id| SessionEvent::PlayoutStarted { response_id: id.into() }),
        1 => name("resp").prop_map(|id| SessionEvent::PlayoutStopped { response_id: id.into() }),
        1 => name("resp").prop_map(|id| SessionEvent::PlayoutCleared { response_id: id.into() }),
        1 => (name("item"), 0..2_u32, 0..3_000_u64).prop_map(|(id, content_index, heard)| {
            SessionEvent::ItemTruncated { item_id: id.into(), content_index, heard: Duration::from_millis(heard) }
        }),
    ]
}

fn caller_step() -> impl Strategy<Value = SessionEvent> {
    let at = || (0..9_000_u64).prop_map(Duration::from_millis);
    let codes = prop_oneof![
        Just("broken"),
        Just("conversation_already_has_active_response"),
        Just("input_audio_buffer_commit_empty"),
    ];
    prop_oneof![
        (name("item"), at()).prop_map(|(id, at)| SessionEvent::SpeechStarted { item_id: id.into(), at }),
        (name("item"), at()).prop_map(|(id, at)| SessionEvent::SpeechStopped { item_id: id.into(), at }),
        name("item").prop_map(|id| SessionEvent::InputCommitted { item_id: id.into() }),
        name("item").prop_map(|id| SessionEvent::InputTranscriptDelta {
            item_id: id.into(),
            delta: "so ".to_owned()
        }),
        name("item").prop_map(|id| SessionEvent::InputTranscriptDone {
            item_id: id.into(),
            transcript: "so be it".to_owned(),
            usage: None,
        }),
        Just(SessionEvent::InputEmpty),
        Just(SessionEvent::InputCleared),
        codes.prop_map(|code| SessionEvent::Fault(Fault {
            owner: FaultOwner::Provider,
            code: code.to_owned(),
            message: "It failed.".to_owned(),
            may_retry: false,
            may_switch: false,
            is_final: false,
        })),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![3 => client_step(), 5 => response_step().prop_map(Step::Core), 2 => caller_step().prop_map(Step::Core)]
}

/// What a client that believes every event would know.
#[derive(Default)]
struct Client {
    event_ids: BTreeSet<String>,
    order: Vec<String>,
    responses: BTreeMap<String, bool>,
    out_of_band: BTreeSet<String>,
    open_items: BTreeSet<(String, String)>,
    playing: BTreeSet<String>,
}

impl Client {
    fn read(&mut self, event: &Value) {
        let text = |key: &str| event[key].as_str().unwrap_or_default().to_owned();
        assert!(self.event_ids.insert(text("event_id")), "an event id was used twice");
        let item = event["item"]["id"].as_str().unwrap_or_default().to_owned();
        match text("type").as_str() {
            "conversation.item.added" => self.added(&item, event),
            "conversation.item.done" | "conversation.item.retrieved" => {
                assert!(self.order.contains(&item), "{item} is not in the conversation");
            }
            "conversation.item.deleted" => self.order.retain(|id| *id != text("item_id")),
            "conversation.item.truncated" | "conversation.item.input_audio_transcription.completed" => {
                assert!(self.order.contains(&text("item_id")));
            }
            "response.created" => self.created(&event["response"]),
            "response.done" => self.done(&event["response"]),
            "response.output_item.added" => {
                assert!(self.open_items.insert((text("response_id"), item)));
                assert_eq!(self.responses.get(&text("response_id")), Some(&false));
            }
            "response.output_item.done" => assert!(self.open_items.remove(&(text("response_id"), item))),
            "output_audio_buffer.started" => assert!(self.playing.insert(text("response_id"))),
            "output_audio_buffer.stopped" => {
                assert!(self.playing.remove(&text("response_id")));
                assert_eq!(self.responses.get(&text("response_id")), Some(&true), "stopped before done");
            }
            "output_audio_buffer.cleared" => assert!(self.playing.remove(&text("response_id"))),
            kind if kind.starts_with("response.") => {
                assert!(self.open_items.contains(&(text("response_id"), text("item_id"))), "{kind}");
            }
            _ => {}
        }
    }

    fn added(&mut self, item: &str, event: &Value) {
        assert!(!self.order.iter().any(|id| id == item), "{item} was added twice");
        let index = match event["previous_item_id"].as_str() {
            None => 0,
            Some(previous) => {
                self.order.iter().position(|id| id == previous).expect("a predecessor nobody knows") + 1
            }
        };
        self.order.insert(index, item.to_owned());
    }

    fn created(&mut self, response: &Value) {
        let id = response["id"].as_str().unwrap().to_owned();
        assert!(self.responses.insert(id.clone(), false).is_none(), "{id} was created twice");
        if response["conversation_id"].is_null() {
            self.out_of_band.insert(id);
        }
        let active = self.responses.iter().filter(|(id, done)| !**done && !self.out_of_band.contains(*id));
        assert!(active.count() <= 1, "two answers write to the conversation");
    }

    fn done(&mut self, response: &Value) {
        let id = response["id"].as_str().unwrap();
        assert_eq!(
            self.responses.insert(id.to_owned(), true),
            Some(false),
            "{id} is done without being open"
        );
        assert!(self.open_items.iter().all(|(of, _)| of != id), "an item of {id} is still open");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_stream_is_consistent(
        over_webrtc: bool,
        opens_after in 0..20_usize,
        steps in prop::collection::vec(step(), 1..120),
    ) {
        let kind = if over_webrtc { ClientKind::WebRtc } else { ClientKind::WebSocket };
        let mut wire = Wire::closed(kind);
        for (index, step) in steps.into_iter().enumerate() {
            if index == opens_after {
                wire.adapter.open();
            }
            match step {
                Step::Client(event) => wire.send(event),
                Step::Core(event) => wire.core(event),
            }
        }
        wire.adapter.open();
        wire.core(SessionEvent::Ended(EndReason::HungUp));
        let mut client = Client::default();
        let events = wire.take_events();
        prop_assert_eq!(&events[0]["type"], "session.created");
        for event in &events {
            client.read(event);
        }
        prop_assert!(client.responses.values().all(|done| *done), "an answer was never done");
        prop_assert!(client.playing.is_empty());
    }
}
