//! Commands from and events to a client, whatever protocol it speaks.
//!
//! The session core sits between a provider ([`crate::bridge`]) and a client protocol. It consumes
//! [`SessionCommand`]s and emits [`SessionEvent`]s; an adapter for a client protocol (OpenAI Realtime, later
//! others) turns wire messages into the former and the latter into wire messages.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::audio::Pcm;
use crate::bridge::{Fault, OutputPart, ResponseStatus};
use crate::conversation::{Item, ItemStatus, Position};
use crate::id::{ItemId, ResponseId};
use crate::settings::{ResponseOptions, SessionSettings};
use crate::trace::TurnTrace;
use crate::usage::{TokenUsage, TranscriptionUsage};

/// What a client asks the session core to do. Already checked by the adapter.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SessionCommand {
    /// New settings; always the whole of them.
    Configure(Box<SessionSettings>),
    /// Audio of a client that sends PCM itself (WebSocket).
    AppendAudio(Pcm),
    /// End the turn by hand.
    CommitInput,
    /// Forget the audio since the last commit.
    ClearInput,
    /// Write an item.
    CreateItem {
        /// The item.
        item: Item,
        /// Where.
        position: Position,
    },
    /// Remove an item.
    DeleteItem {
        /// The item.
        item_id: ItemId,
    },
    /// The client says how much it has played (WebSocket clients keep the playout clock themselves).
    Truncate {
        /// The item.
        item_id: ItemId,
        /// The content part, counted from zero.
        content_index: u32,
        /// How much was heard.
        heard: Duration,
    },
    /// Ask for an answer.
    CreateResponse(Box<ResponseOptions>),
    /// Stop the answer in progress.
    CancelResponse {
        /// Which; `None` is the one in progress.
        response_id: Option<ResponseId>,
    },
    /// Stop playback and forget what has not been played (WebRTC only).
    ClearOutput,
    /// The client is gone and was heard last this long ago: what was played since then reached nobody.
    LoseClient {
        /// Since the last sign of life.
        silent_for: Duration,
    },
    /// Policy takes an answer back: it ends as one a filter stopped, and what has not been played is forgotten.
    WithdrawAnswer {
        /// Which; `None` is the one in progress, or else the one that is about to begin.
        response_id: Option<ResponseId>,
        /// What is asked for in its place, once it is over. Speech of the caller makes it needless.
        instead: Option<Box<ResponseOptions>>,
    },
    /// Policy has something for the model to answer: it is asked once no answer is under way. Speech of the caller, or
    /// another answer that is asked for first, makes it needless.
    AnswerWhenFree(Box<ResponseOptions>),
    /// Latency figures only the client can measure.
    ReportClient(ClientReport),
}

/// What a client measured of its own side (from `getStats`) since its last report. What it does not know is `None`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClientReport {
    /// Round trip of the selected ICE pair.
    pub round_trip: Option<Duration>,
    /// Mean time a sample waits in the client's jitter buffer.
    pub jitter_buffer: Option<Duration>,
    /// Time from the jitter buffer to the loudspeaker.
    pub playout: Option<Duration>,
    /// Time from the microphone to the encoder; the wait for a packet to fill is measured by the gateway.
    pub capture: Option<Duration>,
    /// Time from the microphone to where the capture times are taken that packets carry.
    #[serde(default)]
    pub before_stamp: Option<Duration>,
    /// Interarrival jitter of the answer's packets (RFC 3550 section 6.4.1).
    #[serde(default)]
    pub jitter: Option<Duration>,
    /// Sound of the answer it had to make up.
    #[serde(default)]
    pub concealed: Option<Duration>,
    /// Packets of the answer that came.
    #[serde(default)]
    pub packets: Option<u32>,
    /// Packets of the answer that did not.
    #[serde(default)]
    pub lost: Option<u32>,
    /// How its packets travel.
    #[serde(default)]
    pub pair: Option<CandidatePair>,
}

