//! The relay with real sockets on the loopback interface.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::UdpSocket;
use std::num::NonZero;

use nix::sys::socket::{setsockopt, sockopt};
use voxgate_protocol::path::ClientAddress;

use super::batch::ReceiveBatch;
use super::*;
use crate::classify::binding_request;
use crate::core::NodeEntry;
use crate::tunnel::{Endpoint, FrameHeader, Kind, Outgoing, Side, TunnelKey, claim, frames};
use crate::ufrag::{KeyRing, Route, UfragKey, seal, session_end_minutes};

mod calls;
mod taking_over;

const NODE: NodeIndex = NodeIndex(4);
const RELAY: RelayId = RelayId(11);
const SESSION: u32 = 0x1234_5678;
/// Far beyond anything loopback needs; only a broken relay reaches it.
const PATIENCE: Duration = Duration::from_secs(20);

/// A transceiver: one socket, and an end of a tunnel for each lane it has heard.
struct Node {
    socket: UdpSocket,
    key: TunnelKey,
    lanes: BTreeMap<u8, (Endpoint, SocketAddr)>,
    /// Frames of the last datagram that were not asked for yet.
    waiting: VecDeque<(Vec<u8>, SocketAddr)>,
}

impl Node {
    /// The next authentic frame of any kind and lane. One received before is a failure.
    fn receive_any(&mut self) -> (FrameHeader, Vec<u8>) {
        if self.waiting.is_empty() {
            let mut buffer = [0; 2048];
            let (length, from) = self.socket.recv_from(&mut buffer).unwrap();
            self.waiting.extend(frames(&buffer[..length]).map(|frame| (frame.to_vec(), from)));
        }
        let (bytes, from) = self.waiting.pop_front().unwrap();
        let lane = claim(&bytes).unwrap().lane;
        let (endpoint, _) = self.lanes.entry(lane.0).or_insert_with(|| {
            let key = self.key.clone();
            (Endpoint::new(Side::Node, RELAY, NODE, lane, key, Instant::now(), unix()), from)
        });
        let frame = endpoint.open(Instant::now(), &bytes).unwrap();
        (frame.header, frame.payload.to_vec())
    }

    /// The next frame of a kind; others are taken and skipped.
    fn receive(&mut self, kind: Kind) -> (FrameHeader, Vec<u8>) {
        loop {
            let (header, payload) = self.receive_any();
            if header.kind == kind {
                return (header, payload);
            }
        }
    }

    /// Sends a frame through the lane of a former one, for its client.
    fn answer(&mut self, to: &FrameHeader, kind: Kind, payload: &[u8]) {
        let frame = Outgoing {
            kind,
            session: SESSION,
            client: to.client,
            traffic_class: to.traffic_class,
            since: None,
            payload,
        };
        let (endpoint, relay) = self.lanes.get_mut(&to.lane.0).unwrap();
        let mut bytes = Vec::new();
        endpoint.seal(Instant::now(), &frame, &mut bytes).unwrap();
        self.socket.send_to(&bytes, *relay).unwrap();
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

fn ufrag_key() -> UfragKey {
    UfragKey::new(2, [5; 16], 9).unwrap()
}

/// A node, and the settings of a relay that lists it, with two lanes.
fn node_and_config(listen: &str) -> (Node, RelayConfig) {
    let host = if listen.starts_with("[::1]") { "[::1]:0" } else { "127.0.0.1:0" };
    let (tunnel, key) = (socket(host), TunnelKey::new(1, [8; 32]));
    let entry = NodeEntry { address: tunnel.local_addr().unwrap(), key: key.clone(), epoch: 3 };
    let directory = Directory { key_ring: KeyRing::new([ufrag_key()]), nodes: [(NODE, entry)].into() };
    let mut config = RelayConfig::new(listen.parse().unwrap(), host.parse().unwrap(), RELAY, directory);
    config.threads = Threads::Fixed(NonZero::new(2).unwrap());
    (Node { socket: tunnel, key, lanes: BTreeMap::new(), waiting: VecDeque::new() }, config)
}

/// A binding request with the ufrag of the one session.
fn request() -> Vec<u8> {
    let session_end_minutes = session_end_minutes(unix() + Duration::from_hours(1));
    let route = Route { cell: 0, node: NODE, node_epoch: 3, session_end_minutes, random: SESSION, flags: 0 };
    binding_request(format!("{}:peer", seal(&ufrag_key(), &route).unwrap()).as_bytes(), [3; 12])
}

/// Sends the request and confirms its address; from then on the client may send media.
fn connect(client: &UdpSocket, public: SocketAddr, node: &mut Node) -> FrameHeader {
    client.send_to(&request(), public).unwrap();
    let (header, payload) = node.receive(Kind::Up);
    assert_eq!((header.client, payload), (Some(ClientAddress::udp(client.local_addr().unwrap())), request()));
    node.answer(&header, Kind::Down { confirmed: true }, &[1, 1, 0, 0]);
    client.recv_from(&mut [0; 64]).unwrap();
    header
}

fn media(number: u16) -> [u8; 4] {
    let [high, low] = number.to_be_bytes();
    [0x80, 111, high, low]
}
