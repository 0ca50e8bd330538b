//! A relay with its nodes and clients in virtual time, as the behaviour tests drive it.

#![allow(dead_code, reason = "every test file uses another part")]

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use voxgate_protocol::id::{NodeIndex, RelayId};
use voxgate_protocol::path::ClientAddress;
use voxgate_relay::core::{
    Datagram, Directory, NodeEntry, Outbox, Relay, RelayLane, RelaySettings, RelayStats, Socket,
};
use voxgate_relay::flow::FlowLimits;
use voxgate_relay::fuzz::stun_request;
use voxgate_relay::tunnel::{Endpoint, Frame, Kind, Lane, Outgoing, Side, TunnelKey};
use voxgate_relay::ufrag::{KeyRing, Route, UfragKey, seal, session_end_minutes};

/// When the relay starts, on the wall clock.
pub(crate) const UNIX: Duration = Duration::from_secs(1_790_000_000);
/// Its identity.
pub(crate) const RELAY: RelayId = RelayId(7);
/// A media datagram.
pub(crate) const RTP: &[u8] = &[0x80, 111, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3];
/// A DTLS datagram.
pub(crate) const DTLS: &[u8] = &[22, 0xfe, 0xfd, 0, 0];
/// A STUN success response without attributes.
pub(crate) const STUN_RESPONSE: &[u8] =
    &[1, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
/// A node's datagram for an address it has validated.
pub(crate) const CONFIRMED: Kind = Kind::Down { confirmed: true };
/// A node's datagram for an address it has not validated.
pub(crate) const UNCONFIRMED: Kind = Kind::Down { confirmed: false };

/// What arrived at a node: its number, the kind of frame, the session and the payload.
pub(crate) type Arrived = (u32, Kind, u32, Vec<u8>);

/// A relay of several lanes, the nodes' ends of their tunnels, and a clock.
pub(crate) struct World {
    pub(crate) relay: Arc<Relay>,
    pub(crate) lanes: Vec<RelayLane>,
    pub(crate) ends: BTreeMap<(u32, Lane), Endpoint>,
    pub(crate) now: Instant,
    pub(crate) unix: Duration,
    pub(crate) out: Outbox,
}

pub(crate) fn client(text: &str) -> ClientAddress {
    ClientAddress::udp(text.parse().unwrap())
}

pub(crate) fn node_address(node: u32) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, u8::try_from(node).unwrap()], 9000))
}

pub(crate) fn tunnel_key(node: u32) -> TunnelKey {
    TunnelKey::new(1, [u8::try_from(node).unwrap(); 32])
}

pub(crate) fn ufrag_key(id: u8) -> UfragKey {
    UfragKey::new(id, [id; 16], 1).unwrap()
}

/// A route of a session that ends in an hour.
pub(crate) fn route(node: u32, session: u32) -> Route {
    let end = session_end_minutes(UNIX + Duration::from_hours(1));
    Route {
        cell: 0,
        node: NodeIndex(node),
        node_epoch: 0,
        session_end_minutes: end,
        random: session,
        flags: 0,
    }
}

/// The binding request of a client whose ufrag was sealed with a key.
pub(crate) fn request_under(key: &UfragKey, route: &Route) -> Vec<u8> {
    let ufrag = seal(key, route).unwrap();
    stun_request(format!("{ufrag}:client").as_bytes(), [9; 12])
}

/// The binding request of a client of a session.
pub(crate) fn request(node: u32, session: u32) -> Vec<u8> {
    request_under(&ufrag_key(3), &route(node, session))
}

/// The allow-list: key 3, and nodes `1..=nodes`.
pub(crate) fn directory(nodes: u32) -> Directory {
    let entry = |node| {
        let entry = NodeEntry { address: node_address(node), key: tunnel_key(node), epoch: 0 };
        (NodeIndex(node), entry)
    };
    Directory { key_ring: KeyRing::new([ufrag_key(3)]), nodes: (1..=nodes).map(entry).collect() }
}

impl World {
    /// A relay of one lane with two nodes.
    pub(crate) fn new() -> Self {
        Self::with(1, FlowLimits::default())
    }

    /// A relay of some lanes with two nodes.
    pub(crate) fn with(lanes: u8, limits: FlowLimits) -> Self {
        let mut world = Self::empty(Instant::now(), UNIX);
        world.start_relay(lanes, limits);
        for node in 1..=2 {
            world.start_node(node, lanes);
        }
        world.tick();
        world
    }

    fn empty(now: Instant, unix: Duration) -> Self {
        let relay = Arc::new(Relay::new(settings(now, unix, FlowLimits::default())));
        Self { relay, lanes: Vec::new(), ends: BTreeMap::new(), now, unix, out: Outbox::new() }
    }

    /// A new life of the relay, which knows nothing of the one before.
    pub(crate) fn start_relay(&mut self, lanes: u8, limits: FlowLimits) {
        self.relay = Arc::new(Relay::new(settings(self.now, self.unix, limits)));
        self.lanes = (0..lanes).map(|lane| RelayLane::new(Arc::clone(&self.relay), Lane(lane))).collect();
    }

