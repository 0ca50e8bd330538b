//! The ends of a client's network path.

use std::fmt;
use std::net::SocketAddr;

/// How a client's packets reach the relay.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ClientTransport {
    /// One datagram, one packet.
    #[default]
    Udp,
    /// A TCP connection of the client's, plain or under TLS, whose packets are framed (RFC 4571). The relay unframes
    /// them; behind it they are datagrams like any other.
    Tcp,
}

/// Where a client's packets come from, as the relay sees it. The same IP address and port over UDP and over TCP may be
/// two clients behind one NAT.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClientAddress {
    /// IP address and port; an IPv4 address is never in mapped form.
    pub socket: SocketAddr,
    /// What the port is a port of.
    pub transport: ClientTransport,
}

impl ClientAddress {
    /// The address with an IPv4 address out of its mapped form, and without flow label and scope.
    #[must_use]
    pub const fn new(socket: SocketAddr, transport: ClientTransport) -> Self {
        Self { socket: SocketAddr::new(socket.ip().to_canonical(), socket.port()), transport }
    }

    /// A UDP address.
    #[must_use]
    pub const fn udp(socket: SocketAddr) -> Self {
        Self::new(socket, ClientTransport::Udp)
    }

    /// A TCP address.
    #[must_use]
    pub const fn tcp(socket: SocketAddr) -> Self {
        Self::new(socket, ClientTransport::Tcp)
    }
}

/// Shows no address: callers' addresses do not belong in logs.
impl fmt::Debug for ClientAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientAddress").field("transport", &self.transport).finish_non_exhaustive()
    }
}
