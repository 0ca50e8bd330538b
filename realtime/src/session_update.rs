//! Reading the session object of `session.update` and of the HTTP requests.

use std::time::Duration;

use serde_json::{Map, Value};
use voxgate_protocol::settings::{
    Eagerness, InputSettings, OutputModality, Purpose, SemanticVad, ServerVad, SessionSettings, Tool,
    ToolChoice, Transcription, TurnDetection,
};

use crate::error::ApiError;
use crate::fields::Fields;
use crate::vendor_fields;

/// Most tokens an answer may be limited to: the largest output of any `gpt-realtime` model.
const MOST_OUTPUT_TOKENS: u64 = 32_768;

/// Most tools of a session.
const MOST_TOOLS: usize = 1_024;

/// What can still be changed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct UpdateRules {
    /// The session has not been created yet, so the model is taken. Later it is fixed and a client's own idea of it
    /// is passed over: SDKs send their default model with every update.
    pub(crate) takes_model: bool,
    /// The agent has spoken, so the voice is fixed.
    pub(crate) voice_is_fixed: bool,
    /// Audio travels as RTP in the codec of the SDP, so the format of the session object means nothing.
    pub(crate) format_is_negotiated: bool,
}

const SESSION_FIELDS: &[&str] = &[
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
    // Read-only; clients that send back what they received are not punished.
    "id",
    "object",
    "expires_at",
];

/// What a transcription session has: it hears and writes down.
const TRANSCRIPTION_FIELDS: &[&str] = &["type", "audio", "include", "id", "object", "expires_at"];

/// The settings after an update: fields that are present change, `""`, `[]` and `null` clear, an unknown field
/// refuses the whole.
pub(crate) fn apply(
    settings: &SessionSettings,
    session: &Value,
    path: &str,
    rules: UpdateRules,
) -> Result<SessionSettings, ApiError> {
    let fields = Fields::of(session, path)?;
    check_type(&fields, settings.purpose)?;
    let is_transcription = settings.purpose == Purpose::Transcription;
    fields.allow_only(if is_transcription { TRANSCRIPTION_FIELDS } else { SESSION_FIELDS })?;
    let mut next = settings.clone();
    if rules.takes_model
        && let Some(model) = fields.text("model")?
    {
        next.model = model.to_owned();
    }
    if let Some(modality) = modality(&fields)? {
        next.modality = modality;
    }
    if fields.get("instructions").is_some() {
        next.instructions = fields.text("instructions")?.filter(|text| !text.is_empty()).map(str::to_owned);
    }
    if fields.get("tools").is_some() {
        next.tools = tools(&fields)?.unwrap_or_default();
    }
    if fields.get("tool_choice").is_some() {
        next.tool_choice = tool_choice(&fields)?.unwrap_or_default();
    }
    if fields.get("max_output_tokens").is_some() {
        next.max_output_tokens = max_output_tokens(&fields)?.flatten();
    }
    if let Some(audio) = fields.object("audio")? {
        audio.allow_only(if is_transcription { &["input"] } else { &["input", "output"] })?;
        apply_input(&mut next.input, &audio, rules)?;
        apply_output(&mut next, &audio, rules)?;
    }
    vendor_fields::apply(&mut next.vendor, &fields)?;
    if is_transcription {
        answer_nothing(&mut next.input.turn_detection);
    }
    Ok(next)
}

/// A session does not change its type.
fn check_type(fields: &Fields<'_>, purpose: Purpose) -> Result<(), ApiError> {
    let word = match purpose {
        Purpose::Conversation => "realtime",
        Purpose::Transcription => "transcription",
    };
    match fields.text("type")? {
        Some(other) if other != word => {
            let reason = format!("supported values are '{word}'.");
            Err(ApiError::invalid_value(fields.path_of("type"), reason))
        }
        _ => Ok(()),
    }
}