/// The ICE candidate pair in use, as the client sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CandidatePair {
    /// What carries the packets.
    pub carrier: PairCarrier,
    /// What kind of candidate the client's own is (RFC 8445 section 5.1.1).
    pub kind: CandidateKind,
}

/// What carries the packets of a candidate pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PairCarrier {
    /// Datagrams.
    Udp,
    /// A TCP connection.
    Tcp,
    /// A TLS connection.
    Tls,
}

/// Where a candidate's address comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CandidateKind {
    /// An interface of the client.
    Host,
    /// What a STUN server saw.
    Srflx,
    /// What the other side saw.
    Prflx,
    /// A TURN server of the client.
    Relay,
}

impl CandidatePair {
    const KINDS: [CandidateKind; 4] =
        [CandidateKind::Host, CandidateKind::Srflx, CandidateKind::Prflx, CandidateKind::Relay];
    const CARRIERS: [PairCarrier; 3] = [PairCarrier::Udp, PairCarrier::Tcp, PairCarrier::Tls];

    /// Its name, such as `udp/host`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match (self.carrier, self.kind) {
            (PairCarrier::Udp, CandidateKind::Host) => "udp/host",
            (PairCarrier::Udp, CandidateKind::Srflx) => "udp/srflx",
            (PairCarrier::Udp, CandidateKind::Prflx) => "udp/prflx",
            (PairCarrier::Udp, CandidateKind::Relay) => "udp/relay",
            (PairCarrier::Tcp, CandidateKind::Host) => "tcp/host",
            (PairCarrier::Tcp, CandidateKind::Srflx) => "tcp/srflx",
            (PairCarrier::Tcp, CandidateKind::Prflx) => "tcp/prflx",
            (PairCarrier::Tcp, CandidateKind::Relay) => "tcp/relay",
            (PairCarrier::Tls, CandidateKind::Host) => "tls/host",
            (PairCarrier::Tls, CandidateKind::Srflx) => "tls/srflx",
            (PairCarrier::Tls, CandidateKind::Prflx) => "tls/prflx",
            (PairCarrier::Tls, CandidateKind::Relay) => "tls/relay",
        }
    }

    /// The pair of a name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        let pairs = Self::CARRIERS
            .into_iter()
            .flat_map(|carrier| Self::KINDS.into_iter().map(move |kind| Self { carrier, kind }));
        pairs.into_iter().find(|pair| pair.as_str() == name)
    }
}

/// Why a session ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EndReason {
    /// The client closed its connection.
    ClientClosed,
    /// The client was not heard for too long.
    ClientLost,
    /// The hang-up endpoint was called.
    HungUp,
    /// The provider is gone and cannot be replaced.
    ProviderFailed,
    /// The longest allowed duration was reached.
    MaximumDuration,
    /// The process is shutting down.
    Drained,
    /// The connection was never completed.
    SetupTimeout,
    /// The key of the session was taken back.
    KeyRevoked,
    /// Somebody ended it in the administration.
    EndedByOperator,
    /// Something was said that a guardrail ends calls for.
    Guardrail,
    /// The budget it ran on is used up.
    BudgetExhausted,
    /// A limit that nothing but its end keeps is reached.
    RateLimited,
    /// A mistake in the gateway: its own log has more.
    InternalError,
}

impl EndReason {
    /// The name used in logs and metric labels.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ClientClosed => "client_closed",
            Self::ClientLost => "client_lost",
            Self::HungUp => "hung_up",
            Self::ProviderFailed => "provider_failed",
            Self::MaximumDuration => "maximum_duration",
            Self::Drained => "drained",
            Self::SetupTimeout => "setup_timeout",
            Self::KeyRevoked => "key_revoked",
            Self::EndedByOperator => "ended_by_operator",
            Self::Guardrail => "guardrail",
            Self::BudgetExhausted => "budget_exhausted",
            Self::RateLimited => "rate_limited",
            Self::InternalError => "internal_error",
        }
    }
}

