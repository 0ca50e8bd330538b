use std::collections::HashSet;
use std::time::Instant;

use proptest::prelude::*;

use super::*;

const UNIX: Duration = Duration::from_secs(1_790_000_000);

fn key(id: u8) -> TunnelKey {
    TunnelKey::new(id, [id; 32])
}

fn header(kind: Kind) -> FrameHeader {
    FrameHeader {
        kind,
        relay: RelayId(9),
        node: NodeIndex(77),
        lane: Lane(3),
        relay_epoch: 5,
        session: 0xfeed_beef,
        client: Some(ClientAddress::udp("192.0.2.1:4000".parse().unwrap())),
        traffic_class: 0xb8,
        sequence: 1 << 40,
        timing: Timing {
            sent_at: 12,
            echo: Some(Echo { sent_at: 34, held: Duration::from_micros(56) }),
            residence: Duration::from_micros(78),
        },
    }
}

fn encoded(header: &FrameHeader, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode(&mut bytes, &key(1), header, payload).unwrap();
    bytes
}

fn ends(now: Instant) -> (Endpoint, Endpoint) {
    let end = |side| Endpoint::new(side, RelayId(1), NodeIndex(2), Lane(0), key(1), now, UNIX);
    (end(Side::Relay { epoch: 42 }), end(Side::Node))
}

fn outgoing(kind: Kind) -> Outgoing<'static> {
    Outgoing { kind, session: 3, client: None, traffic_class: 0, since: None, payload: b"datagram" }
}

#[test]
fn a_frame_with_any_flipped_bit_is_refused() {
    let bytes = encoded(&header(Kind::Down { confirmed: true }), b"payload");
    assert!(decode(&key(1), &bytes).is_ok());
    for position in 0..bytes.len() * 8 {
        let mut altered = bytes.clone();
        altered[position / 8] ^= 1 << (position % 8);
        assert!(decode(&key(1), &altered).is_err(), "bit {position}");
    }
}

#[test]
fn a_frame_under_another_key_is_refused() {
    let bytes = encoded(&header(Kind::Up), b"payload");
    assert_eq!(decode(&key(2), &bytes), Err(TunnelError::WrongKey));
    assert_eq!(decode(&TunnelKey::new(1, [9; 32]), &bytes), Err(TunnelError::Forged));
}

#[test]
fn a_truncated_frame_is_refused() {
    let bytes = encoded(&header(Kind::Up), b"payload");
    for length in 0..bytes.len() {
        assert!(decode(&key(1), &bytes[..length]).is_err(), "{length} bytes");
    }
}

#[test]
fn a_payload_above_the_limit_is_refused_and_leaves_the_buffer_alone() {
    let mut bytes = vec![1, 2, 3];
    let payload = [0; MAX_PAYLOAD + 1];
    assert_eq!(encode(&mut bytes, &key(1), &header(Kind::Up), &payload), Err(TunnelError::Long));
    assert_eq!(bytes, [1, 2, 3]);
    encode(&mut bytes, &key(1), &header(Kind::Up), &payload[1..]).unwrap();
    assert_eq!(decode(&key(1), &bytes[3..]).unwrap().payload.len(), MAX_PAYLOAD);
}

#[test]
fn a_mapped_client_address_comes_out_as_ipv4() {
    let socket = "[::ffff:192.0.2.1]:4000".parse().unwrap();
    let client = ClientAddress { socket, transport: ClientTransport::Udp };
    let mapped = FrameHeader { client: Some(client), ..header(Kind::Up) };
    let bytes = encoded(&mapped, b"");
    assert_eq!(decode(&key(1), &bytes).unwrap().header, header(Kind::Up));
}

