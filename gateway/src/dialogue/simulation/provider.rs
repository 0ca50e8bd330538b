//! The provider: answers faster than real time, and all the trouble providers make.

use std::collections::BTreeMap;
use std::f32::consts::TAU;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use voxgate_protocol::audio::{Pcm, SampleRate};
use voxgate_protocol::bridge::{
    BridgeCommand, BridgeEvent, Fault, FaultOwner, OutputPart, ResponseStatus, TurnOwner, TurnStage,
};
use voxgate_protocol::conversation::ItemStatus;
use voxgate_protocol::id::{ItemId, ResponseId, ToolCallId};
use voxgate_protocol::settings::{OutputModality, ResponseOptions, SessionSettings};
use voxgate_protocol::usage::TokenUsage;

use super::caller::Edge;
use super::dice::Dice;
use super::person::TOOL;

/// Each answer sounds as one of these, in Hz, so that an ear can tell whose audio it hears. Multiples of 50 Hz, so that
/// a second of it can be repeated.
pub(super) const TONES: [u32; 4] = [400, 800, 1_300, 2_000];

/// Words of an answer, of different lengths and scripts.
const WORDS: [&str; 6] = ["well ", "naïve ", "I ", "understand ", "你好 ", "so, "];

/// What a recogniser takes listening for.
const BACKCHANNELS: [&str; 4] = ["yeah", "Uh-huh.", "uh huh yeah", "okay"];

/// What it takes for a meaning, some of it behind a backchannel.
const MEANINGS: [&str; 3] = ["stop", "okay but wait", "yeah no"];

/// The tone of the answer with a number.
pub(super) fn tone_of(response_id: &str) -> Option<usize> {
    response_id.rsplit('_').next()?.parse::<usize>().ok().map(|number| number % TONES.len())
}

fn tones(rate: SampleRate) -> &'static [Vec<i16>] {
    static AT_16000: OnceLock<Vec<Vec<i16>>> = OnceLock::new();
    static AT_24000: OnceLock<Vec<Vec<i16>>> = OnceLock::new();
    let place = if rate == SampleRate::HZ_16000 { &AT_16000 } else { &AT_24000 };
    place.get_or_init(|| {
        let sound = |hz: u32| {
            let step = TAU * hz as f32 / rate.hz() as f32;
            (0..rate.hz()).map(|index| (9_000.0 * (step * index as f32).sin()) as i16).collect()
        };
        TONES.into_iter().map(sound).collect()
    })
}

/// What goes wrong in a schedule, in percent of the occasions.
struct Faults {
    /// Pieces still come after a cancellation.
    late_pieces: u64,
    missing_done: u64,
    duplicate: u64,
    stall: u64,
    refusal: u64,
    /// Answers nobody asked for.
    unasked: u64,
}

struct Answer {
    id: ResponseId,
    is_beside: bool,
}

/// What a recogniser will make of the audio since the last commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Utterance {
    /// It says nothing before the turn ends.
    Unrecognised,
    /// Sound without words.
    Noise,
    Backchannel,
    /// Sometimes a backchannel first.
    Meaning,
}

/// Tells the words of a turn while it is spoken.
struct Recogniser {
    utterance: Utterance,
    /// Audio since the last commit.
    heard: Duration,
    /// How much of it has to be there for the next words.
    next: Duration,
}

impl Recogniser {
    fn new(dice: &mut Dice) -> Self {
        let utterance = match dice.below(10) {
            0..=2 => Utterance::Unrecognised,
            3 => Utterance::Noise,
            4..=7 => Utterance::Backchannel,
            _ => Utterance::Meaning,
        };
        Self { utterance, heard: Duration::ZERO, next: dice.millis(60, 400) }
    }

