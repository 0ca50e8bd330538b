//! The session object a client reads.

use serde_json::{Map, Value, json};
use voxgate_protocol::settings::{
    Eagerness, OutputModality, Purpose, SessionSettings, Tool, ToolChoice, Transcription, TurnDetection,
};

/// The effective session. The audio format is always PCM at 24 kHz, whatever the provider speaks:
/// openai-agents-python refuses any other rate.
pub(crate) fn to_json(settings: &SessionSettings, id: &str, expires_at: u64) -> Value {
    match settings.purpose {
        Purpose::Conversation => conversation(settings, id, expires_at),
        Purpose::Transcription => transcription_session(settings, id, expires_at),
    }
}

fn conversation(settings: &SessionSettings, id: &str, expires_at: u64) -> Value {
    let mut session = json!({
        "type": "realtime",
        "object": "realtime.session",
        "id": id,
        "model": settings.model,
        "output_modalities": [modality_word(settings.modality)],
        "instructions": settings.instructions.as_deref().unwrap_or_default(),
        "tools": settings.tools.iter().map(tool).collect::<Vec<_>>(),
        "tool_choice": tool_choice(&settings.tool_choice),
        "max_output_tokens": token_limit(settings.max_output_tokens),
        "truncation": "auto",
        "tracing": null,
        "prompt": null,
        "include": null,
        "expires_at": expires_at,
        "audio": {
            "input": input(settings),
            "output": output(settings),
        },
    });
    if let Value::Object(fields) = &mut session {
        fields.extend(settings.vendor.iter().map(|(key, value)| (key.clone(), value.clone())));
    }
    session
}

/// The session object of a transcription session: what answers would need is not there.
fn transcription_session(settings: &SessionSettings, id: &str, expires_at: u64) -> Value {
    let mut input = input(settings);
    if let Some(Value::Object(detection)) = input.get_mut("turn_detection") {
        for key in ["create_response", "interrupt_response", "idle_timeout_ms"] {
            detection.remove(key);
        }
    }
    json!({
        "type": "transcription",
        "object": "realtime.transcription_session",
        "id": id,
        "include": settings.vendor.get("include"),
        "expires_at": expires_at,
        "audio": {"input": input},
    })
}

fn input(settings: &SessionSettings) -> Value {
    let input = &settings.input;
    json!({
        "format": pcm_format(),
        "transcription": input.transcription.as_ref().map(transcription),
        "noise_reduction": input.noise_reduction.as_ref().map(|kind| json!({"type": kind})),
        "turn_detection": input.turn_detection.as_ref().map(turn_detection),
    })
}

/// The `audio.output` object, shared with the response object.
pub(crate) fn output(settings: &SessionSettings) -> Value {
    let mut output = Map::new();
    output.insert("format".into(), pcm_format());
    // Without a choice the voice is the vendor's own and its name is not known.
    if let Some(voice) = &settings.voice {
        output.insert("voice".into(), json!(voice));
    }
    output.insert("speed".into(), json!(f64::from(settings.speed_percent.unwrap_or(100)) / 100.0));
    Value::Object(output)
}

pub(crate) fn pcm_format() -> Value {
    json!({"type": "audio/pcm", "rate": 24_000})
}

pub(crate) const fn modality_word(modality: OutputModality) -> &'static str {
    match modality {
        OutputModality::Audio => "audio",
        OutputModality::Text => "text",
    }
}

pub(crate) fn token_limit(limit: Option<u32>) -> Value {
    limit.map_or_else(|| json!("inf"), |tokens| json!(tokens))
}

fn tool(tool: &Tool) -> Value {
    json!({
        "type": "function",
        "name": tool.name,
        "description": tool.description.as_deref().unwrap_or_default(),
        "parameters": tool.parameters,
    })
}

fn tool_choice(choice: &ToolChoice) -> Value {
    match choice {
        ToolChoice::Auto => json!("auto"),
        ToolChoice::None => json!("none"),
        ToolChoice::Required => json!("required"),
        ToolChoice::Function(name) => json!({"type": "function", "name": name}),
    }
}

fn transcription(transcription: &Transcription) -> Value {
    json!({
        "model": transcription.model,
        "language": transcription.language,
        "prompt": transcription.prompt,
    })
}

fn turn_detection(detection: &TurnDetection) -> Value {
    match detection {
        TurnDetection::ServerVad(vad) => json!({
            "type": "server_vad",
            "threshold": rounded(vad.threshold),
            "prefix_padding_ms": vad.prefix_padding.as_millis() as u64,
            "silence_duration_ms": vad.silence.as_millis() as u64,
            "idle_timeout_ms": vad.idle_timeout.map(|timeout| timeout.as_millis() as u64),
            "create_response": vad.create_response,
            "interrupt_response": vad.interrupt_response,
        }),
        TurnDetection::Semantic(vad) => json!({
            "type": "semantic_vad",
            "eagerness": match vad.eagerness {
                Eagerness::Low => "low",
                Eagerness::Medium => "medium",
                Eagerness::High => "high",
                Eagerness::Auto => "auto",
            },
            "create_response": vad.create_response,
            "interrupt_response": vad.interrupt_response,
        }),
    }
}

/// A single-precision 0.7 would be shown as 0.699999988079071.
fn rounded(threshold: f32) -> f64 {
    (f64::from(threshold) * 10_000.0).round() / 10_000.0
}
