//! Datagrams in and out: frames of relays to calls, packets of calls to relays, and who owns which client address.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use voxgate_media::transport::Path;
use voxgate_protocol::path::ClientAddress;
use voxgate_relay::classify;
use voxgate_relay::tunnel::{self, Frame, Kind, Lane, Outgoing};

use super::super::Slot;
use super::super::call::TunnelTimes;
use super::super::edge::Edge;
use super::{Owner, Switchboard};

/// An address belongs to its call until the call has not been heard from it for this long. Whoever forges the source
/// address of a live call can therefore not move it, and a port that a network gives to somebody else is soon free.
const ADDRESS_HELD: Duration = Duration::from_secs(5);

impl Switchboard {
    /// A datagram came to the socket: a frame, or several.
    pub(in super::super) fn handle_datagram(&mut self, now: Instant, from: SocketAddr, datagram: &[u8]) {
        if !self.edges.iter().any(|edge| edge.sends_from(from)) {
            return self.drop_frame("unknown_relay");
        }
        // What follows a frame that is not authentic is no relay's either, and not worth a look.
        let mut frames = tunnel::frames(datagram);
        while frames.next().is_some_and(|frame| self.handle_frame(now, from, frame)) {}
    }

    /// Whether the frame is authentic.
    fn handle_frame(&mut self, now: Instant, from: SocketAddr, bytes: &[u8]) -> bool {
        let Ok(claim) = tunnel::claim(bytes) else {
            self.drop_frame("malformed");
            return false;
        };
        let claimed = |edge: &Edge| edge.relay() == claim.relay && edge.sends_from(from);
        let Some(index) = self.edges.iter().position(claimed) else {
            self.drop_frame("unknown_relay");
            return false;
        };
        let Ok(heard) = self.edges[index].open(now, claim.lane, from, bytes) else {
            self.drop_frame("not_authentic");
            return false;
        };
        if heard.lives_anew {
            self.teach(now, index);
        }
        self.relay_heard(now, index, heard.frame.header.kind);
        match (heard.frame.header.kind, heard.frame.header.client) {
            (Kind::Up, Some(client)) => self.handle_up(now, index, client, &heard.frame, heard.times),
            (Kind::Hello { .. }, _) => self.answer_hello(now, index, claim.lane),
            _ => self.drop_frame("unexpected_kind"),
        }
        true
    }

    fn handle_up(
        &mut self,
        now: Instant,
        index: usize,
        client: ClientAddress,
        frame: &Frame<'_>,
        times: TunnelTimes,
    ) {
        let Some(relay) = self.edges[index].reached_at(client) else {
            return self.drop_frame("no_candidate");
        };
        let path = Path { relay, client };
        let Some(slot) = self.slot_of(client, frame.payload) else {
            return self.drop_frame("no_call");
        };
        if let Some(call) = self.calls.get_mut(&slot) {
            call.ways.came(path, frame.header.lane, frame.header.traffic_class);
        }
        self.heard(now, slot, path);
        self.work(now, slot, |call, sink| call.handle_datagram(now, path, frame.payload, times, sink));
    }

    /// Binding requests name their call; everything else belongs to whoever proved to own the address.
    fn slot_of(&self, client: ClientAddress, datagram: &[u8]) -> Option<Slot> {
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
                if self.calls.get(&slot).is_some_and(|call| call.ways.knows(path.client)) {
                    self.claim(now, slot, path);
                }
            }
        }
    }

    /// Gives an address to a call that proved to be behind it, unless a live call holds it.
    pub(super) fn claim(&mut self, now: Instant, slot: Slot, path: Path) {
        let is_held = self.by_client.get(&path.client).is_some_and(|owner| {
            owner.slot != slot && now.saturating_duration_since(owner.heard_at) < ADDRESS_HELD
        });
        if is_held {
            self.drop_frame("address_held");
            return;
        }
        self.by_client.insert(path.client, Owner { slot, heard_at: now });
        self.send(now, slot, path, Kind::Confirm, &[]);
    }

    /// Takes a path from its call and tells the relay.
    pub(super) fn release(&mut self, now: Instant, slot: Slot, path: Path) {
        self.send(now, slot, path, Kind::Release, &[]);
        let Some(call) = self.calls.get_mut(&slot) else { return };
        call.ways.forget(path);
        // The address may still lead here through another relay.
        if !call.ways.knows(path.client) && self.owns(slot, path.client) {
            self.by_client.remove(&path.client);
        }
    }

    /// Sends a datagram to the client. On a path of which nothing is proven, or no longer, it must not make a flow.
    pub(super) fn transmit(&mut self, now: Instant, slot: Slot, path: Path, datagram: &[u8]) {
        let is_proven =
            self.calls.get(&slot).and_then(|call| call.ways.find(path)).is_some_and(|way| way.is_proven);
        let confirmed = is_proven && self.owns(slot, path.client);
        self.send(now, slot, path, Kind::Down { confirmed }, datagram);
    }

    /// Confirms the flows of a call once more: those on paths that are `wanted`.
    pub(super) fn refresh(&mut self, now: Instant, slot: Slot, wanted: impl Fn(Path) -> bool) {
        let Some(call) = self.calls.get(&slot) else { return };
        let paths: Vec<Path> = call.ways.proven().map(|way| way.path).filter(|path| wanted(*path)).collect();
        for path in paths {
            if self.owns(slot, path.client) {
                self.send(now, slot, path, Kind::Refresh, &[]);
            }
        }
    }

    fn owns(&self, slot: Slot, client: ClientAddress) -> bool {
        self.by_client.get(&client).is_some_and(|owner| owner.slot == slot)
    }

    /// Sends a frame that concerns a client through the relay of the path, by the lane the client last came by.
    fn send(&mut self, now: Instant, slot: Slot, path: Path, kind: Kind, payload: &[u8]) {
        let Some(call) = self.calls.get(&slot) else { return };
        let way = call.ways.find(path);
        let outgoing = Outgoing {
            kind,
            session: call.tag,
            client: Some(path.client),
            traffic_class: way.map_or(0, |way| way.traffic_class),
            since: None,
            payload,
        };
        let Some(index) = self.edges.iter().position(|edge| edge.serves(path.relay)) else { return };
        self.send_frame(now, index, way.map_or_else(Lane::default, |way| way.lane), &outgoing);
    }

    pub(super) fn send_frame(&mut self, now: Instant, index: usize, lane: Lane, outgoing: &Outgoing<'_>) {
        let Some(to) = self.edges[index].seal(now, lane, outgoing, &mut self.frame) else { return };
        if let Err(error) = self.socket.try_send_to(&self.frame, to) {
            self.drop_frame("send_failed");
            tracing::trace!(%error, "a tunnel frame was not sent");
        }
    }

    fn drop_frame(&self, reason: &str) {
        self.config.metrics.tunnel_drops.with_label_values(&[reason]).inc();
    }
}
