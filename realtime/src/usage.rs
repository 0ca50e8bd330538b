//! Usage on the wire.

use std::time::Duration;

use serde_json::{Value, json};
use voxgate_protocol::usage::{TokenUsage, TranscriptionUsage};

/// `response.usage` of `response.done`.
pub(crate) fn response(usage: &TokenUsage) -> Value {
    // The numbers come from a vendor's wire: they may be absurd, but must not overflow.
    let input = sum(&[usage.input_text, usage.input_audio, usage.input_image]);
    let output = sum(&[usage.output_text, usage.output_audio]);
    let cached = sum(&[usage.cached_text, usage.cached_audio, usage.cached_image]);
    json!({
        "total_tokens": input.saturating_add(output),
        "input_tokens": input,
        "output_tokens": output,
        "input_token_details": {
            "text_tokens": usage.input_text,
            "audio_tokens": usage.input_audio,
            "image_tokens": usage.input_image,
            "cached_tokens": cached,
            "cached_tokens_details": {
                "text_tokens": usage.cached_text,
                "audio_tokens": usage.cached_audio,
                "image_tokens": usage.cached_image,
            },
        },
        "output_token_details": {
            "text_tokens": usage.output_text,
            "audio_tokens": usage.output_audio,
        },
    })
}

/// `usage` of `conversation.item.input_audio_transcription.completed`, which clients require to be there: without
/// a word of the provider it is the length of the speech.
pub(crate) fn transcription(usage: Option<TranscriptionUsage>, speech: Duration) -> Value {
    match usage {
        Some(TranscriptionUsage::Tokens { input_text, input_audio, output }) => json!({
            "type": "tokens",
            "input_tokens": sum(&[input_text, input_audio]),
            "output_tokens": output,
            "total_tokens": sum(&[input_text, input_audio, output]),
            "input_token_details": {"text_tokens": input_text, "audio_tokens": input_audio},
        }),
        Some(TranscriptionUsage::Audio(length)) => seconds(length),
        None => seconds(speech),
    }
}

fn sum(counts: &[u64]) -> u64 {
    counts.iter().fold(0, |total, count| total.saturating_add(*count))
}

fn seconds(length: Duration) -> Value {
    // Whole milliseconds: binary fractions of nanoseconds would be shown as 1.8399999999999999.
    json!({"type": "duration", "seconds": length.as_millis() as f64 / 1_000.0})
}
