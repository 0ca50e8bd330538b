//! Responses: from the wish for one to `response.done`.

use std::time::Instant;

use serde_json::{Value, json};

use super::super::answer::{Answer, Order, Product};
use super::super::config::SimFault;
use super::super::conversation::Conversation;
use super::super::settings::Refusal;
use super::super::stats::Seen;
use super::super::voice::milliseconds;
use super::SimSession;

/// How many pieces one call may send, so that an endless speed cannot hold the caller forever.
const MOST_PIECES: usize = 10_000;

impl SimSession {
    pub(super) fn create_response(&mut self, options: &Value, now: Instant) -> Result<(), Refusal> {
        if self.answer.is_some() {
            return Err(Refusal::new(
                "conversation_already_has_active_response",
                "Conversation already has an active response in progress. Wait until the response is finished \
                 before creating a new one.",
            ));
        }
        let context = match options["input"].as_array() {
            Some(input) => self.conversation.of_input(input)?,
            None => self.conversation.clone(),
        };
        self.start_answer(options, context, now);
        Ok(())
    }

    pub(super) fn cancel_by_client(&mut self, response_id: &Value) -> Result<(), Refusal> {
        let active = self.answer.as_ref().map(|answer| answer.order.response_id.as_str());
        let is_meant = active.is_some() && (response_id.is_null() || response_id.as_str() == active);
        if !is_meant {
            return Err(Refusal::new(
                "response_cancel_not_active",
                "Cancellation failed: no active response found",
            ));
        }
        self.cancel_answer("client_cancelled");
        Ok(())
    }

    pub(super) fn cancel_answer(&mut self, reason: &str) {
        self.finish_answer("cancelled", &json!({ "type": "cancelled", "reason": reason }));
    }

    fn fault_now(&self) -> Option<SimFault> {
        self.config.fault.clone().filter(|_| self.answers == self.config.fault_at)
    }

    pub(super) fn start_answer(&mut self, options: &Value, context: Conversation, now: Instant) {
        self.answers += 1;
        let fault = self.fault_now();
        if let Some(SimFault::ErrorAtResponse { code, message }) = &fault {
            self.seen.push(Seen::Error(code.clone()));
            let error = json!({ "type": "server_error", "code": code, "message": message });
            return self.emit("error", json!({ "error": error }));
        }
        let order = self.order(options, &context, now);
        let response_id = order.response_id.clone();
        self.seen.push(Seen::ResponseStarted);
        self.answer = Some(Answer::new(order));
        let response = self.response_object("in_progress", &Value::Null, &Value::Null);
        self.emit("response.created", json!({ "response": response }));
        self.emit(
            "rate_limits.updated",
            json!({ "rate_limits": [
                { "name": "requests", "limit": 5_000, "remaining": 4_999, "reset_seconds": 0.012 },
                { "name": "tokens", "limit": 400_000, "remaining": 399_000, "reset_seconds": 0.15 },
            ] }),
        );
        if let Some(SimFault::FailResponse { code, message }) = fault {
            tracing::debug!(%response_id, "failing the response as configured");
            let error = json!({ "type": "server_error", "code": code, "message": message });
            self.finish_answer("failed", &json!({ "type": "failed", "error": error }));
        }
    }

    fn order(&mut self, options: &Value, context: &Conversation, now: Instant) -> Order {
        let product = self.product(options, context);
        let words = match product {
            Product::Call(..) => json!({ "query": context.last_user_text() }).to_string(),
            _ => self.answer_text(context),
        };
        let beside = options["conversation"] == "none";
        Order {
            response_id: self.mint("resp"),
            item_id: self.mint("item"),
            product,
            words,
            metadata: options["metadata"].clone(),
            conversation_id: if beside { Value::Null } else { json!(format!("conv_sim_{}", self.number)) },
            first_at: now + self.config.model_delay,
            piece: self.config.piece,
            speed: self.config.speed,
        }
    }

    fn answer_text(&self, context: &Conversation) -> String {
        let text = self.config.answer_text.replace("{n}", &self.answers.to_string());
        let text = text.replace("{session}", &self.number.to_string());
        if text.contains("{context}") { text.replace("{context}", &context.told()) } else { text }
    }

