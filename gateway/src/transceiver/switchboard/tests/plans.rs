use super::*;

fn kinds(frames: &[(FrameHeader, Vec<u8>)]) -> Vec<Kind> {
    frames.iter().map(|(header, _)| header.kind).collect()
}

/// An RTP packet as far as the first bytes show.
const RTP: [u8; 12] = [0x80, 111, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1];

#[tokio::test]
async fn a_check_is_answered_through_the_lane_it_came_by() {
    let mut world = World::new(1).await;
    let mut lanes = [FakeRelay::new(0, 1, 0, world.now), FakeRelay::new(0, 1, 5, world.now)];
    let answer = world.call(1);
    let [first, second] = &mut lanes;
    for lane in [&mut *first, &mut *second] {
        world.hello(lane);
        assert_eq!(kinds(&lane.received(world.now)), [Kind::Refresh]);
    }
    world.check(second, &answer, client(1));
    let frames = second.received(world.now);
    assert_eq!(kinds(&frames), [Kind::Confirm, Kind::Down { confirmed: true }]);
    assert!(frames.iter().all(|(header, _)| header.client == Some(client(1)) && header.session == 2));
    assert_eq!(frames[1].1[..2], [1, 1], "a binding success response");
    world.check(first, &answer, client(1));
    assert_eq!(kinds(&first.received(world.now)), [Kind::Down { confirmed: true }]);
    assert!(second.received(world.now).is_empty());
}

#[tokio::test]
async fn frames_that_are_not_a_relays_are_dropped_and_counted() {
    let mut world = World::new(1).await;
    let now = world.now;
    let mut other_relay = FakeRelay::new(7, 1, 0, now);
    world.hello(&mut other_relay);
    assert_eq!(world.dropped("unknown_relay"), 1);
    let mut other_key = FakeRelay::new(0, 1, 0, now);
    other_key.endpoint =
        Endpoint::new(Side::Relay { epoch: 1 }, relay_id(0), NODE, Lane(0), tunnel_key(9), now, BOOT);
    world.hello(&mut other_key);
    assert_eq!(world.dropped("not_authentic"), 1);
    let mut bytes = Vec::new();
    let hello = Kind::Hello { draining: false };
    let outgoing =
        Outgoing { kind: hello, session: 0, client: None, traffic_class: 0, since: None, payload: &[] };
    FakeRelay::new(0, 1, 0, now).endpoint.seal(now, &outgoing, &mut bytes).unwrap();
    world.switchboard.handle_datagram(now, ([10, 9, 9, 9], 5_000).into(), &bytes);
    assert_eq!(world.dropped("unknown_relay"), 2, "an authentic frame from another host");
    world.switchboard.handle_datagram(now, ([127, 0, 0, 1], 5_000).into(), b"GET / HTTP/1.1");
    assert_eq!(world.dropped("malformed"), 1);
}

#[tokio::test]
async fn every_answer_names_two_live_relays_in_turn() {
    let mut world = World::new(3).await;
    let mut relays: Vec<FakeRelay> = (0..3).map(|index| FakeRelay::new(index, 1, 0, world.now)).collect();
    assert_eq!(offered(&world.call(1)).len(), 2, "silent ones are better than none");
    world.hello(&mut relays[0]);
    world.hello(&mut relays[2]);
    let firsts: Vec<Vec<SocketAddr>> = (2..4).map(|slot| offered(&world.call(slot))).collect();
    assert!(firsts.contains(&vec![public(0), public(2)]) && firsts.contains(&vec![public(2), public(0)]));
    world.deliver(&mut relays[2], Kind::Hello { draining: true }, None, &[]);
    assert_eq!(offered(&world.call(5)), [public(0)]);
    world.hello(&mut relays[2]);
    assert_eq!(offered(&world.call(6)).len(), 2, "a relay may come back");
    let answer = world.call(7);
    let lines: Vec<&str> = answer.lines().filter(|line| line.starts_with("a=candidate:")).collect();
    let first_tcp = lines.iter().position(|line| line.contains(" tcptype passive")).unwrap();
    assert!(lines[first_tcp..].iter().all(|line| line.contains(" tcptype passive")), "UDP first");
}

