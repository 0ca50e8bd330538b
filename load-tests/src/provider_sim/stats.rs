//! What a simulator has seen.

use std::collections::BTreeMap;

/// One `conversation.item.truncate`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Truncation {
    /// The item.
    pub item_id: String,
    /// The content part.
    pub content_index: u64,
    /// What the client says was heard, in milliseconds.
    pub audio_end_ms: u64,
    /// How much audio of the item had been sent by then, in milliseconds.
    pub sent_ms: u64,
}

/// Something a session saw or did.
#[derive(Clone, Debug, PartialEq)]
pub enum Seen {
    /// A client event of this type.
    Event(String),
    /// This many samples of the caller at 24 kHz.
    Audio(u64),
    /// An item was cut.
    Truncated(Truncation),
    /// A response was begun.
    ResponseStarted,
    /// A response ended with this status.
    ResponseDone(String),
    /// This many samples of an answer at 24 kHz were sent.
    Spoken(u64),
    /// A turn of the caller was committed; this many samples.
    Committed(u64),
    /// An `error` event with this code was sent.
    Error(String),
    /// The session object after an update.
    Session(serde_json::Value),
}

/// Totals over all connections.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SimStats {
    /// WebSocket requests accepted.
    pub connections: u64,
    /// WebSocket requests refused.
    pub refused: u64,
    /// Connections that ended.
    pub closed: u64,
    /// Client events by type.
    pub events: BTreeMap<String, u64>,
    /// Samples of callers at 24 kHz.
    pub samples_in: u64,
    /// Samples of answers at 24 kHz.
    pub samples_out: u64,
    /// Lengths of committed turns in samples at 24 kHz, in order.
    pub turns: Vec<u64>,
    /// Every truncation that was carried out, in order.
    pub truncations: Vec<Truncation>,
    /// Responses begun.
    pub responses: u64,
    /// Statuses of ended responses, in order.
    pub done: Vec<String>,
    /// Codes of errors sent, in order.
    pub errors: Vec<String>,
    /// The session object of the latest update.
    pub session: serde_json::Value,
}

impl SimStats {
    /// How many client events of a type came.
    #[must_use]
    pub fn count(&self, kind: &str) -> u64 {
        self.events.get(kind).copied().unwrap_or(0)
    }

    /// Adds what a session has seen.
    pub fn add(&mut self, seen: Seen) {
        match seen {
            Seen::Event(kind) => *self.events.entry(kind).or_default() += 1,
            Seen::Audio(samples) => self.samples_in += samples,
            Seen::Truncated(truncation) => self.truncations.push(truncation),
            Seen::ResponseStarted => self.responses += 1,
            Seen::ResponseDone(status) => self.done.push(status),
            Seen::Spoken(samples) => self.samples_out += samples,
            Seen::Committed(samples) => self.turns.push(samples),
            Seen::Error(code) => self.errors.push(code),
            Seen::Session(session) => self.session = session,
        }
    }
}
