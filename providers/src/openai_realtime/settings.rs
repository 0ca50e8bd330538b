//! Session settings as the `session` object of `session.update`.

use serde_json::{Map, Value, json};
use voxgate_protocol::bridge::TurnOwner;
use voxgate_protocol::conversation::InputItem;
use voxgate_protocol::settings::{
    Eagerness, InputSettings, OutputModality, ResponseOptions, SessionSettings, TokenLimit, Tool, ToolChoice,
    Transcription, TurnDetection,
};

use super::item::kind_object;
use super::names::InputNames;

/// What the gateway decides for itself, whatever the client set.
#[derive(Clone, Copy, Debug)]
pub(super) struct OwnChoices<'a> {
    pub(super) turn_owner: TurnOwner,
    pub(super) transcription_model: Option<&'a str>,
}

/// The whole session object.
///
/// `previous` is what the vendor was told last. A voice that did not change is left out, because a vendor refuses
/// any `voice` once it has spoken; instructions that are gone are cleared with an empty text.
pub(super) fn session_object(
    settings: &SessionSettings,
    previous: Option<&SessionSettings>,
    own: OwnChoices<'_>,
) -> Value {
    let mut session = json!({
        "type": "realtime",
        "output_modalities": modalities(settings.modality),
        "audio": {
            "input": input_object(&settings.input, own),
            "output": output_object(settings),
        },
        "tools": tools(&settings.tools),
        "tool_choice": tool_choice(&settings.tool_choice),
        "max_output_tokens": max_output_tokens(settings.max_output_tokens),
    });
    match (&settings.instructions, previous.and_then(|known| known.instructions.as_ref())) {
        (Some(text), _) => session["instructions"] = json!(text),
        (None, Some(_)) => session["instructions"] = json!(""),
        (None, None) => {}
    }
    if let Some(fields) = session.as_object_mut() {
        fill_gaps(fields, &settings.vendor);
    }
    let is_known = |voice| previous.is_some_and(|known| known.voice.as_ref() == Some(voice));
    if settings.voice.as_ref().is_some_and(is_known)
        && let Some(output) = session["audio"]["output"].as_object_mut()
    {
        output.remove("voice");
    }
    session
}

/// The `response` object of `response.create`; empty if the session's settings are to be used.
pub(super) fn response_object(options: &ResponseOptions, names: &InputNames) -> Map<String, Value> {
    let mut response = Map::new();
    if let Some(modality) = options.modality {
        response.insert("output_modalities".into(), modalities(modality));
    }
    if let Some(instructions) = &options.instructions {
        response.insert("instructions".into(), json!(instructions));
    }
    if let Some(list) = &options.tools {
        response.insert("tools".into(), tools(list));
    }
    if let Some(choice) = &options.tool_choice {
        response.insert("tool_choice".into(), tool_choice(choice));
    }
    if let Some(limit) = options.max_output_tokens {
        let limit = match limit {
            TokenLimit::Unlimited => None,
            TokenLimit::Tokens(tokens) => Some(tokens),
        };
        response.insert("max_output_tokens".into(), max_output_tokens(limit));
    }
    if let Some(input) = &options.input {
        response.insert("input".into(), input.iter().map(|item| input_item(item, names)).collect());
    }
    if options.is_beside {
        response.insert("conversation".into(), json!("none"));
    }
    if let Some(metadata) = &options.metadata {
        response.insert("metadata".into(), Value::Object(metadata.clone()));
    }
    fill_gaps(&mut response, &options.vendor);
    response
}

/// A turn of the caller has a name of the gateway and one of the vendor; the vendor knows only its own.
fn input_item(item: &InputItem, names: &InputNames) -> Value {
    match item {
        InputItem::Reference(item_id) => json!({ "type": "item_reference", "id": names.vendors(item_id) }),
        InputItem::New(kind) => kind_object(kind),
    }
}

fn modalities(modality: OutputModality) -> Value {
    match modality {
        OutputModality::Audio => json!(["audio"]),
        OutputModality::Text => json!(["text"]),
    }
}