    /// The words so far, if there is something new to say.
    fn hear(&mut self, length: Duration, dice: &mut Dice) -> Option<&'static str> {
        self.heard += length;
        if self.heard < self.next {
            return None;
        }
        self.next = self.heard + dice.millis(100, 400);
        let words: &[&str] = match self.utterance {
            Utterance::Unrecognised => return None,
            Utterance::Noise => &["", " "],
            Utterance::Meaning if dice.chance(60) => &MEANINGS,
            Utterance::Meaning | Utterance::Backchannel => &BACKCHANNELS,
        };
        dice.pick(words).copied()
    }
}

/// A provider with a conversation of its own.
pub(super) struct Provider {
    owner: TurnOwner,
    rate: SampleRate,
    settings: SessionSettings,
    dice: Dice,
    faults: Faults,
    agenda: BTreeMap<(Instant, u64), (Option<ResponseId>, BridgeEvent)>,
    written: u64,
    answers: u64,
    items: u64,
    /// How many of its items are calls of a tool, in percent.
    calls: u64,
    active: Vec<Answer>,
    heard: Duration,
    speaking: Option<ItemId>,
    recogniser: Option<Recogniser>,
    is_gone: bool,
}

impl Provider {
    pub(super) fn new(
        owner: TurnOwner,
        rate: SampleRate,
        settings: SessionSettings,
        start: Instant,
        length: Duration,
        recognises: bool,
        mut dice: Dice,
    ) -> Self {
        let is_good = dice.chance(40);
        let percent = |percent| if is_good { 0 } else { percent };
        let faults = Faults {
            late_pieces: if is_good { 60 } else { 80 },
            missing_done: percent(8),
            duplicate: percent(10),
            stall: percent(15),
            refusal: percent(8),
            unasked: percent(5),
        };
        let recogniser = recognises.then(|| Recogniser::new(&mut dice));
        let mut provider = Self {
            owner,
            rate,
            settings,
            dice,
            faults,
            agenda: BTreeMap::new(),
            written: 0,
            answers: 0,
            items: 0,
            calls: 12,
            active: Vec::new(),
            heard: Duration::ZERO,
            speaking: None,
            recogniser,
            is_gone: false,
        };
        let ready_at = start + provider_delay(&mut provider.dice);
        provider.say(ready_at, BridgeEvent::Ready);
        provider.plan_the_end(start, length);
        provider
    }

    /// Some connections do not live as long as the call.
    fn plan_the_end(&mut self, start: Instant, length: Duration) {
        if !self.dice.chance(12) {
            return;
        }
        let at = start + self.dice.millis(0, length.as_millis() as u64);
        let event = if self.dice.chance(50) {
            BridgeEvent::Closed { reason: "The provider closed the connection.".to_owned() }
        } else {
            BridgeEvent::Fault(fault("provider_closed", FaultOwner::Provider, true))
        };
        self.say(at, event);
    }

    /// The same with a model that calls its tool often.
    pub(super) fn calling_often(self) -> Self {
        Self { calls: 45, ..self }
    }

    pub(super) fn next_at(&self) -> Option<Instant> {
        self.agenda.first_key_value().map(|((at, _), _)| *at)
    }

    /// The event that is due.
    pub(super) fn speak(&mut self) -> Option<BridgeEvent> {
        let (_, (_, event)) = self.agenda.pop_first()?;
        match &event {
            BridgeEvent::ResponseDone { response_id, .. } => self.forget(&response_id.clone()),
            BridgeEvent::Fault(Fault { is_final: true, .. }) | BridgeEvent::Closed { .. } => {
                // What a dead connection had still to say sometimes comes all the same.
                self.is_gone = true;
                if self.dice.chance(70) {
                    self.agenda.clear();
                }
            }
            _ => {}
        }
        Some(event)
    }

