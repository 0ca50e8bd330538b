//! The small sounds of a listener: "mm-hm", "yeah", "right".

use serde::{Deserialize, Serialize};

/// Letters of words that are looked at; more than this is no backchannel.
const MOST_LETTERS: usize = 64;

/// Which words say only that somebody listens.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Backchannels {
    /// Their letters only, for recognisers write "uh huh", "uh-huh" and "Uh-huh.".
    phrases: Vec<Vec<char>>,
}

impl Backchannels {
    /// Backchannels by their spelling; case, spaces and punctuation do not count. Phrases without a letter are left out.
    pub fn new<'a>(phrases: impl IntoIterator<Item = &'a str>) -> Self {
        let phrases = phrases.into_iter().map(letters).filter(|phrase| !phrase.is_empty());
        Self { phrases: phrases.collect() }
    }

    /// Whether the words are backchannels and nothing else.
    #[must_use]
    pub fn are_all(&self, words: &str) -> bool {
        let words = letters(words);
        if words.is_empty() || words.len() > MOST_LETTERS {
            return false;
        }
        // Where a row of phrases can end.
        let mut ends = vec![false; words.len() + 1];
        ends[0] = true;
        for begin in 0..words.len() {
            if ends[begin] {
                let rest = &words[begin..];
                for phrase in self.phrases.iter().filter(|phrase| rest.starts_with(phrase)) {
                    ends[begin + phrase.len()] = true;
                }
            }
        }
        ends[words.len()]
    }
}

fn letters(text: &str) -> Vec<char> {
    text.chars().filter(|letter| letter.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn backchannels_are_told_from_words_with_a_meaning() {
        let backchannels = Backchannels::new(["mm-hm", "uh-huh", "yeah", "okay", "right", "", "-"]);
        for words in ["yeah", "Yeah.", "uh huh", "Uh-huh!", "mm hm", "okay, right", "yeah yeah yeah", "OKAY"]
        {
            assert!(backchannels.are_all(words), "{words}");
        }
        for words in ["", "…", "no", "yeah but", "okay stop", "right now", "ye", &"yeah ".repeat(100)] {
            assert!(!backchannels.are_all(words), "{words}");
        }
        assert!(!Backchannels::default().are_all("yeah"));
    }
}