#[test]
fn a_replayed_frame_is_refused_and_an_overtaken_one_is_not() {
    let now = Instant::now();
    let (mut relay, mut node) = ends(now);
    let (mut first, mut second) = (Vec::new(), Vec::new());
    relay.seal(now, &outgoing(Kind::Up), &mut first).unwrap();
    relay.seal(now, &outgoing(Kind::Up), &mut second).unwrap();
    assert!(node.open(now, &second).is_ok());
    assert_eq!(node.open(now, &second), Err(EndpointError::Replayed));
    assert!(node.open(now, &first).is_ok());
    assert_eq!(node.open(now, &first), Err(EndpointError::Replayed));
}

#[test]
fn a_frame_sent_back_to_its_sender_is_refused() {
    let now = Instant::now();
    let (mut relay, mut node) = ends(now);
    let mut frame = Vec::new();
    relay.seal(now, &outgoing(Kind::Up), &mut frame).unwrap();
    assert_eq!(relay.open(now, &frame), Err(EndpointError::Reflected));
    frame.clear();
    node.seal(now, &outgoing(Kind::Confirm), &mut frame).unwrap();
    assert_eq!(node.open(now, &frame), Err(EndpointError::Reflected));
}

#[test]
fn frames_of_an_earlier_life_of_the_sender_are_refused_after_its_restart() {
    let now = Instant::now();
    let (mut relay, mut node) = ends(now);
    let mut old = Vec::new();
    relay.seal(now, &outgoing(Kind::Up), &mut old).unwrap();
    let later = UNIX + Duration::from_secs(1);
    let side = Side::Relay { epoch: 43 };
    let mut restarted = Endpoint::new(side, RelayId(1), NodeIndex(2), Lane(0), key(1), now, later);
    let mut hello = Vec::new();
    restarted.seal(now, &outgoing(Kind::Hello { draining: false }), &mut hello).unwrap();
    node.open(now, &hello).unwrap();
    assert_eq!(node.relay_epoch(), Some(43));
    assert_eq!(node.open(now, &old), Err(EndpointError::Replayed));
    assert_eq!(node.relay_epoch(), Some(43));
}

#[test]
fn the_round_trip_excludes_the_time_the_echo_was_held() {
    let start = Instant::now();
    let at = |millis| start + Duration::from_millis(millis);
    let (mut relay, mut node) = ends(start);
    let mut frame = Vec::new();
    relay.seal(at(100), &outgoing(Kind::Up), &mut frame).unwrap();
    node.open(at(103), &frame).unwrap();
    frame.clear();
    node.seal(at(150), &outgoing(Kind::Down { confirmed: true }), &mut frame).unwrap();
    let down = relay.open(at(154), &frame).unwrap();
    assert_eq!(down.header.timing.echo.unwrap().held, Duration::from_millis(47));
    assert_eq!(relay.round_trip(), Some(Duration::from_millis(7)));
    assert_eq!(node.round_trip(), None);
}

#[test]
fn residence_is_the_time_since_the_datagram_came() {
    let now = Instant::now();
    let (mut relay, mut node) = ends(now);
    let mut frame = Vec::new();
    let up = Outgoing { since: Some(now), ..outgoing(Kind::Up) };
    relay.seal(now + Duration::from_micros(250), &up, &mut frame).unwrap();
    let opened = node.open(now, &frame).unwrap();
    assert_eq!(opened.header.timing.residence, Duration::from_micros(250));
}

#[test]
fn a_rotated_key_sends_and_the_previous_one_is_still_accepted() {
    let now = Instant::now();
    let (mut relay, mut node) = ends(now);
    relay.rotate(key(2));
    let mut frame = Vec::new();
    node.seal(now, &outgoing(Kind::Refresh), &mut frame).unwrap();
    assert!(relay.open(now, &frame).is_ok());
    frame.clear();
    relay.seal(now, &outgoing(Kind::Hello { draining: false }), &mut frame).unwrap();
    assert_eq!(node.open(now, &frame), Err(EndpointError::Tunnel(TunnelError::WrongKey)));
    node.rotate(key(2));
    assert!(node.open(now, &frame).is_ok());
}

