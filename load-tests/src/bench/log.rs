//! What was seen on the two wires of the gateway, on one clock.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

/// One observation. Callers are named by the SSRC of their RTP stream, sessions by the number in their model
/// name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sight {
    /// An audio packet of a caller is about to be sent to the gateway.
    Sent {
        /// Whose.
        ssrc: u32,
        /// Its size on the wire in bytes.
        size: usize,
    },
    /// An audio packet of the gateway has come.
    Came {
        /// For whom.
        ssrc: u32,
        /// Whether it begins a talkspurt (RTP marker bit).
        begins: bool,
    },
    /// Audio of a caller has reached the provider.
    Heard {
        /// Of which session.
        session: usize,
        /// Whether it is more than silence.
        is_loud: bool,
    },
    /// The first audio of an answer is about to be written by the provider.
    Answered {
        /// In which session.
        session: usize,
    },
}

/// A sight and when it was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// When.
    pub at: Instant,
    /// What.
    pub sight: Sight,
}

/// The shared list. Cloning shares it.
#[derive(Clone, Debug, Default)]
pub struct Log(Arc<Mutex<Vec<Entry>>>);

impl Log {
    /// Adds what was seen at a time.
    pub fn add(&self, at: Instant, sight: Sight) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(Entry { at, sight });
    }

    /// Everything since the last call.
    #[must_use]
    pub fn take(&self) -> Vec<Entry> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
