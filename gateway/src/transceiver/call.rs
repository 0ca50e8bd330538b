//! One WebRTC call: a dialogue behind a transport.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tracing::Span;
use voxgate_media::session::NetworkTimes;
use voxgate_media::transport::{
    AudioFrame, ChannelId, CloseReason, IceRestart, OfferError, Output, Path, Transport, TransportStats,
};
use voxgate_media::uplink::RtpAudio;
use voxgate_policy::key::KeyIndex;
use voxgate_protocol::id::CallId;
use voxgate_protocol::path::ClientTransport;
use voxgate_protocol::session::{ClientReport, EndReason};
use voxgate_realtime::{ApiError, SidebandId};

use crate::dialogue::{Dialogue, DialogueOutput, Transported, sentences, told_of_mistake};
use crate::sideband::{SidebandQueue, Sidebands};

use super::extension::{self, RelayNotice};
use super::ways::Ways;

/// The channel of the Realtime API.
const EVENTS_CHANNEL: &str = "oai-events";

/// Time the last messages get to reach the client before the connection closes.
const FAREWELL: Duration = Duration::from_millis(300);

/// Time a client that is still connecting gets to open its channel, so that it learns why the call ended.
const FAREWELL_BEFORE_OPEN: Duration = Duration::from_secs(10);

/// A call whose media stopped for this long may have lost its flow at a relay: five packets of a browser.
const SILENT_AFTER: Duration = Duration::from_millis(100);

/// Time between two attempts to teach the relays the call's flows while it stays silent.
const REFRESH_EVERY: Duration = Duration::from_millis(500);

/// A call silent for longer does not send: its client is gone, or has nothing to say.
const REFRESH_FOR: Duration = Duration::from_secs(5);

/// What the loop has to do for a call.
#[derive(Debug)]
pub(super) enum CallOutput {
    /// Send a datagram.
    Transmit(Path, Bytes),
    /// The client proved that it is behind this path.
    Validated(Path),
    /// The client no longer uses this path.
    Released(Path),
    /// The call is to be told when the packets before this are on the network.
    Sent {
        /// For the first packet of an answer: when its samples came from the provider.
        received: Option<Instant>,
    },
    /// The relays should learn the call's flows once more.
    Refresh,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Live,
    /// Said good-bye; closes at this time.
    Leaving(Instant),
    Over,
}

/// The names of relays, by the addresses clients reach them at.
pub(super) type RelayNames = Arc<[(SocketAddr, Arc<str>)]>;

/// One call.
pub(super) struct Call {
    pub(super) call_id: CallId,
    /// The names its client's checks may carry, the newest last.
    pub(super) ufrags: VecDeque<String>,
    /// How often its client restarted ICE.
    pub(super) generation: u8,
    /// The tag of its tunnel frames.
    pub(super) tag: u32,
    /// Ways to the client; kept by the loop.
    pub(super) ways: Ways,
    /// The wall clock at which the session ends at the latest, since the Unix epoch.
    pub(super) session_end: Duration,
    /// The names of the relays, by the addresses clients reach them at.
    relays: RelayNames,
    /// What its log lines are told apart by.
    pub(super) span: Span,
    dialogue: Dialogue,
    transport: Transport,
    events: Option<ChannelId>,
    extension: Option<ChannelId>,
    sidebands: Sidebands,
    phase: Phase,
    ends_at: Instant,
    silence: Option<Silence>,
    dialogue_outputs: Vec<DialogueOutput>,
}

/// The wait for the next media of the client.
#[derive(Clone, Copy, Debug)]
struct Silence {
    since: Instant,
    refresh_at: Instant,
}

/// What a call is made of.
pub(super) struct CallParts {
    pub(super) call_id: CallId,
    pub(super) ufrag: String,
    pub(super) tag: u32,
    pub(super) relays: RelayNames,
    pub(super) dialogue: Dialogue,
    pub(super) transport: Transport,
    pub(super) ends_at: Instant,
    pub(super) session_end: Duration,
    pub(super) span: Span,
}

impl Call {
    pub(super) fn new(parts: CallParts) -> Self {
        Self {
            call_id: parts.call_id,
            ufrags: VecDeque::from([parts.ufrag]),
            generation: 0,
            tag: parts.tag,
            ways: Ways::default(),
            session_end: parts.session_end,
            relays: parts.relays,
            span: parts.span,
            dialogue: parts.dialogue,
            transport: parts.transport,
            events: None,
            extension: None,
            sidebands: Sidebands::default(),
            phase: Phase::Live,
            ends_at: parts.ends_at,
            silence: None,
            dialogue_outputs: Vec::new(),
        }
    }

