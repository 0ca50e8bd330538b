//! One conversation: wires the caller's audio, the turn machine, the provider and the playout together.
//!
//! The session computes nothing itself. [`input`] turns audio into turns, [`responses`] knows which answers there are,
//! [`answer`] turns them into audio, [`held`] judges what may be an interruption, [`meter`] measures, [`observing`] tells
//! whoever looks on; this file, [`answering`] and [`interrupting`] decide who hears of what. Sans-IO: time comes in with
//! every call, after each call drain [`Session::poll_output`], then wait until [`Session::poll_timeout`].

mod answer;
mod answering;
mod client_buffer;
mod estimate;
mod held;
mod idle;
mod input;
mod interrupting;
mod loudness;
mod meter;
mod observing;
mod opening;
mod outside;
mod pieces;
mod recent;
mod responses;
#[cfg(test)]
mod tests;
mod turn_ends;
mod waiting;
mod withdrawing;
mod words;

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use voxgate_protocol::audio::Pcm;
use voxgate_protocol::bridge::{BridgeCommand, BridgeEvent, BridgeTraits, Fault, FaultOwner, TurnOwner};
use voxgate_protocol::id::{IdSource, ItemId};
use voxgate_protocol::session::{EndReason, SessionCommand, SessionEvent};
use voxgate_protocol::settings::{ResponseOptions, SessionSettings};

use crate::encode::EncoderConfig;
use crate::turn::{EndOfTurn, ListeningRule, Question, TranscriptShape};
use crate::uplink::{RtpAudio, UplinkStats};

use answer::{Answer, Packet, Spoken};
pub use client_buffer::ClientBuffer;
pub use held::InterruptionRule;
use held::{End, Held};
use idle::IdleClock;
use input::{Input, InputEvent};
pub use loudness::LOUDNESS_STEP;
use meter::TurnMeter;
use observing::Observer;
pub use observing::{HeardSound, HeardVoices, Loudness, Observed};
pub use outside::NetworkTimes;
pub use pieces::PieceStats;
use responses::Responses;
use withdrawing::Withdrawal;
use words::TurnWords;

/// Removed items that are remembered: more than can wait for playout at once.
const MOST_DELETED: usize = 64;

/// How the client's audio travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leg {
    /// Opus in RTP; the session keeps the playout clock.
    Rtp,
    /// PCM in messages at 24 kHz; the client plays and truncates by itself.
    Pcm,
}

/// What a session starts with.
#[derive(Clone, Debug)]
pub struct SessionConfig {
    /// What the provider needs.
    pub traits: BridgeTraits,
    /// What the client asked for.
    pub settings: SessionSettings,
    /// How the client's audio travels.
    pub leg: Leg,
    /// How answers are coded.
    pub encoder: EncoderConfig,
    /// Whether speech over an answer is first judged, for callers over RTP with the gateway as owner of turns. `None`, the
    /// way of the Realtime API: all speech interrupts at once.
    pub interruption: Option<InterruptionRule>,
    /// Whether the shell has a [`TurnListener`](crate::turn::TurnListener) that can be asked with
    /// [`SessionOutput::JudgeTurn`]. Asked with `semantic_vad` and the gateway as owner of turns.
    pub listening: Option<ListeningRule>,
    /// Names and RTP start values follow from it.
    pub seed: u64,
}

/// What the shell has to do.
#[derive(Clone, Debug, PartialEq)]
pub enum SessionOutput {
    /// Send to the provider.
    Bridge(BridgeCommand),
    /// Tell the client protocol.
    Event(SessionEvent),
    /// Ask the listener about the turn; its verdict goes to [`Session::handle_verdict`].
    JudgeTurn {
        /// The question.
        question: Question,
        /// The end of the turn so far, at the rate the provider hears.
        speech: Pcm,
    },
    /// What the client was told last begins its answer, or is its first sound: once that is handed to the network
    /// [`Session::handle_sent`] has to follow. Only with [`Leg::Pcm`].
    ConfirmSent,
    /// Send one RTP packet.
    Audio {
        /// Opus.
        payload: Vec<u8>,
        /// 48 kHz clock.
        timestamp: u32,
        /// First packet of a talkspurt.
        marker: bool,
        /// For the first packet of an answer: when its samples came from the provider.
        first_received: Option<Instant>,
        /// Whether [`Session::handle_sent`] has to follow: what the turn took is measured by it.
        is_measured: bool,
        /// How long after its deadline the packet was made.
        lateness: Duration,
    },
}

