//! Reading the `response` object of `response.create`.

use serde_json::Value;
use voxgate_protocol::conversation::InputItem;
use voxgate_protocol::id::ItemId;
use voxgate_protocol::settings::{ResponseOptions, TokenLimit};

use crate::error::ApiError;
use crate::fields::Fields;
use crate::item;
use crate::session_update::{max_output_tokens, metadata, modality, tool_choice, tools};
use crate::vendor_fields;

/// What an answer is asked for with.
pub(crate) struct ResponseParams {
    pub(crate) options: ResponseOptions,
    /// Items of the conversation that its `input` names, and where it names them.
    pub(crate) references: Vec<(ItemId, String)>,
}

/// Most items of `input`.
const MOST_INPUT_ITEMS: usize = 1_024;

/// Reads the object; `None` and `null` mean the session's settings.
pub(crate) fn parse(value: Option<&Value>) -> Result<ResponseParams, ApiError> {
    let Some(value) = value.filter(|value| !value.is_null()) else {
        let options = ResponseOptions::default();
        return Ok(ResponseParams { options, references: Vec::new() });
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
        max_output_tokens: max_output_tokens(&fields)?
            .map(|limit| limit.map_or(TokenLimit::Unlimited, TokenLimit::Tokens)),
        metadata: metadata(&fields)?,
        is_beside: fields.one_of("conversation", &["auto", "none"])? == Some("none"),
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
    let mut references = Vec::new();
    if let Some(list) = fields.list("input")? {
        options.input = Some(input(list, &fields.path_of("input"), &mut references)?);
    }
    Ok(ResponseParams { options, references })
}

/// The items an answer is made from instead of the conversation: new ones, or references to those that exist.
fn input(
    list: &[Value],
    path: &str,
    references: &mut Vec<(ItemId, String)>,
) -> Result<Vec<InputItem>, ApiError> {
    if list.len() > MOST_INPUT_ITEMS {
        return Err(ApiError::invalid_value(path, format!("expected at most {MOST_INPUT_ITEMS} items.")));
    }
    let mut items = Vec::with_capacity(list.len());
    for (index, value) in list.iter().enumerate() {
        let path = format!("{path}[{index}]");
        let fields = Fields::of(value, path.clone())?;
        items.push(if fields.text("type")? == Some("item_reference") {
            let id = ItemId::from(fields.required_text("id")?);
            references.push((id.clone(), fields.path_of("id")));
            InputItem::Reference(id)
        } else {
            InputItem::New(item::parse(value, &path)?.kind)
        });
    }
    Ok(items)
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