    pub(crate) fn start_node(&mut self, node: u32, lanes: u8) {
        for lane in (0..lanes).map(Lane) {
            let index = NodeIndex(node);
            let end = Endpoint::new(Side::Node, RELAY, index, lane, tunnel_key(node), self.now, self.unix);
            self.ends.insert((node, lane), end);
        }
    }

    pub(crate) fn advance(&mut self, by: Duration) {
        self.now += by;
        self.unix += by;
    }

    /// Does what is due, and hands what is sent to the nodes.
    pub(crate) fn tick(&mut self) -> Vec<Arrived> {
        let mut arrived = Vec::new();
        for lane in 0..self.lanes.len() {
            self.out.clear();
            self.lanes[lane].handle_timeout(self.now, &mut self.out);
            arrived.extend(self.deliver_up());
        }
        arrived
    }

    fn deliver_up(&mut self) -> Vec<Arrived> {
        let mut arrived = Vec::new();
        for Datagram { to, bytes, .. } in self.out.for_socket(Socket::Tunnel) {
            let claim = voxgate_relay::tunnel::claim(bytes).unwrap();
            assert_eq!(to, node_address(claim.node.0), "a frame leaves for its node's listed address");
            let Some(end) = self.ends.get_mut(&(claim.node.0, claim.lane)) else { continue };
            let Frame { header, payload } = end.open(self.now, bytes).unwrap();
            arrived.push((claim.node.0, header.kind, header.session, payload.to_vec()));
        }
        arrived
    }

    /// A client sends to the first lane; what arrived where.
    pub(crate) fn client(&mut self, from: ClientAddress, datagram: &[u8]) -> Vec<Arrived> {
        self.client_on(0, from, datagram)
    }

    pub(crate) fn client_on(&mut self, lane: usize, from: ClientAddress, datagram: &[u8]) -> Vec<Arrived> {
        self.out.clear();
        self.lanes[lane].handle_client(self.now, self.now, from, 0, datagram, &mut self.out);
        assert_eq!(self.out.for_socket(Socket::Public).len(), 0, "a client's datagram answers no client");
        self.deliver_up()
    }

    /// Whether a client's media reaches this session of this node, and nothing else.
    pub(crate) fn is_heard(&mut self, from: ClientAddress, node: u32, session: u32) -> bool {
        self.client(from, RTP) == [(node, Kind::Up, session, RTP.to_vec())]
    }

    pub(crate) fn frame(
        &mut self,
        (node, lane): (u32, Lane),
        session: u32,
        kind: Kind,
        client: ClientAddress,
        payload: &[u8],
    ) -> Vec<u8> {
        let mut frame = Vec::new();
        let outgoing =
            Outgoing { kind, session, client: Some(client), traffic_class: 0, since: None, payload };
        self.ends.get_mut(&(node, lane)).unwrap().seal(self.now, &outgoing, &mut frame).unwrap();
        frame
    }

    /// A node speaks to the first lane; what leaves for clients.
    pub(crate) fn node(
        &mut self,
        node: u32,
        session: u32,
        kind: Kind,
        client: ClientAddress,
        payload: &[u8],
    ) -> Vec<(SocketAddr, Vec<u8>)> {
        let frame = self.frame((node, Lane(0)), session, kind, client, payload);
        self.tunnel(0, node_address(node), &frame)
    }

    pub(crate) fn tunnel(
        &mut self,
        lane: usize,
        from: SocketAddr,
        frame: &[u8],
    ) -> Vec<(SocketAddr, Vec<u8>)> {
        self.out.clear();
        self.lanes[lane].handle_tunnel(self.now, self.now, from, frame, &mut self.out);
        self.out.for_socket(Socket::Public).map(|sent| (sent.to, sent.bytes.to_vec())).collect()
    }

    /// A call as it comes to be: a check, its confirmed answer, and media.
    pub(crate) fn call(&mut self, from: ClientAddress, node: u32, session: u32) {
        assert_eq!(self.client(from, &request(node, session)).len(), 1);
        assert_eq!(self.node(node, session, CONFIRMED, from, STUN_RESPONSE).len(), 1);
        assert!(self.is_heard(from, node, session));
    }

    pub(crate) fn stats(&self) -> RelayStats {
        self.lanes.iter().map(RelayLane::stats).sum()
    }
}

/// Random numbers that a seed determines (SplitMix64, Steele et al. 2014).
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `limit`.
    pub(crate) fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() % limit as u64).unwrap()
    }

    /// An IPv4 address and port a client can have.
    pub(crate) fn client(&mut self) -> ClientAddress {
        let [a, b, c, high, low, ..] = self.next().to_be_bytes();
        ClientAddress::udp(SocketAddr::from(([100, a, b, c], u16::from_be_bytes([high, low]).max(1))))
    }
}

fn settings(started: Instant, started_unix: Duration, limits: FlowLimits) -> RelaySettings {
    RelaySettings {
        relay: RELAY,
        directory: directory(2),
        limits,
        own_addresses: vec!["198.51.100.1:3478".parse().unwrap()],
        hash_seed: 1,
        epoch: RelaySettings::epoch_at(started_unix),
        started,
        started_unix,
        heartbeat: RelaySettings::HEARTBEAT,
    }
}
