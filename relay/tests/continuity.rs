//! What a call lives through.

#![expect(clippy::unwrap_used, reason = "a test that cannot set up its world fails")]

use std::sync::Barrier;
use std::time::Duration;

use voxgate_protocol::id::NodeIndex;
use voxgate_protocol::path::ClientAddress;
use voxgate_relay::core::{Datagram, Directory, Outbox, RelayLane, Socket};
use voxgate_relay::flow::{FlowLimits, SnapshotError};
use voxgate_relay::tunnel::{Frame, Kind, Lane, Outgoing, TunnelKey};
use voxgate_relay::ufrag::KeyRing;

mod world;
use world::*;

const PACKET: Duration = Duration::from_millis(20);
/// Between the checks of an established path in libwebrtc.
const CHECK: u32 = 125;

/// Callers of session 1 and up, on both nodes in turn.
fn callers(count: u32) -> Vec<(ClientAddress, u32, u32)> {
    let one = |number: u32| (client(&format!("192.0.2.{number}:4000")), 1 + number % 2, number);
    (1..=count).map(one).collect()
}

/// Twenty milliseconds of some calls: a packet each way, and now and then a check. Nothing may be missing.
fn talk(world: &mut World, calls: &[(ClientAddress, u32, u32)], turn: u32) {
    world.advance(PACKET);
    world.tick();
    for (from, node, session) in calls.iter().copied() {
        assert!(world.is_heard(from, node, session), "uplink of session {session} in turn {turn}");
        let down = world.node(node, session, CONFIRMED, from, RTP);
        assert_eq!(down.len(), 1, "downlink of session {session} in turn {turn}");
        if (turn + session).is_multiple_of(CHECK) {
            assert_eq!(world.client(from, &request(node, session)).len(), 1);
        }
    }
}

#[test]
fn ten_minutes_without_a_control_plane_drop_no_call() {
    let mut world = World::new();
    let mut calls = callers(6);
    for (from, node, session) in calls.clone() {
        world.call(from, node, session);
    }
    for turn in 0..30_000 {
        talk(&mut world, &calls, turn);
        if turn == 27_000 {
            let newcomer = (client("198.51.100.77:4000"), 1, 77);
            world.call(newcomer.0, newcomer.1, newcomer.2);
            calls.push(newcomer);
        }
    }
    assert_eq!((world.stats().expired_assured, world.relay.flow_counts().assured), (0, 7));
}

#[test]
fn a_rotation_of_ufrag_keys_drops_no_call() {
    let mut world = World::new();
    let calls = callers(4);
    for (from, node, session) in calls.clone() {
        world.call(from, node, session);
    }
    (0..200).for_each(|turn| talk(&mut world, &calls, turn));
    let both = KeyRing::new([ufrag_key(3), ufrag_key(4)]);
    world.relay.publish(Directory { key_ring: both, ..directory(2) });
    (200..400).for_each(|turn| talk(&mut world, &calls, turn));
    let newcomer = client("192.0.2.99:4000");
    assert_eq!(world.client(newcomer, &request_under(&ufrag_key(4), &route(1, 99))).len(), 1);
    world.node(1, 99, Kind::Confirm, newcomer, &[]);
    assert!(world.is_heard(newcomer, 1, 99));
    // The old key is taken away: new sessions under it are refused, flows that live go on.
    world.relay.publish(Directory { key_ring: KeyRing::new([ufrag_key(4)]), ..directory(2) });
    assert!(world.client(newcomer, &request(1, 100)).is_empty());
    assert_eq!(world.stats().drop_unknown_ufrag_key, 1);
    for (from, node, session) in calls {
        assert!(world.is_heard(from, node, session));
    }
}

#[test]
fn a_rotation_of_a_tunnel_key_drops_no_packet() {
    let mut world = World::new();
    let calls = callers(2);
    for (from, node, session) in calls.clone() {
        world.call(from, node, session);
    }
    (0..50).for_each(|turn| talk(&mut world, &calls, turn));
    let next = TunnelKey::new(2, [0x77; 32]);
    let mut rotated = directory(2);
    rotated.nodes.get_mut(&NodeIndex(1)).unwrap().key = next.clone();
    world.relay.publish(rotated);
    // The node has heard of the new key too and follows when it likes.
    world.advance(PACKET);
    for (from, node, session) in calls.iter().copied() {
        assert!(world.is_heard(from, node, session));
    }
    world.ends.get_mut(&(1, Lane(0))).unwrap().rotate(next);
    (50..200).for_each(|turn| talk(&mut world, &calls, turn));
    assert_eq!(world.stats().drop_tunnel_forged, 0);
}

