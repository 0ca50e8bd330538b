//! Relays about to stop: nothing of a call may hold them up once the call has moved, and nothing is lost before.

use std::time::Duration;

use voxgate_media::transport::{Output, Path, RelayCandidate};

use crate::agent::{Credentials, is_answered, is_request};
use crate::call::{Call, ice_restart};
use crate::relays::through_two_relays;

/// Packets of a second.
const SECOND: u32 = 50;

/// A call that was carried by the first path's relay, was told that this one drains, and restarted ICE; and the
/// credentials it had before.
fn moved_off_a_draining_relay() -> (Call, [Path; 2], Credentials) {
    let (mut call, paths) = through_two_relays();
    let old = Credentials::of(&call);
    call.server.leave_relay(paths[0].relay);
    call.restart(1, &[RelayCandidate::udp(paths[1].relay)]);
    call.talk(5 * SECOND);
    assert_eq!(call.server.current_path(), Some(paths[1]));
    (call, paths, old)
}

fn count(call: &Call, wanted: &Output) -> usize {
    call.seen.iter().filter(|(_, output)| output == wanted).count()
}

#[test]
fn the_path_through_a_draining_relay_is_released_after_the_move_and_not_asked_any_more() {
    let (mut call, paths, _) = moved_off_a_draining_relay();
    assert_eq!(count(&call, &Output::PathReleased(paths[0])), 1);
    call.sent.clear();
    let (received, heard) = (call.received_audio().len(), call.caller.audio.len());
    call.talk(60 * SECOND);
    assert!(!call.sent.iter().any(|(_, to, datagram)| *to == paths[0] && is_request(datagram)));
    assert_eq!(count(&call, &Output::PathReleased(paths[0])), 1);
    assert!(!call.has_seen(&Output::PathReleased(paths[1])));
    assert!(call.received_audio().len() >= received + 2_995 && call.caller.audio.len() >= heard + 2_995);
}

#[test]
fn until_the_caller_has_moved_a_draining_relay_carries_the_call_as_before() {
    let (mut call, paths) = through_two_relays();
    call.server.leave_relay(paths[0].relay);
    let heard = call.caller.audio.len();
    call.talk(20 * SECOND);
    assert_eq!(call.server.current_path(), Some(paths[0]));
    assert!(!call.has_seen(&Output::PathReleased(paths[0])));
    assert!(call.caller.audio.len() >= heard + 998);
}

#[test]
fn a_nomination_without_packets_of_the_caller_is_no_move() {
    let (mut call, paths) = through_two_relays();
    call.server.leave_relay(paths[0].relay);
    call.route = Some(paths[0].relay);
    call.talk(1);
    let check = Credentials::of(&call).check(1, true);
    for _ in 0..SECOND * 5 {
        assert!(is_answered(&mut call, paths[1], &check));
        call.talk(1);
    }
    assert!(!call.has_seen(&Output::PathReleased(paths[0])));
}

#[test]
fn the_move_counts_when_the_caller_has_sent_another_way_for_a_second() {
    let (mut call, paths) = through_two_relays();
    call.server.leave_relay(paths[0].relay);
    for _ in 0..10 {
        call.route = Some(paths[1].relay);
        call.talk(SECOND * 9 / 10);
        call.route = Some(paths[0].relay);
        call.talk(SECOND / 10);
    }
    assert!(!call.has_seen(&Output::PathReleased(paths[0])), "it went back each time");
    call.route = Some(paths[1].relay);
    call.talk(SECOND * 5 / 2);
    assert!(call.has_seen(&Output::PathReleased(paths[0])));
}

#[test]
fn checks_with_old_credentials_through_a_draining_relay_are_answered_and_prove_nothing() {
    let (mut call, paths, old) = moved_off_a_draining_relay();
    let validated = count(&call, &Output::PathValidated(paths[0]));
    for number in 0..20 {
        assert!(is_answered(&mut call, paths[0], &old.check(number, number % 2 == 0)));
        call.talk(SECOND / 2);
    }
    assert_eq!(count(&call, &Output::PathValidated(paths[0])), validated);
    assert_eq!(call.server.current_path(), Some(paths[1]));
}

