//! The transceiver: one thread, one UDP socket, every WebRTC call of the process.
//!
//! The loop waits for a datagram, a command or a deadline, lets the calls concerned work until nothing is left to
//! do, and waits again. Nothing in it waits for a provider, a store or the control plane: those speak through
//! queues and wake the loop.

mod call;
mod edge;
mod extension;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io;
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use tokio::net::UdpSocket;
use tokio::sync::{mpsc, oneshot};
use voxgate_media::encode::EncoderConfig;
use voxgate_media::session::Leg;
use voxgate_media::transport::{Identity, Path, Transport, TransportConfig};
use voxgate_policy::key::KeyIndex;
use voxgate_protocol::id::CallId;
use voxgate_protocol::session::EndReason;
use voxgate_realtime::ApiError;
use voxgate_relay::classify;
use voxgate_relay::tunnel::{Kind, MAX_FRAME};
use voxgate_signaling::host::SessionRequest;
use voxgate_telemetry::metrics::Metrics;

use crate::bridges::Connected;
use crate::dialogue::{Dialogue, DialogueConfig};

use call::{Call, CallOutput};
use edge::Edge;
pub(crate) use edge::EdgeConfig;

/// Datagrams taken from the socket before commands and deadlines are looked at again. Each costs a decryption and a
/// decoding, about 60 µs, and the first packet of an answer must not wait behind many of them.
const DATAGRAMS_AT_ONCE: usize = 16;

/// Calls whose deadline has come that work before commands and datagrams are looked at again. Each usually encodes a
/// frame, about 200 µs; with twenty calls due together, a new answer would wait 4 ms behind them.
const DEADLINES_AT_ONCE: usize = 2;

/// An address belongs to its call until the call has not been heard from it for this long. Whoever forges the source
/// address of a live call can therefore not move it, and a port that a network gives to somebody else is soon free.
const ADDRESS_HELD: Duration = Duration::from_secs(5);

/// Names a call inside the process.
pub(crate) type Slot = u64;

/// What the loop is asked to do.
pub(crate) enum Command {
    /// Answer an offer and run the call.
    Start(Box<Start>),
    /// The bridge of this call has something to say.
    BridgeReady(Slot),
    /// End a call of a key; the answer says whether there was one.
    HangUp { call_id: CallId, key: KeyIndex, reply: oneshot::Sender<bool> },
    /// End every call at a deadline; the answer comes when the last has ended.
    Drain(Instant, oneshot::Sender<()>),
}

/// A call to start.
pub(crate) struct Start {
    pub(crate) slot: Slot,
    pub(crate) call_id: CallId,
    pub(crate) offer: String,
    pub(crate) request: SessionRequest,
    pub(crate) bridge: Connected,
    pub(crate) expires_at_unix: u64,
    pub(crate) ends_at: Instant,
    pub(crate) seed: u64,
    pub(crate) ufrag: String,
    pub(crate) tag: u32,
    pub(crate) password: String,
    pub(crate) reply: oneshot::Sender<Result<String, ApiError>>,
}

/// What every call of the loop shares.
pub(crate) struct TransceiverConfig {
    pub(crate) identity: Identity,
    pub(crate) encoder: EncoderConfig,
    pub(crate) setup_timeout: Duration,
    pub(crate) silence_timeout: Duration,
    pub(crate) metrics: Arc<Metrics>,
}

/// Starts the thread. It ends when every sender of commands is gone or a drain is complete.
pub(crate) fn spawn(
    socket: std::net::UdpSocket,
    edges: Vec<EdgeConfig>,
    config: TransceiverConfig,
) -> io::Result<(mpsc::UnboundedSender<Command>, thread::JoinHandle<()>)> {
    let (sender, receiver) = mpsc::unbounded_channel();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build()?;
    socket.set_nonblocking(true)?;
    let socket = {
        let _inside = runtime.enter();
        UdpSocket::from_std(socket)?
    };
    let edges = edges.into_iter().map(|edge| Edge::new(edge, Instant::now())).collect();
    let switchboard = Switchboard::new(Arc::new(socket), edges, config);
    let thread = thread::Builder::new()
        .name("transceiver".to_owned())
        .spawn(move || runtime.block_on(run(switchboard, receiver)))?;
    Ok((sender, thread))
}

