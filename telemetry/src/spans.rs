//! A session as a tree of spans, for tracing backends.
//!
//! The session is one span, its turns are below it, and below a turn is everything the turn waited for or that was at
//! work meanwhile: one span for each stretch of a hop. What happened at one moment (another target took over, an answer was
//! cut off) is an event of the turn it happened in, otherwise of the session. Nothing that was said and no argument of a
//! tool is in it. Everything is computed from the session's record: ids follow from the session's own, so the same record
//! always gives the same tree, and a turn can be sent before the session is over.
//!
//! - [`conventions`]: whose names attributes have.
//! - [`turn_spans`], [`tool_spans`], [`speech_spans`] and [`session_span`]: the tree.

mod attributes;
pub mod conventions;
mod session;
#[cfg(test)]
mod tests;
mod tool;
mod turn;

use std::borrow::Cow;
use std::time::Duration;

use voxgate_protocol::trace_context::SpanId;

pub use session::{session_span, speech_spans};
pub use tool::tool_spans;
pub use turn::turn_spans;

/// One operation of a trace.
#[derive(Clone, Debug, PartialEq)]
pub struct Span {
    /// Its id.
    pub id: SpanId,
    /// The span it is below; `None` for one that nothing is known to be above of.
    pub parent: Option<SpanId>,
    /// Whether that is a span of another process.
    pub has_remote_parent: bool,
    /// What it is called. Few different ones, so that backends can group by it.
    pub name: Cow<'static, str>,
    /// Between whom it happens.
    pub kind: SpanKind,
    /// Since 1970.
    pub from: Duration,
    /// Since 1970, not before [`Span::from`].
    pub to: Duration,
    /// What is known of it; no name twice.
    pub attributes: Vec<Attribute>,
    /// What happened in it, in order of time.
    pub events: Vec<SpanEvent>,
    /// Why it failed, in a word; `None` if it did not.
    pub failure: Option<&'static str>,
}

/// Between whom a span happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SpanKind {
    /// Inside the gateway.
    Internal,
    /// Somebody asked the gateway.
    Server,
    /// The gateway asked somebody.
    Client,
}

/// Something known of a span.
#[derive(Clone, Debug, PartialEq)]
pub struct Attribute {
    /// Its name.
    pub name: Cow<'static, str>,
    /// Its value.
    pub value: Value,
}

/// A value.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// A text.
    Text(String),
    /// Yes or no.
    Flag(bool),
    /// A whole number.
    Whole(i64),
    /// A number.
    Fraction(f64),
    /// Several texts.
    Texts(Vec<String>),
}

/// Something that happened at one moment.
#[derive(Clone, Debug, PartialEq)]
pub struct SpanEvent {
    /// Since 1970.
    pub at: Duration,
    /// What it is called.
    pub name: Cow<'static, str>,
    /// What is known of it.
    pub attributes: Vec<Attribute>,
}

/// The numbers by which spans below others get their ids.
mod number {
    /// Of the turns of a session.
    pub(super) const TURNS: u64 = 0x1_0000_0000;
    /// Of the tool calls of a session.
    pub(super) const TOOLS: u64 = 0x2_0000_0000;
    /// Of the stretches of speech of a session.
    pub(super) const SPEECH: u64 = 0x3_0000_0000;
}

/// Milliseconds of a record as a duration; nothing sensible as zero.
fn milliseconds(value: f64) -> Duration {
    Duration::try_from_secs_f64(value / 1_000.0).unwrap_or_default()
}
