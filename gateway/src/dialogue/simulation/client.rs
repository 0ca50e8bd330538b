//! The client: sends every event there is, in and out of season, and knows which of them must be refused.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use voxgate_media::session::Leg;

use super::dice::Dice;

/// What has to answer an event of the client, in the same step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Expected {
    /// An `error` with the event's own `event_id`.
    Error,
    /// An event of this type.
    Event(&'static str),
    /// It depends.
    Anything,
    /// Nothing at all: nobody hears it.
    Silence,
}

/// One event of the client.
pub(super) struct Asked {
    pub(super) text: String,
    pub(super) event_id: String,
    pub(super) expected: Expected,
}

struct Known {
    id: String,
    is_speech: bool,
}

pub(super) struct Client {
    /// What its events are called by.
    name: String,
    leg: Leg,
    dice: Dice,
    next_at: Option<Instant>,
    ends_at: Instant,
    written: u64,
    items: Vec<Known>,
    responses: Vec<String>,
    planned: VecDeque<(Value, Expected)>,
}

impl Client {
    pub(super) fn new(name: String, leg: Leg, start: Instant, length: Duration, mut dice: Dice) -> Self {
        let next_at = dice.chance(85).then(|| start + dice.millis(0, 700));
        Self {
            name,
            leg,
            dice,
            next_at,
            ends_at: start + length,
            written: 0,
            items: Vec::new(),
            responses: Vec::new(),
            planned: VecDeque::new(),
        }
    }

    pub(super) fn next_at(&self) -> Option<Instant> {
        self.next_at
    }

    /// Takes note of an event of the gateway, and sometimes acts on it.
    pub(super) fn read(&mut self, now: Instant, event: &Value) {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        match event["type"].as_str().unwrap_or_default() {
            "conversation.item.added" => {
                let item = &event["item"];
                let is_speech = item["role"] == "assistant";
                self.items.push(Known { id: text(&item["id"]), is_speech });
            }
            "conversation.item.deleted" => self.items.retain(|item| event["item_id"] != item.id.as_str()),
            "response.created" => self.responses.push(text(&event["response"]["id"])),
            "response.function_call_arguments.done" if self.dice.chance(80) => {
                let output =
                    json!({"type": "function_call_output", "call_id": event["call_id"], "output": "{}"});
                self.plan(json!({"type": "conversation.item.create", "item": output}), added());
                self.plan(json!({"type": "response.create"}), Expected::Anything);
                self.soon(now);
            }
            // A client that plays by itself says how much of the answer was heard.
            "input_audio_buffer.speech_started" if self.leg == Leg::Pcm && self.dice.chance(60) => {
                if let Some(id) = self.last_spoken() {
                    let heard = self.dice.between(0, 2_000);
                    self.plan(truncate(&id, 0, heard), Expected::Anything);
                    if self.dice.chance(50) {
                        self.plan_retrieval(&id);
                    }
                    self.soon(now);
                }
            }
            "conversation.item.truncated" if self.dice.chance(60) => {
                let id = text(&event["item_id"]);
                // Who came later does not know every item.
                if self.knows(&id) {
                    self.plan_retrieval(&id);
                    self.soon(now);
                }
            }
            _ => {}
        }
    }

    /// The event that is due.
    pub(super) fn ask(&mut self, now: Instant) -> Asked {
        let (mut event, expected) = self.planned.pop_front().unwrap_or_else(|| self.invent());
        self.next_at = if self.planned.is_empty() {
            Some(now + self.dice.millis(20, 1_200)).filter(|at| *at < self.ends_at)
        } else {
            Some(now + self.dice.millis(0, 60))
        };
        // A deleted item cannot be retrieved any more; what was planned for it has to be refused.
        let expected = match event["item_id"].as_str() {
            Some(id) if !self.knows(id) && event["type"] != "nonsense" => Expected::Error,
            _ => expected,
        };
        self.written += 1;
        let event_id = format!("{}_{}", self.name, self.written);
        event["event_id"] = json!(event_id);
        Asked { text: event.to_string(), event_id, expected }
    }

    fn knows(&self, id: &str) -> bool {
        self.items.iter().any(|item| item.id == id)
    }

    fn last_spoken(&self) -> Option<String> {
        self.items.iter().rev().find(|item| item.is_speech).map(|item| item.id.clone())
    }

    fn plan(&mut self, event: Value, expected: Expected) {
        self.planned.push_back((event, expected));
    }

    fn plan_retrieval(&mut self, id: &str) {
        let event = json!({"type": "conversation.item.retrieve", "item_id": id});
        self.plan(event, Expected::Event("conversation.item.retrieved"));
    }

    fn soon(&mut self, now: Instant) {
        self.next_at = Some(now + self.dice.millis(0, 80));
    }

    fn invent(&mut self) -> (Value, Expected) {
        match self.dice.below(12) {
            0 | 1 => (self.response_create(), Expected::Anything),
            2 => self.response_cancel(),
            3 => {
                let is_known = self.leg == Leg::Rtp;
                let expected = if is_known { Expected::Anything } else { Expected::Error };
                (json!({"type": "output_audio_buffer.clear"}), expected)
            }
            4 => self.truncate_something(),
            5 => (json!({"type": "input_audio_buffer.commit"}), Expected::Anything),
            6 => (json!({"type": "input_audio_buffer.clear"}), Expected::Event("input_audio_buffer.cleared")),
            7 => self.create_item(),
            8 => self.of_some_item("conversation.item.delete", "conversation.item.deleted"),
            9 => self.of_some_item("conversation.item.retrieve", "conversation.item.retrieved"),
            10 => self.update_session(),
            _ => self.nonsense(),
        }
    }