#[test]
fn a_key_to_come_is_accepted_and_used_when_the_other_side_has_used_it() {
    let now = Instant::now();
    let (mut relay, mut node) = ends(now);
    let exchange = |relay: &mut Endpoint, node: &mut Endpoint| {
        let (mut up, mut down) = (Vec::new(), Vec::new());
        relay.seal(now, &outgoing(Kind::Up), &mut up).unwrap();
        node.seal(now, &outgoing(Kind::Confirm), &mut down).unwrap();
        node.open(now, &up).unwrap();
        relay.open(now, &down).unwrap();
        (up[2], down[2])
    };
    relay.prepare(key(2));
    assert!(relay.is_to_send_with(&key(2)));
    assert_eq!(exchange(&mut relay, &mut node), (1, 1));
    node.rotate(key(2));
    assert_eq!(exchange(&mut relay, &mut node), (1, 2));
    assert_eq!(exchange(&mut relay, &mut node), (2, 2));
    assert!(relay.is_to_send_with(&key(2)));
}

#[test]
fn a_node_that_knows_only_the_key_to_come_hears_a_hello() {
    let now = Instant::now();
    let (mut relay, _) = ends(now);
    relay.prepare(key(2));
    let mut node = Endpoint::new(Side::Node, RelayId(1), NodeIndex(2), Lane(0), key(2), now, UNIX);
    let hello = |relay: &mut Endpoint| {
        let mut frame = Vec::new();
        relay.seal(now, &outgoing(Kind::Hello { draining: false }), &mut frame).unwrap();
        frame
    };
    let heard = [hello(&mut relay), hello(&mut relay)].map(|frame| node.open(now, &frame).is_ok());
    assert_eq!(heard.iter().filter(|heard| **heard).count(), 1);
}

fn kinds() -> impl Strategy<Value = Kind> {
    prop_oneof![
        Just(Kind::Up),
        any::<bool>().prop_map(|confirmed| Kind::Down { confirmed }),
        Just(Kind::Confirm),
        Just(Kind::Release),
        any::<bool>().prop_map(|draining| Kind::Hello { draining }),
        Just(Kind::Refresh),
    ]
}

fn transports() -> impl Strategy<Value = ClientTransport> {
    prop_oneof![Just(ClientTransport::Udp), Just(ClientTransport::Tcp)]
}

proptest! {
    #[test]
    fn every_frame_survives_the_wire(
        kind in kinds(), relay: u32, node: u32, lane in 0..MOST_LANES, relay_epoch: u32, session: u32, ip: IpAddr,
        port in 1..=u16::MAX, transport in transports(), traffic_class: u8, sequence: u64, sent_at: u32, echo in proptest::option::of((any::<u32>(), 0..u32::MAX)),
        residence: u32, payload in proptest::collection::vec(any::<u8>(), 0..200),
    ) {
        let header = FrameHeader {
            kind, relay: RelayId(relay), node: NodeIndex(node), lane: Lane(lane), relay_epoch, session, sequence,
            client: Some(ClientAddress::new(SocketAddr::new(ip, port), transport)), traffic_class,
            timing: Timing {
                sent_at,
                echo: echo.map(|(sent_at, held)| Echo { sent_at, held: Duration::from_micros(held.into()) }),
                residence: Duration::from_micros(residence.into()),
            },
        };
        let bytes = encoded(&header, &payload);
        prop_assert_eq!(decode(&key(1), &bytes), Ok(Frame { header, payload: &payload }));
    }

    #[test]
    fn the_window_accepts_each_number_once_and_never_one_too_old(
        numbers in proptest::collection::vec(prop_oneof![0_u64..3000, Just(u64::MAX), 70_000_u64..70_100], 1..400),
    ) {
        let mut window = ReplayWindow::new();
        let mut seen = HashSet::new();
        let mut newest = None;
        for number in numbers {
            let too_old = newest.is_some_and(|newest: u64| newest / 64 >= number / 64 + 16);
            prop_assert_eq!(window.accept(number), !too_old && seen.insert(number));
            newest = newest.max(Some(number));
        }
    }
}
