//! The stream lane with real sockets on the loopback interface.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Instant, SystemTime};

use rustls::pki_types::{PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use voxgate_protocol::framing::{Deframer, MAX_DATAGRAM, frame};
use voxgate_protocol::id::{NodeIndex, RelayId};
use voxgate_protocol::path::{ClientAddress, ClientTransport};

use super::*;
use crate::classify::binding_request;
use crate::core::{Directory, NodeEntry, RelaySettings};
use crate::flow::FlowLimits;
use crate::tunnel::{Endpoint, Kind, Outgoing, Side, TunnelKey};
use crate::ufrag::{KeyRing, Route, UfragKey, seal, session_end_minutes};

const NODE: NodeIndex = NodeIndex(4);
const SESSION: u32 = 0x1234_5678;
const LANE: Lane = Lane(3);
/// Far beyond anything loopback needs; only a broken relay reaches it.
const PATIENCE: Duration = Duration::from_secs(20);

/// A machine that stalls for a moment breaks no test.
fn patient() -> StreamLimits {
    StreamLimits { first_request: PATIENCE, queue_wait: PATIENCE, ..StreamLimits::default() }
}

/// A stream lane with the one node it knows.
struct Scene {
    relay: Arc<Relay>,
    streams: StreamHandle,
    socket: UdpSocket,
    endpoint: Endpoint,
    request: Vec<u8>,
}

impl Scene {
    fn new(limits: StreamLimits, tls: Option<Arc<ServerConfig>>) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        let key = TunnelKey::new(1, [8; 32]);
        let ufrag_key = UfragKey::new(2, [5; 16], 9).unwrap();
        let entry = NodeEntry { address: socket.local_addr().unwrap(), key: key.clone(), epoch: 3 };
        let unix = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
        let relay = Arc::new(Relay::new(RelaySettings {
            relay: RelayId(11),
            directory: Directory {
                key_ring: KeyRing::new([ufrag_key.clone()]),
                nodes: BTreeMap::from([(NODE, entry)]),
            },
            limits: FlowLimits::default(),
            own_addresses: Vec::new(),
            hash_seed: 7,
            epoch: 1,
            started: Instant::now(),
            started_unix: unix,
            heartbeat: RelaySettings::HEARTBEAT,
        }));
        let config = StreamConfig { listen: "127.0.0.1:0".parse().unwrap(), tls, limits };
        let tunnel = UdpSocket::bind("127.0.0.1:0").unwrap();
        let listener = bind(config.listen).unwrap();
        let streams = spawn(Arc::clone(&relay), LANE, listener, tunnel, &config).unwrap();
        let session_end_minutes = session_end_minutes(unix + Duration::from_hours(1));
        let route =
            Route { cell: 0, node: NODE, node_epoch: 3, session_end_minutes, random: SESSION, flags: 0 };
        let ufrag = seal(&ufrag_key, &route).unwrap();
        let request = binding_request(format!("{ufrag}:peer").as_bytes(), [3; 12]);
        let endpoint = Endpoint::new(Side::Node, RelayId(11), NODE, LANE, key, Instant::now(), unix);
        Self { relay, streams, socket, endpoint, request }
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.streams.local_addr()).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
    }

    /// The next frame of a kind: its client and payload. Others are taken and skipped.
    fn receive(&mut self, kind: Kind) -> (Option<ClientAddress>, Vec<u8>) {
        let mut buffer = [0; 2048];
        loop {
            let (length, from) = self.socket.recv_from(&mut buffer).unwrap();
            assert_eq!(from, self.streams.tunnel_addr());
            let frame = self.endpoint.open(Instant::now(), &buffer[..length]).unwrap();
            if frame.header.kind == kind {
                return (frame.header.client, frame.payload.to_vec());
            }
        }
    }

    fn send(&mut self, kind: Kind, client: ClientAddress, payload: &[u8]) {
        let mut frame = Vec::new();
        let client = Some(client);
        let outgoing = Outgoing { kind, session: SESSION, client, traffic_class: 0, since: None, payload };
        self.endpoint.seal(Instant::now(), &outgoing, &mut frame).unwrap();
        self.socket.send_to(&frame, self.streams.tunnel_addr()).unwrap();
    }

    /// Sends the binding request over a connection and confirms its client.
    fn confirm(&mut self, stream: &mut impl Write) -> ClientAddress {
        stream.write_all(&framed(&[&self.request.clone()])).unwrap();
        let (client, payload) = self.receive(Kind::Up);
        assert_eq!(payload, self.request);
        let client = client.unwrap();
        assert_eq!(client.transport, ClientTransport::Tcp);
        self.send(Kind::Confirm, client, &[]);
        client
    }

    /// Media in both directions over a confirmed connection.
    fn exchange(&mut self, stream: &mut (impl Read + Write), client: ClientAddress) {
        let mut arrivals = Arrivals::default();
        for number in 0..100_u8 {
            let media = [0x80, 111, 0, number];
            self.send(Kind::Down { confirmed: true }, client, &media);
            assert_eq!(arrivals.next(stream).as_deref(), Some(&media[..]));
            stream.write_all(&framed(&[&media])).unwrap();
            assert_eq!(self.receive(Kind::Up), (Some(client), media.to_vec()));
        }
    }

    /// Waits for something the lane counts.
    fn until(&self, what: &str, mut holds: impl FnMut(StreamStats) -> bool) -> StreamStats {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let stats = self.streams.stats();
            if holds(stats) {
                return stats;
            }
            assert!(Instant::now() < deadline, "{what}: {stats:?}");
            std::thread::yield_now();
        }
    }
}