#[test]
fn a_client_that_changes_its_address_keeps_its_call() {
    let mut world = World::new();
    let (wifi, mobile) = (client("192.0.2.1:4000"), client("[2001:db8::7]:50000"));
    world.call(wifi, 1, 5);
    assert!(!world.is_heard(mobile, 1, 5), "media from an address nobody has confirmed goes nowhere");
    world.call(mobile, 1, 5);
    for turn in 0..3000 {
        talk(&mut world, &[(mobile, 1, 5)], turn);
    }
    assert_eq!(world.relay.flow_counts().assured, 1, "the flow of the old address has ended idle");
    assert!(!world.is_heard(wifi, 1, 5));
}

#[test]
fn a_restarted_relay_learns_its_flows_from_the_replay() {
    let mut world = World::with(2, FlowLimits::default());
    let calls = callers(5);
    for (from, node, session) in calls.clone() {
        world.call(from, node, session);
    }
    world.advance(Duration::from_secs(1));
    world.start_relay(2, FlowLimits::default());
    for (from, node, session) in calls.clone() {
        assert!(!world.is_heard(from, node, session), "the new life knows no flow");
        assert_eq!(world.node(node, session, CONFIRMED, from, RTP).len(), 1, "downlink needs no flow");
    }
    world.advance(PACKET);
    let hellos = world.tick();
    assert!(hellos.iter().any(|(_, kind, ..)| matches!(kind, Kind::Hello { .. })));
    for (from, node, session) in calls.clone() {
        world.node(node, session, Kind::Refresh, from, &[]);
    }
    (0..200).for_each(|turn| talk(&mut world, &calls, turn));
}

#[test]
fn a_relay_that_takes_over_carries_on_from_the_snapshot() {
    let mut world = World::new();
    let calls = callers(50);
    for (from, node, session) in calls.clone() {
        world.call(from, node, session);
    }
    world.advance(Duration::from_secs(3));
    let snapshot = world.relay.snapshot(world.now);
    world.start_relay(1, FlowLimits::default());
    assert_eq!(world.relay.restore(world.now, &snapshot[..snapshot.len() - 1]), Err(SnapshotError::Length));
    assert_eq!(world.relay.restore(world.now, &snapshot), Ok(50));
    for (from, node, session) in calls.clone() {
        assert!(world.is_heard(from, node, session));
    }
    world.tick();
    (0..200).for_each(|turn| talk(&mut world, &calls, turn));
}

#[test]
fn every_lane_carries_a_flow_that_one_has_learned_and_forgets_it_when_one_is_told() {
    let mut world = World::with(3, FlowLimits::default());
    let caller = client("192.0.2.1:4000");
    world.call(caller, 1, 5);
    for lane in 0..3 {
        assert_eq!(world.client_on(lane, caller, RTP).len(), 1, "lane {lane}");
        assert_eq!(world.client_on(lane, caller, RTP).len(), 1, "lane {lane}");
    }
    let release = world.frame((1, Lane(2)), 5, Kind::Release, caller, &[]);
    world.tunnel(2, node_address(1), &release);
    for lane in 0..3 {
        assert!(world.client_on(lane, caller, RTP).is_empty(), "lane {lane}");
    }
    let moved = world.frame((2, Lane(1)), 9, Kind::Confirm, caller, &[]);
    world.tunnel(1, node_address(2), &moved);
    for lane in 0..3 {
        assert_eq!(world.client_on(lane, caller, RTP)[0].2, 9, "lane {lane}");
    }
}

#[test]
fn lanes_on_threads_of_their_own_never_use_a_flow_that_has_ended() {
    const ROUNDS: u32 = 400;
    let mut world = World::with(3, FlowLimits::default());
    let caller = client("192.0.2.1:4000");
    let frames: Vec<_> = (0..ROUNDS)
        .map(|round| {
            let kind = if round.is_multiple_of(2) { Kind::Confirm } else { Kind::Release };
            world.frame((1, Lane(0)), 5, kind, caller, &[])
        })
        .collect();
    let World { lanes, now, .. } = world;
    let now = &now;
    let barrier = &Barrier::new(3);
    let [mut told, others @ ..] = <[RelayLane; 3]>::try_from(lanes).unwrap();
    std::thread::scope(|scope| {
        for mut lane in others {
            scope.spawn(move || {
                let mut out = Outbox::new();
                for round in 0..ROUNDS {
                    barrier.wait();
                    for _ in 0..3 {
                        out.clear();
                        lane.handle_client(*now, *now, caller, 0, RTP, &mut out);
                        assert_eq!(out.len(), usize::from(round.is_multiple_of(2)), "round {round}");
                    }
                    barrier.wait();
                }
            });
        }
        let mut out = Outbox::new();
        for frame in &frames {
            told.handle_tunnel(*now, *now, node_address(1), frame, &mut out);
            barrier.wait();
            barrier.wait();
        }
    });
}

