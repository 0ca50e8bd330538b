//! Tools: which one a caller means, with which arguments, and how its output is spoken.
//!
//! The brain has no understanding of a tool beyond its words: a tool is called if a word of its name, or two words of
//! its description, occur in what was said. Arguments come from simple patterns of the JSON Schema.

use serde_json::{Map, Value};
use voxgate_protocol::settings::{Tool, ToolChoice};

use super::words::{fits, number_at, words_of};

/// Words of names and descriptions that say nothing about a tool.
const EMPTY_WORDS: &[&str] = &[
    "get", "set", "the", "a", "an", "of", "to", "for", "in", "and", "or", "is", "it", "this", "that", "with",
    "on", "tool", "function", "call", "use", "when", "user", "asks", "returns", "return", "given", "current",
    "fetch", "show", "tell", "what", "how", "about", "from", "by", "at", "me", "you", "your", "do", "does",
    "are", "can", "please", "say", "make", "run", "look", "up", "now", "will", "be", "if", "they", "want",
    "wants",
];

/// Words that end a free-text argument.
const TAIL_WORDS: &[&str] = &["please", "now", "today", "right", "thanks", "thank", "you", "tomorrow"];

/// Scalars of an output that are spoken; the rest is left out.
const SPOKEN_FIELDS: usize = 5;

/// Longest text of an output that is spoken.
const SPOKEN_CHARACTERS: usize = 400;

/// A tool to call and its arguments as JSON text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ToolRequest {
    /// The tool.
    pub name: String,
    /// A JSON object.
    pub arguments: String,
}

/// The tool the words ask for.
pub(super) fn wanted(text: &str, tools: &[Tool], choice: &ToolChoice) -> Option<ToolRequest> {
    let words = words_of(text);
    let best = || {
        let scored = tools.iter().map(|tool| (score(tool, &words), tool));
        // Of equals the first declared.
        scored.rev().max_by_key(|(score, _)| *score)
    };
    let tool = match choice {
        ToolChoice::None => None,
        ToolChoice::Auto => best().filter(|(score, _)| *score >= 2).map(|(_, tool)| tool),
        ToolChoice::Required => best().map(|(_, tool)| tool),
        ToolChoice::Function(name) => tools.iter().find(|tool| &tool.name == name),
    }?;
    let arguments = Value::Object(arguments(tool, &words)).to_string();
    Some(ToolRequest { name: tool.name.clone(), arguments })
}

/// Two for a word of the name, one for a word of the description.
fn score(tool: &Tool, words: &[String]) -> usize {
    let count = |text: &str| {
        let mut expected = words_of(text);
        expected.sort();
        expected.dedup();
        let is_telling = |word: &&String| word.len() > 2 && !EMPTY_WORDS.contains(&word.as_str());
        expected.iter().filter(is_telling).filter(|word| words.iter().any(|heard| fits(heard, word))).count()
    };
    2 * count(&spaced(&tool.name)) + count(tool.description.as_deref().unwrap_or(""))
}

/// `getCurrentWeather` and `get_current-weather` as words.
fn spaced(name: &str) -> String {
    let mut text = String::with_capacity(name.len() + 4);
    for letter in name.chars() {
        if letter.is_uppercase() {
            text.push(' ');
        }
        text.push(if letter.is_alphanumeric() { letter } else { ' ' });
    }
    text
}

fn arguments(tool: &Tool, words: &[String]) -> Map<String, Value> {
    let mut arguments = Map::new();
    let Some(properties) = tool.parameters.get("properties").and_then(Value::as_object) else {
        return arguments;
    };
    let required = tool.parameters.get("required").and_then(Value::as_array);
    for (name, schema) in properties {
        let is_required = required.is_some_and(|names| names.iter().any(|one| one.as_str() == Some(name)));
        if let Some(value) = argument(schema, words, is_required) {
            arguments.insert(name.clone(), value);
        }
    }
    arguments
}

