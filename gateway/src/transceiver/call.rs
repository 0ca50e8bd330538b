//! One WebRTC call: a dialogue behind a transport.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use voxgate_media::session::NetworkTimes;
use voxgate_media::transport::{AudioFrame, ChannelId, CloseReason, Output, Path, Transport, TransportStats};
use voxgate_media::uplink::RtpAudio;
use voxgate_policy::key::KeyIndex;
use voxgate_protocol::id::CallId;
use voxgate_protocol::session::{EndReason, SessionCommand};

use crate::dialogue::{Dialogue, DialogueOutput};

use super::extension;

/// The channel of the Realtime API.
const EVENTS_CHANNEL: &str = "oai-events";

/// Time the last messages get to reach the client before the connection closes.
const FAREWELL: Duration = Duration::from_millis(300);

/// Time a client that is still connecting gets to open its channel, so that it learns why the call ended.
const FAREWELL_BEFORE_OPEN: Duration = Duration::from_secs(10);

/// What the loop has to do for a call.
#[derive(Debug)]
pub(super) enum CallOutput {
    /// Send a datagram.
    Transmit(Path, Bytes),
    /// The client proved that it is behind this path.
    Validated(Path),
    /// The client no longer uses this path.
    Released(Path),
    /// The packets before this begin an answer whose samples were received at the given time.
    AnswerBegan { received: Instant },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Live,
    /// Said good-bye; closes at this time.
    Leaving(Instant),
    Over,
}

/// One call.
pub(super) struct Call {
    pub(super) call_id: CallId,
    pub(super) ufrag: String,
    /// The tag of its tunnel frames.
    pub(super) tag: u32,
    /// Ways the client has proven to be behind; kept by the loop.
    pub(super) paths: BTreeSet<Path>,
    dialogue: Dialogue,
    transport: Transport,
    events: Option<ChannelId>,
    extension: Option<ChannelId>,
    phase: Phase,
    ends_at: Instant,
    dialogue_outputs: Vec<DialogueOutput>,
}

impl Call {
    pub(super) fn new(
        call_id: CallId,
        ufrag: String,
        tag: u32,
        dialogue: Dialogue,
        transport: Transport,
        ends_at: Instant,
    ) -> Self {
        Self {
            call_id,
            ufrag,
            tag,
            paths: BTreeSet::new(),
            dialogue,
            transport,
            events: None,
            extension: None,
            phase: Phase::Live,
            ends_at,
            dialogue_outputs: Vec::new(),
        }
    }

    /// A datagram of the client, and how long it took from relay to here.
    pub(super) fn handle_datagram(
        &mut self,
        now: Instant,
        path: Path,
        datagram: &[u8],
        tunnel: TunnelTimes,
        sink: &mut Vec<CallOutput>,
    ) {
        let TransportStats { round_trip, .. } = self.transport.stats();
        self.dialogue.note_network(NetworkTimes {
            relay_in: tunnel.relay_in,
            relay_out: tunnel.relay_out,
            round_trip,
        });
        self.transport.handle_datagram(now, path, datagram);
        self.drain(now, Some(now), sink);
    }

    /// The bridge has something to say.
    pub(super) fn handle_bridge(&mut self, now: Instant, sink: &mut Vec<CallOutput>) {
        self.dialogue.handle_bridge(now);
        self.drain(now, None, sink);
    }

    /// Time passed.
    pub(super) fn handle_timeout(&mut self, now: Instant, sink: &mut Vec<CallOutput>) {
        if now >= self.ends_at {
            self.dialogue.end(EndReason::MaximumDuration);
        }
        if let Phase::Leaving(at) = self.phase
            && now >= at
        {
            self.transport.close(now);
            self.phase = Phase::Over;
        }
        self.transport.handle_timeout(now);
        self.dialogue.handle_timeout(now);
        self.drain(now, None, sink);
    }

    /// The first packet of an answer is on the network.
    pub(super) fn handle_sent(&mut self, sent: Instant, sink: &mut Vec<CallOutput>) {
        self.dialogue.handle_sent(sent);
        self.drain(sent, None, sink);
    }

    /// Ends the call in order.
    pub(super) fn end(&mut self, now: Instant, reason: EndReason, sink: &mut Vec<CallOutput>) {
        self.dialogue.end(reason);
        self.drain(now, None, sink);
    }

