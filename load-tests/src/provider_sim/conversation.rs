//! The items of a conversation.

use serde_json::{Value, json};

use super::settings::Refusal;

/// Enough for any test; what a real vendor would cut off is refused.
const MAXIMUM_ITEMS: usize = 4_096;

/// Items in order.
#[derive(Clone, Debug, Default)]
pub(super) struct Conversation {
    items: Vec<Value>,
}

impl Conversation {
    fn index(&self, id: &str) -> Option<usize> {
        self.items.iter().position(|item| item["id"] == id)
    }

    pub(super) fn last(&self) -> Option<&Value> {
        self.items.last()
    }

    /// The words of the latest user message.
    pub(super) fn last_user_text(&self) -> String {
        let last = self.items.iter().rev().find(|item| item["role"] == "user");
        let parts = last.and_then(|item| item["content"].as_array()).into_iter().flatten();
        let words = parts.filter_map(|part| part["text"].as_str().or_else(|| part["transcript"].as_str()));
        words.collect::<Vec<_>>().join(" ")
    }

    /// Every item with its id, its role or type, and its words: what a model would know. Of answers only the beginning
    /// and the number of words behind it, since they may repeat all this.
    pub(super) fn told(&self) -> String {
        let told = self.items.iter().map(|item| {
            let parts = item["content"].as_array().into_iter().flatten();
            let words =
                parts.filter_map(|part| part["text"].as_str().or_else(|| part["transcript"].as_str()));
            let words: Vec<&str> =
                words.chain(item["arguments"].as_str()).chain(item["output"].as_str()).collect();
            let who = item["role"].as_str().or_else(|| item["type"].as_str()).unwrap_or_default();
            let mut words = words.join(" ");
            if who == "assistant" {
                let all: Vec<&str> = words.split_whitespace().collect();
                let (beginning, rest) = all.split_at(all.len().min(3));
                words = format!("{} +{} words", beginning.join(" "), rest.len());
            }
            format!("[{} {who}: {words}]", item["id"].as_str().unwrap_or_default())
        });
        told.collect::<Vec<_>>().join(" ")
    }

    pub(super) fn get(&self, id: &str) -> Option<&Value> {
        self.index(id).map(|index| &self.items[index])
    }

    pub(super) fn get_mut(&mut self, id: &str) -> Option<&mut Value> {
        self.index(id).map(|index| &mut self.items[index])
    }

    /// What an answer is made from when its `input` is given: new items, and those of this conversation that it names.
    pub(super) fn of_input(&self, input: &[Value]) -> Result<Self, Refusal> {
        let mut items = Vec::new();
        for (index, item) in input.iter().enumerate() {
            items.push(if item["type"] == "item_reference" {
                let id = item["id"].as_str().unwrap_or_default();
                let message = format!("Item with item_id not found: '{id}'.");
                let missing = Refusal::new("invalid_value", message);
                self.get(id).cloned().ok_or_else(|| missing.about(format!("response.input[{index}].id")))?
            } else {
                stored(item, format!("input_{index}"))?
            });
        }
        Ok(Self { items })
    }

    /// Puts an item behind the others and returns the name of the one before it.
    pub(super) fn append(&mut self, item: Value) -> Value {
        let previous = self.last().map_or(Value::Null, |item| item["id"].clone());
        if self.items.len() < MAXIMUM_ITEMS {
            self.items.push(item);
        }
        previous
    }

    /// Carries out `conversation.item.create`. Returns the item as stored and the name of the one before it.
    pub(super) fn create(
        &mut self,
        item: &Value,
        previous: &Value,
        minted: String,
    ) -> Result<(Value, Value), Refusal> {
        let stored = stored(item, minted)?;
        if self.items.len() >= MAXIMUM_ITEMS {
            return Err(Refusal::new("invalid_value", "The conversation has too many items."));
        }
        if let Some(id) = stored["id"].as_str()
            && self.index(id).is_some()
        {
            let message = format!("Error adding item: an item with id '{id}' already exists.");
            return Err(Refusal::new("item_create_duplicate_item_id", message).about("item.id"));
        }
        let place = match previous.as_str() {
            None => self.items.len(),
            Some("root") => 0,
            Some(id) => {
                let message = format!("Error adding item: the previous item with id '{id}' does not exist.");
                let missing =
                    Refusal::new("item_create_invalid_previous_item_id", message).about("previous_item_id");
                self.index(id).ok_or(missing)? + 1
            }
        };
        let before = place.checked_sub(1).map_or(Value::Null, |index| self.items[index]["id"].clone());
        self.items.insert(place, stored.clone());
        Ok((stored, before))
    }

    pub(super) fn delete(&mut self, id: &str) -> Result<(), Refusal> {
        let message = format!("Error deleting item: the item with id '{id}' does not exist.");
        let missing = Refusal::new("item_delete_invalid_item_id", message).about("item_id");
        let index = self.index(id).ok_or(missing)?;
        self.items.remove(index);
        Ok(())
    }
}

/// An item as the vendor keeps it: named, completed, without raw audio.
fn stored(item: &Value, minted: String) -> Result<Value, Refusal> {
    let invalid = |what: &str, param: &str| {
        Err(Refusal::new("invalid_value", format!("Invalid value: '{what}'.")).about(param.to_owned()))
    };
    let kind = item["type"].as_str().unwrap_or_default();
    match kind {
        "message" => check_message(item)?,
        "function_call" if item["name"].is_string() && item["arguments"].is_string() => {}
        "function_call_output" if item["call_id"].is_string() && item["output"].is_string() => {}
        _ => return invalid(kind, "item.type"),
    }
    let mut stored = item.clone();
    if stored["id"].as_str().is_none_or(str::is_empty) {
        stored["id"] = json!(minted);
    } else if stored["id"].as_str().is_some_and(|id| id.len() > 32) {
        let message = "Invalid 'item.id': string too long. Expected a string with maximum length 32.";
        return Err(Refusal::new("string_above_max_length", message).about("item.id"));
    }
    stored["object"] = json!("realtime.item");
    stored["status"] = json!("completed");
    for part in stored["content"].as_array_mut().into_iter().flatten() {
        if part["type"] == "input_audio" {
            *part = json!({ "type": "input_audio", "transcript": part["transcript"] });
        }
    }
    Ok(stored)
}

fn check_message(item: &Value) -> Result<(), Refusal> {
    let allowed: &[&str] = match item["role"].as_str() {
        Some("user") => &["input_text", "input_audio", "input_image"],
        Some("system") => &["input_text"],
        Some("assistant") => &["output_text", "output_audio"],
        _ => return Err(Refusal::new("invalid_value", "Invalid value for 'item.role'.").about("item.role")),
    };
    let Some(parts) = item["content"].as_array() else {
        return Err(Refusal::new(
            "missing_required_parameter",
            "Missing required parameter: 'item.content'.",
        )
        .about("item.content"));
    };
    for (index, part) in parts.iter().enumerate() {
        let kind = part["type"].as_str().unwrap_or_default();
        if !allowed.contains(&kind) {
            return Err(Refusal::new("invalid_value", format!("Invalid value: '{kind}'."))
                .about(format!("item.content[{index}].type")));
        }
    }
    Ok(())
}