/// The turns of a transcription session are found and never answered, whatever the client wrote.
pub(crate) const fn answer_nothing(detection: &mut Option<TurnDetection>) {
    match detection {
        Some(TurnDetection::ServerVad(vad)) => {
            vad.create_response = false;
            vad.interrupt_response = false;
            vad.idle_timeout = None;
        }
        Some(TurnDetection::Semantic(vad)) => {
            vad.create_response = false;
            vad.interrupt_response = false;
        }
        None => {}
    }
}

/// `output_modalities`: exactly one of `["audio"]` and `["text"]`.
pub(crate) fn modality(fields: &Fields<'_>) -> Result<Option<OutputModality>, ApiError> {
    let Some(list) = fields.list("output_modalities")? else { return Ok(None) };
    let words: Vec<_> = list.iter().filter_map(Value::as_str).collect();
    match words.as_slice() {
        ["audio"] if list.len() == 1 => Ok(Some(OutputModality::Audio)),
        ["text"] if list.len() == 1 => Ok(Some(OutputModality::Text)),
        _ => {
            let reason = "supported values are ['audio'] and ['text'].";
            Err(ApiError::invalid_value(fields.path_of("output_modalities"), reason))
        }
    }
}

/// `max_output_tokens`: `None` if absent or `null`, `Some(None)` for `"inf"`, which is no limit.
pub(crate) fn max_output_tokens(fields: &Fields<'_>) -> Result<Option<Option<u32>>, ApiError> {
    if fields.value("max_output_tokens").and_then(Value::as_str) == Some("inf") {
        return Ok(Some(None));
    }
    let limit = fields.whole("max_output_tokens", 1..=MOST_OUTPUT_TOKENS)?;
    Ok(limit.map(|tokens| u32::try_from(tokens).ok()))
}

/// `tools`: functions only.
pub(crate) fn tools(fields: &Fields<'_>) -> Result<Option<Vec<Tool>>, ApiError> {
    let Some(list) = fields.list("tools")? else { return Ok(None) };
    let path = fields.path_of("tools");
    if list.len() > MOST_TOOLS {
        return Err(ApiError::invalid_value(path, format!("expected at most {MOST_TOOLS} tools.")));
    }
    let tools = list.iter().enumerate().map(|(index, tool)| tool_at(tool, format!("{path}[{index}]")));
    tools.collect::<Result<_, _>>().map(Some)
}

fn tool_at(tool: &Value, path: String) -> Result<Tool, ApiError> {
    let fields = Fields::of(tool, path)?;
    if fields.one_of("type", &["function", "mcp"])? == Some("mcp") {
        let reason = "MCP tools are not supported; offer the tool as a function.";
        return Err(ApiError::invalid_value(fields.path_of("type"), reason));
    }
    fields.allow_only(&["type", "name", "description", "parameters", "strict"])?;
    let parameters = match fields.object("parameters")? {
        Some(_) => fields.value("parameters").cloned().unwrap_or_default(),
        None => serde_json::json!({"type": "object", "properties": {}}),
    };
    Ok(Tool {
        name: fields.required_text("name")?.to_owned(),
        description: fields.text("description")?.map(str::to_owned),
        parameters,
    })
}

/// `tool_choice`: a word or a function.
pub(crate) fn tool_choice(fields: &Fields<'_>) -> Result<Option<ToolChoice>, ApiError> {
    let Some(value) = fields.value("tool_choice") else { return Ok(None) };
    let path = fields.path_of("tool_choice");
    if value.is_object() {
        let choice = Fields::of(value, path)?;
        if choice.one_of("type", &["function", "mcp"])? == Some("mcp") {
            let reason = "MCP tools are not supported; choose a function.";
            return Err(ApiError::invalid_value(choice.path_of("type"), reason));
        }
        return Ok(Some(ToolChoice::Function(choice.required_text("name")?.to_owned())));
    }
    match value.as_str() {
        Some("auto") => Ok(Some(ToolChoice::Auto)),
        Some("none") => Ok(Some(ToolChoice::None)),
        Some("required") => Ok(Some(ToolChoice::Required)),
        _ => Err(ApiError::invalid_value(
            path,
            "supported values are 'none', 'auto', 'required' or a function.",
        )),
    }
}

