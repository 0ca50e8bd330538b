//! Reading the `response` object of `response.create`.

use serde_json::{Value, json};
use voxgate_protocol::settings::ResponseOptions;

use crate::error::ApiError;
use crate::fields::Fields;
use crate::session_update::{max_output_tokens, metadata, modality, tool_choice, tools};
use crate::vendor_fields;

/// Options and whether the answer stays outside the conversation.
pub(crate) struct ResponseParams {
    pub(crate) options: ResponseOptions,
    pub(crate) is_out_of_band: bool,
}

/// Most items of `input`.
const MOST_INPUT_ITEMS: usize = 1_024;

/// Reads the object; `None` and `null` mean the session's settings.
pub(crate) fn parse(value: Option<&Value>) -> Result<ResponseParams, ApiError> {
    let Some(value) = value.filter(|value| !value.is_null()) else {
        return Ok(ResponseParams { options: ResponseOptions::default(), is_out_of_band: false });
    };
    let fields = Fields::of(value, "response")?;
    fields.allow_only(&[
        "output_modalities",
        "instructions",
        "audio",
        "tools",
        "tool_choice",
        "parallel_tool_calls",
        "reasoning",
        "max_output_tokens",
        "conversation",
        "metadata",
        "prompt",
        "input",
    ])?;
    let mut options = ResponseOptions {
        modality: modality(&fields)?,
        instructions: fields.text("instructions")?.map(str::to_owned),
        tools: tools(&fields)?,
        tool_choice: tool_choice(&fields)?,
        max_output_tokens: max_output_tokens(&fields)?.flatten(),
        metadata: metadata(&fields)?,
        ..ResponseOptions::default()
    };
    for key in ["parallel_tool_calls", "reasoning", "prompt"] {
        vendor_fields::check(key, &fields)?;
        if let Some(value) = fields.value(key) {
            options.vendor.insert(key.to_owned(), value.clone());
        }
    }
    if let Some(audio) = fields.object("audio")? {
        audio.allow_only(&["output"])?;
        check_output(&audio)?;
        options.vendor.insert("audio".to_owned(), fields.value("audio").cloned().unwrap_or_default());
    }
    let is_out_of_band = fields.one_of("conversation", &["auto", "none"])? == Some("none");
    if is_out_of_band {
        options.vendor.insert("conversation".to_owned(), json!("none"));
    }
    if let Some(input) = fields.list("input")? {
        let path = fields.path_of("input");
        if input.len() > MOST_INPUT_ITEMS {
            return Err(ApiError::invalid_value(path, format!("expected at most {MOST_INPUT_ITEMS} items.")));
        }
        if !input.iter().all(Value::is_object) {
            return Err(ApiError::invalid_type(path, "an array of objects"));
        }
        options.vendor.insert("input".to_owned(), Value::Array(input.to_vec()));
    }
    Ok(ResponseParams { options, is_out_of_band })
}

fn check_output(audio: &Fields<'_>) -> Result<(), ApiError> {
    let Some(output) = audio.object("output")? else { return Ok(()) };
    output.allow_only(&["format", "voice"])?;
    match output.value("voice") {
        Some(Value::Object(_)) => match output.object("voice")? {
            Some(voice) => voice.required_text("id").map(drop),
            None => Ok(()),
        },
        _ => output.text("voice").map(drop),
    }
}