fn scene() -> Scene {
    Scene::new(patient(), None)
}

fn framed(datagrams: &[&[u8]]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for datagram in datagrams {
        assert!(frame(&mut bytes, datagram));
    }
    bytes
}

/// Datagrams as they come out of a stream.
#[derive(Default)]
struct Arrivals {
    deframer: Deframer,
    unread: Vec<u8>,
}

impl Arrivals {
    /// The next datagram; nothing at the end of the stream.
    fn next(&mut self, stream: &mut impl Read) -> Option<Vec<u8>> {
        loop {
            let mut piece = &self.unread[..];
            let found = self.deframer.next(&mut piece).unwrap().map(<[u8]>::to_vec);
            self.unread = piece.to_vec();
            if found.is_some() {
                return found;
            }
            let mut buffer = [0; 4096];
            let count = stream.read(&mut buffer).unwrap();
            if count == 0 {
                return None;
            }
            self.unread.extend_from_slice(&buffer[..count]);
        }
    }
}

/// Whether the relay closes the connection, having said nothing.
fn is_closed(stream: &mut TcpStream) -> bool {
    match stream.read(&mut [0; 64]) {
        Ok(count) => count == 0,
        Err(error) => error.kind() == io::ErrorKind::ConnectionReset,
    }
}

/// A server's configuration and a client's that trusts it.
fn tls() -> (Arc<ServerConfig>, Arc<ClientConfig>) {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let server = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(made.cert.der().clone()).unwrap();
    let client = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    (Arc::new(server), Arc::new(client))
}

#[test]
fn a_call_over_tcp_goes_from_client_over_relay_to_node_and_back() {
    let mut scene = scene();
    let mut stream = scene.connect();
    let client = scene.confirm(&mut stream);
    assert_eq!(client.socket, stream.local_addr().unwrap());
    scene.exchange(&mut stream, client);
    let stats = scene.until("everything is counted", |stats| stats.frames_out == 100);
    assert_eq!((stats.open, stats.accepted, stats.frames_in), (1, 1, 101));
    assert_eq!((stats.drop_queue_full, stats.drop_queue_stale, stats.tunnel_send_errors), (0, 0, 0));
}

