//! ICE restarts of a running call.

use std::time::Duration;

use voxgate_media::transport::{OfferError, Output, Path, RelayCandidate};

use crate::agent::{Credentials, from_description, is_answered};
use crate::call::{Call, DELAY, ice_restart, relay};
use crate::relays::{second_relay, through_two_relays};

const GRACE: Duration = Duration::from_secs(30);
const RESTART_PAUSE: Duration = Duration::from_millis(200);

fn third_relay() -> RelayCandidate {
    RelayCandidate::udp("198.51.100.9:3478".parse().unwrap())
}

fn lines<'a>(sdp: &'a str, start: &str) -> Vec<&'a str> {
    sdp.lines().filter(|line| line.starts_with(start)).collect()
}

/// Restarts without the knowledge of the caller's engine, whose checks go on as before; the test checks instead.
fn scripted_restart(call: &mut Call, number: u32, relays: &[RelayCandidate]) -> Credentials {
    let offer = call.offer.replace("a=ice-ufrag:", &format!("a=ice-ufrag:n{number}"));
    let server = ice_restart(number, relays);
    call.server.restart_ice(call.now, &offer, &server).unwrap();
    Credentials { server: (server.ufrag, server.password), caller: from_description(&offer) }
}

/// The credentials of the call's `number`th restart.
fn restarted(call: &Call, number: u32) -> Credentials {
    let server = ice_restart(number, &[]);
    Credentials { server: (server.ufrag, server.password), caller: from_description(&call.offer) }
}

#[test]
fn the_answer_ranks_the_new_relays_above_all_and_keeps_everything_else() {
    let mut call = Call::connected();
    let stream = RelayCandidate::tcp("198.51.100.9:443".parse().unwrap());
    let answer = call.restart(1, &[third_relay(), RelayCandidate::udp(relay()), stream]);
    assert_eq!(
        lines(&answer, "a=candidate:"),
        [
            "a=candidate:1 1 udp 2147483647 198.51.100.9 3478 typ host",
            "a=candidate:2 1 udp 2147483646 198.51.100.7 3478 typ host",
            "a=candidate:3 1 tcp 2147483645 198.51.100.9 443 typ host tcptype passive",
        ]
    );
    assert!(lines(&answer, "a=ice-ufrag:").iter().all(|line| *line == "a=ice-ufrag:restart1"));
    let origin = |sdp: &str, version: u32| sdp.contains(&format!(" {version} IN IP4 127.0.0.1"));
    assert!(origin(&call.answer, 1) && origin(&answer, 2));
    let session = |sdp: &str| lines(sdp, "o=")[0].split(' ').nth(1).unwrap().to_owned();
    assert_eq!(session(&call.answer), session(&answer));
    for start in ["m=app", "a=fingerprint:", "a=setup:", "a=ssrc:", "a=mid:", "a=group:", "a=rtpmap:"] {
        let same =
            |sdp: &str| lines(sdp, start).iter().map(|line| line.replace("3478", "")).collect::<Vec<_>>();
        assert_eq!(same(&call.answer), same(&answer), "{start}");
    }
}

#[test]
fn a_restart_moves_the_call_to_another_relay_and_its_media_go_on() {
    let mut call = Call::connected();
    call.talk(50);
    call.restart(1, &[third_relay()]);
    call.talk(100);
    let moved = call.path(third_relay().address);
    assert_eq!(call.server.current_path(), Some(moved));
    call.run(DELAY * 2);
    assert_eq!(call.server.stats().packets_sent, 150);
    // The caller's engine drops media while it has no selected pair; browsers do not.
    assert!(call.received_audio().len() >= 140 && call.caller.audio.len() >= 140);
    call.caller.send_text(call.now, "the same association");
    call.run(Duration::from_secs(1));
    assert_eq!(call.received_texts(), ["the same association"]);
    assert_eq!(call.seen.iter().filter(|(_, output)| *output == Output::Connected).count(), 1);
}

#[test]
fn until_the_caller_chooses_media_stay_where_they_are() {
    let mut call = Call::connected();
    call.talk(10);
    let old = call.server.current_path();
    let credentials = scripted_restart(&mut call, 1, &[third_relay()]);
    let path = call.path(third_relay().address);
    assert!(is_answered(&mut call, path, &credentials.check(1, false)));
    assert_eq!(call.server.current_path(), old);
    assert!(is_answered(&mut call, path, &credentials.check(2, true)));
    assert_eq!(call.server.current_path(), Some(path));
}

