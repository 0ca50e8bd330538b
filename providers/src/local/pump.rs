//! The task of one session: commands in, events out, in the order a provider promises.
//!
//! Every [`BridgeCommand::CommitInput`] gets one `InputCommitted` and one `InputTranscriptDone` or
//! `InputTranscriptFailed`; every [`BridgeCommand::CreateResponse`] gets one `ResponseStarted` and one
//! `ResponseDone`. An answer waits for the words of the turns that ended before it was asked for. What was understood so far
//! of a turn that goes on is told with `InterimTranscript`.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::future::pending;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::time::{Instant, sleep_until};
use voxgate_protocol::bridge::{
    BridgeCommand, BridgeEvent, BridgeTraits, Fault, FaultOwner, ResponseStatus, TurnOwner, TurnStage,
};
use voxgate_protocol::conversation::{InputItem, Item, ItemKind};
use voxgate_protocol::id::{IdSource, ItemId, ResponseId, ToolCallId};
use voxgate_protocol::settings::{ResponseOptions, SessionSettings};
use voxgate_protocol::timeline::TurnTimeline;
use voxgate_protocol::usage::TranscriptionUsage;

use super::answer::{Answer, AnswerIds, Spoken};
use super::brain::{Brain, BrainFacts, BrainSettings, LastTurn, LocalTime, Reply};
use super::transcript::{OpenTurn, PendingTranscript};
use super::unanswered::Unanswered;
use super::voice::{Manner, VoiceName};
use super::{INPUT_RATE, LocalEngine, LocalError, OUTPUT_RATE};
use crate::bridge::{Bridge, BridgeEnded, BridgeEnds, StampedEvent, Wake, bridge};

/// What the local provider needs and does.
pub const TRAITS: BridgeTraits = BridgeTraits {
    input_rate: INPUT_RATE,
    output_rate: OUTPUT_RATE,
    turn_owner: TurnOwner::Gateway,
    truncates: true,
    transcribes: false,
};

/// Audio that stops arriving (a client that sends none between its turns) ends an utterance after this long, so
/// that its decoder serves others.
const STALLED: Duration = Duration::from_secs(2);

/// Answers that may be asked for while another is being spoken.
const MOST_QUEUED: usize = 16;

/// Turns that may wait for their words. The waiting ends by itself, so this bounds only a client that commits
/// without end.
const MOST_PENDING: usize = 64;

/// Tool calls whose names are remembered for their outputs.
const MOST_TOOL_CALLS: usize = 256;

/// Where the gateway keeps the waterfall of the last finished turn, for the question "how fast was that".
pub type LastTimeline = Arc<dyn Fn() -> Option<TurnTimeline> + Send + Sync>;

/// What a session brings.
#[derive(Clone)]
pub struct LocalCall {
    /// The settings at the beginning.
    pub settings: SessionSettings,
    /// Seed of the names of answers and items; sessions of one process need different ones.
    pub seed: u64,
    /// Called after every event.
    pub wake: Wake,
    /// The waterfall of the last turn; `None` if the gateway does not tell, then the brain knows only its own part.
    pub last_timeline: Option<LastTimeline>,
}

impl fmt::Debug for LocalCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LocalCall").field("seed", &self.seed).finish_non_exhaustive()
    }
}

/// Connects a session. Needs a Tokio runtime with time around it; dropping the bridge ends the task.
#[must_use]
pub fn connect(engine: &LocalEngine, call: LocalCall) -> Bridge {
    let (near, far) = bridge(TRAITS, Arc::clone(&call.wake));
    let pump = Pump::new(engine.clone(), far, call);
    tokio::spawn(async move {
        // Ends when the gateway drops its end; there is nobody left to tell.
        let _ = pump.run().await;
    });
    near
}

/// What is being answered.
enum Current {
    /// Announced, waiting for the words of the turns before it.
    Waiting { response_id: ResponseId, options: Box<ResponseOptions>, asked: Instant },
    /// On its way out.
    Going { answer: Box<Answer>, began: Instant },
}

enum Happening {
    Command(Option<BridgeCommand>),
    Words(Result<String, LocalError>),
    /// What the caller has said so far.
    Interim(String),
    Output(BridgeEvent),
    Stalled,
}

