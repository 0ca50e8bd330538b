//! Frames of the vendor.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use voxgate_protocol::audio::Pcm;
use voxgate_protocol::bridge::{BridgeEvent, OutputPart, TurnOwner};
use voxgate_protocol::conversation::ItemStatus;
use voxgate_protocol::id::{ItemId, ResponseId, ToolCallId};

use super::super::answers::ToolName;
use super::super::fault::{self, sentence};
use super::super::usage::{response_status, token_usage, transcription_usage};
use super::{Codec, Phase, Purpose, RATE};

mod piece;

use piece::Piece;

/// Longer names are not taken: they would be kept.
const LONGEST_NAME: usize = 256;

/// Positions beyond a day are not plausible in any session.
const LATEST_POSITION_MS: u64 = 86_400_000;

fn name(value: &Value) -> Option<&str> {
    value.as_str().filter(|text| !text.is_empty() && text.len() <= LONGEST_NAME)
}

impl Codec {
    /// The events of a JSON text frame, in order. What is unknown or malformed is counted and left out.
    pub fn decode(&mut self, frame: &str) -> Vec<BridgeEvent> {
        let mut events = Vec::new();
        let understood = match Piece::read(frame) {
            Some(piece) => self.take_piece(&piece, &mut events),
            None => serde_json::from_str::<Value>(frame).is_ok_and(|event| self.take(&event, &mut events)),
        };
        if !understood {
            self.ignored += 1;
        }
        events
    }

    /// `false` if the event could not be used.
    fn take(&mut self, event: &Value, events: &mut Vec<BridgeEvent>) -> bool {
        let Some(kind) = event["type"].as_str() else { return false };
        match kind {
            "session.created" => self.take_session_created(),
            "session.updated" => self.take_session_updated(events),
            "error" => self.take_error(&event["error"], events),
            "response.created" => self.take_response_created(&event["response"], events),
            "response.done" => self.take_response_done(&event["response"], events),
            _ => match kind.split_once('.') {
                Some(("input_audio_buffer", rest)) => self.take_input(rest, event, events),
                Some(("conversation", rest)) => self.take_conversation(rest, event, events),
                Some(("response", rest)) => self.take_output(rest, event, events).is_some(),
                _ => kind == "rate_limits.updated",
            },
        }
    }

    fn take_session_created(&mut self) -> bool {
        let is_first = self.phase == Phase::Connecting;
        if is_first {
            self.phase = Phase::Configuring;
            self.configure_first();
        }
        is_first
    }

    fn take_session_updated(&mut self, events: &mut Vec<BridgeEvent>) -> bool {
        if self.phase == Phase::Configuring {
            self.phase = Phase::Ready;
            events.push(BridgeEvent::Ready);
        }
        true
    }

    fn take_error(&mut self, error: &Value, events: &mut Vec<BridgeEvent>) -> bool {
        let about = error["event_id"].as_str().and_then(Purpose::parse);
        match about {
            Some((Purpose::Commit | Purpose::Silence, number)) => {
                self.names.commit_refused(number);
                self.send_deferred();
            }
            Some((Purpose::Answer, number)) if self.awaited == Some(number) => self.awaited = None,
            _ => {}
        }
        let code = error["code"].as_str().unwrap_or_default();
        let about_settings = about.is_some_and(|(purpose, _)| purpose == Purpose::Configure);
        if self.phase == Phase::Configuring && about_settings {
            events.push(BridgeEvent::Fault(fault::of_refused_settings(error)));
            return true;
        }
        let is_race =
            matches!(code, "response_cancel_not_active" | "conversation_already_has_active_response");
        let about_past = about.is_some_and(|(purpose, _)| {
            matches!(
                purpose,
                Purpose::Silence | Purpose::Cancel | Purpose::Truncate | Purpose::Delete | Purpose::Restore
            )
        });
        if is_race || about_past || code.starts_with("item_truncate") {
            // Both sides were right when they spoke: the answer ended, or began, while the command was on its way.
            // What is to be undone is undone on the client's side already, and what is restored nobody asked for.
            return false;
        }
        events.push(BridgeEvent::Fault(fault::of_error(error)));
        true
    }

