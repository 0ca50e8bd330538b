//! What a judge outside says about words, and when it is asked.

use serde::Deserialize;
use thiserror::Error;

use super::Hidden;

/// Longest answer of a judge, in bytes.
pub const LONGEST_OPINION: usize = 16 * 1024;

/// Longest sentence a judge may have said, in characters.
const LONGEST_SENTENCE: usize = 500;

/// Most phrases of one answer that are to be hidden.
const MOST_PHRASES: usize = 32;

/// Longest of them, in characters.
const LONGEST_PHRASE: usize = 200;

/// Words of one item that a judge is shown, in bytes: the newest.
const SHOWN: usize = 8 * 1024;

/// New words without the end of a sentence after which a judge is asked all the same, in bytes.
const LONGEST_WAIT: usize = 240;

/// What a judge wants done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Opinion {
    /// Nothing.
    Pass,
    /// Count it.
    Note,
    /// Hide these words from now on, where words go on as text.
    Mask {
        /// The words.
        words: Hidden,
    },
    /// Take the answer back and say this; without a sentence, the one of the configuration.
    Replace {
        /// The sentence.
        say: Option<String>,
    },
    /// End the call.
    End,
}

/// Why an answer is no opinion.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum OpinionError {
    /// More than [`LONGEST_OPINION`].
    #[error("the answer is longer than {LONGEST_OPINION} bytes")]
    TooLong,
    /// No JSON object with a known `act`.
    #[error("the answer is no JSON object whose act is pass, note, mask, replace or end")]
    Malformed,
    /// Nothing a voice could say.
    #[error("the sentence to say is empty, has several lines or more than {LONGEST_SENTENCE} characters")]
    Sentence,
    /// Nothing that can be hidden.
    #[error(
        "the words to hide are none, more than {MOST_PHRASES}, blank or longer than {LONGEST_PHRASE} characters"
    )]
    Words,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum WrittenAct {
    Pass,
    Note,
    Mask,
    Replace,
    End,
}

#[derive(Deserialize)]
struct Written {
    act: WrittenAct,
    say: Option<String>,
    #[serde(default)]
    words: Vec<String>,
}

impl Opinion {
    /// Reads the body of an answer. Fields nobody knows are for somebody else.
    ///
    /// # Errors
    /// The [`OpinionError`] that applies.
    pub fn parse(body: &[u8]) -> Result<Self, OpinionError> {
        if body.len() > LONGEST_OPINION {
            return Err(OpinionError::TooLong);
        }
        let Written { act, say, words } =
            serde_json::from_slice(body).map_err(|_| OpinionError::Malformed)?;
        Ok(match act {
            WrittenAct::Pass => Self::Pass,
            WrittenAct::Note => Self::Note,
            WrittenAct::End => Self::End,
            WrittenAct::Mask if can_be_hidden(&words) => Self::Mask { words: Hidden::new(words) },
            WrittenAct::Mask => return Err(OpinionError::Words),
            WrittenAct::Replace if say.as_deref().is_none_or(is_sentence) => Self::Replace { say },
            WrittenAct::Replace => return Err(OpinionError::Sentence),
        })
    }
}

fn is_sentence(say: &str) -> bool {
    let is_long = say.chars().nth(LONGEST_SENTENCE).is_some();
    !say.trim().is_empty() && !is_long && !say.chars().any(char::is_control)
}

fn can_be_hidden(words: &[String]) -> bool {
    let is_phrase =
        |phrase: &String| !phrase.trim().is_empty() && phrase.chars().nth(LONGEST_PHRASE).is_none();
    (1..=MOST_PHRASES).contains(&words.len()) && words.iter().all(is_phrase)
}

/// The words of one item on their way to a judge: shown at the ends of sentences, one question at a time, always with
/// everything before.
#[derive(Clone, Debug, Default)]
pub struct Consultation {
    words: String,
    /// How much of `words` was shown.
    shown: usize,
    is_asked: bool,
    is_complete: bool,
}

/// What a judge is shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Question {
    /// The item's words so far; of long ones the end.
    pub words: String,
    /// Whether nothing follows.
    pub is_complete: bool,
}

/// Without the words.
impl std::fmt::Debug for Question {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Question({} bytes, complete: {})", self.words.len(), self.is_complete)
    }
}

impl Consultation {
    /// The next piece.
    pub fn push(&mut self, piece: &str) {
        self.words.push_str(piece);
        if let Some(beyond) = self.words.len().checked_sub(SHOWN).filter(|beyond| *beyond > 0) {
            let cut = self.words.ceil_char_boundary(beyond);
            self.words.drain(..cut);
            self.shown = self.shown.saturating_sub(cut);
        }
    }

    /// The words are complete.
    pub const fn finish(&mut self) {
        self.is_complete = true;
    }