struct Pump {
    engine: LocalEngine,
    ends: BridgeEnds,
    settings: SessionSettings,
    ids: IdSource,
    brain: Brain,
    turn: OpenTurn,
    pending: VecDeque<PendingTranscript>,
    /// What waits for an answer.
    unanswered: Unanswered,
    /// The same and what was answered, for answers that are made of items by name.
    said: Unanswered,
    queued: VecDeque<Box<ResponseOptions>>,
    current: Option<Current>,
    /// The last answer, as far as it was said.
    spoken: Option<Spoken>,
    tool_names: BTreeMap<ToolCallId, String>,
    last_audio: Instant,
    began: Instant,
    recognition: Duration,
    last_turn: Option<LastTurn>,
    last_timeline: Option<LastTimeline>,
}

impl Pump {
    fn new(engine: LocalEngine, ends: BridgeEnds, call: LocalCall) -> Self {
        let now = Instant::now();
        Self {
            engine,
            ends,
            settings: call.settings,
            ids: IdSource::new(call.seed),
            brain: Brain::default(),
            turn: OpenTurn::new(),
            pending: VecDeque::new(),
            unanswered: Unanswered::default(),
            said: Unanswered::default(),
            queued: VecDeque::new(),
            current: None,
            spoken: None,
            tool_names: BTreeMap::new(),
            last_audio: now,
            began: now,
            recognition: Duration::ZERO,
            last_turn: None,
            last_timeline: call.last_timeline,
        }
    }

    async fn run(mut self) -> Result<(), BridgeEnded> {
        self.tell(BridgeEvent::Ready).await?;
        loop {
            match self.next().await {
                Happening::Command(None) => return Ok(()),
                Happening::Command(Some(command)) => self.obey(command).await?,
                Happening::Words(words) => self.recognised(words).await?,
                Happening::Interim(words) => self.tell(BridgeEvent::InterimTranscript { words }).await?,
                Happening::Output(event) => self.put_out(event).await?,
                Happening::Stalled => self.turn.end_utterance(),
            }
            self.proceed().await?;
        }
    }

    async fn next(&mut self) -> Happening {
        let stalled = self.turn.is_open().then_some(self.last_audio + STALLED);
        let words = async {
            match self.pending.front_mut() {
                Some(pending) => pending.words().await,
                None => pending().await,
            }
        };
        let output = async {
            match &mut self.current {
                Some(Current::Going { answer, .. }) => answer.next(&self.engine.voice).await,
                _ => pending().await,
            }
        };
        let stall = async {
            match stalled {
                Some(at) => sleep_until(at).await,
                None => pending().await,
            }
        };
        tokio::select! {
            biased;
            command = self.ends.commands.recv() => Happening::Command(command),
            words = words => Happening::Words(words),
            words = self.turn.interim() => Happening::Interim(words),
            event = output => Happening::Output(event),
            () = stall => Happening::Stalled,
        }
    }

    async fn tell(&self, event: BridgeEvent) -> Result<(), BridgeEnded> {
        self.ends.events.send(StampedEvent { at: std::time::Instant::now(), event }).await
    }

    async fn obey(&mut self, command: BridgeCommand) -> Result<(), BridgeEnded> {
        match command {
            BridgeCommand::Configure(settings) => self.settings = *settings,
            BridgeCommand::Audio(pcm) => {
                self.last_audio = Instant::now();
                if self.turn.hear(&pcm.samples, &self.engine.decoders) {
                    self.tell(BridgeEvent::Stage(TurnStage::Recognising)).await?;
                }
            }
            BridgeCommand::CommitInput { item_id, is_silence } => self.commit(item_id, is_silence).await?,
            BridgeCommand::ClearInput => self.turn.clear(),
            BridgeCommand::CreateItem { item, .. } => {
                self.remember_item(&item);
                self.unanswered.add_item(&item, &self.tool_names);
            }
            // A script answers what is said now; the past it only has to know for answers that name it.
            BridgeCommand::RestoreItem { item, .. } => self.remember_item(&item),
            BridgeCommand::DeleteItem { item_id } => {
                self.unanswered.remove(&item_id);
                self.said.remove(&item_id);
            }
            BridgeCommand::CreateResponse(options) if self.queued.len() < MOST_QUEUED => {
                self.queued.push_back(options);
            }
            BridgeCommand::CreateResponse(_) => self.tell(too_many("answers wait")).await?,
            BridgeCommand::CancelResponse { response_id } => self.cancel(response_id.as_ref()).await?,
            BridgeCommand::Truncate { item_id, heard, .. } => self.truncate(&item_id, heard),
        }
        Ok(())
    }