    /// A datagram of the client, and what relay and tunnel take.
    pub(super) fn handle_datagram(
        &mut self,
        now: Instant,
        path: Path,
        datagram: &[u8],
        tunnel: TunnelTimes,
        sink: &mut Vec<CallOutput>,
    ) {
        let TransportStats { round_trip, jitter_at_caller: jitter, .. } = self.transport.stats();
        let TunnelTimes { relay_in, relay_out, error: relay_error } = tunnel;
        let times = NetworkTimes { relay_in, relay_out, relay_error, round_trip, jitter };
        self.dialogue.note_network(now, times);
        self.transport.handle_datagram(now, path, datagram);
        self.dialogue.note_client(self.transport.last_heard());
        if is_rtp(datagram) {
            self.silence = Some(Silence { since: now, refresh_at: now + SILENT_AFTER });
        }
        self.drain(now, Some(now), sink);
    }

    /// The bridge has something to say.
    pub(super) fn handle_bridge(&mut self, now: Instant, sink: &mut Vec<CallOutput>) {
        self.dialogue.handle_bridge(now);
        self.drain(now, None, sink);
    }

    /// A sideband connection begins to listen.
    pub(super) fn attach(&mut self, now: Instant, queue: SidebandQueue) -> Result<(), ApiError> {
        self.dialogue.attach(now, queue.id)?;
        self.sidebands.add(queue);
        Ok(())
    }

    /// A sideband connection is gone.
    pub(super) fn detach(&mut self, now: Instant, id: SidebandId) {
        self.sidebands.remove(id);
        self.dialogue.detach(now, id);
    }

    /// A message of a sideband connection.
    pub(super) fn handle_sideband(
        &mut self,
        now: Instant,
        id: SidebandId,
        text: &str,
        sink: &mut Vec<CallOutput>,
    ) {
        self.dialogue.handle_sideband(now, id, text);
        self.drain(now, None, sink);
    }

    /// Time passed.
    pub(super) fn handle_timeout(&mut self, now: Instant, sink: &mut Vec<CallOutput>) {
        if now >= self.ends_at {
            self.dialogue.end(now, EndReason::MaximumDuration);
        }
        if let Phase::Leaving(at) = self.phase
            && now >= at
        {
            self.transport.close(now);
            self.phase = Phase::Over;
        }
        if let Some(silence) = self.silence.as_mut().filter(|silence| now >= silence.refresh_at) {
            sink.push(CallOutput::Refresh);
            silence.refresh_at = now + REFRESH_EVERY;
            let goes_on = now.saturating_duration_since(silence.since) < REFRESH_FOR;
            self.silence = self.silence.filter(|_| goes_on);
        }
        self.transport.handle_timeout(now);
        self.dialogue.handle_timeout(now);
        self.drain(now, None, sink);
    }

    /// A packet that is measured is on the network.
    pub(super) fn handle_sent(&mut self, sent: Instant, sink: &mut Vec<CallOutput>) {
        self.dialogue.handle_sent(sent);
        self.drain(sent, None, sink);
    }

    /// What the client measured, not by the data channel.
    pub(super) fn handle_report(&mut self, now: Instant, report: ClientReport, sink: &mut Vec<CallOutput>) {
        self.dialogue.hear_client(now, &report.into());
        self.drain(now, None, sink);
    }

    /// Ends the call in order.
    pub(super) fn end(&mut self, now: Instant, reason: EndReason, sink: &mut Vec<CallOutput>) {
        self.dialogue.end(now, reason);
        self.drain(now, None, sink);
    }

    /// Its state machine made a mistake; it is not to be used any more.
    pub(super) const fn fail(&mut self) {
        self.dialogue.fail();
    }

    /// The last that a client hears of a call that failed: what happened, and the close. Nothing but the transport works for it.
    pub(super) fn part(&mut self, now: Instant, sink: &mut Vec<CallOutput>) {
        self.send(now, self.events, &told_of_mistake().to_string());
        self.transport.close(now);
        while let Some(output) = self.transport.poll_output() {
            if let Output::Transmit { path, datagram } = output {
                sink.push(CallOutput::Transmit(path, datagram));
            }
        }
    }

    /// Answers an offer that restarts ICE; from now on the call has one more name.
    pub(super) fn restart_ice(
        &mut self,
        now: Instant,
        offer: &str,
        restart: IceRestart,
        sink: &mut Vec<CallOutput>,
    ) -> Result<String, OfferError> {
        let answer = self.transport.restart_ice(now, offer, &restart);
        if answer.is_ok() {
            self.generation = self.generation.saturating_add(1);
            self.ufrags.push_back(restart.ufrag);
            self.dialogue.happened(now, sentences::restarts_ice());
        }
        self.drain(now, None, sink);
        answer
    }