#[test]
fn tls_and_plain_connections_share_the_port() {
    let (server, client_config) = tls();
    let mut scene = Scene::new(patient(), Some(server));
    let mut plain = scene.connect();
    let plain_client = scene.confirm(&mut plain);
    let name = ServerName::try_from("localhost").unwrap();
    let session = ClientConnection::new(client_config, name).unwrap();
    let mut secure = StreamOwned::new(session, scene.connect());
    let secure_client = scene.confirm(&mut secure);
    scene.exchange(&mut secure, secure_client);
    scene.exchange(&mut plain, plain_client);
    let stats = scene.until("both are open", |stats| stats.open == 2);
    assert_eq!(stats.accepted_tls, 1);
}

#[test]
fn tls_without_a_certificate_is_disconnected() {
    let scene = scene();
    let mut stream = scene.connect();
    stream.write_all(&[0x16, 3, 1, 0, 4, 1, 0, 0, 0]).unwrap();
    assert!(is_closed(&mut stream));
    scene.until("it is counted", |stats| stats.closed_tls == 1 && stats.open == 0);
}

#[test]
fn a_tls_handshake_that_is_none_is_disconnected() {
    let scene = Scene::new(patient(), Some(tls().0));
    let mut stream = scene.connect();
    stream.write_all(&[0x16; 200]).unwrap();
    // An alert may come first.
    let mut rest = Vec::new();
    let _ = stream.read_to_end(&mut rest);
    assert!(rest.len() < 16, "{rest:?}");
    scene.until("it is counted", |stats| stats.closed_tls == 1 && stats.open == 0);
}

#[test]
fn a_forged_ufrag_closes_the_connection_and_reaches_no_node() {
    let mut scene = scene();
    let mut request = scene.request.clone();
    request[30] ^= 1;
    let mut stream = scene.connect();
    stream.write_all(&framed(&[&request])).unwrap();
    assert!(is_closed(&mut stream));
    scene.until("it is counted", |stats| stats.closed_unproven == 1);

    // The next frame the node sees is another client's.
    let mut honest = scene.connect();
    let client = scene.confirm(&mut honest);
    assert_eq!(client.socket, honest.local_addr().unwrap());
}

#[test]
fn media_before_a_binding_request_reaches_no_node() {
    let mut scene = scene();
    let mut stream = scene.connect();
    stream.write_all(&framed(&[&[0x80; 12], &[20, 1], &[0x80; 12]])).unwrap();
    // What the node sees first is the request.
    let client = scene.confirm(&mut stream);
    scene.exchange(&mut stream, client);
}

#[test]
fn media_without_a_binding_request_closes_the_connection() {
    let scene = scene();
    let mut stream = scene.connect();
    stream.write_all(&framed(&[&[0x80][..]; 101])).unwrap();
    assert!(is_closed(&mut stream));
    scene.until("it is counted", |stats| stats.closed_unproven == 1 && stats.open == 0);
}

#[test]
fn a_connection_that_says_nothing_or_only_part_of_a_frame_is_closed_at_the_deadline() {
    let limits = StreamLimits { first_request: Duration::from_millis(50), ..patient() };
    let scene = Scene::new(limits, Some(tls().0));
    let (mut silent, mut slow, mut slow_tls) = (scene.connect(), scene.connect(), scene.connect());
    slow.write_all(&framed(&[&scene.request])[..20]).unwrap();
    slow_tls.write_all(&[0x16, 3, 1]).unwrap();
    for stream in [&mut silent, &mut slow, &mut slow_tls] {
        assert!(is_closed(stream));
    }
    scene.until("all are counted", |stats| stats.closed_late == 3 && stats.open == 0);
}

#[test]
fn a_silent_connection_is_closed_and_frames_that_lead_nowhere_do_not_keep_it() {
    let limits = StreamLimits { idle: Duration::from_millis(100), ..patient() };
    let mut scene = Scene::new(limits, None);
    let mut stream = scene.connect();
    scene.confirm(&mut stream);
    while stream.write_all(&framed(&[&[255, 0, 0]])).is_ok() {
        std::thread::yield_now();
    }
    scene.until("it is counted", |stats| stats.closed_idle == 1 && stats.open == 0);
}

