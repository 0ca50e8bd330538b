//! The life of an answer: the events of the API derived from the few of the session core.

use serde_json::{Value, json};
use voxgate_protocol::bridge::{OutputPart, ResponseStatus};
use voxgate_protocol::conversation::{ItemStatus, Position};
use voxgate_protocol::id::{ItemId, ResponseId};
use voxgate_protocol::session::{EndReason, SessionCommand};
use voxgate_protocol::settings::Purpose;
use voxgate_protocol::usage::TokenUsage;

use super::{Adapter, ClientKind};
use crate::item;
use crate::response::{OutputBody, OutputItem, Part, PartForm, Response};

/// Most answers written at once; only those outside the conversation can be several.
const MOST_LIVE: usize = 16;

/// Most items of an answer; what comes beyond is dropped.
const MOST_ITEMS: usize = 256;

/// Most text kept of one part. Deltas beyond are passed on and not kept.
const MOST_WORDS: usize = 1024 * 1024;

/// Where a piece belongs: indices into the live answers, its items and its parts.
#[derive(Clone, Copy)]
struct Place {
    response: usize,
    item: usize,
    part: usize,
}

impl Adapter {
    pub(super) fn response_started(&mut self, response_id: ResponseId, is_for_turn: bool) {
        if self.answers.index(&response_id).is_some() || self.answers.has_finished(&response_id) {
            return;
        }
        if self.settings.purpose == Purpose::Transcription {
            // A provider that answers although it was told not to.
            return self.outbox.command(SessionCommand::CancelResponse { response_id: Some(response_id) });
        }
        // What the client asked for has not begun yet if this answers a turn.
        let request = if is_for_turn { None } else { self.answers.requests.pop_front() };
        let request = request.unwrap_or_default();
        let superseded = if request.is_out_of_band { None } else { self.answers.active() };
        let superseded = superseded.or_else(|| self.answers.live.first().filter(|_| self.is_full()));
        if let Some(id) = superseded.map(|response| response.id.clone()) {
            self.response_done(id, &ResponseStatus::CancelledByTurn, None);
        }
        let response = Response { id: response_id, request, is_cancelling: false, items: Vec::new() };
        let body = response.to_json(&self.settings, &self.conversation_id, None);
        self.outbox.event("response.created", json!({"response": body}));
        self.answers.live.push(response);
    }

    fn is_full(&self) -> bool {
        self.answers.live.len() >= MOST_LIVE
    }

    pub(super) fn output(&mut self, response_id: &ResponseId, item_id: ItemId, part: OutputPart) {
        let Some(response) = self.answers.index(response_id) else { return };
        let Some(item) = self.item_for(response, item_id, &part) else { return };
        let form = match part {
            OutputPart::Audio(_) | OutputPart::Transcript(_) => PartForm::Audio,
            OutputPart::Text(_) => PartForm::Text,
            OutputPart::ToolArguments { delta, .. } => return self.arguments_delta(response, item, &delta),
        };
        let Some(place) = self.part_for(response, item, form) else { return };
        match part {
            OutputPart::Audio(pcm) => {
                self.has_spoken = true;
                if let Some(part) = self.part_mut(place) {
                    part.spoken += pcm.duration();
                }
                if self.kind == ClientKind::WebSocket && !pcm.is_empty() {
                    let live = &self.answers.live[place.response];
                    let ids = (live.id.as_str(), live.items[place.item].id.as_str());
                    self.outbox.audio(ids, [place.item, place.part], &pcm);
                }
            }
            OutputPart::Transcript(delta) => {
                self.words_delta("response.output_audio_transcript.delta", place, &delta);
            }
            OutputPart::Text(delta) => self.words_delta("response.output_text.delta", place, &delta),
            OutputPart::ToolArguments { .. } => {}
        }
    }