    /// Whether words were pushed.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.words.is_empty()
    }

    /// The question was answered, or will not be.
    pub const fn answered(&mut self) {
        self.is_asked = false;
    }

    /// Whether nothing will be asked any more.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.is_complete && !self.is_asked && self.shown == self.words.len()
    }

    /// The next question, if it is time for one and none is under way.
    pub fn poll_question(&mut self) -> Option<Question> {
        let fresh = self.words.get(self.shown..).unwrap_or_default();
        let is_due = self.is_complete || fresh.len() >= LONGEST_WAIT || ends_sentence(fresh);
        if self.is_asked || fresh.is_empty() || !is_due {
            return None;
        }
        self.is_asked = true;
        self.shown = self.words.len();
        Some(Question { words: self.words.clone(), is_complete: self.is_complete })
    }
}

fn ends_sentence(fresh: &str) -> bool {
    fresh.contains(['.', '!', '?', '\n', '。', '！', '？', '।', '؟'])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(question: Option<Question>) -> Option<(String, bool)> {
        question.map(|question| (question.words, question.is_complete))
    }

    #[test]
    fn every_act_is_understood_and_nothing_else() {
        let parse = |text: &str| Opinion::parse(text.as_bytes());
        assert_eq!(parse(r#"{"act": "pass", "other": 1}"#), Ok(Opinion::Pass));
        assert_eq!(parse(r#"{"act": "note"}"#), Ok(Opinion::Note));
        assert_eq!(parse(r#"{"act": "end"}"#), Ok(Opinion::End));
        assert_eq!(parse(r#"{"act": "replace"}"#), Ok(Opinion::Replace { say: None }));
        let say = Some("No.".to_owned());
        assert_eq!(parse(r#"{"act": "replace", "say": "No."}"#), Ok(Opinion::Replace { say }));
        for wrong in ["", "[]", "{}", r#"{"act": "hide"}"#, r#"{"act": 1}"#, r#"{"act": "pass"} {}"#] {
            assert_eq!(parse(wrong), Err(OpinionError::Malformed), "{wrong}");
        }
        for wrong in ["", "two\\nlines", &"x".repeat(LONGEST_SENTENCE + 1)] {
            let text = format!(r#"{{"act": "replace", "say": "{wrong}"}}"#);
            assert_eq!(parse(&text), Err(OpinionError::Sentence), "{wrong}");
        }
        let words = Hidden::new(["Ann".to_owned(), "Ann Smith".to_owned()]);
        assert_eq!(parse(r#"{"act": "mask", "words": ["Ann Smith", "Ann"]}"#), Ok(Opinion::Mask { words }));
        let many = format!(r#"{{"act": "mask", "words": [{}"x"]}}"#, r#""x","#.repeat(MOST_PHRASES));
        let long = format!(r#"{{"act": "mask", "words": ["{}"]}}"#, "x".repeat(LONGEST_PHRASE + 1));
        for wrong in [r#"{"act": "mask"}"#, r#"{"act": "mask", "words": ["x", " "]}"#, &many, &long] {
            assert_eq!(parse(wrong), Err(OpinionError::Words), "{wrong}");
        }
        assert_eq!(parse(&" ".repeat(LONGEST_OPINION + 1)), Err(OpinionError::TooLong));
    }

    #[test]
    fn a_judge_is_asked_at_the_ends_of_sentences_one_question_at_a_time() {
        let mut consultation = Consultation::default();
        consultation.push("You could");
        assert_eq!(consultation.poll_question(), None);
        consultation.push(" sue. And");
        assert_eq!(words(consultation.poll_question()), Some(("You could sue. And".to_owned(), false)));
        consultation.push(" then? ");
        assert_eq!(consultation.poll_question(), None, "one is under way");
        consultation.answered();
        let all = "You could sue. And then? ".to_owned();
        assert_eq!(words(consultation.poll_question()), Some((all, false)));
        consultation.answered();
        consultation.finish();
        assert_eq!(consultation.poll_question(), None, "everything was shown");
        assert!(consultation.is_over());
    }

    #[test]
    fn what_is_left_at_the_end_is_shown_and_long_words_without_an_end_too() {
        let mut consultation = Consultation::default();
        consultation.push("no end");
        consultation.finish();
        assert_eq!(words(consultation.poll_question()), Some(("no end".to_owned(), true)));
        assert!(!consultation.is_over());
        let mut endless = Consultation::default();
        endless.push(&"x".repeat(LONGEST_WAIT));
        assert!(endless.poll_question().is_some());
    }

    #[test]
    fn what_is_kept_stays_bounded() {
        let mut consultation = Consultation::default();
        for _ in 0..10 {
            consultation.push(&"ä".repeat(1_000));
            consultation.push(".");
            let question = consultation.poll_question().unwrap();
            assert!(question.words.len() <= SHOWN && question.words.ends_with("ä."));
            consultation.answered();
        }
    }
}