#[test]
fn an_oversize_frame_closes_the_connection() {
    let mut scene = scene();
    let mut stream = scene.connect();
    scene.confirm(&mut stream);
    stream.write_all(&(MAX_DATAGRAM as u16 + 1).to_be_bytes()).unwrap();
    assert!(is_closed(&mut stream));
    scene.until("it is counted", |stats| stats.closed_oversize == 1 && stats.open == 0);
}

#[test]
fn one_source_has_its_share_of_connections_and_gets_it_back() {
    let limits = StreamLimits { per_source: 2, ..patient() };
    let scene = Scene::new(limits, None);
    let kept = [scene.connect(), scene.connect()];
    scene.until("two are open", |stats| stats.open == 2);
    assert!(is_closed(&mut scene.connect()));
    scene.until("the third is refused", |stats| stats.refused_source == 1);
    drop(kept);
    scene.until("both are gone", |stats| stats.open == 0);
    let _third = scene.connect();
    scene.until("there is room again", |stats| stats.open == 1);
}

#[test]
fn connections_above_the_cap_are_refused() {
    let limits = StreamLimits { connections: 1, ..patient() };
    let mut scene = Scene::new(limits, None);
    let mut stream = scene.connect();
    let client = scene.confirm(&mut stream);
    assert!(is_closed(&mut scene.connect()));
    scene.until("it is refused", |stats| stats.refused_full == 1);
    scene.exchange(&mut stream, client);
}

#[test]
fn a_reader_that_stalls_costs_bounded_memory_and_hears_what_comes_after() {
    let limits = StreamLimits { queue_bytes: 8 << 10, ..patient() };
    let mut scene = Scene::new(limits, None);
    let mut stream = scene.connect();
    let client = scene.confirm(&mut stream);
    let deadline = Instant::now() + PATIENCE;
    while scene.streams.stats().drop_queue_full == 0 {
        assert!(Instant::now() < deadline, "{:?}", scene.streams.stats());
        for _ in 0..50 {
            scene.send(Kind::Down { confirmed: true }, client, &[0x80; 1400]);
        }
    }
    // Reading makes room; what is said from now on arrives, behind what the kernel had taken before.
    let last = [0x80, 1, 2, 3];
    let mut arrivals = Arrivals::default();
    loop {
        scene.send(Kind::Down { confirmed: true }, client, &last);
        if arrivals.next(&mut stream).unwrap() == last {
            break;
        }
        assert!(Instant::now() < deadline, "{:?}", scene.streams.stats());
    }
}

#[test]
fn a_closed_connection_ends_its_flow_and_its_client_may_come_back() {
    let mut scene = scene();
    let mut stream = scene.connect();
    let former = scene.confirm(&mut stream);
    scene.exchange(&mut stream, former);
    assert_eq!(scene.relay.flow_counts().assured, 1);
    drop(stream);
    scene.until("it is over", |stats| stats.closed_by_client == 1 && stats.open == 0);
    assert_eq!(scene.relay.flow_counts().assured, 0);
    scene.send(Kind::Down { confirmed: false }, former, &scene.request.clone());

    let mut again = scene.connect();
    let client = scene.confirm(&mut again);
    assert_ne!(client, former);
    scene.exchange(&mut again, client);
}

#[test]
fn a_lane_that_stops_accepting_keeps_its_connections() {
    let mut scene = scene();
    let mut stream = scene.connect();
    let client = scene.confirm(&mut stream);
    scene.streams.stop_accepting();
    let address = scene.streams.local_addr();
    let deadline = Instant::now() + PATIENCE;
    let successor = loop {
        match bind(address) {
            Ok(listener) => break listener,
            Err(error) => assert!(Instant::now() < deadline, "{error}"),
        }
    };
    scene.exchange(&mut stream, client);
    assert_eq!(successor.local_addr().unwrap(), address);
}

#[test]
fn a_stopped_lane_has_closed_its_connections_and_freed_its_port() {
    let mut scene = scene();
    let mut stream = scene.connect();
    scene.confirm(&mut stream);
    let address = scene.streams.local_addr();
    scene.streams.shutdown();
    assert!(is_closed(&mut stream));
    bind(address).unwrap();
}
