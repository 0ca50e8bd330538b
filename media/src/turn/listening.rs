//! What a turn makes of somebody who listens to its sound: when that listener is asked, how long the turn waits for the
//! verdict, and how long the verdict counts.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use voxgate_protocol::audio::Pcm;

/// The pause after which the listener is asked: longer than the stops inside words, shorter than any pause that ends a
/// turn of [`PauseRule::Adaptive`](super::PauseRule::Adaptive).
const ASK_AFTER: Duration = Duration::from_millis(160);

/// Speech after which a verdict no longer counts: shorter than the shortest word, longer than a click.
const VERDICT_OUTLIVES: Duration = Duration::from_millis(100);

/// Estimates from the sound of a turn whether it is over. It may take a while and must not be called where audio waits;
/// its verdict comes back to the session as an input.
pub trait TurnListener: fmt::Debug + Send + Sync {
    /// How likely the caller is done, 0 to 1, from the end of what they said, the pause at its end included; `None` if
    /// that cannot be told.
    fn estimate(&self, speech: &Pcm) -> Option<f32>;
}

/// Names a question to a [`TurnListener`] within its session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Question(pub u64);

/// How a session makes use of its listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListeningRule {
    /// The most the listener hears: the end of the turn up to the question.
    pub window: Duration,
    /// No pause shorter than this ends a turn while a verdict is awaited; after it the words decide, or the usual pause.
    pub patience: Duration,
}

/// The questions of one stream of audio, one in a pause at most.
#[derive(Debug)]
pub(super) struct Listening {
    patience: Duration,
    asked: u64,
    current: Option<Asked>,
}

/// The question of the pause that goes on.
#[derive(Debug)]
struct Asked {
    question: Question,
    /// What came back: nothing yet, or that it cannot be told, or how likely the caller is done.
    verdict: Option<Option<f32>>,
    /// What the caller said since.
    spoken: Duration,
}

impl Listening {
    pub(super) const fn new(rule: ListeningRule) -> Self {
        Self { patience: rule.patience, asked: 0, current: None }
    }

    /// The caller has been silent for so long; the question to ask about it.
    pub(super) fn pause(&mut self, paused: Duration) -> Option<Question> {
        if self.current.is_some() || paused < ASK_AFTER {
            return None;
        }
        self.asked += 1;
        let question = Question(self.asked);
        self.current = Some(Asked { question, verdict: None, spoken: Duration::ZERO });
        Some(question)
    }

    /// The caller spoke for so long.
    pub(super) fn speech(&mut self, spoken: Duration) {
        if let Some(asked) = &mut self.current {
            asked.spoken += spoken;
            if asked.spoken >= VERDICT_OUTLIVES {
                self.current = None;
            }
        }
    }

    /// Takes a verdict. False if its question is no longer open.
    pub(super) fn hear(&mut self, question: Question, probability: Option<f32>) -> bool {
        let open =
            self.current.as_mut().filter(|asked| asked.question == question && asked.verdict.is_none());
        let Some(asked) = open else { return false };
        asked.verdict = Some(probability.filter(|probability| !probability.is_nan()));
        true
    }

    /// Whether a pause of this length has to go on because a verdict is still to come.
    pub(super) fn waits(&self, paused: Duration) -> bool {
        paused < self.patience && self.current.as_ref().is_some_and(|asked| asked.verdict.is_none())
    }

    /// How likely the caller is done, if the listener could tell.
    pub(super) fn verdict(&self) -> Option<f32> {
        self.current.as_ref()?.verdict?
    }

    /// The turn is over.
    pub(super) fn forget(&mut self) {
        self.current = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(milliseconds: u64) -> Duration {
        Duration::from_millis(milliseconds)
    }

    fn listening() -> Listening {
        Listening::new(ListeningRule { window: ms(8_000), patience: ms(600) })
    }

    #[test]
    fn a_pause_is_asked_about_once() {
        let mut listening = listening();
        assert_eq!(listening.pause(ms(144)), None);
        assert_eq!(listening.pause(ms(160)), Some(Question(1)));
        assert_eq!(listening.pause(ms(5_000)), None);
        listening.forget();
        assert_eq!(listening.pause(ms(160)), Some(Question(2)));
    }

    #[test]
    fn a_verdict_counts_for_its_own_question_and_only_once() {
        let mut listening = listening();
        assert!(!listening.hear(Question(1), Some(0.9)), "nobody asked");
        listening.pause(ms(200));
        assert!(!listening.hear(Question(2), Some(0.9)), "another question");
        assert!(listening.hear(Question(1), Some(0.9)));
        assert!(!listening.hear(Question(1), Some(0.1)), "answered already");
        assert_eq!(listening.verdict(), Some(0.9));
    }

    #[test]
    fn a_click_leaves_a_verdict_and_a_word_takes_it_away() {
        let mut listening = listening();
        listening.pause(ms(200));
        listening.hear(Question(1), Some(0.9));
        listening.speech(ms(48));
        assert_eq!(listening.verdict(), Some(0.9));
        listening.speech(ms(52));
        assert_eq!(listening.verdict(), None);
    }

    #[test]
    fn a_pause_waits_for_a_verdict_until_it_is_there_or_patience_ends() {
        let mut listening = listening();
        assert!(!listening.waits(ms(0)));
        listening.pause(ms(200));
        assert!(listening.waits(ms(599)) && !listening.waits(ms(600)));
        listening.hear(Question(1), None);
        assert!(!listening.waits(ms(200)));
        assert_eq!(listening.verdict(), None);
        listening.forget();
        listening.pause(ms(200));
        assert!(listening.hear(Question(2), Some(f32::NAN)) && listening.verdict().is_none());
    }
}
