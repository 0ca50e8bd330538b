use voxgate_protocol::path::ClientTransport;
use voxgate_relay::tunnel::Kind;

use super::*;

const RELAY: RelayId = RelayId(2);
const NODE: NodeIndex = NodeIndex(1);
const BOOT: Duration = Duration::from_secs(1_800_000_000);

fn key() -> TunnelKey {
    TunnelKey::new(4, [9; 32])
}

fn edge(now: Instant) -> Edge {
    let candidates = vec![
        RelayCandidate { address: ([198, 51, 100, 1], 3478).into(), transport: ClientTransport::Udp },
        RelayCandidate { address: ([198, 51, 100, 1], 443).into(), transport: ClientTransport::Tcp },
    ];
    let config = EdgeConfig {
        relay: RELAY,
        node: NODE,
        candidates,
        tunnel_ip: [10, 0, 0, 2].into(),
        key: key(),
        since_unix_epoch: BOOT,
    };
    Edge::new(config, now)
}

fn port(port: u16) -> SocketAddr {
    ([10, 0, 0, 2], port).into()
}

/// One thread of one life of the relay.
struct Thread {
    endpoint: Endpoint,
    lane: Lane,
    port: u16,
}

impl Thread {
    fn new(now: Instant, life: u32, lane: u8, port: u16) -> Self {
        let boot = BOOT + Duration::from_secs(60 * u64::from(life));
        let side = Side::Relay { epoch: life };
        let lane = Lane(lane);
        Self { endpoint: Endpoint::new(side, RELAY, NODE, lane, key(), now, boot), lane, port }
    }

    fn hello(&mut self, now: Instant) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.endpoint.seal(now, &outgoing(Kind::Hello { draining: false }), &mut bytes).unwrap();
        bytes
    }

    fn greets(&mut self, now: Instant, edge: &mut Edge) -> bool {
        let hello = self.hello(now);
        edge.open(now, self.lane, port(self.port), &hello).unwrap().lives_anew
    }
}

fn outgoing(kind: Kind) -> Outgoing<'static> {
    Outgoing { kind, session: 0, client: None, traffic_class: 0, since: None, payload: &[] }
}

fn sends_to(edge: &mut Edge, now: Instant, lane: u8) -> Option<u16> {
    let to = edge.seal(now, Lane(lane), &outgoing(Kind::Refresh), &mut Vec::new());
    to.map(|address| address.port())
}

#[test]
fn each_lane_is_answered_where_it_sends_from() {
    let now = Instant::now();
    let mut edge = edge(now);
    assert_eq!(sends_to(&mut edge, now, 0), None, "nobody knows where the relay is");
    let mut first = Thread::new(now, 1, 0, 5000);
    let mut second = Thread::new(now, 1, 63, 5001);
    assert!(first.greets(now, &mut edge));
    assert!(!second.greets(now, &mut edge), "two threads are one life");
    assert_eq!(sends_to(&mut edge, now, 0), Some(5000));
    assert_eq!(sends_to(&mut edge, now, 63), Some(5001));
    assert_eq!(sends_to(&mut edge, now, 7), Some(5000), "a lane never heard: any of this life");
}

#[test]
fn frames_of_other_keys_leave_nothing_behind() {
    let now = Instant::now();
    let mut edge = edge(now);
    let mut thread = Thread::new(now, 1, 40, 5000);
    let mut forged = thread.hello(now);
    *forged.last_mut().unwrap() ^= 1;
    assert!(edge.open(now, Lane(40), port(6666), &forged).is_err());
    assert!(edge.lanes.is_empty());
    assert_eq!(sends_to(&mut edge, now, 40), None);
}

#[test]
fn a_repeated_frame_moves_no_address() {
    let now = Instant::now();
    let mut edge = edge(now);
    let mut thread = Thread::new(now, 1, 0, 5000);
    let hello = thread.hello(now);
    assert!(edge.open(now, Lane(0), port(5000), &hello).is_ok());
    assert!(edge.open(now, Lane(0), port(6666), &hello).is_err());
    assert_eq!(sends_to(&mut edge, now, 0), Some(5000));
}

#[test]
fn a_relay_that_starts_anew_is_reached_at_its_new_ports_only() {
    let now = Instant::now();
    let mut edge = edge(now);
    let mut old = [Thread::new(now, 1, 0, 5000), Thread::new(now, 1, 1, 5001)];
    for thread in &mut old {
        thread.greets(now, &mut edge);
    }
    let late = old[1].hello(now);
    let mut fresh = Thread::new(now, 2, 0, 7000);
    assert!(fresh.greets(now, &mut edge));
    assert!(!fresh.greets(now, &mut edge));
    assert_eq!(sends_to(&mut edge, now, 0), Some(7000));
    assert_eq!(sends_to(&mut edge, now, 1), Some(7000), "the thread of the former life is gone");
    let heard = edge.open(now, Lane(1), port(5001), &late).unwrap();
    assert!(!heard.lives_anew, "a frame that was under way does not bring the former life back");
    assert_eq!(sends_to(&mut edge, now, 1), Some(7000));
    let mut second = Thread::new(now, 2, 1, 7001);
    assert!(!second.greets(now, &mut edge));
    assert_eq!(sends_to(&mut edge, now, 1), Some(7001));
}

