//! The effective session object.

use serde_json::{Map, Value, json};

use super::vad::VadParameters;

/// A refusal, as the `error` event tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) code: &'static str,
    pub(super) message: String,
    pub(super) param: Option<String>,
}

impl Refusal {
    pub(super) fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), param: None }
    }

    pub(super) fn about(self, param: impl Into<String>) -> Self {
        Self { param: Some(param.into()), ..self }
    }
}

const FIELDS: [&str; 14] = [
    "type",
    "model",
    "output_modalities",
    "instructions",
    "audio",
    "include",
    "tools",
    "tool_choice",
    "parallel_tool_calls",
    "reasoning",
    "max_output_tokens",
    "truncation",
    "prompt",
    "tracing",
];

/// What the session is configured to.
#[derive(Debug)]
pub(super) struct Settings {
    session: Value,
}

impl Settings {
    pub(super) fn new(id: &str, model: &str) -> Self {
        let format = json!({ "type": "audio/pcm", "rate": 24_000 });
        let session = json!({
            "type": "realtime",
            "object": "realtime.session",
            "id": id,
            "model": model,
            "output_modalities": ["audio"],
            "instructions": "",
            "tools": [],
            "tool_choice": "auto",
            "max_output_tokens": "inf",
            "tracing": null,
            "truncation": "auto",
            "prompt": null,
            "include": null,
            "audio": {
                "input": {
                    "format": format,
                    "transcription": null,
                    "noise_reduction": null,
                    "turn_detection": default_turn_detection("server_vad"),
                },
                "output": { "format": format, "voice": "marin", "speed": 1.0 },
            },
        });
        Self { session }
    }

    pub(super) const fn session(&self) -> &Value {
        &self.session
    }

    /// Changes the fields that are present, or nothing.
    pub(super) fn update(&mut self, change: &Value, has_spoken: bool) -> Result<(), Refusal> {
        let Some(fields) = change.as_object() else {
            return Err(Refusal::new("missing_required_parameter", "Missing required parameter: 'session'.")
                .about("session"));
        };
        if fields.get("type").and_then(Value::as_str) != Some("realtime") {
            return Err(Refusal::new(
                "missing_required_parameter",
                "Missing required parameter: 'session.type'.",
            )
            .about("session.type"));
        }
        if let Some(unknown) = fields.keys().find(|name| !FIELDS.contains(&name.as_str())) {
            let message = format!("Unknown parameter: 'session.{unknown}'.");
            return Err(Refusal::new("unknown_parameter", message).about(format!("session.{unknown}")));
        }
        self.check_audio(&change["audio"], has_spoken)?;
        for (name, value) in fields {
            if name == "audio" {
                self.update_audio(value);
            } else if name != "model" {
                self.session[name] = value.clone();
            }
        }
        Ok(())
    }

    fn check_audio(&self, audio: &Value, has_spoken: bool) -> Result<(), Refusal> {
        for side in ["input", "output"] {
            let format = &audio[side]["format"];
            let rate = format["rate"].as_u64().unwrap_or(24_000);
            if !format.is_null() && (format["type"] != "audio/pcm" || rate != 24_000) {
                let param = format!("session.audio.{side}.format");
                return Err(Refusal::new("invalid_value", "This simulator speaks audio/pcm at 24000 only.")
                    .about(param));
            }
        }
        let voice = &audio["output"]["voice"];
        if has_spoken && !voice.is_null() && *voice != self.session["audio"]["output"]["voice"] {
            return Err(Refusal::new(
                "cannot_update_voice",
                "Cannot update a conversation's voice if assistant audio is present.",
            )
            .about("session.audio.output.voice"));
        }
        Ok(())
    }

    fn update_audio(&mut self, audio: &Value) {
        for side in ["input", "output"] {
            let empty = Map::new();
            for (name, value) in audio[side].as_object().unwrap_or(&empty) {
                let value =
                    if name == "turn_detection" { complete_turn_detection(value) } else { value.clone() };
                self.session["audio"][side][name] = value;
            }
        }
    }

    pub(super) fn turn_detection(&self) -> Option<VadParameters> {
        VadParameters::read(&self.session["audio"]["input"]["turn_detection"])
    }

    pub(super) fn transcribes(&self) -> bool {
        !self.session["audio"]["input"]["transcription"].is_null()
    }
}

/// `turn_detection` as the vendor echoes it: defaults filled in.
fn complete_turn_detection(value: &Value) -> Value {
    let Some(kind) = value["type"].as_str() else { return Value::Null };
    let mut complete = default_turn_detection(kind);
    for (name, given) in value.as_object().into_iter().flatten() {
        complete[name] = given.clone();
    }
    complete
}

fn default_turn_detection(kind: &str) -> Value {
    if kind == "semantic_vad" {
        return json!({
            "type": kind, "eagerness": "auto", "create_response": true, "interrupt_response": true,
        });
    }
    json!({
        "type": kind,
        "threshold": 0.5,
        "prefix_padding_ms": 300,
        "silence_duration_ms": 500,
        "idle_timeout_ms": null,
        "create_response": true,
        "interrupt_response": true,
    })
}
