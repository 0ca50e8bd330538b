//! Frames between relay and transceiver, for both ends.
//!
//! A client datagram crosses the private network whole, wrapped in a frame that preserves the client's address, so the
//! relay never replaces addresses and needs no state to answer. All integers are big-endian:
//!
//! | offset | bytes | field |
//! |---|---|---|
//! | 0 | 1 | version (high four bits) and [`Kind`] |
//! | 1 | 1 | flags: bit 0 *confirmed*, bit 1 *stream*, bit 2 *draining* |
//! | 2 | 1 | id of the [`TunnelKey`] |
//! | 3 | 1 | [`Lane`] |
//! | 4 | 4 | relay id |
//! | 8 | 4 | node index |
//! | 12 | 4 | relay epoch: which life of the relay the frame belongs to |
//! | 16 | 4 | session tag |
//! | 20 | 16 | client address, IPv4 mapped into IPv6 |
//! | 36 | 2 | client port; address and port zero when the frame concerns no client |
//! | 38 | 1 | traffic class of the client's datagram (DSCP and ECN, RFC 2474 and 3168) |
//! | 39 | 1 | zero |
//! | 40 | 8 | sequence |
//! | 48 | 4 | sender's clock when sending, microseconds, wrapping |
//! | 52 | 4 | echo: the newest such clock received from the other side |
//! | 56 | 4 | microseconds the echo was held; all ones when there is none |
//! | 60 | 4 | microseconds the datagram stayed with the sender before; of a hello, how long datagrams for clients stayed with the relay lately |
//! | 64 | n | the client's datagram |
//! | 64+n | 16 | SipHash-2-4 of everything before, with 128 bits of output |
//!
//! Frames are authentic, not secret: their payload is STUN, DTLS or SRTP and travels over the public network too.
//!
//! The tag must be a pseudo-random function of the frame under a 128-bit key, so that a forgery without the key succeeds
//! with a probability of 2^-128 per attempt, and must not depend on a nonce, because sequences start from a wall clock that
//! may step back. SipHash-2-4 (Aumasson and Bernstein, 2012) was made for exactly that; it takes half the time of
//! HMAC-SHA256 with SHA instructions at the size of a voice packet and needs no special instructions. Its key is derived from
//! the 32-byte secret with SHA-256, tags are compared in constant time. `docs/decisions/008-relay-fast-path.md` has the
//! figures.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use sha2::{Digest as _, Sha256};
use siphasher::sip128::SipHasher24;
use subtle::ConstantTimeEq as _;
use thiserror::Error;
use voxgate_protocol::id::{NodeIndex, RelayId};
use voxgate_protocol::path::{ClientAddress, ClientTransport};

mod bundle;
mod endpoint;
mod passage;
mod replay;
#[cfg(test)]
mod tests;

pub use bundle::{LENGTH_BYTES, MAX_BUNDLE, frames};
pub use endpoint::{Endpoint, EndpointError, Outgoing, Side};
pub use passage::Passage;
pub use replay::{ReplayWindow, Sequence};

/// Bytes a frame has before its payload.
pub const HEADER_LENGTH: usize = 64;
/// Bytes a frame has behind its payload.
pub const TAG_LENGTH: usize = 16;
/// The largest payload of a frame in bytes: a full Ethernet datagram.
pub const MAX_PAYLOAD: usize = 1500;
/// The largest frame in bytes.
pub const MAX_FRAME: usize = HEADER_LENGTH + MAX_PAYLOAD + TAG_LENGTH;

const VERSION: u8 = 2;
/// Says what the tunnel's MAC key is derived for.
const LABEL: &[u8] = b"voxgate-tunnel-siphash-2-4-128";
const FLAG_CONFIRMED: u8 = 1;
const FLAG_STREAM: u8 = 2;
const FLAG_DRAINING: u8 = 4;
const NO_ECHO: u32 = u32::MAX;

/// One thread of a relay. Each lane has a tunnel socket, a sequence and a replay window of its own, so that threads share
/// nothing on the packet path.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Lane(pub u8);

/// Lanes a relay may have.
pub const MOST_LANES: u8 = 64;

