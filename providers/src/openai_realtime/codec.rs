//! Neutral commands to JSON frames and JSON frames to neutral events.

use std::collections::VecDeque;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use voxgate_protocol::audio::{Pcm, SampleRate};
use voxgate_protocol::bridge::{BridgeCommand, BridgeTraits, TurnOwner};
use voxgate_protocol::conversation::{InputItem, Item, Position};
use voxgate_protocol::id::{ItemId, ResponseId};
use voxgate_protocol::settings::SessionSettings;

use super::answers::Answers;
use super::item::item_object;
use super::names::InputNames;
use super::settings::{OwnChoices, milliseconds, response_object, session_object};

mod decode;
#[cfg(test)]
mod tests;

/// The only PCM rate of this wire.
const RATE: SampleRate = SampleRate::HZ_24000;

/// Commands that wait for the name of a turn. A vendor answers a commit at once.
const MOST_DEFERRED: usize = 64;

/// What a session begins with.
#[derive(Clone, Debug)]
pub struct OpenAiOptions {
    /// Who finds the end of the caller's turn. The gateway: `turn_detection` is sent as null.
    pub turn_owner: TurnOwner,
    /// Sent when the vendor has created the session.
    pub settings: SessionSettings,
    /// The recognition model where the client names none, also for a client that does not want to see its words: without
    /// them its turns could not be told to another connection. `None`: whatever the vendor does by itself.
    pub transcription_model: Option<String>,
}

/// How far the session's setup is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Nothing was received.
    Connecting,
    /// The settings were sent.
    Configuring,
    /// The vendor has taken the settings.
    Ready,
}

/// What an event we sent was for, so that a vendor's complaint about it is understood. It travels in `event_id`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Purpose {
    Configure,
    Commit,
    Silence,
    Clear,
    Item,
    Restore,
    Delete,
    Answer,
    Cancel,
    Truncate,
}

impl Purpose {
    const ALL: [(Self, &'static str); 10] = [
        (Self::Configure, "configure"),
        (Self::Commit, "commit"),
        (Self::Silence, "silence"),
        (Self::Clear, "clear"),
        (Self::Item, "item"),
        (Self::Restore, "restore"),
        (Self::Delete, "delete"),
        (Self::Answer, "answer"),
        (Self::Cancel, "cancel"),
        (Self::Truncate, "truncate"),
    ];

    fn name(self) -> &'static str {
        Self::ALL.iter().find(|(purpose, _)| *purpose == self).map_or("event", |(_, name)| name)
    }

    /// Reads an id made by [`Codec::event_id`].
    fn parse(event_id: &str) -> Option<(Self, u64)> {
        let (name, number) = event_id.rsplit_once('_')?;
        let (purpose, _) = Self::ALL.into_iter().find(|(_, known)| *known == name)?;
        Some((purpose, number.parse().ok()?))
    }
}

/// One session with a vendor that speaks the OpenAI Realtime API.
///
/// Pure: text in, events out; commands in, text out. Memory is bounded whatever the vendor sends, and no input panics.
#[derive(Debug)]
pub struct Codec {
    turn_owner: TurnOwner,
    settings: SessionSettings,
    transcription_model: Option<String>,
    phase: Phase,
    transmit: VecDeque<String>,
    /// Commands that name a turn whose commit the vendor has not answered, and what must not overtake them.
    deferred: VecDeque<BridgeCommand>,
    answers: Answers,
    names: InputNames,
    sent: u64,
    /// The number of the last `response.create` the vendor has not answered.
    awaited: Option<u64>,
    /// First halves of samples that a vendor cut in two, with the item they belong to.
    half_sample: Option<(ItemId, u8)>,
    skipped: Duration,
    ignored: u64,
}

impl Codec {
    /// A session that has not begun.
    #[must_use]
    pub fn new(options: OpenAiOptions) -> Self {
        Self {
            turn_owner: options.turn_owner,
            settings: options.settings,
            transcription_model: options.transcription_model,
            phase: Phase::Connecting,
            transmit: VecDeque::new(),
            deferred: VecDeque::new(),
            answers: Answers::default(),
            names: InputNames::default(),
            sent: 0,
            awaited: None,
            half_sample: None,
            skipped: Duration::ZERO,
            ignored: 0,
        }
    }

