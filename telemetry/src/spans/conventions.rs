//! Whose names the attributes of spans have.
//!
//! Three vocabularies are written side by side, because no backend reads all of them:
//!
//! - OpenTelemetry's semantic conventions for generative AI. Every name is still in development, and they have moved to a
//!   repository of their own: <https://github.com/open-telemetry/semantic-conventions-genai>, `docs/gen-ai/gen-ai-spans.md`
//!   and `gen-ai-agent-spans.md`, read in November 2026 (they build on semantic conventions 1.41.1).
//! - OpenInference: <https://arize-ai.github.io/openinference/spec/attributes/semantic-conventions.html>, as of
//!   `openinference-semantic-conventions` 0.1.46.
//! - `voxgate.*` for what neither has words for: hops, owners, budgets, certainty.

use voxgate_protocol::timeline::Hop;

/// Which names are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Conventions {
    /// Of the conventions for generative AI.
    pub gen_ai: GenAi,
    /// For what they have not settled for voice.
    pub voice: Voice,
    /// Whether OpenInference's names are written too.
    pub open_inference: bool,
}

impl Default for Conventions {
    fn default() -> Self {
        Self { gen_ai: GenAi::Latest, voice: Voice::Settled, open_inference: true }
    }
}

/// Which state of the conventions for generative AI.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum GenAi {
    /// As they stand (`gen_ai.provider.name`): what `OTEL_SEMCONV_STABILITY_OPT_IN=gen_ai_latest_experimental` asks for.
    #[default]
    Latest,
    /// As in 1.36.0 (`gen_ai.system`): what their transition plan has instrumentations keep that began with it.
    V1_36,
}

/// What is done where the conventions have no word for a part of a voice agent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Voice {
    /// Only settled words: recognition and voice are `voxgate.hop`s and nothing else.
    #[default]
    Settled,
    /// The proposal of <https://github.com/open-telemetry/semantic-conventions-genai/pull/390>, open in November 2026:
    /// operations `speech_to_text` and `text_to_speech`, `gen_ai.agent.invocation.end_reason`.
    Proposed,
}

impl GenAi {
    /// The attribute that names the provider.
    pub(crate) const fn provider(self) -> &'static str {
        match self {
            Self::Latest => "gen_ai.provider.name",
            Self::V1_36 => "gen_ai.system",
        }
    }
}

impl Conventions {
    /// What a provider does in a hop, in the words of the conventions.
    pub(super) const fn operation(self, hop: Hop) -> Option<&'static str> {
        match (hop, self.voice) {
            (Hop::Model, _) => Some("chat"),
            (Hop::Stt, Voice::Proposed) => Some("speech_to_text"),
            (Hop::Tts, Voice::Proposed) => Some("text_to_speech"),
            _ => None,
        }
    }
}

/// What a span is in OpenInference's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// The session.
    Agent,
    /// The model.
    Llm,
    /// A tool.
    Tool,
    /// What was waited for because of rules.
    Guardrail,
    /// Everything else.
    Chain,
}

impl Part {
    pub(super) const fn of(hop: Hop) -> Self {
        match hop {
            Hop::Model => Self::Llm,
            Hop::Policy => Self::Guardrail,
            _ => Self::Chain,
        }
    }

    /// As `openinference.span.kind` has it.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Agent => "AGENT",
            Self::Llm => "LLM",
            Self::Tool => "TOOL",
            Self::Guardrail => "GUARDRAIL",
            Self::Chain => "CHAIN",
        }
    }
}
