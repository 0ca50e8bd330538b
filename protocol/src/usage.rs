//! What a provider says was used.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Tokens by modality. Cached tokens are part of the input tokens, not in addition.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenUsage {
    /// Text tokens read, cached ones included.
    pub input_text: u64,
    /// Audio tokens read, cached ones included.
    pub input_audio: u64,
    /// Image tokens read, cached ones included.
    pub input_image: u64,
    /// Text tokens read from the cache.
    pub cached_text: u64,
    /// Audio tokens read from the cache.
    pub cached_audio: u64,
    /// Image tokens read from the cache.
    pub cached_image: u64,
    /// Text tokens written.
    pub output_text: u64,
    /// Audio tokens written.
    pub output_audio: u64,
}

impl TokenUsage {
    /// All tokens read.
    #[must_use]
    pub const fn input(&self) -> u64 {
        self.input_text + self.input_audio + self.input_image
    }

    /// All tokens written.
    #[must_use]
    pub const fn output(&self) -> u64 {
        self.output_text + self.output_audio
    }
}

/// What a recognition of the caller's speech used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TranscriptionUsage {
    /// Billed by tokens.
    Tokens {
        /// Text tokens read (the prompt).
        input_text: u64,
        /// Audio tokens read.
        input_audio: u64,
        /// Text tokens written.
        output: u64,
    },
    /// Billed by the length of the audio.
    Audio(Duration),
}
