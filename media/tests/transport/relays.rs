//! Two relays: keeping the second path usable, leaving a dead relay, and TCP for those without UDP.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use voxgate_media::transport::{Output, Path, RelayCandidate};

use crate::agent::{Credentials, is_request};
use crate::call::{Call, DELAY, PACKET, SETUP_TIMEOUT, relay};

const FIRST: usize = 0;
const SECOND: usize = 1;

pub(crate) fn second_relay() -> SocketAddr {
    "198.51.100.8:3478".parse().unwrap()
}

/// A connected call through two relays: its paths, the current one first.
pub(crate) fn through_two_relays() -> (Call, [Path; 2]) {
    let relays = [relay(), second_relay()].map(RelayCandidate::udp);
    let mut call = Call::with_relays(true, relays.to_vec(), |offer| offer);
    call.run_until(SETUP_TIMEOUT, |call| call.caller.connected && call.channel().is_some());
    call.talk(10);
    let current = call.server.current_path().unwrap();
    let other = if current.relay == relay() { second_relay() } else { relay() };
    let other = call.path(other);
    (call, [current, other])
}

/// When the server asked along `path`.
fn questions(call: &Call, path: Path) -> Vec<Instant> {
    let asked = call.sent.iter().filter(|(_, to, datagram)| *to == path && is_request(datagram));
    asked.map(|(at, _, _)| *at).collect()
}

/// Packets of a talk of `packets` that the caller heard.
fn heard(call: &mut Call, packets: u32) -> usize {
    let before = call.caller.audio.len();
    call.talk(packets);
    call.caller.audio.len() - before
}

#[test]
fn the_idle_path_is_asked_every_second_and_the_busy_one_is_not() {
    let (mut call, paths) = through_two_relays();
    call.sent.clear();
    call.talk(50 * 60);
    assert!(questions(&call, paths[FIRST]).is_empty());
    let asked = questions(&call, paths[SECOND]);
    assert!((58..=61).contains(&asked.len()), "{} questions in a minute", asked.len());
    assert!(asked.windows(2).all(|pair| pair[1] - pair[0] >= Duration::from_secs(1)));
}

#[test]
fn the_server_asks_as_a_controlled_agent_with_fresh_transactions() {
    let (mut call, _) = through_two_relays();
    let credentials = Credentials::of(&call);
    call.talk(50 * 10);
    let asked = call.sent.iter().map(|(_, _, datagram)| datagram).filter(|datagram| is_request(datagram));
    let asked: Vec<&Vec<u8>> = asked.collect();
    assert!(asked.len() >= 9);
    assert!(asked.iter().all(|check| credentials.is_server_check(check)));
    let distinct: std::collections::BTreeSet<_> = asked.iter().map(|check| &check[8..20]).collect();
    assert_eq!(distinct.len(), asked.len());
}

#[test]
fn nothing_is_asked_before_the_call_is_connected() {
    let relays = [relay(), second_relay()].map(RelayCandidate::udp);
    let mut call = Call::with_relays(true, relays.to_vec(), |offer| offer);
    call.run_until(SETUP_TIMEOUT, |call| call.has_seen(&Output::Connected));
    let connected = call.when(&Output::Connected).unwrap();
    assert!(call.sent.iter().all(|(at, _, datagram)| *at >= connected || !is_request(datagram)));
}

#[test]
fn an_idle_path_the_caller_never_checks_stays_usable_in_a_long_call() {
    let (mut call, paths) = through_two_relays();
    call.unchecked = Some(paths[SECOND].relay);
    call.talk(50 * 90);
    assert!(!call.has_seen(&Output::PathReleased(paths[SECOND])));
    call.dead_relays = vec![paths[FIRST].relay];
    assert!(call.server.avoid_relay(call.now, paths[FIRST].relay));
    assert!(heard(&mut call, 50) >= 48);
}

#[test]
fn an_idle_path_without_answers_is_left_alone_and_forgotten() {
    let (mut call, paths) = through_two_relays();
    call.mute_checks = true;
    call.mute_answers = true;
    call.sent.clear();
    call.talk(50 * 40);
    assert_eq!(questions(&call, paths[SECOND]).len(), 5);
    assert!(call.has_seen(&Output::PathReleased(paths[SECOND])));
    assert_eq!(call.server.current_path(), Some(paths[FIRST]));
}

#[test]
fn forged_repeated_and_misplaced_answers_do_not_make_a_path_look_alive() {
    let (mut call, paths) = through_two_relays();
    let credentials = Credentials::of(&call);
    call.talk(50 * 3);
    call.mute_checks = true;
    call.mute_answers = true;
    let mut earlier: Vec<Vec<u8>> = Vec::new();
    for _ in 0..40 {
        call.sent.clear();
        call.talk(5);
        let asked: Vec<Vec<u8>> = call.sent.iter().map(|(_, _, datagram)| datagram.clone()).collect();
        for check in asked.iter().filter(|datagram| is_request(datagram)) {
            let genuine = credentials.success(check);
            let mut forged = genuine.clone();
            *forged.last_mut().unwrap() ^= 1;
            call.server.handle_datagram(call.now, paths[SECOND], &forged);
            call.server.handle_datagram(call.now, paths[FIRST], &genuine);
        }
        for old in &earlier {
            call.server.handle_datagram(call.now, paths[SECOND], old);
        }
        let answered = call.tapped.iter().map(|(_, datagram)| datagram.clone());
        earlier = answered.filter(|datagram| datagram[..2] == [1, 1]).collect();
    }
    assert!(!earlier.is_empty());
    assert!(!call.server.avoid_relay(call.now, paths[FIRST].relay), "the other path is dead");
}

