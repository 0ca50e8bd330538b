//! Who gets which datagram, and when everybody wants to be called.

mod commands;
mod frames;
mod relays;

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Instant;

use tokio::net::UdpSocket;
use tokio::sync::oneshot;
use voxgate_protocol::id::CallId;
use voxgate_protocol::path::ClientAddress;
use voxgate_protocol::session::EndReason;
use voxgate_signaling::directory::Revoked;
use voxgate_telemetry::metrics::Metrics;

use super::call::{Call, CallOutput, RelayNames};
use super::edge::{Edge, EdgeConfig};
use super::liveness::Liveness;
use super::{Slot, TransceiverConfig};

use self::relays::Round;

/// Calls whose deadline has come that work before commands and datagrams are looked at again. Each usually encodes a
/// frame, about 200 µs; with twenty calls due together, a new answer would wait 4 ms behind them.
const DEADLINES_AT_ONCE: usize = 2;

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

/// The calls of the loop, the relays they are reached through, and the maps between them.
pub(super) struct Switchboard {
    socket: Arc<UdpSocket>,
    edges: Vec<Edge>,
    liveness: Liveness,
    /// Work on all calls, done in slices.
    rounds: VecDeque<Round>,
    config: TransceiverConfig,
    calls: BTreeMap<Slot, Call>,
    by_call_id: HashMap<CallId, Slot>,
    by_ufrag: HashMap<String, Slot>,
    by_client: HashMap<ClientAddress, Owner>,
    deadlines: BTreeSet<(Instant, Slot)>,
    deadline_of: HashMap<Slot, Instant>,
    draining: Option<Drain>,
    /// The keys whose calls have to end.
    revoked: Revoked,
    /// What calls are told the relays are called.
    relay_names: RelayNames,
    /// Calls answered so far; spreads them over the relays.
    answered: usize,
    /// The frame being made, kept for its memory.
    frame: Vec<u8>,
    /// What the call at work wants, kept for its memory.
    sink: Vec<CallOutput>,
}

impl Switchboard {
    pub(super) fn new(
        socket: Arc<UdpSocket>,
        edges: Vec<EdgeConfig>,
        config: TransceiverConfig,
        now: Instant,
    ) -> Self {
        let edges: Vec<Edge> = edges.into_iter().map(|edge| Edge::new(edge, now)).collect();
        let liveness = Liveness::new(edges.len(), now);
        let relay_names = edges.iter().flat_map(|edge| {
            let name: Arc<str> = edge.relay().0.to_string().into();
            edge.candidates().iter().map(move |candidate| (candidate.address, Arc::clone(&name)))
        });
        let relay_names = relay_names.collect();
        let switchboard = Self {
            socket,
            edges,
            liveness,
            rounds: VecDeque::new(),
            config,
            calls: BTreeMap::new(),
            by_call_id: HashMap::new(),
            by_ufrag: HashMap::new(),
            by_client: HashMap::new(),
            deadlines: BTreeSet::new(),
            deadline_of: HashMap::new(),
            draining: None,
            revoked: Revoked::default(),
            relay_names,
            answered: 0,
            frame: Vec::new(),
            sink: Vec::new(),
        };
        for index in 0..switchboard.edges.len() {
            switchboard.show_state(index);
        }
        switchboard
    }

    pub(super) fn socket(&self) -> Arc<UdpSocket> {
        Arc::clone(&self.socket)
    }

    pub(super) fn next_deadline(&self) -> Option<Instant> {
        let call = self.deadlines.first().map(|(at, _)| *at);
        let drain = self.draining.as_ref().and_then(|drain| drain.deadline);
        let round = self.rounds.front().map(|round| round.since);
        [call, drain, round, self.liveness.poll_timeout()].into_iter().flatten().min()
    }

    pub(super) fn handle_deadlines(&mut self, now: Instant) {
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
    pub(super) fn finish_drain(&mut self) -> bool {
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
        let span = call.span.clone();
        let in_session = span.enter();
        if catch_unwind(AssertUnwindSafe(|| act(call, sink))).is_err() {
            self.config.metrics.session_panics.inc();
            tracing::error!(call_id = %call.call_id, "a call ended because its state machine panicked; please report this");
            call.fail();
            sink.clear();
            // What panicked may do so again; then the client finds out by itself.
            if catch_unwind(AssertUnwindSafe(|| call.part(now, sink))).is_err() {
                sink.clear();
            }
            drop(in_session);
            for output in std::mem::take(&mut self.sink) {
                self.carry_out(now, slot, output);
            }
            self.forget(now, slot);
            return;
        }
        drop(in_session);
        let mut sink = std::mem::take(&mut self.sink);
        for output in sink.drain(..) {
            self.carry_out(now, slot, output);
        }
        self.sink = sink;
        // Carrying out may have let the call work once more, or ended it.
        match self.calls.get(&slot).map(|call| (!call.is_over()).then(|| call.poll_timeout(now))) {
            Some(Some(next)) => self.schedule(slot, next),
            Some(None) => self.forget(now, slot),
            None => {}
        }
    }

    fn carry_out(&mut self, now: Instant, slot: Slot, output: CallOutput) {
        match output {
            CallOutput::Transmit(path, datagram) => self.transmit(now, slot, path, &datagram),
            CallOutput::Validated(path) => {
                if let Some(call) = self.calls.get_mut(&slot) {
                    call.ways.prove(path);
                }
                self.claim(now, slot, path);
            }
            CallOutput::Released(path) => self.release(now, slot, path),
            CallOutput::Refresh => self.refresh(now, slot, |_| true),
            CallOutput::Sent { received } => {
                let sent = Instant::now();
                if let Some(received) = received {
                    let egress = sent.saturating_duration_since(received);
                    Metrics::observe(&self.config.metrics.egress_seconds, egress);
                }
                self.work(now, slot, |call, sink| call.handle_sent(sent, sink));
            }
        }
    }

    fn schedule(&mut self, slot: Slot, next: Instant) {
        match self.deadline_of.insert(slot, next) {
            Some(previous) if previous == next => return,
            Some(previous) => self.deadlines.remove(&(previous, slot)),
            None => false,
        };
        self.deadlines.insert((next, slot));
    }

    fn forget(&mut self, now: Instant, slot: Slot) {
        let Some(call) = self.calls.get(&slot) else { return };
        let span = call.span.clone();
        let _in_session = span.enter();
        let paths: Vec<_> = call.ways.proven().map(|way| way.path).collect();
        for path in paths {
            self.release(now, slot, path);
        }
        if let Some(at) = self.deadline_of.remove(&slot) {
            self.deadlines.remove(&(at, slot));
        }
        if let Some(call) = self.calls.remove(&slot) {
            self.by_call_id.remove(&call.call_id);
            for ufrag in &call.ufrags {
                self.by_ufrag.remove(ufrag);
            }
            let reason = call.end_reason().map_or("panic", EndReason::as_str);
            tracing::info!(call_id = %call.call_id, reason, "call ended");
        }
    }
}

#[cfg(test)]
mod tests;
