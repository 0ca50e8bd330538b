//! Attributes as they come together.

use serde_json::Value as Json;

use super::conventions::{Conventions, Part};
use super::{Attribute, Value};
use crate::session::view::{EventView, Severity, SummaryView};

/// Longest text that is taken over from the detail of an event: names and codes are shorter.
const LONGEST_DETAIL: usize = 128;

/// What of an event's detail leaves the gateway: figures, and names of the configuration. Never an argument of a tool.
const DETAILS: &[&str] = &[
    "act",
    "approval",
    "breaches",
    "budget_ms",
    "call",
    "code",
    "count",
    "decision",
    "duration_ms",
    "effect",
    "final",
    "from",
    "hop",
    "limit",
    "owner",
    "policies",
    "provider",
    "reason",
    "region",
    "relay",
    "risk",
    "rule",
    "set",
    "spender",
    "spent_ms",
    "state",
    "stop_ms",
    "subject",
    "to",
    "tool",
    "turn",
    "turns",
    "unheard",
    "wait_ms",
    "waited_ms",
    "work",
];

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<bool> for Value {
    fn from(flag: bool) -> Self {
        Self::Flag(flag)
    }
}

impl From<u32> for Value {
    fn from(number: u32) -> Self {
        Self::Whole(i64::from(number))
    }
}

impl From<u64> for Value {
    fn from(number: u64) -> Self {
        Self::Whole(i64::try_from(number).unwrap_or(i64::MAX))
    }
}

impl From<i64> for Value {
    fn from(number: i64) -> Self {
        Self::Whole(number)
    }
}

impl From<f64> for Value {
    fn from(number: f64) -> Self {
        Self::Fraction(number)
    }
}

/// A list in the making.
pub(super) struct Attributes(Vec<Attribute>);

impl Attributes {
    pub(super) const fn new() -> Self {
        Self(Vec::new())
    }

    /// One more.
    pub(super) fn with(mut self, name: &'static str, value: impl Into<Value>) -> Self {
        self.0.push(Attribute { name: name.into(), value: value.into() });
        self
    }

    /// One more, of a name that is made up.
    pub(super) fn named(mut self, name: String, value: impl Into<Value>) -> Self {
        self.0.push(Attribute { name: name.into(), value: value.into() });
        self
    }

    /// One more, if it is known.
    pub(super) fn maybe(self, name: &'static str, value: Option<impl Into<Value>>) -> Self {
        match value {
            Some(value) => self.with(name, value),
            None => self,
        }
    }

    /// What a span is, and whose session it is in.
    pub(super) fn of(part: Part, session: &SummaryView, conventions: Conventions) -> Self {
        let kind = conventions.open_inference.then_some(part.as_str());
        Self::new().with("session.id", session.id.as_str()).maybe("openinference.span.kind", kind)
    }

    pub(super) fn done(self) -> Vec<Attribute> {
        self.0
    }
}

/// What of an event leaves the gateway. Its sentence does not: it is for people who may see the session.
pub(super) fn of_event(event: &EventView) -> Vec<Attribute> {
    let severity = match event.severity {
        Severity::Info => "info",
        Severity::Warning => "warning",
        Severity::Error => "error",
    };
    let mut attributes = Attributes::new().with("voxgate.severity", severity);
    for (name, value) in event.detail.as_object().into_iter().flatten() {
        let known = DETAILS.contains(&name.as_str());
        if let Some(value) = value_of(value).filter(|_| known) {
            attributes = attributes.named(format!("voxgate.{name}"), value);
        }
    }
    attributes.done()
}

fn value_of(json: &Json) -> Option<Value> {
    match json {
        Json::Bool(flag) => Some((*flag).into()),
        Json::Number(number) => {
            number.as_i64().map(Value::Whole).or_else(|| number.as_f64().map(Value::Fraction))
        }
        Json::String(text) => (text.len() <= LONGEST_DETAIL).then(|| text.as_str().into()),
        Json::Array(_) | Json::Object(_) | Json::Null => None,
    }
}
