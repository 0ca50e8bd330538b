//! The relay as a state machine: datagrams and time go in, datagrams and a deadline come out.
//!
//! It owns no socket, reads no clock and draws no random number. Whatever arrives, it answers with datagrams in an
//! [`Outbox`] or with a counter of [`RelayStats`]; there is no third way.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use voxgate_protocol::id::{NodeIndex, RelayId};

use crate::classify::{Class, binding_request_ufrag, is_binding_request};
use crate::flow::{Confirmation, FlowLimits, FlowRefusal, FlowTable, SessionTag};
use crate::tunnel::{
    Endpoint, EndpointError, FrameHeader, Kind, MAX_PAYLOAD, Outgoing, Side, TunnelKey, claim,
};
use crate::ufrag::{KeyRing, UfragError, session_end_minutes};

mod greeting;
mod outbox;
mod stats;
#[cfg(test)]
mod tests;

use greeting::Greeting;
pub use outbox::{Outbox, Socket};
pub use stats::RelayStats;

/// How far clocks of relay and signaling may differ when a session's end is checked.
const END_GRACE: Duration = Duration::from_mins(5);

/// A transceiver the relay may send to.
#[derive(Clone, Debug)]
pub struct NodeEntry {
    /// Its tunnel socket. Frames from any other address are not its.
    pub address: SocketAddr,
    /// The key of the tunnel between this relay and the node.
    pub key: TunnelKey,
    /// Its present life; ufrags sealed for another one lead nowhere.
    pub epoch: u8,
}

/// What a relay starts with.
#[derive(Clone, Debug)]
pub struct RelaySettings {
    /// Its identity in tunnel frames.
    pub relay: RelayId,
    /// The keys of its group.
    pub key_ring: KeyRing,
    /// The allow-list.
    pub nodes: Vec<(NodeIndex, NodeEntry)>,
    /// Bounds of the flow table.
    pub limits: FlowLimits,
    /// Addresses of its own, from which nobody else can be sending.
    pub own_addresses: Vec<SocketAddr>,
    /// A secret random number for the flow table's hashing.
    pub hash_seed: u128,
    /// When the relay starts.
    pub started: Instant,
    /// The same moment on the wall clock, since the Unix epoch.
    pub started_unix: Duration,
}

#[derive(Debug)]
struct Node {
    address: SocketAddr,
    epoch: u8,
    endpoint: Endpoint,
    greeting: Greeting,
}

/// One relay.
#[derive(Debug)]
pub struct Relay {
    relay: RelayId,
    epoch: u32,
    key_ring: KeyRing,
    nodes: BTreeMap<NodeIndex, Node>,
    flows: FlowTable,
    own_addresses: Vec<SocketAddr>,
    started: Instant,
    started_unix: Duration,
    stats: RelayStats,
}

impl Relay {
    /// A relay that knows its nodes and no flow.
    #[must_use]
    pub fn new(settings: RelaySettings) -> Self {
        let [.., a, b, c, d] = settings.started_unix.as_millis().to_be_bytes();
        let mut relay = Self {
            relay: settings.relay,
            epoch: u32::from_be_bytes([a, b, c, d]),
            key_ring: settings.key_ring,
            nodes: BTreeMap::new(),
            flows: FlowTable::new(settings.limits, settings.hash_seed),
            own_addresses: settings.own_addresses.into_iter().map(canonical).collect(),
            started: settings.started,
            started_unix: settings.started_unix,
            stats: RelayStats::default(),
        };
        for (index, entry) in settings.nodes {
            relay.insert_node(settings.started, index, entry);
        }
        relay
    }

    /// Adds a node to the allow-list or replaces it; the relay greets it at the next timeout.
    pub fn insert_node(&mut self, now: Instant, index: NodeIndex, entry: NodeEntry) {
        let side = Side::Relay { epoch: self.epoch };
        let endpoint = Endpoint::new(side, self.relay, index, entry.key, now, self.unix(now));
        let node = Node {
            address: canonical(entry.address),
            epoch: entry.epoch,
            endpoint,
            greeting: Greeting::new(now),
        };
        self.nodes.insert(index, node);
    }

    /// Removes a node: ufrags that name it lead nowhere and its flows carry nothing from now on.
    pub fn remove_node(&mut self, index: NodeIndex) {
        self.nodes.remove(&index);
    }

    /// The keys ufrags are opened with, for rotation.
    pub const fn key_ring_mut(&mut self) -> &mut KeyRing {
        &mut self.key_ring
    }

    /// What the relay has counted, with the present size of its flow table.
    #[must_use]
    pub fn stats(&self) -> RelayStats {
        RelayStats {
            half_open_flows: self.flows.half_open_count() as u64,
            assured_flows: self.flows.assured_count() as u64,
            ..self.stats
        }
    }

