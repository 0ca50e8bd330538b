//! Conversation items on the wire.

use serde_json::{Value, json};
use voxgate_protocol::conversation::{Content, Item, ItemKind, ItemStatus, Role};
use voxgate_protocol::id::{ItemId, ToolCallId};

use crate::error::ApiError;
use crate::fields::Fields;

/// Longest id a client may choose.
const LONGEST_ID: usize = 512;

/// An item a client wrote; the id is minted later if the client chose none.
pub(crate) struct NewItem {
    pub(crate) id: Option<ItemId>,
    pub(crate) kind: ItemKind,
}

/// Reads the `item` of `conversation.item.create`. Unknown fields are ignored: clients keep notes of their own in
/// items.
pub(crate) fn parse(value: &Value, path: &str) -> Result<NewItem, ApiError> {
    let fields = Fields::of(value, path)?;
    let id = match fields.text("id")? {
        Some(id) => Some(checked_id(id, fields.path_of("id"))?.into()),
        None => None,
    };
    let kind = match fields.required_text("type")? {
        "message" => message(&fields)?,
        "function_call" => ItemKind::ToolCall {
            call_id: tool_call_id(&fields)?,
            name: fields.required_text("name")?.to_owned(),
            arguments: fields.required_text("arguments")?.to_owned(),
        },
        "function_call_output" => ItemKind::ToolOutput {
            call_id: tool_call_id(&fields)?,
            output: fields.required_text("output")?.to_owned(),
        },
        "mcp_approval_response" | "mcp_call" | "mcp_list_tools" | "mcp_approval_request" => {
            let reason = "MCP tools are not supported; offer the tool as a function.";
            return Err(ApiError::invalid_value(fields.path_of("type"), reason));
        }
        _ => {
            let reason = "supported values are 'message', 'function_call', 'function_call_output'.";
            return Err(ApiError::invalid_value(fields.path_of("type"), reason));
        }
    };
    Ok(NewItem { id, kind })
}

/// An id a client chose: 1 to 512 characters, none of them a control character.
pub(crate) fn checked_id(id: &str, path: String) -> Result<&str, ApiError> {
    if id.is_empty() || id.len() > LONGEST_ID || id.chars().any(char::is_control) {
        return Err(ApiError::invalid_value(path, "expected an id of 1 to 512 printable characters."));
    }
    Ok(id)
}

fn tool_call_id(fields: &Fields<'_>) -> Result<ToolCallId, ApiError> {
    Ok(checked_id(fields.required_text("call_id")?, fields.path_of("call_id"))?.into())
}

fn message(fields: &Fields<'_>) -> Result<ItemKind, ApiError> {
    let role = match fields.required_text("role")? {
        "system" => Role::System,
        "user" => Role::User,
        "assistant" => Role::Assistant,
        _ => {
            let reason = "supported values are 'system', 'user', 'assistant'.";
            return Err(ApiError::invalid_value(fields.path_of("role"), reason));
        }
    };
    let path = fields.path_of("content");
    let parts = fields.list("content")?.ok_or_else(|| ApiError::missing_parameter(path.clone()))?;
    let content = parts
        .iter()
        .enumerate()
        .map(|(index, part)| content(role, &Fields::of(part, format!("{path}[{index}]"))?))
        .collect::<Result<_, _>>()?;
    Ok(ItemKind::Message { role, content })
}

fn content(role: Role, part: &Fields<'_>) -> Result<Content, ApiError> {
    match (role, part.required_text("type")?) {
        (Role::System | Role::User, "input_text") => {
            Ok(Content::InputText(part.required_text("text")?.to_owned()))
        }
        (Role::User, "input_image") => {
            Ok(Content::InputImage { image_url: part.required_text("image_url")?.to_owned() })
        }
        (Role::User, "input_audio") => match part.text("transcript")? {
            Some(words) => Ok(Content::InputAudio { transcript: Some(words.to_owned()) }),
            None => Err(ApiError::invalid_value(
                part.path_of("audio"),
                "audio is accepted by input_audio_buffer.append; an item needs the transcript.",
            )),
        },
        (Role::Assistant, "output_text") => Ok(Content::OutputText(part.required_text("text")?.to_owned())),
        // The API cannot restore audio of the agent; its words are what the model needs.
        (Role::Assistant, "output_audio") => {
            Ok(Content::OutputText(part.required_text("transcript")?.to_owned()))
        }
        (role, _) => {
            let supported = match role {
                Role::System => "'input_text'",
                Role::User => "'input_text', 'input_audio', 'input_image'",
                Role::Assistant => "'output_text'",
            };
            Err(ApiError::invalid_value(part.path_of("type"), format!("supported values are {supported}.")))
        }
    }
}

/// The item as `conversation.item.*` and `response.output_item.*` show it. Audio is never part of it.
pub(crate) fn to_json(item: &Item) -> Value {
    let status = status_word(item.status);
    match &item.kind {
        ItemKind::Message { role, content } => json!({
            "id": item.id.as_str(),
            "object": "realtime.item",
            "type": "message",
            "status": status,
            "role": match role {
                Role::System => "system",
                Role::User => "user",
                Role::Assistant => "assistant",
            },
            "content": content.iter().map(content_json).collect::<Vec<_>>(),
        }),
        ItemKind::ToolCall { call_id, name, arguments } => json!({
            "id": item.id.as_str(),
            "object": "realtime.item",
            "type": "function_call",
            "status": status,
            "call_id": call_id.as_str(),
            "name": name,
            "arguments": arguments,
        }),
        ItemKind::ToolOutput { call_id, output } => json!({
            "id": item.id.as_str(),
            "object": "realtime.item",
            "type": "function_call_output",
            "status": status,
            "call_id": call_id.as_str(),
            "output": output,
        }),
    }
}

/// User audio always shows its `transcript`, `null` until known: @openai/agents-realtime fails without the field.
fn content_json(content: &Content) -> Value {
    match content {
        Content::InputText(text) => json!({"type": "input_text", "text": text}),
        Content::InputAudio { transcript } => json!({"type": "input_audio", "transcript": transcript}),
        Content::InputImage { image_url } => json!({"type": "input_image", "image_url": image_url}),
        Content::OutputText(text) => json!({"type": "output_text", "text": text}),
        Content::OutputAudio { transcript } => json!({"type": "output_audio", "transcript": transcript}),
    }
}

const fn status_word(status: ItemStatus) -> &'static str {
    match status {
        ItemStatus::InProgress => "in_progress",
        ItemStatus::Completed => "completed",
        ItemStatus::Incomplete => "incomplete",
    }
}
