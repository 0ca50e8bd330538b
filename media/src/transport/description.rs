//! Writes session descriptions: the answer for the caller and the canonical offer for the engine.

use std::fmt::Write as _;
use voxgate_protocol::path::ClientTransport;

use super::RelayCandidate;
use super::capture_time::CAPTURE_TIME;
use super::offer::{Direction, Offer, Section};

/// Largest data-channel message taken from a caller, in bytes; what browsers announce themselves.
pub(super) const MAX_MESSAGE_SIZE: u32 = 262_144;
/// What the caller's encoder is asked for (RFC 7587 section 6.1): redundancy against loss, frames down to 10 ms.
pub(super) const OPUS_PARAMETERS: &str = "minptime=10;useinbandfec=1";
/// Type preference of a UDP host candidate (RFC 8445 section 5.1.2.1).
const UDP_PREFERENCE: u32 = 126;
/// Type preference of a TCP host candidate: below every kind of UDP candidate a caller may pair (RFC 6544 section 4.2).
const TCP_PREFERENCE: u32 = 90;
/// Direction preference of a passive host candidate, in the place it has in the local preference (RFC 6544 section 4.2).
const PASSIVE: u32 = 4 << 13;
/// Largest preference among candidates of one kind that leaves the direction preference alone.
const MOST_PREFERRED: u32 = (1 << 13) - 1;

/// Highest priority a candidate may have (RFC 8445 section 5.1.2).
const TOP_PRIORITY: u32 = (1 << 31) - 1;

/// What the server brings to an answer.
pub(super) struct Local<'a> {
    pub(super) ufrag: &'a str,
    pub(super) password: &'a str,
    /// SHA-256 of the server's certificate, upper-case pairs with colons.
    pub(super) fingerprint: &'a str,
    pub(super) relays: &'a [RelayCandidate],
    pub(super) ranking: Ranking,
    pub(super) ssrc: u32,
    /// Number of the session in the `o=` line.
    pub(super) session: u32,
    /// Version of the description in the `o=` line, one more with every answer (RFC 3264 section 8).
    pub(super) version: u32,
}

/// How the candidates rank.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ranking {
    /// As RFC 8445 section 5.1.2 and RFC 6544 section 4.2 recommend, in the order given among those of a kind.
    ByKind,
    /// Above every candidate of an answer before, in the order given: the caller shall move.
    AboveAll,
}

/// The answer to `offer`: Opus and the data channel accepted, every other line rejected (RFC 3264 section 6).
pub(super) fn answer(offer: &Offer<'_>, local: &Local<'_>) -> String {
    let accepted =
        |index: usize| index == offer.audio || offer.data.is_some_and(|data| data.section == index);
    let mids = offer.sections.iter().enumerate().filter(|(index, _)| accepted(*index));
    let mids: Vec<&str> = mids.filter_map(|(_, section)| section.mid).collect();
    let bundle: Vec<&str> = offer.bundle.iter().copied().filter(|mid| mids.contains(mid)).collect();
    let mut sdp = String::with_capacity(1600);
    sdp.push_str("v=0\r\n");
    line(&mut sdp, format_args!("o=- {} {} IN IP4 127.0.0.1", local.session, local.version));
    sdp.push_str("s=-\r\nt=0 0\r\na=ice-lite\r\n");
    if !bundle.is_empty() {
        line(&mut sdp, format_args!("a=group:BUNDLE {}", bundle.join(" ")));
    }
    sdp.push_str("a=msid-semantic: WMS *\r\n");
    let mut first = true;
    for (index, section) in offer.sections.iter().enumerate() {
        if index == offer.audio {
            audio(&mut sdp, offer, section, local, std::mem::take(&mut first));
        } else if accepted(index) {
            data(&mut sdp, offer, section, local, std::mem::take(&mut first));
        } else {
            rejected(&mut sdp, section);
        }
    }
    sdp
}

/// The offer the engine negotiates with: the same facts in the one form that is known to work.
///
/// Its media always flow both ways; the real direction is kept by the transport.
pub(super) fn canonical_offer(offer: &Offer<'_>) -> String {
    let mut sdp = String::with_capacity(1024);
    sdp.push_str("v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n");
    sdp.push_str(if offer.data.is_some() { "a=group:BUNDLE 0 1\r\n" } else { "a=group:BUNDLE 0\r\n" });
    let pt = offer.payload_type;
    line(&mut sdp, format_args!("m=audio 9 UDP/TLS/RTP/SAVPF {pt}\r\nc=IN IP4 0.0.0.0\r\na=mid:0"));
    secure(&mut sdp, offer.ufrag, offer.password, &offer.fingerprint, "actpass");
    sdp.push_str("a=rtcp-mux\r\na=sendrecv\r\n");
    line(&mut sdp, format_args!("a=rtpmap:{pt} opus/48000/2\r\na=fmtp:{pt} {OPUS_PARAMETERS}"));
    if let Some(data) = offer.data {
        sdp.push_str("m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\nc=IN IP4 0.0.0.0\r\na=mid:1\r\n");
        secure(&mut sdp, offer.ufrag, offer.password, &offer.fingerprint, "actpass");
        // The caller's own limit is kept by the transport; the engine's buffer must fit what the caller may send.
        line(
            &mut sdp,
            format_args!("a=sctp-port:{}\r\na=max-message-size:{MAX_MESSAGE_SIZE}", data.sctp_port),
        );
    }
    sdp
}

