//! The generator's sockets: one for all clients, one for what stands behind a relay.

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, UdpSocket};
use std::rc::Rc;

use anyhow::{Context as _, bail};
use socket2::{Domain, Protocol, Socket, Type};

/// The receive buffer asked for.
const RECEIVE_BUFFER: usize = 4 << 20;
/// Where the node or the peers listen.
const BEHIND: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);

/// The two sockets. All clients share one: each has an address of its own in 127.128.0.0/9, which the kernel treats as the
/// machine's, and the same port.
#[derive(Clone, Debug)]
pub struct Sockets {
    /// The clients'.
    pub clients: Rc<UdpSocket>,
    /// The node's or the peers'.
    pub behind: Rc<UdpSocket>,
    client_port: u16,
}

impl Sockets {
    /// Binds both.
    ///
    /// # Errors
    /// They cannot be bound.
    pub fn new() -> anyhow::Result<Self> {
        let clients = bind(SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0))?;
        let behind = bind(SocketAddrV4::new(BEHIND, 0))?;
        let client_port = v4(&clients)?.port();
        Ok(Self { clients: Rc::new(clients), behind: Rc::new(behind), client_port })
    }

    /// The address of a client.
    #[must_use]
    pub fn client(&self, number: u32) -> SocketAddrV4 {
        let first = u32::from(Ipv4Addr::new(127, 128, 0, 1));
        SocketAddrV4::new(Ipv4Addr::from(first + number), self.client_port)
    }

    /// The address of the node or the peers.
    ///
    /// # Errors
    /// The socket has none.
    pub fn behind_address(&self) -> anyhow::Result<SocketAddrV4> {
        v4(&self.behind)
    }
}

/// Binds a socket that never blocks.
///
/// # Errors
/// The address cannot be bound.
pub fn bind(address: SocketAddrV4) -> anyhow::Result<UdpSocket> {
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_recv_buffer_size(RECEIVE_BUFFER)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into()).with_context(|| format!("cannot bind {address}"))?;
    Ok(socket.into())
}

/// The address of a socket.
///
/// # Errors
/// It has no IPv4 address.
pub fn v4(socket: &UdpSocket) -> anyhow::Result<SocketAddrV4> {
    match socket.local_addr()? {
        SocketAddr::V4(address) => Ok(address),
        SocketAddr::V6(_) => bail!("not an IPv4 socket"),
    }
}