fn apply_input(input: &mut InputSettings, audio: &Fields<'_>, rules: UpdateRules) -> Result<(), ApiError> {
    let Some(fields) = audio.object("input")? else { return Ok(()) };
    fields.allow_only(&["format", "transcription", "noise_reduction", "turn_detection"])?;
    check_format(&fields, rules)?;
    if fields.is_null("transcription") {
        input.transcription = None;
    } else if let Some(wanted) = fields.object("transcription")? {
        let before = input.transcription.take().unwrap_or_default();
        input.transcription = Some(transcription(before, &wanted)?);
    }
    if fields.is_null("noise_reduction") {
        input.noise_reduction = None;
    } else if let Some(wanted) = fields.object("noise_reduction")? {
        wanted.allow_only(&["type", "strength"])?;
        input.noise_reduction = wanted.one_of("type", &["near_field", "far_field"])?.map(str::to_owned);
    }
    if fields.is_null("turn_detection") {
        input.turn_detection = None;
    } else if let Some(wanted) = fields.object("turn_detection")? {
        input.turn_detection = Some(turn_detection(input.turn_detection.take(), &wanted)?);
    }
    Ok(())
}

/// The only format is `{"type":"audio/pcm","rate":24000}`; every provider's rate is converted to it.
fn check_format(fields: &Fields<'_>, rules: UpdateRules) -> Result<(), ApiError> {
    if rules.format_is_negotiated {
        return Ok(());
    }
    let Some(format) = fields.object("format")? else { return Ok(()) };
    format.allow_only(&["type", "rate"])?;
    format.one_of("type", &["audio/pcm"])?;
    format.whole("rate", 24_000..=24_000)?;
    Ok(())
}

fn transcription(mut next: Transcription, fields: &Fields<'_>) -> Result<Transcription, ApiError> {
    fields.allow_only(&["model", "language", "languages", "keywords", "prompt", "delay"])?;
    let filled = |key| fields.text(key).map(|text| text.filter(|text| !text.is_empty()).map(str::to_owned));
    if fields.get("model").is_some() {
        next.model = filled("model")?;
    }
    if fields.get("prompt").is_some() {
        next.prompt = filled("prompt")?;
    }
    if fields.get("language").is_some() {
        next.language = filled("language")?;
    } else if let Some(languages) = fields.list("languages")? {
        next.language = languages.iter().find_map(Value::as_str).map(str::to_owned);
    }
    Ok(next)
}

/// Fields of the other kind are passed over: SDKs fill one structure for both.
fn turn_detection(before: Option<TurnDetection>, fields: &Fields<'_>) -> Result<TurnDetection, ApiError> {
    fields.allow_only(&[
        "type",
        "threshold",
        "prefix_padding_ms",
        "silence_duration_ms",
        "idle_timeout_ms",
        "create_response",
        "interrupt_response",
        "eagerness",
        "model_version",
    ])?;
    let kind = fields.one_of("type", &["server_vad", "semantic_vad"])?;
    match (kind, before) {
        (Some("semantic_vad"), Some(TurnDetection::Semantic(vad)))
        | (None, Some(TurnDetection::Semantic(vad))) => {
            semantic_vad(vad, fields).map(TurnDetection::Semantic)
        }
        (Some("semantic_vad"), _) => {
            semantic_vad(SemanticVad::default(), fields).map(TurnDetection::Semantic)
        }
        (_, Some(TurnDetection::ServerVad(vad))) => server_vad(vad, fields).map(TurnDetection::ServerVad),
        _ => server_vad(ServerVad::default(), fields).map(TurnDetection::ServerVad),
    }
}

