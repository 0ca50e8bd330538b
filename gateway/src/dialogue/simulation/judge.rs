//! What must hold in every call, whatever happens in it. Looks at inputs and outputs only.

mod answers;
mod calls;
mod ear;
mod hold;
mod items;
mod refusal;
mod sidebands;

use std::collections::BTreeSet;
use std::time::Instant;

use serde_json::Value;
use voxgate_media::encode::DTX_FRAME;
use voxgate_media::session::{InterruptionRule, Leg};
use voxgate_policy::approval::ApprovalState;
use voxgate_protocol::bridge::{BridgeCommand, BridgeEvent, Fault, OutputPart, TurnOwner};
use voxgate_protocol::session::SessionCommand;
use voxgate_protocol::settings::SessionSettings;
use voxgate_realtime::SidebandId;

use super::client::{Asked, Expected};
use super::person::{self, Rule};
use super::schedule::{Figures, Kind};
use crate::dialogue::core::{CoreInput, DialogueCore};
use answers::Answers;
use calls::Calls;
use ear::Ear;
use hold::{Change, Holds};
use items::Items;
use refusal::Asking;
use sidebands::Sidebands;

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
    awaited: Option<Awaited>,
    asking: Option<Asking>,
    answers: Answers,
    items: Items,
    calls: Calls,
    ear: Ear,
    /// Where voxgate finds the turns and the client reads everything as it happens.
    holds: Option<Holds>,
    sidebands: Sidebands,
    has_read: bool,
    has_conversation_changed: bool,
    /// How often the end was told.
    ends: u32,
    is_opening: bool,
    is_open: bool,
    figures: Figures,
}

/// What has to be answered in this step, and to whom.
struct Awaited {
    event_id: String,
    expected: Expected,
    asker: Option<SidebandId>,
}

impl Judge {
    pub(super) fn new(
        kind: Kind,
        settings: &SessionSettings,
        rule: Option<InterruptionRule>,
        is_prompt: bool,
        listens: bool,
    ) -> Self {
        let detection = settings.input.turn_detection.as_ref();
        let finds_turns = kind.owner == TurnOwner::Gateway && is_prompt;
        let leg = kind.leg;
        Self {
            leg,
            is_prompt,
            interrupts: detection.is_some_and(|turn| turn.interrupts_response()),
            names: BTreeSet::new(),
            asked: BTreeSet::new(),
            awaited: None,
            asking: None,
            answers: Answers::default(),
            items: Items::default(),
            calls: Calls::new(Rule::Unnamed),
            ear: Ear::new(listens && leg == Leg::Rtp),
            holds: finds_turns.then(|| Holds::new(rule, detection.is_some())),
            sidebands: Sidebands::default(),
            has_read: false,
            has_conversation_changed: false,
            ends: 0,
            is_opening: false,
            is_open: false,
            figures: Figures { schedules: 1, ..Figures::default() },
        }
    }

    /// The same where a tool has this rule.
    pub(super) fn with_tool(self, rule: Rule) -> Self {
        Self { calls: Calls::new(rule), ..self }
    }

    /// A person was asked about a call.
    pub(super) fn person_asked(&mut self, asked: &person::Asked) -> Verdict {
        promise!(self.ends == 0, "a person is asked after the end");
        self.calls.asked(asked)
    }

    /// And decided about it.
    pub(super) fn person_decided(&mut self, call_id: &str, state: ApprovalState) -> Verdict {
        self.calls.decided(call_id, state)
    }

    /// The client, or a sideband connection, is about to send an event.
    pub(super) fn asks(&mut self, asker: Option<SidebandId>, asked: &Asked, core: &DialogueCore) {
        let event_id = asked.event_id.clone();
        let mut expected = asked.expected;
        match asker {
            None => drop(self.asked.insert(event_id.clone())),
            Some(id) if self.sidebands.has(id) && self.ends == 0 => {
                self.figures.sideband_events += 1;
                self.sidebands.asks(id, &event_id);
            }
            Some(_) => expected = Expected::Silence,
        }
        self.awaited = Some(Awaited { event_id, expected, asker });
        let mut asking = Asking::new(core);
        if expected == Expected::Silence {
            asking.answered("not to be heard");
        }
        self.asking = Some(asking);
    }

    pub(super) fn attaches(&mut self, id: SidebandId, is_taken: bool) -> Verdict {
        self.figures.sidebands += u64::from(is_taken);
        self.sidebands.attach(id, is_taken, self.ends > 0)
    }

    pub(super) fn leaves(&mut self, id: SidebandId) {
        self.sidebands.leave(id);
    }

    /// The channel opens with the next input.
    pub(super) fn opened(&mut self) {
        self.is_opening = true;
    }

