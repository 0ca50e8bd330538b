//! The words between a call's transport and the loop that owns it.

use std::net::SocketAddr;
use std::time::Instant;

use bytes::Bytes;

/// A way between the caller and this server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Path {
    /// The public relay address the datagram came through.
    pub relay: SocketAddr,
    /// The caller's address as the relay sees it.
    pub client: SocketAddr,
}

/// Names a data channel within its call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ChannelId(pub(super) usize);

/// One RTP packet of the caller, authenticated, in order of arrival.
#[derive(Debug, Clone, PartialEq, Eq)]
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
    /// RTP payload type; always the negotiated one.
    pub payload_type: u8,
}

/// One Opus packet for the caller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AudioFrame {
    /// One Opus packet.
    pub payload: Bytes,
    /// RTP timestamp, 48 kHz clock, chosen by whoever plays.
    pub timestamp: u32,
    /// Start of a talk spurt.
    pub marker: bool,
}

/// What the loop has to do or should know, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
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
    /// The path is no longer checked, or had to make room; its datagrams are ignored until it is validated again.
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
