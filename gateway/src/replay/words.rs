//! Logs without words: every letter and digit that somebody said or wrote becomes an `x`, so that what is left has the
//! same pieces of the same length, and tells nothing.

use serde_json::Value;

/// Fields that hold what somebody said, wrote or was answered, in events of the API, in commands and events of the bridge
/// and in parked conversations.
const SPOKEN: [&str; 10] = [
    "text",
    "transcript",
    "delta",
    "words",
    "arguments",
    "output",
    "input_text",
    "output_text",
    "unseen_words",
    "image_url",
];

/// Hides the words in a value, however deep they lie.
pub(super) fn hide(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            for (name, field) in fields {
                match field {
                    Value::String(text) if SPOKEN.contains(&name.as_str()) => *text = hidden(text),
                    other => hide(other),
                }
            }
        }
        Value::Array(values) => values.iter_mut().for_each(hide),
        _ => {}
    }
}

/// A message of a client without its words. What is no JSON is nothing anybody could read words from.
pub(super) fn hide_in_message(text: &str) -> String {
    match serde_json::from_str::<Value>(text) {
        Ok(mut message) => {
            hide(&mut message);
            message.to_string()
        }
        Err(_) => hidden(text),
    }
}

fn hidden(text: &str) -> String {
    text.chars().map(|shown| if shown.is_alphanumeric() { 'x' } else { shown }).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn words_lose_their_letters_and_digits_and_nothing_else_changes() {
        let mut event = json!({
            "type": "conversation.item.create", "event_id": "e1",
            "item": {"id": "item_1", "role": "user", "content": [{"type": "input_text", "text": "Call 0170 ä!"}]},
            "response": {"output": [{"call_id": "c1", "arguments": "{\"card\": 4111}"}]},
        });
        hide(&mut event);
        assert_eq!(
            event,
            json!({
                "type": "conversation.item.create", "event_id": "e1",
                "item": {"id": "item_1", "role": "user", "content": [{"type": "input_text", "text": "xxxx xxxx x!"}]},
                "response": {"output": [{"call_id": "c1", "arguments": "{\"xxxx\": xxxx}"}]},
            })
        );
        assert_eq!(hide_in_message("no JSON 1"), "xx xxxx x");
    }
}