fn argument(schema: &Value, words: &[String], is_required: bool) -> Option<Value> {
    if let Some(choices) = schema.get("enum").and_then(Value::as_array) {
        let said = |choice: &&Value| {
            let expected = words_of(choice.as_str().unwrap_or_default());
            !expected.is_empty() && expected.iter().all(|word| words.iter().any(|heard| fits(heard, word)))
        };
        return choices.iter().find(said).or_else(|| choices.first().filter(|_| is_required)).cloned();
    }
    match schema.get("type").and_then(Value::as_str) {
        Some("integer" | "number") => {
            let number =
                (0..words.len()).find_map(|start| number_at(&words[start..])).map(|(number, _)| number);
            number.or(if is_required { Some(0) } else { None }).map(Value::from)
        }
        Some("boolean") => {
            let said = |list: &[&str]| words.iter().any(|word| list.contains(&word.as_str()));
            if said(&["off", "no", "not", "disable", "close", "stop"]) {
                return Some(Value::Bool(false));
            }
            (is_required || said(&["on", "yes", "enable", "open", "start"])).then_some(Value::Bool(true))
        }
        Some("string") => {
            let text = text_argument(words).or_else(|| is_required.then(|| words.join(" ")));
            text.filter(|text| !text.is_empty()).map(Value::from)
        }
        _ => None,
    }
}

/// What follows the last preposition: "the weather in new york please" gives "new york".
fn text_argument(words: &[String]) -> Option<String> {
    const PREPOSITIONS: [&str; 8] = ["in", "for", "at", "about", "named", "called", "to", "of"];
    let start = words.iter().rposition(|word| PREPOSITIONS.contains(&word.as_str()))? + 1;
    let mut rest = &words[start..];
    while let [front @ .., last] = rest
        && TAIL_WORDS.contains(&last.as_str())
    {
        rest = front;
    }
    let is_article = |word: &&String| matches!(word.as_str(), "the" | "a" | "an");
    let rest: Vec<_> = rest.iter().skip_while(is_article).cloned().collect();
    (!rest.is_empty()).then(|| rest.join(" "))
}

/// The output of a tool as somebody would read it out.
pub(super) fn spoken_output(name: &str, output: &str) -> String {
    let tool = spaced(name).to_lowercase().split_whitespace().collect::<Vec<_>>().join(" ");
    match serde_json::from_str::<Value>(output) {
        Ok(Value::Object(fields)) => spoken_fields(&tool, &fields),
        Ok(Value::Array(items)) => {
            let all: Vec<_> = items.iter().filter_map(scalar).take(SPOKEN_FIELDS).collect();
            match (items.len(), all.len()) {
                (0, _) => format!("The tool {tool} found nothing."),
                (count, 0) => format!("The tool {tool} found {count} entries."),
                _ => sentence(&format!("The tool {tool} says: {}", all.join(", "))),
            }
        }
        Ok(value) => match scalar(&value) {
            Some(text) => sentence(&text),
            None => format!("The tool {tool} is done."),
        },
        Err(_) if output.trim().is_empty() => format!("The tool {tool} is done."),
        Err(_) => sentence(output),
    }
}

fn spoken_fields(tool: &str, fields: &Map<String, Value>) -> String {
    if let Some(error) = fields.get("error").and_then(scalar) {
        return sentence(&format!("The tool {tool} failed: {error}"));
    }
    let spoken: Vec<_> = fields
        .iter()
        .filter_map(|(key, value)| {
            Some(format!("{} is {}", words_of(&spaced(key)).join(" "), scalar(value)?))
        })
        .take(SPOKEN_FIELDS)
        .collect();
    if spoken.is_empty() {
        return format!("The tool {tool} is done.");
    }
    sentence(&format!("Here is what I found: {}", spoken.join(", ")))
}

fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(yes) => Some(if *yes { "yes" } else { "no" }.to_owned()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

/// One speakable sentence of bounded length.
fn sentence(text: &str) -> String {
    let mut text: String =
        text.chars().filter(|letter| !letter.is_control()).take(SPOKEN_CHARACTERS).collect();
    text.truncate(text.trim_end().len());
    if !text.ends_with(['.', '!', '?']) {
        text.push('.');
    }
    text
}

#[cfg(test)]
mod tests;
