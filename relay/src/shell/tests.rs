//! The relay with real sockets on the loopback interface.

use std::net::UdpSocket;

use super::*;
use crate::classify::binding_request;
use crate::tunnel::{Endpoint, Kind, Outgoing, Side, TunnelKey};
use crate::ufrag::{Route, UfragKey, seal, session_end_minutes};

const NODE: NodeIndex = NodeIndex(4);
const SESSION: u32 = 0x1234_5678;
/// Far beyond anything loopback needs; only a broken relay reaches it.
const PATIENCE: Duration = Duration::from_secs(20);

struct Node {
    socket: UdpSocket,
    endpoint: Endpoint,
    relay: SocketAddr,
}

impl Node {
    /// The next frame of a kind: its client, payload and residence. Others are taken and skipped.
    fn receive(&mut self, kind: Kind) -> (Option<SocketAddr>, Vec<u8>, Duration) {
        let mut buffer = [0; 2048];
        loop {
            let (length, from) = self.socket.recv_from(&mut buffer).unwrap();
            assert_eq!(from, self.relay);
            let frame = self.endpoint.open(Instant::now(), &buffer[..length]).unwrap();
            if frame.header.kind == kind {
                return (frame.header.client, frame.payload.to_vec(), frame.header.timing.residence);
            }
        }
    }

    fn send(&mut self, kind: Kind, client: Option<SocketAddr>, payload: &[u8]) {
        let mut frame = Vec::new();
        let outgoing = Outgoing { kind, session: SESSION, client, since: None, payload };
        self.endpoint.seal(Instant::now(), &outgoing, &mut frame).unwrap();
        self.socket.send_to(&frame, self.relay).unwrap();
    }
}

fn socket(address: &str) -> UdpSocket {
    let socket = UdpSocket::bind(address).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket
}

fn unix() -> Duration {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap()
}

fn relay_and_node(listen: &str) -> (RelayHandle, Node, Vec<u8>) {
    let tunnel = socket("127.0.0.1:0");
    let key = TunnelKey::new(1, [8; 32]);
    let ufrag_key = UfragKey::new(2, [5; 16], 9).unwrap();
    let entry = NodeEntry { address: tunnel.local_addr().unwrap(), key: key.clone(), epoch: 3 };
    let handle = spawn(RelayConfig {
        listen: listen.parse().unwrap(),
        tunnel: "127.0.0.1:0".parse().unwrap(),
        relay_id: RelayId(11),
        key_ring: KeyRing::new([ufrag_key.clone()]),
        nodes: vec![(NODE, entry)],
        limits: FlowLimits::default(),
    })
    .unwrap();
    let session_end_minutes = session_end_minutes(unix() + Duration::from_hours(1));
    let route = Route { cell: 0, node: NODE, node_epoch: 3, session_end_minutes, random: SESSION, flags: 0 };
    let ufrag = seal(&ufrag_key, &route).unwrap();
    let endpoint = Endpoint::new(Side::Node, RelayId(11), NODE, key, Instant::now(), unix());
    let node = Node { socket: tunnel, endpoint, relay: handle.tunnel_addr() };
    (handle, node, binding_request(format!("{ufrag}:peer").as_bytes(), [3; 12]))
}

/// A call: request, confirmation, media in both directions, release.
fn call(listen: &str, client: &str, reach: &str) {
    let (handle, mut node, request) = relay_and_node(listen);
    let client = socket(client);
    let public = SocketAddr::new(reach.parse().unwrap(), handle.local_addr().port());
    let address = client.local_addr().unwrap();
    node.receive(Kind::Hello);
    node.send(Kind::Refresh, None, &[]);

    client.send_to(&[0x80, 0, 0, 0], public).unwrap();
    client.send_to(&request, public).unwrap();
    let (seen, payload, residence) = node.receive(Kind::Up);
    assert_eq!((seen, payload), (Some(address), request));
    assert!(residence < PATIENCE);

    node.send(Kind::Confirm, Some(address), &[]);
    let mut buffer = [0; 2048];
    for number in 0..200_u8 {
        let media = [0x80, 111, 0, number];
        node.send(Kind::Down { confirmed: true }, Some(address), &media);
        let (length, from) = client.recv_from(&mut buffer).unwrap();
        assert_eq!((&buffer[..length], from), (&media[..], public));
        client.send_to(&media, public).unwrap();
        assert_eq!(node.receive(Kind::Up).1, media);
    }
    assert!(node.endpoint.round_trip().is_some());
    let stats = shut_down_and_count(handle);
    assert_eq!((stats.up_datagrams, stats.down_datagrams, stats.confirmed), (201, 200, 1));
    assert_eq!((stats.drop_unassured_media, stats.assured_flows, stats.send_errors), (1, 1, 0));
}

/// Stopping publishes nothing more, so the counters are read once the thread has ended its last round.
fn shut_down_and_count(handle: RelayHandle) -> RelayStats {
    let stats = Arc::clone(&handle.stats);
    handle.shutdown();
    *stats.lock().unwrap()
}

#[test]
fn a_call_goes_from_client_over_relay_to_node_and_back() {
    call("127.0.0.1:0", "127.0.0.1:0", "127.0.0.1");
}

#[test]
fn a_dual_stack_socket_serves_ipv4_clients_under_their_plain_address() {
    call("[::]:0", "127.0.0.1:0", "127.0.0.1");
}

#[test]
fn a_burst_larger_than_a_batch_arrives_whole_and_in_order() {
    let (handle, mut node, request) = relay_and_node("127.0.0.1:0");
    let client = socket("127.0.0.1:0");
    client.send_to(&request, handle.local_addr()).unwrap();
    let (address, ..) = node.receive(Kind::Up);
    node.send(Kind::Down { confirmed: true }, address, &[1, 1, 0, 0]);
    client.recv_from(&mut [0; 64]).unwrap();
    for number in 0..100_u16 {
        let [high, low] = number.to_be_bytes();
        client.send_to(&[0x80, 0, high, low], handle.local_addr()).unwrap();
    }
    for number in 0..100_u16 {
        let [high, low] = number.to_be_bytes();
        assert_eq!(node.receive(Kind::Up).1, [0x80, 0, high, low]);
    }
}

#[test]
fn a_datagram_longer_than_any_buffer_is_counted_and_goes_nowhere() {
    let (handle, mut node, request) = relay_and_node("127.0.0.1:0");
    let client = socket("127.0.0.1:0");
    client.send_to(&[0x80; 4000], handle.local_addr()).unwrap();
    client.send_to(&request, handle.local_addr()).unwrap();
    assert_eq!(node.receive(Kind::Up).1, request);
    assert_eq!(shut_down_and_count(handle).drop_client_oversize, 1);
}

#[test]
fn a_shut_down_relay_has_freed_its_port() {
    let (handle, ..) = relay_and_node("127.0.0.1:0");
    let address = handle.local_addr();
    handle.shutdown();
    UdpSocket::bind(address).unwrap();
}

#[test]
fn a_port_in_use_is_an_error() {
    let (handle, ..) = relay_and_node("127.0.0.1:0");
    let config = RelayConfig {
        listen: handle.local_addr(),
        tunnel: "127.0.0.1:0".parse().unwrap(),
        relay_id: RelayId(1),
        key_ring: KeyRing::default(),
        nodes: Vec::new(),
        limits: FlowLimits::default(),
    };
    assert_eq!(spawn(config).map(|_| ()).unwrap_err().kind(), io::ErrorKind::AddrInUse);
}
