//! Conversation items as the `item` object of `conversation.item.create`.

use serde_json::{Value, json};
use voxgate_protocol::conversation::{Content, ItemKind, Role};

/// The item object of an item with a name.
pub(super) fn item_object(name: &str, kind: &ItemKind) -> Value {
    let mut object = kind_object(kind);
    object["id"] = json!(name);
    object
}

/// The item object without a name. Speech becomes its words: audio that was heard elsewhere cannot be handed on.
pub(super) fn kind_object(kind: &ItemKind) -> Value {
    match kind {
        ItemKind::Message { role, content } => {
            let parts: Vec<Value> = content.iter().filter_map(|part| content_part(*role, part)).collect();
            json!({ "type": "message", "role": role_name(*role), "content": parts })
        }
        ItemKind::ToolCall { call_id, name, arguments } => json!({
            "type": "function_call",
            "call_id": call_id.as_str(),
            "name": name,
            "arguments": arguments,
        }),
        ItemKind::ToolOutput { call_id, output } => json!({
            "type": "function_call_output",
            "call_id": call_id.as_str(),
            "output": output,
        }),
    }
}

const fn role_name(role: Role) -> &'static str {
    match role {
        Role::System => "system",
        Role::User => "user",
        Role::Assistant => "assistant",
    }
}

fn content_part(role: Role, content: &Content) -> Option<Value> {
    let text = match content {
        Content::InputText(text) | Content::OutputText(text) => text,
        Content::OutputAudio { transcript } => transcript,
        Content::InputAudio { transcript } => transcript.as_ref()?,
        Content::InputImage { image_url } => {
            return Some(json!({ "type": "input_image", "image_url": image_url }));
        }
    };
    let kind = if role == Role::Assistant { "output_text" } else { "input_text" };
    Some(json!({ "type": kind, "text": text }))
}
