//! A session and its client protocol, without the world around them.
//!
//! One owner, one input at a time: [`DialogueCore::handle`] takes an input with its time and carries everything on until
//! nothing is left to do, so the same inputs give the same outputs in the same order, whenever they are handed in. No
//! clock, queue, runtime or counter of the process is reachable from here; [`super::Dialogue`] is the shell that has
//! them.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use voxgate_media::encode::EncoderConfig;
use voxgate_media::session::{
    HeardVoices, InterruptionRule, Leg, Loudness, NetworkTimes, PieceStats, Session, SessionConfig,
    SessionError, SessionOutput, SessionStats,
};
use voxgate_media::turn::{ListeningRule, Question};
use voxgate_media::uplink::{RtpAudio, UplinkStats};
use voxgate_protocol::audio::Pcm;
use voxgate_protocol::bridge::{BridgeCommand, BridgeEvent, BridgeTraits};
use voxgate_protocol::id::{IdSource, ResponseId, SessionId};
use voxgate_protocol::session::{EndReason, SessionCommand, SessionEvent};
use voxgate_protocol::settings::SessionSettings;
use voxgate_protocol::trace::TurnTrace;
use voxgate_realtime::{
    Adapter, AdapterOutput, AllowedEvents, ApiError, ClientKind, ContextItem, ParkedConversation, SidebandId,
};

use super::sight::{Seen, SeenWords, Sight};

/// Everything that decides how a core behaves, besides its inputs.
#[derive(Clone)]
pub(crate) struct CoreConfig {
    pub(crate) session_id: SessionId,
    /// What the client asked for.
    pub(crate) settings: SessionSettings,
    /// What the provider needs.
    pub(crate) traits: BridgeTraits,
    /// How the client's audio travels.
    pub(crate) leg: Leg,
    /// How answers are coded.
    pub(crate) encoder: EncoderConfig,
    /// When speech over an answer interrupts it; `None` is always and at once.
    pub(crate) interruption: Option<InterruptionRule>,
    /// How the sound of turns is judged; `None` if nobody can.
    pub(crate) listening: Option<ListeningRule>,
    /// The wall clock at which the session ends at the latest, in seconds since the Unix epoch. Only shown to the
    /// client.
    pub(crate) expires_at_unix: u64,
    /// How long the session may last. Only told to the client, when it is over.
    pub(crate) max_session: Duration,
    /// The client events the client may send; `None` means all.
    pub(crate) allowed_events: Option<AllowedEvents>,
    /// Every id and RTP start value follows from it.
    pub(crate) seed: u64,
}

