//! The words between a call's transport and the loop that owns it.

use std::fmt;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use voxgate_protocol::path::{ClientAddress, ClientTransport};

/// A way between the caller and this server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Path {
    /// The public relay address the datagram came through: that of the UDP or of the TCP candidate.
    pub relay: SocketAddr,
    /// The caller's address as the relay sees it.
    pub client: ClientAddress,
}

/// A public address of a relay, offered to the caller as an ICE candidate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RelayCandidate {
    /// Where the relay listens.
    pub address: SocketAddr,
    /// What it listens with. A TCP candidate is passive (RFC 6544): the caller connects.
    pub transport: ClientTransport,
}

impl RelayCandidate {
    /// A UDP port of a relay.
    #[must_use]
    pub const fn udp(address: SocketAddr) -> Self {
        Self { address, transport: ClientTransport::Udp }
    }

    /// A TCP port of a relay, for callers whose network lets no UDP through.
    #[must_use]
    pub const fn tcp(address: SocketAddr) -> Self {
        Self { address, transport: ClientTransport::Tcp }
    }
}

/// Names a data channel within its call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ChannelId(pub(super) usize);

/// One RTP packet of the caller, authenticated, in order of arrival.
#[derive(Clone, PartialEq, Eq)]
pub struct AudioPacket {
    /// RTP sequence number.
    pub sequence: u16,
    /// RTP timestamp, 48 kHz clock.
    pub timestamp: u32,
    /// Start of a talk spurt (RFC 7587 section 4.2).
    pub marker: bool,
    /// One Opus packet.
    pub payload: Bytes,
    /// When the datagram came.
    pub arrived: Instant,
    /// When its first sample was captured, since 1970 by the caller's clock, if the packet says so (`abs-capture-time`).
    pub captured: Option<Duration>,
    /// RTP payload type; always the negotiated one.
    pub payload_type: u8,
}

/// One Opus packet for the caller.
#[derive(Clone, PartialEq, Eq)]
pub struct AudioFrame {
    /// One Opus packet.
    pub payload: Bytes,
    /// RTP timestamp, 48 kHz clock, chosen by whoever plays.
    pub timestamp: u32,
    /// Start of a talk spurt.
    pub marker: bool,
}

/// What the loop has to do or should know, in order.
#[derive(Clone, PartialEq, Eq)]
pub enum Output {
    /// Send `datagram` on `path`.
    Transmit {
        /// Which relay sends to which client address.
        path: Path,
        /// UDP payload.
        datagram: Bytes,
    },
    /// A check on this path passed MESSAGE-INTEGRITY for the first time.
    PathValidated(Path),
    /// The path is no longer checked, had to make room, or its relay stops and the call has moved; its datagrams, checks
    /// aside, are ignored until it is validated again.
    PathReleased(Path),
    /// The DTLS handshake is complete; audio may flow.
    Connected,
    /// Audio of the caller.
    Audio(AudioPacket),
    /// The caller opened a data channel.
    ChannelOpened {
        /// The channel.
        channel: ChannelId,
        /// Its label.
        label: String,
    },
    /// The data channel is gone.
    ChannelClosed {
        /// The channel.
        channel: ChannelId,
    },
    /// A text message of the caller. Binary messages are dropped.
    Text {
        /// The channel it came on.
        channel: ChannelId,
        /// The message.
        text: String,
    },
    /// The last output of the call; all its paths are released with it.
    Closed(CloseReason),
}

// What callers say is no debug output: the following show how much there is and not what.

impl fmt::Debug for AudioPacket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AudioPacket")
            .field("sequence", &self.sequence)
            .field("timestamp", &self.timestamp)
            .field("bytes", &self.payload.len())
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for AudioFrame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AudioFrame")
            .field("timestamp", &self.timestamp)
            .field("bytes", &self.payload.len())
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Transmit { path, datagram } => f
                .debug_struct("Transmit")
                .field("path", path)
                .field("bytes", &datagram.len())
                .finish_non_exhaustive(),
            Self::PathValidated(path) => f.debug_tuple("PathValidated").field(path).finish(),
            Self::PathReleased(path) => f.debug_tuple("PathReleased").field(path).finish(),
            Self::Connected => f.write_str("Connected"),
            Self::Audio(packet) => f.debug_tuple("Audio").field(packet).finish(),
            Self::ChannelOpened { channel, .. } => {
                f.debug_struct("ChannelOpened").field("channel", channel).finish_non_exhaustive()
            }
            Self::ChannelClosed { channel } => {
                f.debug_struct("ChannelClosed").field("channel", channel).finish()
            }
            Self::Text { channel, text } => f
                .debug_struct("Text")
                .field("channel", channel)
                .field("bytes", &text.len())
                .finish_non_exhaustive(),
            Self::Closed(reason) => f.debug_tuple("Closed").field(reason).finish(),
        }
    }
}

/// Why a call's transport ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CloseReason {
    /// The caller ended the DTLS association.
    RemoteClosed,
    /// Nothing authentic came for the silence timeout.
    ClientLost,
    /// The handshake was not finished within the setup timeout.
    SetupTimeout,
    /// [`super::Transport::close`] was called.
    Local,
}

/// Why a text was not sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// The call is over or not connected.
    #[error("The call is not connected.")]
    NotConnected,
    /// The channel is not open.
    #[error("The data channel is not open.")]
    NoChannel,
    /// The text is longer than the caller takes (RFC 8841 section 6).
    #[error("The message has {bytes} bytes; the caller takes {limit}.")]
    TooLarge {
        /// Length of the text in bytes.
        bytes: usize,
        /// Largest message in bytes.
        limit: usize,
    },
    /// The caller does not keep up.
    #[error("The caller has not acknowledged the messages before.")]
    Backlog,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_output_holds_nothing_a_caller_said() {
        let payload = Bytes::from_static(b"secret");
        let client = ClientAddress::udp(([203, 0, 113, 9], 1).into());
        let path = Path { relay: ([198, 51, 100, 1], 3478).into(), client };
        let arrived = Instant::now();
        let packet = AudioPacket {
            sequence: 1,
            timestamp: 2,
            marker: true,
            payload: payload.clone(),
            arrived,
            captured: None,
            payload_type: 3,
        };
        let channel = ChannelId(0);
        let outputs = [
            Output::Transmit { path, datagram: payload },
            Output::Audio(packet),
            Output::ChannelOpened { channel, label: "secret".to_owned() },
            Output::Text { channel, text: "secret".to_owned() },
        ];
        let shown = format!("{outputs:?}");
        assert!(!shown.contains("secret") && !shown.contains("115") && !shown.contains("203.0"), "{shown}");
    }
}