fn server_vad(mut vad: ServerVad, fields: &Fields<'_>) -> Result<ServerVad, ApiError> {
    let milliseconds = |key, range| Ok::<_, ApiError>(fields.whole(key, range)?.map(Duration::from_millis));
    if let Some(threshold) = fields.number("threshold", 0.0..=1.0)? {
        vad.threshold = threshold as f32;
    }
    if let Some(padding) = milliseconds("prefix_padding_ms", 0..=10_000)? {
        vad.prefix_padding = padding;
    }
    if let Some(silence) = milliseconds("silence_duration_ms", 0..=10_000)? {
        vad.silence = silence;
    }
    if fields.get("idle_timeout_ms").is_some() {
        vad.idle_timeout = milliseconds("idle_timeout_ms", 5_000..=30_000)?;
    }
    vad.create_response = fields.flag("create_response")?.unwrap_or(vad.create_response);
    vad.interrupt_response = fields.flag("interrupt_response")?.unwrap_or(vad.interrupt_response);
    Ok(vad)
}

fn semantic_vad(mut vad: SemanticVad, fields: &Fields<'_>) -> Result<SemanticVad, ApiError> {
    if let Some(eagerness) = fields.one_of("eagerness", &["low", "medium", "high", "auto"])? {
        vad.eagerness = match eagerness {
            "low" => Eagerness::Low,
            "medium" => Eagerness::Medium,
            "high" => Eagerness::High,
            _ => Eagerness::Auto,
        };
    }
    vad.create_response = fields.flag("create_response")?.unwrap_or(vad.create_response);
    vad.interrupt_response = fields.flag("interrupt_response")?.unwrap_or(vad.interrupt_response);
    Ok(vad)
}

fn apply_output(next: &mut SessionSettings, audio: &Fields<'_>, rules: UpdateRules) -> Result<(), ApiError> {
    let Some(fields) = audio.object("output")? else { return Ok(()) };
    fields.allow_only(&["format", "voice", "speed"])?;
    check_format(&fields, rules)?;
    if fields.get("voice").is_some() {
        let voice = voice(&fields)?;
        if rules.voice_is_fixed && voice != next.voice {
            let message = "Cannot update a conversation's voice if assistant audio is present.";
            let refusal =
                ApiError::new(400, crate::ErrorKind::InvalidRequest, "cannot_update_voice", message);
            return Err(refusal.with_param(fields.path_of("voice")));
        }
        next.voice = voice;
    }
    if fields.get("speed").is_some() {
        let speed = fields.number("speed", 0.25..=1.5)?;
        next.speed_percent = speed.map(|factor| (factor * 100.0).round() as u16);
    }
    Ok(())
}

/// A voice is a name or `{"id": name}`.
fn voice(fields: &Fields<'_>) -> Result<Option<String>, ApiError> {
    let name = match fields.value("voice") {
        Some(Value::Object(_)) => match fields.object("voice")? {
            Some(voice) => Some(voice.required_text("id")?),
            None => None,
        },
        _ => fields.text("voice")?,
    };
    Ok(name.filter(|name| !name.is_empty()).map(str::to_owned))
}

/// Key-value pairs of a response: at most 16, keys up to 64 and values up to 512 characters, all text.
pub(crate) fn metadata(fields: &Fields<'_>) -> Result<Option<Map<String, Value>>, ApiError> {
    let Some(pairs) = fields.value("metadata") else { return Ok(None) };
    let path = fields.path_of("metadata");
    let Value::Object(pairs) = pairs else { return Err(ApiError::invalid_type(path, "an object")) };
    let fits = |key: &str, value: &Value| {
        key.chars().count() <= 64 && value.as_str().is_some_and(|text| text.chars().count() <= 512)
    };
    if pairs.len() > 16 || !pairs.iter().all(|(key, value)| fits(key, value)) {
        let reason = "expected at most 16 pairs of text, keys up to 64 and values up to 512 characters.";
        return Err(ApiError::invalid_value(path, reason));
    }
    Ok(Some(pairs.clone()))
}