/// What the session core tells a client.
#[derive(Clone, Debug, PartialEq)]
pub enum SessionEvent {
    /// The caller began to speak.
    SpeechStarted {
        /// The name of the user item being spoken.
        item_id: ItemId,
        /// Position in the audio received so far, prefix padding included.
        at: Duration,
    },
    /// The caller stopped speaking.
    SpeechStopped {
        /// The name of the user item.
        item_id: ItemId,
        /// Position in the audio received so far.
        at: Duration,
    },
    /// The caller's audio became an item.
    InputCommitted {
        /// Its name.
        item_id: ItemId,
    },
    /// The audio since the last commit was forgotten.
    InputCleared,
    /// The caller stayed silent for the idle timeout after the agent's last word. The silence becomes an item, and an
    /// answer follows.
    InputTimedOut {
        /// The name of the silent item.
        item_id: ItemId,
        /// Where the silence began, as a position in the audio received so far.
        from: Duration,
        /// Where it was cut.
        to: Duration,
    },
    /// A manual commit found no audio.
    InputEmpty,
    /// A piece of what the caller said.
    InputTranscriptDelta {
        /// The user item.
        item_id: ItemId,
        /// To be joined.
        delta: String,
    },
    /// All of what the caller said.
    InputTranscriptDone {
        /// The user item.
        item_id: ItemId,
        /// The words.
        transcript: String,
        /// What the recognition used.
        usage: Option<TranscriptionUsage>,
    },
    /// All of what the caller said. For the conversation's memory only: the client did not ask to see it.
    InputWords {
        /// The user item.
        item_id: ItemId,
        /// The words.
        words: String,
    },
    /// The caller's words could not be recognised.
    InputTranscriptFailed {
        /// The user item.
        item_id: ItemId,
        /// One sentence.
        message: String,
    },
    /// An answer begins.
    ResponseStarted {
        /// Its name.
        response_id: ResponseId,
        /// The session itself asked for it, to answer a turn. False if the client did, or if nobody is known to have.
        is_for_turn: bool,
    },
    /// The provider will not begin an answer it was asked for.
    ResponseRefused {
        /// Why.
        fault: Fault,
        /// The session itself had asked for it, to answer a turn.
        is_for_turn: bool,
    },
    /// Part of an answer. Audio is included for every client; adapters of WebRTC clients leave it out, since
    /// it travels as RTP.
    Output {
        /// The answer.
        response_id: ResponseId,
        /// The item.
        item_id: ItemId,
        /// The piece.
        part: OutputPart,
    },
    /// An item of an answer is complete (or cut off).
    OutputItemDone {
        /// The answer.
        response_id: ResponseId,
        /// The item.
        item_id: ItemId,
        /// Whether it reached its end.
        status: ItemStatus,
    },
    /// An answer ended.
    ResponseDone {
        /// The answer.
        response_id: ResponseId,
        /// How.
        status: ResponseStatus,
        /// What it used.
        usage: Option<TokenUsage>,
    },
    /// The first frame of an answer was sent to the caller (WebRTC only).
    PlayoutStarted {
        /// The answer.
        response_id: ResponseId,
    },
    /// The last frame of an answer was sent and the answer is done (WebRTC only).
    PlayoutStopped {
        /// The answer.
        response_id: ResponseId,
    },
    /// Playback was cut off (WebRTC only).
    PlayoutCleared {
        /// The answer.
        response_id: ResponseId,
    },
    /// An item of the agent was cut to what was heard.
    ItemTruncated {
        /// The item.
        item_id: ItemId,
        /// The content part, counted from zero.
        content_index: u32,
        /// How much was heard.
        heard: Duration,
    },
    /// A turn was measured.
    TurnMeasured(Box<TurnTrace>),
    /// Something failed; the session goes on unless the fault is final.
    Fault(Fault),
    /// The session is over. Nothing follows.
    Ended(EndReason),
}
