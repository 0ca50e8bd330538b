//! Which tools an agent may call, and with what.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::de::{Deserialize, MapAccess, Visitor};
use serde_json::Value;
use thiserror::Error;

use crate::decision::Risk;

/// Longest arguments of a call, in bytes; a model that writes more has lost its way.
pub const LONGEST_ARGUMENTS: usize = 64 * 1024;

/// What one argument may be.
#[derive(Clone, Debug, PartialEq)]
pub enum ArgumentLimit {
    /// One of these values, compared exactly.
    OneOf(BTreeSet<String>),
    /// Text of at most so many characters.
    Text {
        /// Longest, in characters.
        longest: usize,
    },
    /// A number in a range, ends included.
    Number {
        /// Smallest.
        minimum: f64,
        /// Largest.
        maximum: f64,
    },
    /// True or false.
    Boolean,
}

impl ArgumentLimit {
    /// What is wrong with a value.
    fn fault(&self, value: &Value) -> Option<String> {
        match (self, value) {
            (Self::OneOf(values), Value::String(text)) if values.contains(text) => None,
            (Self::OneOf(values), _) => {
                Some(format!("must be one of {}", values.iter().cloned().collect::<Vec<_>>().join(", ")))
            }
            (Self::Text { longest }, Value::String(text)) if text.chars().count() <= *longest => None,
            (Self::Text { longest }, _) => Some(format!("must be text of at most {longest} characters")),
            (Self::Number { minimum, maximum }, Value::Number(number))
                if number.as_f64().is_some_and(|number| (*minimum..=*maximum).contains(&number)) =>
            {
                None
            }
            (Self::Number { minimum, maximum }, _) => {
                Some(format!("must be a number from {minimum} to {maximum}"))
            }
            (Self::Boolean, Value::Bool(_)) => None,
            (Self::Boolean, _) => Some("must be true or false".to_owned()),
        }
    }
}

/// One tool an agent may call.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ToolRule {
    /// How much harm it can do.
    pub risk: Risk,
    /// Limits of its arguments, by name. An argument with a limit may be left out.
    pub arguments: BTreeMap<String, ArgumentLimit>,
    /// Whether arguments without a limit may be given.
    pub allows_others: bool,
}

/// The tools of an agent.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ToolRules {
    /// By name.
    pub tools: BTreeMap<String, ToolRule>,
    /// Whether tools that are not named may be called, with any arguments; they count as [`Risk::Ordinary`].
    pub allows_others: bool,
}

/// Why a call is refused. The words are for the model: it reads them as the tool's output.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum ToolRefusal {
    /// The agent has no such tool.
    #[error("this agent may not call the tool")]
    UnknownTool,
    /// Longer than [`LONGEST_ARGUMENTS`].
    #[error("the arguments are too long")]
    TooLong,
    /// No JSON object, or one that names an argument twice.
    #[error("the arguments are not a JSON object that names every argument once")]
    Malformed,
    /// An argument the tool may not be given.
    #[error("the argument '{0}' may not be given")]
    UnknownArgument(String),
    /// An argument outside its limits.
    #[error("the argument '{argument}' {fault}")]
    OutsideLimits {
        /// Which.
        argument: String,
        /// What it must be.
        fault: String,
    },
}

impl ToolRules {
    /// Any tool with any arguments: what holds where nothing is configured.
    #[must_use]
    pub const fn unrestricted() -> Self {
        Self { tools: BTreeMap::new(), allows_others: true }
    }

    /// Whether [`ToolRules::check`] looks at the arguments of this tool; otherwise its name says everything.
    #[must_use]
    pub fn judges_arguments(&self, tool: &str) -> bool {
        self.tools.contains_key(tool)
    }

    /// How much harm a call can do, if its arguments are inside their limits. `arguments` is the text the model wrote; none
    /// at all stands for an empty object.
    ///
    /// # Errors
    /// The [`ToolRefusal`] that applies.
    pub fn check(&self, tool: &str, arguments: &str) -> Result<Risk, ToolRefusal> {
        let Some(rule) = self.tools.get(tool) else {
            return if self.allows_others { Ok(Risk::Ordinary) } else { Err(ToolRefusal::UnknownTool) };
        };
        if arguments.len() > LONGEST_ARGUMENTS {
            return Err(ToolRefusal::TooLong);
        }
        let arguments = if arguments.trim().is_empty() { "{}" } else { arguments };
        let given: Arguments = serde_json::from_str(arguments).map_err(|_| ToolRefusal::Malformed)?;
        for (name, value) in &given.0 {
            match rule.arguments.get(name) {
                Some(limit) => {
                    if let Some(fault) = limit.fault(value) {
                        return Err(ToolRefusal::OutsideLimits { argument: name.clone(), fault });
                    }
                }
                None if rule.allows_others => {}
                None => {
                    let shown = name.chars().filter(|shown| !shown.is_control()).take(64).collect();
                    return Err(ToolRefusal::UnknownArgument(shown));
                }
            }
        }
        Ok(rule.risk)
    }
}

