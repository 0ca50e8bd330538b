//! One conversation: wires the caller's audio, the turn machine, the provider and the playout together.
//!
//! The session computes nothing itself. [`input`] turns audio into turns, [`responses`] knows which answers there are,
//! [`answer`] turns them into audio, [`meter`] measures; this file and [`answering`] decide who hears of what. Sans-IO: time comes in with every call, after each
//! call drain [`Session::poll_output`], then wait until [`Session::poll_timeout`].

mod answer;
mod answering;
mod input;
mod meter;
mod responses;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use voxgate_protocol::bridge::{BridgeCommand, BridgeEvent, BridgeTraits, Fault, FaultOwner, TurnOwner};
use voxgate_protocol::id::{IdSource, ItemId};
use voxgate_protocol::session::{EndReason, SessionCommand, SessionEvent};
use voxgate_protocol::settings::SessionSettings;

use crate::encode::EncoderConfig;
use crate::uplink::RtpAudio;

use answer::{Answer, Packet, Spoken};
use input::{Input, InputEvent};
pub use meter::NetworkTimes;
use meter::TurnMeter;
use responses::Responses;

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
    ids: IdSource,
    user_item: Option<ItemId>,
    create_when_done: bool,
    interruptions: u32,
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
        let mut input = Input::new(config.leg, config.traits)?;
        input.configure(config.settings.input.turn_detection.as_ref());
        let answer = Answer::new(config.leg, config.traits.output_rate, &config.encoder, rtp_start)?;
        Ok(Self {
            traits: config.traits,
            settings: config.settings,
            input,
            answer,
            responses: Responses::default(),
            meter: TurnMeter::default(),
            ids,
            user_item: None,
            create_when_done: false,
            interruptions: 0,
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
            SessionCommand::Configure(settings) => self.configure(settings),
            SessionCommand::AppendAudio(pcm) => {
                self.input.handle_pcm(now, &pcm);
                self.take_input(now);
            }
            SessionCommand::CommitInput => self.commit_by_hand(now),
            SessionCommand::ClearInput => {
                self.input.clear();
                self.user_item = None;
                self.bridge(BridgeCommand::ClearInput);
                self.event(SessionEvent::InputCleared);
            }
            SessionCommand::CreateItem { item, position } => {
                self.bridge(BridgeCommand::CreateItem { item, position });
            }
            SessionCommand::DeleteItem { item_id } => self.bridge(BridgeCommand::DeleteItem { item_id }),
            SessionCommand::Truncate { item_id, content_index, heard } => {
                let heard = self.answer.clamp(&item_id, heard);
                self.truncate(item_id, content_index, heard);
            }
            SessionCommand::CreateResponse(options) => self.create_response(now, options),
            SessionCommand::CancelResponse { response_id } => self.cancel(response_id),
            SessionCommand::ClearOutput => self.cut_playback(now),
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
            BridgeEvent::InputTranscriptDelta { item_id, delta } => {
                self.event(SessionEvent::InputTranscriptDelta { item_id, delta });
            }
            BridgeEvent::InputTranscriptDone { item_id, transcript, usage } => {
                self.event(SessionEvent::InputTranscriptDone { item_id, transcript, usage });
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

    /// Time passed.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.ended {
            return;
        }
        self.input.handle_timeout(now);
        self.take_input(now);
        self.drain_playout(now);
    }

    /// The packet of the last [`SessionOutput::Audio`] was handed to the network.
    pub fn handle_sent(&mut self, now: Instant) {
        if let Some(timeline) = self.meter.sent(now) {
            self.event(SessionEvent::TurnMeasured(Box::new(timeline)));
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
        [self.input.poll_timeout(), self.answer.poll_timeout()].into_iter().flatten().min()
    }

    /// Counters so far.
    #[must_use]
    pub fn stats(&self) -> SessionStats {
        SessionStats {
            turns: self.meter.turns(),
            interruptions: self.interruptions,
            concealed_frames: self.input.concealed_frames(),
            underruns: self.answer.underruns(),
        }
    }

    fn bridge(&mut self, command: BridgeCommand) {
        self.outputs.push_back(SessionOutput::Bridge(command));
    }

    fn event(&mut self, event: SessionEvent) {
        self.outputs.push_back(SessionOutput::Event(event));
    }

    fn configure(&mut self, settings: Box<SessionSettings>) {
        self.input.configure(settings.input.turn_detection.as_ref());
        self.settings = (*settings).clone();
        self.bridge(BridgeCommand::Configure(settings));
    }

    fn mint_item(&mut self) -> ItemId {
        ItemId::from_random(self.ids.next_bits())
    }

    fn take_input(&mut self, now: Instant) {
        while let Some(event) = self.input.poll_event() {
            match event {
                InputEvent::Audio(pcm) => self.bridge(BridgeCommand::Audio(pcm)),
                InputEvent::SpeechStarted { at } => {
                    let item_id = self.mint_item();
                    self.speech_started(now, item_id, at);
                }
                InputEvent::SpeechStopped { at, arrival } => {
                    self.meter.speech_ended(arrival, now);
                    self.gateway_heard_the_end(at);
                }
                InputEvent::IdleTimeout { .. } if self.responses.is_busy() => {}
                InputEvent::IdleTimeout { from, to } => self.answer_silence(from, to),
            }
        }
        self.drain_playout(now);
    }

    fn speech_started(&mut self, now: Instant, item_id: ItemId, at: Duration) {
        self.meter.speech_started();
        self.user_item = Some(item_id.clone());
        self.event(SessionEvent::SpeechStarted { item_id, at });
        let interrupts =
            self.settings.input.turn_detection.as_ref().is_some_and(|turn| turn.interrupts_response());
        if interrupts {
            self.interrupt(now);
        }
    }

    fn gateway_heard_the_end(&mut self, at: Duration) {
        let item_id = match self.user_item.take() {
            Some(item_id) => item_id,
            None => self.mint_item(),
        };
        self.event(SessionEvent::SpeechStopped { item_id: item_id.clone(), at });
        self.bridge(BridgeCommand::CommitInput { item_id: item_id.clone() });
        self.event(SessionEvent::InputCommitted { item_id });
        let creates = self.settings.input.turn_detection.as_ref().is_some_and(|turn| turn.creates_response());
        if creates {
            self.create_when_done = true;
            self.create_what_waited();
        }
    }

    /// The silence becomes an item like any turn: a model may hear in it what the detector did not.
    fn answer_silence(&mut self, from: Duration, to: Duration) {
        let item_id = self.mint_item();
        self.event(SessionEvent::InputTimedOut { item_id: item_id.clone(), from, to });
        let silence = self.input.take_silence();
        self.bridge(BridgeCommand::Audio(silence));
        self.bridge(BridgeCommand::CommitInput { item_id: item_id.clone() });
        self.event(SessionEvent::InputCommitted { item_id });
        self.ask(Box::default());
    }

    fn provider_heard_the_end(&mut self, arrived: Instant, item_id: ItemId, position: Duration) {
        let pause = input::configured_pause(self.settings.input.turn_detection.as_ref());
        let arrival = self.input.arrival_at(position.saturating_sub(pause));
        self.meter.speech_ended(arrival, arrived);
        self.event(SessionEvent::SpeechStopped { item_id, at: position });
    }

    fn provider_committed(&mut self, item_id: ItemId) {
        // With the gateway as owner of turns the client was told when the gateway decided.
        if self.traits.turn_owner == TurnOwner::Provider {
            self.user_item = None;
            self.event(SessionEvent::InputCommitted { item_id });
        }
    }

    fn commit_by_hand(&mut self, now: Instant) {
        let Some(arrival) = self.input.take_uncommitted() else {
            self.event(SessionEvent::InputEmpty);
            return;
        };
        self.meter.speech_ended(Some(arrival), now);
        let item_id = match self.user_item.take() {
            Some(item_id) => item_id,
            None => self.mint_item(),
        };
        self.bridge(BridgeCommand::CommitInput { item_id: item_id.clone() });
        if self.traits.turn_owner == TurnOwner::Gateway {
            self.event(SessionEvent::InputCommitted { item_id });
        }
    }

    fn fault(&mut self, fault: Fault) {
        let is_final = fault.is_final;
        if is_final {
            self.close_answers(&fault.code, &fault.message);
        }
        self.event(SessionEvent::Fault(fault));
        if is_final {
            self.end(EndReason::ProviderFailed);
        } else if self.responses.refused() {
            self.create_what_waited();
        }
    }

    /// Plays what is due and tells the client what began or ended.
    fn drain_playout(&mut self, now: Instant) {
        while let Some(spoken) = self.answer.poll(now) {
            match spoken {
                Spoken::Packet(packet) => self.packet(now, packet),
                Spoken::Started(response_id) => {
                    self.input.playback_started();
                    self.event(SessionEvent::PlayoutStarted { response_id });
                }
                Spoken::Stopped(response_id) => {
                    self.input.playback_ended(now);
                    self.event(SessionEvent::PlayoutStopped { response_id });
                }
                Spoken::Cleared(response_id) => self.event(SessionEvent::PlayoutCleared { response_id }),
            }
        }
    }

    fn packet(&mut self, now: Instant, packet: Packet) {
        if let Some(received) = packet.first_received {
            self.meter.polled(received, now);
        }
        self.outputs.push_back(SessionOutput::Audio {
            payload: packet.payload,
            timestamp: packet.timestamp,
            marker: packet.marker,
            first_received: packet.first_received,
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
