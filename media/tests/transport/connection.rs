//! A call that works, and the ways it ends.

use std::time::Duration;

use rtc::sansio::Protocol as _;
use voxgate_media::transport::{CloseReason, Output, Path, RelayCandidate, SendError};
use voxgate_protocol::path::ClientAddress;

use crate::call::{Call, DELAY, PACKET, SETUP_TIMEOUT, SILENCE_TIMEOUT, frame, relay};

#[test]
fn a_caller_connects_and_both_sides_hear_each_other() {
    let mut call = Call::connected();
    assert!(call.caller.connected);
    call.talk(50);
    call.run(DELAY * 2);
    assert_eq!(call.received_audio(), vec![b"from the caller" as &[u8]; 50]);
    assert_eq!(call.caller.audio.len(), 50);
    let first = &call.caller.audio[0];
    assert!(first.header.marker && first.header.payload_type == crate::caller::PAYLOAD_TYPE);
    let steps = call.caller.audio.windows(2);
    assert!(
        steps.clone().all(|w| w[1].header.sequence_number.wrapping_sub(w[0].header.sequence_number) == 1)
    );
    assert!(steps.clone().all(|w| w[1].header.timestamp - w[0].header.timestamp == 960));
}

#[test]
fn a_caller_that_offers_to_say_when_it_captured_its_packets_is_taken_at_its_word() {
    const NAME: &str = "http://www.webrtc.org/experiments/rtp-hdrext/abs-capture-time";
    let offered =
        |offer: String| offer.replacen("a=rtcp-mux", &format!("a=extmap:9 {NAME}\r\na=rtcp-mux"), 1);
    let run = |offered: &dyn Fn(String) -> String| {
        let mut call = Call::with_offer(false, offered);
        call.run_until(Duration::from_secs(5), |call| {
            call.caller.connected && call.has_seen(&Output::Connected)
        });
        // 1970 in NTP's counting and a quarter of a second; nonsense; another extension.
        let stamp: &[u8] = &[0x83, 0xAA, 0x7E, 0x80, 0x40, 0, 0, 0];
        for (number, extension) in [(9, stamp), (9, b"x"), (8, stamp)].into_iter().enumerate() {
            call.caller.send_extended(call.now, b"audio", 960 * number as u32, Some(extension));
            call.run(PACKET);
        }
        call.run(DELAY * 2);
        let captured = call.seen.iter().filter_map(|(_, output)| match output {
            Output::Audio(packet) => Some(packet.captured),
            _ => None,
        });
        (call.answer.contains(&format!("a=extmap:9 {NAME}\r\n")), captured.collect::<Vec<_>>())
    };
    assert_eq!(run(&offered), (true, vec![Some(Duration::from_millis(250)), None, None]));
    assert_eq!(run(&|offer| offer), (false, vec![None; 3]), "nothing is understood that was not agreed on");
}

#[test]
fn the_path_is_announced_before_anything_is_sent_on_it() {
    let call = Call::connected();
    let path = Path { relay: relay(), client: ClientAddress::udp(call.public) };
    assert_eq!(call.seen[0].1, Output::PathValidated(path));
    assert_eq!(call.seen.iter().filter(|(_, output)| matches!(output, Output::PathValidated(_))).count(), 1);
    assert_eq!(call.server.current_path(), Some(path));
}

#[test]
fn text_crosses_the_data_channel_both_ways() {
    let mut call = Call::connected();
    let channel = call.channel().unwrap();
    assert!(call.has_seen(&Output::ChannelOpened { channel, label: "oai-events".to_owned() }));
    let long = "ä".repeat(60_000);
    call.caller.send_text(call.now, "hello");
    call.caller.send_text(call.now, &long);
    call.server.send_text(call.now, channel, &long).unwrap();
    call.run(Duration::from_secs(3));
    assert_eq!(call.received_texts(), ["hello", long.as_str()]);
    assert_eq!(call.caller.texts, [long]);
}

