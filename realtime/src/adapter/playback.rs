//! What was played of an answer: the output audio buffer and truncation.

use std::time::Duration;

use serde_json::json;
use voxgate_protocol::conversation::ItemStatus;
use voxgate_protocol::id::{ItemId, ResponseId};

use super::answers::Playing;
use super::caller::milliseconds;
use super::{Adapter, ClientKind};
use crate::response::{OutputBody, PartForm};

impl Adapter {
    pub(super) fn playout_started(&mut self, response_id: ResponseId) {
        let is_known = self.answers.index(&response_id).is_some() || self.answers.has_finished(&response_id);
        if self.kind != ClientKind::WebRtc || !is_known || self.playing_index(&response_id).is_some() {
            return;
        }
        self.playout_event("output_audio_buffer.started", &response_id);
        self.answers.playing.push(Playing { response_id, has_drained: false });
    }

    /// `stopped` waits for `response.done`: it means the buffer is empty and nothing will follow.
    pub(super) fn playout_stopped(&mut self, response_id: &ResponseId) {
        let Some(index) = self.playing_index(response_id) else { return };
        if self.answers.index(response_id).is_some() {
            self.answers.playing[index].has_drained = true;
            return;
        }
        self.answers.playing.remove(index);
        self.playout_event("output_audio_buffer.stopped", response_id);
    }

    pub(super) fn playout_cleared(&mut self, response_id: &ResponseId) {
        if let Some(index) = self.playing_index(response_id) {
            self.answers.playing.remove(index);
            self.playout_event("output_audio_buffer.cleared", response_id);
        }
    }

    /// An answer is done; if its audio has drained before, the wait is over.
    pub(super) fn drained_after_done(&mut self, response_id: &ResponseId) {
        let index = self.playing_index(response_id);
        if index.is_some_and(|index| self.answers.playing[index].has_drained) {
            self.playout_stopped(response_id);
        }
    }

    pub(super) fn clear_all_playout(&mut self) {
        for playing in std::mem::take(&mut self.answers.playing) {
            self.playout_event("output_audio_buffer.cleared", &playing.response_id);
        }
    }

    fn playing_index(&self, response_id: &ResponseId) -> Option<usize> {
        self.answers.playing.iter().position(|playing| playing.response_id == *response_id)
    }

    fn playout_event(&mut self, kind: &'static str, response_id: &ResponseId) {
        self.outbox.event(kind, json!({"response_id": response_id.as_str()}));
    }

    pub(super) fn item_truncated(&mut self, item_id: &ItemId, content_index: u32, heard: Duration) {
        let part_index = content_index as usize;
        let Some(spoken) = self.spoken(item_id, part_index) else { return };
        let heard = heard.min(spoken);
        let is_being_written = self.answers.live_item(item_id).is_some_and(|item| {
            if let OutputBody::Message(parts) = &mut item.body
                && let Some(part) = parts.get_mut(part_index)
            {
                part.heard = Some(part.heard.map_or(heard, |before| before.min(heard)));
            }
            item.status == ItemStatus::InProgress
        });
        // An item can be complete long before its answer is: then the conversation has its final form already.
        if !is_being_written {
            self.conversation.truncate(item_id, part_index, heard);
        }
        let body = json!({
            "item_id": item_id.as_str(),
            "content_index": content_index,
            "audio_end_ms": milliseconds(heard),
        });
        self.outbox.event("conversation.item.truncated", body);
    }

    /// How long a part sounds so far, if it is speech of the agent in this conversation.
    pub(super) fn spoken(&mut self, item_id: &ItemId, part_index: usize) -> Option<Duration> {
        if !self.conversation.contains(item_id) {
            return None;
        }
        match self.answers.live_item(item_id).map(|item| &item.body) {
            // Announced, but nothing said yet.
            Some(OutputBody::Message(parts)) if parts.is_empty() && part_index == 0 => Some(Duration::ZERO),
            Some(OutputBody::Message(parts)) => {
                let part = parts.get(part_index).filter(|part| part.form == PartForm::Audio);
                part.map(|part| part.spoken)
            }
            Some(OutputBody::ToolCall { .. }) => None,
            None => self.conversation.spoken(item_id, part_index),
        }
    }
}