async fn run(mut switchboard: Switchboard, mut commands: mpsc::UnboundedReceiver<Command>) {
    let socket = Arc::clone(&switchboard.socket);
    let mut buffer = vec![0; MAX_FRAME + 1];
    loop {
        let deadline = switchboard.next_deadline();
        let first = tokio::select! {
            biased;
            command = commands.recv() => match command {
                Some(command) => Some(command),
                None => return,
            },
            _ = socket.readable() => None,
            () = sleep_until(deadline) => None,
        };
        let mut next = first;
        while let Some(command) = next {
            switchboard.handle_command(Instant::now(), command);
            next = commands.try_recv().ok();
        }
        for _ in 0..DATAGRAMS_AT_ONCE {
            match socket.try_recv_from(&mut buffer) {
                Ok((length, from)) => switchboard.handle_frame(Instant::now(), from, &buffer[..length]),
                // Anything but "nothing there" is the ICMP echo of an earlier send; the next read goes on.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(_) => {}
            }
        }
        switchboard.handle_deadlines(Instant::now());
        if switchboard.finish_drain() {
            return;
        }
    }
}

async fn sleep_until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline.into()).await,
        None => std::future::pending().await,
    }
}

/// The call an address belongs to.
struct Owner {
    slot: Slot,
    heard_at: Instant,
}

/// A shutdown in progress.
struct Drain {
    /// When the calls that still run are ended; `None` once they were told.
    deadline: Option<Instant>,
    all_ended: oneshot::Sender<()>,
}

/// Who gets which datagram, and when everybody wants to be called.
struct Switchboard {
    socket: Arc<UdpSocket>,
    edges: Vec<Edge>,
    config: TransceiverConfig,
    calls: BTreeMap<Slot, Call>,
    by_call_id: HashMap<CallId, Slot>,
    by_ufrag: HashMap<String, Slot>,
    by_client: HashMap<SocketAddr, Owner>,
    deadlines: BTreeSet<(Instant, Slot)>,
    deadline_of: HashMap<Slot, Instant>,
    draining: Option<Drain>,
    outbox: Vec<(SocketAddr, Vec<u8>)>,
    sink: Vec<CallOutput>,
}

impl Switchboard {
    fn new(socket: Arc<UdpSocket>, edges: Vec<Edge>, config: TransceiverConfig) -> Self {
        Self {
            socket,
            edges,
            config,
            calls: BTreeMap::new(),
            by_call_id: HashMap::new(),
            by_ufrag: HashMap::new(),
            by_client: HashMap::new(),
            deadlines: BTreeSet::new(),
            deadline_of: HashMap::new(),
            draining: None,
            outbox: Vec::new(),
            sink: Vec::new(),
        }
    }

    fn next_deadline(&self) -> Option<Instant> {
        let call = self.deadlines.first().map(|(at, _)| *at);
        let drain = self.draining.as_ref().and_then(|drain| drain.deadline);
        call.into_iter().chain(drain).min()
    }

    fn handle_command(&mut self, now: Instant, command: Command) {
        match command {
            Command::Start(start) => self.start(now, *start),
            Command::BridgeReady(slot) => self.work(now, slot, |call, sink| call.handle_bridge(now, sink)),
            Command::HangUp { call_id, key, reply } => {
                let slot = self.by_call_id.get(&call_id).copied();
                let slot = slot.filter(|slot| self.calls.get(slot).is_some_and(|call| call.key() == key));
                if let Some(slot) = slot {
                    self.work(now, slot, |call, sink| call.end(now, EndReason::HungUp, sink));
                }
                // Whoever asked may have gone away.
                let _ = reply.send(slot.is_some());
            }
            Command::Drain(deadline, all_ended) => {
                self.draining = Some(Drain { deadline: Some(deadline), all_ended });
            }
        }
    }

    fn start(&mut self, now: Instant, start: Start) {
        let slot = start.slot;
        let (reply, result) = match self.accept(now, start) {
            Ok((reply, answer, call)) => {
                self.by_call_id.insert(call.call_id.clone(), slot);
                self.by_ufrag.insert(call.ufrag.clone(), slot);
                self.calls.insert(slot, call);
                (reply, Ok(answer))
            }
            Err((reply, error)) => (reply, Err(error)),
        };
        if reply.send(result).is_err() {
            // The client went away while its offer was answered; nobody will ever connect.
            self.work(now, slot, |call, sink| call.end(now, EndReason::ClientClosed, sink));
        }
        self.work(now, slot, |call, sink| call.handle_bridge(now, sink));
    }

