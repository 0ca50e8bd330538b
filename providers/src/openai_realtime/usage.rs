//! Usage and status objects of the wire.

use std::time::Duration;

use serde_json::Value;
use voxgate_protocol::bridge::ResponseStatus;
use voxgate_protocol::usage::{TokenUsage, TranscriptionUsage};

use super::fault::sentence;

/// Reads `response.usage`. `None` if the vendor reports nothing.
///
/// Totals without details count as text. Cached tokens without details count as text first, then as audio, and
/// never exceed what was read.
pub(super) fn token_usage(usage: &Value) -> Option<TokenUsage> {
    let input = &usage["input_token_details"];
    let output = &usage["output_token_details"];
    let mut read = TokenUsage {
        input_text: count(&input["text_tokens"]),
        input_audio: count(&input["audio_tokens"]),
        input_image: count(&input["image_tokens"]),
        output_text: count(&output["text_tokens"]),
        output_audio: count(&output["audio_tokens"]),
        ..TokenUsage::default()
    };
    read.input_text += count(&usage["input_tokens"]).saturating_sub(read.input());
    read.output_text += count(&usage["output_tokens"]).saturating_sub(read.output());
    if read.input() == 0 && read.output() == 0 {
        return None;
    }
    let cached = &input["cached_tokens_details"];
    if cached.is_object() {
        read.cached_text = count(&cached["text_tokens"]).min(read.input_text);
        read.cached_audio = count(&cached["audio_tokens"]).min(read.input_audio);
        read.cached_image = count(&cached["image_tokens"]).min(read.input_image);
    } else {
        let total = count(&input["cached_tokens"]);
        read.cached_text = total.min(read.input_text);
        read.cached_audio = (total - read.cached_text).min(read.input_audio);
    }
    Some(read)
}

/// Reads `usage` of a finished input transcription.
pub(super) fn transcription_usage(usage: &Value) -> Option<TranscriptionUsage> {
    match usage["type"].as_str()? {
        "tokens" => {
            let details = &usage["input_token_details"];
            let audio = count(&details["audio_tokens"]);
            Some(TranscriptionUsage::Tokens {
                input_text: count(&usage["input_tokens"]).saturating_sub(audio),
                input_audio: audio,
                output: count(&usage["output_tokens"]),
            })
        }
        "duration" => {
            Duration::try_from_secs_f64(usage["seconds"].as_f64()?).ok().map(TranscriptionUsage::Audio)
        }
        _ => None,
    }
}

/// Reads `response.status` and `response.status_details`.
pub(super) fn response_status(response: &Value) -> ResponseStatus {
    let details = &response["status_details"];
    let reason = details["reason"].as_str();
    match response["status"].as_str() {
        Some("cancelled") if reason == Some("turn_detected") => ResponseStatus::CancelledByTurn,
        Some("cancelled") => ResponseStatus::CancelledByClient,
        Some("incomplete") if reason == Some("content_filter") => ResponseStatus::IncompleteByFilter,
        Some("incomplete") => ResponseStatus::IncompleteByTokens,
        Some("failed") => {
            let error = &details["error"];
            let code = error["code"].as_str().or_else(|| error["type"].as_str()).unwrap_or("server_error");
            let message = error["message"].as_str().unwrap_or("The provider could not answer.");
            ResponseStatus::Failed { code: sentence(code), message: sentence(message) }
        }
        _ => ResponseStatus::Completed,
    }
}

/// A token count; an implausible one (beyond 2^40) counts as none, so that sums cannot overflow.
fn count(value: &Value) -> u64 {
    value.as_u64().filter(|tokens| *tokens < 1 << 40).unwrap_or(0)
}
