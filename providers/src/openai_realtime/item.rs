//! Conversation items as the `item` object of `conversation.item.create`.

use serde_json::{Value, json};
use voxgate_protocol::conversation::{Content, Item, ItemKind, Role};

/// The item object. Speech becomes its words: audio that was heard elsewhere cannot be handed on.
pub(super) fn item_object(item: &Item) -> Value {
    let id = item.id.as_str();
    match &item.kind {
        ItemKind::Message { role, content } => {
            let parts: Vec<Value> = content.iter().filter_map(|part| content_part(*role, part)).collect();
            json!({ "id": id, "type": "message", "role": role_name(*role), "content": parts })
        }
        ItemKind::ToolCall { call_id, name, arguments } => json!({
            "id": id,
            "type": "function_call",
            "call_id": call_id.as_str(),
            "name": name,
            "arguments": arguments,
        }),
        ItemKind::ToolOutput { call_id, output } => json!({
            "id": id,
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