    /// The core is about to take an input.
    pub(super) fn takes(&mut self, now: Instant, input: &CoreInput<'_>) {
        self.answers.begin_step(self.ear.packets());
        self.watch_holding(now, input);
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

    /// What concerns answers that may be held.
    fn watch_holding(&mut self, now: Instant, input: &CoreInput<'_>) {
        let Some(holds) = &mut self.holds else { return };
        match input {
            CoreInput::Rtp(_) => holds.caller(now),
            CoreInput::Text(_) | CoreInput::Sideband(..) => holds.clients_doing(),
            CoreInput::Network(times) => holds.network(*times),
            CoreInput::Command(SessionCommand::ReportClient(report)) => holds.report(*report),
            CoreInput::Bridge { event: BridgeEvent::InterimTranscript { words }, .. } => holds.words(words),
            _ => {}
        }
    }

    /// An event to all sideband connections.
    pub(super) fn sidebands_told(&mut self, written: &str) -> Verdict {
        self.sidebands.told(written)?;
        let event: Value = serde_json::from_str(written).map_err(|error| error.to_string())?;
        self.calls.event(&event)?;
        if self.asking.is_some() {
            self.note_answer(None, &event);
        }
        Ok(())
    }

    /// An event to one sideband connection.
    pub(super) fn sideband_told(&mut self, id: SidebandId, event: &Value) -> Verdict {
        let kind = text(event, "type");
        promise!(self.ends == 0, "{kind} for {id:?} after the end");
        let is_new = self.names.insert(text(event, "event_id").to_owned());
        promise!(is_new, "two events have one event_id");
        self.sidebands.reply(id, event)?;
        self.calls.event(event)?;
        self.figures.refusals += u64::from(kind == "error");
        self.note_answer(Some(id), event);
        Ok(())
    }

    /// Whether an event answers what was just asked; `to` is whom alone it was told.
    fn note_answer(&mut self, to: Option<SidebandId>, event: &Value) {
        let kind = text(event, "type");
        let Some(asking) = &mut self.asking else { return };
        // What is played is played on meanwhile.
        if kind.starts_with("output_audio_buffer.st") {
            return;
        }
        let Some(Awaited { event_id, expected, asker }) = &self.awaited else {
            return asking.other(kind);
        };
        let is_refusal = kind == "error" && event["error"]["event_id"] == event_id.as_str();
        let is_retrieval = kind == "conversation.item.retrieved";
        let is_private = is_refusal || is_retrieval;
        if is_private && to == *asker {
            asking.answered(if is_refusal { "refused" } else { "a question" });
        } else {
            asking.other(kind);
        }
        let is_expected = match expected {
            Expected::Error => is_refusal,
            Expected::Event(expected) => kind == *expected,
            Expected::Silence | Expected::Anything => false,
        };
        if is_expected && (!is_private || to == *asker) {
            self.awaited =
                Some(Awaited { event_id: event_id.clone(), expected: Expected::Anything, asker: *asker });
        }
    }

    /// An event to the client, also as it was written.
    pub(super) fn event(&mut self, event: &Value, written: &str) -> Verdict {
        let kind = text(event, "type");
        self.sidebands.client_told(kind, written, self.is_open)?;
        self.calls.client_told(kind, event)?;
        self.note_answer(None, event);
        if let Some(holds) = &mut self.holds {
            holds.event(kind, event);
            if kind == "output_audio_buffer.started" {
                holds.started();
            }
        }
        promise!(self.ends == 0 || self.is_opening, "{kind} after the end");
        let is_new = self.names.insert(text(event, "event_id").to_owned());
        promise!(is_new, "two events have one event_id");
        let is_first = !std::mem::replace(&mut self.has_read, true);
        promise!(is_first == (kind == "session.created"), "{kind} where session.created belongs");
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
    pub(super) fn command(&mut self, now: Instant, command: &BridgeCommand) -> Verdict {
        promise!(self.ends == 0, "{command:?} after the end");
        self.calls.command(now, command)?;
        if let Some(asking) = &mut self.asking {
            asking.other(&format!("{command:?}"));
        }
        if let Some(holds) = &mut self.holds {
            match command {
                BridgeCommand::Audio(pcm) => holds.audio(pcm.duration()),
                BridgeCommand::CommitInput { .. } => holds.turn_is_over(false),
                BridgeCommand::ClearInput => holds.turn_is_over(true),
                _ => {}
            }
        }
        match command {
            BridgeCommand::CancelResponse { response_id } if self.is_prompt || self.is_open => {
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
        if let Some(holds) = self.holds.as_mut().filter(|_| payload != DTX_FRAME) {
            holds.packet(now);
        }
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
    pub(super) fn settled(&mut self, now: Instant, core: &DialogueCore) -> Verdict {
        self.is_open |= std::mem::take(&mut self.is_opening);
        if let Some(Awaited { event_id, expected, .. }) = self.awaited.take() {
            let is_answered = matches!(expected, Expected::Anything | Expected::Silence);
            promise!(is_answered, "{event_id} should have been answered by {expected:?}");
        }
        if let Some(asking) = self.asking.take() {
            asking.settled(core)?;
        }
        self.sidebands.settled(self.is_open)?;
        let audible = self.is_prompt.then(|| self.answers.audible());
        self.ear.settled(audible)?;
        if self.is_prompt {
            self.answers.settled(self.ear.packets(), core.stats().underruns, &self.items)?;
        }
        self.holding_settled(now)?;
        self.compare(core)
    }

    fn holding_settled(&mut self, now: Instant) -> Verdict {
        let Some(holds) = self.holds.as_mut().filter(|_| self.ends == 0) else { return Ok(()) };
        match holds.settled(now, self.answers.audible().len(), self.answers.playing())? {
            Some(Change::Held) => self.figures.held += 1,
            Some(Change::Resumed) => self.figures.resumed += 1,
            Some(Change::Told) => self.figures.held_and_told += 1,
            None => {}
        }
        Ok(())
    }

    /// The books of the whole call.
    pub(super) fn finish(mut self, core: &DialogueCore) -> Result<Figures, String> {
        (self.figures.held_calls, self.figures.approved_calls) = self.calls.finish()?;
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
