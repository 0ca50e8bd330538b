//! Datagrams of strangers and broken peers.

use std::time::Duration;

use voxgate_media::transport::{Output, Path};
use voxgate_protocol::path::ClientAddress;

use crate::call::{Call, Dice, relay};

/// A path nobody has proven.
fn stranger() -> Path {
    Path { relay: relay(), client: ClientAddress::udp("192.0.2.66:6666".parse().unwrap()) }
}

#[test]
fn nothing_a_stranger_sends_has_an_effect() {
    let mut call = Call::connected();
    let before = call.server.stats();
    let current = call.server.current_path();
    // Everything the true caller ever sent, from another address. Its checks are signed and prove the new path,
    // so they are left out: that is what a NAT rebinding looks like.
    let replayed: Vec<Vec<u8>> = call.tapped.iter().map(|(_, datagram)| datagram.clone()).collect();
    for datagram in replayed.iter().filter(|datagram| datagram[0] >= 20) {
        call.server.handle_datagram(call.now, stranger(), datagram);
    }
    let forged_check = {
        let mut check = replayed.iter().find(|datagram| datagram[0] < 4).unwrap().clone();
        *check.last_mut().unwrap() ^= 1;
        let integrity = check.len() - 9;
        check[integrity] ^= 1;
        check
    };
    call.server.handle_datagram(call.now, stranger(), &forged_check);
    assert_eq!(call.server.poll_output(), None);
    assert_eq!(call.server.stats(), before);
    assert_eq!(call.server.current_path(), current);
}

#[test]
fn an_alert_without_encryption_does_not_end_a_connected_call() {
    for alert in [[1, 0], [2, 40], [2, 0]] {
        let mut call = Call::connected();
        let path = call.server.current_path().unwrap();
        let mut datagram = vec![21, 254, 253, 0, 0, 0, 0, 0, 0, 1, 0, 0, 2];
        datagram.extend_from_slice(&alert);
        call.server.handle_datagram(call.now, path, &datagram);
        call.caller.send_audio(call.now, b"still here", 960);
        call.run(Duration::from_secs(1));
        assert!(!call.seen.iter().any(|(_, output)| matches!(output, Output::Closed(_))), "{alert:?}");
        assert_eq!(call.received_audio(), [b"still here"]);
    }
}

#[test]
fn media_replayed_from_a_proven_path_is_not_delivered_twice() {
    let mut call = Call::connected();
    call.caller.send_audio(call.now, b"once", 960);
    call.run(Duration::from_millis(100));
    let (path, datagram) = call.tapped.iter().rev().find(|(_, datagram)| datagram[0] >= 128).unwrap().clone();
    assert_eq!(call.received_audio(), [b"once"]);
    call.server.handle_datagram(call.now, path, &datagram);
    assert_eq!(call.server.poll_output(), None);
}

#[test]
fn mutated_datagrams_before_the_handshake_never_panic() {
    let script = Call::connected().tapped;
    for seed in 1..=4 {
        let mut call = Call::new(true);
        // Proves the path first, so that the mutations reach the engine.
        call.run_until(Duration::from_secs(5), |call| call.server.current_path().is_some());
        let path = call.server.current_path().unwrap();
        batter(&mut call, path, &script, seed, 3000);
        assert!(!call.has_seen(&Output::Connected), "no mutation completes a handshake");
    }
}

#[test]
fn mutated_datagrams_after_the_handshake_never_panic_and_keep_the_call() {
    for seed in 11..=14 {
        let mut call = Call::connected();
        call.caller.send_audio(call.now, b"some audio", 960);
        call.caller.send_text(call.now, "some text");
        call.run(Duration::from_secs(3));
        let script = call.tapped.clone();
        let path = call.server.current_path().unwrap();
        batter(&mut call, path, &script, seed, 3000);
        let heard = call.received_audio().len();
        call.caller.send_audio(call.now, b"still here", 96_000);
        call.run(Duration::from_millis(200));
        assert_eq!(call.received_audio().len(), heard + 1, "seed {seed}");
    }
}

/// Sends `count` mutations of recorded datagrams on a proven path.
fn batter(call: &mut Call, path: Path, script: &[(Path, Vec<u8>)], seed: u64, count: usize) {
    let mut dice = Dice::new(seed);
    for _ in 0..count {
        let mut datagram = script[dice.below(script.len())].1.clone();
        mutate(&mut datagram, &mut dice);
        call.server.handle_datagram(call.now, path, &datagram);
        call.pump();
    }
}

fn mutate(datagram: &mut Vec<u8>, dice: &mut Dice) {
    match dice.below(5) {
        0 => datagram.truncate(dice.below(datagram.len())),
        1 => datagram.extend((0..dice.below(64)).map(|n| n as u8)),
        2 => {
            let (at, length) = (dice.below(datagram.len()), dice.below(1400));
            datagram.splice(at.., (0..length).map(|_| dice.roll() as u8));
        }
        _ => {
            for _ in 0..=dice.below(8) {
                let at = dice.below(datagram.len());
                datagram[at] = dice.roll() as u8;
            }
        }
    }
}