/// Why a session cannot start.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// libopus refused the rate or the settings.
    #[error("the audio coder could not be set up: {0}")]
    Audio(String),
}

/// Counters of a session's life, for metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SessionStats {
    /// Turns that were answered with audio.
    pub turns: u32,
    /// Answers the caller cut off.
    pub interruptions: u32,
    /// Sounds without words, or of which none became known, after which an answer went on.
    pub noises: u32,
    /// Backchannels after which an answer went on.
    pub backchannels: u32,
    /// Verdicts of the listener that decided about a pause.
    pub verdicts_used: u32,
    /// Verdicts of the listener that came when the turn was over or the caller had spoken on.
    pub verdicts_late: u32,
    /// Audio packets concealed because they did not arrive.
    pub concealed_frames: u64,
    /// Times the playout queue ran dry inside an answer.
    pub underruns: u64,
}

/// One conversation.
#[derive(Debug)]
pub struct Session {
    traits: BridgeTraits,
    settings: SessionSettings,
    input: Input,
    answer: Answer,
    responses: Responses,
    meter: TurnMeter,
    observer: Observer,
    ids: IdSource,
    user_item: Option<ItemId>,
    /// Items the client removed, which may still sound.
    deleted: VecDeque<ItemId>,
    words: TurnWords,
    end_of_turn: Box<dyn EndOfTurn>,
    create_when_done: bool,
    /// Where the provider finds the turns; where the gateway does, its turn machine looks after this.
    idle: IdleClock,
    withdrawal: Withdrawal,
    /// What policy has the model answer once no answer is under way.
    waiting: Option<Box<ResponseOptions>>,
    interruption: Option<InterruptionRule>,
    held: Option<Held>,
    interruptions: u32,
    noises: u32,
    backchannels: u32,
    verdicts_used: u32,
    verdicts_late: u32,
    ended: bool,
    outputs: VecDeque<SessionOutput>,
}

impl Session {
    /// Starts a session. The provider is told its settings by the shell that opened the bridge.
    ///
    /// # Errors
    /// [`SessionError::Audio`] if a coder cannot be made for the provider's rates.
    pub fn new(config: SessionConfig) -> Result<Self, SessionError> {
        let mut ids = IdSource::new(config.seed);
        let rtp_start = ids.next_bits() as u32;
        let resume_after = config.interruption.as_ref().map_or(Duration::ZERO, |rule| rule.resume_after);
        let mut input = Input::new(config.leg, config.traits, resume_after, config.listening)?;
        input.configure(config.settings.input.turn_detection.as_ref());
        let mut idle = IdleClock::default();
        if config.traits.turn_owner == TurnOwner::Provider {
            idle.configure(config.settings.input.turn_detection.as_ref());
        }
        let answer = Answer::new(config.leg, config.traits.output_rate, &config.encoder, rtp_start)?;
        Ok(Self {
            traits: config.traits,
            settings: config.settings,
            input,
            answer,
            responses: Responses::default(),
            meter: TurnMeter::new(config.leg),
            observer: Observer::default(),
            ids,
            user_item: None,
            deleted: VecDeque::new(),
            words: TurnWords::default(),
            end_of_turn: Box::new(TranscriptShape),
            create_when_done: false,
            idle,
            withdrawal: Withdrawal::default(),
            waiting: None,
            interruption: config.interruption,
            held: None,
            interruptions: 0,
            noises: 0,
            backchannels: 0,
            verdicts_used: 0,
            verdicts_late: 0,
            ended: false,
            outputs: VecDeque::new(),
        })
    }

