use super::*;
use crate::classify::binding_request;
use crate::tunnel::{Endpoint, Frame, Kind, Lane, MAX_PAYLOAD, Outgoing, Side};
use crate::ufrag::{Route, Ufrag, UfragKey, seal, session_end_minutes};

const UNIX: Duration = Duration::from_secs(1_790_000_000);
const RELAY: RelayId = RelayId(7);
const DTLS: &[u8] = &[22, 0xfe, 0xfd, 0, 0];
const RTP: &[u8] = &[0x80, 111, 0, 1];
const STUN_RESPONSE: &[u8] = &[1, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

/// A relay with nodes 1 and 2, and the nodes' ends of their tunnels.
struct World {
    relay: Arc<Relay>,
    lane: RelayLane,
    nodes: BTreeMap<u32, Endpoint>,
    now: Instant,
    out: Outbox,
}

fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn node_address(node: u32) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, u8::try_from(node).unwrap()], 9000))
}

fn tunnel_key(node: u32) -> TunnelKey {
    TunnelKey::new(1, [u8::try_from(node).unwrap(); 32])
}

fn ufrag_key() -> UfragKey {
    UfragKey::new(3, [3; 16], 1).unwrap()
}

fn route(node: u32, random: u32) -> Route {
    let end = session_end_minutes(UNIX + Duration::from_hours(1));
    Route { cell: 0, node: NodeIndex(node), node_epoch: 0, session_end_minutes: end, random, flags: 0 }
}

fn ufrag(node: u32, random: u32) -> Ufrag {
    seal(&ufrag_key(), &route(node, random)).unwrap()
}

fn request(ufrag: &Ufrag) -> Vec<u8> {
    binding_request(format!("{ufrag}:client").as_bytes(), [9; 12])
}

impl World {
    fn new() -> Self {
        Self::started_at(Instant::now(), UNIX)
    }

    fn started_at(now: Instant, started_unix: Duration) -> Self {
        let entry = |node| {
            let entry = NodeEntry { address: node_address(node), key: tunnel_key(node), epoch: 0 };
            (NodeIndex(node), entry)
        };
        let nodes = [entry(1), entry(2)].into();
        let relay = Arc::new(Relay::new(RelaySettings {
            relay: RELAY,
            directory: Directory { key_ring: KeyRing::new([ufrag_key()]), nodes },
            limits: FlowLimits::default(),
            own_addresses: vec![address("198.51.100.1:3478")],
            hash_seed: 1,
            epoch: RelaySettings::epoch_at(started_unix),
            started: now,
            started_unix,
            heartbeat: RelaySettings::HEARTBEAT,
        }));
        let lane = RelayLane::new(Arc::clone(&relay), Lane(0));
        let node = |node| {
            let key = tunnel_key(node);
            (node, Endpoint::new(Side::Node, RELAY, NodeIndex(node), Lane(0), key, now, started_unix))
        };
        let mut world = Self { relay, lane, nodes: [node(1), node(2)].into(), now, out: Outbox::new() };
        world.greet();
        world
    }

    /// Delivers what is due to the nodes.
    fn greet(&mut self) {
        self.out.clear();
        self.lane.handle_timeout(self.now, &mut self.out);
        self.deliver_up();
    }

    /// Hands every frame to its node; the kinds, nodes and payloads that arrived.
    fn deliver_up(&mut self) -> Vec<(u32, Kind, Vec<u8>)> {
        let mut arrived = Vec::new();
        for Datagram { to, bytes, .. } in self.out.for_socket(Socket::Tunnel) {
            let number = (1..=2).find(|node| node_address(*node) == to).unwrap();
            let endpoint = self.nodes.get_mut(&number).unwrap();
            let Frame { header, payload } = endpoint.open(self.now, bytes).unwrap();
            arrived.push((number, header.kind, payload.to_vec()));
        }
        arrived
    }

