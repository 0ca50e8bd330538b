//! The loop of a relay thread.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use socket2::Socket as RawSocket;
use voxgate_protocol::id::NodeIndex;
use voxgate_protocol::path::ClientAddress;

use super::batch::{Asked, BATCH, ReceiveBatch, SendBatch};
use super::residence::Residence;
use super::sockets::{LaneSockets, local_addr};
use super::waiting::{Ready, Stop, WaitStyle, Waiter};
use crate::core::{Outbox, RelayLane, RelayStats, Socket};

/// Batches taken from one socket before the other one gets its turn.
const BATCHES_PER_TURN: usize = 4;
/// Between publications of what a lane has counted.
const PUBLISH_INTERVAL: Duration = Duration::from_millis(100);
/// How long after the last client's datagram with a traffic class every datagram is asked for its own. Later only the first of
/// each batch is asked, so that the first datagrams of a caller that marks them may go without while nobody else does.
const CLASS_MEMORY: Duration = Duration::from_secs(2);
/// The pause after a failure of waiting itself, so that a lasting one does not spin.
const WAIT_FAILURE_PAUSE: Duration = Duration::from_millis(10);

/// What one lane has counted and measured.
#[derive(Clone, Debug, Default)]
pub(super) struct LaneReport {
    pub(super) stats: RelayStats,
    pub(super) residence: Residence,
    pub(super) round_trips: Vec<(NodeIndex, Duration)>,
}

/// Counters of the sockets; everything else counts in the relay.
#[derive(Clone, Copy, Debug, Default)]
struct SocketCounters {
    truncated_client: u64,
    truncated_client_bytes: u64,
    truncated_tunnel: u64,
    stream_misdirected: u64,
    receive_errors: u64,
    send_errors: u64,
}

/// A socket with its buffers.
#[derive(Debug)]
struct Port {
    socket: RawSocket,
    receiving: ReceiveBatch,
    sending: SendBatch,
    /// The kernel's count of datagrams it dropped at this socket, wrapping, and ours, which does not.
    last_overflows: u32,
    overflows: u64,
}

impl Port {
    fn new(socket: RawSocket) -> io::Result<Self> {
        let is_ipv6 = local_addr(&socket)?.is_ipv6();
        Ok(Self {
            socket,
            receiving: ReceiveBatch::new(),
            sending: SendBatch::new(is_ipv6),
            last_overflows: 0,
            overflows: 0,
        })
    }

    fn send_all(&mut self, socket: Socket, out: &Outbox) -> u64 {
        let datagrams = out.for_socket(socket);
        if socket == Socket::Tunnel {
            self.sending.send_bundled(&self.socket, datagrams)
        } else {
            self.sending.send(&self.socket, datagrams)
        }
    }
}

/// A relay thread's state. It outlives the thread, so that a lane that was stopped for a hand-over can go on.
#[derive(Debug)]
pub(super) struct Worker {
    lane: RelayLane,
    public: Port,
    tunnel: Port,
    wait: WaitStyle,
    out: Outbox,
    counters: SocketCounters,
    residence: Residence,
    /// When a client's datagram last had a traffic class.
    classed_at: Instant,
    /// How long each datagram of the present batch that is passed on waited in the kernel.
    queued: Vec<Duration>,
    report: Arc<Mutex<LaneReport>>,
    /// When to publish next; `None` while nothing has changed.
    publish_at: Option<Instant>,
}

impl Worker {
    pub(super) fn new(
        lane: RelayLane,
        sockets: LaneSockets,
        wait: WaitStyle,
        report: Arc<Mutex<LaneReport>>,
    ) -> io::Result<Self> {
        let (public, mut tunnel) = (Port::new(sockets.public)?, Port::new(sockets.tunnel)?);
        // In a tunnel the traffic class stands in the frame.
        tunnel.receiving.ask(Asked::First);
        Ok(Self {
            lane,
            public,
            tunnel,
            wait,
            out: Outbox::new(),
            counters: SocketCounters::default(),
            residence: Residence::default(),
            classed_at: Instant::now(),
            queued: Vec::with_capacity(BATCH),
            report,
            publish_at: None,
        })
    }

    /// What waits for this lane's sockets and for a stop.
    ///
    /// # Errors
    /// When the kernel has no resources for it.
    pub(super) fn waiter(&self, stop: &Stop) -> io::Result<Waiter> {
        Waiter::new(self.wait, &self.public.socket, &self.tunnel.socket, stop)
    }

    /// Runs until a stop is wished. Everything taken from a socket has then been answered; the rest still waits there.
    pub(super) fn run(mut self, waiter: &Waiter, stop: &Stop) -> Self {
        let mut ready = Ready::ALL;
        while !stop.is_wished() {
            let now = Instant::now();
            let wake_at = self.lane.poll_timeout().into_iter().chain(self.publish_at).min();
            let timeout = wake_at.map(|at| at.saturating_duration_since(now));
            if let Err(error) = waiter.wait(&mut ready, timeout) {
                tracing::error!(%error, "the relay cannot wait for its sockets");
                std::thread::sleep(WAIT_FAILURE_PAUSE);
                ready = Ready::ALL;
            }
            if ready.tunnel {
                ready.tunnel = self.take_turn(Socket::Tunnel);
            }
            if ready.public {
                ready.public = self.take_turn(Socket::Public);
            }
            self.handle_timeout();
        }
        self.publish();
        self
    }