    fn remember_tool(&mut self, call_id: ToolCallId, name: String) {
        if self.tool_names.len() == MOST_TOOL_CALLS {
            self.tool_names.pop_first();
        }
        self.tool_names.insert(call_id, name);
    }

    fn remember_item(&mut self, item: &Item) {
        if let ItemKind::ToolCall { call_id, name, .. } = &item.kind {
            self.remember_tool(call_id.clone(), name.clone());
        }
        self.said.add_item(item, &self.tool_names);
    }

    async fn commit(&mut self, item_id: ItemId, is_silence: bool) -> Result<(), BridgeEnded> {
        self.tell(BridgeEvent::InputCommitted { item_id: item_id.clone() }).await?;
        if self.pending.len() >= MOST_PENDING {
            self.turn.clear();
            let message = LocalError::Busy.to_string();
            return self.tell(BridgeEvent::InputTranscriptFailed { item_id, message }).await;
        }
        let detection = self.settings.input.turn_detection.as_ref();
        let mut pending = self.turn.commit(item_id, detection, Instant::now());
        pending.is_silence = is_silence;
        self.pending.push_back(pending);
        Ok(())
    }

    async fn recognised(&mut self, words: Result<String, LocalError>) -> Result<(), BridgeEnded> {
        let Some(turn) = self.pending.pop_front() else { return Ok(()) };
        let item_id = turn.item_id;
        let transcript = match words {
            Ok(transcript) => transcript,
            Err(error) => {
                self.unanswered.add_unheard(item_id.clone());
                self.said.add_unheard(item_id.clone());
                let message = error.to_string();
                return self.tell(BridgeEvent::InputTranscriptFailed { item_id, message }).await;
            }
        };
        self.recognition = turn.committed.elapsed();
        if turn.is_silence && transcript.is_empty() {
            self.unanswered.add_silence(item_id.clone());
        } else {
            self.unanswered.add_words(item_id.clone(), transcript.clone());
        }
        self.said.add_words(item_id.clone(), transcript.clone());
        if !transcript.is_empty() {
            let delta = transcript.clone();
            self.tell(BridgeEvent::InputTranscriptDelta { item_id: item_id.clone(), delta }).await?;
        }
        let usage = Some(TranscriptionUsage::Audio(turn.audio));
        self.tell(BridgeEvent::InputTranscriptDone { item_id, transcript, usage }).await?;
        self.tell(BridgeEvent::Stage(TurnStage::Recognised)).await
    }

    /// Announces the next answer, and begins it once every word is known.
    async fn proceed(&mut self) -> Result<(), BridgeEnded> {
        if self.current.is_none()
            && let Some(options) = self.queued.pop_front()
        {
            let response_id = ResponseId::from_random(self.ids.next_bits());
            self.tell(BridgeEvent::ResponseStarted { response_id: response_id.clone() }).await?;
            self.current = Some(Current::Waiting { response_id, options, asked: Instant::now() });
        }
        if !self.pending.is_empty() {
            return Ok(());
        }
        self.current = match self.current.take() {
            Some(Current::Waiting { response_id, options, asked }) => {
                Some(self.answer(response_id, &options, asked))
            }
            other => other,
        };
        Ok(())
    }

    fn answer(&mut self, response_id: ResponseId, options: &ResponseOptions, asked: Instant) -> Current {
        let settings = &self.settings;
        let modality = options.modality.unwrap_or(settings.modality);
        let manner = Manner {
            voice: VoiceName::from_session(settings.voice.as_deref()),
            speed_percent: settings.speed_percent,
        };
        let reply = self.think(options);
        let ids = AnswerIds {
            response: response_id,
            message: ItemId::from_random(self.ids.next_bits()),
            tool_item: ItemId::from_random(self.ids.next_bits()),
            tool_call: ToolCallId::from_random(self.ids.next_bits()),
        };
        if let Some(call) = &reply.tool_call {
            self.remember_tool(ids.tool_call.clone(), call.name.clone());
        }
        // The voice is measured from the moment nothing but the voice was waited for.
        let began = Instant::now().max(asked);
        Current::Going { answer: Box::new(Answer::new(ids, reply, modality, manner)), began }
    }