#[test]
fn a_hello_of_a_new_life_is_answered_at_once_and_others_once_a_second() {
    let now = Instant::now();
    let mut edge = edge(now);
    let mut thread = Thread::new(now, 1, 0, 5000);
    let mut answers = 0;
    for beat in 0..=60 {
        let now = now + Duration::from_millis(50 * beat);
        thread.greets(now, &mut edge);
        answers += u32::from(edge.owes_answer(now, Lane(0)));
    }
    assert_eq!(answers, 4, "at 0, 1, 2 and 3 seconds");
    let now = now + Duration::from_millis(3_050);
    Thread::new(now, 2, 0, 5000).greets(now, &mut edge);
    assert!(edge.owes_answer(now, Lane(0)));
    assert!(!edge.owes_answer(now, Lane(0)));
}

#[test]
fn frames_come_from_the_hosts_address_in_either_form() {
    let edge = edge(Instant::now());
    assert!(edge.sends_from(port(1)));
    assert!(edge.sends_from("[::ffff:10.0.0.2]:9".parse().unwrap()));
    assert!(!edge.sends_from(([10, 0, 0, 3], 1).into()));
}

#[test]
fn the_way_back_to_a_client_is_the_candidate_of_its_transport() {
    let edge = edge(Instant::now());
    let client = SocketAddr::from(([203, 0, 113, 9], 50_000));
    assert_eq!(edge.reached_at(ClientAddress::udp(client)).unwrap().port(), 3478);
    assert_eq!(edge.reached_at(ClientAddress::tcp(client)).unwrap().port(), 443);
}

/// A tunnel whose directions take these times from now on. What a frame of the relay and the answer to it say.
fn exchanged(
    edge: &mut Edge,
    thread: &mut Thread,
    now: &mut Instant,
    coming: Duration,
    going: Duration,
) -> TunnelTimes {
    let mut frame = Vec::new();
    edge.seal(*now, thread.lane, &outgoing(Kind::Refresh), &mut frame).unwrap();
    *now += going;
    thread.endpoint.open(*now, &frame).unwrap();
    let hello = thread.hello(*now);
    *now += coming;
    edge.open(*now, thread.lane, port(thread.port), &hello).unwrap().times
}

#[test]
fn a_delay_between_relay_and_gateway_shows_in_its_own_direction() {
    const MS: Duration = Duration::from_millis(1);
    let mut now = Instant::now();
    let mut edge = edge(now);
    // The relay's clock is that of another host.
    let mut thread = Thread::new(now - 5_000 * MS, 1, 0, 5000);
    assert!(thread.greets(now, &mut edge));
    let quick = exchanged(&mut edge, &mut thread, &mut now, MS, MS);
    assert_eq!((quick.relay_in, quick.relay_out), (MS, Some(MS)));
    let up = exchanged(&mut edge, &mut thread, &mut now, 151 * MS, MS);
    assert_eq!((up.relay_in, up.relay_out), (151 * MS, Some(MS)));
    let down = exchanged(&mut edge, &mut thread, &mut now, MS, 151 * MS);
    assert_eq!((down.relay_in, down.relay_out), (MS, Some(151 * MS)));
    assert!([quick, up, down].iter().all(|times| times.error > MS && times.error < 2 * MS), "{down:?}");
}

#[test]
fn what_stays_in_the_relay_on_its_way_to_the_client_is_the_relays() {
    const MS: Duration = Duration::from_millis(1);
    let mut now = Instant::now();
    let mut edge = edge(now);
    let mut thread = Thread::new(now, 1, 0, 5000);
    assert!(thread.greets(now, &mut edge));
    exchanged(&mut edge, &mut thread, &mut now, MS, MS);
    now += MS;
    let mut hello = Vec::new();
    let told = Outgoing { since: Some(now - 40 * MS), ..outgoing(Kind::Hello { draining: false }) };
    thread.endpoint.seal(now, &told, &mut hello).unwrap();
    edge.open(now + MS, Lane(0), port(5000), &hello).unwrap();
    let mut up = Vec::new();
    thread.endpoint.seal(now, &outgoing(Kind::Up), &mut up).unwrap();
    let times = edge.open(now + MS, Lane(0), port(5000), &up).unwrap().times;
    assert_eq!((times.relay_in, times.relay_out), (MS, Some(41 * MS)));
}
