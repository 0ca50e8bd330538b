use std::net::UdpSocket;

use super::*;
use crate::core::Datagram;
use crate::tunnel::{MAX_BUNDLE, frames};

fn pair(address: &str) -> (UdpSocket, UdpSocket) {
    let bind = || {
        let socket = UdpSocket::bind(address).unwrap();
        socket.set_read_timeout(Some(std::time::Duration::from_secs(20))).unwrap();
        socket
    };
    (bind(), bind())
}

#[test]
fn an_address_survives_the_form_the_kernel_uses() {
    for address in ["192.0.2.7:5004", "[2001:db8::7]:65535"] {
        let address: SocketAddr = address.parse().unwrap();
        let mut name = Name { v4: UNSPECIFIED };
        let length = name.write(address, address.is_ipv6());
        assert_eq!(name.read(length), Some(address));
        assert_eq!(name.read(length - 1), None);
    }
}

const UNSPECIFIED: sockaddr_in =
    sockaddr_in { sin_family: 0, sin_port: 0, sin_addr: in_addr { s_addr: 0 }, sin_zero: [0; 8] };

#[test]
fn a_name_of_another_family_is_no_address() {
    assert_eq!(Name { v4: UNSPECIFIED }.read(Name::LENGTH), None);
}

#[test]
fn an_ipv4_address_is_written_in_mapped_form_for_an_ipv6_socket() {
    let mut name = Name { v4: UNSPECIFIED };
    let length = name.write("192.0.2.7:9".parse().unwrap(), true);
    assert_eq!(name.read(length), Some("[::ffff:192.0.2.7]:9".parse().unwrap()));
}

/// More than one batch in one call, of growing length, read back by batches that are used again and again.
#[test]
fn datagrams_cross_whole_and_in_order_however_often_the_buffers_are_used() {
    for address in ["127.0.0.1:0", "[::1]:0"] {
        let (near, far) = pair(address);
        let to = far.local_addr().unwrap();
        let mut sending = SendBatch::new(to.is_ipv6());
        let mut receiving = ReceiveBatch::new();
        for round in 0..3_u8 {
            let sent: Vec<Vec<u8>> =
                (0..100_u8).map(|number| vec![number ^ round; usize::from(number)]).collect();
            let datagrams = sent.iter().map(|bytes| Datagram { to, traffic_class: 0, bytes });
            assert_eq!(sending.send(&near, datagrams), 0);
            let mut got = Vec::new();
            while got.len() < sent.len() {
                // Loopback delivers before it returns from sending.
                receiving.receive(&far).unwrap();
                for datagram in receiving.datagrams() {
                    assert_eq!((datagram.from, datagram.truncated), (near.local_addr().unwrap(), false));
                    got.push(datagram.bytes.to_vec());
                }
            }
            assert_eq!(got, sent);
        }
    }
}

/// Frames of every length, for three nodes in turn; each is of a version, so that it cannot be taken for a bundle.
#[test]
fn frames_for_a_node_travel_together_whole_and_in_order() {
    for address in ["127.0.0.1:0", "[::1]:0"] {
        let (near, far) = pair(address);
        let others = [pair(address).0, pair(address).0];
        let nodes = [&far, &others[0], &others[1]];
        let to = nodes.map(|node| node.local_addr().unwrap());
        let mut sending = SendBatch::new(to[0].is_ipv6());
        let frame = |number: usize| vec![0x20 | (number as u8 & 15); 64 + 7 * number];
        for count in [1, 2, 3, 64, 65, 200] {
            let sent: Vec<_> = (0..count).map(frame).collect();
            let with_node = sent.iter().enumerate();
            let datagrams =
                with_node.map(|(number, bytes)| Datagram { to: to[number % 3], traffic_class: 0, bytes });
            assert_eq!(sending.send_bundled(&near, datagrams), 0);
            for (place, node) in nodes.iter().enumerate() {
                let expected: Vec<_> = sent.iter().skip(place).step_by(3).cloned().collect();
                let (mut got, mut datagrams) = (Vec::new(), 0);
                let mut buffer = [0; 4096];
                while got.len() < expected.len() {
                    let length = node.recv(&mut buffer).unwrap();
                    let apart: Vec<_> = frames(&buffer[..length]).map(<[u8]>::to_vec).collect();
                    assert!(apart.len() == 1 || length <= MAX_BUNDLE);
                    got.extend(apart);
                    datagrams += 1;
                }
                assert_eq!(got, expected);
                assert!(count < 64 || datagrams < expected.len(), "nothing was bundled");
            }
        }
    }
}

#[test]
fn a_datagram_the_kernel_refuses_costs_only_itself() {
    let (near, far) = pair("127.0.0.1:0");
    let to = far.local_addr().unwrap();
    let nowhere = SocketAddr::new(to.ip(), 0);
    let datagrams = [(to, [1]), (nowhere, [2]), (to, [3])];
    let refused = SendBatch::new(false)
        .send(&near, datagrams.iter().map(|(to, bytes)| Datagram { to: *to, traffic_class: 0, bytes }));
    assert_eq!(refused, 1);
    let mut buffer = [0; 8];
    for expected in [1, 3] {
        assert_eq!(far.recv(&mut buffer).unwrap(), 1);
        assert_eq!(buffer[0], expected);
    }
}

#[test]
fn a_receive_with_nothing_there_says_so_and_leaves_nothing() {
    let (near, _far) = pair("127.0.0.1:0");
    let mut batch = ReceiveBatch::new();
    assert_eq!(batch.receive(&near).unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
    assert_eq!(batch.datagrams().count(), 0);
}

#[test]
fn asked_of_the_first_only_the_kernel_says_nothing_of_the_others_until_asked_again() {
    use nix::sys::socket::{setsockopt, sockopt};

    let (near, far) = pair("127.0.0.1:0");
    socket2::SockRef::from(&near).set_tos_v4(184).unwrap();
    setsockopt(&far, sockopt::IpRecvTos, &true).unwrap();
    setsockopt(&far, sockopt::ReceiveTimestampns, &true).unwrap();
    let mut batch = ReceiveBatch::new();
    for (asked, classes) in
        [(Asked::Every, [184, 184, 184]), (Asked::First, [184, 0, 0]), (Asked::Every, [184, 184, 184])]
    {
        for _ in 0..3 {
            near.send_to(&[1], far.local_addr().unwrap()).unwrap();
        }
        batch.ask(asked);
        batch.receive(&far).unwrap();
        let got: Vec<u8> = batch.datagrams().map(|datagram| datagram.traffic_class).collect();
        assert_eq!(got, classes);
        let waits: Vec<_> = batch.datagrams().map(|datagram| datagram.queued).collect();
        assert!(waits[0] >= waits[1] && waits[1] >= waits[2]);
        assert_eq!(asked == Asked::First, waits[0] == waits[2]);
    }
}
