//! Judges by the shape of a transcript whether its speaker is done. English only.
//!
//! There is no model behind it: a speaker who stops after "and", "the" or "um" goes on, one who said "yes please" does
//! not. Where the words could end a sentence it cannot know whether another follows; that is what the rest of the pause is
//! for. The lists name what speakers of English stop at in the middle of a sentence, not all words of a class.

use super::ending::{EndOfTurn, TurnSoFar};

/// Recognisers correct the last words for a while; a turn of more words than this is judged by its end alone.
const MOST_WORDS: usize = 64;

/// Digits after which a dictated number is taken to be whole: the length of most telephone numbers.
const WHOLE_NUMBER: usize = 10;

/// Words that come before something: conjunctions, articles, possessives, prepositions, subjects, contracted verbs.
const LEADS_ON: &[&str] = &[
    "a", "about", "although", "an", "and", "as", "at", "because", "between", "but", "by", "every", "for",
    "from", "gonna", "he", "he's", "his", "i", "i'd", "i'll", "i'm", "i've", "if", "into", "it's", "its",
    "let's", "like", "my", "of", "onto", "or", "our", "she", "she's", "so", "than", "that's", "the", "their",
    "there's", "they", "they're", "to", "unless", "until", "wanna", "was", "we", "we'd", "we'll", "we're",
    "we've", "were", "what's", "where's", "whether", "which", "who's", "with", "without", "you're", "your",
];

/// Sounds and words that hold the floor.
const FILLERS: &[&str] = &["ah", "er", "erm", "hm", "hmm", "mm", "uh", "uhm", "um", "well"];

/// Verbs without what they are about.
const WANTS_MORE: &[&str] = &["called", "named", "need", "needs", "want", "wanted", "wants"];

/// Ends of a sentence after which the point is still to come.
const HOLDS_ON: &[&str] = &[
    "a minute",
    "a moment",
    "a second",
    "hang on",
    "hold on",
    "i mean",
    "kind of",
    "let me check",
    "let me see",
    "let me think",
    "one moment",
    "one second",
    "sort of",
    "to know",
    "was wondering",
    "wanted to ask",
    "you know",
];

/// Prepositions that end a question ("where are you from").
const STRANDED: &[&str] = &["about", "at", "by", "for", "from", "in", "like", "of", "on", "to", "with"];

const QUESTIONS: &[&str] = &["how", "what", "when", "where", "which", "who", "why"];

const AUXILIARIES: &[&str] = &[
    "am", "are", "be", "can", "could", "did", "do", "does", "had", "has", "have", "is", "may", "might",
    "must", "should", "will", "would",
];

/// A clause that begins with one of these wants another.
const SUBORDINATES: &[&str] =
    &["after", "although", "because", "before", "if", "once", "since", "unless", "when", "whenever", "while"];

/// Whole turns of few words.
const ANSWERS: &[&str] = &[
    "all right",
    "alright",
    "bye",
    "bye bye",
    "cancel",
    "correct",
    "exactly",
    "fine",
    "go ahead",
    "go on",
    "good",
    "good afternoon",
    "good bye",
    "good evening",
    "good morning",
    "goodbye",
    "great",
    "hello",
    "help",
    "hey",
    "hi",
    "i agree",
    "i don't know",
    "i don't think so",
    "i see",
    "i think so",
    "maybe",
    "never mind",
    "no",
    "no problem",
    "no thank you",
    "no thanks",
    "nope",
    "not really",
    "nothing",
    "of course",
    "ok",
    "okay",
    "perfect",
    "please",
    "right",
    "sounds good",
    "sorry",
    "stop",
    "sure",
    "thank you",
    "thank you very much",
    "thanks",
    "thanks a lot",
    "that's all",
    "that's it",
    "that's right",
    "what",
    "why",
    "yeah",
    "yep",
    "yes",
    "yes please",
    "yes thank you",
    "you're welcome",
];

const DIGITS: &[&str] = &[
    "double", "eight", "five", "four", "nine", "oh", "one", "seven", "six", "three", "triple", "two", "zero",
];

/// Words that hardly any text in English of more than a few words does without, and that other languages do not have.
const ENGLISH: &[&str] = &[
    "about", "and", "are", "because", "but", "can", "could", "do", "for", "from", "have", "hello", "how",
    "i", "i'd", "i'm", "is", "it", "it's", "my", "need", "not", "of", "okay", "on", "please", "thank",
    "thanks", "that", "the", "there", "they", "this", "to", "want", "was", "we", "what", "when", "where",
    "which", "why", "will", "with", "would", "yeah", "yes", "you", "your",
];

