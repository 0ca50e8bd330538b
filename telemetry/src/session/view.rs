//! A record as readers get it: the JSON of the download, of the live feed and of the webhook.
//!
//! `*_at` are seconds since 1970, `*_ms` milliseconds, `at_ms` counts from the beginning of the session. Money is in whole
//! billionths of a dollar. What is not known is null, never 0. Every entry of a list carries in `seq` the revision at
//! which it changed last; an entry with the same key replaces the older one. The keys: `turn` of turns, `at_ms` of network
//! seconds, `number` of marks and events, `item` of the transcript.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;
use voxgate_protocol::session::EndReason;
use voxgate_protocol::timeline::{Certainty, Hop, HopOwner};

/// The version of the shape.
pub const RECORD_VERSION: u32 = 1;

/// How far a session is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum SessionState {
    /// It is admitted; its client is not connected yet.
    #[default]
    Connecting,
    /// Its client is connected.
    Open,
    /// It was told to end.
    Ending,
    /// It is over.
    Ended,
}

impl SessionState {
    /// The word in JSON.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Connecting => "connecting",
            Self::Open => "open",
            Self::Ending => "ending",
            Self::Ended => "ended",
        }
    }
}

/// All that is kept of a session, or what of it is new.
#[derive(Clone, PartialEq, Serialize, ToSchema)]
pub struct RecordView {
    /// [`RECORD_VERSION`].
    pub version: u32,
    /// Rises with every change. Who has seen this asks next for what is newer.
    pub revision: u64,
    /// The session as it stands.
    pub session: SummaryView,
    /// What may be kept of it.
    pub recording: RecordingView,
    /// Whether it is measured. Of one that is not there are only `session` and `events`; the other lists stay empty.
    pub measured: bool,
    /// Its last 2,000 turns.
    pub turns: Vec<TurnView>,
    /// Its last 3,600 seconds on the network.
    pub network: Vec<NetworkView>,
    /// How loud both sides were in the last hour.
    pub levels: LevelsView,
    /// Who spoke when: the last 4,000 stretches.
    pub marks: Vec<MarkView>,
    /// What was said, at most 2,000 items and 256 KiB; nothing unless policy lets words be kept.
    pub transcript: Vec<WordsView>,
    /// What happened: the last 1,000 events.
    pub events: Vec<EventView>,
    /// What is no longer complete, because the oldest of it had to go.
    pub truncated: TruncatedView,
}

/// Counts only: what was said must not reach a log.
impl std::fmt::Debug for RecordView {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RecordView")
            .field("session", &self.session.id)
            .field("revision", &self.revision)
            .field("turns", &self.turns.len())
            .field("network", &self.network.len())
            .field("marks", &self.marks.len())
            .field("transcript", &self.transcript.len())
            .field("events", &self.events.len())
            .finish_non_exhaustive()
    }
}

