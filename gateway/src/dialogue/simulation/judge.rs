//! What must hold in every call, whatever happens in it. Looks at inputs and outputs only.

mod answers;
mod ear;
mod items;

use std::collections::BTreeSet;
use std::time::Instant;

use serde_json::Value;
use voxgate_media::session::Leg;
use voxgate_protocol::bridge::{BridgeCommand, BridgeEvent, Fault, OutputPart};
use voxgate_protocol::settings::SessionSettings;

use super::client::{Asked, Expected};
use super::schedule::Figures;
use crate::dialogue::core::{CoreInput, DialogueCore};
use answers::Answers;
use ear::Ear;
use items::Items;

pub(super) type Verdict = Result<(), String>;

/// Fails the schedule with a sentence unless the promise is kept.
macro_rules! promise {
    ($holds:expr, $($sentence:tt)*) => {
        if !$holds {
            return Err(format!($($sentence)*));
        }
    };
}
pub(super) use promise;

/// A type and an id of an event, or nothing.
pub(super) fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_default()
}

pub(super) struct Judge {
    leg: Leg,
    /// The client reads everything as it happens: its channel was open from the start.
    is_prompt: bool,
    interrupts: bool,
    names: BTreeSet<String>,
    asked: BTreeSet<String>,
    awaited: Option<(String, Expected)>,
    answers: Answers,
    items: Items,
    ear: Ear,
    has_read: bool,
    has_conversation_changed: bool,
    /// How often the end was told.
    ends: u32,
    is_opening: bool,
    figures: Figures,
}

impl Judge {
    pub(super) fn new(leg: Leg, settings: &SessionSettings, is_prompt: bool, listens: bool) -> Self {
        Self {
            leg,
            is_prompt,
            interrupts: settings.input.turn_detection.as_ref().is_some_and(|turn| turn.interrupts_response()),
            names: BTreeSet::new(),
            asked: BTreeSet::new(),
            awaited: None,
            answers: Answers::default(),
            items: Items::default(),
            ear: Ear::new(listens && leg == Leg::Rtp),
            has_read: false,
            has_conversation_changed: false,
            ends: 0,
            is_opening: false,
            figures: Figures { schedules: 1, ..Figures::default() },
        }
    }

    /// The client is about to send an event.
    pub(super) fn asks(&mut self, asked: &Asked) {
        self.asked.insert(asked.event_id.clone());
        self.awaited = Some((asked.event_id.clone(), asked.expected));
    }

    /// The channel opens with the next input.
    pub(super) fn opened(&mut self) {
        self.is_opening = true;
    }

    /// The core is about to take an input.
    pub(super) fn takes(&mut self, input: &CoreInput<'_>) {
        self.answers.begin_step(self.ear.packets());
        match input {
            CoreInput::Text(text) if text.contains("client_late") => {
                self.asked.insert("client_late".to_owned());
            }
            CoreInput::Bridge {
                event: BridgeEvent::Output { response_id, item_id, part: OutputPart::Audio(pcm) },
                ..
            } => {
                let counts = self.answers.takes_pieces(response_id.as_str());
                self.items.received(item_id.as_str(), pcm.duration(), counts);
            }
            CoreInput::Bridge { event, .. } => {
                let is_end = matches!(
                    event,
                    BridgeEvent::Closed { .. } | BridgeEvent::Fault(Fault { is_final: true, .. })
                );
                self.figures.provider_failures += u64::from(is_end && self.ends == 0);
            }
            _ => {}
        }
    }

    /// An event to the client.
    pub(super) fn event(&mut self, event: &Value) -> Verdict {
        let kind = text(event, "type");
        promise!(self.ends == 0 || self.is_opening, "{kind} after the end");
        let is_new = self.names.insert(text(event, "event_id").to_owned());
        promise!(is_new, "two events have one event_id");
        let is_first = !std::mem::replace(&mut self.has_read, true);
        promise!(is_first == (kind == "session.created"), "{kind} where session.created belongs");
        if let Some((_, Expected::Event(expected))) = &self.awaited
            && kind == *expected
        {
            self.awaited = None;
        }
        self.has_conversation_changed |= kind.starts_with("conversation.item.");
        match kind {
            "error" => self.error(event),
            "session.updated" => {
                let detection = &event["session"]["audio"]["input"]["turn_detection"];
                self.interrupts = detection["interrupt_response"] == true;
                Ok(())
            }
            "input_audio_buffer.speech_started" => {
                self.figures.turns += 1;
                if self.interrupts && self.is_prompt {
                    self.answers.interrupted();
                }
                Ok(())
            }
            "input_audio_buffer.committed" => self.items.committed(event),
            "conversation.item.retrieved" => {
                self.figures.retrieved += 1;
                self.items.retrieved(event, self.leg)
            }
            "conversation.item.truncated" => self.truncated(event),
            kind if kind.starts_with("conversation.item.") => self.items.event(kind, event),
            kind if kind.starts_with("output_audio_buffer.") => {
                promise!(self.leg == Leg::Rtp, "{kind} to a client that plays by itself");
                self.figures.interruptions += u64::from(kind == "output_audio_buffer.cleared");
                self.answers.playback(kind, event)
            }
            kind if kind.starts_with("response.") => {
                self.figures.answers += u64::from(kind == "response.created");
                self.items.written(kind, event);
                self.answers.event(kind, event)
            }
            _ => Ok(()),
        }
    }