fn line(sdp: &mut String, text: std::fmt::Arguments<'_>) {
    // Writing to a string does not fail.
    let _ = sdp.write_fmt(text);
    sdp.push_str("\r\n");
}

fn secure(sdp: &mut String, ufrag: &str, password: &str, fingerprint: &str, setup: &str) {
    line(sdp, format_args!("a=ice-ufrag:{ufrag}\r\na=ice-pwd:{password}"));
    line(sdp, format_args!("a=fingerprint:sha-256 {fingerprint}\r\na=setup:{setup}"));
}

fn audio(sdp: &mut String, offer: &Offer<'_>, section: &Section<'_>, local: &Local<'_>, first: bool) {
    let pt = offer.payload_type;
    let direction: Direction = offer.direction.mirrored();
    open(sdp, section, &pt.to_string(), local, first);
    line(sdp, format_args!("a={}\r\na=rtcp-mux", direction.as_str()));
    line(sdp, format_args!("a=rtpmap:{pt} opus/48000/2\r\na=fmtp:{pt} {OPUS_PARAMETERS}"));
    if let Some(id) = offer.capture_time {
        line(sdp, format_args!("a=extmap:{id} {CAPTURE_TIME}"));
    }
    if direction.sends() {
        line(sdp, format_args!("a=msid:voxgate voxgate-audio\r\na=ssrc:{} cname:voxgate", local.ssrc));
    }
}

fn data(sdp: &mut String, offer: &Offer<'_>, section: &Section<'_>, local: &Local<'_>, first: bool) {
    open(sdp, section, section.formats, local, first);
    let port = offer.data.map_or(0, |data| data.sctp_port);
    line(sdp, format_args!("a=sctp-port:{port}\r\na=max-message-size:{MAX_MESSAGE_SIZE}"));
}

/// The lines every accepted section has; only the first one names the candidates (RFC 9429 section 5.3.1).
fn open(sdp: &mut String, section: &Section<'_>, formats: &str, local: &Local<'_>, first: bool) {
    let default = local.relays.iter().find(|relay| relay.transport == ClientTransport::Udp);
    let default = default.map(|relay| relay.address);
    let port = default.map_or(9, |relay| relay.port());
    line(sdp, format_args!("m={} {port} {} {formats}", section.media, section.protocol));
    match default {
        Some(relay) if relay.is_ipv6() => line(sdp, format_args!("c=IN IP6 {}", relay.ip())),
        Some(relay) => line(sdp, format_args!("c=IN IP4 {}", relay.ip())),
        None => sdp.push_str("c=IN IP4 0.0.0.0\r\n"),
    }
    if let Some(mid) = section.mid {
        line(sdp, format_args!("a=mid:{mid}"));
    }
    secure(sdp, local.ufrag, local.password, local.fingerprint, "passive");
    if !first {
        return;
    }
    for (index, relay) in local.relays.iter().enumerate() {
        candidate(sdp, local.ranking, index as u32, relay);
    }
    sdp.push_str("a=end-of-candidates\r\n");
}

/// One candidate, the `index`th most preferred. Every one has a foundation of its own: each is another way in.
fn candidate(sdp: &mut String, ranking: Ranking, index: u32, relay: &RelayCandidate) {
    let (ip, port, foundation) = (relay.address.ip(), relay.address.port(), index + 1);
    let (transport, by_kind, kind) = match relay.transport {
        ClientTransport::Udp => {
            ("udp", priority(UDP_PREFERENCE, 65_535u32.saturating_sub(index)), "typ host")
        }
        ClientTransport::Tcp => {
            let preference = PASSIVE | MOST_PREFERRED.saturating_sub(index);
            ("tcp", priority(TCP_PREFERENCE, preference), "typ host tcptype passive")
        }
    };
    let priority = match ranking {
        Ranking::ByKind => by_kind,
        Ranking::AboveAll => TOP_PRIORITY.saturating_sub(index),
    };
    line(sdp, format_args!("a=candidate:{foundation} 1 {transport} {priority} {ip} {port} {kind}"));
}

/// RFC 8445 section 5.1.2.1, for component 1.
const fn priority(type_preference: u32, local_preference: u32) -> u32 {
    (type_preference << 24) | (local_preference << 8) | 255
}

fn rejected(sdp: &mut String, section: &Section<'_>) {
    line(sdp, format_args!("m={} 0 {} {}", section.media, section.protocol, section.formats));
    sdp.push_str("c=IN IP4 0.0.0.0\r\n");
    if let Some(mid) = section.mid {
        line(sdp, format_args!("a=mid:{mid}"));
    }
    sdp.push_str("a=inactive\r\n");
}
