//! Sums a caller asks for: "what is seven times six".

use super::words::number_at;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operator {
    Plus,
    Minus,
    Times,
    DividedBy,
}

impl Operator {
    /// The operator at the beginning of the words and how many words it took.
    fn at(words: &[String]) -> Option<(Self, usize)> {
        let word = |index: usize| words.get(index).map_or("", String::as_str);
        let operator = match word(0) {
            "plus" | "and" => Self::Plus,
            "minus" => Self::Minus,
            "times" => Self::Times,
            "multiplied" | "divided" if word(1) == "by" => {
                return Some((if word(0) == "divided" { Self::DividedBy } else { Self::Times }, 2));
            }
            "over" => Self::DividedBy,
            _ => return None,
        };
        Some((operator, 1))
    }

    const fn spoken(self) -> &'static str {
        match self {
            Self::Plus => "plus",
            Self::Minus => "minus",
            Self::Times => "times",
            Self::DividedBy => "divided by",
        }
    }
}

/// The answer to the first sum in the words, if there is one.
pub(super) fn answer(words: &[String]) -> Option<String> {
    (0..words.len()).find_map(|start| {
        let (left, used) = number_at(&words[start..])?;
        let (operator, operator_used) = Operator::at(&words[start + used..])?;
        let (right, _) = number_at(&words[start + used + operator_used..])?;
        Some(spoken(left, operator, right))
    })
}

fn spoken(left: i64, operator: Operator, right: i64) -> String {
    let result = match operator {
        Operator::Plus => left.checked_add(right),
        Operator::Minus => left.checked_sub(right),
        Operator::Times => left.checked_mul(right),
        Operator::DividedBy if right == 0 => return "I cannot divide by zero.".to_owned(),
        Operator::DividedBy => left.checked_div(right),
    };
    let Some(result) = result else { return "That number is too large for me.".to_owned() };
    let question = format!("{left} {} {right}", operator.spoken());
    let sign = if result < 0 { "minus " } else { "" };
    let size = result.unsigned_abs();
    match (operator, left.checked_rem(right)) {
        (Operator::DividedBy, Some(rest)) if rest != 0 => {
            format!("{question} is {sign}{size}, with a remainder of {}.", rest.unsigned_abs())
        }
        _ => format!("{question} is {sign}{size}."),
    }
}

#[cfg(test)]
mod tests {
    use super::super::words::words_of;
    use super::*;

    #[test]
    fn sums_are_answered() {
        for (question, expected) in [
            ("what is seven times six", "7 times 6 is 42."),
            ("how much is twenty one and three", "21 plus 3 is 24."),
            ("five minus nine", "5 minus 9 is minus 4."),
            ("what is ten divided by three please", "10 divided by 3 is 3, with a remainder of 1."),
            ("12 over 4", "12 divided by 4 is 3."),
            ("one divided by zero", "I cannot divide by zero."),
            ("9223372036854775807 plus 1", "That number is too large for me."),
        ] {
            assert_eq!(answer(&words_of(question)).as_deref(), Some(expected), "{question}");
        }
        assert_eq!(answer(&words_of("tell me a long story")), None);
        assert_eq!(answer(&words_of("one two three")), None);
    }
}