/// Judges English by the words a turn ends with. Says nothing about other languages.
#[derive(Clone, Copy, Debug, Default)]
pub struct TranscriptShape;

impl EndOfTurn for TranscriptShape {
    fn estimate(&self, turn: TurnSoFar<'_>) -> Option<f32> {
        let words = words_of(turn.words);
        if words.is_empty() {
            return None;
        }
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let is_english = match turn.language {
            Some(language) => language.to_ascii_lowercase().starts_with("en"),
            None => words.iter().any(|word| ENGLISH.contains(word) || FILLERS.contains(word)),
        };
        is_english.then(|| judge(&words, Mark::of(turn.words)))
    }
}

/// What the recogniser wrote behind the last word.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mark {
    Closed,
    Open,
    None,
}

impl Mark {
    fn of(text: &str) -> Self {
        let text = text.trim_end();
        let is_open = ["...", "…", ",", "-", "–", "—", ":", ";"].iter().any(|mark| text.ends_with(mark));
        if is_open {
            Self::Open
        } else if text.ends_with(['.', '!', '?']) {
            Self::Closed
        } else {
            Self::None
        }
    }
}

/// Lower case, without punctuation.
fn words_of(text: &str) -> Vec<String> {
    let words = text.split_whitespace().rev().take(MOST_WORDS).filter_map(|word| {
        let word = word.replace('’', "'").to_lowercase();
        let word = word.trim_matches(|letter: char| !letter.is_alphanumeric());
        (!word.is_empty()).then(|| word.to_owned())
    });
    let mut words: Vec<String> = words.collect();
    words.reverse();
    words
}

/// The first rule that applies decides. Values between 0.1 and 0.9 say how often it is right.
fn judge(words: &[&str], mark: Mark) -> f32 {
    if is_answer(words) && mark != Mark::Open {
        0.95
    } else if is_dictation(words) {
        0.15
    } else if mark == Mark::Open || leads_on(words) {
        0.1
    } else if mark == Mark::Closed {
        0.9
    } else if is_begun_question(words) {
        0.2
    } else if is_lone_clause(words) {
        0.35
    } else if words.len() == 1 {
        0.6
    } else {
        0.85
    }
}

fn is_answer(words: &[&str]) -> bool {
    let ends_politely = words.len() > 1 && matches!(words.last(), Some(&"please" | &"thanks"));
    let asks_politely = words.first().is_some_and(|first| AUXILIARIES.contains(first));
    let is_whole = words.len() <= 4 && ANSWERS.contains(&words.join(" ").as_str());
    is_whole || is_confirmation(words) || (ends_politely && !asks_politely)
}

/// "yes I do", "no it isn't", "yes that's right".
fn is_confirmation(words: &[&str]) -> bool {
    let [first, rest @ ..] = words else { return false };
    let says = ["no", "nope", "yeah", "yep", "yes"].contains(first);
    match rest {
        [subject, verb] => {
            says && ["he", "i", "it", "she", "that", "they", "we", "you"].contains(subject)
                && (AUXILIARIES.contains(verb) || verb.ends_with("n't"))
        }
        _ => says && rest.len() <= 4 && ANSWERS.contains(&rest.join(" ").as_str()),
    }
}

fn leads_on(words: &[&str]) -> bool {
    let [.., last] = words else { return false };
    if FILLERS.contains(last) || WANTS_MORE.contains(last) {
        return true;
    }
    let is_question = words.first().is_some_and(|first| QUESTIONS.contains(first));
    if is_question && words.len() >= 4 && STRANDED.contains(last) {
        return false;
    }
    if AUXILIARIES.contains(last) {
        // "as soon as you can"
        return !words.contains(&"as");
    }
    match words {
        [.., "can" | "could", "you", "please"] => return true,
        [.., "give" | "send" | "show" | "tell", "me" | "us"] => return true,
        [.., "know" | "said" | "say" | "think" | "sure", "that"] => return true,
        // "turn it on" is whole, "the one on" is not.
        [.., before, "in" | "on" | "over"] => {
            return !["come", "go", "him", "it", "log", "me", "move", "sign", "that", "them", "this", "turn"]
                .contains(before);
        }
        _ => {}
    }
    LEADS_ON.contains(last) || HOLDS_ON.iter().any(|phrase| ends_with(words, phrase))
}