    fn error(&mut self, event: &Value) -> Verdict {
        let Some(named) = event["error"]["event_id"].as_str() else { return Ok(()) };
        self.figures.refusals += 1;
        promise!(self.asked.contains(named), "an error names {named}, which the client never sent");
        if let Some((asked, Expected::Error)) = &self.awaited
            && asked == named
        {
            self.awaited = None;
        }
        Ok(())
    }

    fn truncated(&mut self, event: &Value) -> Verdict {
        self.figures.truncations += 1;
        let sent = (self.leg == Leg::Rtp && self.is_prompt).then(|| {
            let response_id = self.items.response_of(text(event, "item_id"));
            self.answers.packets_since_start(response_id, self.ear.packets())
        });
        self.items.truncated(event, sent, self.leg)
    }

    /// A command to the provider.
    pub(super) fn command(&mut self, command: &BridgeCommand) -> Verdict {
        promise!(self.ends == 0, "{command:?} after the end");
        match command {
            BridgeCommand::CancelResponse { response_id } if self.is_prompt => {
                self.answers.cancelled(response_id.as_ref().map(|id| id.as_str()));
            }
            BridgeCommand::Truncate { item_id, heard, .. } => {
                let is_deleted = self.items.is_deleted(item_id.as_str());
                promise!(!is_deleted, "{item_id} is cut at the provider and was deleted before");
                let received = self.items.received_of(item_id.as_str());
                promise!(*heard <= received, "{item_id} is cut at {heard:?}, but only {received:?} came");
                let sent = voxgate_media::encode::FRAME * self.ear.packets() as u32;
                promise!(
                    self.leg == Leg::Pcm || *heard <= sent,
                    "{item_id} is cut at {heard:?}; {sent:?} left"
                );
            }
            _ => {}
        }
        Ok(())
    }

    /// A packet to the caller.
    pub(super) fn packet(&mut self, now: Instant, payload: &[u8], timestamp: u32) -> Verdict {
        promise!(self.ends == 0, "a packet after the end");
        promise!(self.leg == Leg::Rtp, "a packet to a client without RTP");
        self.figures.packets += 1;
        self.ear.packet(now, payload, timestamp)
    }

    pub(super) fn turn(&mut self) -> Verdict {
        promise!(self.ends == 0, "a turn is measured after the end");
        Ok(())
    }

    pub(super) fn ended(&mut self) -> Verdict {
        self.ends += 1;
        promise!(self.ends == 1, "the session ends twice");
        Ok(())
    }

    /// The session says it is over.
    pub(super) fn closed(&self, waits_for_nothing: bool) -> Verdict {
        promise!(self.ends == 1, "the session ended without a word");
        promise!(waits_for_nothing, "a session that is over still waits");
        Ok(())
    }

    /// The input is carried to its end.
    pub(super) fn settled(&mut self, core: &DialogueCore) -> Verdict {
        self.is_opening = false;
        if let Some((event_id, expected)) = self.awaited.take() {
            promise!(expected == Expected::Anything, "{event_id} should have been answered by {expected:?}");
        }
        let audible = self.is_prompt.then(|| self.answers.audible());
        self.ear.settled(audible)?;
        self.compare(core)
    }

    /// The books of the whole call.
    pub(super) fn finish(self, core: &DialogueCore) -> Result<Figures, String> {
        promise!(self.ends == 1, "the session ended {} times", self.ends);
        if self.has_read {
            self.answers.finish()?;
            self.items.finish(core)?;
        }
        Ok(self.figures)
    }

    /// Whether what the client can know of the conversation is what is stored.
    fn compare(&mut self, core: &DialogueCore) -> Verdict {
        if self.has_read && std::mem::take(&mut self.has_conversation_changed) {
            return self.items.compare(core);
        }
        Ok(())
    }
}