/// Why bytes are not a frame.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum TunnelError {
    /// Shorter than a header and a tag.
    #[error("the frame is too short")]
    Short,
    /// A payload above [`MAX_PAYLOAD`].
    #[error("the payload is too long")]
    Long,
    /// Another version, an unknown kind or flag, or a reserved byte that is not zero.
    #[error("not a frame of this version")]
    Format,
    /// The frame names another key.
    #[error("the frame names another key")]
    WrongKey,
    /// The tag does not match.
    #[error("the frame is not authentic")]
    Forged,
}

/// What a frame is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Relay to node: a client's datagram.
    Up,
    /// Node to relay: a datagram for a client. `confirmed` says that the node has validated the address for the
    /// session, which teaches the relay the flow as [`Kind::Confirm`] does.
    Down {
        /// Whether the client's address is validated.
        confirmed: bool,
    },
    /// Node to relay: the client's address is validated for the session.
    Confirm,
    /// Node to relay: the session no longer uses the client's address.
    Release,
    /// Relay to node: the relay lives, under the epoch of the header.
    Hello {
        /// Whether it is about to stop: no new call should be given to it, and those it carries should move.
        draining: bool,
    },
    /// Node to relay: the answer to a hello, and, with a client address, the confirmation of that flow once more.
    Refresh,
}

impl Kind {
    const fn code(self) -> u8 {
        match self {
            Self::Up => 1,
            Self::Down { .. } => 2,
            Self::Confirm => 3,
            Self::Release => 4,
            Self::Hello { .. } => 5,
            Self::Refresh => 6,
        }
    }

    const fn from_wire(code: u8, flags: u8) -> Option<Self> {
        Some(match (code, flags) {
            (1, 0) => Self::Up,
            (2, 0) => Self::Down { confirmed: false },
            (2, FLAG_CONFIRMED) => Self::Down { confirmed: true },
            (3, 0) => Self::Confirm,
            (4, 0) => Self::Release,
            (5, 0) => Self::Hello { draining: false },
            (5, FLAG_DRAINING) => Self::Hello { draining: true },
            (6, 0) => Self::Refresh,
            _ => return None,
        })
    }
}

/// A timestamp of the other side, sent back to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Echo {
    /// The other side's [`Timing::sent_at`], microseconds on its clock, wrapping.
    pub sent_at: u32,
    /// How long ago it arrived, below 71 minutes, in whole microseconds.
    pub held: Duration,
}

/// What a frame says about time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Timing {
    /// The sender's clock when sending: microseconds from an origin of its choice, wrapping after 71 minutes.
    pub sent_at: u32,
    /// The newest timestamp received from the other side.
    pub echo: Option<Echo>,
    /// How long the datagram stayed with the sender before, in whole microseconds.
    pub residence: Duration,
}

/// Everything of a frame but payload and tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameHeader {
    /// What the frame is for.
    pub kind: Kind,
    /// The relay at one end.
    pub relay: RelayId,
    /// The transceiver at the other end.
    pub node: NodeIndex,
    /// The thread of the relay the frame comes from or goes to.
    pub lane: Lane,
    /// The life of the relay this frame belongs to; a node repeats the newest it has heard.
    pub relay_epoch: u32,
    /// The session: `Route::random` of its ufrag. Zero where no session is meant.
    pub session: u32,
    /// The client, `None` where no client is meant.
    pub client: Option<ClientAddress>,
    /// The IPv4 type of service or IPv6 traffic class of the client's datagram: as it came, or as it is to leave.
    pub traffic_class: u8,
    /// The sender's count; see [`Sequence`].
    pub sequence: u64,
    /// What the sender measured.
    pub timing: Timing,
}

/// A decoded, authentic frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    /// The header.
    pub header: FrameHeader,
    /// The client's datagram; empty where the kind has none.
    pub payload: &'a [u8],
}

/// A key for the frames between one relay and one node, in both directions.
#[derive(Clone)]
pub struct TunnelKey {
    id: u8,
    mac: SipHasher24,
}

