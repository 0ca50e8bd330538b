//! Numbers of people: rows of digits, written in groups or spoken digit by digit.

use std::ops::Range;

/// A row of digits in a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Number {
    /// From its first digit (or plus sign) to its last.
    pub(super) span: Range<usize>,
    /// Each 0 to 9.
    pub(super) digits: Vec<u8>,
    /// Written in groups, with a plus sign, or spoken.
    pub(super) is_grouped: bool,
    /// Whether a next word could go on with it.
    pub(super) is_open: bool,
}

/// What digits are called when they are said one by one.
const SPOKEN: [(&str, u8); 11] = [
    ("zero", 0),
    ("oh", 0),
    ("one", 1),
    ("two", 2),
    ("three", 3),
    ("four", 4),
    ("five", 5),
    ("six", 6),
    ("seven", 7),
    ("eight", 8),
    ("nine", 9),
];

/// Every row of digits, in order.
pub(super) fn numbers(text: &str) -> Vec<Number> {
    let mut found = Vec::new();
    let mut row: Option<Number> = None;
    for token in tokens(text) {
        match digits(&text[token.clone()]) {
            Some(digits) => match row.as_mut() {
                Some(row) => row.take(token, &digits),
                None => row = Some(Number::begin(text, token, digits)),
            },
            // A word at the very end may still become a digit.
            None => found.extend(row.take().map(|row| Number { is_open: token.end == text.len(), ..row })),
        }
    }
    if let Some(row) = row {
        found.push(Number { is_open: true, ..row });
    }
    found
}

impl Number {
    fn begin(text: &str, token: Range<usize>, digits: Vec<u8>) -> Self {
        let is_international = text[..token.start].ends_with('+');
        let is_spoken = !text.as_bytes()[token.start].is_ascii_digit();
        let start = if is_international { token.start - 1 } else { token.start };
        Self { span: start..token.end, digits, is_grouped: is_international || is_spoken, is_open: false }
    }

    fn take(&mut self, token: Range<usize>, digits: &[u8]) {
        self.span.end = token.end;
        self.digits.extend_from_slice(digits);
        self.is_grouped = true;
    }
}

/// Words and rows of digits, without what separates them.
fn tokens(text: &str) -> impl Iterator<Item = Range<usize>> + '_ {
    let mut rest = 0;
    std::iter::from_fn(move || {
        let start = rest + text[rest..].find(char::is_alphanumeric)?;
        let length = text[start..].find(|c: char| !c.is_alphanumeric()).unwrap_or(text.len() - start);
        rest = start + length;
        Some(start..rest)
    })
}

/// The digits of a token; `None` if it is none.
fn digits(token: &str) -> Option<Vec<u8>> {
    if token.bytes().all(|byte| byte.is_ascii_digit()) {
        return Some(token.bytes().map(|byte| byte - b'0').collect());
    }
    let spoken = SPOKEN.iter().find(|(word, _)| token.eq_ignore_ascii_case(word));
    spoken.map(|(_, digit)| vec![*digit])
}
