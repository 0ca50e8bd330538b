//! What the loop does about its relays: answer them, teach them, watch them, and move calls away from them.
//!
//! Whatever concerns all calls of a relay is done in slices, so that ten thousand flows hold up no packet.

use std::mem::MaybeUninit;
use std::net::SocketAddr;
use std::time::Instant;

use voxgate_protocol::path::ClientTransport;
use voxgate_relay::tunnel::{Kind, Lane, Outgoing};

use super::super::Slot;
use super::super::extension::RelayNotice;
use super::super::liveness::RelayState;
use super::Switchboard;

/// Calls that a round touches before datagrams are looked at again; about a quarter of a millisecond.
const CALLS_AT_ONCE: usize = 64;

/// Work on all calls in progress.
pub(super) struct Round {
    /// The place of the relay it is about.
    relay: usize,
    /// Where clients reach that relay.
    addresses: Vec<SocketAddr>,
    task: Task,
    /// Calls before this one are done.
    next: Slot,
    /// When it began.
    pub(super) since: Instant,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Task {
    /// The relay lost its flows.
    Teach,
    /// The relay is lost or about to stop.
    Leave(RelayNotice),
    /// The relay does not stop after all, or is back.
    Stay,
}

impl Switchboard {
    /// The loop begins a turn.
    pub(in super::super) fn begin_turn(&mut self, now: Instant) {
        self.liveness.turned(now);
    }

    /// Whether work on all calls is not yet finished.
    pub(in super::super) fn has_rounds(&self) -> bool {
        !self.rounds.is_empty()
    }

    /// Looks for relays that have fallen silent, and carries rounds on. Call it when frames were read.
    pub(in super::super) fn handle_relays(&mut self, now: Instant) {
        let socket = &self.socket;
        let all_was_read = || {
            // The runtime's idea of the socket may be older than a stall of this loop; the kernel's is not.
            let peeked = socket2::SockRef::from(socket.as_ref()).peek(&mut [MaybeUninit::uninit(); 1]);
            peeked.is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock)
        };
        for index in self.liveness.fallen_silent(now, all_was_read) {
            tracing::warn!(relay = self.edges[index].relay().0, "a relay is silent; its calls leave it");
            self.show_state(index);
            self.begin_round(now, index, Task::Leave(RelayNotice::Lost));
        }
        self.carry_round_on(now);
    }

    /// An authentic frame came from a relay.
    pub(super) fn relay_heard(&mut self, now: Instant, index: usize, kind: Kind) {
        let draining = match kind {
            Kind::Hello { draining } => Some(draining),
            _ => None,
        };
        let was_draining = self.liveness.is_draining(index);
        if !self.liveness.heard(now, index, draining) {
            return;
        }
        let state = self.liveness.state(index);
        tracing::info!(
            relay = self.edges[index].relay().0,
            state = state.as_str(),
            "a relay changed its state"
        );
        self.show_state(index);
        if state == RelayState::Draining {
            self.begin_round(now, index, Task::Leave(RelayNotice::Draining));
        } else if was_draining {
            self.begin_round(now, index, Task::Stay);
        }
    }

    /// A relay says that it lives.
    pub(super) fn answer_hello(&mut self, now: Instant, index: usize, lane: Lane) {
        if !self.edges[index].owes_answer(now, lane) {
            return;
        }
        let outgoing = Outgoing {
            kind: Kind::Refresh,
            session: 0,
            client: None,
            traffic_class: 0,
            since: None,
            payload: &[],
        };
        self.send_frame(now, index, lane, &outgoing);
        if let Some(round_trip) = self.edges[index].round_trip() {
            let relay = self.edges[index].relay().0.to_string();
            let gauge = &self.config.metrics.tunnel_round_trip_seconds;
            gauge.with_label_values(&[&relay]).set(round_trip.as_secs_f64());
        }
    }

    /// A relay lives anew: it is taught the flows it had.
    pub(super) fn teach(&mut self, now: Instant, index: usize) {
        self.begin_round(now, index, Task::Teach);
    }

    /// Shows a relay's state in the metrics.
    pub(super) fn show_state(&self, index: usize) {
        let relay = self.edges[index].relay().0.to_string();
        for state in RelayState::ALL {
            let is = i64::from(self.liveness.state(index) == state);
            self.config.metrics.relay_state.with_label_values(&[relay.as_str(), state.as_str()]).set(is);
        }
    }

    /// Begins a round; the same one, if it is under way, begins anew.
    fn begin_round(&mut self, now: Instant, relay: usize, task: Task) {
        self.rounds.retain(|round| (round.relay, round.task) != (relay, task));
        let addresses = self.edges[relay].candidates().iter().map(|candidate| candidate.address).collect();
        let round = Round { relay, addresses, task, next: 0, since: now };
        match task {
            // Silence is heard by the callers; nothing else here is.
            Task::Leave(RelayNotice::Lost) => self.rounds.push_front(round),
            _ => self.rounds.push_back(round),
        }
    }

    /// One slice of the oldest round.
    fn carry_round_on(&mut self, now: Instant) {
        let Some(mut round) = self.rounds.pop_front() else { return };
        let slots: Vec<Slot> =
            self.calls.range(round.next..).map(|(slot, _)| *slot).take(CALLS_AT_ONCE).collect();
        for slot in &slots {
            match round.task {
                // A connection does not outlive its relay.
                Task::Teach => self.refresh(now, *slot, |path| {
                    path.client.transport == ClientTransport::Udp && round.addresses.contains(&path.relay)
                }),
                Task::Leave(notice) => self.leave(now, *slot, &round.addresses, notice),
                Task::Stay => self.work(now, *slot, |call, _| call.relay_stays(&round.addresses)),
            }
        }
        if let Some(last) = slots.last().filter(|_| slots.len() == CALLS_AT_ONCE) {
            round.next = last + 1;
            self.rounds.push_front(round);
        }
    }

    /// Moves a call away from a relay, if it carries it.
    fn leave(&mut self, now: Instant, slot: Slot, addresses: &[SocketAddr], notice: RelayNotice) {
        let mut was_carried = false;
        self.work(now, slot, |call, sink| was_carried = call.relay_goes(now, addresses, notice, sink));
        if was_carried {
            self.config.metrics.relay_failovers.with_label_values(&[notice.cause()]).inc();
        }
    }
}