    /// What to say. An answer made of its own input knows nothing else, and one beside the conversation leaves no trace
    /// in it.
    fn think(&mut self, options: &ResponseOptions) -> Reply {
        let settings = &self.settings;
        let task = BrainSettings {
            instructions: options.instructions.clone().or_else(|| settings.instructions.clone()),
            tools: options.tools.clone().unwrap_or_else(|| settings.tools.clone()),
            tool_choice: options.tool_choice.clone().unwrap_or_else(|| settings.tool_choice.clone()),
            model: settings.model.clone(),
        };
        let facts = self.facts();
        if let Some(input) = &options.input {
            let question = self.recall(input).question();
            let reply = Brain::new(task).reply(&question, &facts);
            if !options.is_beside {
                self.brain.has_said(&reply);
            }
            return reply;
        }
        let question = self.unanswered.question();
        if options.is_beside {
            let mut brain = self.brain.clone();
            brain.configure(task);
            return brain.reply(&question, &facts);
        }
        self.unanswered.clear();
        self.brain.configure(task);
        self.brain.reply(&question, &facts)
    }

    /// What the items of an input ask.
    fn recall(&self, input: &[InputItem]) -> Unanswered {
        let mut tools = self.tool_names.clone();
        let mut asked = Unanswered::default();
        for item in input {
            match item {
                InputItem::Reference(item_id) => asked.add_from(item_id, &self.said),
                InputItem::New(kind) => {
                    if let ItemKind::ToolCall { call_id, name, .. } = kind {
                        tools.insert(call_id.clone(), name.clone());
                    }
                    asked.add_kind(ItemId::from(""), kind, &tools);
                }
            }
        }
        asked
    }

    fn facts(&self) -> BrainFacts {
        // A clock before 1970 is as good as 1970.
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        BrainFacts {
            time: LocalTime::at(since_epoch, self.engine.utc_offset_minutes),
            call: self.began.elapsed(),
            last_turn: self.last_turn,
            timeline: self.last_timeline.as_ref().and_then(|timeline| timeline()),
        }
    }

    async fn put_out(&mut self, event: BridgeEvent) -> Result<(), BridgeEnded> {
        if matches!(event, BridgeEvent::ResponseDone { .. }) {
            self.remember();
            self.current = None;
        }
        self.tell(event).await
    }

    /// Keeps of the answer that ends now what later questions need.
    fn remember(&mut self) {
        if let Some(Current::Going { answer, began }) = &self.current {
            self.spoken = Some(answer.spoken().clone());
            if let Some(first) = answer.first_audio() {
                self.last_turn = Some(LastTurn { recognition: self.recognition, voice: first - *began });
            }
        }
    }

    async fn cancel(&mut self, response_id: Option<&ResponseId>) -> Result<(), BridgeEnded> {
        let Some(current) = &self.current else { return Ok(()) };
        let name = match current {
            Current::Waiting { response_id, .. } => response_id,
            Current::Going { answer, .. } => answer.response_id(),
        };
        if response_id.is_some_and(|wanted| wanted != name) {
            return Ok(());
        }
        self.remember();
        let events = match self.current.take() {
            Some(Current::Going { answer, .. }) => {
                // A truncation says later what was really heard.
                self.brain.heard_only(answer.spoken().clauses_within(answer.sent()));
                answer.cancel()
            }
            Some(Current::Waiting { response_id, .. }) => {
                let status = ResponseStatus::CancelledByClient;
                vec![BridgeEvent::ResponseDone { response_id, status, usage: None }]
            }
            None => Vec::new(),
        };
        for event in events {
            self.tell(event).await?;
        }
        Ok(())
    }

    fn truncate(&mut self, item_id: &ItemId, heard: Duration) {
        let current = match &self.current {
            Some(Current::Going { answer, .. }) => Some(answer.spoken()),
            _ => None,
        };
        let spoken = current.into_iter().chain(&self.spoken).find(|spoken| &spoken.item_id == item_id);
        if let Some(spoken) = spoken {
            self.brain.heard_only(spoken.clauses_within(heard));
        }
    }
}

fn too_many(what: &str) -> BridgeEvent {
    BridgeEvent::Fault(Fault {
        owner: FaultOwner::Client,
        code: "too_many_requests".to_owned(),
        message: format!("Too many {what} at the local provider; wait for one to end."),
        may_retry: true,
        may_switch: false,
        is_final: false,
    })
}

#[cfg(test)]
mod tests;
