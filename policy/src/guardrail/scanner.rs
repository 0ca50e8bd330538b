//! Words that arrive in pieces.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::{Direction, Finding, RuleIndex, RuleSet};

/// How many bytes of the past are looked at again with each piece. What is longer is found only if it comes in one
/// piece.
pub const SCAN_WINDOW: usize = 512;

/// Scans one item: an answer, a caller's turn, the arguments of a tool call.
///
/// A find is reported once, with the piece that makes it certain: a word at the very end may still become another word,
/// so it is reported with what follows it, or by [`Scanner::finish`].
#[derive(Clone, Debug)]
pub struct Scanner {
    rules: Arc<RuleSet>,
    direction: Direction,
    /// The end of the text so far.
    recent: String,
    /// Bytes of the text before `recent`.
    forgotten: usize,
    /// Rule and beginning of each find that could be seen again.
    reported: BTreeSet<(usize, RuleIndex)>,
}

impl Scanner {
    /// Nothing was said yet.
    #[must_use]
    pub const fn new(rules: Arc<RuleSet>, direction: Direction) -> Self {
        Self { rules, direction, recent: String::new(), forgotten: 0, reported: BTreeSet::new() }
    }

    /// Takes the next piece and reports what is certain now, in the order of the rules.
    pub fn push(&mut self, piece: &str) -> Vec<Finding> {
        if self.rules.is_silent_about(self.direction) {
            return Vec::new();
        }
        self.recent.push_str(piece);
        let findings = self.look(false);
        self.forget();
        findings
    }

    /// The text is complete: reports what only that makes certain.
    pub fn finish(&mut self) -> Vec<Finding> {
        self.look(true)
    }

    fn look(&mut self, is_complete: bool) -> Vec<Finding> {
        let mut findings = Vec::new();
        for (index, rule) in self.rules.of(self.direction) {
            for hit in rule.detector.find(&self.recent) {
                let span = hit.span.start + self.forgotten..hit.span.end + self.forgotten;
                if (is_complete || !hit.is_open) && self.reported.insert((span.start, index)) {
                    findings.push(Finding { rule: index, span });
                }
            }
        }
        findings
    }

    /// Keeps the last [`SCAN_WINDOW`] bytes, from the beginning of a word if there is one.
    fn forget(&mut self) {
        let Some(beyond) = self.recent.len().checked_sub(SCAN_WINDOW) else { return };
        let cut = self.recent.ceil_char_boundary(beyond);
        let cut = self.recent[cut..].find(char::is_whitespace).map_or(cut, |space| cut + space);
        self.recent.drain(..cut);
        self.forgotten += cut;
        self.reported = self.reported.split_off(&(self.forgotten, RuleIndex(0)));
    }
}
