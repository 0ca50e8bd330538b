//! What a session is configured to do, in neutral words.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::conversation::InputItem;

/// What a session is for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Purpose {
    /// The caller talks with an agent.
    #[default]
    Conversation,
    /// The caller's words are written down; nobody answers.
    Transcription,
}

/// How the model answers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OutputModality {
    /// Speech with a transcript.
    #[default]
    Audio,
    /// Text only.
    Text,
}

/// How the end of the caller's turn is found. `None` in [`InputSettings`] means the client commits by hand.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TurnDetection {
    /// Voice activity with a fixed pause.
    ServerVad(ServerVad),
    /// A pause that adapts to what was said.
    Semantic(SemanticVad),
}

impl TurnDetection {
    /// Whether the end of a turn asks the model for an answer.
    #[must_use]
    pub const fn creates_response(&self) -> bool {
        match self {
            Self::ServerVad(vad) => vad.create_response,
            Self::Semantic(vad) => vad.create_response,
        }
    }

    /// Whether the caller's speech interrupts the answer.
    #[must_use]
    pub const fn interrupts_response(&self) -> bool {
        match self {
            Self::ServerVad(vad) => vad.interrupt_response,
            Self::Semantic(vad) => vad.interrupt_response,
        }
    }
}

/// Parameters of `server_vad`; the defaults are those of the OpenAI Realtime API.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ServerVad {
    /// Speech probability from which on a frame counts as speech, 0 to 1. Default 0.5.
    pub threshold: f32,
    /// Audio before the detected start that belongs to the turn. Default 300 ms.
    pub prefix_padding: Duration,
    /// Pause that ends the turn. Default 500 ms.
    pub silence: Duration,
    /// Whether the end of the turn asks for an answer. Default true.
    pub create_response: bool,
    /// Whether speech interrupts the answer. Default true.
    pub interrupt_response: bool,
    /// Silence after the end of playback that makes the agent speak again, 5 to 30 s. Default none.
    pub idle_timeout: Option<Duration>,
}

impl Default for ServerVad {
    fn default() -> Self {
        Self {
            threshold: 0.5,
            prefix_padding: Duration::from_millis(300),
            silence: Duration::from_millis(500),
            create_response: true,
            interrupt_response: true,
            idle_timeout: None,
        }
    }
}

/// How quickly `semantic_vad` ends a turn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Eagerness {
    /// Lets the caller take their time: at most 8 s.
    Low,
    /// At most 4 s.
    Medium,
    /// At most 2 s.
    High,
    /// The same as medium.
    #[default]
    Auto,
}

/// Parameters of `semantic_vad`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SemanticVad {
    /// How quickly the turn ends. Default auto.
    pub eagerness: Eagerness,
    /// Whether the end of the turn asks for an answer. Default true.
    pub create_response: bool,
    /// Whether speech interrupts the answer. Default true.
    pub interrupt_response: bool,
}

impl Default for SemanticVad {
    fn default() -> Self {
        Self { eagerness: Eagerness::Auto, create_response: true, interrupt_response: true }
    }
}

/// Recognition of the caller's words for display; the model itself hears the audio.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Transcription {
    /// The recognition model, as the vendor names it.
    pub model: Option<String>,
    /// ISO-639-1 language of the caller.
    pub language: Option<String>,
    /// Words or style the recogniser should expect.
    pub prompt: Option<String>,
}

/// What happens to the caller's audio.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct InputSettings {
    /// Whether and how the caller's words are recognised for display.
    pub transcription: Option<Transcription>,
    /// `near_field` or `far_field`, handed to vendors that know it.
    pub noise_reduction: Option<String>,
    /// How the end of a turn is found; `None` means the client commits by hand.
    pub turn_detection: Option<TurnDetection>,
}

/// A function the model may ask for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Tool {
    /// Its name.
    pub name: String,
    /// What it does, for the model.
    pub description: Option<String>,
    /// JSON Schema of the arguments.
    pub parameters: Value,
}

/// Which tool the model has to use.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ToolChoice {
    /// Any or none.
    #[default]
    Auto,
    /// None.
    None,
    /// At least one.
    Required,
    /// This one.
    Function(String),
}

/// Everything a client can set for a session.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SessionSettings {
    /// Fixed when the session is made.
    pub purpose: Purpose,
    /// The model name the client asked for; policy maps it to a provider.
    pub model: String,
    /// Speech or text.
    pub modality: OutputModality,
    /// What the model is told about its task.
    pub instructions: Option<String>,
    /// The vendor's name of a voice.
    pub voice: Option<String>,
    /// Speaking speed in percent of normal, 25 to 150. Default 100.
    pub speed_percent: Option<u16>,
    /// What happens to the caller's audio.
    pub input: InputSettings,
    /// Functions the model may ask for.
    pub tools: Vec<Tool>,
    /// Which function it has to use.
    pub tool_choice: ToolChoice,
    /// Longest answer in tokens; `None` is the vendor's own limit.
    pub max_output_tokens: Option<u32>,
    /// Fields without a neutral meaning, handed as they are to vendors that speak the client's own protocol.
    pub vendor: Map<String, Value>,
}

/// How long one answer may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TokenLimit {
    /// As long as the vendor lets it, whatever the session's limit.
    Unlimited,
    /// So many tokens.
    Tokens(u32),
}

/// What one answer is asked for with; `None` and empty fields mean the session's setting.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ResponseOptions {
    /// Speech or text.
    pub modality: Option<OutputModality>,
    /// Instead of the session's instructions.
    pub instructions: Option<String>,
    /// Instead of the session's tools.
    pub tools: Option<Vec<Tool>>,
    /// Instead of the session's choice.
    pub tool_choice: Option<ToolChoice>,
    /// Instead of the session's limit.
    pub max_output_tokens: Option<TokenLimit>,
    /// What the answer is made from instead of the conversation.
    pub input: Option<Vec<InputItem>>,
    /// The answer stays outside the conversation: it may run beside another one, and nothing of it is remembered.
    pub is_beside: bool,
    /// Key-value pairs the client wants repeated in the response object.
    pub metadata: Option<Map<String, Value>>,
    /// Fields without a neutral meaning, handed as they are to vendors that speak the client's own protocol.
    pub vendor: Map<String, Value>,
}