fn max_output_tokens(limit: Option<u32>) -> Value {
    limit.map_or_else(|| json!("inf"), |tokens| json!(tokens))
}

fn input_object(input: &InputSettings, own: OwnChoices<'_>) -> Value {
    let turn_detection = match (own.turn_owner, &input.turn_detection) {
        (TurnOwner::Provider, Some(detection)) => turn_detection_object(detection),
        (TurnOwner::Provider, None) | (TurnOwner::Gateway, _) => Value::Null,
    };
    json!({
        "format": { "type": "audio/pcm", "rate": 24_000 },
        "transcription": transcription_object(input.transcription.as_ref(), own.transcription_model),
        "noise_reduction": input.noise_reduction.as_ref().map(|kind| json!({ "type": kind })),
        "turn_detection": turn_detection,
    })
}

fn output_object(settings: &SessionSettings) -> Value {
    let mut output = json!({ "format": { "type": "audio/pcm", "rate": 24_000 } });
    if let Some(voice) = &settings.voice {
        output["voice"] = json!(voice);
    }
    if let Some(percent) = settings.speed_percent {
        output["speed"] = json!(f64::from(percent) / 100.0);
    }
    output
}

/// The model is the client's, or the gateway's own where it names none.
fn transcription_object(wanted: Option<&Transcription>, own_model: Option<&str>) -> Value {
    if wanted.is_none() && own_model.is_none() {
        return Value::Null;
    }
    let said =
        |field: fn(&Transcription) -> &Option<String>| wanted.and_then(|wanted| field(wanted).as_deref());
    let fields = [
        ("model", said(|wanted| &wanted.model).or(own_model)),
        ("language", said(|wanted| &wanted.language)),
        ("prompt", said(|wanted| &wanted.prompt)),
    ];
    let known = fields.into_iter().filter_map(|(name, value)| Some((name.to_owned(), json!(value?))));
    Value::Object(known.collect())
}

fn turn_detection_object(detection: &TurnDetection) -> Value {
    match detection {
        // Without `idle_timeout_ms`: the vendor counts from what it sent, the gateway from what was heard.
        TurnDetection::ServerVad(vad) => json!({
                "type": "server_vad",
                // Three decimals: the detour over a binary fraction would send 0.30000001.
                "threshold": (f64::from(vad.threshold) * 1_000.0).round() / 1_000.0,
                "prefix_padding_ms": milliseconds(vad.prefix_padding),
                "silence_duration_ms": milliseconds(vad.silence),
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

/// Whole milliseconds, as every duration of this wire is counted.
pub(super) fn milliseconds(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn tools(list: &[Tool]) -> Value {
    list.iter().map(tool_object).collect()
}

fn tool_object(tool: &Tool) -> Value {
    let mut object = json!({ "type": "function", "name": tool.name, "parameters": tool.parameters });
    if let Some(description) = &tool.description {
        object["description"] = json!(description);
    }
    object
}

fn tool_choice(choice: &ToolChoice) -> Value {
    match choice {
        ToolChoice::Auto => json!("auto"),
        ToolChoice::None => json!("none"),
        ToolChoice::Required => json!("required"),
        ToolChoice::Function(name) => json!({ "type": "function", "name": name }),
    }
}

/// Adds the fields without a neutral meaning. What is already there wins, inside objects too; a list of tools is
/// extended, so that a client's MCP tools join its functions.
fn fill_gaps(fields: &mut Map<String, Value>, vendor: &Map<String, Value>) {
    for (name, addition) in vendor {
        match (fields.get_mut(name), addition) {
            (None, _) => {
                fields.insert(name.clone(), addition.clone());
            }
            (Some(Value::Object(inner)), Value::Object(additions)) => fill_gaps(inner, additions),
            (Some(Value::Array(known)), Value::Array(additions)) if name == "tools" => {
                known.extend(additions.iter().cloned());
            }
            (Some(_), _) => {}
        }
    }
}
