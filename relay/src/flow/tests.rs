use std::net::SocketAddr;
use std::time::Instant;

use voxgate_protocol::path::ClientAddress;

use super::*;

const SEED: u128 = 0x0123_4567_89ab_cdef;

fn client(number: u8) -> ClientAddress {
    ClientAddress::udp(SocketAddr::from(([192, 0, 2, number], 5000)))
}

const fn tag(node: u32, session: u32) -> SessionTag {
    SessionTag { node: NodeIndex(node), session }
}

fn table() -> (FlowTable, Instant) {
    let start = Instant::now();
    (FlowTable::new(FlowLimits::default(), SEED, start), start)
}

#[test]
fn an_unconfirmed_address_has_no_uplink() {
    let (mut table, now) = table();
    table.request(now, client(1), tag(1, 1), 100).unwrap();
    assert_eq!(table.uplink(now, client(1)), None);
    assert_eq!(table.confirm(now, client(1), tag(1, 1)), Ok(Confirmation::Created));
    assert_eq!(table.uplink(now, client(1)), Some(tag(1, 1)));
    assert_eq!((table.counts().half_open, table.counts().assured), (0, 1));
}

#[test]
fn no_more_bytes_leave_than_came_before_the_address_is_assured() {
    let (mut table, now) = table();
    assert_eq!(table.reply(now, client(1), tag(1, 1), 1), Err(FlowRefusal::Budget));
    table.request(now, client(1), tag(1, 1), 100).unwrap();
    assert_eq!(table.reply(now, client(1), tag(1, 1), 60), Ok(()));
    assert_eq!(table.reply(now, client(1), tag(1, 1), 41), Err(FlowRefusal::Budget));
    assert_eq!(table.reply(now, client(1), tag(1, 1), 40), Ok(()));
    assert_eq!(table.reply(now, client(1), tag(2, 1), 1), Err(FlowRefusal::Budget));
    table.request(now, client(1), tag(1, 1), 10).unwrap();
    assert_eq!(table.reply(now, client(1), tag(1, 1), 10), Ok(()));
    table.confirm(now, client(1), tag(1, 1)).unwrap();
    assert_eq!(table.reply(now, client(1), tag(1, 1), 10_000), Ok(()));
}

#[test]
fn another_node_takes_over_only_after_the_owner_is_silent_or_releases() {
    let (mut table, start) = table();
    let quiet = FlowLimits::default().takeover_quiet;
    table.confirm(start, client(1), tag(1, 1)).unwrap();
    table.confirm(start + quiet, client(1), tag(1, 1)).unwrap();
    let just_before = start + quiet + quiet - Duration::from_millis(1);
    assert_eq!(table.uplink(just_before, client(1)), Some(tag(1, 1)));
    assert_eq!(table.confirm(just_before, client(1), tag(2, 9)), Err(FlowRefusal::Owned));
    assert_eq!(table.uplink(just_before, client(1)), Some(tag(1, 1)));
    assert_eq!(table.confirm(start + quiet + quiet, client(1), tag(2, 9)), Ok(Confirmation::Moved));
    assert_eq!(table.uplink(just_before, client(1)), Some(tag(2, 9)));
    assert!(!table.release(client(1), tag(1, 1)));
    assert!(table.release(client(1), tag(2, 9)));
    assert_eq!(table.confirm(start, client(1), tag(1, 1)), Ok(Confirmation::Created));
}

#[test]
fn the_same_node_moves_a_flow_between_its_sessions_at_once() {
    let (mut table, now) = table();
    table.confirm(now, client(1), tag(1, 1)).unwrap();
    assert_eq!(table.confirm(now, client(1), tag(1, 2)), Ok(Confirmation::Moved));
    assert_eq!(table.confirm(now, client(1), tag(1, 2)), Ok(Confirmation::Kept));
    assert_eq!(table.uplink(now, client(1)), Some(tag(1, 2)));
}

#[test]
fn one_half_open_entry_too_many_replaces_the_oldest_of_its_session() {
    let (mut table, now) = table();
    for number in 0..9 {
        table.request(now, client(number), tag(1, 1), 100).unwrap();
    }
    assert_eq!(table.counts().half_open, 8);
    assert_eq!(table.reply(now, client(0), tag(1, 1), 1), Err(FlowRefusal::Budget));
    assert_eq!(table.reply(now, client(1), tag(1, 1), 1), Ok(()));
    assert_eq!(table.reply(now, client(8), tag(1, 1), 1), Ok(()));
}

#[test]
fn one_assured_flow_too_many_replaces_the_most_silent_of_its_session() {
    let (mut table, start) = table();
    for number in 0..4_u8 {
        table.confirm(start + Duration::from_millis(number.into()), client(number), tag(1, 1)).unwrap();
    }
    table.uplink(start + Duration::from_secs(2), client(0));
    table.confirm(start + Duration::from_secs(3), client(4), tag(1, 1)).unwrap();
    assert_eq!(table.counts().assured, 4);
    assert_eq!(table.uplink(start, client(1)), None);
    assert_eq!(table.uplink(start, client(0)), Some(tag(1, 1)));
}

#[test]
fn one_assured_flow_too_many_replaces_the_youngest_when_all_are_lively() {
    let (mut table, start) = table();
    for number in 0..20_u8 {
        table.confirm(start + Duration::from_millis(number.into()), client(number), tag(1, 1)).unwrap();
    }
    for number in 0..20_u8 {
        let expected = [0, 1, 2, 19].contains(&number).then_some(tag(1, 1));
        assert_eq!(table.uplink(start, client(number)), expected, "client {number}");
    }
}

