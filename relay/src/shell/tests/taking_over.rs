use std::io::Write as _;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;

use super::handover::take_over;
use super::*;
use crate::stream::StreamLimits;

/// A path nobody else uses, removed with everything in it at the end.
struct Place(PathBuf);

impl Place {
    fn new(name: &str) -> Self {
        let directory = std::env::temp_dir().join(format!("vg-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        Self(directory)
    }

    fn socket(&self) -> PathBuf {
        self.0.join("handover")
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// The settings of the relay that replaces one.
fn successor(of: &RelayConfig, path: &Path) -> RelayConfig {
    RelayConfig {
        inherited: take_over(path).unwrap(),
        ..RelayConfig::new(of.listen, of.tunnel, of.relay_id, of.directory.clone())
    }
}

fn again(config: &RelayConfig) -> RelayConfig {
    let copy = RelayConfig::new(config.listen, config.tunnel, config.relay_id, config.directory.clone());
    RelayConfig { threads: config.threads, ..copy }
}

/// Sends numbered media until it is told to stop, at most `window` ahead of what has arrived; returns how many.
fn send_numbered(
    client: &UdpSocket,
    public: SocketAddr,
    stop: &AtomicBool,
    arrived: &mpsc::Receiver<()>,
) -> u16 {
    let mut sent = 0;
    while !stop.load(Ordering::Relaxed) {
        client.send_to(&media(sent), public).unwrap();
        sent += 1;
        // Far less than a receive buffer holds: what is lost is lost by the relay.
        if sent >= 50 {
            arrived.recv().unwrap();
        }
    }
    sent
}

#[test]
fn a_relay_that_is_replaced_in_mid_call_loses_and_repeats_no_datagram() {
    let place = Place::new("mid-call");
    let (mut node, config) = node_and_config("127.0.0.1:0");
    let mut relay = spawn(again(&config)).unwrap();
    let public = relay.local_addr();
    let client = socket("127.0.0.1:0");
    let epoch = connect(&client, public, &mut node).relay_epoch;
    let (stop, (arrived, arrivals)) = (AtomicBool::new(false), mpsc::channel());

    std::thread::scope(|scope| {
        let (client, stop) = (&client, &stop);
        let sender = scope.spawn(move || send_numbered(client, public, stop, &arrivals));
        let receiver = scope.spawn(move || {
            let mut expected = 0;
            // The sender's last datagram is one no media has: the node has then received all the others.
            while let (header, payload) = node.receive(Kind::Up)
                && payload.len() == 4
            {
                assert_eq!((payload, header.relay_epoch), (media(expected).to_vec(), epoch));
                expected += 1;
                let _ = arrived.send(());
            }
            expected
        });
        for _ in 0..3 {
            let (done, when_done) = mpsc::channel();
            let server = relay.serve_handover(place.socket(), move || done.send(()).unwrap()).unwrap();
            let next = spawn(successor(&config, &place.socket())).unwrap();
            when_done.recv_timeout(PATIENCE).unwrap();
            assert_eq!((next.local_addr(), next.tunnel_addr()), (public, relay.tunnel_addr()));
            drop(server);
            relay.shutdown();
            relay = next;
        }
        stop.store(true, Ordering::Relaxed);
        let sent = sender.join().unwrap();
        client.send_to(&[0x80, 0], public).unwrap();
        assert_eq!(receiver.join().unwrap(), sent);
        assert_eq!(relay.shutdown().flows.assured, 1);
    });
}

#[test]
fn a_successor_that_goes_away_leaves_the_call_with_the_running_relay() {
    let place = Place::new("gone");
    let (mut node, config) = node_and_config("127.0.0.1:0");
    let relay = spawn(again(&config)).unwrap();
    let client = socket("127.0.0.1:0");
    let server = relay.serve_handover(place.socket(), || panic!("nobody took over")).unwrap();
    let header = connect(&client, relay.local_addr(), &mut node);
    drop(take_over(&place.socket()).unwrap().unwrap());
    // This one goes away after the running relay has stopped.
    let mut inherited = take_over(&place.socket()).unwrap().unwrap();
    let other = Relay::new(RelaySettings {
        relay: RELAY,
        directory: Directory::default(),
        limits: FlowLimits::default(),
        own_addresses: Vec::new(),
        hash_seed: 0,
        epoch: 0,
        started: Instant::now(),
        started_unix: unix(),
        heartbeat: Duration::from_secs(1),
    });
    inherited.receive_flows(&other).unwrap();
    assert_eq!(other.flow_counts().assured, 1);
    drop(inherited);

    client.send_to(&media(1), relay.local_addr()).unwrap();
    assert_eq!(node.receive(Kind::Up).1, media(1));
    node.answer(&header, Kind::Down { confirmed: true }, &media(2));
    let mut buffer = [0; 64];
    assert_eq!(client.recv(&mut buffer).unwrap(), 4);
    drop(server);
    assert!(!place.socket().exists());
    relay.shutdown();
    assert!(take_over(&place.socket()).unwrap().is_none());
}

#[test]
fn the_stream_port_goes_with_the_sockets() {
    let place = Place::new("stream");
    let (mut node, config) = node_and_config("127.0.0.1:0");
    let stream = || {
        let limits = StreamLimits::default();
        Some(StreamConfig { listen: "127.0.0.1:0".parse().unwrap(), tls: None, limits })
    };
    let relay = spawn(RelayConfig { stream: stream(), ..again(&config) }).unwrap();
    let address = relay.stream_addr().unwrap();
    let (done, when_done) = mpsc::channel();
    let _server = relay.serve_handover(place.socket(), move || done.send(()).unwrap()).unwrap();
    let next = spawn(RelayConfig { stream: stream(), ..successor(&config, &place.socket()) }).unwrap();
    when_done.recv_timeout(PATIENCE).unwrap();
    assert_eq!(next.stream_addr(), Some(address));
    relay.shutdown();

    let mut client = TcpStream::connect(address).unwrap();
    client.write_all(&u16::try_from(request().len()).unwrap().to_be_bytes()).unwrap();
    client.write_all(&request()).unwrap();
    let (header, payload) = node.receive(Kind::Up);
    let from = ClientAddress::tcp(client.local_addr().unwrap());
    assert_eq!((header.client, header.lane, payload), (Some(from), Lane(2), request()));
}

#[test]
fn a_relay_of_another_identity_or_address_takes_nothing_over() {
    let place = Place::new("other");
    let (_node, config) = node_and_config("127.0.0.1:0");
    let relay = spawn(again(&config)).unwrap();
    let server = relay.serve_handover(place.socket(), || panic!("nobody took over")).unwrap();
    let mut other_id = successor(&config, &place.socket());
    other_id.relay_id = RelayId(12);
    assert!(spawn(other_id).unwrap_err().to_string().contains("has the id 11, not 12"));
    let mut other_address = successor(&config, &place.socket());
    other_address.listen = "127.0.0.1:1".parse().unwrap();
    assert!(spawn(other_address).unwrap_err().to_string().contains("another address"));
    drop(server);
}

#[test]
fn the_place_of_a_hand_over_is_for_its_user_alone_and_replaces_nothing_but_a_socket() {
    use std::os::unix::fs::PermissionsExt as _;

    let place = Place::new("file");
    let (_node, config) = node_and_config("127.0.0.1:0");
    let relay = spawn(config).unwrap();
    std::fs::write(place.socket(), b"something").unwrap();
    let refused = relay.serve_handover(place.socket(), || ()).unwrap_err();
    assert_eq!(refused.kind(), io::ErrorKind::AlreadyExists);
    std::fs::remove_file(place.socket()).unwrap();
    let _server = relay.serve_handover(place.socket(), || ()).unwrap();
    assert_eq!(std::fs::metadata(place.socket()).unwrap().permissions().mode() & 0o777, 0o600);
}
