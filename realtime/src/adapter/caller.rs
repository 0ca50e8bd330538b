//! What the caller said: speech, the item it becomes, its transcript.

use std::time::Duration;

use serde_json::json;
use voxgate_protocol::conversation::{Content, Item, ItemKind, ItemStatus, Position, Role};
use voxgate_protocol::id::ItemId;
use voxgate_protocol::usage::TranscriptionUsage;

use super::Adapter;
use crate::error::{ApiError, ErrorKind};
use crate::usage;

impl Adapter {
    pub(super) fn speech_started(&mut self, item_id: &ItemId, at: Duration) {
        self.input.speech_started(item_id, at);
        let body = json!({"item_id": item_id.as_str(), "audio_start_ms": milliseconds(at)});
        self.outbox.event("input_audio_buffer.speech_started", body);
    }

    pub(super) fn speech_stopped(&mut self, item_id: &ItemId, at: Duration) {
        self.input.speech_stopped(item_id, at);
        let body = json!({"item_id": item_id.as_str(), "audio_end_ms": milliseconds(at)});
        self.outbox.event("input_audio_buffer.speech_stopped", body);
    }

    /// Nobody spoke for too long: the silence is a turn of the caller, and its commit is not the client's.
    pub(super) fn input_timed_out(&mut self, item_id: &ItemId, from: Duration, to: Duration) {
        self.input.speech_started(item_id, from);
        self.input.speech_stopped(item_id, to);
        let body = json!({
            "item_id": item_id.as_str(),
            "audio_start_ms": milliseconds(from),
            "audio_end_ms": milliseconds(to),
        });
        self.outbox.event("input_audio_buffer.timeout_triggered", body);
    }

    pub(super) fn input_committed(&mut self, item_id: ItemId) {
        if !self.input.has_stopped(&item_id) {
            // Not the end of a detected turn, so the client's commit.
            self.input.take_commit();
        }
        let is_new = !self.conversation.contains(&item_id);
        let previous = if is_new { self.conversation.last() } else { self.conversation.previous(&item_id) }
            .map(ItemId::as_str);
        let body = json!({"item_id": item_id.as_str(), "previous_item_id": previous});
        self.outbox.event("input_audio_buffer.committed", body);
        if is_new {
            self.add_caller_item(item_id);
        }
    }

    fn add_caller_item(&mut self, id: ItemId) {
        let content = vec![Content::InputAudio { transcript: None }];
        let kind = ItemKind::Message { role: Role::User, content };
        let item = Item { id: id.clone(), status: ItemStatus::Completed, kind };
        if self.conversation.insert(item, &Position::Last).is_ok() {
            self.announce_item("conversation.item.added", &id);
            self.announce_item("conversation.item.done", &id);
        }
    }

    pub(super) fn input_empty(&mut self) {
        let asker = self.input.take_commit();
        let message = "Error committing input audio buffer: the buffer is empty.";
        let refusal =
            ApiError::new(400, ErrorKind::InvalidRequest, "input_audio_buffer_commit_empty", message);
        self.refuse(asker, &refusal);
    }

    pub(super) fn transcript_delta(&mut self, item_id: &ItemId, delta: &str) {
        if delta.is_empty() || !(self.conversation.contains(item_id) || self.input.knows(item_id)) {
            return;
        }
        let body = json!({"item_id": item_id.as_str(), "content_index": 0, "delta": delta});
        self.outbox.event("conversation.item.input_audio_transcription.delta", body);
    }

    pub(super) fn transcript_done(
        &mut self,
        item_id: &ItemId,
        transcript: &str,
        used: Option<TranscriptionUsage>,
    ) {
        if !self.has_caller_item(item_id) {
            return;
        }
        let speech = self.input.finish(item_id);
        self.conversation.set_transcript(item_id, transcript);
        let body = json!({
            "item_id": item_id.as_str(),
            "content_index": 0,
            "transcript": transcript,
            "usage": usage::transcription(used, speech),
        });
        self.outbox.event("conversation.item.input_audio_transcription.completed", body);
    }

    /// Words the client did not ask to see: a model that takes the conversation over will.
    pub(super) fn input_words(&mut self, item_id: &ItemId, words: String) {
        if self.has_caller_item(item_id) {
            self.input.finish(item_id);
            self.conversation.set_unseen_words(item_id, words);
        }
    }

    pub(super) fn transcript_failed(&mut self, item_id: &ItemId, message: &str) {
        if !self.has_caller_item(item_id) {
            return;
        }
        self.input.finish(item_id);
        // Without `param`: @openai/agents-realtime does not know the event with a `null` there.
        let body = json!({
            "item_id": item_id.as_str(),
            "content_index": 0,
            "error": {
                "type": "transcription_error",
                "code": "transcription_failed",
                "message": message,
            },
        });
        self.outbox.event("conversation.item.input_audio_transcription.failed", body);
    }

    /// Whether the item is in the conversation. One that was spoken but whose commit is still to come is added; one
    /// that was removed stays removed.
    fn has_caller_item(&mut self, item_id: &ItemId) -> bool {
        if !self.conversation.contains(item_id) && self.input.knows(item_id) {
            self.add_caller_item(item_id.clone());
        }
        self.conversation.contains(item_id)
    }
}

/// Whole milliseconds, as the API counts.
pub(super) fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
