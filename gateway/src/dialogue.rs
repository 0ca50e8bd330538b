//! A session with its provider on one side and its client protocol on the other.
//!
//! The part every kind of client shares: [`Dialogue`] carries commands and events between the session core, the
//! bridge and the Realtime adapter, until nothing is left to do. What is left over is for the client's
//! connection.

use std::sync::Arc;
use std::time::{Duration, Instant};

use voxgate_media::encode::EncoderConfig;
use voxgate_media::session::{
    Leg, NetworkTimes, Session, SessionConfig, SessionError, SessionOutput, SessionStats,
};
use voxgate_media::uplink::RtpAudio;
use voxgate_policy::key::KeyIndex;
use voxgate_protocol::bridge::{BridgeCommand, BridgeEvent, Fault, FaultOwner};
use voxgate_protocol::id::IdSource;
use voxgate_protocol::session::{EndReason, SessionCommand, SessionEvent};
use voxgate_protocol::timeline::TurnTimeline;
use voxgate_realtime::{Adapter, AdapterOutput, ApiError, ClientKind, SidebandId};
use voxgate_signaling::host::SessionRequest;
use voxgate_signaling::permit::Permit;
use voxgate_telemetry::metrics::Metrics;

use tokio::sync::mpsc;
use tokio::sync::mpsc::error::{TryRecvError, TrySendError};

use crate::bridges::Connected;

/// Events of a provider taken in one go, so that a burst of one call does not hold up the others.
const EVENTS_AT_ONCE: usize = 64;

/// What the client's connection has to do.
#[derive(Debug)]
pub(crate) enum DialogueOutput {
    /// Send one message of the client protocol.
    Text(String),
    /// Tell every sideband connection.
    Sidebands(String),
    /// Tell one sideband connection.
    Sideband(SidebandId, String),
    /// Send one RTP packet.
    Audio { payload: Vec<u8>, timestamp: u32, marker: bool, first_received: Option<Instant> },
    /// A turn was measured.
    Turn(Box<TurnTimeline>),
    /// The session is over; close the connection once everything before is sent.
    Ended(EndReason),
}

/// What a dialogue is started with.
pub(crate) struct DialogueConfig {
    pub(crate) leg: Leg,
    pub(crate) encoder: EncoderConfig,
    pub(crate) expires_at_unix: u64,
    pub(crate) max_session: Duration,
    pub(crate) seed: u64,
    pub(crate) metrics: Arc<Metrics>,
}

/// A session, its provider and its client protocol.
pub(crate) struct Dialogue {
    session: Session,
    adapter: Adapter,
    bridge: Connected,
    metrics: Arc<Metrics>,
    has_more_events: bool,
    counted: SessionStats,
    ended: Option<EndReason>,
    /// Held for as long as the session runs.
    permit: Permit,
}

impl Dialogue {
    pub(crate) fn new(
        request: SessionRequest,
        bridge: Connected,
        config: DialogueConfig,
    ) -> Result<Self, SessionError> {
        let SessionRequest { session_id, settings, permit, allowed_events, .. } = request;
        let (kind, leg_name) = match config.leg {
            Leg::Rtp => (ClientKind::WebRtc, "webrtc"),
            Leg::Pcm => (ClientKind::WebSocket, "websocket"),
        };
        let mut seeds = IdSource::new(config.seed);
        let session = Session::new(SessionConfig {
            traits: bridge.bridge.traits,
            settings: settings.clone(),
            leg: config.leg,
            encoder: config.encoder,
            seed: seeds.next_seed(),
        })?;
        let adapter = Adapter::new(kind, session_id, settings, config.expires_at_unix, seeds.next_seed())
            .lasting(config.max_session)
            .allowing(allowed_events);
        config.metrics.sessions.inc();
        config.metrics.sessions_started.with_label_values(&[leg_name]).inc();
        Ok(Self {
            session,
            adapter,
            bridge,
            metrics: config.metrics,
            has_more_events: false,
            counted: SessionStats::default(),
            ended: None,
            permit,
        })
    }

    /// The client's message channel is open.
    pub(crate) fn open(&mut self) {
        self.adapter.open();
    }

    /// The queue to the provider, to see how full it is.
    pub(crate) fn to_provider(&self) -> mpsc::Sender<BridgeCommand> {
        self.bridge.bridge.commands.clone()
    }

    /// A message of the client.
    pub(crate) fn handle_text(&mut self, text: &str) {
        self.adapter.handle_text(text);
    }

    /// A sideband connection begins to listen.
    pub(crate) fn attach(&mut self, sideband: SidebandId) -> Result<(), ApiError> {
        self.adapter.attach(sideband)
    }

    /// A sideband connection is gone.
    pub(crate) fn detach(&mut self, sideband: SidebandId) {
        self.adapter.detach(sideband);
    }

    /// A message of a sideband connection.
    pub(crate) fn handle_sideband(&mut self, sideband: SidebandId, text: &str) {
        self.adapter.handle_sideband(sideband, text);
    }

    /// A command that does not come from the client protocol.
    pub(crate) fn handle_command(&mut self, now: Instant, command: SessionCommand) {
        self.session.handle_command(now, command);
    }

    /// An RTP packet of the caller.
    pub(crate) fn handle_rtp(&mut self, now: Instant, packet: RtpAudio<'_>) {
        self.session.handle_rtp(now, packet);
    }

