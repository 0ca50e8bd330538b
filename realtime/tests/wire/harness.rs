//! A client and a session core around one adapter.

use std::sync::LazyLock;
use std::time::Duration;

use jsonschema::Validator;
use serde_json::{Value, json};
use voxgate_protocol::audio::{Pcm, SampleRate};
use voxgate_protocol::bridge::{OutputPart, ResponseStatus};
use voxgate_protocol::conversation::ItemStatus;
use voxgate_protocol::session::{SessionCommand, SessionEvent};
use voxgate_protocol::usage::TokenUsage;
use voxgate_realtime::{Adapter, AdapterOutput, ClientKind, SidebandId, request};

pub(crate) fn validator(schema: &str) -> Validator {
    let schema: Value = serde_json::from_str(schema).unwrap();
    jsonschema::validator_for(&schema).unwrap()
}

static SERVER_EVENT: LazyLock<Validator> =
    LazyLock::new(|| validator(include_str!("../../specs/server-event.schema.json")));

pub(crate) fn assert_valid(event: &Value) {
    let faults: Vec<_> = SERVER_EVENT.iter_errors(event).map(|fault| fault.to_string()).collect();
    assert!(faults.is_empty(), "{event:#}\n{faults:?}");
}

fn valid(text: &str) -> Value {
    let event: Value = serde_json::from_str(text).unwrap();
    assert_valid(&event);
    event
}

pub(crate) struct Wire {
    pub(crate) adapter: Adapter,
    pub(crate) events: Vec<Value>,
    pub(crate) commands: Vec<SessionCommand>,
    /// What every sideband connection is told.
    pub(crate) sidebands: Vec<Value>,
    /// What one sideband connection is told.
    pub(crate) replies: Vec<(u64, Value)>,
}

impl Wire {
    /// A session whose channel is not open.
    pub(crate) fn closed(kind: ClientKind) -> Self {
        let mut settings = request::default_settings();
        settings.model = "test-voice".to_owned();
        let adapter = Adapter::new(kind, "sess_test".into(), settings, 1_800_000_000, 11);
        Self::around(adapter)
    }

    pub(crate) fn around(adapter: Adapter) -> Self {
        let (events, commands) = (Vec::new(), Vec::new());
        Self { adapter, events, commands, sidebands: Vec::new(), replies: Vec::new() }
    }

    /// A session whose `session.created` was read.
    pub(crate) fn open(kind: ClientKind) -> Self {
        let mut wire = Self::closed(kind);
        wire.adapter.open();
        wire.drain();
        assert_eq!(wire.take_types(), ["session.created"]);
        wire
    }

    pub(crate) fn drain(&mut self) {
        while let Some(output) = self.adapter.poll_output() {
            match output {
                AdapterOutput::ToClient(text) => self.events.push(valid(&text)),
                AdapterOutput::ToSidebands(text) => self.sidebands.push(valid(&text)),
                AdapterOutput::ToSideband(id, text) => self.replies.push((id.0, valid(&text))),
                AdapterOutput::Command(command) => self.commands.push(command),
            }
        }
    }

    pub(crate) fn send(&mut self, event: Value) {
        self.send_text(&event.to_string());
    }

    pub(crate) fn send_text(&mut self, text: &str) {
        self.adapter.handle_text(text);
        self.drain();
    }

    pub(crate) fn sideband_sends(&mut self, id: u64, event: &Value) {
        self.adapter.handle_sideband(SidebandId(id), &event.to_string());
        self.drain();
    }

    pub(crate) fn core(&mut self, event: SessionEvent) {
        self.adapter.handle_event(event);
        self.drain();
    }

    pub(crate) fn take_events(&mut self) -> Vec<Value> {
        std::mem::take(&mut self.events)
    }

    pub(crate) fn take_types(&mut self) -> Vec<String> {
        self.take_events().iter().map(|event| event["type"].as_str().unwrap().to_owned()).collect()
    }

    /// The only event since the last look.
    pub(crate) fn take_event(&mut self, kind: &str) -> Value {
        let mut events = self.take_events();
        assert_eq!(events.len(), 1, "{events:#?}");
        assert_eq!(events[0]["type"], kind);
        events.remove(0)
    }

    /// The `error` object of the only event since the last look.
    pub(crate) fn take_error(&mut self, code: &str) -> Value {
        let error = self.take_event("error")["error"].take();
        assert_eq!(error["code"], code, "{error:#}");
        error
    }

    pub(crate) fn take_commands(&mut self) -> Vec<SessionCommand> {
        std::mem::take(&mut self.commands)
    }

    pub(crate) fn start(&mut self, response: &str) {
        self.core(SessionEvent::ResponseStarted { response_id: response.into(), is_for_turn: false });
    }

    pub(crate) fn part(&mut self, response: &str, item: &str, part: OutputPart) {
        self.core(SessionEvent::Output { response_id: response.into(), item_id: item.into(), part });
    }

    /// Speech of a length with its words.
    pub(crate) fn say(&mut self, response: &str, item: &str, milliseconds: u64, words: &str) {
        self.part(response, item, OutputPart::Transcript(words.to_owned()));
        self.part(response, item, OutputPart::Audio(speech(milliseconds)));
    }

    pub(crate) fn item_done(&mut self, response: &str, item: &str, status: ItemStatus) {
        self.core(SessionEvent::OutputItemDone {
            response_id: response.into(),
            item_id: item.into(),
            status,
        });
    }

    pub(crate) fn done(&mut self, response: &str, status: ResponseStatus) {
        self.core(SessionEvent::ResponseDone { response_id: response.into(), status, usage: None });
    }

    pub(crate) fn done_with_usage(&mut self, response: &str, usage: TokenUsage) {
        let status = ResponseStatus::Completed;
        self.core(SessionEvent::ResponseDone { response_id: response.into(), status, usage: Some(usage) });
    }

    /// A whole turn of the caller, up to its commit.
    pub(crate) fn caller_turn(&mut self, item: &str, from: u64, to: u64) {
        self.core(SessionEvent::SpeechStarted { item_id: item.into(), at: Duration::from_millis(from) });
        self.core(SessionEvent::SpeechStopped { item_id: item.into(), at: Duration::from_millis(to) });
        self.core(SessionEvent::InputCommitted { item_id: item.into() });
    }

    pub(crate) fn truncated(&mut self, item: &str, milliseconds: u64) {
        let heard = Duration::from_millis(milliseconds);
        self.core(SessionEvent::ItemTruncated { item_id: item.into(), content_index: 0, heard });
    }

    pub(crate) fn retrieve(&mut self, item: &str) -> Value {
        self.send(json!({"type": "conversation.item.retrieve", "item_id": item}));
        self.take_event("conversation.item.retrieved")["item"].take()
    }
}

/// A tone-free ramp; only its length matters.
pub(crate) fn speech(milliseconds: u64) -> Pcm {
    Pcm::silence(SampleRate::HZ_24000, Duration::from_millis(milliseconds))
}