impl TunnelKey {
    /// A key by its id and secret.
    #[must_use]
    pub fn new(id: u8, secret: [u8; 32]) -> Self {
        let digest: [u8; 32] = Sha256::new().chain_update(LABEL).chain_update(secret).finalize().into();
        let mut key = [0; 16];
        key.copy_from_slice(&digest[..16]);
        Self { id, mac: SipHasher24::new_with_key(&key) }
    }

    /// The id frames name this key by.
    #[must_use]
    pub const fn id(&self) -> u8 {
        self.id
    }

    /// Whether both have the same id and secret. Keys of one process are compared, so it need not be in constant time.
    fn is_same_as(&self, other: &Self) -> bool {
        self.id == other.id && self.tag(b"") == other.tag(b"")
    }

    fn tag(&self, bytes: &[u8]) -> [u8; TAG_LENGTH] {
        self.mac.hash(bytes).as_bytes()
    }
}

impl fmt::Debug for TunnelKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("TunnelKey").field("id", &self.id).finish_non_exhaustive()
    }
}

/// Which pair of ends and which key a frame claims; nothing of it is verified.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claim {
    /// The relay the frame names.
    pub relay: RelayId,
    /// The node the frame names.
    pub node: NodeIndex,
    /// The lane the frame names, below [`MOST_LANES`].
    pub lane: Lane,
    /// The key the frame names.
    pub key: u8,
}

/// Reads what a frame claims to be, to find the key to verify it with.
///
/// # Errors
/// [`TunnelError::Short`], [`TunnelError::Long`] or [`TunnelError::Format`].
pub fn claim(bytes: &[u8]) -> Result<Claim, TunnelError> {
    if bytes.len() > MAX_FRAME {
        return Err(TunnelError::Long);
    }
    let (head, _) = split(bytes)?;
    if head[0] >> 4 != VERSION || head[3] >= MOST_LANES {
        return Err(TunnelError::Format);
    }
    let (relay, node) = (RelayId(u32_at(head, 4)), NodeIndex(u32_at(head, 8)));
    Ok(Claim { relay, node, lane: Lane(head[3]), key: head[2] })
}

/// Appends a frame to `out`.
///
/// # Errors
/// [`TunnelError::Long`] for a payload above [`MAX_PAYLOAD`]; `out` is unchanged then.
pub fn encode(
    out: &mut Vec<u8>,
    key: &TunnelKey,
    header: &FrameHeader,
    payload: &[u8],
) -> Result<(), TunnelError> {
    if payload.len() > MAX_PAYLOAD {
        return Err(TunnelError::Long);
    }
    let start = out.len();
    out.reserve(HEADER_LENGTH + payload.len() + TAG_LENGTH);
    out.extend_from_slice(&header_bytes(header, key.id));
    out.extend_from_slice(payload);
    let tag = key.tag(&out[start..]);
    out.extend_from_slice(&tag);
    Ok(())
}

/// Verifies and reads a frame. The tag is compared in constant time.
///
/// # Errors
/// Any [`TunnelError`]; the content of a frame that is not authentic is never looked at.
pub fn decode<'a>(key: &TunnelKey, bytes: &'a [u8]) -> Result<Frame<'a>, TunnelError> {
    if claim(bytes)?.key != key.id {
        return Err(TunnelError::WrongKey);
    }
    let (head, rest) = split(bytes)?;
    let (signed, tag) = bytes.split_at(bytes.len() - TAG_LENGTH);
    if !bool::from(key.tag(signed).as_slice().ct_eq(tag)) {
        return Err(TunnelError::Forged);
    }
    let payload = &rest[..rest.len() - TAG_LENGTH];
    Ok(Frame { header: read_header(head)?, payload })
}

fn split(bytes: &[u8]) -> Result<(&[u8; HEADER_LENGTH], &[u8]), TunnelError> {
    bytes
        .split_first_chunk::<HEADER_LENGTH>()
        .filter(|(_, rest)| rest.len() >= TAG_LENGTH)
        .ok_or(TunnelError::Short)
}

