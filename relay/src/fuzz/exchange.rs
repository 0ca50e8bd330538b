//! Datagrams on both sockets of a whole relay.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use voxgate_protocol::id::{NodeIndex, RelayId};
use voxgate_protocol::path::ClientAddress;

use super::{tunnel_key, ufrag_keys};
use crate::core::{Directory, NodeEntry, Outbox, Relay, RelayLane, RelaySettings, Socket};
use crate::flow::FlowLimits;
use crate::tunnel::{Endpoint, Kind, Lane, Outgoing, Side};
use crate::ufrag::KeyRing;

const RELAY: RelayId = RelayId(1);
const NODE: NodeIndex = NodeIndex(7);
/// A moment in which the routes of the seeds have not ended.
const UNIX: Duration = Duration::from_secs(30_000 * 60);
/// Datagrams of one input at most; the rest is ignored.
const MOST_DATAGRAMS: usize = 500;

/// A relay with one node.
struct World {
    lane: RelayLane,
    node: Endpoint,
    now: Instant,
    out: Outbox,
    /// Bytes that came from a client minus bytes that left for it, while the node has not confirmed it.
    balance: BTreeMap<ClientAddress, Option<i64>>,
    forwarded: bool,
}

fn node_address() -> SocketAddr {
    SocketAddr::from(([10, 0, 0, 7], 9000))
}

fn client(number: u8) -> ClientAddress {
    ClientAddress::udp(SocketAddr::from(([192, 0, 2, number % 4], u16::from(number))))
}

impl World {
    fn new() -> Self {
        let now = Instant::now();
        let entry = NodeEntry { address: node_address(), key: tunnel_key(), epoch: 1 };
        let nodes = BTreeMap::from([(NODE, entry)]);
        let relay = Relay::new(RelaySettings {
            relay: RELAY,
            directory: Directory { key_ring: KeyRing::new(ufrag_keys()), nodes },
            limits: FlowLimits { assured: 64, ..FlowLimits::default() },
            own_addresses: Vec::new(),
            hash_seed: 1,
            epoch: 0xe0e0_e0e0,
            started: now,
            started_unix: UNIX,
            heartbeat: RelaySettings::HEARTBEAT,
        });
        let mut world = Self {
            lane: RelayLane::new(Arc::new(relay), Lane(0)),
            node: Endpoint::new(Side::Node, RELAY, NODE, Lane(0), tunnel_key(), now, UNIX),
            now,
            out: Outbox::new(),
            balance: BTreeMap::new(),
            forwarded: false,
        };
        world.lane.handle_timeout(now, &mut world.out);
        world.deliver_up();
        world
    }

    /// Hands frames to the node; returns how many carried a client's datagram.
    fn deliver_up(&mut self) -> usize {
        let mut carried = 0;
        for sent in self.out.for_socket(Socket::Tunnel) {
            assert_eq!(sent.to, node_address());
            let frame = self.node.open(self.now, sent.bytes).expect("the relay's frames are good");
            carried += usize::from(frame.header.kind == Kind::Up);
        }
        carried
    }

    fn step(&mut self, what: u8, number: u8, bytes: &[u8]) {
        self.out.clear();
        self.now += Duration::from_millis(u64::from(what >> 2));
        match what & 3 {
            0 | 1 => self.client_sends(client(number), bytes),
            2 => self.lane.handle_tunnel(self.now, self.now, node_address(), bytes, &mut self.out),
            _ => self.node_says(client(number), bytes),
        }
        self.out.clear();
        self.lane.handle_timeout(self.now, &mut self.out);
        self.deliver_up();
    }

    fn client_sends(&mut self, from: ClientAddress, bytes: &[u8]) {
        self.lane.handle_client(self.now, self.now, from, 0, bytes, &mut self.out);
        assert_eq!(self.out.for_socket(Socket::Public).len(), 0);
        let arrived = self.deliver_up();
        self.forwarded |= arrived > 0;
        if let Some(balance) = self.balance.entry(from).or_insert(Some(0)) {
            *balance += i64::try_from(arrived * bytes.len()).unwrap_or(i64::MAX);
        }
    }

    /// The node says something authentic: the first byte is the kind, the second the session.
    fn node_says(&mut self, client: ClientAddress, bytes: &[u8]) {
        let Some(([kind, session], payload)) = bytes.split_first_chunk::<2>() else { return };
        let kind = match kind % 5 {
            0 => Kind::Confirm,
            1 => Kind::Release,
            2 => Kind::Refresh,
            3 => Kind::Down { confirmed: true },
            _ => Kind::Down { confirmed: false },
        };
        let outgoing = Outgoing {
            kind,
            session: 0x00c0_ff00 + u32::from(*session),
            client: Some(client),
            traffic_class: 0,
            since: None,
            payload,
        };
        let mut frame = Vec::new();
        if self.node.seal(self.now, &outgoing, &mut frame).is_err() {
            return;
        }
        self.lane.handle_tunnel(self.now, self.now, node_address(), &frame, &mut self.out);
        let balance = self.balance.entry(client).or_insert(Some(0));
        if !matches!(kind, Kind::Release | Kind::Down { confirmed: false }) {
            *balance = None;
        }
        for sent in self.out.for_socket(Socket::Public) {
            assert_eq!((sent.to, sent.bytes), (client.socket, payload));
            if let Some(balance) = balance {
                *balance -= i64::try_from(payload.len()).unwrap_or(i64::MAX);
                assert!(*balance >= 0, "more bytes left for an unconfirmed client than came from it");
            }
        }
    }
}

/// Whatever arrives, frames go to the listed node only, clients get only what the node sends them, and an unconfirmed
/// client no more than it sent. The input is a sequence of: what and when (1 byte), client (1), length (2), content. Says
/// whether a client's datagram was forwarded.
///
/// # Panics
/// When the invariant does not hold.
pub fn exchange(input: &[u8]) -> bool {
    let mut world = World::new();
    let mut rest = input;
    for _ in 0..MOST_DATAGRAMS {
        let Some(([what, number, high, low], behind)) = rest.split_first_chunk::<4>() else { break };
        let length = usize::from(u16::from_be_bytes([*high, *low])).min(behind.len());
        let (bytes, next) = behind.split_at(length);
        world.step(*what, *number, bytes);
        rest = next;
    }
    world.forwarded
}