/// A JSON object that names nothing twice. Readers differ in which of two they believe, so one with a limit could be
/// hidden behind one without.
struct Arguments(BTreeMap<String, Value>);

impl<'de> Deserialize<'de> for Arguments {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Once;
        impl<'de> Visitor<'de> for Once {
            type Value = Arguments;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Arguments, M::Error> {
                let mut given = BTreeMap::new();
                while let Some((name, value)) = map.next_entry::<String, Value>()? {
                    if given.insert(name, value).is_some() {
                        return Err(serde::de::Error::custom("an argument is named twice"));
                    }
                }
                Ok(Arguments(given))
            }
        }
        deserializer.deserialize_map(Once)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules() -> ToolRules {
        let arguments = BTreeMap::from([
            ("amount".to_owned(), ArgumentLimit::Number { minimum: 0.0, maximum: 100.0 }),
            ("currency".to_owned(), ArgumentLimit::OneOf(["EUR".to_owned(), "USD".to_owned()].into())),
            ("note".to_owned(), ArgumentLimit::Text { longest: 5 }),
            ("urgent".to_owned(), ArgumentLimit::Boolean),
        ]);
        let refund = ToolRule { risk: Risk::Dangerous, arguments, allows_others: false };
        let look = ToolRule { risk: Risk::ReadOnly, allows_others: true, ..ToolRule::default() };
        ToolRules {
            tools: [("refund".to_owned(), refund), ("look".to_owned(), look)].into(),
            allows_others: false,
        }
    }

    #[test]
    fn a_call_inside_its_limits_has_the_risk_of_its_tool() {
        let rules = rules();
        let full = r#"{"amount": 100, "currency": "EUR", "note": "häßli", "urgent": true}"#;
        assert_eq!(rules.check("refund", full), Ok(Risk::Dangerous));
        assert_eq!(rules.check("refund", r#"{"amount": 0}"#), Ok(Risk::Dangerous), "both ends are inside");
        assert_eq!(rules.check("refund", "{}"), Ok(Risk::Dangerous));
        assert_eq!(rules.check("refund", ""), Ok(Risk::Dangerous));
        assert_eq!(rules.check("look", r#"{"anything": [1, {"x": null}]}"#), Ok(Risk::ReadOnly));
    }

    #[test]
    fn every_limit_is_kept() {
        let rules = rules();
        for wrong in [
            r#"{"amount": 100.01}"#,
            r#"{"amount": -1}"#,
            r#"{"amount": "5"}"#,
            r#"{"amount": 1e400}"#,
            r#"{"amount": [5]}"#,
            r#"{"currency": "eur"}"#,
            r#"{"currency": null}"#,
            r#"{"note": "longer"}"#,
            r#"{"urgent": 1}"#,
            r#"{"to": "me"}"#,
            r#"{"amount": 5, "amount": 5000}"#,
            r#"{"amount": 5, "\u0061mount": 5000}"#,
            "[]",
            "5",
            "{",
            "{} {}",
        ] {
            assert!(rules.check("refund", wrong).is_err(), "{wrong}");
        }
        let long = format!("{{\"note\": \"{}\"}}", "x".repeat(LONGEST_ARGUMENTS));
        assert_eq!(rules.check("look", &long), Err(ToolRefusal::TooLong));
    }

    #[test]
    fn a_refusal_tells_the_model_what_to_do_better() {
        let refusal = rules().check("refund", r#"{"currency": "GBP"}"#).unwrap_err();
        assert_eq!(refusal.to_string(), "the argument 'currency' must be one of EUR, USD");
        assert_eq!(rules().check("transfer", "{}"), Err(ToolRefusal::UnknownTool));
        assert_eq!(ToolRules::unrestricted().check("transfer", "no json"), Ok(Risk::Ordinary));
    }
}