    /// Takes some batches from one socket; says whether it may have more.
    fn take_turn(&mut self, socket: Socket) -> bool {
        for _ in 0..BATCHES_PER_TURN {
            let port = if socket == Socket::Public { &mut self.public } else { &mut self.tunnel };
            let count = match port.receiving.receive(&port.socket) {
                Ok(count) => count,
                Err(error) => return self.is_to_be_read_again(&error),
            };
            let now = Instant::now();
            match socket {
                Socket::Public => {
                    self.handle_clients(now);
                    self.ask_for_classes(now);
                }
                Socket::Tunnel | Socket::Stream => self.handle_tunnel(now),
            }
            self.flush();
            self.measure(now, socket);
            self.publish_at.get_or_insert(now + PUBLISH_INTERVAL);
            if count < BATCH {
                return false;
            }
        }
        true
    }

    fn is_to_be_read_again(&mut self, error: &io::Error) -> bool {
        match error.kind() {
            io::ErrorKind::WouldBlock => false,
            io::ErrorKind::Interrupted => true,
            _ => {
                self.counters.receive_errors += 1;
                true
            }
        }
    }

    fn handle_clients(&mut self, now: Instant) {
        for received in self.public.receiving.datagrams() {
            count_overflows(&mut self.public.last_overflows, &mut self.public.overflows, received.overflows);
            if received.truncated {
                self.counters.truncated_client += 1;
                self.counters.truncated_client_bytes += received.bytes.len() as u64;
                continue;
            }
            if received.traffic_class != 0 {
                self.classed_at = now;
            }
            let (before, queued) = (self.out.len(), received.queued);
            let received_at = now.checked_sub(queued).unwrap_or(now);
            let from = ClientAddress::udp(received.from);
            self.lane.handle_client(
                now,
                received_at,
                from,
                received.traffic_class,
                received.bytes,
                &mut self.out,
            );
            if self.out.len() > before {
                self.queued.push(queued);
            }
        }
    }

    /// Decides of which datagrams the kernel is asked next.
    fn ask_for_classes(&mut self, now: Instant) {
        let recent = now.saturating_duration_since(self.classed_at) < CLASS_MEMORY;
        self.public.receiving.ask(if recent { Asked::Every } else { Asked::First });
    }

    fn handle_tunnel(&mut self, now: Instant) {
        for received in self.tunnel.receiving.datagrams() {
            count_overflows(&mut self.tunnel.last_overflows, &mut self.tunnel.overflows, received.overflows);
            if received.truncated {
                self.counters.truncated_tunnel += 1;
                continue;
            }
            let (before, queued) = (self.out.len(), received.queued);
            let received_at = now.checked_sub(queued).unwrap_or(now);
            self.lane.handle_tunnel(now, received_at, received.from, received.bytes, &mut self.out);
            if self.out.len() > before {
                self.queued.push(queued);
            }
        }
    }

    fn flush(&mut self) {
        for (socket, port) in [(Socket::Tunnel, &mut self.tunnel), (Socket::Public, &mut self.public)] {
            self.counters.send_errors += port.send_all(socket, &self.out);
        }
        // A node answers a connection through the lane that serves it; this is none.
        self.counters.stream_misdirected += self.out.for_socket(Socket::Stream).len() as u64;
        self.out.clear();
    }

    /// Records how long the datagrams of a batch received at `received` stayed: their time in the kernel and, all alike,
    /// the time until the last of them was sent.
    fn measure(&mut self, received: Instant, socket: Socket) {
        if self.queued.is_empty() {
            return;
        }
        let here = received.elapsed();
        let before = self.residence.sum;
        let count = self.queued.len() as u32;
        for queued in self.queued.drain(..) {
            self.residence.record(queued + here);
        }
        if socket == Socket::Tunnel {
            self.lane.stayed(count, self.residence.sum.saturating_sub(before));
        }
    }

    fn handle_timeout(&mut self) {
        let now = Instant::now();
        if self.lane.poll_timeout().is_some_and(|at| at <= now) {
            self.lane.handle_timeout(now, &mut self.out);
            self.flush();
            self.publish_at.get_or_insert(now + PUBLISH_INTERVAL);
        }
        if self.publish_at.is_some_and(|at| at <= now) {
            self.publish();
        }
    }

    fn publish(&mut self) {
        self.publish_at = None;
        let mut stats = self.lane.stats();
        let counters = self.counters;
        stats.client_datagrams += counters.truncated_client;
        stats.client_bytes += counters.truncated_client_bytes;
        stats.drop_client_oversize += counters.truncated_client;
        stats.tunnel_datagrams += counters.truncated_tunnel;
        stats.drop_tunnel_malformed += counters.truncated_tunnel;
        stats.drop_down_stream_unknown += counters.stream_misdirected;
        stats.receive_errors = counters.receive_errors;
        stats.send_errors = counters.send_errors;
        stats.socket_overflows = self.public.overflows + self.tunnel.overflows;
        let mut report = self.report.lock().unwrap_or_else(PoisonError::into_inner);
        report.stats = stats;
        report.residence = self.residence;
        report.round_trips.clear();
        report.round_trips.extend(self.lane.round_trips());
    }
}

/// The kernel counts per socket, wrapping, and tells with a datagram only once it has dropped something.
const fn count_overflows(last: &mut u32, total: &mut u64, told: Option<u32>) {
    if let Some(told) = told {
        *total += told.wrapping_sub(*last) as u64;
        *last = told;
    }
}
