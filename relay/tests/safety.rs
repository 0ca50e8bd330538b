//! What nobody can do to a relay or to somebody else's call.

#![expect(clippy::unwrap_used, reason = "a test that cannot set up its world fails")]

use std::collections::BTreeMap;
use std::time::Duration;

use voxgate_relay::core::Socket;
use voxgate_relay::flow::FlowLimits;
use voxgate_relay::fuzz::stun_request;
use voxgate_relay::tunnel::{Kind, Lane};
use voxgate_relay::ufrag::{Route, UfragKey, seal};

mod world;
use world::*;

/// A ufrag as an attacker may come by it: altered, made with a guessed key, or made up.
fn forged_ufrag(random: &mut Random) -> Vec<u8> {
    let valid = seal(&ufrag_key(3), &route(1, random.next() as u32)).unwrap();
    let mut ufrag = valid.as_ref().to_vec();
    let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    match random.below(5) {
        0 => {
            let position = random.below(ufrag.len());
            ufrag[position] = alphabet[random.below(64)];
        }
        1 => ufrag.iter_mut().for_each(|character| *character = alphabet[random.below(64)]),
        2 => {
            let secret = u128::from(random.next()).to_be_bytes();
            let guessed = UfragKey::new(3, secret, 1).unwrap();
            ufrag = seal(&guessed, &route(1, 5)).unwrap().as_ref().to_vec();
        }
        3 => {
            let route = Route { node_epoch: random.next() as u8, ..route(random.below(9) as u32, 5) };
            ufrag = seal(&ufrag_key(3), &route).unwrap().as_ref().to_vec();
        }
        _ => ufrag.truncate(random.below(40)),
    }
    ufrag
}

#[test]
fn a_spray_of_forged_ufrags_reaches_no_unlisted_address() {
    for seed in 0..8 {
        let mut random = Random(seed);
        let mut world = World::new();
        for _ in 0..4000 {
            let ufrag = forged_ufrag(&mut random);
            let username = [ufrag.as_slice(), b":client"].concat();
            let from = random.client();
            world.out.clear();
            let datagram = stun_request(&username, [1; 12]);
            world.lanes[0].handle_client(world.now, world.now, from, 0, &datagram, &mut world.out);
            assert_eq!(world.out.for_socket(Socket::Public).len(), 0, "seed {seed}");
            for sent in world.out.for_socket(Socket::Tunnel) {
                let listed = (1..=2).any(|node| node_address(node) == sent.to);
                assert!(listed, "seed {seed}: {} is not on the list", sent.to);
            }
        }
        let stats = world.stats();
        let dropped = stats.drop_forged_ufrag
            + stats.drop_unknown_ufrag_key
            + stats.drop_foreign_ufrag
            + stats.drop_no_ufrag
            + stats.drop_unknown_node;
        assert_eq!(stats.up_datagrams + dropped, 4000, "seed {seed}");
        // An alteration may leave a ufrag as it was, and a guessed route may name a node that exists.
        assert!(stats.up_datagrams < 100, "seed {seed}: {} got through", stats.up_datagrams);
    }
}

#[test]
fn a_rebind_by_a_spoofed_source_leaves_the_victims_audio_intact() {
    let mut world = World::new();
    let (victim, attacker) = (client("192.0.2.1:4000"), client("203.0.113.9:6000"));
    world.call(victim, 1, 5);
    world.call(attacker, 2, 6);
    for second in 0..60 {
        // From the victim's address, with the attacker's own session on another node, which believes it.
        world.client(victim, &request(2, 6));
        world.node(2, 6, Kind::Confirm, victim, &[]);
        world.node(2, 6, CONFIRMED, victim, RTP);
        // From the attacker's address, with the victim's ufrag: the node finds no MESSAGE-INTEGRITY and is silent.
        world.client(attacker, &request(1, 5));
        for _ in 0..50 {
            world.advance(Duration::from_millis(20));
            world.tick();
            assert!(world.is_heard(victim, 1, 5), "uplink in second {second}");
            let down = world.node(1, 5, CONFIRMED, victim, RTP);
            assert_eq!(down, [(victim.socket, RTP.to_vec())], "downlink in second {second}");
        }
    }
    assert_eq!(world.stats().refused_takeover, 120);
}

#[test]
fn a_recorded_check_replayed_from_many_addresses_does_not_push_the_caller_out() {
    for seed in 0..8 {
        let mut random = Random(seed);
        let mut world = World::new();
        let victim = client("192.0.2.1:4000");
        world.call(victim, 1, 5);
        for _ in 0..2000 {
            // The integrity of the recording is right, so the node validates every address it comes from.
            let elsewhere = random.client();
            world.client(elsewhere, &request(1, 5));
            world.node(1, 5, Kind::Confirm, elsewhere, &[]);
            world.advance(Duration::from_millis(u64::try_from(random.below(20)).unwrap()));
            world.tick();
            assert!(world.is_heard(victim, 1, 5), "seed {seed}");
        }
        assert!(world.relay.flow_counts().assured <= FlowLimits::default().assured_per_session);
    }
}

