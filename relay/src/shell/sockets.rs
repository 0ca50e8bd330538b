//! Opening the sockets of every lane.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;

use nix::sys::socket::{setsockopt, sockopt};
use socket2::{Domain, Protocol, Socket, Type};

use crate::tunnel::Lane;

/// The receive buffer asked for; the kernel gives at most `net.core.rmem_max`.
const RECEIVE_BUFFER: usize = 4 << 20;

/// The sockets of one lane.
#[derive(Debug)]
pub(super) struct LaneSockets {
    /// Towards clients; all lanes share its address.
    pub(super) public: Socket,
    /// Towards nodes; every lane has an address of its own, so that a node's answer comes back to it.
    pub(super) tunnel: Socket,
}

impl LaneSockets {
    /// The same sockets once more.
    ///
    /// # Errors
    /// When the process has no descriptors left.
    pub(super) fn descriptors(&self) -> io::Result<[OwnedFd; 2]> {
        Ok([self.public.try_clone()?.into(), self.tunnel.try_clone()?.into()])
    }
}

/// Binds the sockets of `lanes` lanes. With a tunnel port given, each lane takes the next one.
///
/// # Errors
/// When an address cannot be bound, or a socket option is refused.
pub(super) fn open(listen: SocketAddr, tunnel: SocketAddr, lanes: u8) -> io::Result<Vec<LaneSockets>> {
    let publics = open_public(listen, lanes)?;
    let sockets = publics
        .into_iter()
        .zip(0..)
        .map(|(public, lane)| Ok(LaneSockets { public, tunnel: open_tunnel(tunnel, Lane(lane))? }));
    let sockets: Vec<LaneSockets> = sockets.collect::<io::Result<_>>()?;
    warn_of_small_buffers(&sockets)?;
    Ok(sockets)
}

/// The tunnel socket of one lane.
///
/// # Errors
/// As for [`open`].
pub(super) fn open_tunnel(first: SocketAddr, lane: Lane) -> io::Result<Socket> {
    let port = match first.port() {
        0 => Some(0),
        port => port.checked_add(u16::from(lane.0)),
    };
    let port = port.ok_or_else(|| io::Error::other("no tunnel port left for a lane"))?;
    bind(SocketAddr::new(first.ip(), port))
}

/// One socket for each lane at one address. The first is bound as if it were alone: were all opened for sharing from the
/// beginning, a second relay of the same user would silently take part of the first one's clients.
fn open_public(listen: SocketAddr, lanes: u8) -> io::Result<Vec<Socket>> {
    let first = bind(listen)?;
    let address = local_addr(&first)?;
    first.set_reuse_port(true)?;
    report_traffic_class(&first, address)?;
    let mut sockets = vec![first];
    for _ in 1..lanes {
        let socket = prepare(address)?;
        socket.set_reuse_port(true)?;
        report_traffic_class(&socket, address)?;
        socket.bind(&address.into())?;
        sockets.push(socket);
    }
    Ok(sockets)
}

fn bind(address: SocketAddr) -> io::Result<Socket> {
    let socket = prepare(address)?;
    socket.bind(&address.into())?;
    Ok(socket)
}

/// An unbound socket that tells with every datagram when it came and how many were lost before it.
fn prepare(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_nonblocking(true)?;
    socket.set_recv_buffer_size(RECEIVE_BUFFER)?;
    setsockopt(&socket, sockopt::ReceiveTimestampns, &true)?;
    setsockopt(&socket, sockopt::RxqOvfl, &1)?;
    if address.is_ipv6() {
        socket.set_only_v6(false)?;
    }
    Ok(socket)
}

/// Has the kernel tell the traffic class of every client's datagram. Towards the nodes it stands in the frame.
fn report_traffic_class(socket: &Socket, address: SocketAddr) -> io::Result<()> {
    socket.set_recv_tos_v4(true)?;
    if address.is_ipv6() {
        socket.set_recv_tclass_v6(true)?;
    }
    Ok(())
}

fn warn_of_small_buffers(sockets: &[LaneSockets]) -> io::Result<()> {
    let Some(first) = sockets.first() else { return Ok(()) };
    let granted = first.public.recv_buffer_size()?;
    // The kernel reports twice what it grants, for its own bookkeeping (socket(7)).
    if granted / 2 < RECEIVE_BUFFER {
        let bytes = granted / 2;
        tracing::warn!(bytes, "the kernel granted a smaller receive buffer; see net.core.rmem_max");
    }
    Ok(())
}

/// The address a socket is bound to.
///
/// # Errors
/// When the socket is not an IP socket.
pub(super) fn local_addr(socket: &Socket) -> io::Result<SocketAddr> {
    socket.local_addr()?.as_socket().ok_or_else(|| io::Error::other("the socket has no IP address"))
}

/// Whether a socket at `bound` is what a configuration asks for with `wanted`.
pub(super) fn serves(bound: SocketAddr, wanted: SocketAddr) -> bool {
    bound.ip() == wanted.ip() && (wanted.port() == 0 || bound.port() == wanted.port())
}

/// Every address datagrams of these sockets can come from: a wildcard stands for all addresses of this host.
///
/// # Errors
/// When the host does not tell its addresses.
pub(super) fn own_addresses(bound: impl IntoIterator<Item = SocketAddr>) -> io::Result<Vec<SocketAddr>> {
    let mut own = Vec::new();
    let mut of_host: Option<Vec<IpAddr>> = None;
    for address in bound {
        own.push(address);
        if address.ip().is_unspecified() {
            let of_host = match &of_host {
                Some(known) => known,
                None => of_host.insert(host_addresses()?),
            };
            own.extend(of_host.iter().map(|ip| SocketAddr::new(*ip, address.port())));
        }
    }
    Ok(own)
}

fn host_addresses() -> io::Result<Vec<IpAddr>> {
    let ip_of = |interface: nix::ifaddrs::InterfaceAddress| {
        let address = interface.address?;
        let v4 = address.as_sockaddr_in().map(|name| IpAddr::V4(name.ip()));
        v4.or_else(|| address.as_sockaddr_in6().map(|name| IpAddr::V6(name.ip())))
    };
    Ok(nix::ifaddrs::getifaddrs()?.filter_map(ip_of).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lanes_share_the_public_address_and_have_tunnel_addresses_of_their_own() {
        let any = "127.0.0.1:0".parse().unwrap();
        let lanes = open(any, any, 3).unwrap();
        let publics: Vec<SocketAddr> = lanes.iter().map(|lane| local_addr(&lane.public).unwrap()).collect();
        assert_eq!(publics, [publics[0]; 3]);
        let mut tunnels: Vec<SocketAddr> =
            lanes.iter().map(|lane| local_addr(&lane.tunnel).unwrap()).collect();
        tunnels.sort();
        tunnels.dedup();
        assert_eq!(tunnels.len(), 3);
    }

    #[test]
    fn a_second_relay_cannot_join_the_sockets_of_the_first() {
        let any = "127.0.0.1:0".parse().unwrap();
        let first = open(any, any, 2).unwrap();
        let taken = local_addr(&first[0].public).unwrap();
        assert_eq!(open(taken, any, 2).map(|_| ()).unwrap_err().kind(), io::ErrorKind::AddrInUse);
    }

    #[test]
    fn a_wildcard_stands_for_every_address_of_the_host() {
        let wildcard: SocketAddr = "[::]:4000".parse().unwrap();
        let own = own_addresses([wildcard]).unwrap();
        assert!(own.contains(&wildcard));
        assert!(own.contains(&"127.0.0.1:4000".parse().unwrap()));
    }
}