#[test]
fn a_full_table_refuses_new_addresses_and_serves_known_ones() {
    let limits = FlowLimits { half_open: 2, assured: 2, ..FlowLimits::default() };
    let now = Instant::now();
    let mut table = FlowTable::new(limits, SEED, now);
    for number in 0..2 {
        table.request(now, client(number), tag(1, number.into()), 100).unwrap();
        table.confirm(now, client(number + 10), tag(1, number.into())).unwrap();
    }
    assert_eq!(table.request(now, client(2), tag(1, 2), 100), Err(FlowRefusal::Full));
    assert_eq!(table.request(now, client(1), tag(1, 1), 100), Ok(Admission::Known));
    assert_eq!(table.confirm(now, client(12), tag(1, 2)), Err(FlowRefusal::Full));
    assert_eq!(table.confirm(now, client(11), tag(1, 1)), Ok(Confirmation::Kept));
}

#[test]
fn half_open_entries_end_with_age_and_assured_flows_when_idle() {
    let (mut table, start) = table();
    let limits = FlowLimits::default();
    table.request(start, client(1), tag(1, 1), 100).unwrap();
    table.confirm(start, client(2), tag(1, 1)).unwrap();
    assert_eq!(table.expire(start + limits.half_open_age), Expired { half_open: 1, assured: 0 });
    let active = start + Duration::from_secs(20);
    table.uplink(active, client(2));
    assert_eq!(table.expire(start + limits.assured_idle), Expired::default());
    assert_eq!(table.expire(active + limits.assured_idle), Expired { half_open: 0, assured: 1 });
    table.audit();
    assert_eq!(table.counts(), FlowCounts::default());
}

#[test]
fn one_half_open_entry_too_many_replaces_the_oldest_of_its_host() {
    let (mut table, now) = table();
    let at = |port: u16| ClientAddress::udp(SocketAddr::from(([192, 0, 2, 1], port)));
    for port in 1..=64_u16 {
        assert_eq!(table.request(now, at(port), tag(1, port.into()), 100), Ok(Admission::Opened));
    }
    assert_eq!(table.request(now, client(2), tag(1, 99), 100), Ok(Admission::Opened));
    assert_eq!(table.request(now, at(65), tag(1, 65), 100), Ok(Admission::ReplacedOfHost));
    assert_eq!(table.counts().half_open, 65);
    assert_eq!(table.reply(now, at(1), tag(1, 1), 1), Err(FlowRefusal::Budget));
    assert_eq!(table.reply(now, at(2), tag(1, 2), 1), Ok(()));
}

#[test]
fn a_host_with_too_many_requests_is_refused_and_its_live_calls_are_not() {
    let (mut table, now) = table();
    let limits = FlowLimits::default();
    let caller = client(1);
    table.confirm(now, caller, tag(1, 1)).unwrap();
    let neighbour = ClientAddress::udp(SocketAddr::new(caller.socket.ip(), 6000));
    for _ in 0..limits.requests_burst {
        table.request(now, neighbour, tag(1, 2), 100).unwrap();
    }
    assert_eq!(table.request(now, neighbour, tag(1, 2), 100), Err(FlowRefusal::Rate));
    assert_eq!(table.request(now, caller, tag(1, 1), 100), Ok(Admission::Known));
    assert_eq!(table.request(now, client(9), tag(1, 3), 100), Ok(Admission::Opened));
    let later = now + Duration::from_millis(1);
    assert_eq!(table.request(later, neighbour, tag(1, 2), 100), Ok(Admission::Known));
    assert_eq!(table.request(later, neighbour, tag(1, 2), 100), Err(FlowRefusal::Rate));
}

#[test]
fn an_ipv6_host_is_counted_by_its_network_and_an_ipv4_host_by_its_address() {
    let source = |text: &str| Key::new(ClientAddress::udp(text.parse().unwrap())).source();
    assert!(source("[2001:db8::1]:1") == source("[2001:db8::2]:2"));
    assert!(source("[2001:db8::1]:1") != source("[2001:db8:0:1::1]:1"));
    assert!(source("192.0.2.1:1") == source("192.0.2.1:2"));
    assert!(source("192.0.2.1:1") != source("192.0.2.2:1"));
}

#[test]
fn bytes_that_are_no_snapshot_are_refused_and_change_nothing() {
    let (mut table, now) = table();
    table.confirm(now, client(1), tag(1, 1)).unwrap();
    let snapshot = table.snapshot(now);
    let mut empty = FlowTable::new(FlowLimits::default(), SEED, now);
    for length in 0..snapshot.len() {
        assert_eq!(empty.restore(now, &snapshot[..length]).is_ok(), length == 5, "{length} bytes");
    }
    for (position, value, error) in [
        (0, 0, SnapshotError::Format),
        (4, 2, SnapshotError::Format),
        (23, 2, SnapshotError::Client),
        (5, 0xff, SnapshotError::Client),
    ] {
        let mut altered = snapshot.clone();
        altered[position] = value;
        altered.extend_from_slice(&snapshot[5..]);
        assert_eq!(empty.restore(now, &altered), Err(error), "byte {position}");
    }
    assert_eq!(empty.counts(), FlowCounts::default());
    assert_eq!(empty.restore(now, &snapshot), Ok(1));
    assert_eq!(empty.restore(now, &snapshot), Ok(0), "an address with a flow keeps it");
}
