//! One session: client events in, server events out, time as an argument.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

use super::answer::Answer;
use super::config::SimConfig;
use super::conversation::Conversation;
use super::input::{InputBuffer, Turn};
use super::settings::{Refusal, Settings};
use super::stats::{Seen, Truncation};
use super::vad::Heard;
use super::voice::milliseconds;

mod respond;

/// Largest `input_audio_buffer.append`, as the vendor documents it.
const LARGEST_APPEND: usize = 15 << 20;

/// What a session wants done.
#[derive(Clone, Debug, PartialEq)]
pub enum SimOutput {
    /// Send this event as a text frame.
    Event(Value),
    /// Close the WebSocket; nothing follows.
    Close {
        /// The close code.
        code: u16,
        /// The reason.
        reason: String,
    },
}

/// A turn whose transcript is due.
#[derive(Debug)]
struct Recognition {
    at: Instant,
    item_id: String,
    transcript: String,
    seconds: f64,
}

/// Tokens, counted as the vendor does: 100 ms of the caller or 50 ms of the agent are one audio token; four characters
/// are taken for one text token.
#[derive(Clone, Copy, Debug, Default)]
struct Context {
    text: u64,
    audio: u64,
    cached_text: u64,
    cached_audio: u64,
}

/// The state machine of one connection. Pure.
#[derive(Debug)]
pub struct SimSession {
    config: Arc<SimConfig>,
    number: u64,
    minted: u64,
    settings: Settings,
    conversation: Conversation,
    input: InputBuffer,
    position_samples: u64,
    speaking_item: Option<String>,
    recognitions: VecDeque<Recognition>,
    answer: Option<Answer>,
    answers: u32,
    /// Lengths of spoken items in samples.
    spoken: Vec<(String, u64)>,
    context: Context,
    ends_at: Option<Instant>,
    output: VecDeque<SimOutput>,
    seen: Vec<Seen>,
    is_closed: bool,
}

impl SimSession {
    /// A session that has just connected; `number` makes its names unique. `session.created` is the first output.
    #[must_use]
    pub fn new(config: Arc<SimConfig>, number: u64, model: &str, now: Instant) -> Self {
        let ends_at = config.session_limit.map(|limit| now + limit);
        let mut session = Self {
            settings: Settings::new(&format!("sess_sim_{number}"), model),
            config,
            number,
            minted: 0,
            conversation: Conversation::default(),
            input: InputBuffer::default(),
            position_samples: 0,
            speaking_item: None,
            recognitions: VecDeque::new(),
            answer: None,
            answers: 0,
            spoken: Vec::new(),
            context: Context::default(),
            ends_at,
            output: VecDeque::new(),
            seen: Vec::new(),
            is_closed: false,
        };
        let created = session.settings.session().clone();
        session.emit("session.created", json!({ "session": created }));
        session
    }

    /// The next thing to do.
    pub fn poll_output(&mut self) -> Option<SimOutput> {
        self.output.pop_front()
    }

    /// What was seen since the last call.
    pub fn take_seen(&mut self) -> Vec<Seen> {
        std::mem::take(&mut self.seen)
    }

