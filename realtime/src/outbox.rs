//! What waits to leave the adapter, in order.

use std::collections::VecDeque;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use serde_json::Value;
use voxgate_protocol::audio::Pcm;
use voxgate_protocol::id::{EventId, IdSource};
use voxgate_protocol::session::SessionCommand;

use crate::asker::{Origin, SidebandId};

/// Most bytes of events kept for a data channel that is not open yet.
const MOST_HELD_BYTES: usize = 1024 * 1024;

/// What the adapter wants done.
#[derive(Clone, PartialEq)]
pub enum AdapterOutput {
    /// Send this text message to the client.
    ToClient(String),
    /// Send this text message to every sideband connection.
    ToSidebands(String),
    /// Send this text message to one sideband connection.
    ToSideband(SidebandId, String),
    /// Hand this to the session core.
    Command(SessionCommand),
}

/// Names the kind only: a message holds what was said.
impl std::fmt::Debug for AdapterOutput {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::ToClient(text) => write!(f, "ToClient({} bytes)", text.len()),
            Self::ToSidebands(text) => write!(f, "ToSidebands({} bytes)", text.len()),
            Self::ToSideband(id, text) => write!(f, "ToSideband({}, {} bytes)", id.0, text.len()),
            Self::Command(_) => f.write_str("Command(..)"),
        }
    }
}

/// The fields of a piece of audio before the audio.
#[derive(Serialize)]
struct AudioHead<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    event_id: &'a str,
    response_id: &'a str,
    item_id: &'a str,
    output_index: usize,
    content_index: usize,
}

enum Channel {
    /// Events wait for the channel; their bytes are counted.
    Waiting {
        held: Vec<String>,
        bytes: usize,
    },
    /// Too much waited, so the client starts with what comes after the opening.
    Missed,
    Open,
}

/// The queue. Commands leave at once, events once the channel is open.
pub(crate) struct Outbox {
    ids: IdSource,
    ready: VecDeque<AdapterOutput>,
    channel: Channel,
    /// Somebody listens beside the client, and hears events even before the client's own channel is open.
    has_sidebands: bool,
}

impl Outbox {
    pub(crate) fn new(seed: u64) -> Self {
        let channel = Channel::Waiting { held: Vec::new(), bytes: 0 };
        Self { ids: IdSource::new(seed), ready: VecDeque::new(), channel, has_sidebands: false }
    }

    /// 128 bits for an id.
    pub(crate) fn next_bits(&mut self) -> u128 {
        self.ids.next_bits()
    }

    pub(crate) fn pop(&mut self) -> Option<AdapterOutput> {
        self.ready.pop_front()
    }

    pub(crate) fn command(&mut self, command: SessionCommand) {
        self.ready.push_back(AdapterOutput::Command(command));
    }

    /// From now on events go to sideband connections too, or no more.
    pub(crate) const fn set_sidebands(&mut self, has_sidebands: bool) {
        self.has_sidebands = has_sidebands;
    }

    /// Sends what answers an event of one connection. The client's answers are part of what everybody sees; those to a
    /// sideband connection concern nobody else.
    pub(crate) fn reply(&mut self, to: Origin, kind: &'static str, body: Value) {
        match to {
            Origin::Client => self.event(kind, body),
            Origin::Sideband(id) => {
                let text = self.message(kind, body);
                self.ready.push_back(AdapterOutput::ToSideband(id, text));
            }
        }
    }

    /// Sends an event; type and event id are added to the body.
    pub(crate) fn event(&mut self, kind: &'static str, body: Value) {
        let text = self.message(kind, body);
        self.say(text);
    }

    /// Sends a piece of audio. It comes fifty times a second, and base64 needs no escapes: it is written once, without a tree of
    /// values.
    pub(crate) fn audio(&mut self, (response_id, item_id): (&str, &str), place: [usize; 2], pcm: &Pcm) {
        let [output_index, content_index] = place;
        let event_id = EventId::from_random(self.ids.next_bits());
        let head = AudioHead {
            kind: "response.output_audio.delta",
            event_id: event_id.as_str(),
            response_id,
            item_id,
            output_index,
            content_index,
        };
        // Texts and numbers always become JSON.
        let Ok(mut text) = serde_json::to_string(&head) else { return };
        text.pop();
        text.push_str(",\"delta\":\"");
        STANDARD.encode_string(pcm.to_le_bytes(), &mut text);
        text.push_str("\"}");
        self.say(text);
    }

    fn say(&mut self, text: String) {
        if self.has_sidebands {
            self.ready.push_back(AdapterOutput::ToSidebands(text.clone()));
        }
        match &mut self.channel {
            Channel::Open => self.ready.push_back(AdapterOutput::ToClient(text)),
            Channel::Missed => {}
            Channel::Waiting { held, bytes } => {
                *bytes += text.len();
                held.push(text);
                if *bytes > MOST_HELD_BYTES {
                    self.channel = Channel::Missed;
                }
            }
        }
    }

    /// The channel is open: the given event is the first, for the client alone, what waited follows. A second call does
    /// nothing.
    pub(crate) fn open(&mut self, kind: &'static str, body: Value) {
        if matches!(self.channel, Channel::Open) {
            return;
        }
        let first = self.message(kind, body);
        self.ready.push_back(AdapterOutput::ToClient(first));
        if let Channel::Waiting { held, .. } = std::mem::replace(&mut self.channel, Channel::Open) {
            self.ready.extend(held.into_iter().map(AdapterOutput::ToClient));
        }
    }

    fn message(&mut self, kind: &'static str, mut body: Value) -> String {
        if let Value::Object(fields) = &mut body {
            let event_id = EventId::from_random(self.ids.next_bits());
            fields.insert("type".to_owned(), kind.into());
            fields.insert("event_id".to_owned(), event_id.as_str().into());
        }
        body.to_string()
    }
}
