use super::*;

/// A call: request, confirmation, media in both directions.
fn call(mut node: Node, config: RelayConfig, client: &str, reach: &str) {
    let handle = spawn(config).unwrap();
    let client = socket(client);
    let public = SocketAddr::new(reach.parse().unwrap(), handle.local_addr().port());
    client.send_to(&media(0), public).unwrap();
    let header = connect(&client, public, &mut node);
    assert!(header.timing.residence < PATIENCE);
    let mut buffer = [0; 2048];
    for number in 0..200 {
        node.answer(&header, Kind::Down { confirmed: true }, &media(number));
        let (length, from) = client.recv_from(&mut buffer).unwrap();
        assert_eq!((&buffer[..length], from), (&media(number)[..], public));
        client.send_to(&media(number), public).unwrap();
        assert_eq!(node.receive(Kind::Up).1, media(number));
    }
    let report = handle.shutdown();
    let stats = report.stats;
    assert_eq!((stats.up_datagrams, stats.down_datagrams, stats.confirmed), (201, 201, 1));
    assert_eq!((stats.drop_unassured_media, report.flows.assured, stats.send_errors), (1, 1, 0));
    assert_eq!(report.residence.count(), 402);
    assert_eq!((report.threads, report.round_trips.len()), (2, 1));
}

#[test]
fn a_call_goes_from_client_over_relay_to_node_and_back() {
    let (node, config) = node_and_config("127.0.0.1:0");
    call(node, config, "127.0.0.1:0", "127.0.0.1");
}

#[test]
fn a_call_goes_through_a_relay_that_polls_on_pinned_processors() {
    let (node, mut config) = node_and_config("127.0.0.1:0");
    (config.wait, config.pin) = (WaitStyle::BusyPoll, true);
    call(node, config, "127.0.0.1:0", "127.0.0.1");
}

#[test]
fn a_call_goes_over_ipv6_alone() {
    let (node, config) = node_and_config("[::1]:0");
    call(node, config, "[::1]:0", "::1");
}

#[test]
fn a_dual_stack_socket_serves_ipv4_clients_under_their_plain_address() {
    let (node, config) = node_and_config("[::]:0");
    call(node, config, "127.0.0.1:0", "127.0.0.1");
}

#[test]
fn a_dual_stack_socket_serves_ipv6_clients() {
    let (node, config) = node_and_config("[::]:0");
    call(node, config, "[::1]:0", "::1");
}

#[test]
fn clients_spread_over_lanes_and_are_answered_through_their_own() {
    let (mut node, config) = node_and_config("127.0.0.1:0");
    let handle = spawn(config).unwrap();
    let mut lanes = BTreeSet::new();
    let mut clients = Vec::new();
    // The kernel hashes addresses: both lanes get some of 64 clients but once in 2^63.
    for _ in 0..64 {
        let client = socket("127.0.0.1:0");
        lanes.insert(connect(&client, handle.local_addr(), &mut node).lane);
        clients.push(client);
    }
    assert_eq!(lanes, [Lane(0), Lane(1)].into());
    let relays: BTreeSet<SocketAddr> = node.lanes.values().map(|(_, relay)| *relay).collect();
    assert_eq!(relays.len(), 2);
    assert_eq!(handle.shutdown().stats.down_datagrams, 64);
}

#[test]
fn a_node_may_answer_through_another_lane_than_the_clients() {
    let (mut node, config) = node_and_config("127.0.0.1:0");
    let handle = spawn(config).unwrap();
    let client = socket("127.0.0.1:0");
    let header = connect(&client, handle.local_addr(), &mut node);
    while node.lanes.len() < 2 {
        node.receive_any();
    }
    let other = FrameHeader { lane: Lane(1 - header.lane.0), ..header };
    node.answer(&other, Kind::Down { confirmed: true }, &media(7));
    let mut buffer = [0; 64];
    let (length, from) = client.recv_from(&mut buffer).unwrap();
    assert_eq!((&buffer[..length], from), (&media(7)[..], handle.local_addr()));
}

#[test]
fn a_burst_larger_than_a_batch_arrives_whole_and_in_order() {
    let (mut node, config) = node_and_config("127.0.0.1:0");
    let handle = spawn(config).unwrap();
    let client = socket("127.0.0.1:0");
    connect(&client, handle.local_addr(), &mut node);
    for number in 0..100 {
        client.send_to(&media(number), handle.local_addr()).unwrap();
    }
    for number in 0..100 {
        assert_eq!(node.receive(Kind::Up).1, media(number));
    }
}

const EXPEDITED: u8 = 46 << 2;

/// Marks a client's datagrams and has it told of the marks of those it gets.
fn mark(client: &UdpSocket) {
    if client.local_addr().unwrap().is_ipv6() {
        socket2::SockRef::from(client).set_tclass_v6(EXPEDITED.into()).unwrap();
        setsockopt(client, sockopt::Ipv6RecvTClass, &true).unwrap();
    } else {
        socket2::SockRef::from(client).set_tos_v4(EXPEDITED.into()).unwrap();
        setsockopt(client, sockopt::IpRecvTos, &true).unwrap();
    }
}

