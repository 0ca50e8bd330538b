//! One end of a tunnel: keys, sequence, replay window and clock comparison between one relay and one node.

use std::time::{Duration, Instant};

use thiserror::Error;
use voxgate_protocol::id::{NodeIndex, RelayId};
use voxgate_protocol::path::ClientAddress;

use super::passage::{Exchange, Passage, Passages};
use super::{
    Claim, Echo, Frame, FrameHeader, Kind, Lane, ReplayWindow, Sequence, Timing, TunnelError, TunnelKey,
    claim, decode, encode,
};

/// An echo held longer than this says nothing about the path any more.
const OLDEST_ECHO: Duration = Duration::from_secs(30);
/// A round trip above this is a clock fault, not a network.
const LONGEST_ROUND_TRIP: Duration = Duration::from_secs(10);

/// Which end of the tunnel this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The relay, with the epoch of this life: a number its earlier lives did not have.
    Relay {
        /// The epoch.
        epoch: u32,
    },
    /// The transceiver; it learns the relay's epoch from the relay's frames.
    Node,
}

/// Why an endpoint did not take a frame.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum EndpointError {
    /// Not an authentic frame.
    #[error(transparent)]
    Tunnel(#[from] TunnelError),
    /// A frame between another relay and node.
    #[error("the frame belongs to another tunnel")]
    OtherTunnel,
    /// A frame this side sends and never receives.
    #[error("the frame came back from its own direction")]
    Reflected,
    /// A frame received before, or too old to know.
    #[error("the frame was received before")]
    Replayed,
}

/// What to put into an outgoing frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outgoing<'a> {
    /// What the frame is for.
    pub kind: Kind,
    /// The session's tag, zero for none.
    pub session: u32,
    /// The client.
    pub client: Option<ClientAddress>,
    /// The traffic class of the client's datagram.
    pub traffic_class: u8,
    /// When the datagram came to this side; the frame reports the time since then. `None` reports zero.
    pub since: Option<Instant>,
    /// The client's datagram.
    pub payload: &'a [u8],
}

/// What the second key of an endpoint is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Other {
    Previous,
    Next,
}

/// One end of the tunnel between one relay and one node.
#[derive(Clone, Debug)]
pub struct Endpoint {
    side: Side,
    relay: RelayId,
    node: NodeIndex,
    lane: Lane,
    key: TunnelKey,
    /// Accepted beside `key`: the one before, or the one to come.
    other_key: Option<(TunnelKey, Other)>,
    /// Counts hellos while a key is to come; every other one is sealed with it.
    hellos: u32,
    sequence: Sequence,
    window: ReplayWindow,
    origin: Instant,
    newest: Option<(u64, u32, Instant)>,
    relay_epoch: Option<u32>,
    round_trip: Option<Duration>,
    /// Followed by nodes only: a relay has no use for it, and more to do.
    passages: Passages,
}

impl Endpoint {
    /// An end whose process started at `now`, which was `since_unix_epoch` on the wall clock. Both are used to start the
    /// sequence ahead of an earlier life's; nothing else reads the wall clock.
    #[must_use]
    pub fn new(
        side: Side,
        relay: RelayId,
        node: NodeIndex,
        lane: Lane,
        key: TunnelKey,
        now: Instant,
        since_unix_epoch: Duration,
    ) -> Self {
        let relay_epoch = match side {
            Side::Relay { epoch } => Some(epoch),
            Side::Node => None,
        };
        Self {
            side,
            relay,
            node,
            lane,
            key,
            other_key: None,
            hellos: 0,
            sequence: Sequence::starting_at(since_unix_epoch),
            window: ReplayWindow::new(),
            origin: now,
            newest: None,
            relay_epoch,
            round_trip: None,
            passages: Passages::default(),
        }
    }

    /// Sends with a new key from now on and accepts the old one beside it.
    pub fn rotate(&mut self, key: TunnelKey) {
        let previous = std::mem::replace(&mut self.key, key);
        self.other_key = Some((previous, Other::Previous));
    }

    /// Accepts a new key from now on, and sends with it as soon as the other side has. Until then every other hello is
    /// sealed with it, so that a side that knows only the new key finds out.
    pub fn prepare(&mut self, key: TunnelKey) {
        self.other_key = Some((key, Other::Next));
    }

    /// Whether this is the key frames are sent with, or are to be sent with next.
    #[must_use]
    pub fn is_to_send_with(&self, key: &TunnelKey) -> bool {
        match &self.other_key {
            Some((next, Other::Next)) => next.is_same_as(key),
            _ => self.key.is_same_as(key),
        }
    }

    /// Whether frames are sent with a key of this id.
    #[must_use]
    pub const fn sends_with_id(&self, id: u8) -> bool {
        self.key.id() == id
    }

    /// The relay at one end.
    #[must_use]
    pub const fn relay(&self) -> RelayId {
        self.relay
    }