fn header_bytes(header: &FrameHeader, key_id: u8) -> [u8; HEADER_LENGTH] {
    let mut bytes = [0; HEADER_LENGTH];
    bytes[0] = (VERSION << 4) | header.kind.code();
    bytes[1] = flags(header);
    bytes[2] = key_id;
    bytes[3] = header.lane.0;
    bytes[4..8].copy_from_slice(&header.relay.0.to_be_bytes());
    bytes[8..12].copy_from_slice(&header.node.0.to_be_bytes());
    bytes[12..16].copy_from_slice(&header.relay_epoch.to_be_bytes());
    bytes[16..20].copy_from_slice(&header.session.to_be_bytes());
    if let Some(client) = header.client {
        let ip = match client.socket.ip() {
            IpAddr::V4(ip) => ip.to_ipv6_mapped(),
            IpAddr::V6(ip) => ip,
        };
        bytes[20..36].copy_from_slice(&ip.octets());
        bytes[36..38].copy_from_slice(&client.socket.port().to_be_bytes());
    }
    bytes[38] = header.traffic_class;
    bytes[40..48].copy_from_slice(&header.sequence.to_be_bytes());
    let (echo, held) = match header.timing.echo {
        Some(echo) => (echo.sent_at, micros(echo.held).min(NO_ECHO - 1)),
        None => (0, NO_ECHO),
    };
    bytes[48..52].copy_from_slice(&header.timing.sent_at.to_be_bytes());
    bytes[52..56].copy_from_slice(&echo.to_be_bytes());
    bytes[56..60].copy_from_slice(&held.to_be_bytes());
    bytes[60..64].copy_from_slice(&micros(header.timing.residence).to_be_bytes());
    bytes
}

const fn flags(header: &FrameHeader) -> u8 {
    let stream = match header.client {
        Some(ClientAddress { transport: ClientTransport::Tcp, .. }) => FLAG_STREAM,
        _ => 0,
    };
    stream
        | match header.kind {
            Kind::Down { confirmed: true } => FLAG_CONFIRMED,
            Kind::Hello { draining: true } => FLAG_DRAINING,
            _ => 0,
        }
}

fn read_header(bytes: &[u8; HEADER_LENGTH]) -> Result<FrameHeader, TunnelError> {
    let kind = Kind::from_wire(bytes[0] & 15, bytes[1] & !FLAG_STREAM).ok_or(TunnelError::Format)?;
    let transport = if bytes[1] & FLAG_STREAM == 0 { ClientTransport::Udp } else { ClientTransport::Tcp };
    let client = read_client(bytes, transport);
    if bytes[39] != 0 || (transport == ClientTransport::Tcp && client.is_none()) {
        return Err(TunnelError::Format);
    }
    let held = u32_at(bytes, 56);
    let echo = (held != NO_ECHO)
        .then(|| Echo { sent_at: u32_at(bytes, 52), held: Duration::from_micros(u64::from(held)) });
    Ok(FrameHeader {
        kind,
        relay: RelayId(u32_at(bytes, 4)),
        node: NodeIndex(u32_at(bytes, 8)),
        lane: Lane(bytes[3]),
        relay_epoch: u32_at(bytes, 12),
        session: u32_at(bytes, 16),
        client,
        traffic_class: bytes[38],
        sequence: (u64::from(u32_at(bytes, 40)) << 32) | u64::from(u32_at(bytes, 44)),
        timing: Timing {
            sent_at: u32_at(bytes, 48),
            echo,
            residence: Duration::from_micros(u64::from(u32_at(bytes, 60))),
        },
    })
}

fn read_client(bytes: &[u8; HEADER_LENGTH], transport: ClientTransport) -> Option<ClientAddress> {
    let mut octets = [0; 16];
    octets.copy_from_slice(&bytes[20..36]);
    let port = u16::from_be_bytes([bytes[36], bytes[37]]);
    let ip = Ipv6Addr::from(octets);
    (!ip.is_unspecified() || port != 0)
        .then(|| ClientAddress::new(SocketAddr::new(ip.into(), port), transport))
}

/// Reads an integer at a constant offset of a header; every caller's offset lies inside.
fn u32_at(bytes: &[u8; HEADER_LENGTH], offset: usize) -> u32 {
    u32::from_be_bytes([bytes[offset], bytes[offset + 1], bytes[offset + 2], bytes[offset + 3]])
}

fn micros(duration: Duration) -> u32 {
    u32::try_from(duration.as_micros()).unwrap_or(u32::MAX)
}