    /// The bridge has something to say.
    pub(crate) fn handle_bridge(&mut self, now: Instant) {
        self.has_more_events = false;
        self.bridge.ringer.answered();
        for _ in 0..EVENTS_AT_ONCE {
            match self.bridge.bridge.events.try_recv() {
                Ok(stamped) => {
                    if let BridgeEvent::Fault(fault) = &stamped.event {
                        self.metrics.provider_fault(fault.owner);
                    }
                    self.session.handle_bridge(now, stamped.at, stamped.event);
                }
                Err(TryRecvError::Empty) => return,
                Err(TryRecvError::Disconnected) => {
                    self.session.handle_bridge(now, now, BridgeEvent::Fault(bridge_is_gone()));
                    return;
                }
            }
        }
        self.has_more_events = true;
    }

    /// Time passed.
    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        if self.has_more_events {
            self.handle_bridge(now);
        }
        self.session.handle_timeout(now);
    }

    /// The audio of the last output was handed to the network.
    pub(crate) fn handle_sent(&mut self, now: Instant) {
        self.session.handle_sent(now);
    }

    /// What the network added on the way of the last packet.
    pub(crate) fn note_network(&mut self, times: NetworkTimes) {
        self.session.note_network(times);
    }

    /// Ends the session.
    pub(crate) fn end(&mut self, reason: EndReason) {
        self.session.end(reason);
    }

    /// Whose session it is.
    pub(crate) const fn key(&self) -> KeyIndex {
        self.permit.key()
    }

    /// Why the session ended, once it has.
    pub(crate) const fn ended(&self) -> Option<EndReason> {
        self.ended
    }

    /// When [`Dialogue::handle_timeout`] has to be called; in the past if work waits.
    pub(crate) fn poll_timeout(&self, now: Instant) -> Option<Instant> {
        if self.has_more_events { Some(now) } else { self.session.poll_timeout() }
    }

    /// Carries everything on until nothing is left. `arrived` is set if this follows an audio packet.
    pub(crate) fn drain(
        &mut self,
        now: Instant,
        arrived: Option<Instant>,
        outputs: &mut Vec<DialogueOutput>,
    ) {
        loop {
            if let Some(output) = self.session.poll_output() {
                self.take_session_output(now, arrived, output, outputs);
            } else if let Some(output) = self.adapter.poll_output() {
                match output {
                    AdapterOutput::ToClient(text) => outputs.push(DialogueOutput::Text(text)),
                    AdapterOutput::ToSidebands(text) => outputs.push(DialogueOutput::Sidebands(text)),
                    AdapterOutput::ToSideband(id, text) => outputs.push(DialogueOutput::Sideband(id, text)),
                    AdapterOutput::Command(command) => self.session.handle_command(now, command),
                }
            } else {
                break;
            }
        }
        if let Some(reason) = self.ended
            && !outputs.iter().any(|output| matches!(output, DialogueOutput::Ended(_)))
        {
            outputs.push(DialogueOutput::Ended(reason));
        }
        self.count();
    }

    fn take_session_output(
        &mut self,
        now: Instant,
        arrived: Option<Instant>,
        output: SessionOutput,
        outputs: &mut Vec<DialogueOutput>,
    ) {
        match output {
            SessionOutput::Bridge(command) => self.tell_provider(now, arrived, command),
            SessionOutput::Event(SessionEvent::TurnMeasured(timeline)) => {
                self.metrics.turn_measured(&timeline);
                self.bridge.last_turn.set((*timeline).clone());
                outputs.push(DialogueOutput::Turn(timeline));
            }
            SessionOutput::Event(event) => {
                if let SessionEvent::Ended(reason) = event {
                    self.ended = Some(reason);
                }
                self.adapter.handle_event(event);
            }
            SessionOutput::Audio { payload, timestamp, marker, first_received, lateness } => {
                Metrics::observe(&self.metrics.pacing_late_seconds, lateness);
                outputs.push(DialogueOutput::Audio { payload, timestamp, marker, first_received });
            }
        }
    }

    fn tell_provider(&mut self, now: Instant, arrived: Option<Instant>, command: BridgeCommand) {
        let is_audio = matches!(command, BridgeCommand::Audio(_));
        match self.bridge.bridge.commands.try_send(command) {
            Ok(()) => {}
            // What the pump said last is in the queue; behind it lies the news of its end, which rings no bell.
            Err(TrySendError::Closed(_)) => {
                self.has_more_events = true;
                return;
            }
            Err(TrySendError::Full(_)) => {
                self.metrics.provider_fault(FaultOwner::Gateway);
                if !is_audio {
                    // The client would wait for the answer to this command for ever.
                    self.session.handle_bridge(now, now, BridgeEvent::Fault(bridge_stands_still()));
                }
                return;
            }
        }
        if let (true, Some(arrived)) = (is_audio, arrived) {
            Metrics::observe(&self.metrics.ingress_seconds, arrived.elapsed());
        }
    }

    fn count(&mut self) {
        let stats = self.session.stats();
        let metrics = &self.metrics;
        metrics.interruptions.inc_by(u64::from(stats.interruptions - self.counted.interruptions));
        metrics.concealed_frames.inc_by(stats.concealed_frames - self.counted.concealed_frames);
        metrics.playout_underruns.inc_by(stats.underruns - self.counted.underruns);
        self.counted = stats;
    }
}

impl Drop for Dialogue {
    fn drop(&mut self) {
        self.metrics.sessions.dec();
        self.metrics.session_ended(self.ended.unwrap_or(EndReason::ClientLost));
    }
}

fn bridge_stands_still() -> Fault {
    Fault {
        code: "provider_congested".to_owned(),
        message: "The connection to the speech provider takes nothing any more.".to_owned(),
        ..bridge_is_gone()
    }
}

fn bridge_is_gone() -> Fault {
    Fault {
        owner: FaultOwner::Gateway,
        code: "provider_closed".to_owned(),
        message: "The connection to the speech provider ended.".to_owned(),
        may_retry: true,
        may_switch: true,
        is_final: true,
    }
}

#[cfg(test)]
mod tests;
