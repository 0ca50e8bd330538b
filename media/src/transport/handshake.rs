//! Repeats the server's last DTLS flight when the caller repeats its own (RFC 6347 section 4.2.4).
//!
//! The engine stops its retransmission timer on every handshake message, a repeated one included, so a lost server
//! flight would end the handshake. Sending the very same records again is safe: the caller's replay window drops
//! those it already has.

use std::time::{Duration, Instant};

use bytes::Bytes;

/// Shortest pause between two repetitions; browsers repeat after 50 ms at the earliest.
const PAUSE: Duration = Duration::from_millis(40);
/// Datagrams of one flight; the server's largest needs one.
const LONGEST_FLIGHT: usize = 8;
/// Content type of a handshake record (RFC 5246 section 6.2.1).
const HANDSHAKE: u8 = 22;
/// Octets of a DTLS 1.2 record header.
const RECORD_HEADER: usize = 13;

/// Message number and fragment offset: where a caller's datagram begins in its handshake.
type Position = (u16, u32);

#[derive(Debug, Default)]
pub(super) struct Handshake {
    flight: Vec<Bytes>,
    sent: Option<Instant>,
    furthest: Option<Position>,
}

impl Handshake {
    /// The caller sent `datagram` and the engine answered with `reply`; returns what to send again.
    pub(super) fn exchanged(&mut self, now: Instant, datagram: &[u8], reply: Vec<Bytes>) -> Vec<Bytes> {
        let position = position(datagram);
        let repeated = position.is_some() && position <= self.furthest;
        self.furthest = self.furthest.max(position);
        if !reply.is_empty() {
            self.flight = reply;
            self.flight.truncate(LONGEST_FLIGHT);
            self.sent = Some(now);
            return Vec::new();
        }
        let rested = self.sent.is_none_or(|sent| now.saturating_duration_since(sent) >= PAUSE);
        if !repeated || !rested {
            return Vec::new();
        }
        self.sent = Some(now);
        self.flight.clone()
    }
}

/// Where a datagram that begins with a plaintext handshake record begins.
fn position(datagram: &[u8]) -> Option<Position> {
    let plaintext = datagram.get(3..5)? == [0, 0];
    if *datagram.first()? != HANDSHAKE || !plaintext {
        return None;
    }
    let message = datagram.get(RECORD_HEADER..)?;
    let number = u16::from_be_bytes(message.get(4..6)?.try_into().ok()?);
    let offset = message.get(6..9)?;
    Some((number, u32::from_be_bytes([0, offset[0], offset[1], offset[2]])))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A handshake record with message `number`.
    fn record(number: u8) -> Vec<u8> {
        let mut datagram = vec![HANDSHAKE, 254, 253, 0, 0, 0, 0, 0, 0, 0, number, 0, 12];
        datagram.extend_from_slice(&[1, 0, 0, 0, 0, number, 0, 0, 0, 0, 0, 0]);
        datagram
    }

    #[test]
    fn a_repeated_flight_of_the_caller_is_answered_with_the_same_records() {
        let start = Instant::now();
        let mut handshake = Handshake::default();
        let flight = vec![Bytes::from_static(b"server flight")];
        assert!(handshake.exchanged(start, &record(1), flight.clone()).is_empty());
        assert_eq!(handshake.exchanged(start + PAUSE, &record(1), Vec::new()), flight);
    }

    #[test]
    fn progress_and_haste_repeat_nothing() {
        let start = Instant::now();
        let mut handshake = Handshake::default();
        handshake.exchanged(start, &record(1), vec![Bytes::from_static(b"server flight")]);
        assert!(handshake.exchanged(start, &record(1), Vec::new()).is_empty(), "too soon");
        assert!(handshake.exchanged(start + PAUSE, &record(2), Vec::new()).is_empty(), "the caller moves on");
        assert!(handshake.exchanged(start + PAUSE, b"\x17 encrypted data", Vec::new()).is_empty());
        assert!(handshake.exchanged(start + PAUSE, b"\x16", Vec::new()).is_empty());
    }
}