/// A session in a few figures.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct SummaryView {
    /// `sess_…`.
    pub id: String,
    /// `rtc_…`, as clients and sidebands name the call; null for one over a WebSocket.
    pub call: Option<String>,
    /// Whose it is.
    pub organisation: String,
    /// Whose it is.
    pub team: String,
    /// Whose it is.
    pub key: String,
    /// The agent its key is narrowed to.
    pub agent: Option<String>,
    /// As the client named it.
    pub model: String,
    /// For which model names the route is that serves it.
    pub route: Option<String>,
    /// The configured provider that serves it; null until one does.
    pub provider: Option<String>,
    /// Where the provider works, if the configuration says so.
    pub region: Option<String>,
    /// `webrtc` or `websocket`.
    pub transport: String,
    /// `conversation` or `transcription`.
    pub purpose: String,
    /// How far it is.
    pub state: SessionState,
    /// The revision of the configuration it keeps to its end.
    pub revision_number: u64,
    /// Its hash.
    pub revision_hash: String,
    /// In seconds since 1970.
    pub began_at: f64,
    /// In seconds since 1970; null while it runs.
    pub ended_at: Option<f64>,
    /// Why it ended, such as `client_closed`; null while it runs, and for one that never began.
    #[schema(value_type = Option<String>)]
    pub end_reason: Option<EndReason>,
    /// To its end; of one that runs to the last thing that happened, at most about a second ago.
    pub duration_ms: f64,
    /// Answers that were completed.
    pub answers: u32,
    /// What it has cost so far in billionths of a dollar, estimates included; null if nobody counts.
    pub cost_nano_dollars: Option<i64>,
    /// Turns that were measured.
    pub turns: u32,
    /// The median of the turns that are kept, exactly (the nearest rank).
    pub mouth_to_ear_p50_ms: Option<f64>,
    /// The 95th percentile of the turns that are kept, exactly (the nearest rank).
    pub mouth_to_ear_p95_ms: Option<f64>,
    /// Turns that took more than one of their budgets.
    pub breaches: u32,
    /// The hop that spent most of the budgets that were broken; null as long as none was.
    #[schema(value_type = Option<String>)]
    pub worst_hop: Option<Hop>,
    /// An estimate of how the call sounds, 1 to 4.4 (ITU-T G.107, simplified), over all seconds of which it is known.
    pub mos: Option<f64>,
    /// Audio packets of both directions that were lost, repaired or not, of all that were sent; 0 to 1.
    pub loss_ratio: Option<f64>,
    /// Answers the caller cut off.
    pub interruptions: u32,
    /// The relay that carries the call.
    pub relay: Option<String>,
    /// The trace of the session in OpenTelemetry, 32 hex digits.
    pub trace_id: String,
    /// The worse the greater: sessions that run first, then by the breaches of the last ten turns, the 95th percentile and
    /// the loss. Of equal ones the smaller id comes first.
    pub badness: u64,
    /// The revision of the record.
    pub seq: u64,
}

/// What may be kept of a session.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct RecordingView {
    /// What was said, in writing.
    pub words: bool,
    /// Both voices.
    pub voices: bool,
}

/// Lists that lost their oldest entries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct TruncatedView {
    /// Of turns.
    pub turns: bool,
    /// Of network seconds.
    pub network: bool,
    /// Of levels.
    pub levels: bool,
    /// Of marks.
    pub marks: bool,
    /// Of the transcript.
    pub transcript: bool,
    /// Of events.
    pub events: bool,
}

/// One turn.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct TurnView {
    /// The revision at which it changed last.
    pub seq: u64,
    /// The number of the turn, from 1.
    pub turn: u32,
    /// The caller's last word.
    pub at_ms: f64,
    /// From there to the caller's ear.
    pub mouth_to_ear_ms: f64,
    /// How that is known.
    #[schema(value_type = String)]
    pub certainty: Certainty,
    /// How wrong it may be; 0 if that is not known.
    pub error_ms: f64,
    /// What it may take on its route.
    pub budget_ms: Option<f64>,
    /// For which model names the route was that served it.
    pub route: Option<String>,
    /// Who served it.
    pub provider: Option<String>,
    /// Where.
    pub region: Option<String>,
    /// The model as the provider knows it.
    pub model: Option<String>,
    /// Whether the caller cut the answer off.
    pub interrupted: bool,
    /// What was spent from the caller's last word until that of the next turn; null if nobody counts.
    pub cost_nano_dollars: Option<i64>,
    /// What its answers used; null if the provider does not say.
    pub tokens: Option<TokensView>,
    /// The hops that took part, in their order. With `unattributed_ms` they sum to the whole.
    pub hops: Vec<HopView>,
    /// What no hop explains.
    pub unattributed_ms: f64,
    /// How much longer the hops said they took than the whole did.
    pub overrun_ms: f64,
    /// Hops that were at work, but nobody saw from when to when.
    #[schema(value_type = Vec<String>)]
    pub unknown: Vec<Hop>,
    /// Budgets it broke.
    pub breaches: Vec<BreachView>,
}

/// What answers used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct TokensView {
    /// Text tokens read, cached ones included.
    pub input_text: u64,
    /// Audio tokens read, cached ones included.
    pub input_audio: u64,
    /// Tokens of any kind read from the cache.
    pub cached: u64,
    /// Text tokens written.
    pub output_text: u64,
    /// Audio tokens written.
    pub output_audio: u64,
}