    /// A command of the gateway has arrived.
    pub(super) fn hear(&mut self, now: Instant, command: &BridgeCommand) {
        if self.is_gone {
            return;
        }
        let at = now + provider_delay(&mut self.dice);
        match command {
            BridgeCommand::Configure(settings) => self.settings = (**settings).clone(),
            BridgeCommand::Audio(pcm) => self.hear_audio(at, pcm.duration()),
            BridgeCommand::CommitInput { item_id, .. } => {
                self.begin_utterance(at);
                self.commit(at, item_id);
            }
            BridgeCommand::ClearInput => self.begin_utterance(at),
            BridgeCommand::CreateResponse(options) => self.asked(at, options),
            BridgeCommand::CancelResponse { response_id } => self.cancelled(now, at, response_id.as_ref()),
            BridgeCommand::CreateItem { .. }
            | BridgeCommand::RestoreItem { .. }
            | BridgeCommand::DeleteItem { .. }
            | BridgeCommand::Truncate { .. } => {}
        }
    }

    fn hear_audio(&mut self, at: Instant, length: Duration) {
        self.heard += length;
        let words = self.recogniser.as_mut().and_then(|recogniser| recogniser.hear(length, &mut self.dice));
        if let Some(words) = words {
            let at = at + self.dice.millis(0, 150);
            self.say(at, BridgeEvent::InterimTranscript { words: words.to_owned() });
        }
    }

    /// What was heard so far belongs to a turn that is over; words of it that are on their way still come.
    fn begin_utterance(&mut self, at: Instant) {
        if self.recogniser.is_some() {
            self.recogniser = Some(Recogniser::new(&mut self.dice));
            self.agenda.retain(|(when, _), (_, event)| {
                *when <= at || !matches!(event, BridgeEvent::InterimTranscript { .. })
            });
        }
    }

    /// A provider that owns the turns hears the caller itself.
    pub(super) fn listen(&mut self, now: Instant, edge: Edge) {
        let Some(detection) = self.settings.input.turn_detection.clone() else { return };
        if self.owner == TurnOwner::Gateway || self.is_gone {
            return;
        }
        let at = now + self.dice.millis(20, 150);
        match edge {
            Edge::SpeechBegins if self.speaking.is_none() => {
                let item_id = self.new_item();
                self.speaking = Some(item_id.clone());
                self.say(at, BridgeEvent::SpeechStarted { item_id, at: self.heard });
                if detection.interrupts_response() {
                    self.stop_all(at, &ResponseStatus::CancelledByTurn);
                }
            }
            Edge::SpeechEnds => {
                let Some(item_id) = self.speaking.take() else { return };
                let at = at + self.dice.millis(100, 600);
                self.say(at, BridgeEvent::SpeechStopped { item_id: item_id.clone(), at: self.heard });
                self.say(at, BridgeEvent::InputCommitted { item_id: item_id.clone() });
                self.transcribe(at, item_id);
                if detection.creates_response() && !self.active.iter().any(|answer| !answer.is_beside) {
                    self.answer(at, &ResponseOptions::default());
                }
            }
            Edge::SpeechBegins | Edge::None => {}
        }
    }

    fn say(&mut self, at: Instant, event: BridgeEvent) {
        self.say_of(at, None, event);
    }

    fn say_of(&mut self, at: Instant, response_id: Option<&ResponseId>, event: BridgeEvent) {
        self.written += 1;
        self.agenda.insert((at, self.written), (response_id.cloned(), event));
    }

    fn new_item(&mut self) -> ItemId {
        self.items += 1;
        ItemId::from(format!("item_p{}", self.items))
    }

    fn commit(&mut self, at: Instant, item_id: &ItemId) {
        self.speaking = None;
        self.say(at, BridgeEvent::InputCommitted { item_id: item_id.clone() });
        self.transcribe(at, item_id.clone());
    }

    fn transcribe(&mut self, at: Instant, item_id: ItemId) {
        let at = at + self.dice.millis(0, 400);
        if self.dice.chance(60) {
            let delta = "some ".to_owned();
            self.say(at, BridgeEvent::InputTranscriptDelta { item_id: item_id.clone(), delta });
        }
        let event = if self.dice.chance(85) {
            BridgeEvent::InputTranscriptDone { item_id, transcript: "some words".to_owned(), usage: None }
        } else {
            BridgeEvent::InputTranscriptFailed { item_id, message: "Nobody understood that.".to_owned() }
        };
        let said_at = at + self.dice.millis(0, 100);
        self.say(said_at, event);
        self.say(at, BridgeEvent::Stage(TurnStage::Recognised));
    }