    /// A tool is called when it is demanded, or when the caller's words name it or say "tool"; not twice in a row.
    fn product(&mut self, options: &Value, context: &Conversation) -> Product {
        let session = self.settings.session();
        let pick = |name: &str| if options[name].is_null() { &session[name] } else { &options[name] };
        let (tools, choice, modalities) = (pick("tools"), pick("tool_choice"), pick("output_modalities"));
        let text = context.last_user_text().to_lowercase();
        let is_answered = context.last().is_some_and(|item| item["type"] == "function_call_output");
        let names: Vec<&str> =
            tools.as_array().into_iter().flatten().filter_map(|t| t["name"].as_str()).collect();
        let named = names.iter().find(|name| text.contains(&name.to_lowercase()));
        let wanted = match (choice.as_str(), choice["name"].as_str()) {
            (_, Some(name)) => Some(name),
            (Some("none"), _) => None,
            (Some("required"), _) => named.or_else(|| names.first()).copied(),
            _ if text.contains("tool") => named.or_else(|| names.first()).copied(),
            _ => named.copied(),
        };
        let is_text = modalities[0] == "text";
        if let Some(name) = wanted.filter(|_| !is_answered).map(str::to_owned) {
            return Product::Call(name, self.mint("call"));
        }
        if is_text { Product::Text } else { Product::Speech(self.config.answer.samples(self.answers)) }
    }

    pub(super) fn continue_answer(&mut self, now: Instant) {
        for _ in 0..MOST_PIECES {
            let Some(answer) = &mut self.answer else { return };
            if answer.next_at().is_none_or(|at| now < at) {
                return;
            }
            if !answer.has_begun() {
                answer.begin();
                self.begin_item();
            }
            if self.strike_inside() {
                return;
            }
            let Some(answer) = &mut self.answer else { return };
            match answer.next_piece() {
                Some((words, audio)) => self.send_piece(words, audio),
                None => self.finish_answer("completed", &Value::Null),
            }
        }
    }

    /// Stalls or closes, if that is configured and due. `true` if so.
    fn strike_inside(&mut self) -> bool {
        let fault = self.fault_now();
        let Some(answer) = &mut self.answer else { return false };
        match fault {
            Some(SimFault::StallAfter(length)) if answer.spoken_for() >= length => {
                answer.is_stalled = true;
                true
            }
            Some(SimFault::CloseAfter(length)) if answer.spoken_for() >= length => {
                answer.is_stalled = true;
                self.close(1_011, "The server had an error while processing your request");
                true
            }
            _ => false,
        }
    }

    /// The fields that place an event in its response.
    fn place(answer: &Answer) -> Value {
        json!({
            "response_id": answer.order.response_id, "item_id": answer.order.item_id,
            "output_index": 0, "content_index": 0,
        })
    }

    /// Emits an event about the content of the answer's item.
    fn emit_inside(&mut self, kind: &str, name: &str, value: Value) {
        let Some(answer) = &self.answer else { return };
        let mut fields = Self::place(answer);
        if let Product::Call(_, call_id) = &answer.order.product {
            fields["call_id"] = json!(call_id);
        }
        if !name.is_empty() {
            fields[name] = value;
        }
        self.emit(kind, fields);
    }

    fn begin_item(&mut self) {
        let Some(answer) = &self.answer else { return };
        let item = answer.item("in_progress");
        let is_in_conversation = answer.is_in_conversation();
        let is_call = matches!(answer.order.product, Product::Call(..));
        let part = answer.part();
        let fields = json!({ "response_id": answer.order.response_id, "output_index": 0, "item": item });
        self.emit("response.output_item.added", fields);
        if is_in_conversation {
            let previous = self.conversation.append(item.clone());
            self.emit("conversation.item.added", json!({ "item": item, "previous_item_id": previous }));
        }
        if !is_call {
            self.emit_inside("response.content_part.added", "part", part);
        }
    }

    fn send_piece(&mut self, words: Option<String>, audio: Option<String>) {
        let Some(answer) = &self.answer else { return };
        let kind = match answer.order.product {
            Product::Speech(_) => "response.output_audio_transcript.delta",
            Product::Text => "response.output_text.delta",
            Product::Call(..) => "response.function_call_arguments.delta",
        };
        if let Some(words) = words {
            self.emit_inside(kind, "delta", json!(words));
        }
        if let Some(audio) = audio {
            self.emit_inside("response.output_audio.delta", "delta", json!(audio));
        }
    }