    /// An RTP packet of the caller.
    pub fn handle_rtp(&mut self, now: Instant, packet: RtpAudio<'_>) {
        if self.ended {
            return;
        }
        self.input.handle_rtp(now, packet);
        self.take_input(now);
    }

    /// A command of the client.
    pub fn handle_command(&mut self, now: Instant, command: SessionCommand) {
        if self.ended {
            return;
        }
        match command {
            SessionCommand::Configure(settings) => self.configure(now, settings),
            SessionCommand::AppendAudio(pcm) => {
                self.input.handle_pcm(now, &pcm);
                self.take_input(now);
            }
            SessionCommand::CommitInput => self.commit_by_hand(now),
            SessionCommand::ClearInput => {
                self.input.clear();
                self.held = None;
                self.answer.resume();
                if self.user_item.take().is_some() {
                    self.observer.caller_silent(now);
                }
                self.bridge(BridgeCommand::ClearInput);
                self.event(SessionEvent::InputCleared);
            }
            SessionCommand::CreateItem { item, position } => {
                self.bridge(BridgeCommand::CreateItem { item, position });
            }
            SessionCommand::DeleteItem { item_id } => {
                if self.deleted.len() == MOST_DELETED {
                    self.deleted.pop_front();
                }
                self.deleted.push_back(item_id.clone());
                self.bridge(BridgeCommand::DeleteItem { item_id });
            }
            SessionCommand::Truncate { item_id, content_index, heard } => {
                let heard = self.answer.clamp(&item_id, heard);
                self.truncate(item_id, content_index, heard);
            }
            SessionCommand::CreateResponse(options) => self.create_response(now, options),
            SessionCommand::CancelResponse { response_id } => self.cancel(response_id),
            SessionCommand::ClearOutput => self.clear_output(now),
            SessionCommand::LoseClient { silent_for } => self.lose_client(now, silent_for),
            SessionCommand::WithdrawAnswer { response_id, instead } => {
                self.withdraw(now, response_id, instead);
            }
            SessionCommand::AnswerWhenFree(options) => self.answer_when_free(options),
            SessionCommand::ReportClient(report) => self.meter.report(report),
        }
        self.drain_playout(now);
    }

    /// An event of the provider, with the time it arrived.
    pub fn handle_bridge(&mut self, now: Instant, at: Instant, event: BridgeEvent) {
        if self.ended {
            return;
        }
        match event {
            BridgeEvent::Ready => {}
            BridgeEvent::SpeechStarted { item_id, at: position } => {
                self.speech_started(now, item_id, position);
            }
            BridgeEvent::SpeechStopped { item_id, at: position } => {
                self.provider_heard_the_end(at, item_id, position);
            }
            BridgeEvent::InputTimedOut { item_id, from, to } => {
                self.event(SessionEvent::InputTimedOut { item_id, from, to });
            }
            BridgeEvent::InputCommitted { item_id } => self.provider_committed(item_id),
            BridgeEvent::InterimTranscript { words } => {
                self.words.replace(words);
                self.hear_words(now);
            }
            BridgeEvent::InputTranscriptDelta { item_id, delta } => {
                if self.words.add(&item_id, &delta) {
                    self.hear_words(now);
                }
                self.event(SessionEvent::InputTranscriptDelta { item_id, delta });
            }
            BridgeEvent::InputTranscriptDone { item_id, transcript, usage } => {
                self.event(SessionEvent::InputTranscriptDone { item_id, transcript, usage });
            }
            BridgeEvent::InputWords { item_id, words } => {
                self.event(SessionEvent::InputWords { item_id, words });
            }
            BridgeEvent::InputTranscriptFailed { item_id, message } => {
                self.event(SessionEvent::InputTranscriptFailed { item_id, message });
            }
            BridgeEvent::ResponseStarted { response_id } => self.response_started(at, response_id),
            BridgeEvent::Output { response_id, item_id, part } => self.output(at, response_id, item_id, part),
            BridgeEvent::OutputItemDone { response_id, item_id, status } => {
                self.event(SessionEvent::OutputItemDone { response_id, item_id, status });
            }
            BridgeEvent::ResponseDone { response_id, status, usage } => {
                self.response_done(at, response_id, status, usage);
            }
            BridgeEvent::Stage(stage) => self.meter.stage(at, stage),
            BridgeEvent::Fault(fault) => self.fault(fault),
            BridgeEvent::Closed { reason } => self.fault(provider_closed(reason)),
        }
        self.drain_playout(now);
    }

