//! The caller's turns on their way into the conversation.

use std::collections::VecDeque;
use std::time::Duration;

use voxgate_protocol::id::ItemId;

use crate::asker::Asker;

/// Most turns whose speech is remembered; a turn is forgotten once its transcript is known.
const MOST_TURNS: usize = 64;

/// Most manual commits awaiting their answer.
const MOST_COMMITS: usize = 64;

struct Speech {
    item_id: ItemId,
    started: Duration,
    stopped: Option<Duration>,
}

/// When the caller spoke, and which commits of the client are not answered yet.
#[derive(Default)]
pub(crate) struct Input {
    speech: VecDeque<Speech>,
    commits: VecDeque<Asker>,
    /// The first half of a sample whose second half comes with the next message.
    half_sample: Option<u8>,
}

impl Input {
    pub(crate) fn speech_started(&mut self, item_id: &ItemId, at: Duration) {
        if self.speech.len() >= MOST_TURNS {
            self.speech.pop_front();
        }
        self.speech.push_back(Speech { item_id: item_id.clone(), started: at, stopped: None });
    }

    pub(crate) fn speech_stopped(&mut self, item_id: &ItemId, at: Duration) {
        if let Some(speech) = self.speech.iter_mut().rfind(|speech| speech.item_id == *item_id) {
            speech.stopped = Some(at);
        }
    }

    /// Whether the item is being spoken or waits for its transcript.
    pub(crate) fn knows(&self, item_id: &ItemId) -> bool {
        self.speech.iter().any(|speech| speech.item_id == *item_id)
    }

    /// Whether the end of the item's speech was reported.
    pub(crate) fn has_stopped(&self, item_id: &ItemId) -> bool {
        self.speech.iter().any(|speech| speech.item_id == *item_id && speech.stopped.is_some())
    }

    /// Forgets a turn and says how long it was; zero if its end was never reported.
    pub(crate) fn finish(&mut self, item_id: &ItemId) -> Duration {
        let Some(index) = self.speech.iter().rposition(|speech| speech.item_id == *item_id) else {
            return Duration::ZERO;
        };
        let speech = self.speech.remove(index);
        speech.and_then(|speech| Some(speech.stopped?.saturating_sub(speech.started))).unwrap_or_default()
    }

    pub(crate) fn commit_asked(&mut self, asker: Asker) {
        if self.commits.len() >= MOST_COMMITS {
            self.commits.pop_front();
        }
        self.commits.push_back(asker);
    }

    /// The oldest commit without an answer.
    pub(crate) fn take_commit(&mut self) -> Option<Asker> {
        self.commits.pop_front()
    }

    /// Joins a sample that was cut between two messages. The result has an even length.
    pub(crate) fn whole_samples(&mut self, bytes: Vec<u8>) -> Vec<u8> {
        let mut joined = bytes;
        if let Some(half) = self.half_sample.take() {
            joined.insert(0, half);
        }
        if joined.len() % 2 == 1 {
            self.half_sample = joined.pop();
        }
        joined
    }

    pub(crate) fn forget_half_sample(&mut self) {
        self.half_sample = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_cut_between_two_messages_is_joined() {
        let mut input = Input::default();
        assert_eq!(input.whole_samples(vec![1, 2, 3]), [1, 2]);
        assert_eq!(input.whole_samples(vec![4, 5]), [3, 4]);
        assert_eq!(input.whole_samples(vec![6]), [5, 6]);
        assert_eq!(input.whole_samples(Vec::new()), [0_u8; 0]);
    }

    #[test]
    fn the_length_of_a_turn_is_known_once() {
        let mut input = Input::default();
        let id = ItemId::from("item_1");
        input.speech_started(&id, Duration::from_secs(2));
        input.speech_stopped(&id, Duration::from_secs(5));
        assert_eq!(input.finish(&id), Duration::from_secs(3));
        assert_eq!(input.finish(&id), Duration::ZERO);
    }
}