    /// The smoothed round trip to a node and back, if frames have been exchanged.
    #[must_use]
    pub fn round_trip(&self, node: NodeIndex) -> Option<Duration> {
        self.nodes.get(&node).and_then(|node| node.endpoint.round_trip())
    }

    /// A datagram came to the public socket at `received_at`, which is `now` or shortly before.
    pub fn handle_client(
        &mut self,
        now: Instant,
        received_at: Instant,
        from: SocketAddr,
        datagram: &[u8],
        out: &mut Outbox,
    ) {
        self.stats.client_datagrams += 1;
        self.stats.client_bytes += datagram.len() as u64;
        let client = canonical(from);
        if !can_be_a_client(client) || self.own_addresses.contains(&client) {
            self.stats.drop_client_address += 1;
        } else if datagram.len() > MAX_PAYLOAD {
            self.stats.drop_client_oversize += 1;
        } else if let Some(tag) = self.destination(now, client, datagram) {
            self.send_up(now, received_at, client, tag, datagram, out);
        }
    }

    /// A datagram came to the tunnel socket at `received_at`, which is `now` or shortly before.
    pub fn handle_tunnel(
        &mut self,
        now: Instant,
        received_at: Instant,
        from: SocketAddr,
        datagram: &[u8],
        out: &mut Outbox,
    ) {
        self.stats.tunnel_datagrams += 1;
        let from = canonical(from);
        let Ok(claim) = claim(datagram) else {
            self.stats.drop_tunnel_malformed += 1;
            return;
        };
        let Some(node) = self.nodes.get_mut(&claim.node).filter(|node| node.address == from) else {
            self.stats.drop_tunnel_unlisted += 1;
            return;
        };
        let frame = match node.endpoint.open(received_at, datagram) {
            Ok(frame) => frame,
            Err(error) => return self.count_tunnel_error(error),
        };
        let present = frame.header.relay_epoch == self.epoch;
        if present {
            node.greeting.answered(now);
        } else {
            self.stats.tunnel_stale_epoch += 1;
            node.greeting.repeat_soon(now);
        }
        self.apply(now, &frame.header, present, frame.payload, out);
    }

    /// Does what is due at `now`: ends flows and greets nodes.
    pub fn handle_timeout(&mut self, now: Instant, out: &mut Outbox) {
        let expired = self.flows.expire(now);
        self.stats.expired_half_open += expired.half_open;
        self.stats.expired_assured += expired.assured;
        let hello = Outgoing { kind: Kind::Hello, session: 0, client: None, since: None, payload: &[] };
        for node in self.nodes.values_mut().filter(|node| node.greeting.due(now)) {
            let sealed = out.push_with(Socket::Tunnel, node.address, |frame| {
                node.endpoint.seal(now, &hello, frame).is_ok()
            });
            node.greeting.sent(now);
            self.stats.hellos_sent += u64::from(sealed);
        }
    }

