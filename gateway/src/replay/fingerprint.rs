//! What is remembered of an output: its kind in words, and a hash of all of it but its sound.
//!
//! Sound is left out because coding and resampling differ in the last bit between processors; its time and length are in.

use std::time::Instant;

use serde_json::{Value, json};
use voxgate_protocol::bridge::BridgeCommand;

use super::entry::Offset;
use super::words;
use crate::dialogue::core::CoreOutput;

/// The fingerprint of one output, times counted from `start`. Without words it is that of the output with its words hidden.
pub(super) fn fingerprint(output: &CoreOutput, start: Instant, has_words: bool) -> String {
    let message = |text: &str| message(text, has_words);
    match output {
        CoreOutput::Text(text) => message(text),
        CoreOutput::Sidebands(text) => format!("sidebands {}", message(text)),
        CoreOutput::Sideband(sideband, text) => format!("sideband {} {}", sideband.0, message(text)),
        CoreOutput::Audio { timestamp, marker, first_received, lateness, .. } => {
            let received = first_received.map(|at| Offset::between(start, at));
            of("rtp", &json!([timestamp, marker, received, lateness]))
        }
        CoreOutput::JudgeTurn { question, speech } => {
            of("judge_turn", &json!([question, speech.rate, speech.samples.len()]))
        }
        CoreOutput::Bridge(BridgeCommand::Audio(pcm)) => {
            of("provider.audio", &json!([pcm.rate, pcm.samples.len()]))
        }
        CoreOutput::Bridge(command) => {
            let mut value = serde_json::to_value(command).unwrap_or_default();
            if !has_words {
                words::hide(&mut value);
            }
            let name = match &value {
                Value::String(name) => name.clone(),
                Value::Object(fields) => fields.keys().next().cloned().unwrap_or_default(),
                _ => String::new(),
            };
            of(&format!("provider.{name}"), &value)
        }
        CoreOutput::ConfirmSent => of("confirm_sent", &Value::Null),
        CoreOutput::Turn(trace) => of("turn", &serde_json::to_value(trace).unwrap_or_default()),
        CoreOutput::Ended(reason) => of("ended", &json!(reason)),
    }
}

fn message(text: &str, has_words: bool) -> String {
    let mut event: Value = serde_json::from_str(text).unwrap_or_default();
    let kind = event["type"].as_str().unwrap_or("text").to_owned();
    if kind == "response.output_audio.delta" {
        event["delta"] = json!(event["delta"].as_str().map(str::len));
    }
    if !has_words {
        words::hide(&mut event);
    }
    of(&kind, &event)
}

fn of(kind: &str, value: &Value) -> String {
    format!("{kind} {:016x}", fnv(value.to_string().as_bytes()))
}

/// FNV-1a, 64 bits (draft-eastlake-fnv): finds differences, not attackers.
fn fnv(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}
