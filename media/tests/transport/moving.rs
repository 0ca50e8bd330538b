//! Callers whose address changes in the middle of a call, seen by an agent that does not nominate again.

use std::time::Duration;

use voxgate_media::transport::Path;

use crate::agent::{Credentials, is_answered};
use crate::call::{Call, relay};

/// A call whose caller has a new address; its engine's own checks are kept back.
fn rebound() -> (Call, Path, Path) {
    let mut call = Call::connected();
    call.talk(50);
    let old = call.server.current_path().unwrap();
    call.mute_checks = true;
    call.public = "203.0.113.99:50999".parse().unwrap();
    let new = call.path(relay());
    (call, old, new)
}

/// The same, and the caller sends neither media nor reports.
fn silently_rebound() -> (Call, Path, Path) {
    let (mut call, old, new) = rebound();
    let nowhere = "192.0.2.1:9".parse().unwrap();
    call.route = Some(nowhere);
    call.dead_relays = vec![nowhere];
    (call, old, new)
}

#[test]
fn media_from_an_unproven_address_are_neither_accepted_nor_followed() {
    let (mut call, old, _) = rebound();
    call.run(Duration::from_millis(100));
    let received = call.received_audio().len();
    call.talk(50);
    assert_eq!(call.received_audio().len(), received);
    assert_eq!(call.server.current_path(), Some(old));
}

#[test]
fn a_mere_check_from_the_new_address_moves_a_talking_caller_with_its_next_packet() {
    let (mut call, _, new) = rebound();
    let check = Credentials::of(&call).check(1, false);
    call.talk(10);
    assert!(is_answered(&mut call, new, &check));
    call.talk(3);
    assert_eq!(call.server.current_path(), Some(new));
}

#[test]
fn a_mere_check_moves_a_listening_caller_when_the_old_address_has_been_silent_and_the_new_one_answers() {
    let (mut call, old, new) = silently_rebound();
    let check = Credentials::of(&call).check(1, false);
    call.run(Duration::from_secs(3));
    assert_eq!(call.server.current_path(), Some(old));
    assert!(is_answered(&mut call, new, &check));
    call.run_until(Duration::from_millis(500), |call| call.server.current_path() == Some(new));
}

/// Whoever has a call can write any source address on a check; whoever lives there did not ask for sound.
#[test]
fn a_nominating_check_from_an_address_that_never_answers_does_not_send_the_call_there() {
    for silent in [false, true] {
        let mut call = Call::connected();
        call.talk(20);
        let current = call.server.current_path().unwrap();
        let forged = "203.0.113.200:9".parse().unwrap();
        let victim = Path { client: voxgate_protocol::path::ClientAddress::udp(forged), ..current };
        let credentials = Credentials::of(&call);
        for number in 0..20 {
            assert!(is_answered(&mut call, victim, &credentials.check(number, true)));
            if silent {
                call.run(Duration::from_millis(500));
            } else {
                call.talk(25);
            }
            assert_eq!(call.server.current_path(), Some(current), "check {number}, silent {silent}");
        }
    }
}

#[test]
fn a_listening_caller_that_checked_early_is_followed_within_two_seconds() {
    let (mut call, old, new) = silently_rebound();
    let check = Credentials::of(&call).check(1, false);
    call.run(Duration::from_millis(300));
    let moved = call.now;
    assert!(is_answered(&mut call, new, &check));
    assert_eq!(call.server.current_path(), Some(old), "the old path may be alive");
    call.run_until(Duration::from_secs(2), |call| call.server.current_path() == Some(new));
    assert!(call.now - moved >= Duration::from_secs(1));
}

#[test]
fn a_report_from_the_new_address_moves_a_listening_caller_without_waiting_for_silence() {
    let (mut call, _, new) = rebound();
    let check = Credentials::of(&call).check(1, false);
    call.run(Duration::from_millis(500));
    assert!(is_answered(&mut call, new, &check));
    call.run_until(Duration::from_secs(3), |call| call.server.current_path() == Some(new));
}

#[test]
fn a_listening_caller_with_two_working_addresses_is_not_moved_by_checks() {
    let mut call = Call::connected();
    call.talk(10);
    let current = call.server.current_path().unwrap();
    let other = Path {
        client: voxgate_protocol::path::ClientAddress::udp("203.0.113.99:50999".parse().unwrap()),
        ..current
    };
    let credentials = Credentials::of(&call);
    for number in 0..30 {
        assert!(is_answered(&mut call, other, &credentials.check(number, false)));
        call.run(Duration::from_secs(1));
        assert_eq!(call.server.current_path(), Some(current));
    }
}