    /// When [`Self::handle_timeout`] has something to do next.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let greeting = self.nodes.values().map(|node| node.greeting.next()).min();
        self.flows.next_expiry().into_iter().chain(greeting).min()
    }

    /// The session a client's datagram belongs to; `None`, and counted, when it may go nowhere.
    fn destination(&mut self, now: Instant, client: SocketAddr, datagram: &[u8]) -> Option<SessionTag> {
        let class = Class::of(datagram);
        if class == Class::Other {
            self.stats.drop_client_class += 1;
            return None;
        }
        if is_binding_request(datagram) {
            return self.destination_by_ufrag(now, client, datagram);
        }
        let tag = self.flows.uplink(now, client);
        if tag.is_none() {
            match class {
                Class::Stun => self.stats.drop_unassured_stun += 1,
                Class::Dtls => self.stats.drop_unassured_dtls += 1,
                Class::Media | Class::Other => self.stats.drop_unassured_media += 1,
            }
        }
        tag
    }

    fn destination_by_ufrag(
        &mut self,
        now: Instant,
        client: SocketAddr,
        datagram: &[u8],
    ) -> Option<SessionTag> {
        let Some(ufrag) = binding_request_ufrag(datagram) else {
            self.stats.drop_no_ufrag += 1;
            return None;
        };
        let route = match self.key_ring.open(ufrag) {
            Ok(route) => route,
            Err(error) => {
                match error {
                    UfragError::Forged => self.stats.drop_forged_ufrag += 1,
                    UfragError::UnknownKey => self.stats.drop_unknown_ufrag_key += 1,
                    UfragError::Format | UfragError::KeyId | UfragError::Node => {
                        self.stats.drop_foreign_ufrag += 1;
                    }
                }
                return None;
            }
        };
        if route.has_ended(session_end_minutes(self.unix(now)), END_GRACE) {
            self.stats.drop_ended_session += 1;
            return None;
        }
        if self.nodes.get(&route.node).is_none_or(|node| node.epoch != route.node_epoch) {
            self.stats.drop_unknown_node += 1;
            return None;
        }
        let tag = SessionTag { node: route.node, session: route.random };
        if self.flows.request(now, client, tag, datagram.len()).is_err() {
            self.stats.drop_half_open_full += 1;
            return None;
        }
        Some(tag)
    }

    fn send_up(
        &mut self,
        now: Instant,
        received_at: Instant,
        client: SocketAddr,
        tag: SessionTag,
        datagram: &[u8],
        out: &mut Outbox,
    ) {
        let Some(node) = self.nodes.get_mut(&tag.node) else {
            self.stats.drop_unknown_node += 1;
            return;
        };
        let up = Outgoing {
            kind: Kind::Up,
            session: tag.session,
            client: Some(client),
            since: Some(received_at),
            payload: datagram,
        };
        if out.push_with(Socket::Tunnel, node.address, |frame| node.endpoint.seal(now, &up, frame).is_ok()) {
            self.stats.up_datagrams += 1;
            self.stats.up_bytes += datagram.len() as u64;
        }
    }

    /// Acts on an authentic frame. What a node says about flows counts only when it knows the relay's present life:
    /// a confirmation from before a restart may be a recording.
    fn apply(&mut self, now: Instant, header: &FrameHeader, present: bool, payload: &[u8], out: &mut Outbox) {
        let client = header.client.map(canonical);
        let Some(client) = client.filter(|client| can_be_a_client(*client)) else {
            // A refresh without a client answers a hello and has done its work by now.
            if header.kind != Kind::Refresh || header.client.is_some() {
                self.stats.drop_down_address += 1;
            }
            return;
        };
        let tag = SessionTag { node: header.node, session: header.session };
        match header.kind {
            Kind::Confirm | Kind::Refresh => {
                if present {
                    self.confirm(now, client, tag);
                }
            }
            Kind::Release => {
                if present && self.flows.release(client, tag) {
                    self.stats.released += 1;
                }
            }
            Kind::Down { confirmed } => {
                // Sending needs no relay state, so a restart costs a confirmed caller nothing on the way down. A
                // refused flow falls back to what an unconfirmed address may have.
                let free = confirmed && (!present || self.confirm(now, client, tag));
                self.send_down(now, client, tag, free, payload, out);
            }
            Kind::Up | Kind::Hello => {}
        }
    }

    fn confirm(&mut self, now: Instant, client: SocketAddr, tag: SessionTag) -> bool {
        match self.flows.confirm(now, client, tag) {
            Ok(Confirmation::Created) => self.stats.confirmed += 1,
            Ok(Confirmation::Moved) => self.stats.moved += 1,
            Ok(Confirmation::Kept) => {}
            Err(FlowRefusal::Full | FlowRefusal::Budget) => {
                self.stats.refused_assured_full += 1;
                return false;
            }
            Err(FlowRefusal::Owned) => {
                self.stats.refused_takeover += 1;
                return false;
            }
        }
        true
    }

    fn send_down(
        &mut self,
        now: Instant,
        client: SocketAddr,
        tag: SessionTag,
        free: bool,
        payload: &[u8],
        out: &mut Outbox,
    ) {
        if payload.is_empty() {
            self.stats.drop_down_empty += 1;
            return;
        }
        if !free {
            if Class::of(payload) != Class::Stun {
                self.stats.drop_down_unassured_class += 1;
                return;
            }
            if self.flows.reply(now, client, tag, payload.len()).is_err() {
                self.stats.drop_down_budget += 1;
                return;
            }
        }
        out.push(Socket::Public, client, payload);
        self.stats.down_datagrams += 1;
        self.stats.down_bytes += payload.len() as u64;
    }

    const fn count_tunnel_error(&mut self, error: EndpointError) {
        match error {
            EndpointError::Tunnel(_) => self.stats.drop_tunnel_forged += 1,
            EndpointError::OtherTunnel | EndpointError::Reflected => self.stats.drop_tunnel_misdirected += 1,
            EndpointError::Replayed => self.stats.drop_tunnel_replayed += 1,
        }
    }

    fn unix(&self, now: Instant) -> Duration {
        self.started_unix + now.saturating_duration_since(self.started)
    }
}

/// The address with an IPv4 address out of its mapped form, and without what IPv6 adds to a socket address.
fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

/// Whether a client can be there: a port, and an address of one host.
fn can_be_a_client(address: SocketAddr) -> bool {
    let broadcast = matches!(address.ip(), IpAddr::V4(ip) if ip.is_broadcast());
    address.port() != 0 && !address.ip().is_unspecified() && !address.ip().is_multicast() && !broadcast
}
