//! When a caller captured a packet's first sample: the RTP header extension `abs-capture-time`
//! (<https://webrtc.googlesource.com/src/+/refs/heads/main/docs/native-code/rtp-hdrext/abs-capture-time>).
//!
//! Browsers send it only if their page asked for it before its offer.

use std::time::Duration;

/// The name it is negotiated by.
pub(super) const CAPTURE_TIME: &str = "http://www.webrtc.org/experiments/rtp-hdrext/abs-capture-time";

/// Names of extensions in headers of one byte (RFC 8285 section 4.2). Longer headers are for those who need more names.
const IDS: std::ops::RangeInclusive<u8> = 1..=14;

/// 1900 to 1970 (RFC 5905 section 6).
const NTP_TO_UNIX_SECONDS: u64 = 2_208_988_800;

/// Seconds of an era of NTP: in 2036 it begins anew.
const ERA_SECONDS: u64 = 1 << 32;

/// The name under which `value`, an `extmap` attribute (RFC 8285 section 5), offers capture times from whoever wrote it.
pub(super) fn offered_id(value: &str) -> Option<u8> {
    let mut words = value.split_ascii_whitespace();
    let (entry, name) = (words.next()?, words.next()?);
    let (id, direction) = entry.split_once('/').unwrap_or((entry, "sendrecv"));
    let sends = matches!(direction, "sendrecv" | "sendonly");
    id.parse().ok().filter(|id| IDS.contains(id) && sends && name == CAPTURE_TIME)
}

/// The time in an extension, since 1970 on the caller's clock. `None` if it is none.
///
/// Behind it there may be how far the clock of a mixer is from that of whoever captured; a caller is no mixer.
pub(super) fn read(extension: &[u8]) -> Option<Duration> {
    if !matches!(extension.len(), 8 | 16) {
        return None;
    }
    let (seconds, fraction) = extension.first_chunk::<8>()?.split_at(4);
    let number = |bytes: &[u8]| bytes.iter().fold(0_u64, |number, byte| (number << 8) | u64::from(*byte));
    let (seconds, fraction) = (number(seconds), number(fraction));
    let era = if seconds < NTP_TO_UNIX_SECONDS { ERA_SECONDS } else { 0 };
    let nanos = (fraction * 1_000_000_000) >> 32;
    Some(Duration::from_secs(seconds + era - NTP_TO_UNIX_SECONDS) + Duration::from_nanos(nanos))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_capture_time_is_read_in_both_its_lengths_and_in_the_next_era() {
        let stamp = |seconds: u32, fraction: u32| [seconds.to_be_bytes(), fraction.to_be_bytes()].concat();
        let half_past_1970 = stamp(2_208_988_800, 1 << 31);
        assert_eq!(read(&half_past_1970), Some(Duration::from_millis(500)));
        let with_offset = [&half_past_1970[..], &[255; 8]].concat();
        assert_eq!(read(&with_offset), Some(Duration::from_millis(500)));
        // RFC 5905 figure 4: era 1 begins on 7 February 2036.
        assert_eq!(read(&stamp(0, 0)), Some(Duration::from_secs(2_085_978_496)));
        assert_eq!(read(&[255; 8]).map(|at| at.as_secs()), Some(2_085_978_495));
    }

    #[test]
    fn what_is_no_capture_time_is_none() {
        for length in (0..=24).filter(|length| ![8, 16].contains(length)) {
            assert_eq!(read(&vec![200; length]), None, "{length} bytes");
        }
    }

    #[test]
    fn capture_times_are_taken_from_who_offers_to_send_them_under_a_usable_name() {
        let offered = |entry: &str| offered_id(&format!("{entry} {CAPTURE_TIME}"));
        assert_eq!(
            (offered("5"), offered("14/sendonly"), offered("1/sendrecv")),
            (Some(5), Some(14), Some(1))
        );
        for entry in ["0", "15", "256", "-1", "", "5/recvonly", "5/inactive", "x", "5/"] {
            assert_eq!(offered(entry), None, "{entry}");
        }
        assert_eq!(offered_id("5 urn:ietf:params:rtp-hdrext:ssrc-audio-level"), None);
        assert_eq!(offered_id("5"), None);
    }
}