    /// What this wire needs and does.
    #[must_use]
    pub const fn traits(turn_owner: TurnOwner, transcribes: bool) -> BridgeTraits {
        BridgeTraits { input_rate: RATE, output_rate: RATE, turn_owner, truncates: true, transcribes }
    }

    /// The next JSON text frame the codec has to send on its own account.
    pub fn poll_transmit(&mut self) -> Option<String> {
        self.transmit.pop_front()
    }

    /// Whether the vendor has taken the settings. Commands may be encoded from then on.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.phase == Phase::Ready
    }

    /// Whether an answer is in progress or was asked for, so that the vendor must not be silent.
    #[must_use]
    pub fn is_answering(&self) -> bool {
        self.answers.is_active() || self.awaited.is_some() || !self.deferred.is_empty()
    }

    /// Vendor events left out so far: unknown, malformed, or about something that has ended.
    #[must_use]
    pub const fn ignored(&self) -> u64 {
        self.ignored
    }

    /// Audio of the caller that the vendor never got. Its positions are moved by as much, so that they count what
    /// the gateway has sent.
    pub fn skip_audio(&mut self, duration: Duration) {
        self.skipped = self.skipped.saturating_add(duration);
    }

    /// The JSON text frames of a command, in order; none if the vendor need not know, or not yet.
    pub fn encode(&mut self, command: &BridgeCommand) -> Vec<String> {
        if self.has_to_wait(command) {
            self.deferred.push_back(command.clone());
            return Vec::new();
        }
        self.encode_now(command)
    }

    /// The vendor's name of a turn is known once it answers the commit. What names the turn waits for it, and what is about
    /// items or answers does not overtake that. If too much waits, it is sent as it is.
    fn has_to_wait(&self, command: &BridgeCommand) -> bool {
        if self.deferred.len() >= MOST_DEFERRED {
            return false;
        }
        let is_pending = |item_id: &ItemId| self.names.is_pending(item_id);
        match command {
            BridgeCommand::CreateItem { position: Position::After(item_id), .. }
            | BridgeCommand::RestoreItem { position: Position::After(item_id), .. }
            | BridgeCommand::DeleteItem { item_id } => !self.deferred.is_empty() || is_pending(item_id),
            BridgeCommand::CreateResponse(options) => {
                let named = options.input.iter().flatten().filter_map(|item| match item {
                    InputItem::Reference(item_id) => Some(item_id),
                    InputItem::New(_) => None,
                });
                !self.deferred.is_empty() || named.into_iter().any(is_pending)
            }
            BridgeCommand::CreateItem { .. }
            | BridgeCommand::RestoreItem { .. }
            | BridgeCommand::CancelResponse { .. } => !self.deferred.is_empty(),
            _ => false,
        }
    }

    /// Sends what need not wait any more.
    fn send_deferred(&mut self) {
        for command in std::mem::take(&mut self.deferred) {
            let frames = self.encode(&command);
            self.transmit.extend(frames);
        }
    }

    fn encode_now(&mut self, command: &BridgeCommand) -> Vec<String> {
        let frame = match command {
            BridgeCommand::Configure(settings) => Some(self.configure(settings)),
            BridgeCommand::Audio(pcm) => (!pcm.is_empty()).then(|| append(pcm)),
            BridgeCommand::CommitInput { item_id, is_silence } => Some(self.commit(item_id, *is_silence)),
            BridgeCommand::ClearInput => {
                let event_id = self.event_id(Purpose::Clear);
                Some(json!({ "type": "input_audio_buffer.clear", "event_id": event_id }).to_string())
            }
            BridgeCommand::CreateItem { item, position } => {
                Some(self.create_item(Purpose::Item, item, position))
            }
            BridgeCommand::RestoreItem { item, position } => {
                Some(self.create_item(Purpose::Restore, item, position))
            }
            BridgeCommand::DeleteItem { item_id } => Some(self.delete_item(item_id)),
            BridgeCommand::CreateResponse(options) => {
                let event_id = self.event_id(Purpose::Answer);
                self.awaited = Some(self.sent);
                let response = response_object(options, &self.names);
                Some(
                    json!({ "type": "response.create", "event_id": event_id, "response": response })
                        .to_string(),
                )
            }
            BridgeCommand::CancelResponse { response_id } => self.cancel(response_id.as_ref()),
            BridgeCommand::Truncate { item_id, content_index, heard } => {
                self.truncate(item_id, *content_index, *heard)
            }
        };
        frame.into_iter().collect()
    }

    fn event_id(&mut self, purpose: Purpose) -> String {
        self.sent += 1;
        format!("{}_{}", purpose.name(), self.sent)
    }

    fn configure(&mut self, settings: &SessionSettings) -> String {
        let session = session_object(settings, Some(&self.settings), self.own_choices());
        self.settings = settings.clone();
        self.session_update(&session)
    }

    fn own_choices(&self) -> OwnChoices<'_> {
        OwnChoices { turn_owner: self.turn_owner, transcription_model: self.transcription_model.as_deref() }
    }

    fn configure_first(&mut self) {
        let session = session_object(&self.settings, None, self.own_choices());
        let frame = self.session_update(&session);
        self.transmit.push_back(frame);
    }

    fn session_update(&mut self, session: &Value) -> String {
        let event_id = self.event_id(Purpose::Configure);
        json!({ "type": "session.update", "event_id": event_id, "session": session }).to_string()
    }

    fn commit(&mut self, item_id: &ItemId, is_silence: bool) -> String {
        let event_id = self.event_id(if is_silence { Purpose::Silence } else { Purpose::Commit });
        self.names.commit_sent(self.sent, item_id.clone());
        json!({ "type": "input_audio_buffer.commit", "event_id": event_id }).to_string()
    }

    fn create_item(&mut self, purpose: Purpose, item: &Item, position: &Position) -> String {
        let event_id = self.event_id(purpose);
        let item = item_object(&self.names.introduced(&item.id), &item.kind);
        let mut event = json!({ "type": "conversation.item.create", "event_id": event_id, "item": item });
        match position {
            Position::Last => {}
            Position::First => event["previous_item_id"] = json!("root"),
            Position::After(item_id) => event["previous_item_id"] = json!(self.names.vendors(item_id)),
        }
        event.to_string()
    }

    fn delete_item(&mut self, item_id: &ItemId) -> String {
        let event_id = self.event_id(Purpose::Delete);
        let vendor = self.names.vendors(item_id);
        json!({ "type": "conversation.item.delete", "event_id": event_id, "item_id": vendor }).to_string()
    }

    /// An answer that is known to have ended is not cancelled: the vendor would answer with an error.
    fn cancel(&mut self, response_id: Option<&ResponseId>) -> Option<String> {
        if response_id.is_some_and(|known| !self.answers.is_open(known)) {
            return None;
        }
        let event_id = self.event_id(Purpose::Cancel);
        let mut event = json!({ "type": "response.cancel", "event_id": event_id });
        if let Some(known) = response_id {
            event["response_id"] = json!(known.as_str());
        }
        Some(event.to_string())
    }

    /// A vendor refuses to cut behind the end of what it said, and at zero. An item that was never heard is
    /// deleted; one that was heard to its end stays as it is.
    fn truncate(&mut self, item_id: &ItemId, content_index: u32, heard: Duration) -> Option<String> {
        let (received, is_done) = self.answers.spoken(item_id, RATE)?;
        if is_done && heard >= received {
            return None;
        }
        let heard_ms = milliseconds(heard.min(received));
        if heard_ms == 0 {
            return Some(self.delete_item(item_id));
        }
        let event_id = self.event_id(Purpose::Truncate);
        Some(
            json!({
                "type": "conversation.item.truncate",
                "event_id": event_id,
                "item_id": item_id.as_str(),
                "content_index": content_index,
                "audio_end_ms": heard_ms,
            })
            .to_string(),
        )
    }
}

/// Written by hand, fifty times a second: base64 needs no escaping.
fn append(pcm: &Pcm) -> String {
    let mut frame = String::from("{\"type\":\"input_audio_buffer.append\",\"audio\":\"");
    STANDARD.encode_string(pcm.to_le_bytes(), &mut frame);
    frame.push_str("\"}");
    frame
}