#[test]
fn an_old_nomination_does_not_undo_a_new_one() {
    let mut call = Call::connected();
    let old = call.server.current_path().unwrap();
    let old_credentials = Credentials::of(&call);
    let credentials = scripted_restart(&mut call, 1, &[third_relay()]);
    let path = call.path(third_relay().address);
    assert!(is_answered(&mut call, path, &credentials.check(1, true)));
    assert!(is_answered(&mut call, old, &old_credentials.check(2, true)));
    assert_eq!(call.server.current_path(), Some(path));
}

#[test]
fn old_credentials_are_answered_for_thirty_seconds_after_the_first_use_of_the_new_ones() {
    let mut call = Call::connected();
    let old = call.server.current_path().unwrap();
    let old_credentials = Credentials::of(&call);
    let credentials = scripted_restart(&mut call, 1, &[third_relay()]);
    call.talk(50 * 40);
    assert!(is_answered(&mut call, old, &old_credentials.check(1, false)), "the new ones are unused");
    let path = call.path(third_relay().address);
    assert!(is_answered(&mut call, path, &credentials.check(2, true)));
    call.talk((GRACE.as_millis() / 20) as u32 - 1);
    assert!(is_answered(&mut call, old, &old_credentials.check(3, false)));
    call.talk(2);
    assert!(!is_answered(&mut call, old, &old_credentials.check(4, false)));
    assert!(is_answered(&mut call, path, &credentials.check(5, false)));
}

#[test]
fn with_new_credentials_the_server_asks_with_new_credentials() {
    let (mut call, paths) = through_two_relays();
    call.restart(1, &[RelayCandidate::udp(paths[0].relay), RelayCandidate::udp(paths[1].relay)]);
    call.talk(100);
    let credentials = restarted(&call, 1);
    call.sent.clear();
    call.talk(150);
    let asked: Vec<_> =
        call.sent.iter().filter(|(_, _, datagram)| crate::agent::is_request(datagram)).collect();
    assert!(!asked.is_empty());
    assert!(asked.iter().all(|(_, _, check)| credentials.is_server_check(check)));
}

#[test]
fn a_dead_relay_costs_half_a_second_of_uplink_when_the_caller_restarts_on_notice() {
    let (mut call, paths) = through_two_relays();
    call.talk(50);
    call.dead_relays = vec![paths[0].relay];
    let died = call.now;
    call.talk(10);
    assert!(call.server.avoid_relay(call.now, paths[0].relay));
    call.restart(1, &[RelayCandidate::udp(paths[1].relay), third_relay()]);
    let received = call.received_audio().len();
    for _ in 0..50 {
        if call.received_audio().len() > received {
            break;
        }
        call.talk(1);
    }
    let gap = call.now - died;
    assert!(gap <= Duration::from_millis(500), "{gap:?}");
    let heard = call.caller.audio.len();
    call.talk(100);
    assert!(call.caller.audio.len() >= heard + 98);
}

#[test]
fn while_media_flow_a_restart_is_answered_when_every_relay_was_tried() {
    let mut call = Call::connected();
    call.talk(10);
    let relays = [third_relay(), RelayCandidate::udp(second_relay())];
    let credentials = scripted_restart(&mut call, 1, &relays);
    let [first, second] = relays.map(|relay| call.path(relay.address));
    assert!(!is_answered(&mut call, first, &credentials.check(1, false)));
    call.talk(20);
    assert!(!call.has_seen(&Output::PathValidated(first)));
    assert!(is_answered(&mut call, second, &credentials.check(2, false)));
    assert!(call.has_seen(&Output::PathValidated(first)));
}

#[test]
fn a_dead_relay_delays_the_answer_to_a_restart_by_600_ms_and_no_more() {
    let mut call = Call::connected();
    call.talk(10);
    let relays = [third_relay(), RelayCandidate::udp(second_relay())];
    let credentials = scripted_restart(&mut call, 1, &relays);
    let first = call.path(relays[0].address);
    assert!(!is_answered(&mut call, first, &credentials.check(1, true)));
    let held = call.now;
    call.talk(40);
    let proven = call.when(&Output::PathValidated(first)).unwrap();
    assert_eq!(proven - held, Duration::from_millis(600));
}

#[test]
fn a_caller_that_cannot_be_heard_is_answered_at_once_after_a_restart() {
    let mut call = Call::connected();
    call.talk(10);
    call.run(Duration::from_millis(200));
    let relays = [third_relay(), RelayCandidate::udp(second_relay())];
    let credentials = scripted_restart(&mut call, 1, &relays);
    let first = call.path(relays[0].address);
    assert!(is_answered(&mut call, first, &credentials.check(1, true)));
    assert_eq!(call.server.current_path(), Some(first));
}

