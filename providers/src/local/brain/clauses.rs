//! Cuts an answer into pieces that are spoken one after the other.

/// A piece is not cut at a comma before it has this many characters.
const LONG_ENOUGH: usize = 60;

/// The first piece is cut earlier: the sooner it is short, the sooner the voice begins.
const LONG_ENOUGH_FIRST: usize = 8;

/// The clauses of a text, each with its punctuation. Joined with a space they are the text again.
pub(super) fn clauses(text: &str) -> Vec<String> {
    let mut clauses: Vec<String> = Vec::new();
    let mut current = String::new();
    for word in text.split_whitespace() {
        if !current.is_empty() {
            current.push(' ');
        }
        current.push_str(word);
        let enough = if clauses.is_empty() { LONG_ENOUGH_FIRST } else { LONG_ENOUGH };
        let is_end = word.ends_with(['.', '!', '?', ';', ':']) && !is_abbreviation(word);
        if is_end || (word.ends_with(',') && current.len() >= enough) {
            clauses.push(std::mem::take(&mut current));
        }
    }
    if !current.is_empty() {
        clauses.push(current);
    }
    clauses
}

fn is_abbreviation(word: &str) -> bool {
    matches!(word, "Mr." | "Mrs." | "Ms." | "Dr." | "St." | "e.g." | "i.e." | "No.")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_clause_is_short_and_nothing_is_lost() {
        let text = "Good morning, my name is Vox, and I am here to help. What would you like? Ask me";
        let pieces = clauses(text);
        assert_eq!(
            pieces,
            ["Good morning,", "my name is Vox, and I am here to help.", "What would you like?", "Ask me"]
        );
        assert_eq!(pieces.join(" "), text);
        assert_eq!(clauses("  "), [] as [&str; 0]);
        assert_eq!(clauses("Dr. Smith is in.").len(), 1);
    }
}
