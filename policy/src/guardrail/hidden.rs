//! Words of one session that are hidden from now on, because somebody outside found them.

/// Most words and phrases a session hides.
pub const MOST_HIDDEN: usize = 256;

/// What stands in the place of hidden words.
const LABEL: &str = "[hidden]";

/// Words and phrases that are hidden wherever they stand just so.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Hidden {
    /// Longest first, so that no part of one is left.
    phrases: Vec<String>,
}

/// Without the words.
impl std::fmt::Debug for Hidden {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Hidden({} phrases)", self.phrases.len())
    }
}

impl Hidden {
    /// Hides these.
    #[must_use]
    pub fn new(phrases: impl IntoIterator<Item = String>) -> Self {
        let mut hidden = Self::default();
        hidden.take(phrases);
        hidden
    }

    /// Hides those of the other too. False if that is more than [`MOST_HIDDEN`]: then nothing more is hidden.
    #[must_use]
    pub fn add(&mut self, other: Self) -> bool {
        let fresh = other.phrases.iter().filter(|phrase| !self.phrases.contains(phrase)).count();
        if self.phrases.len() + fresh > MOST_HIDDEN {
            return false;
        }
        self.take(other.phrases);
        true
    }

    fn take(&mut self, phrases: impl IntoIterator<Item = String>) {
        self.phrases.extend(phrases);
        self.phrases.sort_by(|one, other| other.len().cmp(&one.len()).then_with(|| one.cmp(other)));
        self.phrases.dedup();
    }

    /// Replaces every hidden phrase in a text.
    pub fn hide(&self, text: &mut String) {
        for phrase in self.phrases.iter().filter(|phrase| !phrase.is_empty()) {
            if text.contains(phrase.as_str()) {
                *text = text.replace(phrase.as_str(), LABEL);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hidden(phrases: &[&str]) -> Hidden {
        Hidden::new(phrases.iter().map(|phrase| (*phrase).to_owned()))
    }

    #[test]
    fn of_two_phrases_the_longer_is_hidden_whole() {
        let mut text = "Ann Smith, Smith and Ann".to_owned();
        hidden(&["Ann", "Ann Smith"]).hide(&mut text);
        assert_eq!(text, "[hidden], Smith and [hidden]");
    }

    #[test]
    fn what_does_not_fit_is_not_hidden_by_halves() {
        let mut all = Hidden::new((0..MOST_HIDDEN - 1).map(|number| format!("<{number}>")));
        assert!(!all.add(hidden(&["one", "two"])));
        let mut text = "one two <7>".to_owned();
        all.hide(&mut text);
        assert_eq!(text, "one two [hidden]");
        assert!(all.add(hidden(&["one", "<7>"])), "what is hidden already takes no place");
    }

    #[test]
    fn nothing_of_the_words_is_in_debug() {
        assert_eq!(format!("{:?}", hidden(&["swordfish"])), "Hidden(1 phrases)");
    }
}