#[test]
fn a_caller_that_changed_its_network_restarts_and_keeps_the_call() {
    let mut call = Call::connected();
    call.talk(50);
    // Nothing of the old address arrives any more, nor is anything delivered there.
    call.public = "192.0.2.200:6000".parse().unwrap();
    call.mute_checks = true;
    call.talk(25);
    call.mute_checks = false;
    call.restart(1, &[RelayCandidate::udp(relay())]);
    call.talk(50);
    assert_eq!(call.server.current_path(), Some(call.path(relay())));
    let (received, heard) = (call.received_audio().len(), call.caller.audio.len());
    call.talk(50);
    assert!(call.received_audio().len() >= received + 48 && call.caller.audio.len() >= heard + 48);
}

#[test]
fn a_relay_offered_anew_is_trusted_again() {
    let (mut call, paths) = through_two_relays();
    call.server.avoid_relay(call.now, paths[0].relay);
    let credentials = scripted_restart(&mut call, 1, &[RelayCandidate::udp(paths[0].relay)]);
    assert!(is_answered(&mut call, paths[0], &credentials.check(1, true)));
    assert_eq!(call.server.current_path(), Some(paths[0]));
}

#[test]
fn an_offer_that_is_no_restart_of_this_call_is_refused_and_changes_nothing() {
    let mut call = Call::connected();
    let first = call.offer.clone();
    let offer = call.caller.restart_offer(call.now);
    let digest = offer.find("sha-256 ").unwrap() + "sha-256 ".len();
    let other = if offer[digest..].starts_with("00") { "11" } else { "00" };
    let mut foreign = offer.clone();
    foreign.replace_range(digest..digest + 2, other);
    let refusals = [
        (first, OfferError::SameIce),
        (foreign, OfferError::OtherCertificate),
        (format!("{offer}m=video 9 UDP/TLS/RTP/SAVPF 96\r\na=mid:7\r\n"), OfferError::OtherMedia),
        (offer.replace("webrtc-datachannel", "other"), OfferError::OtherMedia),
        (offer.replace("109", "110"), OfferError::OtherMedia),
        (offer.replace("a=mid:0", "a=mid:zero"), OfferError::OtherMedia),
    ];
    for (offer, expected) in refusals {
        let refused = call.server.restart_ice(call.now, &offer, &ice_restart(1, &[third_relay()]));
        assert_eq!(refused, Err(expected.clone()));
        assert!(expected.to_string().ends_with('.') && !expected.code().is_empty());
    }
    let credentials = Credentials {
        server: (ice_restart(1, &[]).ufrag, ice_restart(1, &[]).password),
        caller: from_description(&offer),
    };
    let path = call.server.current_path().unwrap();
    assert!(!is_answered(&mut call, path, &credentials.check(1, false)));
    call.server.restart_ice(call.now, &offer, &ice_restart(1, &[third_relay()])).unwrap();
    assert!(is_answered(&mut call, path, &credentials.check(1, false)));
}

#[test]
fn restarts_in_quick_succession_are_refused_and_many_of_them_leave_the_call_alive() {
    let mut call = Call::connected();
    scripted_restart(&mut call, 1, &[third_relay()]);
    let again =
        call.server.restart_ice(call.now + RESTART_PAUSE, &call.offer, &ice_restart(2, &[third_relay()]));
    assert_eq!(again, Err(OfferError::SameIce));
    let changed = call.offer.replace("a=ice-ufrag:", "a=ice-ufrag:x");
    let soon = call.server.restart_ice(call.now, &changed, &ice_restart(2, &[third_relay()]));
    assert_eq!(soon, Err(OfferError::RestartTooSoon));
    for number in 2..60 {
        call.run(RESTART_PAUSE);
        scripted_restart(&mut call, number, &[third_relay()]);
    }
    let (received, heard) = (call.received_audio().len(), call.caller.audio.len());
    call.talk(50);
    assert!(call.received_audio().len() >= received + 48 && call.caller.audio.len() >= heard + 48);
}

#[test]
fn a_call_that_is_over_is_not_restarted() {
    let mut call = Call::connected();
    let offer = call.caller.restart_offer(call.now);
    call.server.close(call.now);
    let refused = call.server.restart_ice(call.now, &offer, &ice_restart(1, &[third_relay()]));
    assert_eq!(refused, Err(OfferError::CallOver));
}

#[test]
fn garbage_instead_of_an_offer_is_refused_and_checks_of_strangers_stay_unanswered() {
    let mut call = Call::connected();
    assert!(call.server.restart_ice(call.now, "garbage", &ice_restart(1, &[third_relay()])).is_err());
    call.restart(1, &[third_relay()]);
    let mut mixed = restarted(&call, 1);
    mixed.server = Credentials::of(&call).server;
    let path: Path = call.path(third_relay().address);
    assert!(!is_answered(&mut call, path, &mixed.check(1, true)), "credentials of two generations");
}
