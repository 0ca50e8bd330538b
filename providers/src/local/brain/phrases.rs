//! The phrases the brain expects to hear, as the recogniser's grammar.

use std::fmt::Write as _;

use super::topic::TOPICS;

/// Numbers the grammar knows in sums.
const NUMBERS: &str = "zero | one | two | three | four | five | six | seven | eight | nine | ten | eleven | twelve | \
                       twenty | fifty | [one] hundred";

/// Every whole phrase of the brain's topics, sums not included.
pub fn all() -> impl Iterator<Item = &'static str> {
    TOPICS.iter().flat_map(|topic| topic.phrases.iter().copied())
}

/// The grammar in JSGF: one of the phrases, or a sum, with the small words people put around them.
#[must_use]
pub fn jsgf() -> String {
    let mut grammar = String::from("#JSGF V1.0;\ngrammar phrases;\n");
    // Writing to a string cannot fail.
    let _ = writeln!(grammar, "<number> = {NUMBERS};");
    grammar.push_str("<operator> = plus | minus | times | divided by;\n");
    grammar.push_str("<sum> = (what is | how much is) <number> <operator> <number>;\n<phrase> = ");
    for (index, phrase) in all().enumerate() {
        let _ = write!(grammar, "{}{phrase}", if index == 0 { "" } else { "\n    | " });
    }
    grammar.push_str(";\npublic <utterance> = [okay | please | so] (<phrase> | <sum>) [please];\n");
    grammar
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn a_phrase_is_lower_case_words_and_belongs_to_one_topic() {
        let phrases: Vec<_> = all().collect();
        assert!(phrases.len() > 60);
        for phrase in &phrases {
            assert!(
                phrase.chars().all(|letter| letter.is_ascii_lowercase() || " '".contains(letter)),
                "{phrase}"
            );
        }
        assert_eq!(phrases.iter().collect::<BTreeSet<_>>().len(), phrases.len());
    }
}