#[test]
fn an_idle_path_through_a_draining_relay_is_given_up_though_the_caller_checks_on() {
    let (mut call, paths) = through_two_relays();
    call.server.leave_relay(paths[1].relay);
    call.talk(3 * SECOND);
    assert!(call.has_seen(&Output::PathReleased(paths[1])));
    let credentials = Credentials::of(&call);
    for number in 0..20 {
        assert!(is_answered(&mut call, paths[1], &credentials.check(number, false)));
        call.talk(SECOND);
    }
    assert_eq!(count(&call, &Output::PathValidated(paths[1])), 1);
}

#[test]
fn when_the_other_relay_dies_a_check_brings_the_call_back_to_the_draining_one() {
    let (mut call, paths) = through_two_relays();
    call.server.leave_relay(paths[1].relay);
    call.talk(3 * SECOND);
    call.dead_relays = vec![paths[0].relay];
    call.route = Some(paths[1].relay);
    call.talk(3 * SECOND);
    let check = Credentials::of(&call).check(1, false);
    assert!(is_answered(&mut call, paths[1], &check));
    assert_eq!(count(&call, &Output::PathValidated(paths[1])), 2);
    let (received, heard) = (call.received_audio().len(), call.caller.audio.len());
    call.talk(5 * SECOND);
    assert!(call.received_audio().len() >= received + 245 && call.caller.audio.len() >= heard + 245);
    assert_eq!(count(&call, &Output::PathReleased(paths[1])), 1);
}

#[test]
fn a_caller_that_insists_on_a_draining_relay_is_carried_by_it() {
    let (mut call, paths) = through_two_relays();
    call.server.leave_relay(paths[1].relay);
    call.talk(3 * SECOND);
    let check = Credentials::of(&call).check(1, true);
    assert!(is_answered(&mut call, paths[1], &check));
    assert_eq!(count(&call, &Output::PathValidated(paths[1])), 2);
    call.route = Some(paths[1].relay);
    call.talk(5 * SECOND);
    assert_eq!(call.server.current_path(), Some(paths[1]));
    assert_eq!(count(&call, &Output::PathReleased(paths[1])), 1);
}

#[test]
fn the_path_through_a_relay_believed_dead_is_kept() {
    let (mut call, paths) = through_two_relays();
    call.server.avoid_relay(call.now, paths[0].relay);
    call.route = Some(paths[1].relay);
    call.talk(60 * SECOND);
    assert!(!call.has_seen(&Output::PathReleased(paths[0])));
}

#[test]
fn a_relay_that_stops_draining_or_is_offered_anew_keeps_its_paths() {
    for is_offered in [false, true] {
        let (mut call, paths) = through_two_relays();
        call.server.leave_relay(paths[1].relay);
        if is_offered {
            let offer = call.offer.replace("a=ice-ufrag:", "a=ice-ufrag:again");
            let server = ice_restart(1, &paths.map(|path| RelayCandidate::udp(path.relay)));
            call.server.restart_ice(call.now, &offer, &server).unwrap();
        } else {
            call.server.keep_relay(paths[1].relay);
        }
        call.talk(20 * SECOND);
        assert!(!call.has_seen(&Output::PathReleased(paths[1])));
    }
}

#[test]
fn leaving_ever_more_relays_changes_nothing_for_a_call_that_uses_none_of_them() {
    let (mut call, paths) = through_two_relays();
    for number in 0..1_000_u16 {
        call.server.leave_relay(([192, 0, 2, 1], number).into());
    }
    call.run(Duration::from_secs(1));
    call.talk(10 * SECOND);
    assert!(paths.iter().all(|path| !call.has_seen(&Output::PathReleased(*path))));
    assert_eq!(call.server.current_path(), Some(paths[0]));
}