    /// A client sends; the nodes and payloads that got it.
    fn client(&mut self, from: SocketAddr, datagram: &[u8]) -> Vec<(u32, Vec<u8>)> {
        self.out.clear();
        let from = ClientAddress::udp(from);
        self.lane.handle_client(self.now, self.now, from, 0, datagram, &mut self.out);
        assert_eq!(self.out.for_socket(Socket::Public).count(), 0);
        let up = self.deliver_up().into_iter();
        up.map(|(node, kind, payload)| {
            assert_eq!(kind, Kind::Up);
            (node, payload)
        })
        .collect()
    }

    fn frame(&mut self, node: u32, session: u32, kind: Kind, client: SocketAddr, payload: &[u8]) -> Vec<u8> {
        let mut frame = Vec::new();
        let client = Some(ClientAddress::udp(client));
        let outgoing = Outgoing { kind, session, client, traffic_class: 0, since: None, payload };
        self.nodes.get_mut(&node).unwrap().seal(self.now, &outgoing, &mut frame).unwrap();
        frame
    }

    /// A frame reaches the relay; the clients and payloads that got something.
    fn tunnel(&mut self, from: SocketAddr, frame: &[u8]) -> Vec<(SocketAddr, Vec<u8>)> {
        self.out.clear();
        self.lane.handle_tunnel(self.now, self.now, from, frame, &mut self.out);
        self.out.for_socket(Socket::Public).map(|sent| (sent.to, sent.bytes.to_vec())).collect()
    }

    fn node(&mut self, node: u32, session: u32, kind: Kind, client: SocketAddr, payload: &[u8]) -> usize {
        let frame = self.frame(node, session, kind, client, payload);
        self.tunnel(node_address(node), &frame).len()
    }
}

const DOWN: Kind = Kind::Down { confirmed: false };
const CONFIRMED: Kind = Kind::Down { confirmed: true };

#[test]
fn a_forged_ufrag_reaches_nothing() {
    let mut world = World::new();
    let client = address("192.0.2.1:4000");
    let elsewhere = seal(&UfragKey::new(3, [9; 16], 1).unwrap(), &route(1, 5)).unwrap();
    let unknown_key = seal(&UfragKey::new(4, [9; 16], 1).unwrap(), &route(1, 5)).unwrap();
    assert!(world.client(client, &request(&elsewhere)).is_empty());
    assert!(world.client(client, &request(&unknown_key)).is_empty());
    assert!(world.client(client, &binding_request(b"abcd:efgh", [1; 12])).is_empty());
    assert!(world.client(client, &binding_request(b"", [1; 12])).is_empty());
    let stats = world.lane.stats();
    assert_eq!((stats.drop_forged_ufrag, stats.drop_unknown_ufrag_key), (1, 1));
    assert_eq!((stats.drop_foreign_ufrag, stats.drop_no_ufrag), (1, 1));
    assert_eq!((stats.up_datagrams, world.relay.flow_counts().half_open), (0, 0));
}

#[test]
fn a_valid_ufrag_reaches_only_a_listed_node_in_its_present_life_before_the_session_ends() {
    let mut world = World::new();
    let client = address("192.0.2.1:4000");
    for wrong in [
        route(3, 5),
        Route { node_epoch: 1, ..route(1, 5) },
        Route { session_end_minutes: session_end_minutes(UNIX - Duration::from_hours(1)), ..route(1, 5) },
    ] {
        assert!(world.client(client, &request(&seal(&ufrag_key(), &wrong).unwrap())).is_empty());
    }
    assert_eq!((world.lane.stats().drop_unknown_node, world.lane.stats().drop_ended_session), (2, 1));
    let valid = request(&ufrag(2, 5));
    assert_eq!(world.client(client, &valid), [(2, valid.clone())]);
}

