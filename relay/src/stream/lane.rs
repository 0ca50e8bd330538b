//! The loop of the stream thread, and what its connections share.

use std::cell::RefCell;
use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::{Notify, watch};
use tokio_rustls::TlsAcceptor;
use voxgate_protocol::path::ClientAddress;

use super::admission::{Admission, Refusal};
use super::connection::{self, Ending};
use super::queue::SendQueue;
use super::socket::send_promptly;
use super::{Counted, Phase, StreamConfig, StreamLimits, StreamStats};
use crate::classify::is_binding_request;
use crate::core::{Outbox, RelayLane, Socket};
use crate::tunnel::MAX_FRAME;

/// Tunnel frames taken before connections get their turn.
const FRAMES_PER_TURN: usize = 64;

/// How late the loop may look at what is due, and how old published counters may be.
const LOOK_INTERVAL: Duration = Duration::from_millis(250);

/// The pause after the system refused to accept, so that a lasting shortage of descriptors does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// What became of a client's frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// It went to a node.
    Forwarded,
    /// It was a binding request that leads nowhere.
    Refused,
    /// It was something else that leads nowhere.
    Dropped,
}

/// The sending side of a connection that has proven itself.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) queue: RefCell<SendQueue>,
    /// Something was queued.
    pub(super) filled: Notify,
    /// Another connection has taken the client's address over.
    pub(super) replaced: Notify,
}

/// Everything the one thread owns besides the connections' tasks.
#[derive(Debug)]
struct State {
    relay: RelayLane,
    out: Outbox,
    admission: Admission,
    lines: HashMap<SocketAddr, Rc<Line>>,
    stats: StreamStats,
}

/// The lane as its connections see it. Nothing awaits while the state is borrowed.
pub(super) struct StreamLane {
    state: RefCell<State>,
    tunnel: UdpSocket,
    pub(super) tls: Option<TlsAcceptor>,
    pub(super) limits: StreamLimits,
    counted: Arc<Mutex<Counted>>,
}

impl StreamLane {
    pub(super) fn new(
        relay: RelayLane,
        tunnel: UdpSocket,
        config: &StreamConfig,
        counted: Arc<Mutex<Counted>>,
    ) -> Rc<Self> {
        let state = State {
            relay,
            out: Outbox::new(),
            admission: Admission::new(config.limits),
            lines: HashMap::new(),
            stats: StreamStats::default(),
        };
        let tls = config.tls.clone().map(TlsAcceptor::from);
        Rc::new(Self { state: RefCell::new(state), tunnel, tls, limits: config.limits, counted })
    }

    /// Runs until it is told to stop. The tasks of connections end with the set they run in.
    pub(super) async fn run(self: Rc<Self>, listener: TcpListener, mut phases: watch::Receiver<Phase>) {
        let mut frame = vec![0; MAX_FRAME + 1];
        let mut listener = Some(listener);
        let mut accept_at = Instant::now();
        // The hello of the start is not to be lost: a new socket counts as full until the system says otherwise.
        let _ = self.tunnel.writable().await;
        loop {
            let now = Instant::now();
            let phase = *phases.borrow_and_update();
            if phase == Phase::Stopped || phases.has_changed().is_err() {
                break;
            }
            if phase == Phase::NotAccepting {
                listener = None;
            }
            self.handle_timeout(now);
            tokio::select! {
                _ = phases.changed() => {}
                _ = self.tunnel.readable() => self.take_frames(&mut frame),
                accepted = accept(listener.as_ref()), if accept_at <= now => {
                    if !self.admit(accepted) {
                        accept_at = now + ACCEPT_PAUSE;
                    }
                }
                () = tokio::time::sleep_until(self.next_look(now).into()) => {}
            }
        }
        self.publish();
    }

    fn next_look(&self, now: Instant) -> Instant {
        let due = self.state.borrow().relay.poll_timeout();
        due.map_or(now + LOOK_INTERVAL, |due| due.clamp(now, now + LOOK_INTERVAL))
    }

    fn handle_timeout(&self, now: Instant) {
        let state = &mut *self.state.borrow_mut();
        if state.relay.poll_timeout().is_some_and(|due| due <= now) {
            state.relay.handle_timeout(now, &mut state.out);
            self.dispatch(now, state);
        }
        self.show(state);
    }