    fn asked(&mut self, at: Instant, options: &ResponseOptions) {
        let is_beside = options.is_beside;
        if !is_beside && self.active.iter().any(|answer| !answer.is_beside) {
            let code = "conversation_already_has_active_response";
            return self.say(at, BridgeEvent::Fault(fault(code, FaultOwner::Client, false)));
        }
        if self.dice.chance(self.faults.refusal) {
            return self
                .say(at, BridgeEvent::Fault(fault("rate_limit_exceeded", FaultOwner::Provider, false)));
        }
        self.answer(at, options);
        if self.dice.chance(self.faults.unasked) {
            let at = at + self.dice.millis(0, 500);
            self.answer(at, &ResponseOptions::default());
        }
    }

    /// Plans a whole answer.
    fn answer(&mut self, begin: Instant, options: &ResponseOptions) {
        self.answers += 1;
        let id = ResponseId::from(format!("resp_{}", self.answers));
        let is_beside = options.is_beside;
        self.active.push(Answer { id: id.clone(), is_beside });
        let mut at = begin + self.dice.millis(0, 250);
        self.say_of(at, Some(&id), BridgeEvent::ResponseStarted { response_id: id.clone() });
        if self.dice.chance(self.faults.duplicate) {
            self.say_of(at, Some(&id), BridgeEvent::ResponseStarted { response_id: id.clone() });
        }
        self.say_of(at, Some(&id), BridgeEvent::Stage(TurnStage::FirstToken));
        let is_text = options.modality.unwrap_or(self.settings.modality) == OutputModality::Text;
        for _ in 0..self.dice.between(1, 2) {
            let item_id = self.new_item();
            at = if self.dice.chance(self.calls) {
                self.tool_call(at, &id, &item_id)
            } else {
                self.message(at, &id, &item_id, is_text)
            };
            let status = ItemStatus::Completed;
            let done = BridgeEvent::OutputItemDone { response_id: id.clone(), item_id, status };
            if !self.dice.chance(self.faults.missing_done) {
                self.say_of(at, Some(&id), done);
            }
        }
        let status = match self.dice.below(10) {
            0 => ResponseStatus::IncompleteByTokens,
            1 => ResponseStatus::Failed { code: "server_error".to_owned(), message: "It broke.".to_owned() },
            _ => ResponseStatus::Completed,
        };
        self.done(at, &id, status);
    }

    fn done(&mut self, at: Instant, id: &ResponseId, status: ResponseStatus) {
        if self.dice.chance(self.faults.missing_done) {
            self.forget(id);
            return;
        }
        let usage = Some(TokenUsage { output_text: 3, ..TokenUsage::default() });
        let done = BridgeEvent::ResponseDone { response_id: id.clone(), status, usage };
        self.say_of(at, Some(id), done.clone());
        if self.dice.chance(self.faults.duplicate) {
            let again_at = at + self.dice.millis(0, 300);
            self.say(again_at, done);
        }
    }

    fn forget(&mut self, id: &ResponseId) {
        self.active.retain(|answer| answer.id != *id);
    }

    fn tool_call(&mut self, begin: Instant, id: &ResponseId, item_id: &ItemId) -> Instant {
        let mut at = begin;
        for delta in ["", "{\"city\":", "\"Bonn\"}"] {
            let call_id = ToolCallId::from(format!("call_{}", self.items));
            let part = OutputPart::ToolArguments { call_id, name: TOOL.to_owned(), delta: delta.to_owned() };
            self.say_of(at, Some(id), output(id, item_id, part));
            at += self.dice.millis(0, 30);
        }
        at
    }

