//! Which of two hypotheses to believe.
//!
//! A grammar forces whatever it hears into one of its phrases, also a cough or a sentence it does not know; the open
//! language model is honest and less exact. Where both heard nearly the same sounds, the grammar is right about the
//! words. Letters stand for sounds here: "what is a really" and "what is a relay" are near, and share few words.

/// How alike the letters have to be, 0 to 1. Sentences outside the grammar reach at most 0.48 with the phrase they
/// are forced into; `figures_of_the_recogniser` measures it.
const ENOUGH: f32 = 0.53;

/// The same for a phrase with a word the open model does not know and so can never hear.
const ENOUGH_FOR_UNKNOWN: f32 = 0.45;

/// The grammar's phrase if the open hypothesis supports it, else the open hypothesis. `unknown` are the words the open
/// model does not know.
pub(super) fn agreed(grammar: &str, open: &str, unknown: &[&str]) -> String {
    let has_unknown = grammar.split(' ').any(|word| unknown.contains(&word));
    let enough = if has_unknown { ENOUGH_FOR_UNKNOWN } else { ENOUGH };
    if likeness(grammar, open) >= enough { grammar.to_owned() } else { open.to_owned() }
}

/// How alike the letters of two texts are: 1 is the same, 0 nothing in common. Case, spaces and punctuation do not
/// count.
pub(super) fn likeness(left: &str, right: &str) -> f32 {
    let letters = |text: &str| -> Vec<u8> {
        text.bytes().filter(u8::is_ascii_alphanumeric).map(|byte| byte.to_ascii_lowercase()).collect()
    };
    let (left, right) = (letters(left), letters(right));
    let longest = left.len().max(right.len());
    if longest == 0 || left.is_empty() || right.is_empty() {
        return 0.0;
    }
    1.0 - edits(&left, &right) as f32 / longest as f32
}

/// Levenshtein distance: the least number of letters to insert, remove or replace.
fn edits(left: &[u8], right: &[u8]) -> usize {
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (index, a) in left.iter().enumerate() {
        let mut diagonal = row[0];
        row[0] = index + 1;
        for (column, b) in right.iter().enumerate() {
            let replaced = diagonal + usize::from(a != b);
            diagonal = row[column + 1];
            row[column + 1] = replaced.min(diagonal + 1).min(row[column] + 1);
        }
    }
    row[right.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nearly_the_same_sounds_let_the_grammar_win() {
        assert_eq!(agreed("what is a relay", "what is a really", &[]), "what is a relay");
        assert_eq!(agreed("how does it work", "how does it were", &[]), "how does it work");
    }

    #[test]
    fn a_word_the_open_model_lacks_needs_less_support() {
        let (grammar, open) = ("what is voxgate", "what is mock sketch");
        assert_eq!(agreed(grammar, open, &["voxgate"]), grammar);
        assert_eq!(
            agreed(grammar, "my sister lives in a small town", &["voxgate"]),
            "my sister lives in a small town"
        );
    }

    #[test]
    fn a_forced_match_is_rejected() {
        let open = "the birds sang in the old oak tree";
        assert_eq!(agreed("tell me a long story", open, &[]), open);
        assert_eq!(agreed("hello", "", &[]), "");
        assert_eq!(agreed("", "hello", &[]), "hello");
    }

    #[test]
    fn likeness_counts_letters_only() {
        assert!((likeness("Good bye!", "goodbye") - 1.0).abs() < f32::EPSILON);
        assert!(likeness("", "").abs() < f32::EPSILON);
        assert!((likeness("kitten", "sitting") - 4.0 / 7.0).abs() < 1e-6);
    }
}