    #[expect(clippy::type_complexity, reason = "the reply channel travels with either outcome")]
    fn accept(
        &self,
        now: Instant,
        start: Start,
    ) -> Result<
        (oneshot::Sender<Result<String, ApiError>>, String, Call),
        (oneshot::Sender<Result<String, ApiError>>, ApiError),
    > {
        let transport_config = TransportConfig {
            ufrag: start.ufrag.clone(),
            password: start.password,
            relays: self.edges.iter().map(|edge| edge.public).collect(),
            setup_timeout: self.config.setup_timeout,
            silence_timeout: self.config.silence_timeout,
        };
        let accepted = Transport::accept(&start.offer, &transport_config, &self.config.identity, now);
        let (transport, answer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => return Err((start.reply, ApiError::invalid_offer(error))),
        };
        let dialogue = Dialogue::new(
            start.request,
            start.bridge,
            DialogueConfig {
                leg: Leg::Rtp,
                encoder: self.config.encoder,
                expires_at_unix: start.expires_at_unix,
                seed: start.seed,
                metrics: Arc::clone(&self.config.metrics),
            },
        );
        let dialogue = match dialogue {
            Ok(dialogue) => dialogue,
            Err(error) => return Err((start.reply, ApiError::server_error(error.to_string()))),
        };
        let call = Call::new(start.call_id, start.ufrag, start.tag, dialogue, transport, start.ends_at);
        tracing::info!(call_id = %call.call_id, "call answered");
        Ok((start.reply, answer, call))
    }

    fn handle_frame(&mut self, now: Instant, from: SocketAddr, bytes: &[u8]) {
        let Some(index) = self.edges.iter().position(|edge| edge.tunnel == from) else {
            return self.drop_frame("unknown_relay");
        };
        let edge = &mut self.edges[index];
        let public = edge.public;
        let Ok((frame, times)) = edge.open(now, bytes) else {
            return self.drop_frame("not_authentic");
        };
        match (frame.header.kind, frame.header.client) {
            (Kind::Up, Some(client)) => {
                let path = Path { relay: public, client };
                let Some(slot) = self.slot_of(client, frame.payload) else {
                    return self.drop_frame("no_call");
                };
                let payload = frame.payload;
                self.heard(now, slot, path);
                self.work(now, slot, |call, sink| call.handle_datagram(now, path, payload, times, sink));
            }
            (Kind::Hello, _) => self.answer_hello(now, index),
            _ => self.drop_frame("unexpected_kind"),
        }
    }

    /// Binding requests name their call; everything else belongs to whoever proved to own the address.
    fn slot_of(&self, client: SocketAddr, datagram: &[u8]) -> Option<Slot> {
        match classify::binding_request_ufrag(datagram) {
            Some(ufrag) => self.by_ufrag.get(std::str::from_utf8(ufrag).ok()?).copied(),
            None => self.by_client.get(&client).map(|owner| owner.slot),
        }
    }

    /// A datagram of this call came from this address. If the address was another's when the call proved that it is
    /// behind it, it may be free by now.
    fn heard(&mut self, now: Instant, slot: Slot, path: Path) {
        match self.by_client.get_mut(&path.client) {
            Some(owner) if owner.slot == slot => owner.heard_at = now,
            _ => {
                if self.calls.get(&slot).is_some_and(|call| call.knows(path.client)) {
                    self.claim(now, slot, path);
                }
            }
        }
    }

    /// Gives an address to a call that proved to be behind it, unless a live call holds it.
    fn claim(&mut self, now: Instant, slot: Slot, path: Path) {
        let is_held = self.by_client.get(&path.client).is_some_and(|owner| {
            owner.slot != slot && now.saturating_duration_since(owner.heard_at) < ADDRESS_HELD
        });
        if is_held {
            self.drop_frame("address_held");
            return;
        }
        self.by_client.insert(path.client, Owner { slot, heard_at: now });
        let Some(tag) = self.calls.get(&slot).map(|call| call.tag) else { return };
        if let Some(edge) = self.edges.iter_mut().find(|edge| edge.public == path.relay) {
            edge.confirm(now, tag, path.client, &mut self.outbox);
        }
        self.flush();
    }

    /// A relay says that it lives. One that lives anew is taught the flows it had.
    fn answer_hello(&mut self, now: Instant, index: usize) {
        let Some(edge) = self.edges.get_mut(index) else { return };
        let relay = edge.public;
        edge.refresh(now, 0, None, &mut self.outbox);
        if edge.lives_anew() {
            for (slot, call) in &self.calls {
                let owned = call.paths.iter().filter(|path| {
                    path.relay == relay
                        && self.by_client.get(&path.client).is_some_and(|owner| owner.slot == *slot)
                });
                for client in owned.map(|path| path.client) {
                    edge.refresh(now, call.tag, Some(client), &mut self.outbox);
                }
            }
        }
        self.flush();
    }

    fn handle_deadlines(&mut self, now: Instant) {
        for _ in 0..DEADLINES_AT_ONCE {
            // A call that wants to go on at once comes again behind all whose deadline was earlier.
            let Some((at, slot)) = self.deadlines.first().copied().filter(|(at, _)| *at <= now) else {
                break;
            };
            self.deadlines.remove(&(at, slot));
            self.deadline_of.remove(&slot);
            let now = Instant::now();
            self.work(now, slot, |call, sink| call.handle_timeout(now, sink));
        }
        let deadline = self.draining.as_mut().and_then(|drain| drain.deadline.take_if(|at| *at <= now));
        if deadline.is_some() {
            let slots: Vec<Slot> = self.calls.keys().copied().collect();
            for slot in slots {
                self.work(now, slot, |call, sink| call.end(now, EndReason::Drained, sink));
            }
        }
    }

