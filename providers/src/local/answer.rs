//! An answer on its way out: clause by clause, never far ahead of the caller's ear.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::{Instant, sleep_until};
use voxgate_protocol::audio::{Pcm, SampleRate};
use voxgate_protocol::bridge::{BridgeEvent, OutputPart, ResponseStatus, TurnStage};
use voxgate_protocol::conversation::ItemStatus;
use voxgate_protocol::id::{ItemId, ResponseId, ToolCallId};
use voxgate_protocol::settings::OutputModality;

use super::brain::Reply;
use super::voice::{Manner, Voice};
use super::{LocalError, OUTPUT_RATE};

/// Audio of one event.
const CHUNK: Duration = Duration::from_millis(100);

/// How far the audio sent may be ahead of real time. Enough to survive a busy machine, little enough that an
/// interrupted answer has cost almost nothing.
const LEAD: Duration = Duration::from_secs(2);

/// The names of an answer's parts.
#[derive(Clone, Debug)]
pub(super) struct AnswerIds {
    pub(super) response: ResponseId,
    pub(super) message: ItemId,
    pub(super) tool_item: ItemId,
    pub(super) tool_call: ToolCallId,
}

/// What has been said of an answer, to find out later what of it was heard.
#[derive(Clone, Debug)]
pub(super) struct Spoken {
    pub(super) item_id: ItemId,
    /// Where each clause ends in the item's audio.
    clause_ends: Vec<Duration>,
}

impl Spoken {
    /// Clauses heard to their end. The last 150 ms of a clause are its fading sound.
    pub(super) fn clauses_within(&self, heard: Duration) -> usize {
        self.clause_ends.iter().filter(|end| **end <= heard + Duration::from_millis(150)).count()
    }
}

/// One answer being spoken or written.
#[derive(Debug)]
pub(super) struct Answer {
    ids: AnswerIds,
    modality: OutputModality,
    manner: Manner,
    clauses: VecDeque<String>,
    has_message: bool,
    /// The clause the voice is working on.
    speaking: Option<(String, oneshot::Receiver<Result<Pcm, LocalError>>)>,
    /// Events that may go out at once.
    ready: VecDeque<BridgeEvent>,
    /// Audio that goes out as real time passes.
    chunks: VecDeque<Pcm>,
    sent: Duration,
    first_audio: Option<Instant>,
    spoken: Spoken,
    is_finishing: bool,
}

impl Answer {
    /// An answer with what the brain wants to say and do.
    pub(super) fn new(ids: AnswerIds, reply: Reply, modality: OutputModality, manner: Manner) -> Self {
        let mut ready = VecDeque::from([BridgeEvent::Stage(TurnStage::FirstToken)]);
        let has_message = !reply.clauses.is_empty();
        if has_message && modality == OutputModality::Audio {
            ready.push_back(BridgeEvent::Stage(TurnStage::SpeechRequested));
        }
        let spoken = Spoken { item_id: ids.message.clone(), clause_ends: Vec::new() };
        let mut answer = Self {
            ids,
            modality,
            manner,
            clauses: reply.clauses.into(),
            has_message,
            speaking: None,
            ready,
            chunks: VecDeque::new(),
            sent: Duration::ZERO,
            first_audio: None,
            spoken,
            is_finishing: false,
        };
        if let Some(call) = reply.tool_call {
            answer.tool_call(&call.name, call.arguments);
        }
        answer
    }

    /// The answer's name.
    pub(super) const fn response_id(&self) -> &ResponseId {
        &self.ids.response
    }

    /// What was said so far.
    pub(super) const fn spoken(&self) -> &Spoken {
        &self.spoken
    }

    /// When the first sound went out.
    pub(super) const fn first_audio(&self) -> Option<Instant> {
        self.first_audio
    }

    /// How much sound went out.
    pub(super) const fn sent(&self) -> Duration {
        self.sent
    }