    /// When [`SimSession::handle_timeout`] has to be called.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let recognition = self.recognitions.front().map(|due| due.at);
        let answer = self.answer.as_ref().and_then(Answer::next_at);
        [recognition, answer, self.ends_at].into_iter().flatten().min()
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.is_closed {
            return;
        }
        if self.ends_at.is_some_and(|end| now >= end) {
            let reason = "Your session hit the maximum duration of 60 minutes.";
            self.refuse(&Refusal::new("session_expired", reason), &Value::Null);
            return self.close(1_001, reason);
        }
        while let Some(due) = self.recognitions.pop_front_if(|due| now >= due.at) {
            self.finish_recognition(due);
        }
        self.continue_answer(now);
    }

    /// Takes a text frame of the client.
    pub fn handle_text(&mut self, text: &str, now: Instant) {
        if self.is_closed {
            return;
        }
        let event: Value = serde_json::from_str(text).unwrap_or_default();
        let Some(kind) = event["type"].as_str() else {
            let refusal = Refusal::new("invalid_event", "The event could not be parsed or has no type.");
            return self.refuse(&refusal, &Value::Null);
        };
        self.seen.push(Seen::Event(kind.to_owned()));
        let done = match kind {
            "session.update" => self.update_session(&event["session"]),
            "input_audio_buffer.append" => self.append(&event, now),
            "input_audio_buffer.commit" => self.commit_by_hand(now),
            "input_audio_buffer.clear" => {
                self.input.clear();
                self.speaking_item = None;
                self.emit("input_audio_buffer.cleared", json!({}));
                Ok(())
            }
            "conversation.item.create" => self.create_item(&event),
            "conversation.item.delete" => self.delete_item(&event["item_id"]),
            "conversation.item.retrieve" => self.retrieve_item(&event["item_id"]),
            "conversation.item.truncate" => self.truncate(&event),
            "response.create" => self.create_response(&event["response"], now),
            "response.cancel" => self.cancel_by_client(&event["response_id"]),
            other => {
                let message = format!("Invalid value: '{other}'.");
                Err(Refusal::new("invalid_value", message).about("type"))
            }
        };
        if let Err(refusal) = done {
            self.refuse(&refusal, &event["event_id"]);
        }
    }

    fn mint(&mut self, prefix: &str) -> String {
        self.minted += 1;
        format!("{prefix}_sim_{}_{}", self.number, self.minted)
    }

    fn emit(&mut self, kind: &str, fields: Value) {
        let mut event = Map::new();
        event.insert("type".into(), json!(kind));
        event.insert("event_id".into(), json!(self.mint("event")));
        if let Value::Object(fields) = fields {
            event.extend(fields);
        }
        self.output.push_back(SimOutput::Event(Value::Object(event)));
    }

    fn close(&mut self, code: u16, reason: &str) {
        self.is_closed = true;
        self.output.push_back(SimOutput::Close { code, reason: reason.to_owned() });
    }

    fn refuse(&mut self, refusal: &Refusal, event_id: &Value) {
        self.seen.push(Seen::Error(refusal.code.to_owned()));
        let error = json!({
            "type": "invalid_request_error",
            "code": refusal.code,
            "message": refusal.message,
            "param": refusal.param,
            "event_id": event_id,
        });
        self.emit("error", json!({ "error": error }));
    }

    fn update_session(&mut self, change: &Value) -> Result<(), Refusal> {
        self.settings.update(change, !self.spoken.is_empty())?;
        let session = self.settings.session().clone();
        self.seen.push(Seen::Session(session.clone()));
        self.emit("session.updated", json!({ "session": session }));
        Ok(())
    }

    fn append(&mut self, event: &Value, now: Instant) -> Result<(), Refusal> {
        let invalid = || {
            Refusal::new(
                "invalid_value",
                "Invalid 'audio'. Expected base64-encoded audio bytes (mono PCM16).",
            )
            .about("audio")
        };
        let text = event["audio"].as_str().filter(|text| text.len() <= LARGEST_APPEND).ok_or_else(invalid)?;
        let bytes = STANDARD.decode(text).map_err(|_| invalid())?;
        let samples: Vec<i16> = bytes.chunks_exact(2).map(|b| i16::from_le_bytes([b[0], b[1]])).collect();
        self.seen.push(Seen::Audio(samples.len() as u64));
        let parameters = self.settings.turn_detection();
        let mut rest = samples.as_slice();
        while !rest.is_empty() {
            let before = rest.len();
            let (left, heard) = self.input.take(rest, parameters.as_ref());
            self.position_samples += (before - left.len()) as u64;
            rest = left;
            match heard {
                Some(Heard::Started(at)) => self.speech_started(at),
                Some(Heard::Stopped(at)) => self.speech_stopped(at, now),
                None => {}
            }
        }
        Ok(())
    }

    fn speech_started(&mut self, at_ms: u64) {
        let item_id = self.mint("item");
        self.input.speech_started(self.position_samples, at_ms);
        let fields = json!({ "item_id": item_id, "audio_start_ms": at_ms });
        self.speaking_item = Some(item_id);
        self.emit("input_audio_buffer.speech_started", fields);
        if self.settings.turn_detection().is_some_and(|vad| vad.interrupt_response) {
            self.cancel_answer("turn_detected");
        }
    }

    fn speech_stopped(&mut self, at_ms: u64, now: Instant) {
        let item_id = self.speaking_item.clone();
        self.emit("input_audio_buffer.speech_stopped", json!({ "item_id": item_id, "audio_end_ms": at_ms }));
        let Some(turn) = self.input.commit() else { return };
        self.commit(turn, now);
        if self.settings.turn_detection().is_some_and(|vad| vad.create_response) && self.answer.is_none() {
            self.start_answer(&Value::Null, self.conversation.clone(), now);
        }
    }

    fn commit_by_hand(&mut self, now: Instant) -> Result<(), Refusal> {
        let turn = self.input.commit().ok_or_else(|| {
            Refusal::new(
                "input_audio_buffer_commit_empty",
                "Error committing input audio buffer: buffer too small. Expected at least 100ms of audio.",
            )
        })?;
        self.commit(turn, now);
        Ok(())
    }

    fn commit(&mut self, turn: Turn, now: Instant) {
        let item_id = self.speaking_item.take().unwrap_or_else(|| self.mint("item"));
        self.seen.push(Seen::Committed(turn.samples));
        self.context.audio += turn.milliseconds().div_ceil(100);
        let transcript = self.config.transcript.clone().unwrap_or_else(|| turn.description());
        let item = json!({
            "id": item_id, "object": "realtime.item", "type": "message", "status": "completed", "role": "user",
            "content": [{ "type": "input_audio", "transcript": null }],
        });
        let mut heard = item.clone();
        // The model hears the words at once, whether or not they are recognised for display.
        heard["content"][0]["transcript"] = json!(transcript);
        let previous = self.conversation.append(heard);
        self.emit(
            "input_audio_buffer.committed",
            json!({ "item_id": item_id, "previous_item_id": previous }),
        );
        for step in ["added", "done"] {
            let fields = json!({ "item": item, "previous_item_id": previous });
            self.emit(&format!("conversation.item.{step}"), fields);
        }
        if self.settings.transcribes() {
            let seconds = Duration::from_millis(turn.milliseconds()).as_secs_f64();
            let at = now + self.config.recognition_delay;
            self.recognitions.push_back(Recognition { at, item_id, transcript, seconds });
        }
    }

    fn finish_recognition(&mut self, due: Recognition) {
        let Recognition { item_id, transcript, seconds, .. } = due;
        for word in transcript.split_inclusive(' ') {
            self.emit(
                "conversation.item.input_audio_transcription.delta",
                json!({ "item_id": item_id, "content_index": 0, "delta": word }),
            );
        }
        self.emit(
            "conversation.item.input_audio_transcription.completed",
            json!({
                "item_id": item_id, "content_index": 0, "transcript": transcript,
                "usage": { "type": "duration", "seconds": seconds },
            }),
        );
    }

    fn create_item(&mut self, event: &Value) -> Result<(), Refusal> {
        let minted = self.mint("item");
        let (item, previous) =
            self.conversation.create(&event["item"], &event["previous_item_id"], minted)?;
        self.context.text += item.to_string().len() as u64 / 4;
        for step in ["added", "done"] {
            let fields = json!({ "item": item, "previous_item_id": previous });
            self.emit(&format!("conversation.item.{step}"), fields);
        }
        Ok(())
    }

    fn delete_item(&mut self, item_id: &Value) -> Result<(), Refusal> {
        self.conversation.delete(item_id.as_str().unwrap_or_default())?;
        self.emit("conversation.item.deleted", json!({ "item_id": item_id }));
        Ok(())
    }

    fn retrieve_item(&mut self, item_id: &Value) -> Result<(), Refusal> {
        let id = item_id.as_str().unwrap_or_default();
        let message = format!("Error retrieving item: the item with id '{id}' does not exist.");
        let missing = Refusal::new("item_retrieve_invalid_item_id", message).about("item_id");
        let item = self.conversation.get(id).cloned().ok_or(missing)?;
        self.emit("conversation.item.retrieved", json!({ "item": item }));
        Ok(())
    }

    fn truncate(&mut self, event: &Value) -> Result<(), Refusal> {
        let id = event["item_id"].as_str().unwrap_or_default().to_owned();
        let message = format!("Error truncating item: the item with id '{id}' does not exist.");
        let missing = Refusal::new("item_truncate_invalid_item_id", message).about("item_id");
        let in_progress = self.answer.as_ref().filter(|answer| answer.order.item_id == id);
        let in_progress = in_progress.map(Answer::spoken);
        let finished = self.spoken.iter().rev().find(|(known, _)| *known == id).map(|(_, samples)| *samples);
        let item = self.conversation.get_mut(&id).ok_or(missing)?;
        let sent_ms = milliseconds(in_progress.or(finished).ok_or_else(|| {
            Refusal::new("unsupported_content_type", "Only model output audio messages can be truncated.")
        })?);
        let invalid = |message: String| Refusal::new("invalid_value", message).about("audio_end_ms");
        let (Some(audio_end_ms), Some(content_index)) =
            (event["audio_end_ms"].as_u64(), event["content_index"].as_u64())
        else {
            return Err(invalid("Invalid 'audio_end_ms' or 'content_index': expected an integer.".into()));
        };
        if audio_end_ms == 0 || audio_end_ms > sent_ms {
            return Err(invalid(format!(
                "Audio content of {sent_ms}ms is already shorter than {audio_end_ms}ms"
            )));
        }
        for part in item["content"].as_array_mut().into_iter().flatten() {
            // The vendor drops the transcript of a cut item: it cannot know which words were heard.
            *part = json!({ "type": "output_audio" });
        }
        let cut = Truncation { item_id: id.clone(), content_index, audio_end_ms, sent_ms };
        self.seen.push(Seen::Truncated(cut));
        let fields = json!({ "item_id": id, "content_index": content_index, "audio_end_ms": audio_end_ms });
        self.emit("conversation.item.truncated", fields);
        Ok(())
    }
}