    fn take_response_created(&mut self, response: &Value, events: &mut Vec<BridgeEvent>) -> bool {
        self.awaited = None;
        let Some(id) = name(&response["id"]) else { return false };
        self.answers.start(&ResponseId::from(id), events)
    }

    fn take_response_done(&mut self, response: &Value, events: &mut Vec<BridgeEvent>) -> bool {
        self.half_sample = None;
        self.awaited = None;
        let id = name(&response["id"]).map(ResponseId::from).or_else(|| self.answers.only().cloned());
        let Some(id) = id else { return false };
        self.answers.end(&id, response_status(response), token_usage(&response["usage"]), events)
    }

    fn take_input(&mut self, kind: &str, event: &Value, events: &mut Vec<BridgeEvent>) -> bool {
        if kind == "cleared" {
            return true;
        }
        let Some(vendor) = name(&event["item_id"]) else { return false };
        let is_listening = self.turn_owner == TurnOwner::Provider;
        match kind {
            "speech_started" if is_listening => {
                self.names.announced(vendor);
                let at = self.position(&event["audio_start_ms"]);
                events.push(BridgeEvent::SpeechStarted { item_id: ItemId::from(vendor), at });
            }
            "speech_stopped" if is_listening => {
                let at = self.position(&event["audio_end_ms"]);
                events.push(BridgeEvent::SpeechStopped { item_id: ItemId::from(vendor), at });
            }
            "timeout_triggered" if is_listening => {
                self.names.announced(vendor);
                let from = self.position(&event["audio_start_ms"]);
                let to = self.position(&event["audio_end_ms"]);
                events.push(BridgeEvent::InputTimedOut { item_id: ItemId::from(vendor), from, to });
            }
            "committed" => {
                let item_id = self.names.committed(vendor);
                events.push(BridgeEvent::InputCommitted { item_id });
                self.send_deferred();
            }
            _ => return false,
        }
        true
    }

    /// A position in the audio the gateway has sent.
    fn position(&self, milliseconds: &Value) -> Duration {
        let at = milliseconds.as_u64().unwrap_or(0).min(LATEST_POSITION_MS);
        Duration::from_millis(at).saturating_add(self.skipped)
    }

    fn take_conversation(&mut self, kind: &str, event: &Value, events: &mut Vec<BridgeEvent>) -> bool {
        let Some(step) = kind.strip_prefix("item.input_audio_transcription.") else {
            // The client's side keeps the conversation; what the vendor repeats of it is known.
            return kind == "created" || kind.starts_with("item.");
        };
        let Some(item_id) = name(&event["item_id"]).map(|vendor| self.names.ours(vendor)) else {
            return false;
        };
        if self.settings.input.transcription.is_none() && self.transcription_model.is_some() {
            return take_unseen(step, item_id, event, events);
        }
        let told = match step {
            "delta" => event["delta"]
                .as_str()
                .map(|delta| BridgeEvent::InputTranscriptDelta { item_id, delta: delta.to_owned() }),
            "completed" => event["transcript"].as_str().map(|transcript| BridgeEvent::InputTranscriptDone {
                item_id,
                transcript: transcript.to_owned(),
                usage: transcription_usage(&event["usage"]),
            }),
            "failed" => {
                let message = event["error"]["message"].as_str().unwrap_or("The words were not recognised.");
                Some(BridgeEvent::InputTranscriptFailed { item_id, message: sentence(message) })
            }
            _ => None,
        };
        let is_known = told.is_some();
        events.extend(told);
        is_known
    }