    /// Takes what waits on the tunnel socket, up to a bound.
    fn take_frames(&self, frame: &mut [u8]) {
        let state = &mut *self.state.borrow_mut();
        for _ in 0..FRAMES_PER_TURN {
            // Any error but "nothing there" answers an earlier send and concerns no frame.
            let Ok((length, from)) = self.tunnel.try_recv_from(frame) else { return };
            let now = Instant::now();
            let received = frame.get(..length).unwrap_or_default();
            state.relay.handle_tunnel(now, now, from, received, &mut state.out);
            self.dispatch(now, state);
        }
    }

    /// Starts the task of a connection. `false` when the system gave none and is to be left alone for a moment.
    fn admit(self: &Rc<Self>, accepted: io::Result<(TcpStream, SocketAddr)>) -> bool {
        let state = &mut *self.state.borrow_mut();
        let Ok((stream, from)) = accepted else {
            state.stats.accept_errors += 1;
            return false;
        };
        let client = ClientAddress::tcp(from);
        match state.admission.enter(client.socket.ip()) {
            Err(Refusal::Full) => state.stats.refused_full += 1,
            Err(Refusal::Source) => state.stats.refused_source += 1,
            Ok(()) => {
                state.stats.accepted += 1;
                state.stats.accept_errors += u64::from(send_promptly(&stream).is_err());
                tokio::task::spawn_local(connection::serve(Rc::clone(self), stream, client));
            }
        }
        true
    }

    /// A frame came from a client.
    pub(super) fn take_datagram(&self, client: ClientAddress, datagram: &[u8]) -> Fate {
        let now = Instant::now();
        let state = &mut *self.state.borrow_mut();
        state.stats.frames_in += 1;
        state.relay.handle_client(now, now, client, 0, datagram, &mut state.out);
        let forwarded = !state.out.is_empty();
        self.dispatch(now, state);
        match forwarded {
            true => Fate::Forwarded,
            false if is_binding_request(datagram) => Fate::Refused,
            false => Fate::Dropped,
        }
    }

    /// A connection's first frame led to a node: datagrams for its client go to it from now on.
    pub(super) fn connect(&self, client: ClientAddress) -> Rc<Line> {
        let queue = SendQueue::new(self.limits.queue_bytes, self.limits.queue_wait);
        let line =
            Rc::new(Line { queue: RefCell::new(queue), filled: Notify::new(), replaced: Notify::new() });
        let state = &mut *self.state.borrow_mut();
        state.admission.prove(client.socket.ip());
        if let Some(former) = state.lines.insert(client.socket, Rc::clone(&line)) {
            former.replaced.notify_one();
        }
        line
    }

    /// A connection is over; its client can be reached no more, unless another connection took its address over.
    pub(super) fn disconnect(&self, client: ClientAddress, line: Option<&Rc<Line>>, ending: Ending) {
        let now = Instant::now();
        let state = &mut *self.state.borrow_mut();
        state.admission.leave(client.socket.ip(), line.is_some());
        let is_its = |held: &Rc<Line>| line.is_some_and(|line| Rc::ptr_eq(line, held));
        if state.lines.get(&client.socket).is_some_and(is_its) {
            state.lines.remove(&client.socket);
            state.relay.client_gone(now, client);
        }
        *ending.counter(&mut state.stats) += 1;
    }

    pub(super) fn count(&self, change: impl FnOnce(&mut StreamStats)) {
        change(&mut self.state.borrow_mut().stats);
    }

    /// Sends what the relay put into the outbox.
    fn dispatch(&self, now: Instant, state: &mut State) {
        for frame in state.out.for_socket(Socket::Tunnel) {
            // A relay does not wait for a full buffer: what is in it is late already.
            let sent = self.tunnel.try_send_to(frame.bytes, frame.to);
            state.stats.tunnel_send_errors += u64::from(sent.is_err());
        }
        for datagram in state.out.for_socket(Socket::Stream) {
            match state.lines.get(&datagram.to) {
                Some(line) if line.queue.borrow_mut().push(now, datagram.bytes) => line.filled.notify_one(),
                Some(_) => state.stats.drop_queue_full += 1,
                None => state.stats.drop_no_connection += 1,
            }
        }
        state.out.clear();
    }

    fn publish(&self) {
        self.show(&mut self.state.borrow_mut());
    }

    fn show(&self, state: &mut State) {
        state.stats.open = state.admission.open() as u64;
        let counted = Counted { relay: state.relay.stats(), streams: state.stats };
        *self.counted.lock().unwrap_or_else(PoisonError::into_inner) = counted;
    }
}

/// The next connection; never, without a listener.
async fn accept(listener: Option<&TcpListener>) -> io::Result<(TcpStream, SocketAddr)> {
    match listener {
        Some(listener) => listener.accept().await,
        None => std::future::pending().await,
    }
}