#[tokio::test]
async fn a_relay_that_starts_anew_is_taught_its_flows_in_slices() {
    const CALLS: u64 = 150;
    let mut world = World::new(1).await;
    let mut relay = FakeRelay::new(0, 1, 0, world.now);
    for slot in 0..CALLS {
        let answer = world.call(slot);
        world.check(&mut relay, &answer, client(slot as u16 + 1));
    }
    relay.received(world.now);
    let mut fresh = FakeRelay::new(0, 2, 0, world.now);
    world.hello(&mut fresh);
    let first = fresh.received(world.now);
    assert_eq!(first.len(), 1 + 64, "the answer and one slice");
    assert!(first.iter().all(|(header, _)| header.kind == Kind::Refresh && header.relay_epoch == 2));
    assert!(world.switchboard.next_deadline().is_some_and(|at| at <= world.now), "the loop goes on at once");
    let mut taught: Vec<u16> =
        first.iter().filter_map(|(header, _)| Some(header.client?.socket.port())).collect();
    while world.switchboard.has_rounds() {
        world.switchboard.handle_relays(world.now);
        let slice = fresh.received(world.now);
        assert!(slice.len() <= 64);
        taught.extend(slice.iter().filter_map(|(header, _)| Some(header.client?.socket.port())));
    }
    assert_eq!(taught, (1..=CALLS as u16).collect::<Vec<u16>>(), "each once");
    assert!(relay.received(world.now).is_empty());
}

#[tokio::test]
async fn calls_leave_a_relay_that_is_silent_while_the_other_is_heard() {
    let mut world = World::new(2).await;
    let (mut first, mut second) = (FakeRelay::new(0, 1, 0, world.now), FakeRelay::new(1, 1, 0, world.now));
    world.beat(&mut [&mut first, &mut second], Duration::from_secs(1));
    let answer = world.call(1);
    assert_eq!(offered(&answer).len(), 2);
    world.check(&mut second, &answer, client(1));
    world.check(&mut first, &answer, client(1));
    assert_eq!(world.switchboard.calls[&1].ways.proven().count(), 2);
    world.check(&mut first, &answer, client(1));
    world.beat(&mut [&mut second], Duration::from_millis(150));
    assert_eq!(world.failovers("silent"), 0);
    world.beat(&mut [&mut second], Duration::from_millis(50));
    assert_eq!(world.failovers("silent"), 1);
    assert_eq!(offered(&world.call(2)), [public(1)], "no new call is given to it");
    world.beat(&mut [&mut second], Duration::from_secs(2));
    assert_eq!(world.failovers("silent"), 1, "once");
    world.beat(&mut [&mut first, &mut second], Duration::from_millis(50));
    assert_eq!(offered(&world.call(3)).len(), 2);
}

#[tokio::test]
async fn a_draining_relay_keeps_carrying_its_calls_which_are_told_once() {
    let mut world = World::new(2).await;
    let (mut first, mut second) = (FakeRelay::new(0, 1, 0, world.now), FakeRelay::new(1, 1, 0, world.now));
    world.beat(&mut [&mut first, &mut second], Duration::from_secs(1));
    let answer = world.call(1);
    world.check(&mut second, &answer, client(1));
    world.check(&mut first, &answer, client(1));
    world.check(&mut first, &answer, client(1));
    first.received(world.now);
    for _ in 0..20 {
        world.now += BEAT;
        world.deliver(&mut first, Kind::Hello { draining: true }, None, &[]);
        world.hello(&mut second);
    }
    assert_eq!((world.failovers("draining"), world.failovers("silent")), (1, 0));
    world.check(&mut first, &answer, client(1));
    assert!(kinds(&first.received(world.now)).contains(&Kind::Down { confirmed: true }));
}

#[tokio::test]
async fn what_is_sent_on_a_released_path_makes_no_flow_until_the_path_is_proven_anew() {
    let mut world = World::new(2).await;
    let (mut first, mut second) = (FakeRelay::new(0, 1, 0, world.now), FakeRelay::new(1, 1, 0, world.now));
    let answer = world.call(1);
    world.check(&mut second, &answer, client(1));
    world.check(&mut first, &answer, client(1));
    world.check(&mut first, &answer, client(1));
    first.received(world.now);
    let path = voxgate_media::transport::Path { relay: public(0), client: client(1) };
    world.switchboard.carry_out(world.now, 1, CallOutput::Released(path));
    world.switchboard.carry_out(world.now, 1, CallOutput::Transmit(path, vec![1, 1].into()));
    world.switchboard.carry_out(world.now, 1, CallOutput::Refresh);
    assert_eq!(kinds(&first.received(world.now)), [Kind::Release, Kind::Down { confirmed: false }]);
    world.switchboard.carry_out(world.now, 1, CallOutput::Validated(path));
    world.switchboard.carry_out(world.now, 1, CallOutput::Transmit(path, vec![1, 1].into()));
    assert_eq!(kinds(&first.received(world.now)), [Kind::Confirm, Kind::Down { confirmed: true }]);
}

