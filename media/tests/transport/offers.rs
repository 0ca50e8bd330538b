//! Offers of real-world shape, and offers meant to hurt.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use voxgate_media::transport::{OfferError, RelayCandidate, Transport, TransportConfig};

use crate::call::{Dice, PASSWORD, UFRAG, config, ice_restart, identity, relay};

fn corpus() -> Vec<(String, String)> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("corpus/sdp");
    let mut offers: Vec<(String, String)> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .map(|path| {
            (path.file_stem().unwrap().to_string_lossy().into_owned(), std::fs::read_to_string(path).unwrap())
        })
        .collect();
    offers.sort();
    offers
}

fn named(name: &str) -> String {
    corpus().into_iter().find(|(stem, _)| stem == name).unwrap().1
}

fn answer(offer: &str) -> Result<String, OfferError> {
    Transport::accept(offer, &config(), &identity(), Instant::now()).map(|(_, answer)| answer)
}

fn lines<'a>(answer: &'a str, start: &str) -> Vec<&'a str> {
    answer.lines().filter(|line| line.starts_with(start)).collect()
}

#[test]
fn every_offer_of_the_corpus_is_answered() {
    let offers = corpus();
    assert!(offers.len() >= 7);
    for (name, offer) in offers {
        let answer = answer(&offer).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(
            lines(&answer, "m=").len(),
            lines(&offer, "m=").len(),
            "{name}: one line for each line offered"
        );
        assert_eq!(lines(&answer, "m=audio 3478 UDP/TLS/RTP/SAVPF ").len(), 1, "{name}");
        assert!(lines(&answer, "m=video").iter().all(|line| line.starts_with("m=video 0 ")), "{name}");
        assert!(
            answer.contains(" opus/48000/2\r\n") && answer.contains(" minptime=10;useinbandfec=1\r\n"),
            "{name}"
        );
        assert!(answer.contains(&format!("a=ice-ufrag:{UFRAG}\r\na=ice-pwd:{PASSWORD}\r\n")), "{name}");
        assert!(lines(&answer, "a=setup:").iter().all(|line| *line == "a=setup:passive"), "{name}");
        assert!(answer.split_inclusive('\n').all(|line| line.ends_with("\r\n")), "{name}");
    }
}

#[test]
fn the_answer_names_the_relays_and_no_other_address() {
    let relays = vec![
        RelayCandidate::udp(relay()),
        RelayCandidate::udp("[2001:db8::7]:3478".parse().unwrap()),
        RelayCandidate::tcp("198.51.100.7:443".parse().unwrap()),
    ];
    let config = TransportConfig { relays, ..config() };
    let offer = named("chrome-audio-data");
    let (_, answer) = Transport::accept(&offer, &config, &identity(), Instant::now()).unwrap();
    assert_eq!(
        lines(&answer, "a=candidate:"),
        [
            "a=candidate:1 1 udp 2130706431 198.51.100.7 3478 typ host",
            "a=candidate:2 1 udp 2130706175 2001:db8::7 3478 typ host",
            "a=candidate:3 1 tcp 1520434687 198.51.100.7 443 typ host tcptype passive",
        ]
    );
    assert_eq!(lines(&answer, "c=IN IP4 198.51.100.7").len(), 2);
}

#[test]
fn lines_keep_their_order_and_only_accepted_ones_are_bundled() {
    let answer = answer(&named("chrome-audio-video-data")).unwrap();
    let media: Vec<&str> = lines(&answer, "m=").iter().map(|line| line.split(' ').next().unwrap()).collect();
    assert_eq!(media, ["m=audio", "m=video", "m=application"]);
    assert_eq!(lines(&answer, "a=group:"), ["a=group:BUNDLE 0 2"]);
    assert_eq!(lines(&answer, "a=candidate:").len(), 1, "the bundle's first line names the candidates");
}