#[test]
fn a_text_beyond_the_callers_limit_is_refused_and_one_at_the_limit_passes() {
    let mut call = Call::with_offer(true, |offer| {
        let kept = offer.lines().filter(|line| !line.starts_with("a=max-message-size"));
        let mut offer: String = kept.flat_map(|line| [line, "\r\n"]).collect();
        offer.push_str("a=max-message-size:1000\r\n");
        offer
    });
    call.run_until(Duration::from_secs(5), |call| call.channel().is_some());
    let channel = call.channel().unwrap();
    let refused = call.server.send_text(call.now, channel, &"x".repeat(1001));
    assert_eq!(refused, Err(SendError::TooLarge { bytes: 1001, limit: 1000 }));
    call.server.send_text(call.now, channel, &"x".repeat(1000)).unwrap();
    call.run(Duration::from_secs(1));
    assert_eq!(call.caller.texts.len(), 1);
}

#[test]
fn a_caller_that_acknowledges_nothing_cannot_pile_up_texts() {
    let mut call = Call::connected();
    let channel = call.channel().unwrap();
    call.cut = true;
    let text = "x".repeat(200_000);
    let sent = (0..100).take_while(|_| call.server.send_text(call.now, channel, &text).is_ok()).count();
    assert_eq!(sent, 20);
    assert_eq!(call.server.send_text(call.now, channel, &text), Err(SendError::Backlog));
}

#[test]
fn a_call_without_a_data_channel_carries_audio() {
    let mut call = Call::new(false);
    call.run_until(Duration::from_secs(5), |call| call.caller.connected && call.has_seen(&Output::Connected));
    call.talk(10);
    call.run(DELAY * 2);
    assert_eq!((call.received_audio().len(), call.caller.audio.len()), (10, 10));
}

#[test]
fn a_caller_that_only_listens_is_sent_audio_and_one_that_only_speaks_is_not() {
    for (direction, expected) in [("recvonly", 10), ("sendonly", 0)] {
        let attribute = format!("a={direction}");
        let mut call = Call::with_offer(false, |offer| offer.replacen("a=sendrecv", &attribute, 1));
        call.run_until(Duration::from_secs(5), |call| call.has_seen(&Output::Connected));
        for number in 0..10 {
            call.server.send_audio(call.now, frame(number));
            call.run(PACKET);
        }
        call.run(DELAY * 2);
        assert_eq!(call.server.stats().packets_sent, expected, "{direction}");
        let mirrored = if direction == "recvonly" { "a=sendonly" } else { "a=recvonly" };
        assert!(call.answer.lines().any(|line| line == mirrored));
    }
}

#[test]
fn the_round_trip_is_measured_from_the_callers_reports() {
    let mut call = Call::connected();
    call.talk(400);
    let stats = call.server.stats();
    let measured = stats.round_trip.unwrap();
    assert!(measured.abs_diff(2 * DELAY) <= Duration::from_millis(1), "{measured:?}");
    assert_eq!((stats.packets_sent, stats.packets_lost_by_caller), (400, 0));
    assert!(stats.packets_received >= 398);
}

#[test]
fn the_caller_hanging_up_is_seen_at_once() {
    let mut call = Call::connected();
    call.caller.connection.close().unwrap();
    let hung_up = call.now;
    call.run(Duration::from_secs(1));
    let closed = call.when(&Output::Closed(CloseReason::RemoteClosed)).unwrap();
    assert_eq!(closed, hung_up + DELAY);
    assert_eq!(call.server.poll_timeout(), None);
}

#[test]
fn hanging_up_is_told_to_the_caller_once() {
    let mut call = Call::connected();
    call.server.close(call.now);
    call.server.close(call.now);
    call.run(Duration::from_secs(1));
    assert!(call.caller.association_is_closed());
    assert_eq!(call.seen.iter().filter(|(_, output)| matches!(output, Output::Closed(_))).count(), 1);
    let channel = call.channel().unwrap();
    assert_eq!(call.server.send_text(call.now, channel, "late"), Err(SendError::NotConnected));
}

#[test]
fn a_caller_that_falls_silent_is_lost_after_the_silence_timeout() {
    let mut call = Call::connected();
    call.run(Duration::from_secs(60));
    assert!(!call.has_seen(&Output::Closed(CloseReason::ClientLost)), "checks alone keep a call alive");
    call.cut = true;
    let cut = call.now;
    call.run(Duration::from_secs(60));
    let lost = call.when(&Output::Closed(CloseReason::ClientLost)).unwrap();
    assert!(lost <= cut + DELAY + SILENCE_TIMEOUT);
    assert!(
        lost + Duration::from_secs(5) >= cut + SILENCE_TIMEOUT,
        "not before the timeout since the last check"
    );
}