    /// The epoch of the relay's present life: its own on the relay, the newest heard of on the node.
    #[must_use]
    pub const fn relay_epoch(&self) -> Option<u32> {
        self.relay_epoch
    }

    /// The smoothed time a frame needs to the other side and back, without the time spent there, from live traffic.
    #[must_use]
    pub const fn round_trip(&self) -> Option<Duration> {
        self.round_trip
    }

    /// On a node: what the newest frames took in each direction. `None` before the relay has answered one.
    #[must_use]
    pub const fn passage(&self) -> Option<Passage> {
        self.passages.newest()
    }

    /// Appends a frame to `out`.
    ///
    /// # Errors
    /// [`TunnelError::Long`] for a payload above [`super::MAX_PAYLOAD`].
    pub fn seal(&mut self, now: Instant, frame: &Outgoing<'_>, out: &mut Vec<u8>) -> Result<(), TunnelError> {
        if matches!(frame.kind, Kind::Hello { .. }) {
            self.hellos = self.hellos.wrapping_add(1);
        }
        let echo = self.newest.and_then(|(_, sent_at, received_at)| {
            let held = now.saturating_duration_since(received_at);
            (held <= OLDEST_ECHO).then_some(Echo { sent_at, held })
        });
        let residence = frame.since.map_or(Duration::ZERO, |since| now.saturating_duration_since(since));
        let header = FrameHeader {
            kind: frame.kind,
            relay: self.relay,
            node: self.node,
            lane: self.lane,
            relay_epoch: self.relay_epoch.unwrap_or(0),
            session: frame.session,
            client: frame.client,
            traffic_class: frame.traffic_class,
            sequence: self.sequence.advance(),
            timing: Timing { sent_at: self.clock(now), echo, residence },
        };
        encode(out, self.key_for(frame.kind), &header, frame.payload)
    }

    /// Verifies a frame that arrived at `received_at` and takes from it what it says about path and epoch.
    ///
    /// # Errors
    /// An [`EndpointError`]; the endpoint is unchanged then.
    pub fn open<'a>(&mut self, received_at: Instant, bytes: &'a [u8]) -> Result<Frame<'a>, EndpointError> {
        let Claim { relay, node, lane, key } = claim(bytes)?;
        if (relay, node, lane) != (self.relay, self.node, self.lane) {
            return Err(EndpointError::OtherTunnel);
        }
        let other = self.other_key.as_ref().filter(|(other, _)| other.id() == key && key != self.key.id());
        let frame = decode(other.map_or(&self.key, |(other, _)| other), bytes)?;
        let from_relay = matches!(frame.header.kind, Kind::Up | Kind::Hello { .. });
        if from_relay != (self.side == Side::Node) {
            return Err(EndpointError::Reflected);
        }
        if !self.window.accept(frame.header.sequence) {
            return Err(EndpointError::Replayed);
        }
        if key != self.key.id() {
            self.follow_rotation();
        }
        self.learn(received_at, &frame.header);
        Ok(frame)
    }

    const fn key_for(&self, kind: Kind) -> &TunnelKey {
        match &self.other_key {
            Some((next, Other::Next))
                if matches!(kind, Kind::Hello { .. }) && self.hellos.is_multiple_of(2) =>
            {
                next
            }
            _ => &self.key,
        }
    }

    /// The other side has used the second key.
    fn follow_rotation(&mut self) {
        if let Some((next, Other::Next)) = self.other_key.take_if(|(_, other)| *other == Other::Next) {
            self.rotate(next);
        }
    }

    fn learn(&mut self, received_at: Instant, header: &FrameHeader) {
        if self.newest.is_none_or(|(sequence, ..)| header.sequence > sequence) {
            self.newest = Some((header.sequence, header.timing.sent_at, received_at));
            if self.side == Side::Node {
                self.relay_epoch = Some(header.relay_epoch);
            }
        }
        let Some(exchange) = self.exchange(received_at, &header.timing) else { return };
        let sample = exchange.round_trip();
        if sample > LONGEST_ROUND_TRIP {
            return;
        }
        self.round_trip = Some(self.round_trip.map_or(sample, |smoothed| (smoothed * 7 + sample) / 8));
        if self.side == Side::Node {
            self.passages.exchanged(received_at, &exchange);
        }
    }

    fn exchange(&self, received_at: Instant, timing: &Timing) -> Option<Exchange> {
        let Echo { sent_at, held } = timing.echo?;
        let received = timing.sent_at.wrapping_sub(held.as_micros() as u32);
        let coming = self.clock(received_at).wrapping_sub(timing.sent_at);
        Some(Exchange { coming, going: received.wrapping_sub(sent_at), held })
    }

    fn clock(&self, now: Instant) -> u32 {
        let [.., a, b, c, d] = now.saturating_duration_since(self.origin).as_micros().to_be_bytes();
        u32::from_be_bytes([a, b, c, d])
    }
}