    /// Words and sound in pieces, much faster than they sound.
    fn message(&mut self, begin: Instant, id: &ResponseId, item_id: &ItemId, is_text: bool) -> Instant {
        let tone = &tones(self.rate)[tone_of(id.as_str()).unwrap_or(0)];
        let mut at = begin;
        let mut position = 0;
        // Answers of the length callers listen to, where it matters whether they are listened to.
        let most = if self.recogniser.is_some() { 24 } else { 8 };
        for _ in 0..self.dice.between(1, most) {
            let words: String =
                (0..self.dice.between(1, 3)).filter_map(|_| self.dice.pick(&WORDS).copied()).collect();
            let words = if is_text { OutputPart::Text(words) } else { OutputPart::Transcript(words) };
            self.say_of(at, Some(id), output(id, item_id, words));
            if !is_text {
                let length = self.rate.samples_in(self.dice.millis(10, 260)).0 as usize;
                let samples = (position..position + length).map(|index| tone[index % tone.len()]).collect();
                position += length;
                let pcm = Pcm { rate: self.rate, samples };
                self.say_of(at, Some(id), output(id, item_id, OutputPart::Audio(pcm)));
            }
            at += self.dice.millis(0, 40);
            if self.dice.chance(self.faults.stall) {
                at += self.dice.millis(100, 1_500);
            }
        }
        at
    }

    fn cancelled(&mut self, now: Instant, at: Instant, response_id: Option<&ResponseId>) {
        let wanted: Vec<_> = self
            .active
            .iter()
            .filter(|answer| response_id.map_or(!answer.is_beside, |id| *id == answer.id))
            .map(|answer| answer.id.clone())
            .collect();
        if wanted.is_empty() {
            let code = "response_cancel_not_active";
            return self.say(at, BridgeEvent::Fault(fault(code, FaultOwner::Client, false)));
        }
        for id in wanted {
            self.stop(now, at, &id, &ResponseStatus::CancelledByClient);
        }
    }

    fn stop_all(&mut self, at: Instant, status: &ResponseStatus) {
        let heard = self.active.iter().filter(|answer| !answer.is_beside);
        let ids: Vec<_> = heard.map(|answer| answer.id.clone()).collect();
        for id in ids {
            self.stop(at, at, &id, status);
        }
    }

    /// Ends an answer: what is under way until `at` still comes, and sometimes more.
    fn stop(&mut self, now: Instant, at: Instant, id: &ResponseId, status: &ResponseStatus) {
        let has_begun = !self.agenda.values().any(|(of, event)| {
            of.as_ref() == Some(id) && matches!(event, BridgeEvent::ResponseStarted { .. })
        });
        let until = if self.dice.chance(self.faults.late_pieces) { at } else { now };
        self.agenda.retain(|(when, _), (of, event)| {
            let is_first = matches!(event, BridgeEvent::ResponseStarted { .. });
            of.as_ref() != Some(id) || *when <= until || (is_first && !has_begun)
        });
        let last = self.agenda.iter().filter(|(_, (of, _))| of.as_ref() == Some(id)).map(|((at, _), _)| *at);
        let at = last.max().unwrap_or(at).max(at);
        let is_done = self
            .agenda
            .values()
            .any(|(of, event)| of.as_ref() == Some(id) && matches!(event, BridgeEvent::ResponseDone { .. }));
        if !is_done {
            self.done(at, id, status.clone());
        }
    }
}

fn provider_delay(dice: &mut Dice) -> Duration {
    if dice.chance(30) { Duration::ZERO } else { dice.millis(1, 120) }
}

fn output(id: &ResponseId, item_id: &ItemId, part: OutputPart) -> BridgeEvent {
    BridgeEvent::Output { response_id: id.clone(), item_id: item_id.clone(), part }
}

fn fault(code: &str, owner: FaultOwner, is_final: bool) -> Fault {
    Fault {
        owner,
        code: code.to_owned(),
        message: "Something failed.".to_owned(),
        may_retry: true,
        may_switch: true,
        is_final,
    }
}
