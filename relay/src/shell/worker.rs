//! The loop of the relay thread.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsFd as _;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use socket2::{SockAddr, Socket as RawSocket};

use super::batch::{BATCH, ReceiveBatch, send, wait};
use crate::core::{Outbox, Relay, RelayStats, Socket};

/// Batches taken from one socket before the other one gets its turn.
const BATCHES_PER_TURN: usize = 4;
/// The pause after a failure of `poll` itself, so that a lasting one does not spin.
const POLL_FAILURE_PAUSE: Duration = Duration::from_millis(10);

/// Counters of the sockets; everything else counts in the relay.
#[derive(Clone, Copy, Debug, Default)]
struct SocketCounters {
    truncated_client: u64,
    truncated_client_bytes: u64,
    truncated_tunnel: u64,
    receive_errors: u64,
    send_errors: u64,
}

/// A socket with its receive buffers.
#[derive(Debug)]
struct Port {
    socket: RawSocket,
    batch: ReceiveBatch,
    is_ipv6: bool,
    /// Room for the destinations of one flush.
    addresses: Vec<SockAddr>,
}

impl Port {
    fn new(socket: RawSocket) -> Self {
        let is_ipv6 = socket.local_addr().is_ok_and(|address| address.is_ipv6());
        Self { socket, batch: ReceiveBatch::new(), is_ipv6, addresses: Vec::with_capacity(BATCH) }
    }

    /// Offers every waiting datagram of this socket to the kernel once; returns how many it refused. A relay does not wait
    /// for a full buffer: the datagrams are late by then, and those behind them would be too.
    fn send_all(&mut self, socket: Socket, out: &Outbox) -> u64 {
        let is_ipv6 = self.is_ipv6;
        self.addresses.clear();
        self.addresses.extend(out.for_socket(socket).map(|(to, _)| in_family(to, is_ipv6)));
        let (mut offered, mut refused) = (0, 0);
        while let Some(addresses) = self.addresses.get(offered..).filter(|rest| !rest.is_empty()) {
            let datagrams = out.for_socket(socket).skip(offered).map(|(_, bytes)| bytes);
            offered += match send(&self.socket, addresses, datagrams) {
                Ok(taken) => taken.max(1),
                Err(_) => {
                    refused += 1;
                    1
                }
            };
        }
        refused
    }
}

/// The address as a socket of the family writes it.
fn in_family(to: SocketAddr, is_ipv6: bool) -> SockAddr {
    match to.ip() {
        IpAddr::V4(ip) if is_ipv6 => SocketAddr::new(IpAddr::V6(ip.to_ipv6_mapped()), to.port()).into(),
        _ => to.into(),
    }
}

/// The relay thread's state.
#[derive(Debug)]
pub(super) struct Worker {
    relay: Relay,
    public: Port,
    tunnel: Port,
    stopped: UnixStream,
    stats: Arc<Mutex<RelayStats>>,
    counters: SocketCounters,
    out: Outbox,
}

impl Worker {
    pub(super) fn new(
        relay: Relay,
        public: RawSocket,
        tunnel: RawSocket,
        stopped: UnixStream,
        stats: Arc<Mutex<RelayStats>>,
    ) -> Self {
        Self {
            relay,
            public: Port::new(public),
            tunnel: Port::new(tunnel),
            stopped,
            stats,
            counters: SocketCounters::default(),
            out: Outbox::new(),
        }
    }

    /// Runs until the other end of the stop stream writes or closes.
    pub(super) fn run(mut self) {
        loop {
            let now = Instant::now();
            let timeout = self.relay.poll_timeout().map(|at| at.saturating_duration_since(now));
            let descriptors = [self.public.socket.as_fd(), self.tunnel.socket.as_fd(), self.stopped.as_fd()];
            let [public, tunnel, stopped] = match wait(descriptors, timeout) {
                Ok(ready) => ready,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => {
                    tracing::error!(%error, "the relay cannot wait for its sockets");
                    std::thread::sleep(POLL_FAILURE_PAUSE);
                    [true, true, false]
                }
            };
            if stopped {
                return;
            }
            if tunnel {
                self.take_turn(Socket::Tunnel);
            }
            if public {
                self.take_turn(Socket::Public);
            }
            self.handle_timeout();
            self.publish();
        }
    }

    fn take_turn(&mut self, socket: Socket) {
        for _ in 0..BATCHES_PER_TURN {
            let port = match socket {
                Socket::Public => &mut self.public,
                Socket::Tunnel => &mut self.tunnel,
            };
            let count = match port.batch.receive(&port.socket) {
                Ok(count) => count,
                Err(error) if is_nothing_there(&error) => return,
                Err(_) => {
                    self.counters.receive_errors += 1;
                    return;
                }
            };
            self.handle_batch(socket);
            self.flush();
            if count < BATCH {
                return;
            }
        }
    }

    fn handle_batch(&mut self, socket: Socket) {
        let now = Instant::now();
        let port = match socket {
            Socket::Public => &self.public,
            Socket::Tunnel => &self.tunnel,
        };
        for (received, datagram) in port.batch.datagrams() {
            let received_at = now.checked_sub(received.queued).unwrap_or(now);
            match (socket, received.truncated) {
                (Socket::Public, false) => {
                    self.relay.handle_client(now, received_at, received.from, datagram, &mut self.out);
                }
                (Socket::Tunnel, false) => {
                    self.relay.handle_tunnel(now, received_at, received.from, datagram, &mut self.out);
                }
                (Socket::Public, true) => {
                    self.counters.truncated_client += 1;
                    self.counters.truncated_client_bytes += datagram.len() as u64;
                }
                (Socket::Tunnel, true) => self.counters.truncated_tunnel += 1,
            }
        }
    }

    fn handle_timeout(&mut self) {
        let now = Instant::now();
        if self.relay.poll_timeout().is_some_and(|at| at <= now) {
            self.relay.handle_timeout(now, &mut self.out);
            self.flush();
        }
    }

    fn flush(&mut self) {
        for (socket, port) in [(Socket::Tunnel, &mut self.tunnel), (Socket::Public, &mut self.public)] {
            self.counters.send_errors += port.send_all(socket, &self.out);
        }
        self.out.clear();
    }

    fn publish(&self) {
        let mut stats = self.relay.stats();
        let counters = self.counters;
        stats.client_datagrams += counters.truncated_client;
        stats.client_bytes += counters.truncated_client_bytes;
        stats.drop_client_oversize += counters.truncated_client;
        stats.tunnel_datagrams += counters.truncated_tunnel;
        stats.drop_tunnel_malformed += counters.truncated_tunnel;
        stats.receive_errors = counters.receive_errors;
        stats.send_errors = counters.send_errors;
        stats.socket_overflows =
            u64::from(self.public.batch.overflows()) + u64::from(self.tunnel.batch.overflows());
        *self.stats.lock().unwrap_or_else(PoisonError::into_inner) = stats;
    }
}

fn is_nothing_there(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}