    /// Whether the client has proven to be behind this address.
    pub(super) fn knows(&self, client: SocketAddr) -> bool {
        self.paths.iter().any(|path| path.client == client)
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
        self.transport.poll_timeout().map_or(next, |at| next.min(at))
    }

    /// Carries everything on until nothing is left.
    fn drain(&mut self, now: Instant, arrived: Option<Instant>, sink: &mut Vec<CallOutput>) {
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

    fn drain_transport(&mut self, now: Instant, sink: &mut Vec<CallOutput>) -> bool {
        let mut moved = false;
        while let Some(output) = self.transport.poll_output() {
            moved = true;
            match output {
                Output::Transmit { path, datagram } => sink.push(CallOutput::Transmit(path, datagram)),
                Output::PathValidated(path) => sink.push(CallOutput::Validated(path)),
                Output::PathReleased(path) => sink.push(CallOutput::Released(path)),
                Output::Connected => {}
                Output::ChannelClosed { channel } => self.channel_closed(channel),
                Output::Audio(packet) => {
                    let packet_now = now.max(packet.arrived);
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
                Output::Closed(reason) => self.closed(reason),
            }
        }
        moved
    }

    fn channel_opened(&mut self, now: Instant, channel: ChannelId, label: &str) {
        if label == EVENTS_CHANNEL && self.events.is_none() {
            self.events = Some(channel);
            self.dialogue.open();
            if let Phase::Leaving(at) = &mut self.phase {
                *at = (*at).min(now + FAREWELL);
            }
        } else if label == extension::CHANNEL && self.extension.is_none() {
            self.extension = Some(channel);
        }
    }

    /// A client may close a channel and open it anew.
    fn channel_closed(&mut self, channel: ChannelId) {
        for known in [&mut self.events, &mut self.extension] {
            known.take_if(|known| *known == channel);
        }
    }

    fn text(&mut self, now: Instant, channel: ChannelId, text: &str) {
        if Some(channel) == self.events {
            self.dialogue.handle_text(text);
        } else if Some(channel) == self.extension
            && let Some(report) = extension::client_report(text)
        {
            self.dialogue.handle_command(now, SessionCommand::ReportClient(report));
        }
    }

    fn closed(&mut self, reason: CloseReason) {
        self.dialogue.end(match reason {
            CloseReason::RemoteClosed => EndReason::ClientClosed,
            CloseReason::ClientLost => EndReason::ClientLost,
            CloseReason::SetupTimeout => EndReason::SetupTimeout,
            CloseReason::Local => EndReason::HungUp,
        });
        self.phase = Phase::Over;
    }

    fn take_dialogue_output(&mut self, now: Instant, output: DialogueOutput, sink: &mut Vec<CallOutput>) {
        match output {
            DialogueOutput::Text(text) => self.send(now, self.events, &text),
            DialogueOutput::Turn(timeline) => {
                self.send(now, self.extension, &extension::turn_measured(&timeline));
            }
            DialogueOutput::Audio { payload, timestamp, marker, first_received } => {
                self.transport.send_audio(now, AudioFrame { payload: payload.into(), timestamp, marker });
                self.drain_transport(now, sink);
                if let Some(received) = first_received {
                    sink.push(CallOutput::AnswerBegan { received });
                }
            }
            DialogueOutput::Ended(reason) => {
                if self.phase == Phase::Live {
                    let is_unheard = reason == EndReason::ProviderFailed && self.events.is_none();
                    let patience = if is_unheard { FAREWELL_BEFORE_OPEN } else { FAREWELL };
                    self.phase = Phase::Leaving(now + patience);
                }
            }
        }
    }

    fn send(&mut self, now: Instant, channel: Option<ChannelId>, text: &str) {
        let Some(channel) = channel else { return };
        if let Err(error) = self.transport.send_text(now, channel, text) {
            tracing::debug!(call_id = %self.call_id, %error, "a message could not be sent to the client");
        }
    }
}

/// What the tunnel says about the way between relay and here.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct TunnelTimes {
    pub(super) relay_in: Duration,
    pub(super) relay_out: Option<Duration>,
}