#[test]
fn a_refusal_signed_by_the_caller_shows_that_it_is_there() {
    let (mut call, paths) = through_two_relays();
    let credentials = Credentials::of(&call);
    call.talk(50 * 3);
    call.mute_checks = true;
    call.mute_answers = true;
    for _ in 0..40 {
        call.sent.clear();
        call.talk(5);
        let asked: Vec<Vec<u8>> = call.sent.iter().map(|(_, _, datagram)| datagram.clone()).collect();
        for check in asked.iter().filter(|datagram| is_request(datagram)) {
            call.server.handle_datagram(call.now, paths[SECOND], &credentials.role_conflict(check));
        }
    }
    assert!(call.server.avoid_relay(call.now, paths[FIRST].relay));
    assert_eq!(call.server.current_path(), Some(paths[SECOND]));
}

#[test]
fn the_downlink_leaves_a_dead_relay_at_once_when_told_so() {
    let (mut call, paths) = through_two_relays();
    call.dead_relays = vec![paths[FIRST].relay];
    call.talk(10);
    assert!(call.server.avoid_relay(call.now, paths[FIRST].relay));
    assert!(!call.server.avoid_relay(call.now, paths[FIRST].relay), "once is enough");
    assert!(heard(&mut call, 100) >= 98, "only what is on its way is missing");
}

#[test]
fn the_downlink_leaves_a_dead_relay_within_two_seconds_by_itself() {
    let (mut call, paths) = through_two_relays();
    call.talk(100);
    call.dead_relays = vec![paths[FIRST].relay];
    let died = call.now;
    call.run_until(Duration::from_secs(2), |call| call.server.current_path() == Some(paths[SECOND]));
    assert!(call.now - died >= Duration::from_secs(1), "silence of a second is no loss yet");
    assert!(heard(&mut call, 100) >= 98);
}

#[test]
fn a_false_alarm_mends_itself_with_the_callers_next_packet() {
    let (mut call, paths) = through_two_relays();
    call.route = Some(paths[FIRST].relay);
    assert!(call.server.avoid_relay(call.now, paths[FIRST].relay));
    assert_eq!(call.server.current_path(), Some(paths[SECOND]));
    assert!(heard(&mut call, 5) >= 4 - DELAY.as_millis() as usize / PACKET.as_millis() as usize);
    assert_eq!(call.server.current_path(), Some(paths[FIRST]));
}

#[test]
fn after_an_alarm_mere_checks_do_not_bring_the_downlink_back() {
    let (mut call, paths) = through_two_relays();
    let credentials = Credentials::of(&call);
    call.route = Some(paths[SECOND].relay);
    call.server.avoid_relay(call.now, paths[FIRST].relay);
    for number in 0..20 {
        let check = credentials.check(number, true);
        call.server.handle_datagram(call.now, paths[FIRST], &check);
        assert_eq!(call.server.current_path(), Some(paths[SECOND]));
        call.talk(10);
    }
    call.route = Some(paths[FIRST].relay);
    call.talk(5);
    assert_eq!(call.server.current_path(), Some(paths[FIRST]), "its media do");
}

#[test]
fn a_caller_that_only_writes_is_followed_to_the_other_relay() {
    let (mut call, paths) = through_two_relays();
    call.run(Duration::from_secs(2));
    call.route = Some(paths[SECOND].relay);
    call.caller.send_text(call.now, "I have moved");
    call.run(DELAY);
    assert_eq!(call.server.current_path(), Some(paths[SECOND]));
    assert_eq!(call.received_texts(), ["I have moved"]);
}

#[test]
fn a_relay_that_is_avoided_on_a_closed_or_unknown_call_changes_nothing() {
    let (mut call, paths) = through_two_relays();
    assert!(!call.server.avoid_relay(call.now, "192.0.2.1:1".parse().unwrap()));
    assert_eq!(call.server.current_path(), Some(paths[FIRST]));
    call.server.close(call.now);
    assert!(!call.server.avoid_relay(call.now, paths[FIRST].relay));
}

/// A call offered two UDP relays and a TCP one, of which the UDP ones may be out of reach.
fn with_stream(udp_works: bool) -> (Call, Path) {
    let stream: SocketAddr = "198.51.100.9:443".parse().unwrap();
    let udp = [relay(), second_relay()];
    let mut relays = udp.map(RelayCandidate::udp).to_vec();
    relays.push(RelayCandidate::tcp(stream));
    let mut call = Call::with_relays(true, relays, |offer| offer);
    if !udp_works {
        call.dead_relays = udp.to_vec();
    }
    let path = call.path(stream);
    (call, path)
}

#[test]
fn a_caller_without_udp_is_answered_over_tcp_at_once_and_talks() {
    let (mut call, path) = with_stream(false);
    call.run_until(SETUP_TIMEOUT, |call| call.has_seen(&Output::Connected) && call.caller.connected);
    let (first_check, _) = call.first_arrival.unwrap();
    assert_eq!(call.when(&Output::PathValidated(path)), Some(first_check));
    assert!(heard(&mut call, 50) >= 48);
    assert_eq!(call.server.current_path(), Some(path));
}

#[test]
fn tcp_is_not_waited_for_when_udp_works() {
    let (mut call, path) = with_stream(true);
    call.dead_relays = vec![path.relay];
    call.run_until(SETUP_TIMEOUT, |call| call.has_seen(&Output::Connected) && call.caller.connected);
    let proven = call.when(&Output::PathValidated(call.path(relay()))).unwrap();
    let tried = |relay| call.tapped.iter().position(|(path, _)| path.relay == relay);
    assert!(tried(relay()).is_some() && tried(second_relay()).is_some());
    let (first_check, _) = call.first_arrival.unwrap();
    assert!(proven - first_check < Duration::from_millis(150), "{:?}", proven - first_check);
}