/// One hop of a turn.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct HopView {
    /// Which.
    #[schema(value_type = String)]
    pub hop: Hop,
    /// Who can make it shorter.
    #[schema(value_type = String)]
    pub owner: HopOwner,
    /// How the duration is known.
    #[schema(value_type = String)]
    pub certainty: Certainty,
    /// What the turn waited for it.
    pub duration_ms: f64,
    /// Work beside another hop. No part of the sum.
    pub overlapped_ms: f64,
    /// Work before the caller's last word. No part of the sum.
    pub ahead_ms: f64,
    /// How wrong the duration may be; 0 if not known to be.
    pub error_ms: f64,
    /// What it may take on this route.
    pub budget_ms: Option<f64>,
    /// Where in the turn.
    pub stretches: Vec<StretchView>,
}

/// A piece of a hop's time.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, ToSchema)]
pub struct StretchView {
    /// Since the caller's last word.
    pub start_ms: f64,
    /// How long.
    pub duration_ms: f64,
    /// Whether another hop was waited for meanwhile.
    pub overlapped: bool,
}

/// A budget that was broken.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct BreachView {
    /// `whole` or the name of a hop.
    pub subject: String,
    /// The hop that spent it.
    #[schema(value_type = Option<String>)]
    pub spender: Option<Hop>,
    /// Who can make that shorter.
    #[schema(value_type = Option<String>)]
    pub owner: Option<HopOwner>,
    /// What it may take.
    pub budget_ms: f64,
    /// What it took.
    pub spent_ms: f64,
    /// Whether it is a breach even if the estimates are as wrong as they may be.
    pub certain: bool,
}

/// One second on the network.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct NetworkView {
    /// The revision at which it changed last.
    pub seq: u64,
    /// The end of the second.
    pub at_ms: f64,
    /// Between client and gateway.
    pub round_trip_ms: Option<f64>,
    /// What the gateway saw of the caller's packets.
    pub uplink: Option<UplinkView>,
    /// What the client said of the agent's packets: by the client script, else by its RTCP reports. `null` before either.
    pub downlink: Option<DownlinkView>,
    /// The way of the packets, such as `udp/host` or `tcp/websocket`.
    pub pair: Option<String>,
    /// An estimate of how the call sounded, 1 to 4.4 (ITU-T G.107, simplified). Null over WebSocket: the client's buffer, which is
    /// most of the delay, is not known.
    pub mos: Option<f64>,
}

/// The caller's packets in one second. Of a call over WebSocket the messages with audio: none of them is lost or made up for.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, ToSchema)]
pub struct UplinkView {
    /// That came in.
    pub packets: u32,
    /// That did not.
    pub lost: Option<u32>,
    /// Of the lost ones, those another packet made up for (FEC).
    pub recovered: Option<u32>,
    /// Audio that was made up.
    pub concealed_ms: Option<f64>,
    /// The interarrival jitter of RFC 3550; of messages against the time line of their own samples.
    pub jitter_ms: Option<f64>,
    /// How long a missing packet is waited for at present.
    pub buffer_ms: Option<f64>,
}

/// The agent's packets in one second, as the client saw them. By RTCP a client reports every one to five seconds: packets
/// and losses are those since the report before, and `null` in a second without one.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, ToSchema)]
pub struct DownlinkView {
    /// That came in since the client told last; `null` in a second in which it told nothing. Most tell every five seconds, or at once
    /// when something is lost.
    pub packets: Option<u32>,
    /// That did not, likewise.
    pub lost: Option<u32>,
    /// Audio that was made up, likewise.
    pub concealed_ms: Option<f64>,
    /// The interarrival jitter of RFC 3550. This and what follows is what was told last.
    pub jitter_ms: Option<f64>,
    /// Mean wait in the jitter buffer; `null` if the client has no script.
    pub buffer_ms: Option<f64>,
    /// From there to the loudspeaker; `null` if the client has no script.
    pub playout_ms: Option<f64>,
}