    /// True once a drain was asked for and no call is left.
    fn finish_drain(&mut self) -> bool {
        if !self.calls.is_empty() {
            return false;
        }
        match self.draining.take() {
            Some(drain) => {
                let _ = drain.all_ended.send(());
                true
            }
            None => false,
        }
    }

    /// Lets a call work, carries out what it wants, and notes when it wants to be called again. A call whose state
    /// machine panics ends alone.
    fn work(&mut self, now: Instant, slot: Slot, act: impl FnOnce(&mut Call, &mut Vec<CallOutput>)) {
        let Some(call) = self.calls.get_mut(&slot) else { return };
        let sink = &mut self.sink;
        if catch_unwind(AssertUnwindSafe(|| act(call, sink))).is_err() {
            self.config.metrics.session_panics.inc();
            tracing::error!(call_id = %call.call_id, "a call ended because its state machine panicked; please report this");
            self.sink.clear();
            self.forget(now, slot);
            return;
        }
        let tag = call.tag;
        for output in std::mem::take(&mut self.sink) {
            self.carry_out(now, slot, tag, output);
            self.flush();
        }
        // Carrying out may have let the call work once more, or ended it.
        match self.calls.get(&slot).map(|call| (!call.is_over()).then(|| call.poll_timeout(now))) {
            Some(Some(next)) => self.schedule(slot, next),
            Some(None) => self.forget(now, slot),
            None => {}
        }
    }

    fn carry_out(&mut self, now: Instant, slot: Slot, tag: u32, output: CallOutput) {
        match output {
            CallOutput::Transmit(path, datagram) => {
                let confirmed = self.by_client.get(&path.client).is_some_and(|owner| owner.slot == slot);
                if let Some(edge) = self.edges.iter_mut().find(|edge| edge.public == path.relay) {
                    edge.send(now, tag, path.client, confirmed, &datagram, &mut self.outbox);
                }
            }
            CallOutput::Validated(path) => {
                if let Some(call) = self.calls.get_mut(&slot) {
                    call.paths.insert(path);
                }
                self.claim(now, slot, path);
            }
            CallOutput::Released(path) => self.release(now, slot, tag, path),
            CallOutput::AnswerBegan { received } => {
                let sent = Instant::now();
                Metrics::observe(
                    &self.config.metrics.egress_seconds,
                    sent.saturating_duration_since(received),
                );
                self.work(now, slot, |call, sink| call.handle_sent(sent, sink));
            }
        }
    }

    fn flush(&mut self) {
        for (to, frame) in self.outbox.drain(..) {
            if let Err(error) = self.socket.try_send_to(&frame, to) {
                self.config.metrics.tunnel_drops.with_label_values(&["send_failed"]).inc();
                tracing::trace!(%error, "a tunnel frame was not sent");
            }
        }
    }

    fn release(&mut self, now: Instant, slot: Slot, tag: u32, path: Path) {
        let Some(call) = self.calls.get_mut(&slot) else { return };
        call.paths.remove(&path);
        // The address may still lead here through another relay.
        if !call.knows(path.client)
            && self.by_client.get(&path.client).is_some_and(|owner| owner.slot == slot)
        {
            self.by_client.remove(&path.client);
        }
        if let Some(edge) = self.edges.iter_mut().find(|edge| edge.public == path.relay) {
            edge.release(now, tag, path.client, &mut self.outbox);
        }
    }

    fn schedule(&mut self, slot: Slot, next: Instant) {
        if let Some(previous) = self.deadline_of.insert(slot, next) {
            self.deadlines.remove(&(previous, slot));
        }
        self.deadlines.insert((next, slot));
    }

    fn forget(&mut self, now: Instant, slot: Slot) {
        let Some(call) = self.calls.get(&slot) else { return };
        let (tag, paths) = (call.tag, call.paths.clone());
        for path in paths {
            self.release(now, slot, tag, path);
        }
        if let Some(at) = self.deadline_of.remove(&slot) {
            self.deadlines.remove(&(at, slot));
        }
        if let Some(call) = self.calls.remove(&slot) {
            self.by_call_id.remove(&call.call_id);
            self.by_ufrag.remove(&call.ufrag);
            self.flush();
            let reason = call.end_reason().map_or("panic", EndReason::as_str);
            tracing::info!(call_id = %call.call_id, reason, "call ended");
        }
    }

    fn drop_frame(&self, reason: &str) {
        self.config.metrics.tunnel_drops.with_label_values(&[reason]).inc();
    }
}
