//! Tells the newest packet of a caller from a late one, whatever its kind.
//!
//! The call follows the newest packet, so a late one must not pull it back to the path the caller has left.

use std::time::{Duration, Instant};

use super::Path;

/// While audio comes at least this often, it alone says where the caller is: counts of different kinds of packets
/// cannot be compared, and a control packet may have been overtaken on the way.
const MEDIA_SILENCE: Duration = Duration::from_millis(500);
/// Audio that pauses for longer may have lost its way. Packets come every 20 ms; the alarm about a dead relay comes
/// after 200 ms at the earliest.
const MEDIA_PAUSE: Duration = Duration::from_millis(100);
/// Octets of a DTLS record header that number the record: epoch and sequence (RFC 6347 section 4.1).
const RECORD_NUMBER: std::ops::Range<usize> = 3..11;
/// Octets of the SRTCP index at the end of a packet under AES-GCM (RFC 7714 section 9.3).
const CONTROL_INDEX: usize = 4;

/// Where a datagram came from and how its sender numbered it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Arrival {
    pub(super) path: Path,
    /// Of the first DTLS record or of the control packet. Authentic once the engine made something of the datagram.
    number: Option<u64>,
}

impl Arrival {
    /// A datagram of DTLS records.
    pub(super) fn of_records(path: Path, datagram: &[u8]) -> Self {
        let number = datagram.get(RECORD_NUMBER).and_then(|octets| octets.try_into().ok());
        Self { path, number: number.map(u64::from_be_bytes) }
    }

    /// A datagram of SRTP or SRTCP.
    pub(super) fn of_media(path: Path, datagram: &[u8]) -> Self {
        let index = datagram.len().checked_sub(CONTROL_INDEX).and_then(|at| datagram.get(at..));
        let index = index.and_then(|octets| octets.try_into().ok()).map(u32::from_be_bytes);
        // The highest bit says that the packet is encrypted.
        Self { path, number: index.map(|index| u64::from(index & 0x7FFF_FFFF)) }
    }
}

/// The newest packet of every kind so far.
#[derive(Debug, Default)]
pub(super) struct Newest {
    sequence: Option<u16>,
    control: Option<u64>,
    record: Option<u64>,
    media_at: Option<Instant>,
}

impl Newest {
    /// Whether an audio packet is ahead of all before it.
    pub(super) fn audio(&mut self, now: Instant, sequence: u16) -> bool {
        // RFC 1982: ahead if less than half the number space away.
        let ahead = self.sequence.is_none_or(|newest| (sequence.wrapping_sub(newest) as i16) > 0);
        if ahead {
            self.sequence = Some(sequence);
            self.media_at = Some(now);
        }
        ahead
    }

    /// Whether a control packet is ahead of all before it, and audio does not know better.
    pub(super) fn control(&mut self, now: Instant, arrival: Option<Arrival>) -> bool {
        ahead(&mut self.control, arrival) && self.media_is_silent(now)
    }

    /// The same for a DTLS record.
    pub(super) fn record(&mut self, now: Instant, arrival: Option<Arrival>) -> bool {
        ahead(&mut self.record, arrival) && self.media_is_silent(now)
    }

    /// Whether audio comes at the moment, late packets aside.
    pub(super) fn media_flow(&self, now: Instant) -> bool {
        self.media_at.is_some_and(|at| now.saturating_duration_since(at) < MEDIA_PAUSE)
    }

    fn media_is_silent(&self, now: Instant) -> bool {
        self.media_at.is_none_or(|at| now.saturating_duration_since(at) >= MEDIA_SILENCE)
    }
}

fn ahead(newest: &mut Option<u64>, arrival: Option<Arrival>) -> bool {
    let Some(number) = arrival.and_then(|arrival| arrival.number) else { return false };
    let ahead = newest.is_none_or(|newest| number > newest);
    if ahead {
        *newest = Some(number);
    }
    ahead
}

#[cfg(test)]
mod tests {
    use voxgate_protocol::path::ClientAddress;

    use super::*;

    fn path() -> Path {
        let relay = ([198, 51, 100, 1], 3478).into();
        Path { relay, client: ClientAddress::udp(([203, 0, 113, 9], 1).into()) }
    }

    fn record(number: u64) -> Option<Arrival> {
        let mut datagram = vec![23, 254, 253];
        datagram.extend_from_slice(&number.to_be_bytes());
        Some(Arrival::of_records(path(), &datagram))
    }

    fn control(index: u32) -> Option<Arrival> {
        let mut datagram = vec![128, 201];
        datagram.extend_from_slice(&(index | 1 << 31).to_be_bytes());
        Some(Arrival::of_media(path(), &datagram))
    }

    #[test]
    fn late_packets_of_every_kind_are_told_from_new_ones() {
        let now = Instant::now();
        let mut newest = Newest::default();
        assert!(
            newest.record(now, record(5)) && !newest.record(now, record(5)) && !newest.record(now, record(4))
        );
        assert!(newest.control(now, control(1)) && !newest.control(now, control(1)));
        assert!(newest.control(now, control(2)));
        assert!(newest.audio(now, 65_535) && newest.audio(now, 0) && !newest.audio(now, 65_534));
        assert!(!newest.control(now, None), "what the engine says by itself came from nowhere");
    }

    #[test]
    fn control_packets_move_a_call_only_while_audio_is_silent() {
        let now = Instant::now();
        let mut newest = Newest::default();
        newest.audio(now, 1);
        assert!(!newest.control(now + MEDIA_SILENCE / 2, control(7)));
        assert!(!newest.record(now + MEDIA_SILENCE / 2, record(7)));
        assert!(newest.control(now + MEDIA_SILENCE, control(8)));
        assert!(newest.record(now + MEDIA_SILENCE, record(8)));
    }

    #[test]
    fn a_datagram_too_short_to_be_numbered_is_never_the_newest() {
        let now = Instant::now();
        let mut newest = Newest::default();
        assert!(!newest.record(now, Some(Arrival::of_records(path(), &[23]))));
        assert!(!newest.control(now, Some(Arrival::of_media(path(), &[128]))));
    }
}