    fn response_create(&mut self) -> Value {
        match self.dice.below(6) {
            0 => {
                json!({"type": "response.create", "response": {"conversation": "none", "metadata": {"a": "b"}}})
            }
            1 => json!({"type": "response.create", "response": {"output_modalities": ["text"]}}),
            2 => json!({"type": "response.create", "response": {"max_output_tokens": 100}}),
            _ => json!({"type": "response.create"}),
        }
    }

    fn response_cancel(&mut self) -> (Value, Expected) {
        match self.dice.below(4) {
            0 => {
                let event = json!({"type": "response.cancel", "response_id": "resp_of_nobody"});
                (event, Expected::Error)
            }
            1 => {
                let id = self.dice.pick(&self.responses).cloned().unwrap_or_else(|| "resp_none".to_owned());
                (json!({"type": "response.cancel", "response_id": id}), Expected::Anything)
            }
            _ => (json!({"type": "response.cancel"}), Expected::Anything),
        }
    }

    fn truncate_something(&mut self) -> (Value, Expected) {
        let heard = self.dice.between(0, 4_000);
        if self.dice.chance(15) {
            return (truncate("item_of_nobody", 0, heard), Expected::Error);
        }
        let speech: Vec<_> = self.items.iter().rev().take(4).map(|item| (&item.id, item.is_speech)).collect();
        match self.dice.pick(&speech) {
            Some((id, true)) => (truncate(id, self.dice.below(2), heard), Expected::Anything),
            Some((id, false)) => (truncate(id, 0, heard), Expected::Error),
            None => (truncate("item_of_nobody", 0, heard), Expected::Error),
        }
    }

    fn create_item(&mut self) -> (Value, Expected) {
        let content = json!([{"type": "input_text", "text": "Hello."}]);
        let mut item = json!({"type": "message", "role": "user", "content": content});
        let known = self.dice.pick(&self.items).map(|item| item.id.clone());
        let (previous, expected) = match (self.dice.below(6), known.clone()) {
            (0, _) => (json!("root"), added()),
            (1, Some(id)) => (json!(id), added()),
            (2, _) => (json!("item_of_nobody"), Expected::Error),
            _ => (Value::Null, added()),
        };
        let mut expected = expected;
        match (self.dice.below(4), known) {
            (0, _) => item["id"] = json!(format!("item_{}_{}", self.name, self.written)),
            (1, Some(id)) => {
                item["id"] = json!(id);
                expected = Expected::Error;
            }
            _ => {}
        }
        (json!({"type": "conversation.item.create", "previous_item_id": previous, "item": item}), expected)
    }

    fn of_some_item(&mut self, kind: &str, answer: &'static str) -> (Value, Expected) {
        let known = self.dice.pick(&self.items).map(|item| item.id.clone());
        match known.filter(|_| self.dice.chance(85)) {
            Some(id) => (json!({"type": kind, "item_id": id}), Expected::Event(answer)),
            None => (json!({"type": kind, "item_id": "item_of_nobody"}), Expected::Error),
        }
    }

    fn update_session(&mut self) -> (Value, Expected) {
        let session = match self.dice.below(5) {
            0 => json!({"no_such_field": 1}),
            1 => json!({"instructions": "Be brief.", "output_modalities": ["text"]}),
            2 => json!({"instructions": "Be kind.", "output_modalities": ["audio"]}),
            3 => json!({"audio": {"input": {"turn_detection": Value::Null}}}),
            _ => {
                let detection = json!({
                    "type": "server_vad",
                    "silence_duration_ms": self.dice.between(100, 400),
                    "prefix_padding_ms": self.dice.between(0, 300),
                    "interrupt_response": self.dice.chance(80),
                    "create_response": self.dice.chance(80),
                });
                json!({"audio": {"input": {"turn_detection": detection}}})
            }
        };
        let is_wrong = session.get("no_such_field").is_some();
        let expected = if is_wrong { Expected::Error } else { Expected::Event("session.updated") };
        (json!({"type": "session.update", "session": session}), expected)
    }

    fn nonsense(&mut self) -> (Value, Expected) {
        let event = match self.dice.below(4) {
            0 => json!({"type": "nonsense", "item_id": "item_of_nobody"}),
            1 => json!({"no_type": true}),
            2 => json!({"type": "conversation.item.create", "item": {"type": "message", "role": "nobody"}}),
            _ => json!({"type": "response.create", "response": {"conversation": "sometimes"}}),
        };
        (event, Expected::Error)
    }
}

const fn added() -> Expected {
    Expected::Event("conversation.item.added")
}

fn truncate(item_id: &str, content_index: u64, heard: u64) -> Value {
    json!({
        "type": "conversation.item.truncate",
        "item_id": item_id,
        "content_index": content_index,
        "audio_end_ms": heard,
    })
}