    /// `None` if the event could not be used.
    fn take_output(&mut self, kind: &str, event: &Value, events: &mut Vec<BridgeEvent>) -> Option<()> {
        let named = name(&event["response_id"]).map(ResponseId::from);
        let response_id = named.or_else(|| self.answers.only().cloned())?;
        let item = &event["item"];
        let item_id = ItemId::from(name(&event["item_id"]).or_else(|| name(&item["id"]))?);
        let used = match kind {
            "output_item.added" => {
                is_understood(item)
                    && self.answers.add_item(&response_id, &item_id, tool_name(item, &item_id), events)
            }
            "output_item.done" => self.take_item_done(&response_id, &item_id, item, events),
            "output_audio.delta" => {
                self.take_speech(&response_id, &item_id, event["delta"].as_str()?, events)
            }
            "output_audio_transcript.delta" => {
                let part = OutputPart::Transcript(event["delta"].as_str()?.to_owned());
                self.answers.output(&response_id, &item_id, part, events)
            }
            "output_text.delta" => {
                let part = OutputPart::Text(event["delta"].as_str()?.to_owned());
                self.answers.output(&response_id, &item_id, part, events)
            }
            "function_call_arguments.delta" => {
                self.answers.arguments(&response_id, &item_id, event["delta"].as_str()?.to_owned(), events)
            }
            "function_call_arguments.done" => {
                let tool = tool_name(event, &item_id)?;
                let arguments = event["arguments"].as_str()?;
                self.answers.all_arguments(&response_id, &item_id, tool, arguments, events)
            }
            "content_part.added"
            | "content_part.done"
            | "output_audio.done"
            | "output_audio_transcript.done"
            | "output_text.done" => true,
            _ => false,
        };
        used.then_some(())
    }

    fn take_item_done(
        &mut self,
        response_id: &ResponseId,
        item_id: &ItemId,
        item: &Value,
        events: &mut Vec<BridgeEvent>,
    ) -> bool {
        if !is_understood(item) {
            return false;
        }
        if let (Some(tool), Some(arguments)) = (tool_name(item, item_id), item["arguments"].as_str()) {
            self.answers.all_arguments(response_id, item_id, tool, arguments, events);
        }
        let status = match item["status"].as_str() {
            Some("completed") | None => ItemStatus::Completed,
            Some(_) => ItemStatus::Incomplete,
        };
        self.answers.end_item(response_id, item_id, status, events)
    }

    fn take_piece(&mut self, piece: &Piece<'_>, events: &mut Vec<BridgeEvent>) -> bool {
        let (response_id, item_id) = (ResponseId::from(piece.response_id), ItemId::from(piece.item_id));
        self.take_speech(&response_id, &item_id, piece.delta, events)
    }

    fn take_speech(
        &mut self,
        response_id: &ResponseId,
        item_id: &ItemId,
        base64: &str,
        events: &mut Vec<BridgeEvent>,
    ) -> bool {
        let Some(pcm) = self.speech(item_id, base64) else { return false };
        pcm.is_empty() || self.answers.output(response_id, item_id, OutputPart::Audio(pcm), events)
    }

    /// The samples of a piece. A sample cut in two is put together with the next piece of the same item.
    fn speech(&mut self, item_id: &ItemId, base64: &str) -> Option<Pcm> {
        let decoded = STANDARD.decode(base64).ok()?;
        let mut bytes = match self.half_sample.take() {
            Some((owner, half)) if owner == *item_id => {
                let mut joined = Vec::with_capacity(decoded.len() + 1);
                joined.push(half);
                joined.extend_from_slice(&decoded);
                joined
            }
            _ => decoded,
        };
        if bytes.len() % 2 == 1 {
            self.half_sample = bytes.pop().map(|half| (item_id.clone(), half));
        }
        Some(Pcm::from_le_bytes(RATE, &bytes))
    }
}

/// A transcript that only the gateway asked for. `false` if the event could not be used.
fn take_unseen(step: &str, item_id: ItemId, event: &Value, events: &mut Vec<BridgeEvent>) -> bool {
    if step == "completed"
        && let Some(words) = event["transcript"].as_str()
    {
        events.push(BridgeEvent::InputWords { item_id, words: words.to_owned() });
        return true;
    }
    matches!(step, "delta" | "failed")
}

/// Items the neutral vocabulary has words for; MCP calls are the vendor's own business.
fn is_understood(item: &Value) -> bool {
    matches!(item["type"].as_str(), Some("message" | "function_call"))
}

/// The call and its tool, from an item or from an event about its arguments.
fn tool_name(source: &Value, item_id: &ItemId) -> Option<ToolName> {
    if source["type"].as_str() == Some("message") {
        return None;
    }
    let tool = name(&source["name"])?.to_owned();
    let call_id = name(&source["call_id"]).unwrap_or(item_id.as_str());
    Some(ToolName { call_id: ToolCallId::from(call_id), name: tool })
}