/// What can happen to a dialogue.
pub(crate) enum CoreInput<'a> {
    /// The client's message channel is open.
    Opened,
    /// A message of the client.
    Text(&'a str),
    /// A sideband connection begins to listen, if [`DialogueCore::may_attach`] says so.
    Attach(SidebandId),
    /// A message of a sideband connection.
    Sideband(SidebandId, &'a str),
    /// A sideband connection is gone.
    Detach(SidebandId),
    /// An RTP packet of the caller.
    Rtp(RtpAudio<'a>),
    /// An event of the provider, with the time it came in.
    Bridge { at: Instant, event: BridgeEvent },
    /// The listener's verdict on the question of [`CoreOutput::JudgeTurn`]; `None` if there is none.
    TurnJudged { question: Question, probability: Option<f32> },
    /// A command that does not come from the client protocol.
    Command(SessionCommand),
    /// Time passed: [`DialogueCore::poll_timeout`] is due.
    Timeout,
    /// The packet of the last [`CoreOutput::Audio`] that is measured, or everything before a [`CoreOutput::ConfirmSent`], was
    /// handed to the network.
    Sent,
    /// What the network added on the way of the last packet.
    Network(NetworkTimes),
    /// The session is to end.
    End(EndReason),
}

/// What the shell has to do.
#[derive(Clone, PartialEq)]
pub(crate) enum CoreOutput {
    /// Send one message of the client protocol.
    Text(String),
    /// Send one message to every sideband connection.
    Sidebands(String),
    /// Send one message to one sideband connection.
    Sideband(SidebandId, String),
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
        /// Whether [`CoreInput::Sent`] has to follow: what the turn took is measured by it.
        is_measured: bool,
        /// How long after its deadline the packet was made.
        lateness: Duration,
    },
    /// Say with [`CoreInput::Sent`] that everything up to here was handed to the network: what the turn took is measured by it.
    ConfirmSent,
    /// Send to the provider.
    Bridge(BridgeCommand),
    /// Ask the listener about the turn that goes on.
    JudgeTurn { question: Question, speech: Pcm },
    /// A turn was measured.
    Turn(Box<TurnTrace>),
    /// The session is over. Only texts held for a channel that opens later follow.
    Ended(EndReason),
}

/// A session and its client protocol.
pub(crate) struct DialogueCore {
    session: Session,
    adapter: Adapter,
    outputs: VecDeque<CoreOutput>,
    ended: Option<EndReason>,
    /// Said last, behind what the end still made the client protocol say.
    end_to_tell: Option<EndReason>,
    /// Asked behind the message it is about.
    asks_for_sent: bool,
    /// What somebody who looks on sees. No input or output depends on it.
    sight: Sight,
}

impl DialogueCore {
    /// # Errors
    /// [`SessionError`] if no coder can be made for the provider's rates.
    pub(crate) fn new(config: CoreConfig) -> Result<Self, SessionError> {
        let CoreConfig {
            session_id,
            settings,
            traits,
            leg,
            encoder,
            interruption,
            listening,
            expires_at_unix,
            seed,
            ..
        } = config;
        let kind = match leg {
            Leg::Rtp => ClientKind::WebRtc,
            Leg::Pcm => ClientKind::WebSocket,
        };
        let mut seeds = IdSource::new(seed);
        let session = Session::new(SessionConfig {
            traits,
            settings: settings.clone(),
            leg,
            encoder,
            interruption,
            listening,
            seed: seeds.next_seed(),
        })?;
        let adapter = Adapter::new(kind, session_id, settings, expires_at_unix, seeds.next_seed())
            .lasting(config.max_session)
            .allowing(config.allowed_events);
        let (outputs, sight) = (VecDeque::new(), Sight::default());
        Ok(Self { session, adapter, outputs, ended: None, end_to_tell: None, asks_for_sent: false, sight })
    }

    /// Goes on with the conversation another session left behind. To be called before any input.
    pub(crate) fn resume(self, parked: ParkedConversation) -> Self {
        Self { adapter: self.adapter.resuming(parked), ..self }
    }

    /// From now on somebody looks on, and may see that much of what is said.
    pub(crate) fn observe(&mut self, since: Instant, words: SeenWords) {
        self.session.observe_since(since);
        self.sight = Sight::of(words);
    }

    /// From now on both voices are kept as they are heard, with times from `since` on. Take them after every input.
    pub(crate) fn tape_voices(&mut self, since: Instant) {
        self.observe(since, SeenWords::None);
        self.session.tape_voices();
    }

    /// What was heard of both voices since the last call.
    pub(crate) fn take_voices(&mut self) -> HeardVoices {
        self.session.take_voices()
    }

    /// The next thing that was seen.
    pub(crate) fn poll_seen(&mut self) -> Option<Seen> {
        self.session.poll_observed().map(Seen::Session).or_else(|| self.sight.poll())
    }

    /// How loud both sides were since the last call.
    pub(crate) fn take_loudness(&mut self, now: Instant) -> Option<Loudness> {
        self.session.take_loudness(now)
    }

    /// What was seen of the caller's packets; `None` for a client that sends messages.
    pub(crate) fn uplink_stats(&self) -> Option<UplinkStats> {
        self.session.uplink_stats()
    }

    /// What was seen of the messages with the caller's audio; `None` for a client that sends packets.
    pub(crate) fn piece_stats(&self) -> Option<PieceStats> {
        self.session.piece_stats()
    }

    /// What the session leaves to the next one of the same client, once it has ended.
    pub(crate) fn park(&mut self) -> ParkedConversation {
        self.adapter.park()
    }

    /// Takes one input and carries it to its end. Then read [`DialogueCore::poll_output`] until `None`.
    pub(crate) fn handle(&mut self, now: Instant, input: CoreInput<'_>) {
        // What a provider or the end of the session makes the client hear is told by whoever hands it in.
        let is_of_client = !matches!(input, CoreInput::Bridge { .. } | CoreInput::End(_));
        match input {
            CoreInput::Opened => self.adapter.open(),
            CoreInput::Text(text) => self.adapter.handle_text(text),
            // Whoever did not ask before is not listened to.
            CoreInput::Attach(sideband) => drop(self.adapter.attach(sideband)),
            CoreInput::Sideband(sideband, text) => self.adapter.handle_sideband(sideband, text),
            CoreInput::Detach(sideband) => self.adapter.detach(sideband),
            CoreInput::Rtp(packet) => self.session.handle_rtp(now, packet),
            CoreInput::Bridge { at, event } => self.session.handle_bridge(now, at, event),
            CoreInput::TurnJudged { question, probability } => {
                self.session.handle_verdict(question, probability);
            }
            CoreInput::Command(command) => {
                if let SessionCommand::WithdrawAnswer { response_id, .. } = &command {
                    self.sight.take_back(response_id.as_ref());
                }
                self.session.handle_command(now, command);
            }
            CoreInput::Timeout => self.session.handle_timeout(now),
            CoreInput::Sent => self.session.handle_sent(now),
            CoreInput::Network(times) => self.session.note_network(times),
            CoreInput::End(reason) => self.session.end(reason),
        }
        self.settle(now);
        if let Some(code) = self.adapter.take_refused().filter(|_| is_of_client) {
            self.sight.refused(code);
        }
    }

    /// Whether one more sideband connection may listen.
    pub(crate) fn may_attach(&self) -> Result<(), ApiError> {
        self.adapter.may_attach()
    }

    /// The next thing to do, in order.
    pub(crate) fn poll_output(&mut self) -> Option<CoreOutput> {
        self.outputs.pop_front()
    }

    /// When [`CoreInput::Timeout`] has to come at the latest.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.session.poll_timeout()
    }

    /// Why the session ended, once it has.
    pub(crate) const fn ended(&self) -> Option<EndReason> {
        self.ended
    }

    /// The conversation as another connection to the provider can be given it.
    pub(crate) fn context(&self) -> Vec<ContextItem> {
        self.adapter.context()
    }

    /// Whether an answer that somebody else has made would disturb none.
    pub(crate) fn is_free(&self) -> bool {
        self.session.is_free()
    }

    /// Whether an answer in progress stays outside the conversation.
    pub(crate) fn is_beside(&self, response_id: &ResponseId) -> bool {
        self.session.is_beside(response_id)
    }

    /// Counters so far.
    pub(crate) fn stats(&self) -> SessionStats {
        self.session.stats()
    }

    /// Carries what session and client protocol have for each other until neither has anything left.
    fn settle(&mut self, now: Instant) {
        loop {
            if let Some(output) = self.session.poll_output() {
                self.take_session_output(output);
            } else if let Some(output) = self.adapter.poll_output() {
                match output {
                    AdapterOutput::ToClient(text) => self.outputs.push_back(CoreOutput::Text(text)),
                    AdapterOutput::ToSidebands(text) => self.outputs.push_back(CoreOutput::Sidebands(text)),
                    AdapterOutput::ToSideband(id, text) => {
                        self.outputs.push_back(CoreOutput::Sideband(id, text));
                    }
                    AdapterOutput::Command(command) => self.session.handle_command(now, command),
                }
            } else {
                break;
            }
        }
        if std::mem::take(&mut self.asks_for_sent) {
            self.outputs.push_back(CoreOutput::ConfirmSent);
        }
        self.outputs.extend(self.end_to_tell.take().map(CoreOutput::Ended));
    }

    fn take_session_output(&mut self, output: SessionOutput) {
        match output {
            SessionOutput::Bridge(command) => self.outputs.push_back(CoreOutput::Bridge(command)),
            SessionOutput::Event(SessionEvent::TurnMeasured(trace)) => {
                self.outputs.push_back(CoreOutput::Turn(trace));
            }
            SessionOutput::Event(event) => {
                if let SessionEvent::Ended(reason) = event {
                    self.ended = Some(reason);
                    self.end_to_tell = Some(reason);
                }
                let glimpse = self.sight.glimpse(&event, |answer| self.session.is_beside(answer));
                self.adapter.handle_event(event);
                if let Some(glimpse) = glimpse {
                    self.sight.look(glimpse, |item| self.adapter.words_of(item));
                }
            }
            SessionOutput::JudgeTurn { question, speech } => {
                self.outputs.push_back(CoreOutput::JudgeTurn { question, speech });
            }
            SessionOutput::ConfirmSent => self.asks_for_sent = true,
            SessionOutput::Audio { payload, timestamp, marker, first_received, is_measured, lateness } => {
                self.outputs.push_back(CoreOutput::Audio {
                    payload,
                    timestamp,
                    marker,
                    first_received,
                    is_measured,
                    lateness,
                });
            }
        }
    }
}

#[cfg(test)]
impl DialogueCore {
    /// The settings in effect.
    pub(super) const fn settings(&self) -> &SessionSettings {
        self.adapter.settings()
    }

    /// The conversation's items, in order.
    pub(super) fn item_ids(&self) -> impl Iterator<Item = &str> {
        self.adapter.item_ids().map(voxgate_protocol::id::ItemId::as_str)
    }
}