#[test]
fn a_flow_that_only_one_side_uses_does_not_end() {
    let mut world = World::new();
    let (speaking, listening) = (client("192.0.2.1:4000"), client("192.0.2.2:4000"));
    world.call(speaking, 1, 5);
    world.call(listening, 1, 6);
    for _ in 0..6000 {
        world.advance(PACKET);
        world.tick();
        assert!(world.is_heard(speaking, 1, 5));
        assert_eq!(world.node(1, 6, CONFIRMED, listening, RTP).len(), 1);
    }
    assert_eq!(world.relay.flow_counts().assured, 2);
}

#[test]
fn a_node_that_leaves_the_list_gets_nothing_and_the_others_notice_nothing() {
    let mut world = World::new();
    let calls = callers(4);
    for (from, node, session) in calls.clone() {
        world.call(from, node, session);
    }
    let recorded = world.frame((2, Lane(0)), 3, CONFIRMED, calls[2].0, RTP);
    assert_eq!(world.tunnel(0, node_address(2), &recorded).len(), 1);
    let mut shorter = directory(2);
    shorter.nodes.remove(&NodeIndex(1));
    world.relay.publish(shorter);
    for (from, node, session) in calls.clone() {
        assert_eq!(world.is_heard(from, node, session), node == 2, "session {session}");
        let down = world.node(node, session, CONFIRMED, from, RTP);
        assert_eq!(down.len(), usize::from(node == 2), "session {session}");
    }
    assert!(world.tunnel(0, node_address(2), &recorded).is_empty(), "its window has survived");
    world.advance(PACKET);
    world.relay.publish(directory(2));
    assert!(world.is_heard(calls[1].0, calls[1].1, calls[1].2));
}

#[test]
fn a_draining_relay_says_so_in_its_heartbeats_and_forwards_on() {
    let mut world = World::new();
    let calls = callers(2);
    for (from, node, session) in calls.clone() {
        world.call(from, node, session);
    }
    world.relay.set_draining(true);
    assert!(world.relay.is_draining());
    world.advance(Duration::from_millis(50));
    let heard: Vec<_> = world.tick().into_iter().map(|(node, kind, ..)| (node, kind)).collect();
    assert_eq!(heard, [(1, Kind::Hello { draining: true }), (2, Kind::Hello { draining: true })]);
    (0..100).for_each(|turn| talk(&mut world, &calls, turn));
}

#[test]
fn the_traffic_class_of_a_packet_crosses_the_relay_both_ways() {
    const EXPEDITED: u8 = 0xb8;
    let mut world = World::new();
    let caller = client("192.0.2.1:4000");
    world.call(caller, 1, 5);
    let mut out = Outbox::new();
    world.lanes[0].handle_client(world.now, world.now, caller, EXPEDITED | 1, RTP, &mut out);
    let end = world.ends.get_mut(&(1, Lane(0))).unwrap();
    let Datagram { bytes, traffic_class, .. } = out.for_socket(Socket::Tunnel).next().unwrap();
    let Frame { header, .. } = end.open(world.now, bytes).unwrap();
    assert_eq!((header.traffic_class, traffic_class), (EXPEDITED | 1, EXPEDITED));

    let down = Outgoing {
        kind: CONFIRMED,
        session: 5,
        client: Some(caller),
        traffic_class: EXPEDITED,
        since: None,
        payload: RTP,
    };
    let mut frame = Vec::new();
    end.seal(world.now, &down, &mut frame).unwrap();
    out.clear();
    world.lanes[0].handle_tunnel(world.now, world.now, node_address(1), &frame, &mut out);
    assert_eq!(out.for_socket(Socket::Public).next().unwrap().traffic_class, EXPEDITED);
}

#[test]
fn a_client_over_tcp_and_one_over_udp_at_the_same_address_are_two() {
    let mut world = World::new();
    let udp = client("192.0.2.1:4000");
    let tcp = ClientAddress::tcp(udp.socket);
    world.call(udp, 1, 5);
    assert!(!world.is_heard(tcp, 1, 6));
    world.client(tcp, &request(1, 6));
    assert!(world.node(1, 6, CONFIRMED, tcp, STUN_RESPONSE).is_empty(), "not by the UDP socket");
    assert_eq!(world.out.for_socket(Socket::Stream).len(), 1);
    assert!(world.is_heard(tcp, 1, 6));
    assert!(world.is_heard(udp, 1, 5));
}
