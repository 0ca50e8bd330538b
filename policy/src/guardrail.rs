//! What may be said: rules over the words of a call, in both directions, and over the arguments of tool calls.
//!
//! Only words are looked at, never sound, and nothing waits for a verdict: words go on their way while they are scanned,
//! and what a rule asks for is done as soon as a [`Scanner`] reports it.
//!
//! - [`detector`]: what a rule looks for.
//! - [`hidden`]: words somebody outside wants hidden.
//! - [`number`]: numbers of people, as digits or as spoken words.
//! - [`on_demand`]: rules that run only where policies demand it.
//! - [`opinion`]: what a judge outside says.
//! - [`scanner`]: words that arrive in pieces.

mod detector;
mod hidden;
mod number;
mod on_demand;
mod opinion;
mod scanner;
#[cfg(test)]
mod tests;

use std::ops::Range;
use std::sync::Arc;

use thiserror::Error;

pub use detector::{Detector, PersonalKind};
pub use hidden::{Hidden, MOST_HIDDEN};
pub use on_demand::OnDemand;
pub use opinion::{Consultation, LONGEST_OPINION, Opinion, OpinionError, Question};
pub use scanner::{SCAN_WINDOW, Scanner};

/// Most rules of one set. Every piece of a transcript passes each of them.
pub const MOST_RULES: usize = 64;

/// Whose words a rule looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Direction {
    /// The caller's, as they were recognised or typed.
    Caller,
    /// The agent's, spoken or written.
    Agent,
    /// The arguments of the agent's tool calls.
    ToolArguments,
}

impl Direction {
    /// The name in configuration and metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Caller => "caller",
            Self::Agent => "agent",
            Self::ToolArguments => "tool_arguments",
        }
    }
}

/// What a rule asks for. The later of two is the stronger.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Act {
    /// Count it and write it into the session's record.
    Note,
    /// Hide the words in logs, in stored transcripts and in what goes to a model as text.
    Mask,
    /// Cancel the answer, silence what is left of it, and say this instead.
    Replace {
        /// The sentence.
        say: String,
    },
    /// End the call.
    End,
}

impl Act {
    /// The name in configuration and metrics.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Note => "note",
            Self::Mask => "mask",
            Self::Replace { .. } => "replace",
            Self::End => "end",
        }
    }
}

/// One rule.
#[derive(Clone, Debug)]
pub struct Rule {
    /// Unique in its set; shown to operators, and the label of its metric.
    pub name: String,
    /// Whose words it looks at.
    pub directions: Vec<Direction>,
    /// What it looks for.
    pub detector: Detector,
    /// What is done.
    pub act: Act,
}

/// What can be wrong with a set of rules.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum GuardrailError {
    /// Two rules share a name.
    #[error("two guardrails are called {name:?}; give each its own name")]
    DoubleName {
        /// The name.
        name: String,
    },
    /// A rule looks at nobody's words.
    #[error("the guardrail {name:?} looks at nobody's words; name caller, agent or tool_arguments")]
    NoDirection {
        /// The rule.
        name: String,
    },
    /// More than [`MOST_RULES`].
    #[error("there are {count} guardrails; at most {MOST_RULES} are possible")]
    TooMany {
        /// How many.
        count: usize,
    },
    /// A deny list without words.
    #[error("a guardrail has an empty list of words; every word would have to be there")]
    NoWords,
    /// A regular expression that cannot be used.
    #[error("a guardrail's pattern cannot be used: {reason}")]
    Pattern {
        /// One line.
        reason: String,
    },
}

/// A rule that matched. Holds places, not words, so that it may be logged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The rule.
    pub rule: RuleIndex,
    /// Where, in bytes of the whole text of the item.
    pub span: Range<usize>,
}

/// The place of a rule in its set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RuleIndex(usize);

/// Rules that were checked together.
#[derive(Clone, Debug, Default)]
pub struct RuleSet {
    rules: Vec<Rule>,
}

impl RuleSet {
    /// Checks the rules against each other.
    ///
    /// # Errors
    /// The first [`GuardrailError`] that applies.
    pub fn new(rules: Vec<Rule>) -> Result<Self, GuardrailError> {
        if rules.len() > MOST_RULES {
            return Err(GuardrailError::TooMany { count: rules.len() });
        }
        for (index, rule) in rules.iter().enumerate() {
            if rules[..index].iter().any(|other| other.name == rule.name) {
                return Err(GuardrailError::DoubleName { name: rule.name.clone() });
            }
            if rule.directions.is_empty() {
                return Err(GuardrailError::NoDirection { name: rule.name.clone() });
            }
        }
        Ok(Self { rules })
    }

    /// Those of these rules that are wanted, by their names.
    #[must_use]
    pub fn only(self: &Arc<Self>, is_wanted: impl Fn(&str) -> bool) -> Arc<Self> {
        if self.rules.iter().all(|rule| is_wanted(&rule.name)) {
            return Arc::clone(self);
        }
        let rules = self.rules.iter().filter(|rule| is_wanted(&rule.name)).cloned().collect();
        Arc::new(Self { rules })
    }

    /// Whether nothing of this direction has to be scanned.
    #[must_use]
    pub fn is_silent_about(&self, direction: Direction) -> bool {
        self.of(direction).next().is_none()
    }

    /// The rule of a finding.
    ///
    /// # Panics
    /// If the finding is another set's.
    #[must_use]
    pub fn rule(&self, index: RuleIndex) -> &Rule {
        &self.rules[index.0]
    }

    /// The strongest act of some findings; `None` without findings.
    #[must_use]
    pub fn strongest<'a>(&self, findings: &'a [Finding]) -> Option<(&'a Finding, &Act)> {
        findings
            .iter()
            .map(|finding| (finding, &self.rule(finding.rule).act))
            .max_by(|(_, one), (_, other)| one.cmp(other))
    }

    /// Finds everything in a text that is complete.
    #[must_use]
    pub fn scan(self: &Arc<Self>, direction: Direction, text: &str) -> Vec<Finding> {
        let mut scanner = Scanner::new(Arc::clone(self), direction);
        let mut findings = scanner.push(text);
        findings.extend(scanner.finish());
        findings
    }

    /// Whether a rule asks for words to be hidden ([`Act::Mask`]).
    #[must_use]
    pub fn masks(&self) -> bool {
        self.rules.iter().any(|rule| rule.act == Act::Mask)
    }

    /// The text with everything hidden that a rule of [`Act::Mask`] or stronger found, each by what it is, such as
    /// `[email]`.
    #[must_use]
    pub fn mask(&self, direction: Direction, text: &str) -> String {
        let mut hidden: Vec<(Range<usize>, &'static str)> = self
            .of(direction)
            .filter(|(_, rule)| rule.act >= Act::Mask)
            .flat_map(|(_, rule)| rule.detector.find(text))
            .map(|hit| (hit.span, hit.label))
            .collect();
        hidden.sort_by_key(|(span, _)| (span.start, std::cmp::Reverse(span.end)));
        let mut masked = String::with_capacity(text.len());
        let mut done = 0;
        for (span, label) in hidden {
            if span.start >= done {
                masked.push_str(&text[done..span.start]);
                masked.push_str(label);
            }
            done = done.max(span.end);
        }
        masked.push_str(&text[done..]);
        masked
    }

    fn of(&self, direction: Direction) -> impl Iterator<Item = (RuleIndex, &Rule)> {
        let rules = self.rules.iter().enumerate();
        rules
            .filter(move |(_, rule)| rule.directions.contains(&direction))
            .map(|(index, rule)| (RuleIndex(index), rule))
    }
}
