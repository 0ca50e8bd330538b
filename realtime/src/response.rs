//! One answer while it is written: its items and their parts.

use std::time::Duration;

use serde_json::{Map, Value, json};
use voxgate_protocol::bridge::ResponseStatus;
use voxgate_protocol::conversation::{Content, Item, ItemKind, ItemStatus, Role};
use voxgate_protocol::id::{ConversationId, ItemId, ResponseId, ToolCallId};
use voxgate_protocol::settings::{OutputModality, ResponseOptions, SessionSettings, TokenLimit};
use voxgate_protocol::usage::TokenUsage;

use crate::asker::Asker;
use crate::session_object::{modality_word, output, token_limit};
use crate::{item, usage};

/// What a client asked an answer for with, until the answer begins and then beside it.
#[derive(Clone, Default)]
pub(crate) struct Request {
    /// Who sent the `response.create`; nobody for an answer to the caller's turn.
    pub(crate) asker: Option<Asker>,
    pub(crate) modality: Option<OutputModality>,
    pub(crate) max_output_tokens: Option<TokenLimit>,
    pub(crate) metadata: Option<Map<String, Value>>,
    pub(crate) is_out_of_band: bool,
    /// The client took it back before it began.
    pub(crate) is_cancelled: bool,
}

impl Request {
    pub(crate) fn new(asker: Asker, options: &ResponseOptions) -> Self {
        Self {
            asker: Some(asker),
            modality: options.modality,
            max_output_tokens: options.max_output_tokens,
            metadata: options.metadata.clone(),
            is_out_of_band: options.is_beside,
            is_cancelled: false,
        }
    }
}

/// Whether a part is heard or read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PartForm {
    Audio,
    Text,
}

/// A content part of a message.
pub(crate) struct Part {
    pub(crate) form: PartForm,
    /// The words so far.
    pub(crate) words: String,
    /// How long its audio sounds so far.
    pub(crate) spoken: Duration,
    /// How much of it was heard, once it was cut.
    pub(crate) heard: Option<Duration>,
}

impl Part {
    /// The part as content-part events show it. These say `audio` and `text`, unlike items:
    /// openai-agents-python refuses anything else.
    pub(crate) fn to_json(&self) -> Value {
        match self.form {
            PartForm::Audio => json!({"type": "audio", "transcript": self.words}),
            PartForm::Text => json!({"type": "text", "text": self.words}),
        }
    }

    fn content(&self) -> Content {
        match (self.form, self.heard) {
            (PartForm::Text, _) => Content::OutputText(self.words.clone()),
            (PartForm::Audio, None) => Content::OutputAudio { transcript: self.words.clone() },
            (PartForm::Audio, Some(heard)) => {
                let words = crate::truncation::heard_words(&self.words, heard, self.spoken);
                Content::OutputAudio { transcript: words.to_owned() }
            }
        }
    }
}

/// What an item of an answer is.
pub(crate) enum OutputBody {
    Message(Vec<Part>),
    ToolCall { call_id: ToolCallId, name: String, arguments: String },
}

/// An item of an answer.
pub(crate) struct OutputItem {
    pub(crate) id: ItemId,
    pub(crate) status: ItemStatus,
    pub(crate) body: OutputBody,
}

impl OutputItem {
    /// The item as it stands, words cut to what was heard.
    pub(crate) fn item(&self) -> Item {
        let kind = match &self.body {
            OutputBody::Message(parts) => ItemKind::Message {
                role: Role::Assistant,
                content: parts.iter().map(Part::content).collect(),
            },
            OutputBody::ToolCall { call_id, name, arguments } => ItemKind::ToolCall {
                call_id: call_id.clone(),
                name: name.clone(),
                arguments: arguments.clone(),
            },
        };
        Item { id: self.id.clone(), status: self.status, kind }
    }

    /// How long each part sounds; a part that was cut sounds as long as it was heard.
    pub(crate) fn spoken(&self) -> Vec<Duration> {
        match &self.body {
            OutputBody::Message(parts) => {
                parts.iter().map(|part| part.heard.unwrap_or(part.spoken).min(part.spoken)).collect()
            }
            OutputBody::ToolCall { .. } => Vec::new(),
        }
    }
}

/// An answer between `response.created` and `response.done`.
pub(crate) struct Response {
    pub(crate) id: ResponseId,
    pub(crate) request: Request,
    /// The client's cancellation is on its way.
    pub(crate) is_cancelling: bool,
    pub(crate) items: Vec<OutputItem>,
}

impl Response {
    pub(crate) fn item_index(&self, id: &ItemId) -> Option<usize> {
        self.items.iter().position(|item| item.id == *id)
    }

    /// The response object; `end` is how it ended, once it did.
    pub(crate) fn to_json(
        &self,
        settings: &SessionSettings,
        conversation_id: &ConversationId,
        end: Option<(&ResponseStatus, Option<&TokenUsage>)>,
    ) -> Value {
        let (status, details) = end.map_or(("in_progress", Value::Null), |(status, _)| status_words(status));
        let request = &self.request;
        let items = if end.is_some() { self.items.as_slice() } else { &[] };
        let conversation = if request.is_out_of_band { None } else { Some(conversation_id.as_str()) };
        json!({
            "object": "realtime.response",
            "id": self.id.as_str(),
            "status": status,
            "status_details": details,
            "output": items.iter().map(|item| item::to_json(&item.item())).collect::<Vec<_>>(),
            "conversation_id": conversation,
            "output_modalities": [modality_word(request.modality.unwrap_or(settings.modality))],
            "max_output_tokens": token_limit(self.most_tokens(settings)),
            "audio": {"output": output(settings)},
            // The API always counts, and older Pipecat stops reading at an answer without: a provider that counts
            // nothing has used no tokens.
            "usage": end.map(|(_, used)| usage::response(&used.copied().unwrap_or_default())),
            "metadata": request.metadata,
        })
    }
}

impl Response {
    /// The limit of its length in effect; `None` is none.
    const fn most_tokens(&self, settings: &SessionSettings) -> Option<u32> {
        match self.request.max_output_tokens {
            Some(TokenLimit::Unlimited) => None,
            Some(TokenLimit::Tokens(limit)) => Some(limit),
            None => settings.max_output_tokens,
        }
    }
}

/// `status` and `status_details` of a response that ended.
fn status_words(status: &ResponseStatus) -> (&'static str, Value) {
    let because = |kind: &'static str, reason| (kind, json!({"type": kind, "reason": reason}));
    match status {
        ResponseStatus::Completed => ("completed", Value::Null),
        ResponseStatus::CancelledByTurn => because("cancelled", "turn_detected"),
        ResponseStatus::CancelledByClient => because("cancelled", "client_cancelled"),
        ResponseStatus::IncompleteByTokens => because("incomplete", "max_output_tokens"),
        ResponseStatus::IncompleteByFilter => because("incomplete", "content_filter"),
        ResponseStatus::Failed { code, message } => {
            let error = json!({"type": "server_error", "code": code, "message": message});
            ("failed", json!({"type": "failed", "error": error}))
        }
    }
}