#[tokio::test]
async fn after_an_ice_restart_the_old_and_the_new_name_lead_to_the_call() {
    let mut world = World::new(2).await;
    let (mut first, mut second) = (FakeRelay::new(0, 1, 0, world.now), FakeRelay::new(1, 1, 0, world.now));
    world.hello(&mut first);
    let answer = world.call(1);
    world.check(&mut first, &answer, client(1));
    world.deliver(&mut first, Kind::Hello { draining: true }, None, &[]);
    world.hello(&mut second);
    world.now += Duration::from_secs(1);
    let offer = restart_offer(1);
    assert_eq!(world.restart(1, KeyIndex(1), &offer).unwrap_err().status, 404, "another key's call");
    assert_eq!(world.restart(2, KeyIndex(0), &offer).unwrap_err().status, 404);
    assert_eq!(world.restart(1, KeyIndex(0), "v=0").unwrap_err().status, 400);
    let restarted = world.restart(1, KeyIndex(0), &offer).unwrap();
    assert_eq!(offered(&restarted), [public(1)], "the relay that drains is left");
    assert_eq!(world.switchboard.calls[&1].generation, 1);
    assert_eq!(world.switchboard.by_ufrag.len(), 2);

    first.received(world.now);
    world.check(&mut first, &answer, client(1));
    assert_eq!(kinds(&first.received(world.now)), [Kind::Down { confirmed: true }]);
    let check = check::binding_request(&restarted, &offer);
    world.deliver(&mut second, Kind::Up, Some(client(2)), &check);
    assert!(kinds(&second.received(world.now)).contains(&Kind::Down { confirmed: true }));
    assert_eq!(world.switchboard.calls.len(), 1);
}

#[tokio::test]
async fn every_name_of_a_call_leads_to_it_until_it_is_gone() {
    let mut world = World::new(1).await;
    world.call(1);
    for number in 0..10 {
        world.now += Duration::from_secs(40);
        world.restart(1, KeyIndex(0), &restart_offer(number)).unwrap();
        // The client may never have got the newest answers, and still check with the first one.
        assert_eq!(world.switchboard.by_ufrag.len(), 2 + number as usize);
    }
    let refused = world.restart(1, KeyIndex(0), &restart_offer(77)).unwrap_err();
    assert_eq!(refused.status, 429, "too soon, but worth another try");
    let now = world.now;
    world.switchboard.forget(now, 1);
    assert!(world.switchboard.by_ufrag.is_empty() && world.switchboard.deadlines.is_empty());
}

#[tokio::test]
async fn a_call_goes_on_from_another_address() {
    let mut world = World::new(1).await;
    let mut relay = FakeRelay::new(0, 1, 0, world.now);
    let answer = world.call(1);
    world.check(&mut relay, &answer, client(1));
    world.check(&mut relay, &answer, client(2));
    relay.received(world.now);
    world.deliver(&mut relay, Kind::Up, Some(client(2)), &RTP);
    world.deliver(&mut relay, Kind::Up, Some(client(1)), &RTP);
    assert_eq!(world.dropped("no_call"), 0);
    world.deliver(&mut relay, Kind::Up, Some(client(3)), &RTP);
    assert_eq!(world.dropped("no_call"), 1, "an address that nobody proved");
}

#[tokio::test]
async fn an_address_of_a_live_call_is_not_given_away_and_udp_and_tcp_are_two_addresses() {
    let mut world = World::new(1).await;
    let mut relay = FakeRelay::new(0, 1, 0, world.now);
    let (mine, others) = (world.call(1), world.call(2));
    world.check(&mut relay, &mine, client(1));
    world.check(&mut relay, &others, client(1));
    assert_eq!(world.dropped("address_held"), 1);
    assert_eq!(world.switchboard.by_client[&client(1)].slot, 1);
    let by_tcp = ClientAddress::tcp(client(1).socket);
    world.check(&mut relay, &others, by_tcp);
    assert_eq!(world.switchboard.by_client[&by_tcp].slot, 2);
    world.now += Duration::from_secs(5);
    world.hello(&mut relay);
    world.check(&mut relay, &others, client(1));
    assert_eq!(world.switchboard.by_client[&client(1)].slot, 2, "it was free");
}

#[tokio::test]
async fn a_call_whose_media_stops_has_its_flows_refreshed_for_a_while() {
    let mut world = World::new(1).await;
    let mut relay = FakeRelay::new(0, 1, 0, world.now);
    let answer = world.call(1);
    world.check(&mut relay, &answer, client(1));
    world.deliver(&mut relay, Kind::Up, Some(client(1)), &RTP);
    relay.received(world.now);
    let mut refreshed = Vec::new();
    let start = world.now;
    for step in 1..=1_000 {
        world.now = start + Duration::from_millis(10 * step);
        world.timeout(1);
        let frames = relay.received(world.now);
        if kinds(&frames).contains(&Kind::Refresh) {
            refreshed.push(10 * step);
        }
    }
    assert_eq!(refreshed[..3], [100, 600, 1_100], "ms of silence");
    assert_eq!(refreshed.len(), 11, "a client that says nothing for good costs nothing: {refreshed:?}");
}