/// What was changed, the offer, the variant, and its code.
fn refusals() -> Vec<(&'static str, String, OfferError, &'static str)> {
    let good = named("chrome-audio-data");
    let without = |start: &str| -> String {
        let kept = good.lines().filter(|line| !line.starts_with(start));
        kept.flat_map(|line| [line, "\r\n"]).collect()
    };
    let malformed = |line, reason| OfferError::Malformed { line, reason };
    vec![
        ("empty", String::new(), malformed(1, "expected v=0"), "sdp_malformed"),
        ("json", "{\"type\":\"offer\"}".to_owned(), malformed(1, "expected type=value"), "sdp_malformed"),
        ("html", "<a href=x>".to_owned(), malformed(1, "expected v=0"), "sdp_malformed"),
        ("bad media", "v=0\r\nm=audio x".to_owned(), malformed(2, "expected a media line"), "sdp_malformed"),
        (
            "control characters",
            "v=0\r\ns=\u{1b}[0m\r\n".to_owned(),
            malformed(2, "control characters are not allowed"),
            "sdp_malformed",
        ),
        (
            "too many lines",
            format!("v=0\r\n{}", "m=video 9 RTP/AVP 96\r\n".repeat(40)),
            malformed(34, "too many media lines"),
            "sdp_malformed",
        ),
        ("too large", format!("{good}{}", "a=x\r\n".repeat(20_000)), OfferError::TooLarge, "sdp_too_large"),
        ("no media", "v=0\r\ns=-\r\n".to_owned(), OfferError::NoAudio, "sdp_no_audio"),
        ("only video", good.replace("m=audio", "m=video"), OfferError::NoAudio, "sdp_no_audio"),
        ("inactive", good.replace("a=sendrecv", "a=inactive"), OfferError::NoAudio, "sdp_no_audio"),
        ("disabled", good.replace("m=audio 9", "m=audio 0"), OfferError::NoAudio, "sdp_no_audio"),
        ("no opus", good.replace("opus/48000/2", "speex/16000"), OfferError::NoOpus, "sdp_unsupported_codec"),
        ("no mux", without("a=rtcp-mux"), OfferError::UnsupportedTransport, "sdp_unsupported_transport"),
        (
            "plain RTP",
            good.replace("UDP/TLS/RTP/SAVPF", "RTP/AVP"),
            OfferError::UnsupportedTransport,
            "sdp_unsupported_transport",
        ),
        ("no ufrag", without("a=ice-ufrag"), OfferError::MissingIce, "sdp_missing_ice"),
        ("no password", without("a=ice-pwd"), OfferError::MissingIce, "sdp_missing_ice"),
        (
            "short ufrag",
            good.replace("a=ice-ufrag:", "a=ice-ufrag:x\r\na=y:"),
            OfferError::MissingIce,
            "sdp_missing_ice",
        ),
        ("lite", good.replace("t=0 0", "t=0 0\r\na=ice-lite"), OfferError::IceLite, "sdp_ice_lite"),
        ("no fingerprint", without("a=fingerprint"), OfferError::MissingDtls, "sdp_missing_dtls"),
        ("sha-1", good.replace("sha-256", "sha-1"), OfferError::MissingDtls, "sdp_missing_dtls"),
        ("short digest", good.replace("sha-256 ", "sha-256 0"), OfferError::MissingDtls, "sdp_missing_dtls"),
        ("server role", good.replace("actpass", "passive"), OfferError::DtlsRole, "sdp_dtls_role"),
    ]
}

#[test]
fn every_unusable_offer_is_refused_with_its_reason() {
    for (change, offer, expected, code) in refusals() {
        let error = answer(&offer).expect_err(change);
        assert_eq!(error, expected, "{change}");
        assert_eq!(error.code(), code);
        let text = error.to_string();
        assert!(text.starts_with(char::is_uppercase) && text.ends_with('.'), "{text}");
    }
}

#[test]
fn a_data_line_outside_the_bundle_is_rejected_and_the_audio_kept() {
    let answer =
        answer(&named("chrome-audio-data").replace("a=group:BUNDLE 0 1", "a=group:BUNDLE 0")).unwrap();
    assert_eq!(lines(&answer, "m=application"), ["m=application 0 UDP/DTLS/SCTP webrtc-datachannel"]);
    assert_eq!(lines(&answer, "m=audio 3478").len(), 1);
}

#[test]
fn mutated_offers_never_panic() {
    let (identity, config, now) = (identity(), config(), Instant::now());
    let mut dice = Dice::new(5);
    let mut accepted = 0;
    for (_, offer) in corpus() {
        for _ in 0..60 {
            let mut bytes = offer.clone().into_bytes();
            for _ in 0..=dice.below(6) {
                let at = dice.below(bytes.len());
                match dice.below(4) {
                    0 => bytes[at] = dice.roll() as u8,
                    1 => bytes.truncate(at.max(1)),
                    2 => drop(bytes.drain(at..(at + dice.below(80)).min(bytes.len()))),
                    _ => {
                        let copy = bytes[at..(at + 60).min(bytes.len())].to_vec();
                        bytes.splice(at..at, copy);
                    }
                }
                if bytes.is_empty() {
                    bytes.push(b'v');
                }
            }
            let offer = String::from_utf8_lossy(&bytes);
            accepted += usize::from(Transport::accept(&offer, &config, &identity, now).is_ok());
        }
    }
    assert!(accepted > 20, "the mutations must also reach what lies behind the parser: {accepted}");
}

#[test]
fn mutated_offers_never_panic_when_they_restart_a_call() {
    let (identity, now) = (identity(), Instant::now());
    let offer = named("chrome-audio-data");
    let (mut call, _) = Transport::accept(&offer, &config(), &identity, now).unwrap();
    let mut dice = Dice::new(6);
    let mut accepted = 0;
    for number in 0..500 {
        let mut bytes = offer.replace("a=ice-ufrag:", &format!("a=ice-ufrag:{number}x")).into_bytes();
        for _ in 0..dice.below(3) {
            let at = dice.below(bytes.len());
            bytes[at] = dice.roll() as u8;
        }
        let restart = ice_restart(number, &[RelayCandidate::udp(relay())]);
        let later = now + Duration::from_secs(u64::from(number));
        accepted += usize::from(call.restart_ice(later, &String::from_utf8_lossy(&bytes), &restart).is_ok());
    }
    assert!((100..500).contains(&accepted), "{accepted}");
}
