//! Speech over an answer of which nobody knows yet whether it interrupts.

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use voxgate_protocol::id::ItemId;

use crate::turn::Backchannels;

use super::input::Arrival;

/// A pause this long after backchannels is the end of them: longer than the stop between "uh" and "huh".
const AFTER_BACKCHANNEL: Duration = Duration::from_millis(300);

/// Backchannels that go on for longer are more than that.
const LONGEST_BACKCHANNEL: Duration = Duration::from_millis(1_500);

/// When speech over an answer interrupts it. Until that is known the answer is held: silent, and not given up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InterruptionRule {
    /// Speech of this length interrupts even if its words are not known.
    pub minimum_speech: Duration,
    /// The answer goes on this long after a sound of which no words became known.
    pub resume_after: Duration,
    /// Words that do not interrupt. Empty: every word does.
    pub backchannels: Backchannels,
}

/// What is known of the words.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Words {
    /// The recogniser has said nothing.
    #[default]
    Unknown,
    /// It heard sound without words.
    None,
    Backchannels,
    Meaning,
}

/// The end of the turn that may be none.
#[derive(Clone, Copy, Debug)]
pub(super) struct End {
    pub(super) at: Duration,
    pub(super) arrival: Option<Arrival>,
}

/// What to do with a held answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Wait,
    Interrupt,
    Resume,
}

/// A held answer and the speech it is held for.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) item_id: ItemId,
    /// Where the speech began.
    pub(super) at: Duration,
    /// When the answer fell silent.
    pub(super) since: Instant,
    /// Set once the pause was long enough to end a turn.
    pub(super) end: Option<End>,
    words: Words,
}

impl Held {
    pub(super) const fn new(item_id: ItemId, at: Duration, since: Instant) -> Self {
        Self { item_id, at, since, end: None, words: Words::Unknown }
    }

    /// The recogniser says what was spoken so far.
    pub(super) fn hear(&mut self, words: &str, rule: &InterruptionRule) {
        self.words = if !words.chars().any(char::is_alphanumeric) {
            Words::None
        } else if rule.backchannels.are_all(words) {
            Words::Backchannels
        } else {
            Words::Meaning
        };
    }

    /// Whether its words say only that somebody listens.
    pub(super) fn is_backchannel(&self) -> bool {
        self.words == Words::Backchannels
    }

    /// Decides after this much speech, and this long after it.
    pub(super) fn judge(&self, rule: &InterruptionRule, spoken: Duration, quiet: Duration) -> Verdict {
        let is_long = match self.words {
            Words::Meaning => true,
            Words::Backchannels => spoken > LONGEST_BACKCHANNEL,
            Words::Unknown | Words::None => spoken >= rule.minimum_speech,
        };
        let is_over = match self.words {
            Words::Backchannels => quiet >= AFTER_BACKCHANNEL,
            Words::None => self.end.is_some(),
            Words::Unknown | Words::Meaning => false,
        };
        if is_long {
            Verdict::Interrupt
        } else if is_over || quiet >= rule.resume_after {
            Verdict::Resume
        } else {
            Verdict::Wait
        }
    }
}
