//! Fields of the session without a neutral meaning: checked for shape, kept as they are, shown again.

use serde_json::{Map, Value};

use crate::error::ApiError;
use crate::fields::Fields;

/// Fields kept in the `vendor` map of the settings.
const VENDOR_FIELDS: &[&str] =
    &["include", "parallel_tool_calls", "prompt", "reasoning", "tracing", "truncation"];

/// Takes over the fields that are present; `null` and `[]` remove.
pub(crate) fn apply(vendor: &mut Map<String, Value>, fields: &Fields<'_>) -> Result<(), ApiError> {
    for key in VENDOR_FIELDS {
        let Some(value) = fields.get(key) else { continue };
        check(key, fields)?;
        if value.is_null() || value.as_array().is_some_and(Vec::is_empty) {
            vendor.remove(*key);
        } else {
            vendor.insert((*key).to_owned(), value.clone());
        }
    }
    Ok(())
}

/// Whatever is accepted here is echoed, so it has to have the shape clients expect to read.
pub(crate) fn check(key: &str, fields: &Fields<'_>) -> Result<(), ApiError> {
    match key {
        "include" => include(fields),
        "parallel_tool_calls" => fields.flag(key).map(drop),
        "prompt" => prompt(fields),
        "reasoning" => match fields.object(key)? {
            Some(reasoning) => {
                reasoning.one_of("effort", &["minimal", "low", "medium", "high", "xhigh"]).map(drop)
            }
            None => Ok(()),
        },
        "tracing" => tracing(fields),
        "truncation" => truncation(fields),
        _ => Ok(()),
    }
}

fn include(fields: &Fields<'_>) -> Result<(), ApiError> {
    const LOGPROBS: &str = "item.input_audio_transcription.logprobs";
    let list = fields.list("include")?.unwrap_or_default();
    if list.iter().all(|word| word.as_str() == Some(LOGPROBS)) {
        return Ok(());
    }
    Err(ApiError::invalid_value(fields.path_of("include"), format!("supported values are '{LOGPROBS}'.")))
}

fn prompt(fields: &Fields<'_>) -> Result<(), ApiError> {
    let Some(prompt) = fields.object("prompt")? else { return Ok(()) };
    prompt.required_text("id")?;
    prompt.text("version")?;
    let Some(Value::Object(variables)) = prompt.value("variables") else {
        return match prompt.value("variables") {
            None => Ok(()),
            Some(_) => Err(ApiError::invalid_type(prompt.path_of("variables"), "an object")),
        };
    };
    if variables.values().all(is_variable) {
        return Ok(());
    }
    Err(ApiError::invalid_type(prompt.path_of("variables"), "strings or input_text"))
}

fn is_variable(value: &Value) -> bool {
    value.is_string()
        || (value.get("type").and_then(Value::as_str) == Some("input_text")
            && value.get("text").is_some_and(Value::is_string))
}

fn tracing(fields: &Fields<'_>) -> Result<(), ApiError> {
    if fields.value("tracing").and_then(Value::as_str) == Some("auto") {
        return Ok(());
    }
    let Some(tracing) = fields.object("tracing")? else { return Ok(()) };
    tracing.text("workflow_name")?;
    tracing.text("group_id")?;
    tracing.object("metadata").map(drop)
}

fn truncation(fields: &Fields<'_>) -> Result<(), ApiError> {
    if fields.value("truncation").is_some_and(Value::is_string) {
        return fields.one_of("truncation", &["auto", "disabled"]).map(drop);
    }
    let Some(truncation) = fields.object("truncation")? else { return Ok(()) };
    truncation.one_of("type", &["retention_ratio"])?;
    truncation.required_text("type")?;
    if truncation.number("retention_ratio", 0.0..=1.0)?.is_none() {
        return Err(ApiError::missing_parameter(truncation.path_of("retention_ratio")));
    }
    match truncation.object("token_limits")? {
        Some(limits) => limits.whole("post_instructions", 0..=1_000_000).map(drop),
        None => Ok(()),
    }
}