#[test]
fn a_silent_call_wakes_the_server_a_few_times_a_second() {
    let mut call = Call::connected();
    let before = call.server_timeouts;
    call.run(Duration::from_secs(10));
    let woken = call.server_timeouts - before;
    assert!(woken <= 75, "{woken} timers in 10 s");
}

#[test]
fn a_caller_that_never_comes_is_given_up_after_the_setup_timeout() {
    let mut call = Call::new(true);
    call.cut = true;
    let start = call.now;
    call.run(Duration::from_secs(60));
    assert_eq!(call.when(&Output::Closed(CloseReason::SetupTimeout)), Some(start + SETUP_TIMEOUT));
}

#[test]
fn checks_without_a_handshake_do_not_prolong_the_setup() {
    let mut call = Call::with_offer(true, |offer| {
        let at = offer.find("sha-256 ").unwrap() + "sha-256 ".len();
        let digest = &offer[at..at + 95];
        let other = if digest.starts_with("00") { "11" } else { "00" };
        offer.replace(digest, &format!("{other}{}", &digest[2..]))
    });
    let start = call.now;
    call.run(Duration::from_secs(60));
    assert!(!call.has_seen(&Output::Connected), "the certificate is not the announced one");
    assert_eq!(call.when(&Output::Closed(CloseReason::SetupTimeout)), Some(start + SETUP_TIMEOUT));
}

#[test]
fn a_new_client_address_keeps_the_call_in_both_directions() {
    let mut call = Call::connected();
    call.talk(25);
    call.public = "203.0.113.99:50999".parse().unwrap();
    let moved = Path { relay: relay(), client: ClientAddress::udp(call.public) };
    call.talk(500);
    assert_eq!(call.server.current_path(), Some(moved));
    assert!(call.has_seen(&Output::PathValidated(moved)));
    let heard = call.caller.audio.len();
    let received = call.received_audio().len();
    // The next check of the client repairs the call; this client checks every 2 s.
    assert!(heard >= 525 - 110, "the caller heard {heard}");
    assert!(received >= 525 - 110, "the server received {received}");
    call.talk(50);
    assert!(call.caller.audio.len() >= heard + 50);
}

#[test]
fn a_listening_caller_is_followed_to_its_new_address() {
    let mut call = Call::connected();
    call.run(Duration::from_secs(1));
    call.public = "203.0.113.99:50999".parse().unwrap();
    call.run(Duration::from_secs(12));
    let heard = call.caller.audio.len();
    for number in 0..50 {
        call.server.send_audio(call.now, frame(number));
        call.run(PACKET);
    }
    call.run(DELAY * 2);
    assert_eq!(call.caller.audio.len() - heard, 50);
}

#[test]
fn a_lossy_link_delays_the_handshake_and_does_not_prevent_it() {
    for seed in 1..=12 {
        let mut call = Call::new(true).lossy(25, seed);
        call.run_until(SETUP_TIMEOUT, |call| call.has_seen(&Output::Connected) && call.caller.connected);
    }
}

/// The relays of a call that has two, and the paths through them.
fn two_relays(dead: Option<usize>) -> (Call, [Path; 2]) {
    let relays = [relay(), "198.51.100.8:3478".parse().unwrap()];
    let mut call = Call::with_relays(true, relays.map(RelayCandidate::udp).to_vec(), |offer| offer);
    call.dead_relays = dead.map(|index| relays[index]).into_iter().collect();
    let client = ClientAddress::udp(call.public);
    call.run_until(SETUP_TIMEOUT, |call| call.has_seen(&Output::Connected) && call.caller.connected);
    (call, relays.map(|relay| Path { relay, client }))
}

#[test]
fn both_relays_are_proven_before_the_first_check_is_answered() {
    let (call, paths) = two_relays(None);
    let [first, second] = paths.map(|path| call.when(&Output::PathValidated(path)).unwrap());
    assert_eq!(first, second);
    assert!(second < call.when(&Output::Connected).unwrap());
}

#[test]
fn a_dead_relay_delays_the_call_by_the_hold_and_no_more() {
    for dead in 0..2 {
        let (call, paths) = two_relays(Some(dead));
        let proven = call.when(&Output::PathValidated(paths[1 - dead])).unwrap();
        let (first_check, _) = call.first_arrival.unwrap();
        assert_eq!(proven - first_check, Duration::from_millis(150));
        assert_eq!(call.when(&Output::PathValidated(paths[dead])), None);
    }
}
