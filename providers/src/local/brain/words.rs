//! Words of what somebody said, and how well they fit what was expected.

use super::super::agreement::likeness;

/// Lower-case words without punctuation. Apostrophes go, so that "what's" and "whats" are one.
pub(super) fn words_of(text: &str) -> Vec<String> {
    text.to_lowercase()
        .replace(['\'', '’'], "")
        .split(|letter: char| !letter.is_alphanumeric())
        .filter(|word| !word.is_empty())
        .map(str::to_owned)
        .collect()
}

/// Whether a heard word may be the expected one: the same, an ending more or less, or one wrong letter in a longer
/// word.
pub(super) fn fits(heard: &str, expected: &str) -> bool {
    if heard == expected {
        return true;
    }
    let shorter = heard.len().min(expected.len());
    let has_ending = shorter >= 4
        && heard.len().abs_diff(expected.len()) <= 3
        && (heard.starts_with(expected) || expected.starts_with(heard));
    has_ending || (shorter >= 6 && likeness(heard, expected) >= 0.8)
}

/// A whole number, spoken or written, at the beginning of the words, and how many words it took. Knows 0 to
/// 999 999.
pub(super) fn number_at(words: &[String]) -> Option<(i64, usize)> {
    let first = words.first()?;
    if let Ok(number) = first.parse::<i64>() {
        return Some((number, 1));
    }
    let (mut total, mut current, mut used) = (0_i64, None::<i64>, 0);
    for (index, word) in words.iter().enumerate().take(12) {
        match (number_word(word), current) {
            (Some(100), Some(value)) if value < 100 => current = Some(value * 100),
            (Some(1_000), Some(value)) if total == 0 => {
                total = value * 1_000;
                current = Some(0);
            }
            // Whatever follows the thousands.
            (Some(value), Some(0)) if total > 0 && value < 100 => current = Some(value),
            (Some(value), None) if value < 100 => current = Some(value),
            (Some(value), Some(before)) if joins(before, value) => current = Some(before + value),
            (None, Some(_)) if word == "and" && words.get(index + 1).is_some_and(|word| is_small(word)) => {
                continue;
            }
            _ => break,
        }
        used = index + 1;
    }
    current.map(|value| (total + value, used))
}

fn is_small(word: &str) -> bool {
    number_word(word).is_some_and(|value| value < 100)
}

/// Whether a number word continues another: "twenty" + "one", "two hundred" + "seven", but not "two" + "three".
const fn joins(before: i64, value: i64) -> bool {
    let room = match before {
        0 => return false,
        before if before % 100 == 0 => 100,
        before if before % 10 == 0 && before % 100 >= 20 => 10,
        _ => 0,
    };
    value > 0 && value < room
}

fn number_word(word: &str) -> Option<i64> {
    const SMALL: [&str; 20] = [
        "zero",
        "one",
        "two",
        "three",
        "four",
        "five",
        "six",
        "seven",
        "eight",
        "nine",
        "ten",
        "eleven",
        "twelve",
        "thirteen",
        "fourteen",
        "fifteen",
        "sixteen",
        "seventeen",
        "eighteen",
        "nineteen",
    ];
    const TENS: [&str; 8] = ["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"];
    if let Some(value) = SMALL.iter().position(|small| *small == word) {
        return i64::try_from(value).ok();
    }
    if let Some(tens) = TENS.iter().position(|tens| *tens == word) {
        return i64::try_from(tens).ok().map(|tens| (tens + 2) * 10);
    }
    match word {
        "hundred" => Some(100),
        "thousand" => Some(1_000),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_as_people_say_them() {
        for (text, number) in [
            ("seven", 7),
            ("twenty one", 21),
            ("three hundred and five", 305),
            ("two thousand twenty six", 2_026),
            ("42", 42),
            ("ninety nine thousand nine hundred ninety nine", 99_999),
        ] {
            let words = words_of(text);
            assert_eq!(number_at(&words), Some((number, words.len())), "{text}");
        }
        assert_eq!(number_at(&words_of("two three")), Some((2, 1)));
        assert_eq!(number_at(&words_of("hundred")), None);
        assert_eq!(number_at(&words_of("and two")), None);
        assert_eq!(number_at(&[]), None);
    }

    #[test]
    fn a_garbled_word_still_fits() {
        assert!(fits("relays", "relay"));
        assert!(fits("transceivers", "transceiver"));
        assert!(fits("transciever", "transceiver"));
        assert!(!fits("really", "relay"));
        assert!(!fits("at", "what"));
    }
}