    /// The index of an item that still takes pieces of this kind, which is announced if it is new.
    fn item_for(&mut self, response: usize, item_id: ItemId, part: &OutputPart) -> Option<usize> {
        let live = &self.answers.live[response];
        if let Some(index) = live.item_index(&item_id) {
            let item = &live.items[index];
            let wants_tool = matches!(part, OutputPart::ToolArguments { .. });
            let is_tool = matches!(item.body, OutputBody::ToolCall { .. });
            return (item.status == ItemStatus::InProgress && wants_tool == is_tool).then_some(index);
        }
        if live.items.len() >= MOST_ITEMS || self.answers.names_item(&item_id) {
            return None;
        }
        let body = match part {
            OutputPart::ToolArguments { call_id, name, .. } => OutputBody::ToolCall {
                call_id: call_id.clone(),
                name: name.clone(),
                arguments: String::new(),
            },
            _ => OutputBody::Message(Vec::new()),
        };
        Some(self.add_item(response, OutputItem { id: item_id, status: ItemStatus::InProgress, body }))
    }

    fn add_item(&mut self, response: usize, added: OutputItem) -> usize {
        let live = &mut self.answers.live[response];
        let index = live.items.len();
        let body = json!({
            "response_id": live.id.as_str(),
            "output_index": index,
            "item": item::to_json(&added.item()),
        });
        self.outbox.event("response.output_item.added", body);
        if !live.request.is_out_of_band && !self.conversation.contains(&added.id) {
            // The end of a conversation always exists.
            if self.conversation.insert(added.item(), &Position::Last).is_ok() {
                let id = added.id.clone();
                live.items.push(added);
                self.announce_item("conversation.item.added", &id);
                return index;
            }
        }
        live.items.push(added);
        index
    }

    /// The open part of a message, which is announced if it is new.
    fn part_for(&mut self, response: usize, item: usize, form: PartForm) -> Option<Place> {
        let OutputBody::Message(parts) = &mut self.answers.live[response].items[item].body else {
            return None;
        };
        let place = |part| Place { response, item, part };
        if let Some(index) = parts.iter().position(|part| part.form == form) {
            return Some(place(index));
        }
        let part = Part { form, words: String::new(), spoken: std::time::Duration::ZERO, heard: None };
        let shown = part.to_json();
        let added = place(parts.len());
        parts.push(part);
        self.part_event("response.content_part.added", added, ("part", shown));
        Some(added)
    }

    fn part_mut(&mut self, place: Place) -> Option<&mut Part> {
        match &mut self.answers.live[place.response].items[place.item].body {
            OutputBody::Message(parts) => parts.get_mut(place.part),
            OutputBody::ToolCall { .. } => None,
        }
    }

    fn words_delta(&mut self, kind: &'static str, place: Place, delta: &str) {
        if delta.is_empty() {
            return;
        }
        if let Some(part) = self.part_mut(place)
            && part.words.len() + delta.len() <= MOST_WORDS
        {
            part.words.push_str(delta);
        }
        self.part_event(kind, place, ("delta", json!(delta)));
    }

    fn arguments_delta(&mut self, response: usize, item: usize, delta: &str) {
        if delta.is_empty() {
            return;
        }
        let live = &mut self.answers.live[response];
        let written = &mut live.items[item];
        let OutputBody::ToolCall { call_id, arguments, .. } = &mut written.body else { return };
        if arguments.len() + delta.len() > MOST_WORDS {
            return;
        }
        arguments.push_str(delta);
        let body = json!({
            "response_id": live.id.as_str(),
            "item_id": written.id.as_str(),
            "output_index": item,
            "call_id": call_id.as_str(),
            "delta": delta,
        });
        self.outbox.event("response.function_call_arguments.delta", body);
    }

    fn part_event(&mut self, kind: &'static str, place: Place, (name, value): (&str, Value)) {
        let live = &self.answers.live[place.response];
        let mut body = json!({
            "response_id": live.id.as_str(),
            "item_id": live.items[place.item].id.as_str(),
            "output_index": place.item,
            "content_index": place.part,
        });
        if !name.is_empty() {
            body[name] = value;
        }
        self.outbox.event(kind, body);
    }

    pub(super) fn output_item_done(
        &mut self,
        response_id: &ResponseId,
        item_id: &ItemId,
        status: ItemStatus,
    ) {
        let Some(response) = self.answers.index(response_id) else { return };
        if let Some(item) = self.answers.live[response].item_index(item_id) {
            self.finish_item(response, item, status);
        }
    }

