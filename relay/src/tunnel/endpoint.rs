//! One end of a tunnel: keys, sequence, replay window and clock comparison between one relay and one node.

use std::time::{Duration, Instant};

use std::net::SocketAddr;

use thiserror::Error;
use voxgate_protocol::id::{NodeIndex, RelayId};

use super::{
    Claim, Echo, Frame, FrameHeader, Kind, ReplayWindow, Sequence, Timing, TunnelError, TunnelKey, claim,
    decode, encode,
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
    pub client: Option<SocketAddr>,
    /// When the datagram came to this side; the frame reports the time since then. `None` reports zero.
    pub since: Option<Instant>,
    /// The client's datagram.
    pub payload: &'a [u8],
}

/// One end of the tunnel between one relay and one node.
#[derive(Clone, Debug)]
pub struct Endpoint {
    side: Side,
    relay: RelayId,
    node: NodeIndex,
    key: TunnelKey,
    previous_key: Option<TunnelKey>,
    sequence: Sequence,
    window: ReplayWindow,
    origin: Instant,
    newest: Option<(u64, u32, Instant)>,
    relay_epoch: Option<u32>,
    round_trip: Option<Duration>,
}

impl Endpoint {
    /// An end whose process started at `now`, which was `since_unix_epoch` on the wall clock. Both are used to start the
    /// sequence ahead of an earlier life's; nothing else reads the wall clock.
    #[must_use]
    pub fn new(
        side: Side,
        relay: RelayId,
        node: NodeIndex,
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
            key,
            previous_key: None,
            sequence: Sequence::starting_at(since_unix_epoch),
            window: ReplayWindow::new(),
            origin: now,
            newest: None,
            relay_epoch,
            round_trip: None,
        }
    }

    /// Sends with a new key from now on and accepts the old one beside it.
    pub fn rotate(&mut self, key: TunnelKey) {
        self.previous_key = Some(std::mem::replace(&mut self.key, key));
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

    /// Appends a frame to `out`.
    ///
    /// # Errors
    /// [`TunnelError::Long`] for a payload above [`super::MAX_PAYLOAD`].
    pub fn seal(&mut self, now: Instant, frame: &Outgoing<'_>, out: &mut Vec<u8>) -> Result<(), TunnelError> {
        let echo = self.newest.and_then(|(_, sent_at, received_at)| {
            let held = now.saturating_duration_since(received_at);
            (held <= OLDEST_ECHO).then_some(Echo { sent_at, held })
        });
        let residence = frame.since.map_or(Duration::ZERO, |since| now.saturating_duration_since(since));
        let header = FrameHeader {
            kind: frame.kind,
            relay: self.relay,
            node: self.node,
            relay_epoch: self.relay_epoch.unwrap_or(0),
            session: frame.session,
            client: frame.client,
            sequence: self.sequence.advance(),
            timing: Timing { sent_at: self.clock(now), echo, residence },
        };
        encode(out, &self.key, &header, frame.payload)
    }

    /// Verifies a frame that arrived at `received_at` and takes from it what it says about path and epoch.
    ///
    /// # Errors
    /// An [`EndpointError`]; the endpoint is unchanged then.
    pub fn open<'a>(&mut self, received_at: Instant, bytes: &'a [u8]) -> Result<Frame<'a>, EndpointError> {
        let Claim { relay, node, key } = claim(bytes)?;
        if (relay, node) != (self.relay, self.node) {
            return Err(EndpointError::OtherTunnel);
        }
        let previous = self.previous_key.as_ref().filter(|previous| previous.id() == key);
        let frame = decode(previous.filter(|_| key != self.key.id()).unwrap_or(&self.key), bytes)?;
        let from_relay = matches!(frame.header.kind, Kind::Up | Kind::Hello);
        if from_relay != (self.side == Side::Node) {
            return Err(EndpointError::Reflected);
        }
        if !self.window.accept(frame.header.sequence) {
            return Err(EndpointError::Replayed);
        }
        self.learn(received_at, &frame.header);
        Ok(frame)
    }

    fn learn(&mut self, received_at: Instant, header: &FrameHeader) {
        if self.newest.is_none_or(|(sequence, ..)| header.sequence > sequence) {
            self.newest = Some((header.sequence, header.timing.sent_at, received_at));
            if self.side == Side::Node {
                self.relay_epoch = Some(header.relay_epoch);
            }
        }
        let Some(echo) = header.timing.echo else { return };
        let since_sent = Duration::from_micros(u64::from(self.clock(received_at).wrapping_sub(echo.sent_at)));
        let Some(sample) = since_sent.checked_sub(echo.held).filter(|sample| *sample <= LONGEST_ROUND_TRIP)
        else {
            return;
        };
        self.round_trip = Some(self.round_trip.map_or(sample, |smoothed| (smoothed * 7 + sample) / 8));
    }

    fn clock(&self, now: Instant) -> u32 {
        let [.., a, b, c, d] = now.saturating_duration_since(self.origin).as_micros().to_be_bytes();
        u32::from_be_bytes([a, b, c, d])
    }
}