    /// The next event; the last one is [`BridgeEvent::ResponseDone`]. Cancelling the wait loses nothing.
    pub(super) async fn next(&mut self, voice: &Voice) -> BridgeEvent {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return event;
            }
            if let Some(event) = self.next_chunk().await {
                return event;
            }
            if let Some((_, speech)) = &mut self.speaking {
                let pcm = speech.await;
                let Some((clause, _)) = self.speaking.take() else { continue };
                match pcm {
                    Ok(Ok(pcm)) => self.spoke(&clause, &pcm),
                    Ok(Err(error)) => self.fail(&error),
                    Err(_) => self.fail(&LocalError::VoiceRefused),
                }
                continue;
            }
            match self.clauses.pop_front() {
                Some(clause) if self.modality == OutputModality::Text => {
                    let text = self.spaced(&clause);
                    self.spoken.clause_ends.push(Duration::ZERO);
                    return self.output(OutputPart::Text(text));
                }
                Some(clause) => {
                    let speech = voice.say(&clause, self.manner);
                    self.speaking = Some((clause, speech));
                }
                None => self.finish(),
            }
        }
    }

    /// The next piece of audio, once it may go out.
    async fn next_chunk(&mut self) -> Option<BridgeEvent> {
        self.chunks.front()?;
        if let Some(first) = self.first_audio
            && self.sent > LEAD
        {
            sleep_until(first + (self.sent - LEAD)).await;
        }
        let chunk = self.chunks.pop_front()?;
        self.first_audio.get_or_insert_with(Instant::now);
        self.sent += chunk.duration();
        Some(self.output(OutputPart::Audio(chunk)))
    }

    fn spoke(&mut self, clause: &str, pcm: &Pcm) {
        let text = self.spaced(clause);
        let transcript = self.output(OutputPart::Transcript(text));
        self.ready.push_back(transcript);
        self.chunks.extend(chunks(pcm, OUTPUT_RATE));
        let end = self.sent + pcm.duration();
        self.spoken.clause_ends.push(end);
    }

    /// The clause with the space that separates it from the one before.
    fn spaced(&self, clause: &str) -> String {
        if self.spoken.clause_ends.is_empty() { clause.to_owned() } else { format!(" {clause}") }
    }

    fn output(&self, part: OutputPart) -> BridgeEvent {
        BridgeEvent::Output {
            response_id: self.ids.response.clone(),
            item_id: self.ids.message.clone(),
            part,
        }
    }

    fn item_done(&self, item_id: &ItemId, status: ItemStatus) -> BridgeEvent {
        BridgeEvent::OutputItemDone {
            response_id: self.ids.response.clone(),
            item_id: item_id.clone(),
            status,
        }
    }

    fn done(&self, status: ResponseStatus) -> BridgeEvent {
        BridgeEvent::ResponseDone { response_id: self.ids.response.clone(), status, usage: None }
    }

    fn tool_call(&mut self, name: &str, arguments: String) {
        let part = OutputPart::ToolArguments {
            call_id: self.ids.tool_call.clone(),
            name: name.to_owned(),
            delta: arguments,
        };
        self.ready.push_back(BridgeEvent::Output {
            response_id: self.ids.response.clone(),
            item_id: self.ids.tool_item.clone(),
            part,
        });
        let done = self.item_done(&self.ids.tool_item, ItemStatus::Completed);
        self.ready.push_back(done);
    }

    fn finish(&mut self) {
        if self.has_message && !self.is_finishing {
            let done = self.item_done(&self.ids.message, ItemStatus::Completed);
            self.ready.push_back(done);
        }
        self.is_finishing = true;
        let done = self.done(ResponseStatus::Completed);
        self.ready.push_back(done);
    }

    fn fail(&mut self, error: &LocalError) {
        self.clauses.clear();
        self.chunks.clear();
        let status =
            ResponseStatus::Failed { code: "local_voice_failed".to_owned(), message: error.to_string() };
        let events = [self.item_done(&self.ids.message, ItemStatus::Incomplete), self.done(status)];
        self.ready.extend(events);
    }

    /// The events that end it before its time.
    pub(super) fn cancel(self) -> Vec<BridgeEvent> {
        let mut events = Vec::new();
        // An item is announced by its first part only.
        if !self.spoken.clause_ends.is_empty() && !self.is_finishing {
            events.push(self.item_done(&self.ids.message, ItemStatus::Incomplete));
        }
        events.push(self.done(ResponseStatus::CancelledByClient));
        events
    }
}

fn chunks(pcm: &Pcm, rate: SampleRate) -> impl Iterator<Item = Pcm> {
    let size = rate.samples_in(CHUNK).0 as usize;
    pcm.samples
        .chunks(size)
        .map(move |samples| Pcm { rate, samples: samples.to_vec() })
        .collect::<Vec<_>>()
        .into_iter()
}