#[test]
fn an_unconfirmed_flow_gets_no_dtls_or_media_through_in_either_direction() {
    let mut world = World::new();
    let client = address("192.0.2.1:4000");
    assert_eq!(world.client(client, &request(&ufrag(1, 5))).len(), 1);
    for datagram in [DTLS, RTP, STUN_RESPONSE] {
        assert!(world.client(client, datagram).is_empty());
    }
    assert_eq!(world.node(1, 5, DOWN, client, DTLS), 0);
    assert_eq!(world.node(1, 5, DOWN, client, RTP), 0);
    let stats = world.lane.stats();
    assert_eq!((stats.drop_unassured_dtls, stats.drop_unassured_media, stats.drop_unassured_stun), (1, 1, 1));
    assert_eq!(stats.drop_down_unassured_class, 2);

    assert_eq!(world.node(1, 5, CONFIRMED, client, STUN_RESPONSE), 1);
    for datagram in [DTLS, RTP, STUN_RESPONSE] {
        assert_eq!(world.client(client, datagram), [(1, datagram.to_vec())]);
        assert_eq!(world.node(1, 5, CONFIRMED, client, datagram), 1);
    }
}

#[test]
fn no_more_bytes_leave_towards_an_unconfirmed_address_than_came_from_it() {
    let mut world = World::new();
    let client = address("192.0.2.1:4000");
    let datagram = request(&ufrag(1, 5));
    world.client(client, &datagram);
    let mut sent = 0;
    for _ in 0..20 {
        sent += STUN_RESPONSE.len() * world.node(1, 5, DOWN, client, STUN_RESPONSE);
    }
    assert!(sent > 0 && sent <= datagram.len(), "{sent} bytes for {}", datagram.len());
    assert!(world.lane.stats().drop_down_budget > 0);
    assert_eq!(world.node(1, 5, DOWN, address("192.0.2.99:4000"), STUN_RESPONSE), 0);
}

#[test]
fn a_spoofed_source_with_a_valid_ufrag_cannot_take_over_a_live_flow() {
    let mut world = World::new();
    let caller = address("192.0.2.1:4000");
    world.client(caller, &request(&ufrag(1, 5)));
    world.node(1, 5, Kind::Confirm, caller, &[]);
    let hostile = request(&ufrag(2, 6));
    assert_eq!(world.client(caller, &hostile), [(2, hostile.clone())]);
    assert_eq!(world.client(caller, RTP), [(1, RTP.to_vec())]);

    // The attacker's own node believes the forged source, because the attacker knows the password of its own session.
    world.node(2, 6, Kind::Confirm, caller, &[]);
    assert_eq!(world.node(2, 6, CONFIRMED, caller, RTP), 0);
    assert_eq!(world.client(caller, RTP), [(1, RTP.to_vec())]);
    assert_eq!(world.lane.stats().refused_takeover, 2);

    world.node(1, 5, Kind::Release, caller, &[]);
    assert!(world.client(caller, RTP).is_empty());
    world.node(2, 6, Kind::Confirm, caller, &[]);
    assert_eq!(world.client(caller, RTP), [(2, RTP.to_vec())]);
}

#[test]
fn a_replayed_tunnel_frame_is_dropped() {
    let mut world = World::new();
    let client = address("192.0.2.1:4000");
    let frame = world.frame(1, 5, CONFIRMED, client, RTP);
    assert_eq!(world.tunnel(node_address(1), &frame).len(), 1);
    assert_eq!(world.tunnel(node_address(1), &frame).len(), 0);
    assert_eq!(world.lane.stats().drop_tunnel_replayed, 1);
}

#[test]
fn a_frame_with_a_wrong_mac_or_from_a_wrong_place_is_dropped() {
    let mut world = World::new();
    let client = address("192.0.2.1:4000");
    let frame = world.frame(1, 5, CONFIRMED, client, RTP);
    let mut forged = frame.clone();
    *forged.last_mut().unwrap() ^= 1;
    assert!(world.tunnel(node_address(1), &forged).is_empty());
    assert!(world.tunnel(node_address(2), &frame).is_empty());
    assert!(world.tunnel(client, &frame).is_empty());
    assert!(world.tunnel(node_address(1), b"short").is_empty());
    let stats = world.lane.stats();
    assert_eq!(
        (stats.drop_tunnel_forged, stats.drop_tunnel_unlisted, stats.drop_tunnel_malformed),
        (1, 2, 1)
    );
    assert_eq!(world.tunnel(node_address(1), &frame).len(), 1);
}