/// The traffic classes and the bytes of the datagrams a socket has, once it has some.
fn next_marked(socket: &UdpSocket) -> Vec<(u8, Vec<u8>)> {
    // Waits without taking anything; the batch takes it with what the kernel says beside it.
    socket.peek(&mut [0; 1]).unwrap();
    let mut batch = ReceiveBatch::new();
    batch.receive(socket).unwrap();
    batch.datagrams().map(|datagram| (datagram.traffic_class, datagram.bytes.to_vec())).collect()
}

fn marks_cross(listen: &str, client: &str, reach: &str) {
    let (mut node, config) = node_and_config(listen);
    let handle = spawn(config).unwrap();
    let client = socket(client);
    mark(&client);
    let public = SocketAddr::new(reach.parse().unwrap(), handle.local_addr().port());
    client.send_to(&request(), public).unwrap();
    let (header, _) = node.receive(Kind::Up);
    assert_eq!(header.traffic_class, EXPEDITED);
    node.answer(&header, Kind::Down { confirmed: true }, &media(1));
    assert_eq!(next_marked(&client), [(EXPEDITED, media(1).to_vec())]);
    node.answer(&FrameHeader { traffic_class: 0, ..header }, Kind::Down { confirmed: true }, &media(2));
    assert_eq!(next_marked(&client), [(0, media(2).to_vec())]);
}

#[test]
fn the_traffic_class_of_a_datagram_crosses_the_relay_in_both_directions() {
    marks_cross("127.0.0.1:0", "127.0.0.1:0", "127.0.0.1");
    marks_cross("[::1]:0", "[::1]:0", "::1");
    marks_cross("[::]:0", "127.0.0.1:0", "127.0.0.1");
    marks_cross("[::]:0", "[::1]:0", "::1");
}

#[test]
fn a_frame_in_the_tunnel_has_the_traffic_class_of_the_clients_datagram() {
    let (mut node, config) = node_and_config("127.0.0.1:0");
    let handle = spawn(config).unwrap();
    let client = socket("127.0.0.1:0");
    mark(&client);
    connect(&client, handle.local_addr(), &mut node);
    setsockopt(&node.socket, sockopt::IpRecvTos, &true).unwrap();
    client.send_to(&media(1), handle.local_addr()).unwrap();
    let mut class_of_media = None;
    while class_of_media.is_none() {
        let marked = next_marked(&node.socket);
        let apart = marked.iter().flat_map(|(class, datagram)| frames(datagram).map(|frame| (*class, frame)));
        for (class, frame) in apart {
            let lane = claim(frame).unwrap().lane;
            let Some((endpoint, _)) = node.lanes.get_mut(&lane.0) else { continue };
            let is_media = endpoint.open(Instant::now(), frame).unwrap().payload == media(1);
            // Everything else is a heartbeat.
            assert!(is_media || class == 0);
            if is_media {
                class_of_media = Some(class);
            }
        }
    }
    assert_eq!(class_of_media, Some(EXPEDITED));
}

#[test]
fn a_datagram_longer_than_any_buffer_is_counted_and_goes_nowhere() {
    let (mut node, config) = node_and_config("127.0.0.1:0");
    let handle = spawn(config).unwrap();
    let client = socket("127.0.0.1:0");
    client.send_to(&[0x80; 4000], handle.local_addr()).unwrap();
    client.send_to(&request(), handle.local_addr()).unwrap();
    assert_eq!(node.receive(Kind::Up).1, request());
    assert_eq!(handle.shutdown().stats.drop_client_oversize, 1);
}

#[test]
fn a_shut_down_relay_has_freed_its_port() {
    let (_node, config) = node_and_config("127.0.0.1:0");
    let handle = spawn(config).unwrap();
    let address = handle.local_addr();
    handle.shutdown();
    UdpSocket::bind(address).unwrap();
}

#[test]
fn a_port_in_use_is_an_error_even_when_a_relay_uses_it() {
    let (_node, config) = node_and_config("127.0.0.1:0");
    let handle = spawn(config).unwrap();
    let config = RelayConfig { listen: handle.local_addr(), ..node_and_config("127.0.0.1:0").1 };
    assert_eq!(spawn(config).map(|_| ()).unwrap_err().kind(), io::ErrorKind::AddrInUse);
}

#[test]
fn a_relay_asked_for_more_threads_than_there_are_lanes_does_not_start() {
    let (_node, mut config) = node_and_config("127.0.0.1:0");
    config.threads = Threads::Fixed(NonZero::new(64).unwrap());
    assert_eq!(spawn(config).map(|_| ()).unwrap_err().kind(), io::ErrorKind::InvalidInput);
}

#[test]
fn counters_are_published_while_the_relay_is_idle_again() {
    let (mut node, mut config) = node_and_config("127.0.0.1:0");
    config.heartbeat = Duration::from_hours(1);
    let handle = spawn(config).unwrap();
    let client = socket("127.0.0.1:0");
    client.send_to(&request(), handle.local_addr()).unwrap();
    node.receive(Kind::Up);
    let deadline = Instant::now() + PATIENCE;
    while handle.report().stats.up_datagrams == 0 {
        assert!(Instant::now() < deadline, "nothing is published");
        std::thread::yield_now();
    }
}