    /// The relay that clients reach at these addresses is lost or about to stop. True if it carries the call: then the
    /// client is told, and what goes to the client leaves through another relay if the notice says that this one is
    /// lost. Of a relay that is about to stop nothing is kept once the client has moved.
    pub(super) fn relay_goes(
        &mut self,
        now: Instant,
        addresses: &[SocketAddr],
        notice: RelayNotice,
        sink: &mut Vec<CallOutput>,
    ) -> bool {
        if notice == RelayNotice::Draining {
            addresses.iter().for_each(|address| self.transport.leave_relay(*address));
        }
        let current = self.transport.current_path().map(|path| path.relay);
        let Some(address) = current.filter(|address| addresses.contains(address)) else { return false };
        if notice == RelayNotice::Lost {
            self.transport.avoid_relay(now, address);
        }
        self.dialogue.happened(now, sentences::relay_goes(notice == RelayNotice::Lost));
        self.send(now, self.extension, extension::relay_notice(notice));
        self.drain(now, None, sink);
        true
    }

    /// The relay that clients reach at these addresses does not stop after all, or is back.
    pub(super) fn relay_stays(&mut self, addresses: &[SocketAddr]) {
        addresses.iter().for_each(|address| self.transport.keep_relay(*address));
    }

    /// Whose call it is.
    pub(super) const fn key(&self) -> KeyIndex {
        self.dialogue.key()
    }

    /// Whether everything is said and sent.
    pub(super) fn is_over(&self) -> bool {
        self.phase == Phase::Over
    }

    /// Why the session ended, once it has.
    pub(super) const fn end_reason(&self) -> Option<EndReason> {
        self.dialogue.ended()
    }

    /// When [`Call::handle_timeout`] has to be called.
    pub(super) fn poll_timeout(&self, now: Instant) -> Instant {
        let mut next = self.ends_at;
        if let Phase::Leaving(at) = self.phase {
            // A session that has ended leaves nothing else to wait for but its transport.
            next = at;
        } else if let Some(at) = self.dialogue.poll_timeout(now) {
            next = next.min(at);
        }
        if let Some(silence) = self.silence {
            next = next.min(silence.refresh_at);
        }
        self.transport.poll_timeout().map_or(next, |at| next.min(at))
    }

    /// Carries everything on until nothing is left.
    fn drain(&mut self, now: Instant, arrived: Option<Instant>, sink: &mut Vec<CallOutput>) {
        if self.dialogue.awaits_transported(now) {
            self.dialogue.transported(self.transport_figures());
        }
        loop {
            let moved = self.drain_transport(now, sink);
            self.dialogue.drain(now, arrived, &mut self.dialogue_outputs);
            if !moved && self.dialogue_outputs.is_empty() {
                break;
            }
            for output in std::mem::take(&mut self.dialogue_outputs) {
                self.take_dialogue_output(now, output, sink);
            }
            if self.phase != Phase::Live {
                self.drain_transport(now, sink);
                break;
            }
        }
    }

    /// What is written down of the way of the packets once a second.
    fn transport_figures(&self) -> Transported {
        let stats = self.transport.stats();
        let path = self.transport.current_path();
        let relay = path.and_then(|path| self.relays.iter().find(|(address, _)| *address == path.relay));
        Transported {
            round_trip: stats.round_trip,
            reports: stats.reports_of_caller,
            expected: stats.packets_reported_by_caller,
            lost: stats.packets_lost_by_caller,
            jitter: stats.jitter_at_caller,
            pair: path.map(|path| match path.client.transport {
                ClientTransport::Udp => "udp",
                ClientTransport::Tcp => "tcp",
            }),
            relay: relay.map(|(_, name)| Arc::clone(name)),
        }
    }

    fn drain_transport(&mut self, now: Instant, sink: &mut Vec<CallOutput>) -> bool {
        let mut moved = false;
        while let Some(output) = self.transport.poll_output() {
            moved = true;
            match output {
                Output::Transmit { path, datagram } => sink.push(CallOutput::Transmit(path, datagram)),
                Output::PathValidated(path) => sink.push(CallOutput::Validated(path)),
                Output::PathReleased(path) => sink.push(CallOutput::Released(path)),
                Output::Connected => {}
                Output::ChannelClosed { channel } => self.channel_closed(now, channel),
                Output::Audio(packet) => {
                    let packet_now = now.max(packet.arrived);
                    if let Some(captured) = packet.captured {
                        self.dialogue.note_capture(packet.timestamp, captured);
                    }
                    self.dialogue.handle_rtp(
                        packet_now,
                        RtpAudio {
                            sequence: packet.sequence,
                            timestamp: packet.timestamp,
                            marker: packet.marker,
                            payload: &packet.payload,
                            arrived: packet.arrived,
                        },
                    );
                }
                Output::ChannelOpened { channel, label } => self.channel_opened(now, channel, &label),
                Output::Text { channel, text } => self.text(now, channel, &text),
                Output::Closed(reason) => self.closed(now, reason),
            }
        }
        moved
    }