fn ends_with(words: &[&str], phrase: &str) -> bool {
    let mut wanted = phrase.split(' ').rev();
    let mut words = words.iter().rev();
    wanted.all(|word| words.next() == Some(&word))
}

/// Digits or letters one after the other, and fewer than a whole number has.
fn is_dictation(words: &[&str]) -> bool {
    let is_digits = |word: &&&str| {
        DIGITS.contains(*word)
            || (word.len() <= 4 && word.bytes().all(|byte| byte.is_ascii_digit()))
            || (word.len() == 1 && !["a", "i"].contains(*word))
    };
    let run: Vec<&&str> = words.iter().rev().take_while(is_digits).collect();
    let digits: usize = run
        .iter()
        .map(|word| if word.bytes().all(|byte| byte.is_ascii_digit()) { word.len() } else { 1 })
        .sum();
    let is_named = words.iter().any(|word| ["code", "digits", "number", "postcode", "zip"].contains(word));
    let begins = if is_named { 1 } else { 3 };
    run.len() >= begins && digits < WHOLE_NUMBER
}

/// "what is", "can you".
fn is_begun_question(words: &[&str]) -> bool {
    let is_question =
        words.first().is_some_and(|first| QUESTIONS.contains(first) || AUXILIARIES.contains(first));
    is_question && words.len() <= 2
}

/// "if you have a table by the window", with nothing behind it yet. "when does it open" is a question.
fn is_lone_clause(words: &[&str]) -> bool {
    match words {
        ["when", second, ..] if AUXILIARIES.contains(second) || ["was", "were"].contains(second) => false,
        [first, ..] => SUBORDINATES.contains(first) && words.len() < 9,
        [] => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn estimate(words: &str) -> f32 {
        TranscriptShape.estimate(TurnSoFar { words, language: Some("en") }).unwrap()
    }

    #[test]
    fn what_leads_on_is_not_the_end() {
        for words in [
            "I would like to book a table for",
            "my name is",
            "I want to change it to the",
            "it was on Monday and",
            "so um",
            "could you please",
            "can you tell me",
            "what is",
            "I was wondering",
            "if you have something earlier",
            "I don't think that",
            "the meeting is at,",
            "let me see",
        ] {
            assert!(estimate(words) < 0.4, "{words}: {}", estimate(words));
        }
    }

    #[test]
    fn what_is_whole_is_the_end() {
        for words in [
            "yes",
            "No, thank you.",
            "yes it is",
            "Okay thanks",
            "where are you from",
            "turn it on",
            "as soon as you can",
            "what time does the train leave",
            "I would like to book a table for four",
            "when does it open",
            "please call me back tomorrow",
        ] {
            assert!(estimate(words) > 0.8, "{words}: {}", estimate(words));
        }
    }

    #[test]
    fn a_number_is_waited_for_until_it_is_long_enough() {
        for words in ["my number is four", "it's five five five", "number 0171 555", "b r t"] {
            assert!(estimate(words) < 0.3, "{words}");
        }
        for words in
            ["my number is five five five one two three four five six seven", "a table for four", "room 412"]
        {
            assert!(estimate(words) > 0.8, "{words}");
        }
    }

    #[test]
    fn other_languages_are_not_judged() {
        let judged = |words, language| TranscriptShape.estimate(TurnSoFar { words, language });
        assert_eq!(judged("quiero una mesa para", Some("es")), None);
        assert_eq!(judged("quiero una mesa para", None), None);
        assert_eq!(judged("ich möchte einen Tisch", None), None);
        assert_eq!(judged("", Some("en")), None);
        assert_eq!(judged(" ... ", Some("en")), None);
        assert!(judged("I want a table for", None).is_some());
        assert!(judged("bonjour and", Some("EN-GB")).is_some());
    }

    #[test]
    fn any_text_is_judged_without_a_panic() {
        for words in ["'", "é", "…", "1", "\u{0}", "ﷺ ﷺ ﷺ", &"and ".repeat(10_000)] {
            let estimate = TranscriptShape.estimate(TurnSoFar { words, language: Some("en") });
            assert!(estimate.is_none_or(|estimate| (0.0..=1.0).contains(&estimate)), "{}", words.len());
        }
    }
}