    fn finish_item(&mut self, response: usize, item: usize, status: ItemStatus) {
        let written = &mut self.answers.live[response].items[item];
        if written.status != ItemStatus::InProgress {
            return;
        }
        written.status = match status {
            ItemStatus::Completed => ItemStatus::Completed,
            ItemStatus::InProgress | ItemStatus::Incomplete => ItemStatus::Incomplete,
        };
        self.finish_body(response, item);
        let live = &self.answers.live[response];
        let written = &live.items[item];
        let body = json!({
            "response_id": live.id.as_str(),
            "output_index": item,
            "item": item::to_json(&written.item()),
        });
        let (id, is_out_of_band) = (written.id.clone(), live.request.is_out_of_band);
        self.outbox.event("response.output_item.done", body);
        if !is_out_of_band && self.conversation.replace(written.item(), written.spoken()) {
            self.announce_item("conversation.item.done", &id);
        }
    }

    /// The `*.done` events below an item.
    fn finish_body(&mut self, response: usize, item: usize) {
        let live = &self.answers.live[response];
        let parts: Vec<(PartForm, Value, Value)> = match &live.items[item].body {
            OutputBody::Message(parts) => {
                parts.iter().map(|part| (part.form, json!(part.words), part.to_json())).collect()
            }
            OutputBody::ToolCall { call_id, name, arguments } => {
                let body = json!({
                    "response_id": live.id.as_str(),
                    "item_id": live.items[item].id.as_str(),
                    "output_index": item,
                    "call_id": call_id.as_str(),
                    "name": name,
                    "arguments": arguments,
                });
                return self.outbox.event("response.function_call_arguments.done", body);
            }
        };
        for (index, (form, words, shown)) in parts.into_iter().enumerate() {
            let place = Place { response, item, part: index };
            match form {
                PartForm::Audio => {
                    self.part_event("response.output_audio.done", place, ("", Value::Null));
                    self.part_event("response.output_audio_transcript.done", place, ("transcript", words));
                }
                PartForm::Text => self.part_event("response.output_text.done", place, ("text", words)),
            }
            self.part_event("response.content_part.done", place, ("part", shown));
        }
    }

    pub(super) fn response_done(
        &mut self,
        response_id: ResponseId,
        status: &ResponseStatus,
        usage: Option<&TokenUsage>,
    ) {
        if self.answers.index(&response_id).is_none() {
            // An answer that failed before it began still has to close the request it belongs to.
            if self.answers.requests.is_empty() || self.answers.has_finished(&response_id) {
                return;
            }
            self.response_started(response_id.clone(), false);
        }
        let Some(index) = self.answers.index(&response_id) else { return };
        let item_status = match status {
            ResponseStatus::Completed => ItemStatus::Completed,
            _ => ItemStatus::Incomplete,
        };
        for item in 0..self.answers.live[index].items.len() {
            self.finish_item(index, item, item_status);
        }
        let response = self.answers.finish(index);
        let body = response.to_json(&self.settings, &self.conversation_id, Some((status, usage)));
        self.outbox.event("response.done", json!({"response": body}));
        self.drained_after_done(&response_id);
    }

    /// Nothing stays open when the session ends.
    pub(super) fn close_answers(&mut self, reason: EndReason) {
        let status = match reason {
            EndReason::ClientClosed | EndReason::ClientLost | EndReason::HungUp => {
                ResponseStatus::CancelledByClient
            }
            EndReason::MaximumDuration => failed("session_expired"),
            EndReason::Guardrail => ResponseStatus::IncompleteByFilter,
            EndReason::ProviderFailed
            | EndReason::Drained
            | EndReason::SetupTimeout
            | EndReason::EndedByOperator
            | EndReason::InternalError
            | EndReason::KeyRevoked => failed(reason.as_str()),
            EndReason::BudgetExhausted => failed("insufficient_quota"),
            EndReason::RateLimited => failed("rate_limit_exceeded"),
        };
        self.answers.requests.clear();
        while let Some(id) = self.answers.live.first().map(|response| response.id.clone()) {
            self.response_done(id, &status, None);
        }
        self.clear_all_playout();
    }
}

fn failed(code: &str) -> ResponseStatus {
    ResponseStatus::Failed { code: code.to_owned(), message: "The session ended.".to_owned() }
}