    fn channel_opened(&mut self, now: Instant, channel: ChannelId, label: &str) {
        if label == EVENTS_CHANNEL && self.events.is_none() {
            self.events = Some(channel);
            self.dialogue.open(now);
            if let Phase::Leaving(at) = &mut self.phase {
                *at = (*at).min(now + FAREWELL);
            }
        } else if label == extension::CHANNEL && self.extension.is_none() {
            self.extension = Some(channel);
            self.dialogue.client_listens(now, true);
        }
    }

    /// A client may close a channel and open it anew.
    fn channel_closed(&mut self, now: Instant, channel: ChannelId) {
        if self.extension == Some(channel) {
            self.dialogue.client_listens(now, false);
        }
        for known in [&mut self.events, &mut self.extension] {
            known.take_if(|known| *known == channel);
        }
    }

    fn text(&mut self, now: Instant, channel: ChannelId, text: &str) {
        if Some(channel) == self.events {
            self.dialogue.handle_text(now, text);
        } else if Some(channel) == self.extension
            && let Some(message) = extension::client_message(text)
        {
            self.dialogue.hear_client(now, &message);
        }
    }

    fn closed(&mut self, now: Instant, reason: CloseReason) {
        let reason = match reason {
            CloseReason::RemoteClosed => EndReason::ClientClosed,
            CloseReason::ClientLost => EndReason::ClientLost,
            CloseReason::SetupTimeout => EndReason::SetupTimeout,
            CloseReason::Local => EndReason::HungUp,
        };
        self.dialogue.end(now, reason);
        self.phase = Phase::Over;
    }

    fn take_dialogue_output(&mut self, now: Instant, output: DialogueOutput, sink: &mut Vec<CallOutput>) {
        match output {
            DialogueOutput::Text(text) => self.send(now, self.events, &text),
            DialogueOutput::Sidebands(text) => self.tell_sidebands(now, None, &text),
            DialogueOutput::Sideband(id, text) => self.tell_sidebands(now, Some(id), &text),
            DialogueOutput::Turn(turn) => {
                self.send(now, self.extension, &extension::turn_measured(&turn));
            }
            DialogueOutput::Ask(question) => {
                self.send(now, self.extension, &extension::client_question(&question));
            }
            DialogueOutput::Audio { payload, timestamp, marker, first_received, is_measured } => {
                self.transport.send_audio(now, AudioFrame { payload: payload.into(), timestamp, marker });
                self.drain_transport(now, sink);
                if is_measured {
                    sink.push(CallOutput::Sent { received: first_received });
                }
            }
            // Packets say it of themselves.
            DialogueOutput::ConfirmSent => {}
            DialogueOutput::Ended(reason) => {
                self.sidebands.close(reason);
                if self.phase == Phase::Live {
                    let is_unheard = reason == EndReason::ProviderFailed && self.events.is_none();
                    let patience = if is_unheard { FAREWELL_BEFORE_OPEN } else { FAREWELL };
                    self.phase = Phase::Leaving(now + patience);
                }
            }
        }
    }

    fn tell_sidebands(&mut self, now: Instant, to: Option<SidebandId>, text: &str) {
        for id in self.sidebands.tell(to, text) {
            tracing::debug!(call_id = %self.call_id, "a sideband connection did not keep up and is closed");
            self.dialogue.detach(now, id);
        }
    }

    fn send(&mut self, now: Instant, channel: Option<ChannelId>, text: &str) {
        let Some(channel) = channel else { return };
        if let Err(error) = self.transport.send_text(now, channel, text) {
            tracing::debug!(call_id = %self.call_id, %error, "a message could not be sent to the client");
        }
    }
}

/// RTP by its first byte (RFC 7983) and not RTCP by its second (RFC 5761, section 4).
fn is_rtp(datagram: &[u8]) -> bool {
    matches!(datagram, [128..=191, kind, ..] if !(64..96).contains(&(kind & 127)))
}

/// What a relay and the tunnel to it take.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct TunnelTimes {
    /// From the relay's socket to here.
    pub(super) relay_in: Duration,
    /// From here until the relay has sent on. `None` before it has answered.
    pub(super) relay_out: Option<Duration>,
    /// How wrong each may be; zero as long as that is not known.
    pub(super) error: Duration,
}