    /// Ends the answer in progress, if there is one, with all the events that takes.
    fn finish_answer(&mut self, status: &str, details: &Value) {
        let Some(answer) = &self.answer else { return };
        let item_status = if status == "completed" { "completed" } else { "incomplete" };
        let item = answer.item(item_status);
        let has_begun = answer.has_begun();
        if has_begun {
            self.finish_item(&item);
        }
        let Some(answer) = &self.answer else { return };
        self.seen.push(Seen::Spoken(answer.spoken()));
        if let Product::Speech(_) = answer.order.product {
            self.spoken.push((answer.order.item_id.clone(), answer.spoken()));
        }
        let usage = self.usage();
        let output = if has_begun { json!([item]) } else { json!([]) };
        let mut response = self.response_object(status, details, &usage);
        response["output"] = output;
        self.answer = None;
        self.seen.push(Seen::ResponseDone(status.to_owned()));
        self.emit("response.done", json!({ "response": response }));
    }

    fn finish_item(&mut self, item: &Value) {
        let Some(answer) = &self.answer else { return };
        let (said, part) = (answer.said(), answer.part());
        let response_id = answer.order.response_id.clone();
        let is_in_conversation = answer.is_in_conversation();
        match &answer.order.product {
            Product::Speech(_) => {
                self.emit_inside("response.output_audio.done", "", Value::Null);
                self.emit_inside("response.output_audio_transcript.done", "transcript", json!(said));
                self.emit_inside("response.content_part.done", "part", part);
            }
            Product::Text => {
                self.emit_inside("response.output_text.done", "text", json!(said));
                self.emit_inside("response.content_part.done", "part", part);
            }
            Product::Call(name, call_id) => {
                let mut fields = Self::place(answer);
                fields["call_id"] = json!(call_id);
                fields["name"] = json!(name);
                fields["arguments"] = json!(said);
                self.emit("response.function_call_arguments.done", fields);
            }
        }
        if is_in_conversation {
            if let Some(stored) = self.conversation.get_mut(item["id"].as_str().unwrap_or_default()) {
                *stored = item.clone();
            }
            self.emit("conversation.item.done", json!({ "item": item }));
        }
        self.emit(
            "response.output_item.done",
            json!({ "response_id": response_id, "output_index": 0, "item": item }),
        );
    }

    fn response_object(&self, status: &str, details: &Value, usage: &Value) -> Value {
        let Some(answer) = &self.answer else { return Value::Null };
        let order = &answer.order;
        let modality = if matches!(order.product, Product::Text) { "text" } else { "audio" };
        json!({
            "object": "realtime.response",
            "id": order.response_id,
            "status": status,
            "status_details": details,
            "output": [],
            "conversation_id": order.conversation_id,
            "output_modalities": [modality],
            "max_output_tokens": "inf",
            "audio": { "output": {
                "format": { "type": "audio/pcm", "rate": 24_000 },
                "voice": self.settings.session()["audio"]["output"]["voice"],
            } },
            "usage": usage,
            "metadata": order.metadata,
        })
    }

    /// The whole conversation is read for every response; what was read before comes from the cache.
    fn usage(&mut self) -> Value {
        let Some(answer) = &self.answer else { return Value::Null };
        let text = answer.said().len().div_ceil(4) as u64;
        let audio = milliseconds(answer.spoken()).div_ceil(50);
        let read = self.context;
        let input = read.text + read.audio;
        let cached = read.cached_text + read.cached_audio;
        let usage = json!({
            "total_tokens": input + text + audio,
            "input_tokens": input,
            "output_tokens": text + audio,
            "input_token_details": {
                "text_tokens": read.text, "audio_tokens": read.audio, "image_tokens": 0,
                "cached_tokens": cached,
                "cached_tokens_details": {
                    "text_tokens": read.cached_text, "audio_tokens": read.cached_audio, "image_tokens": 0,
                },
            },
            "output_token_details": { "text_tokens": text, "audio_tokens": audio },
        });
        self.context.cached_text = read.text;
        self.context.cached_audio = read.audio;
        self.context.text += text;
        self.context.audio += audio;
        usage
    }
}