    /// The listener's verdict on a question of [`SessionOutput::JudgeTurn`]: how likely the caller is done, 0 to 1, or `None`
    /// if it could not tell or was not asked after all. It decides about the pause with the next audio; a verdict that never
    /// comes holds a turn up for no longer than [`ListeningRule::patience`].
    pub fn handle_verdict(&mut self, question: Question, probability: Option<f32>) {
        if self.ended {
            return;
        }
        let is_used = self.input.hear_verdict(question, probability);
        match (probability, is_used) {
            (None, _) => {}
            (Some(_), true) => self.verdicts_used += 1,
            (Some(_), false) => self.verdicts_late += 1,
        }
    }

    /// Time passed.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.ended {
            return;
        }
        self.input.handle_timeout(now);
        self.take_input(now);
        if let Some(from) = self.idle.take(now).filter(|_| !self.responses.is_busy()) {
            self.have_silence_answered(now, from);
        }
        self.drain_playout(now);
    }

    /// The packet of the last [`SessionOutput::Audio`], or what came before a [`SessionOutput::ConfirmSent`], was handed to
    /// the network.
    pub fn handle_sent(&mut self, now: Instant) {
        if self.ended {
            return;
        }
        if let Some(trace) = self.meter.sent(now) {
            self.event(SessionEvent::TurnMeasured(Box::new(trace)));
        }
    }

    /// The shell ends the session. Nothing is accepted afterwards.
    pub fn end(&mut self, reason: EndReason) {
        if !std::mem::replace(&mut self.ended, true) {
            self.close_answers("session_ended", "The session ended before the answer did.");
            self.event(SessionEvent::Ended(reason));
        }
    }

    /// What the network added on the way of the last packets.
    pub fn note_network(&mut self, times: NetworkTimes) {
        self.meter.note_network(times);
    }

    /// The next thing to do.
    pub fn poll_output(&mut self) -> Option<SessionOutput> {
        self.outputs.pop_front()
    }

    /// When [`Session::handle_timeout`] has to be called at the latest.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        if self.ended {
            return None;
        }
        let estimated = self.answer.probably_ends().filter(|_| !self.responses.is_busy());
        let own =
            [self.input.poll_timeout(), self.answer.poll_timeout(), self.idle.poll_timeout(), estimated];
        own.into_iter().flatten().min()
    }

    /// Counters so far.
    #[must_use]
    pub fn stats(&self) -> SessionStats {
        SessionStats {
            turns: self.meter.turns(),
            interruptions: self.interruptions,
            noises: self.noises,
            backchannels: self.backchannels,
            verdicts_used: self.verdicts_used,
            verdicts_late: self.verdicts_late,
            concealed_frames: self.input.concealed_frames(),
            underruns: self.answer.underruns(),
        }
    }

    /// What was seen of the caller's packets; `None` for a client that sends messages.
    #[must_use]
    pub fn uplink_stats(&self) -> Option<UplinkStats> {
        self.input.uplink_stats()
    }

    /// What was seen of the messages with the caller's audio; `None` for a client that sends packets.
    #[must_use]
    pub fn piece_stats(&self) -> Option<PieceStats> {
        self.input.piece_stats()
    }

    fn bridge(&mut self, command: BridgeCommand) {
        self.outputs.push_back(SessionOutput::Bridge(command));
    }

    fn event(&mut self, event: SessionEvent) {
        self.outputs.push_back(SessionOutput::Event(event));
    }

    fn configure(&mut self, now: Instant, settings: Box<SessionSettings>) {
        self.input.configure(settings.input.turn_detection.as_ref());
        if self.traits.turn_owner == TurnOwner::Provider {
            self.idle.configure(settings.input.turn_detection.as_ref());
        }
        self.settings = (*settings).clone();
        self.bridge(BridgeCommand::Configure(settings));
        self.release_if_unruled(now);
    }

    fn mint_item(&mut self) -> ItemId {
        ItemId::from_random(self.ids.next_bits())
    }

    fn take_input(&mut self, now: Instant) {
        while let Some(event) = self.input.poll_event() {
            match event {
                InputEvent::Audio(pcm) => self.bridge(BridgeCommand::Audio(pcm)),
                InputEvent::SpeechStarted { at } => self.gateway_heard_the_beginning(now, at),
                InputEvent::Paused { question, speech } => {
                    self.outputs.push_back(SessionOutput::JudgeTurn { question, speech });
                }
                InputEvent::SpeechStopped { at, arrival } if self.keep_end(End { at, arrival }) => {}
                InputEvent::SpeechStopped { at, arrival } => {
                    self.turn_ended(arrival, now);
                    self.gateway_heard_the_end(at);
                }
                InputEvent::IdleTimeout { .. } if self.responses.is_busy() => {}
                InputEvent::IdleTimeout { from, to } => self.answer_silence(from, to),
            }
        }
        self.judge_held(now);
        self.drain_playout(now);
    }

    fn fault(&mut self, fault: Fault) {
        let is_final = fault.is_final;
        if is_final {
            self.close_answers(&fault.code, &fault.message);
        }
        let refused = if is_final { None } else { self.responses.refused(&fault.code) };
        match refused {
            Some(is_for_turn) => {
                self.event(SessionEvent::ResponseRefused { fault, is_for_turn });
                self.create_what_waited();
            }
            None => self.event(SessionEvent::Fault(fault)),
        }
        if is_final {
            self.end(EndReason::ProviderFailed);
        }
    }

    /// Plays what is due and tells the client what began or ended.
    fn drain_playout(&mut self, now: Instant) {
        while let Some(spoken) = self.answer.poll(now) {
            match spoken {
                Spoken::Packet(packet) => self.packet(now, packet),
                Spoken::Started(response_id) => {
                    self.playback_started();
                    self.observer.agent_speaks(now);
                    self.event(SessionEvent::PlayoutStarted { response_id });
                }
                Spoken::Stopped(response_id) => {
                    self.playback_ended(now);
                    self.observer.agent_silent(now);
                    self.event(SessionEvent::PlayoutStopped { response_id });
                }
                Spoken::Cleared(response_id) => {
                    self.observer.agent_silent(now);
                    self.event(SessionEvent::PlayoutCleared { response_id });
                }
            }
        }
        if !self.responses.is_busy() && self.answer.has_probably_ended(now) {
            self.playback_ended(now);
            self.observer.agent_silent(now);
        }
    }

    fn packet(&mut self, now: Instant, packet: Packet) {
        if let Some(received) = packet.first_received {
            self.meter.polled(received, now);
        }
        if let Some(opening) = packet.opening {
            self.meter.opened(opening, Some(packet.timestamp), now);
        }
        self.outputs.push_back(SessionOutput::Audio {
            payload: packet.payload,
            timestamp: packet.timestamp,
            marker: packet.marker,
            first_received: packet.first_received,
            is_measured: packet.first_received.is_some() || packet.opening.is_some(),
            lateness: packet.lateness,
        });
    }
}

fn provider_closed(reason: String) -> Fault {
    Fault {
        owner: FaultOwner::Provider,
        code: "provider_closed".to_owned(),
        message: reason,
        may_retry: true,
        may_switch: true,
        is_final: true,
    }
}
