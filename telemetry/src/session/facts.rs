//! What is known of a session when it begins, and what is told of it later.

use std::fmt;
use std::time::Duration;

use serde_json::Value;
use voxgate_protocol::id::{CallId, SessionId};
use voxgate_protocol::money::NanoDollars;
use voxgate_protocol::revision::RevisionName;
use voxgate_protocol::tenant::TenantPath;
use voxgate_protocol::trace_context::TraceContext;

use crate::latency::account::TurnAccount;
use crate::latency::budget::{Breach, LatencyBudget};

use super::view::{EventKind, Severity};

/// What is known of a session when it begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionFacts {
    /// Its name.
    pub session: SessionId,
    /// The call, if it is one over WebRTC.
    pub call: Option<CallId>,
    /// Whose it is.
    pub tenancy: TenantPath,
    /// The model, as the client named it.
    pub model: String,
    /// `webrtc` or `websocket`.
    pub transport: &'static str,
    /// `conversation` or `transcription`.
    pub purpose: &'static str,
    /// The revision of the configuration it keeps to its end.
    pub revision: RevisionName,
    /// In milliseconds since 1970.
    pub began_at_unix_ms: u64,
    /// Where in which distributed trace it stands.
    pub trace: TraceContext,
}

impl SessionFacts {
    /// A conversation over WebSocket of which no more is known than its name.
    #[must_use]
    pub fn new(session: SessionId, trace: TraceContext) -> Self {
        Self {
            session,
            call: None,
            tenancy: TenantPath::default(),
            model: String::new(),
            transport: "websocket",
            purpose: "conversation",
            revision: RevisionName::default(),
            began_at_unix_ms: 0,
            trace,
        }
    }
}

/// Who serves a session from now on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Serving {
    /// The configured provider.
    pub provider: String,
    /// Where it works.
    pub region: Option<String>,
    /// The model as the provider knows it.
    pub model: Option<String>,
    /// For which model names the route is.
    pub route: Option<String>,
}

/// A turn that was measured.
#[derive(Clone, Copy, Debug)]
pub struct TurnNote<'a> {
    /// Hop by hop.
    pub account: &'a TurnAccount,
    /// What it may take on its route, if the route has a budget.
    pub budget: Option<&'a LatencyBudget>,
    /// What of it took more.
    pub breaches: &'a [Breach],
}

/// One second on the network. What is not known stays `None`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NetworkNote {
    /// Between client and gateway.
    pub round_trip: Option<Duration>,
    /// What the gateway saw of the caller's packets in this second.
    pub uplink: Option<UplinkNote>,
    /// What the client said of the agent's packets in this second, by itself or by RTCP.
    pub downlink: Option<DownlinkNote>,
    /// The way of the packets, such as `udp/host` or `tcp/websocket`.
    pub pair: Option<String>,
}

/// The caller's packets in one second, or the messages with its audio: of these none is lost, only late.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UplinkNote {
    /// That came in.
    pub packets: u32,
    /// That did not.
    pub lost: Option<u32>,
    /// Of the lost ones, those another packet made up for.
    pub recovered: Option<u32>,
    /// Audio that was made up.
    pub concealed: Option<Duration>,
    /// The interarrival jitter of RFC 3550.
    pub jitter: Option<Duration>,
    /// How long a missing packet is waited for.
    pub buffer: Option<Duration>,
}

/// The agent's packets in one second, as the client saw them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DownlinkNote {
    /// That came in.
    pub packets: Option<u32>,
    /// That did not.
    pub lost: Option<u32>,
    /// Audio that was made up.
    pub concealed: Option<Duration>,
    /// The interarrival jitter of RFC 3550.
    pub jitter: Option<Duration>,
    /// Mean wait in the jitter buffer.
    pub buffer: Option<Duration>,
    /// From there to the loudspeaker.
    pub playout: Option<Duration>,
    /// What both probably are together, if neither is known. For the score only.
    pub probable_wait: Option<Duration>,
}

/// What becomes of the words of an item.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum WordsChange<'a> {
    /// More of them.
    Add(&'a str),
    /// These are all.
    Complete(&'a str),
    /// Only this was heard.
    Cut(&'a str),
    /// The item is taken back: a rule hides it, or the client removed it.
    Remove,
}

/// The kind only: what was said must not reach a log.
impl fmt::Debug for WordsChange<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Add(_) => "Add",
            Self::Complete(_) => "Complete",
            Self::Cut(_) => "Cut",
            Self::Remove => "Remove",
        })
    }
}

/// Something that happened.
#[derive(Clone, Debug, PartialEq)]
pub struct EventNote {
    /// What kind.
    pub kind: EventKind,
    /// How bad.
    pub severity: Severity,
    /// One sentence, without anything that was said.
    pub text: String,
    /// The figures and names behind it: a JSON object, or null.
    pub detail: Value,
}

impl EventNote {
    /// Something in order.
    #[must_use]
    pub fn info(kind: EventKind, text: impl Into<String>) -> Self {
        Self { kind, severity: Severity::Info, text: text.into(), detail: Value::Null }
    }

    /// Something somebody may have noticed.
    #[must_use]
    pub fn warning(kind: EventKind, text: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, ..Self::info(kind, text) }
    }

    /// Something that did not work.
    #[must_use]
    pub fn error(kind: EventKind, text: impl Into<String>) -> Self {
        Self { severity: Severity::Error, ..Self::info(kind, text) }
    }

    /// With what is behind it.
    #[must_use]
    pub fn with(self, detail: Value) -> Self {
        Self { detail, ..self }
    }
}

/// What a session has cost, for the part of it a turn is charged with.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Spent {
    /// Since the session began; `None` as long as nobody counts.
    pub(super) total: Option<NanoDollars>,
    /// The total when the caller fell silent last, unless a turn was measured since.
    pub(super) at_last_word: Option<NanoDollars>,
    /// The total when the newest turn began.
    pub(super) at_turn: NanoDollars,
}
