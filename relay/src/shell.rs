//! The thread and the sockets around a [`Relay`].
//!
//! One named thread owns two UDP sockets, receives and sends in batches, and does nothing that waits for anything else.
//! The relay inside holds all state, so that several such threads can share a port later.

use std::fmt;
use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

use socket2::{Domain, Protocol, Socket as RawSocket, Type};
use voxgate_protocol::id::{NodeIndex, RelayId};

use crate::core::{NodeEntry, Relay, RelaySettings, RelayStats};
use crate::flow::FlowLimits;
use crate::ufrag::KeyRing;

mod batch;
#[cfg(test)]
mod tests;
mod worker;

use worker::Worker;

/// The receive buffer asked for; the kernel gives at most `net.core.rmem_max`.
const RECEIVE_BUFFER: usize = 4 << 20;

/// What to run a relay with.
#[derive(Clone, Debug)]
pub struct RelayConfig {
    /// The public UDP address; an IPv6 wildcard also serves IPv4.
    pub listen: SocketAddr,
    /// The UDP address towards the nodes, of the family of their addresses. Port 0 takes any.
    pub tunnel: SocketAddr,
    /// The relay's identity in tunnel frames.
    pub relay_id: RelayId,
    /// The keys of its group.
    pub key_ring: KeyRing,
    /// The allow-list of nodes.
    pub nodes: Vec<(NodeIndex, NodeEntry)>,
    /// Bounds of the flow table.
    pub limits: FlowLimits,
}

/// A running relay. Dropping the handle stops it.
pub struct RelayHandle {
    local_addr: SocketAddr,
    tunnel_addr: SocketAddr,
    stats: Arc<Mutex<RelayStats>>,
    stop: UnixStream,
    thread: Option<JoinHandle<()>>,
}

impl RelayHandle {
    /// The public address, with the port the kernel chose.
    #[must_use]
    pub const fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// The address of the tunnel socket, with the port the kernel chose.
    #[must_use]
    pub const fn tunnel_addr(&self) -> SocketAddr {
        self.tunnel_addr
    }

    /// What the relay has counted up to its last round.
    #[must_use]
    pub fn stats(&self) -> RelayStats {
        *self.stats.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Stops the relay and waits for its thread.
    pub fn shutdown(mut self) {
        self.stop();
    }

    fn stop(&mut self) {
        // A thread that is gone already has closed its end.
        let _ = self.stop.write_all(&[1]);
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the relay thread ended in a panic");
        }
    }
}

impl Drop for RelayHandle {
    fn drop(&mut self) {
        self.stop();
    }
}

impl fmt::Debug for RelayHandle {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("RelayHandle").field("local_addr", &self.local_addr).finish_non_exhaustive()
    }
}

/// Binds the sockets and starts the thread.
///
/// # Errors
/// When an address cannot be bound, a socket option is refused, the system has no randomness, or no thread can start.
pub fn spawn(config: RelayConfig) -> io::Result<RelayHandle> {
    let public = bind(config.listen)?;
    let tunnel = bind(config.tunnel)?;
    let (local_addr, tunnel_addr) = (bound_addr(&public)?, bound_addr(&tunnel)?);
    let (stop, stopped) = UnixStream::pair()?;
    stopped.set_nonblocking(true)?;
    let mut seed = [0; 16];
    getrandom::fill(&mut seed).map_err(io::Error::other)?;
    let relay = Relay::new(RelaySettings {
        relay: config.relay_id,
        key_ring: config.key_ring,
        nodes: config.nodes,
        limits: config.limits,
        own_addresses: vec![local_addr, tunnel_addr],
        hash_seed: u128::from_ne_bytes(seed),
        started: Instant::now(),
        started_unix: SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO),
    });
    let stats = Arc::new(Mutex::new(RelayStats::default()));
    let worker = Worker::new(relay, public, tunnel, stopped, Arc::clone(&stats));
    let name = format!("relay-{}", config.relay_id.0);
    let thread = std::thread::Builder::new().name(name).spawn(move || worker.run())?;
    tracing::info!(relay = config.relay_id.0, port = local_addr.port(), "relay started");
    Ok(RelayHandle { local_addr, tunnel_addr, stats, stop, thread: Some(thread) })
}

fn bind(address: SocketAddr) -> io::Result<RawSocket> {
    let socket = RawSocket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    if address.is_ipv6() {
        socket.set_only_v6(false)?;
    }
    socket.set_nonblocking(true)?;
    socket.set_recv_buffer_size(RECEIVE_BUFFER)?;
    let granted = socket.recv_buffer_size()?;
    // The kernel reports twice what it grants, for its own bookkeeping (socket(7)).
    if granted / 2 < RECEIVE_BUFFER {
        tracing::warn!(
            bytes = granted / 2,
            "the kernel granted a smaller receive buffer; see net.core.rmem_max"
        );
    }
    batch::report_arrival(&socket)?;
    socket.bind(&address.into())?;
    Ok(socket)
}

fn bound_addr(socket: &RawSocket) -> io::Result<SocketAddr> {
    socket.local_addr()?.as_socket().ok_or_else(|| io::Error::other("the socket has no IP address"))
}
