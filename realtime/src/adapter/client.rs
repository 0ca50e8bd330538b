//! Client events carried out.

use std::time::Duration;

use serde_json::{Value, json};
use voxgate_protocol::audio::{Pcm, SampleRate};
use voxgate_protocol::conversation::{Item, ItemStatus, Position};
use voxgate_protocol::id::{ItemId, ResponseId};
use voxgate_protocol::session::SessionCommand;
use voxgate_protocol::settings::Purpose;

use super::answers::MOST_REQUESTS;
use super::{Adapter, ClientKind};
use crate::asker::{Asker, Origin};
use crate::client_event::ClientEvent;
use crate::error::{ApiError, ErrorKind};
use crate::item::{self, NewItem};
use crate::response::Request;
use crate::response_params::ResponseParams;
use crate::session_update::{self, UpdateRules};

fn invalid(code: &'static str, message: impl Into<String>) -> ApiError {
    ApiError::new(400, ErrorKind::InvalidRequest, code, message)
}

impl Adapter {
    pub(super) fn execute(&mut self, asker: Asker, event: ClientEvent) -> Result<(), ApiError> {
        match event {
            ClientEvent::UpdateSession(session) => self.update_session(&session),
            ClientEvent::AppendAudio(bytes) => self.append_audio(bytes),
            ClientEvent::CommitInput => {
                self.input.forget_half_sample();
                self.input.commit_asked(asker);
                self.outbox.command(SessionCommand::CommitInput);
                Ok(())
            }
            ClientEvent::ClearInput => {
                self.input.forget_half_sample();
                self.outbox.command(SessionCommand::ClearInput);
                Ok(())
            }
            ClientEvent::ClearOutput => self.clear_output(),
            ClientEvent::CreateItem { item, position } => self.create_item(item, position),
            ClientEvent::DeleteItem(id) => self.delete_item(id),
            ClientEvent::RetrieveItem(id) => self.retrieve_item(asker.origin, &id),
            ClientEvent::TruncateItem { item_id, content_index, heard } => {
                self.truncate_item(item_id, content_index, heard)
            }
            ClientEvent::CreateResponse(params) => self.create_response(asker, *params),
            ClientEvent::CancelResponse(id) => self.cancel_response(id),
        }
    }

    /// Answered at once from the own copy, however long the provider takes.
    fn update_session(&mut self, session: &Value) -> Result<(), ApiError> {
        let rules = UpdateRules {
            takes_model: false,
            voice_is_fixed: self.has_spoken,
            format_is_negotiated: self.kind == ClientKind::WebRtc,
        };
        let next = session_update::apply(&self.settings, session, "session", rules)?;
        if next != self.settings {
            self.settings = next;
            self.outbox.command(SessionCommand::Configure(Box::new(self.settings.clone())));
        }
        let session = self.session_json();
        self.outbox.event("session.updated", json!({"session": session}));
        Ok(())
    }

    fn append_audio(&mut self, bytes: Vec<u8>) -> Result<(), ApiError> {
        if self.kind == ClientKind::WebRtc {
            let message =
                "Audio of a WebRTC session is sent as a media track, not with input_audio_buffer.append.";
            return Err(ApiError::invalid_event(message));
        }
        let samples = self.input.whole_samples(bytes);
        if !samples.is_empty() {
            let pcm = Pcm::from_le_bytes(SampleRate::HZ_24000, &samples);
            self.outbox.command(SessionCommand::AppendAudio(pcm));
        }
        Ok(())
    }

    fn clear_output(&mut self) -> Result<(), ApiError> {
        if self.kind == ClientKind::WebSocket {
            let message =
                "output_audio_buffer.clear is for WebRTC sessions; a WebSocket client stops playback itself.";
            return Err(ApiError::invalid_event(message));
        }
        self.outbox.command(SessionCommand::ClearOutput);
        Ok(())
    }

    fn create_item(&mut self, new: NewItem, position: Position) -> Result<(), ApiError> {
        let id = new.id.unwrap_or_else(|| ItemId::from_random(self.outbox.next_bits()));
        if self.conversation.contains(&id) || self.answers.names_item(&id) || self.input.knows(&id) {
            let message = "An item with this id already exists in the conversation.";
            return Err(invalid("item_create_duplicate_item_id", message).with_param("item.id"));
        }
        let item = Item { id: id.clone(), status: ItemStatus::Completed, kind: new.kind };
        if self.conversation.insert(item.clone(), &position).is_err() {
            let message = "The previous_item_id does not name an item of the conversation.";
            return Err(
                invalid("item_create_invalid_previous_item_id", message).with_param("previous_item_id")
            );
        }
        self.outbox.command(SessionCommand::CreateItem { item, position });
        self.announce_item("conversation.item.added", &id);
        self.announce_item("conversation.item.done", &id);
        Ok(())
    }

