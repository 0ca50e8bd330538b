//! Commands to and events from a speech provider.
//!
//! A provider turns these into its own wire and back. The vocabulary is deliberately small: what can be derived
//! (content parts, done events, the conversation itself) is derived on the client's side, so that every provider
//! gives every client the same well-formed stream.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::audio::{Pcm, SampleRate};
use crate::conversation::{Item, ItemStatus, Position};
use crate::id::{ItemId, ResponseId, ToolCallId};
use crate::settings::{ResponseOptions, SessionSettings};
use crate::usage::{TokenUsage, TranscriptionUsage};

/// Who finds the end of the caller's turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TurnOwner {
    /// The provider hears the audio and reports speech, commits and answers by itself.
    Provider,
    /// The gateway's own voice activity and turn machine; the provider is told.
    Gateway,
}

/// What a provider needs and does. Known before the first event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BridgeTraits {
    /// The rate the provider wants to hear.
    pub input_rate: SampleRate,
    /// The rate the provider speaks at.
    pub output_rate: SampleRate,
    /// Who ends the caller's turn.
    pub turn_owner: TurnOwner,
    /// Whether the provider can be told how much of an answer was heard.
    pub truncates: bool,
    /// Whether the caller's words are written down although the client did not ask to see them
    /// ([`BridgeEvent::InputWords`]).
    #[serde(default)]
    pub transcribes: bool,
}

/// What the gateway tells a provider.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BridgeCommand {
    /// New settings; always the whole of them.
    Configure(Box<SessionSettings>),
    /// Audio of the caller at [`BridgeTraits::input_rate`], gapless.
    Audio(Pcm),
    /// The caller's turn ended: what was heard since the last commit is one item.
    CommitInput {
        /// The name the gateway gave the item, and by which [`BridgeEvent::InputCommitted`] knows it.
        item_id: ItemId,
        /// Nobody spoke: it is the silence that the idle timeout waited for.
        is_silence: bool,
    },
    /// Forget the audio since the last commit.
    ClearInput,
    /// A client wrote an item.
    CreateItem {
        /// The item.
        item: Item,
        /// Where.
        position: Position,
    },
    /// An item of a conversation that began on another connection, in words. A provider that cannot take it goes on
    /// without it and reports nothing: no client asked.
    RestoreItem {
        /// The item.
        item: Item,
        /// Where.
        position: Position,
    },
    /// A client removed an item.
    DeleteItem {
        /// The item.
        item_id: ItemId,
    },
    /// Ask for an answer.
    CreateResponse(Box<ResponseOptions>),
    /// Stop an answer. Deltas still on their way are dropped by the gateway.
    CancelResponse {
        /// The answer; `None` is the one in progress.
        response_id: Option<ResponseId>,
    },
    /// The caller heard only this much of an item.
    Truncate {
        /// The item.
        item_id: ItemId,
        /// The content part, counted from zero.
        content_index: u32,
        /// How much was really played to the caller.
        heard: Duration,
    },
}

/// Where a provider stands inside a turn, for the latency waterfall. The time is that of the event's arrival.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TurnStage {
    /// Recognition of the caller's turn began; it may go on while the caller speaks. Said by providers that know it: of
    /// others it is taken to begin with the end of the turn.
    Recognising,
    /// The final transcript of the caller's turn exists.
    Recognised,
    /// The model wrote its first token.
    FirstToken,
    /// The first speakable piece of text went to the voice.
    SpeechRequested,
}

/// How an answer ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ResponseStatus {
    /// By itself.
    Completed,
    /// The caller interrupted.
    CancelledByTurn,
    /// The client asked.
    CancelledByClient,
    /// The token limit was reached.
    IncompleteByTokens,
    /// The vendor's content filter stopped it.
    IncompleteByFilter,
    /// It failed.
    Failed {
        /// A stable code.
        code: String,
        /// One sentence.
        message: String,
    },
}

/// Part of an answer, always inside a response and an item of it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OutputPart {
    /// Speech at [`BridgeTraits::output_rate`].
    Audio(Pcm),
    /// The words of the speech.
    Transcript(String),
    /// Written text of a text answer.
    Text(String),
    /// A piece of a tool call's arguments; the first piece may be empty.
    ToolArguments {
        /// The name of the call.
        call_id: ToolCallId,
        /// The tool.
        name: String,
        /// JSON text, to be joined.
        delta: String,
    },
}

/// Names the kind only: neither samples nor words may reach a log.
impl std::fmt::Debug for OutputPart {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Audio(pcm) => write!(f, "Audio({pcm:?})"),
            Self::Transcript(text) => write!(f, "Transcript({} bytes)", text.len()),
            Self::Text(text) => write!(f, "Text({} bytes)", text.len()),
            Self::ToolArguments { call_id, .. } => write!(f, "ToolArguments({call_id})"),
        }
    }
}

/// Whose fault a failure is. Decides who is told and who is billed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FaultOwner {
    /// The caller or its application sent something wrong.
    Client,
    /// The vendor failed or refused.
    Provider,
    /// voxgate or its configuration.
    Gateway,
}

/// A failure on the way to or at a provider.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fault {
    /// Whose fault.
    pub owner: FaultOwner,
    /// A stable code, snake_case, as the Realtime API uses them.
    pub code: String,
    /// One sentence a client or an operator can act on. Never a secret.
    pub message: String,
    /// The same request may succeed if repeated.
    pub may_retry: bool,
    /// Another provider may succeed.
    pub may_switch: bool,
    /// The bridge is gone; no further event will come.
    pub is_final: bool,
}

/// What a provider tells the gateway.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BridgeEvent {
    /// Connected and configured.
    Ready,
    /// The provider heard speech begin ([`TurnOwner::Provider`] only).
    SpeechStarted {
        /// The name of the user item being spoken.
        item_id: ItemId,
        /// Position in the audio sent so far.
        at: Duration,
    },
    /// The provider heard speech end ([`TurnOwner::Provider`] only).
    SpeechStopped {
        /// The name of the user item.
        item_id: ItemId,
        /// Position in the audio sent so far.
        at: Duration,
    },
    /// The provider waited for the caller in vain and answers the silence ([`TurnOwner::Provider`] only).
    InputTimedOut {
        /// The name of the silent item.
        item_id: ItemId,
        /// Where the silence began, as a position in the audio sent so far.
        from: Duration,
        /// Where it was cut.
        to: Duration,
    },
    /// The caller's audio became an item.
    InputCommitted {
        /// Its name.
        item_id: ItemId,
    },
    /// What the caller has said so far in the turn that goes on. Each replaces the one before it; without words if the
    /// recogniser hears sound and no speech in it. For decisions of the gateway only: these words may still change, so
    /// no client is shown them.
    InterimTranscript {
        /// The words.
        words: String,
    },
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
    /// All of what the caller said, where the client does not want to see it. The conversation keeps it for connections
    /// to come.
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
    },
    /// Part of an answer.
    Output {
        /// The answer.
        response_id: ResponseId,
        /// The item of the answer.
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
        /// What it used, if the vendor says.
        usage: Option<TokenUsage>,
    },
    /// Progress inside a turn, for the waterfall.
    Stage(TurnStage),
    /// Something failed.
    Fault(Fault),
    /// The connection ended in order, for the given reason.
    Closed {
        /// One sentence.
        reason: String,
    },
}