#[test]
fn a_mapped_and_a_plain_address_are_one_client() {
    let mut world = World::new();
    let (plain, mapped) = (address("192.0.2.1:4000"), address("[::ffff:192.0.2.1]:4000"));
    world.client(mapped, &request(&ufrag(1, 5)));
    let frame = world.frame(1, 5, CONFIRMED, plain, RTP);
    assert_eq!(world.tunnel(node_address(1), &frame), [(plain, RTP.to_vec())]);
    assert_eq!(world.client(mapped, RTP).len(), 1);
    assert_eq!(world.client(plain, RTP).len(), 1);
    assert_eq!(world.relay.flow_counts().assured, 1);
}

#[test]
fn port_zero_and_addresses_no_client_can_have_are_refused_in_both_directions() {
    let mut world = World::new();
    let valid = request(&ufrag(1, 5));
    let impossible = [
        "192.0.2.1:0",
        "0.0.0.0:5",
        "[::]:5",
        "224.0.0.1:5",
        "255.255.255.255:5",
        "[ff02::1]:5",
        "[::ffff:0.0.0.0]:5",
    ];
    for text in impossible {
        assert!(world.client(address(text), &valid).is_empty(), "{text}");
        assert_eq!(world.node(1, 5, CONFIRMED, address(text), RTP), 0, "{text}");
    }
    assert!(world.client(address("[::ffff:198.51.100.1]:3478"), &valid).is_empty());
    assert_eq!(world.lane.stats().drop_client_address, impossible.len() as u64 + 1);
    assert_eq!(world.lane.stats().drop_down_address, impossible.len() as u64);
}

#[test]
fn a_datagram_of_no_known_protocol_and_an_oversized_one_are_dropped() {
    let mut world = World::new();
    let client = address("192.0.2.1:4000");
    world.node(1, 5, Kind::Confirm, client, &[]);
    for datagram in [&[][..], &[16, 0], &[64, 0], &[200, 0], &[0x80; MAX_PAYLOAD + 1]] {
        assert!(world.client(client, datagram).is_empty());
    }
    let stats = world.lane.stats();
    assert_eq!((stats.drop_client_class, stats.drop_client_oversize), (4, 1));
    assert_eq!(world.client(client, &[0x80; MAX_PAYLOAD]).len(), 1);
}

#[test]
fn a_restarted_relay_sends_down_at_once_and_learns_flows_when_the_node_knows_its_new_life() {
    let client = address("192.0.2.1:4000");
    let mut before = World::new();
    before.node(1, 5, Kind::Confirm, client, &[]);
    let recorded = before.frame(1, 5, Kind::Confirm, client, &[]);

    let mut after = World::started_at(before.now, UNIX + Duration::from_secs(1));
    after.nodes = before.nodes;
    assert!(after.tunnel(node_address(1), &recorded).is_empty());
    assert_eq!(after.node(1, 5, CONFIRMED, client, RTP), 1);
    assert!(after.client(client, RTP).is_empty(), "a frame of an earlier life teaches no flow");
    assert_eq!(after.lane.stats().tunnel_stale_epoch, 2);

    after.now += Duration::from_millis(100);
    assert!(after.lane.poll_timeout().unwrap() <= after.now);
    after.greet();
    after.node(1, 5, Kind::Refresh, client, &[]);
    assert_eq!(after.client(client, RTP), [(1, RTP.to_vec())]);
}