    fn delete_item(&mut self, id: ItemId) -> Result<(), ApiError> {
        if !self.conversation.remove(&id) {
            let message = "The item_id does not name an item of the conversation.";
            return Err(invalid("item_delete_invalid_item_id", message).with_param("item_id"));
        }
        // A transcript still on its way must not bring the item back.
        self.input.finish(&id);
        self.outbox.event("conversation.item.deleted", json!({"item_id": id.as_str()}));
        self.outbox.command(SessionCommand::DeleteItem { item_id: id });
        Ok(())
    }

    fn retrieve_item(&mut self, origin: Origin, id: &ItemId) -> Result<(), ApiError> {
        let Some(stored) = self.conversation.get(id) else {
            let message = "The item_id does not name an item of the conversation.";
            return Err(invalid("item_retrieve_invalid_item_id", message).with_param("item_id"));
        };
        // What is still being written is newer than its copy in the conversation.
        let shown = match self.answers.live_item(id) {
            Some(live) => item::to_json(&live.item()),
            None => item::to_json(stored),
        };
        self.outbox.reply(origin, "conversation.item.retrieved", json!({"item": shown}));
        Ok(())
    }

    /// Beyond the end of the audio is its end: clients measure by their own clock.
    fn truncate_item(
        &mut self,
        item_id: ItemId,
        content_index: u32,
        heard: Duration,
    ) -> Result<(), ApiError> {
        if !self.conversation.contains(&item_id) {
            let message = "The item_id does not name an item of the conversation.";
            return Err(invalid("item_truncate_invalid_item_id", message).with_param("item_id"));
        }
        let Some(spoken) = self.spoken(&item_id, content_index as usize) else {
            let message = "Only model output audio messages can be truncated.";
            return Err(invalid("unsupported_content_type", message).with_param("content_index"));
        };
        let heard = heard.min(spoken);
        self.outbox.command(SessionCommand::Truncate { item_id, content_index, heard });
        Ok(())
    }

    fn create_response(&mut self, asker: Asker, params: ResponseParams) -> Result<(), ApiError> {
        if self.settings.purpose == Purpose::Transcription {
            return Err(ApiError::invalid_event("A transcription session writes down and does not respond."));
        }
        let ResponseParams { options, references } = params;
        if let Some((_, path)) = references.into_iter().find(|(id, _)| !self.conversation.contains(id)) {
            return Err(ApiError::invalid_value(path, "it does not name an item of the conversation."));
        }
        let active = self.answers.active().map(|response| response.id.as_str());
        let is_busy = active.is_some() || self.answers.awaited().is_some();
        if is_busy && !options.is_beside {
            let message = format!(
                "Conversation already has an active response in progress: {}. Wait until the response is finished \
                 before creating a new one.",
                active.unwrap_or("not started yet")
            );
            return Err(invalid("conversation_already_has_active_response", message));
        }
        if self.answers.requests.len() >= MOST_REQUESTS {
            return Err(ApiError::rate_limit_exceeded("Too many responses are waiting to begin."));
        }
        self.answers.requests.push_back(Request::new(asker, &options));
        self.outbox.command(SessionCommand::CreateResponse(Box::new(options)));
        Ok(())
    }

    /// A response that is already being cancelled is not cancelled twice, and that is no error.
    fn cancel_response(&mut self, id: Option<ResponseId>) -> Result<(), ApiError> {
        let live = match &id {
            Some(id) => self.answers.live.iter_mut().find(|response| response.id == *id),
            None => self.answers.live.iter_mut().find(|response| !response.request.is_out_of_band),
        };
        if let Some(response) = live {
            if !std::mem::replace(&mut response.is_cancelling, true) {
                self.outbox.command(SessionCommand::CancelResponse { response_id: id });
            }
            return Ok(());
        }
        let mut waiting = self.answers.requests.iter_mut();
        let awaited = waiting.find(|request| !request.is_out_of_band && !request.is_cancelled);
        match awaited.filter(|_| id.is_none()) {
            Some(request) => {
                request.is_cancelled = true;
                self.outbox.command(SessionCommand::CancelResponse { response_id: None });
                Ok(())
            }
            None => {
                let message = "Cancellation failed: no active response found";
                Err(invalid("response_cancel_not_active", message))
            }
        }
    }
}