/// How loud both sides were.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct LevelsView {
    /// The time between two values.
    pub every_ms: u32,
    /// The time of the first value.
    pub from_ms: u64,
    /// 0 to 100: the root mean square, on a scale of 60 dB below full scale.
    pub caller: Vec<u8>,
    /// The same of the agent, as it was played.
    pub agent: Vec<u8>,
}

/// Whose voice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Lane {
    /// The caller's.
    Caller,
    /// The agent's.
    Agent,
}

/// What is marked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum MarkKind {
    /// Somebody speaks.
    Speech,
    /// The caller cuts the agent off.
    Interruption,
}

/// A stretch of one lane.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, ToSchema)]
pub struct MarkView {
    /// The revision at which it changed last.
    pub seq: u64,
    /// Its number, from 1.
    pub number: u64,
    /// Its beginning.
    pub at_ms: f64,
    /// Its end; null while it goes on.
    pub until_ms: Option<f64>,
    /// Whose.
    pub lane: Lane,
    /// What.
    pub kind: MarkKind,
    /// Of an interruption: from the caller's speech to the agent's last sound.
    pub stop_ms: Option<f64>,
}

/// How far the words of an item are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum WordsState {
    /// More may follow.
    Partial,
    /// All of it.
    Complete,
    /// The rest was not heard.
    Cut,
}

/// What somebody said.
#[derive(Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct WordsView {
    /// The revision at which it changed last.
    pub seq: u64,
    /// `item_…`.
    pub item: String,
    /// When it began, in milliseconds since the session did.
    pub at_ms: u64,
    /// Who.
    pub who: Lane,
    /// The words.
    pub text: String,
    /// How far they are.
    pub state: WordsState,
}

/// The length only: what was said must not reach a log.
impl std::fmt::Debug for WordsView {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WordsView")
            .field("item", &self.item)
            .field("who", &self.who)
            .field("text_bytes", &self.text.len())
            .field("state", &self.state)
            .finish_non_exhaustive()
    }
}

/// What kind of thing happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum EventKind {
    /// The client is connected.
    Connected,
    /// Another target serves the session.
    Failover,
    /// Something that failed is tried again.
    Retry,
    /// A new connection to the same provider.
    Rotation,
    /// The model calls a tool.
    ToolCall,
    /// A person is asked, or has decided.
    Approval,
    /// A rule found something.
    Guardrail,
    /// The caller cut an answer off.
    Interruption,
    /// A turn took too long.
    Breach,
    /// Optional work is left out while turns are too slow.
    Shed,
    /// A budget of money is near its end, or at it.
    Budget,
    /// A limit held something up.
    Limit,
    /// The call came to another relay, or its relay is lost.
    Relay,
    /// The session goes on with a conversation, or its client came back.
    Resume,
    /// Something failed.
    Error,
    /// The session is over.
    Ended,
}

impl EventKind {
    /// The word in JSON and in traces.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Connected => "connected",
            Self::Failover => "failover",
            Self::Retry => "retry",
            Self::Rotation => "rotation",
            Self::ToolCall => "tool_call",
            Self::Approval => "approval",
            Self::Guardrail => "guardrail",
            Self::Interruption => "interruption",
            Self::Breach => "breach",
            Self::Shed => "shed",
            Self::Budget => "budget",
            Self::Limit => "limit",
            Self::Relay => "relay",
            Self::Resume => "resume",
            Self::Error => "error",
            Self::Ended => "ended",
        }
    }
}

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Not at all.
    Info,
    /// Somebody may have noticed.
    Warning,
    /// Something did not work.
    Error,
}

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct EventView {
    /// The revision at which it came in.
    pub seq: u64,
    /// Its number, from 1.
    pub number: u64,
    /// When.
    pub at_ms: f64,
    /// What kind.
    pub kind: EventKind,
    /// How bad.
    pub severity: Severity,
    /// One sentence, without anything that was said.
    pub text: String,
    /// The figures and names behind it, by name.
    #[schema(value_type = Object)]
    pub detail: Value,
}