/// When a lane says hello to nodes 1 and 2, in milliseconds from the start; node 1 answers.
fn hellos_of(lane: Lane, for_seconds: u64) -> [Vec<u128>; 2] {
    let mut world = World::new();
    let start = world.now;
    world.lane = RelayLane::new(Arc::clone(&world.relay), lane);
    let mut node = Endpoint::new(
        Side::Node,
        RELAY,
        NodeIndex(1),
        lane,
        tunnel_key(1),
        start,
        UNIX + Duration::from_nanos(1),
    );
    let mut sent = [Vec::new(), Vec::new()];
    while world.now < start + Duration::from_secs(for_seconds) {
        world.out.clear();
        world.lane.handle_timeout(world.now, &mut world.out);
        for Datagram { to, bytes, .. } in world.out.for_socket(Socket::Tunnel) {
            let number = usize::from(to == node_address(2));
            sent[number].push((world.now - start).as_millis());
            if number == 0 {
                node.open(world.now, bytes).unwrap();
            }
        }
        let answer = Outgoing {
            kind: Kind::Refresh,
            session: 0,
            client: None,
            traffic_class: 0,
            since: None,
            payload: &[],
        };
        let mut frame = Vec::new();
        node.seal(world.now, &answer, &mut frame).unwrap();
        world.tunnel(node_address(1), &frame);
        world.now = world.lane.poll_timeout().unwrap();
    }
    assert_eq!(world.lane.stats().drop_down_address, 0);
    sent
}

#[test]
fn the_first_lane_says_a_heartbeat_to_every_node_at_a_steady_pace() {
    for sent in hellos_of(Lane(0), 1) {
        assert_eq!(sent, (0..20).map(|beat| beat * 50).collect::<Vec<_>>());
    }
}

#[test]
fn the_other_lanes_say_hello_until_the_node_answers_and_then_rarely() {
    let [answering, silent] = hellos_of(Lane(3), 20);
    assert_eq!(answering, [0, 5000, 10_000, 15_000]);
    assert_eq!(silent, [0, 250, 750, 1750, 3750, 7750, 12_750, 17_750]);
}

/// What the next hello says of datagrams for clients.
fn told_of_stays(world: &mut World) -> Duration {
    world.now += RelaySettings::HEARTBEAT;
    world.out.clear();
    world.lane.handle_timeout(world.now, &mut world.out);
    let told = world.out.for_socket(Socket::Tunnel).map(|Datagram { to, bytes, .. }| {
        let number = (1..=2).find(|node| node_address(*node) == to).unwrap();
        world.nodes.get_mut(&number).unwrap().open(world.now, bytes).unwrap().header.timing.residence
    });
    let told: Vec<Duration> = told.collect();
    assert!(told.len() == 2 && told[0] == told[1], "{told:?}");
    told[0]
}

#[test]
fn a_hello_says_how_long_datagrams_for_clients_stay_lately() {
    const MS: Duration = Duration::from_millis(1);
    let mut world = World::new();
    assert_eq!(told_of_stays(&mut world), Duration::ZERO);
    world.lane.stayed(1, 10 * MS);
    world.lane.stayed(3, 110 * MS);
    assert_eq!(told_of_stays(&mut world), 30 * MS);
    assert_eq!(told_of_stays(&mut world), 30 * MS, "nothing was sent since");
    world.lane.stayed(2, 4 * MS);
    assert_eq!(told_of_stays(&mut world), 2 * MS);
}

#[test]
fn flows_end_when_idle_and_the_next_deadline_says_so() {
    let mut world = World::new();
    let client = address("192.0.2.1:4000");
    let limits = FlowLimits::default();
    world.client(client, &request(&ufrag(1, 5)));
    world.node(2, 6, Kind::Confirm, address("192.0.2.2:4000"), &[]);
    assert_eq!(world.relay.flow_counts().half_open, 1);
    world.now += limits.half_open_age;
    world.greet();
    assert_eq!((world.relay.flow_counts().half_open, world.lane.stats().expired_half_open), (0, 1));
    world.now += limits.assured_idle - limits.half_open_age;
    world.greet();
    assert_eq!((world.relay.flow_counts().assured, world.lane.stats().expired_assured), (0, 1));
    assert!(world.client(address("192.0.2.2:4000"), RTP).is_empty());
}