#[test]
fn bytes_out_never_exceed_bytes_in_before_assurance() {
    for seed in 0..20 {
        let mut random = Random(seed);
        let mut world = World::new();
        let clients: Vec<_> = (0..12).map(|_| random.client()).collect();
        let mut balance: BTreeMap<_, i64> = BTreeMap::new();
        for _ in 0..3000 {
            let from = clients[random.below(clients.len())];
            let (node, session) = (1 + random.below(2) as u32, random.below(3) as u32);
            match random.below(4) {
                0 => {
                    let datagram = request(node, session);
                    let arrived = world.client(from, &datagram).len();
                    *balance.entry(from).or_default() += (arrived * datagram.len()) as i64;
                }
                1 => {
                    let datagram = [DTLS, RTP, STUN_RESPONSE][random.below(3)];
                    assert!(world.client(from, datagram).is_empty(), "seed {seed}");
                }
                _ => {
                    let mut payload = [STUN_RESPONSE, DTLS, RTP][random.below(3)].to_vec();
                    payload.resize(payload.len() + random.below(300), 0);
                    for (to, sent) in world.node(node, session, UNCONFIRMED, from, &payload) {
                        assert_eq!(to, from.socket);
                        *balance.entry(from).or_default() -= sent.len() as i64;
                    }
                }
            }
            assert!(balance.values().all(|balance| *balance >= 0), "seed {seed}");
            world.advance(Duration::from_millis(u64::try_from(random.below(100)).unwrap()));
            world.tick();
        }
        assert!(world.stats().drop_down_budget > 0 && world.stats().down_datagrams > 0, "seed {seed}");
    }
}

#[test]
fn a_full_table_refuses_newcomers_and_keeps_the_old() {
    let limits = FlowLimits { half_open: 10, assured: 10, ..FlowLimits::default() };
    let mut world = World::with(1, limits);
    let caller = |number: u32| client(&format!("192.0.2.{number}:4000"));
    for number in 1..=10 {
        world.call(caller(number), 1, number);
    }
    assert_eq!(world.client(caller(11), &request(1, 11)).len(), 1);
    world.node(1, 11, Kind::Confirm, caller(11), &[]);
    assert!(!world.is_heard(caller(11), 1, 11));
    for number in 12..=30 {
        world.client(caller(number), &request(1, number));
    }
    for number in 1..=10 {
        assert!(world.is_heard(caller(number), 1, number));
    }
    let (stats, counts) = (world.stats(), world.relay.flow_counts());
    assert_eq!((stats.refused_assured_full, stats.drop_half_open_full), (1, 10));
    assert_eq!((counts.half_open, counts.assured), (10, 10));
}

#[test]
fn a_flood_of_requests_from_one_host_costs_its_neighbours_calls_nothing() {
    let mut world = World::new();
    let victim = client("192.0.2.1:4000");
    world.call(victim, 1, 5);
    let mut arrived = 0;
    for number in 0..20_000_u32 {
        let flooding = client(&format!("192.0.2.1:{}", 5000 + number % 50_000));
        arrived += world.client(flooding, &request(1, 100 + number)).len();
    }
    let limits = FlowLimits::default();
    assert!(arrived <= limits.requests_burst as usize, "{arrived} requests of one moment arrived");
    assert_eq!(world.stats().drop_rate_limited, 20_000 - arrived as u64);
    assert_eq!(world.relay.flow_counts().half_open, limits.half_open_per_host);
    assert_eq!(world.client(victim, &request(1, 5)).len(), 1);
    assert!(world.is_heard(victim, 1, 5));
}

#[test]
fn random_bytes_on_either_socket_reach_nobody() {
    for seed in 0..8 {
        let mut random = Random(seed);
        let mut world = World::new();
        for _ in 0..4000 {
            let length = random.below(200);
            let bytes: Vec<u8> = (0..length).map(|_| random.next() as u8).collect();
            let from = random.client();
            assert!(world.client(from, &bytes).is_empty(), "seed {seed}");
            assert!(world.tunnel(0, from.socket, &bytes).is_empty(), "seed {seed}");
            assert!(world.tunnel(0, node_address(1), &bytes).is_empty(), "seed {seed}");
        }
    }
}

#[test]
fn a_frame_of_one_lane_is_refused_by_another() {
    let mut world = World::with(2, FlowLimits::default());
    let frame = world.frame((1, Lane(1)), 5, CONFIRMED, client("192.0.2.1:4000"), RTP);
    assert!(world.tunnel(0, node_address(1), &frame).is_empty());
    assert_eq!(world.stats().drop_tunnel_misdirected, 1);
    assert_eq!(world.tunnel(1, node_address(1), &frame).len(), 1);
}
