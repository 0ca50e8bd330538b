//! Callers behind networks without UDP: one TCP port for ICE over TCP (RFC 6544), plain or inside TLS.
//!
//! A connection carries what a UDP client's datagrams would, each behind its length ([`voxgate_protocol::framing`]). The
//! first byte tells TLS from plain: no frame begins like a TLS record, its length would be too large. Nothing goes
//! anywhere before a STUN binding request with a ufrag that opens; whoever sends none within the deadline, or one that does
//! not, is disconnected, so that the port offers nothing to scanners. Behind that, a connection is a [`crate::core::RelayLane`]'s client like any
//! other, and nothing else of the relay knows of streams.
//!
//! Sound must not lag behind on a stalled connection: what waited longer than [`StreamLimits::queue_wait`] is dropped
//! when the connection moves again, what exceeds [`StreamLimits::queue_bytes`] at once, and the kernel is kept from
//! hoarding unsent bytes of its own.
//!
//! One thread serves all connections: it is a fallback for few, and each frame costs a system call more than a
//! datagram's share of a batch.

use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use rustls::ServerConfig;
use tokio::sync::watch;

use crate::core::{Relay, RelayLane, RelayStats};
use crate::tunnel::Lane;

mod admission;
mod connection;
mod lane;
mod queue;
mod socket;
mod stats;
#[cfg(test)]
mod tests;

use lane::StreamLane;
pub use socket::bind;
pub use stats::StreamStats;

/// Where and how streams are served.
#[derive(Clone, Debug)]
pub struct StreamConfig {
    /// The TCP address; an IPv6 wildcard also serves IPv4. Networks without UDP mostly let 443 pass.
    pub listen: SocketAddr,
    /// Certificate and key for callers that come with TLS; without it they are disconnected.
    pub tls: Option<Arc<ServerConfig>>,
    /// Bounds.
    pub limits: StreamLimits,
}

/// Bounds of the stream port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamLimits {
    /// Connections at once. Default 4096.
    pub connections: usize,
    /// Connections at once that have not shown a valid ufrag yet. Default 1024: a flood of them leaves room for
    /// callers who have.
    pub unproven: usize,
    /// Of these, from one IPv4 address or one IPv6 /64. Default 16: callers prove themselves within a round trip or two, so
    /// few of an office are at it in the same moment, and it takes many addresses to keep the others out.
    pub unproven_per_source: usize,
    /// Connections at once from one IPv4 address or one IPv6 /64. Default 256: an office behind one address.
    pub per_source: usize,
    /// Time from the connection to its binding request, TLS handshake included. Default 5 s.
    pub first_request: Duration,
    /// Time without a frame for a session after which a connection is closed. Default 30 s, as for a UDP flow; a living
    /// ICE agent checks its consent every five seconds (RFC 7675, section 5.1).
    pub idle: Duration,
    /// Longest wait of a datagram for a stalled connection before it is dropped as stale. Default 200 ms: sound that is
    /// later than that is of no use.
    pub queue_wait: Duration,
    /// Bytes of datagrams that may wait for a connection; newer ones are dropped. Default 64 KiB.
    pub queue_bytes: usize,
}

impl Default for StreamLimits {
    fn default() -> Self {
        Self {
            connections: 4096,
            unproven: 1024,
            unproven_per_source: 16,
            per_source: 256,
            first_request: Duration::from_secs(5),
            idle: Duration::from_secs(30),
            queue_wait: Duration::from_millis(200),
            queue_bytes: 64 << 10,
        }
    }
}

/// What the thread is asked to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Serving,
    /// Existing connections go on, new ones are left to whoever else has the listener.
    NotAccepting,
    Stopped,
}

/// Both counts of a stream lane.
#[derive(Clone, Debug, Default)]
struct Counted {
    relay: RelayStats,
    streams: StreamStats,
}

/// A running stream lane. Dropping the handle stops it.
pub struct StreamHandle {
    local_addr: SocketAddr,
    tunnel_addr: SocketAddr,
    counted: Arc<Mutex<Counted>>,
    phase: watch::Sender<Phase>,
    thread: Option<JoinHandle<()>>,
}

impl StreamHandle {
    /// The TCP address, with the port the kernel chose.
    #[must_use]
    pub const fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// The address of this lane's tunnel socket.
    #[must_use]
    pub const fn tunnel_addr(&self) -> SocketAddr {
        self.tunnel_addr
    }

    /// What the lane has counted as a lane of the relay, at most a quarter of a second ago.
    #[must_use]
    pub fn relay_stats(&self) -> RelayStats {
        self.counted.lock().unwrap_or_else(PoisonError::into_inner).relay
    }

    /// What it has counted of connections, at most a quarter of a second ago.
    #[must_use]
    pub fn stats(&self) -> StreamStats {
        self.counted.lock().unwrap_or_else(PoisonError::into_inner).streams
    }

    /// Leaves new connections to whoever else holds the listener: for a hand-over to another process.
    pub fn stop_accepting(&self) {
        self.phase.send_replace(Phase::NotAccepting);
    }

    /// Closes every connection and waits for the thread.
    pub fn shutdown(mut self) {
        self.stop();
    }

    fn stop(&mut self) {
        self.phase.send_replace(Phase::Stopped);
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the relay's stream thread ended in a panic");
        }
    }
}

impl Drop for StreamHandle {
    fn drop(&mut self) {
        self.stop();
    }
}

impl fmt::Debug for StreamHandle {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("StreamHandle").field("local_addr", &self.local_addr).finish_non_exhaustive()
    }
}

/// Starts the thread that serves `listener` (see [`bind`]) as a lane of `relay`, with a tunnel socket of its own.
///
/// # Errors
/// When a socket is refused by the runtime, or no thread can start.
pub fn spawn(
    relay: Arc<Relay>,
    lane: Lane,
    listener: TcpListener,
    tunnel: UdpSocket,
    config: &StreamConfig,
) -> io::Result<StreamHandle> {
    let (local_addr, tunnel_addr) = (listener.local_addr()?, tunnel.local_addr()?);
    listener.set_nonblocking(true)?;
    tunnel.set_nonblocking(true)?;
    let (phase, phases) = watch::channel(Phase::Serving);
    let counted = Arc::new(Mutex::new(Counted::default()));
    let (shown, config) = (Arc::clone(&counted), config.clone());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (tunnel, listener) = {
        let _inside = runtime.enter();
        (tokio::net::UdpSocket::from_std(tunnel)?, tokio::net::TcpListener::from_std(listener)?)
    };
    let work = move || {
        let lane = StreamLane::new(RelayLane::new(relay, lane), tunnel, &config, shown);
        tokio::task::LocalSet::new().block_on(&runtime, lane.run(listener, phases));
    };
    let thread = std::thread::Builder::new().name("relay-streams".to_owned()).spawn(work)?;
    Ok(StreamHandle { local_addr, tunnel_addr, counted, phase, thread: Some(thread) })
}
