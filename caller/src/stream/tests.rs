use std::collections::VecDeque;
use std::path::PathBuf;

use tokio::net::TcpListener;

use super::*;

const REQUEST: [u8; 4] = [0, 1, 0, 0];

fn answer(lines: &[String]) -> String {
    format!("v=0\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\n{}a=end-of-candidates\r\n", lines.concat())
}

fn passive(relay: SocketAddr) -> String {
    format!("a=candidate:2 1 tcp 1518280447 {} {} typ host tcptype passive\r\n", relay.ip(), relay.port())
}

/// An end of a connection that reads whole datagrams.
struct Relay {
    stream: Box<dyn Stream>,
    deframer: Deframer,
    found: VecDeque<Vec<u8>>,
}

impl Relay {
    fn new(stream: impl Stream + 'static) -> Self {
        Self { stream: Box::new(stream), deframer: Deframer::new(), found: VecDeque::new() }
    }

    async fn next(&mut self) -> Vec<u8> {
        loop {
            if let Some(datagram) = self.found.pop_front() {
                return datagram;
            }
            let mut buffer = [0; 64];
            let count = self.stream.read(&mut buffer).await.unwrap();
            assert!(count > 0, "the bridge has gone");
            let mut piece = &buffer[..count];
            while let Some(datagram) = self.deframer.next(&mut piece).unwrap() {
                self.found.push_back(datagram.to_vec());
            }
        }
    }
}

/// The address of the only candidate.
fn bridge_of(sdp: &str) -> SocketAddr {
    let candidates: Vec<&str> = sdp.lines().filter(|line| line.starts_with("a=candidate")).collect();
    let [candidate] = candidates[..] else { panic!("not one candidate in {sdp}") };
    let words: Vec<&str> = candidate.split(' ').collect();
    assert_eq!((words[2], words[6], words[7]), ("udp", "typ", "host"));
    format!("{}:{}", words[4], words[5]).parse().unwrap()
}

async fn engine_for(sdp: &str) -> UdpSocket {
    let engine = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    engine.connect(bridge_of(sdp)).await.unwrap();
    engine
}

#[tokio::test]
async fn datagrams_cross_the_bridge_both_ways_and_udp_candidates_are_gone() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let udp = "a=candidate:1 1 udp 2130706431 192.0.2.1 3478 typ host\r\n".to_owned();
    let sdp = answer(&[udp, passive(listener.local_addr().unwrap())]);
    let dialler = Dialler::new(Transport::Tcp, None).unwrap();
    let (sdp, _bridges) = dialler.bridge(&sdp).await.unwrap();
    let engine = engine_for(&sdp).await;

    engine.send(&[0x80, 1]).await.unwrap();
    engine.send(&REQUEST).await.unwrap();
    let mut relay = Relay::new(listener.accept().await.unwrap().0);
    assert_eq!(relay.next().await, REQUEST, "nothing goes before a binding request");
    engine.send(&[0x80, 2]).await.unwrap();
    assert_eq!(relay.next().await, [0x80, 2]);

    relay.stream.write_all(&[0, 2, 0x80, 3, 0, 1]).await.unwrap();
    relay.stream.write_all(&[7]).await.unwrap();
    let mut datagram = [0; 64];
    assert_eq!(engine.recv(&mut datagram).await.unwrap(), 2);
    assert_eq!(datagram[..2], [0x80, 3]);
    assert_eq!(engine.recv(&mut datagram).await.unwrap(), 1);
}

#[tokio::test]
async fn a_broken_connection_is_made_anew_and_begins_with_a_binding_request() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let dialler = Dialler::new(Transport::Tcp, None).unwrap();
    let sdp = answer(&[passive(listener.local_addr().unwrap())]);
    let (sdp, _bridges) = dialler.bridge(&sdp).await.unwrap();
    let engine = engine_for(&sdp).await;
    engine.send(&REQUEST).await.unwrap();
    let mut relay = Relay::new(listener.accept().await.unwrap().0);
    assert_eq!(relay.next().await, REQUEST);

    drop(relay);
    let mut relay = Relay::new(listener.accept().await.unwrap().0);
    engine.send(&[0x80, 1]).await.unwrap();
    engine.send(&REQUEST).await.unwrap();
    assert_eq!(relay.next().await, REQUEST);
}

#[tokio::test]
async fn an_answer_without_a_tcp_candidate_is_refused() {
    let udp = "a=candidate:1 1 udp 2130706431 192.0.2.1 3478 typ host\r\n".to_owned();
    let refused = Dialler::new(Transport::Tcp, None).unwrap().bridge(&answer(&[udp])).await;
    assert!(matches!(refused, Err(CallError::NoStream)));
}

#[tokio::test]
async fn a_relay_that_is_not_there_is_named_unreachable() {
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let refused = Dialler::new(Transport::Tcp, None).unwrap().bridge(&answer(&[passive(closed)])).await;
    assert!(matches!(refused, Err(CallError::StreamUnreachable { .. })));
}

#[test]
fn a_missing_authority_file_is_named() {
    let missing = PathBuf::from("no-such-ca.pem");
    let refused = Dialler::new(Transport::Tls, Some(&missing)).err().unwrap();
    assert!(refused.to_string().contains("no-such-ca.pem"), "{refused}");
}

#[test]
fn only_passive_tcp_candidates_are_connected_to() {
    for other in [
        "a=candidate:1 1 udp 1 192.0.2.1 3478 typ host",
        "a=candidate:1 1 tcp 1 192.0.2.1 9 typ host tcptype active",
        "a=candidate:1 1 tcp 1 relay.example 443 typ host tcptype passive",
        "a=candidate:1 1 tcp",
        "m=audio 9 UDP/TLS/RTP/SAVPF 111",
    ] {
        assert!(Candidate::passive(other).is_none(), "{other}");
    }
    let ipv6 = "a=candidate:1 1 TCP 1 2001:db8::1 443 typ host tcptype passive";
    let relay: SocketAddr = "[2001:db8::1]:443".parse().unwrap();
    assert_eq!(Candidate::passive(ipv6).unwrap().relay, relay);
}
