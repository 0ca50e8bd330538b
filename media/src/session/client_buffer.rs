//! How long a client holds a sound until it is heard, where it does not say so itself.
//!
//! Its RTCP reports tell the interarrival jitter, the smoothed mean of how differently two packets in a row were delayed
//! (RFC 3550, section 6.4.1). Browsers share one jitter buffer, NetEq, which aims at the delay that 95 of a hundred packets
//! stay within, compared with the quickest (`quantile = 0.95` in `modules/audio_coding/neteq/delay_manager.h` of WebRTC), in
//! steps of a packet and never below one. How these two figures relate depends on what the delays are like: 95 of a
//! hundred stay within 2.85 times the jitter if they are spread evenly, within 3.0 times if they fall off exponentially
//! (ln 20), and within 3.7 times if they lie around a middle as a bell does. The middle one is taken, and one packet.

use std::time::Duration;

/// As long as nothing is known: two packets in the jitter buffer and the device.
const USUAL: Duration = Duration::from_millis(60);

const PACKET: Duration = Duration::from_millis(20);

/// From the jitter buffer to the loudspeaker: what browsers ask of the system for calls, twice.
const DEVICE: Duration = Duration::from_millis(20);

/// Jitter above this makes no buffer longer: half a second of delay is what clients bear.
const MOST_JITTER: Duration = Duration::from_millis(160);

/// Jitter above this is none.
const NONSENSE: Duration = Duration::from_secs(10);

/// What a client holds back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientBuffer {
    /// How long a sound waits from its arrival until it is heard, the device included.
    pub wait: Duration,
    /// By how much that may be wrong for a browser; zero if that is not known.
    pub error: Duration,
}

impl ClientBuffer {
    /// The usual one.
    pub const USUAL: Self = Self { wait: USUAL, error: Duration::ZERO };

    /// From the interarrival jitter a client reports.
    ///
    /// The error covers what another spread of the delays, the step of a packet, a device of 0 to 40 ms and the noise of the
    /// figure itself, which follows the last sixteen packets, make of it.
    #[must_use]
    pub fn of(jitter: Duration) -> Self {
        let jitter = jitter.min(NONSENSE);
        let depth = (PACKET + 3 * jitter.min(MOST_JITTER)).max(2 * PACKET);
        let beyond = jitter.saturating_sub(MOST_JITTER);
        Self { wait: depth + DEVICE, error: 2 * PACKET + jitter + 3 * beyond }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn a_calm_network_has_the_usual_buffer() {
        for jitter in [Duration::ZERO, MS, 6 * MS] {
            assert_eq!(ClientBuffer::of(jitter).wait, ClientBuffer::USUAL.wait, "{jitter:?}");
        }
    }

    #[test]
    fn the_buffer_grows_with_the_jitter_and_only_so_far() {
        assert_eq!(ClientBuffer::of(20 * MS), ClientBuffer { wait: 100 * MS, error: 60 * MS });
        let waits: Vec<Duration> = (0..400).map(|ms| ClientBuffer::of(ms * MS).wait).collect();
        assert!(waits.is_sorted());
        assert_eq!(waits.last(), Some(&(520 * MS)));
        assert_eq!(ClientBuffer::of(Duration::MAX).wait, 520 * MS);
    }

    /// The jitter of RFC 3550, and the delay that 95 of a hundred packets stay within, each compared with the quickest of two
    /// seconds, in steps of a packet.
    fn played(delays: &[f64]) -> (Duration, f64) {
        let smoothed = |jitter: f64, pair: &[f64]| jitter + ((pair[1] - pair[0]).abs() - jitter) / 16.0;
        let jitter = delays.windows(2).fold(0.0, smoothed);
        let late = |recent: &[f64]| recent[99] - recent.iter().copied().fold(f64::MAX, f64::min);
        let mut relative: Vec<f64> = delays.windows(100).map(late).collect();
        relative.sort_by(f64::total_cmp);
        let level = (relative[relative.len() * 95 / 100] / 20.0).ceil().max(1.0) * 20.0;
        (Duration::from_secs_f64(jitter / 1_000.0), level)
    }

    #[test]
    fn what_such_a_buffer_holds_lies_within_the_error_for_even_exponential_and_bell_shaped_delays() {
        let mut seed = 9_u64;
        let mut chance = || {
            // Knuth's MMIX generator.
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            ((seed >> 33) as f64 + 0.5) / f64::from(1_u32 << 31)
        };
        for scale in [0.5, 2.0, 5.0, 10.0, 20.0, 30.0] {
            let even: Vec<f64> = (0..2_400).map(|_| 3.0 * scale * chance()).collect();
            let exponential: Vec<f64> = (0..2_400).map(|_| -scale * chance().ln()).collect();
            let bell: Vec<f64> = (0..2_400).map(|_| scale * (0..12).map(|_| chance()).sum::<f64>()).collect();
            for (name, delays) in [("even", even), ("exponential", exponential), ("bell", bell)] {
                for stretch in delays.chunks(600) {
                    let (jitter, level) = played(stretch);
                    let ClientBuffer { wait, error } = ClientBuffer::of(jitter);
                    for device in [0.0, 40.0] {
                        let held = Duration::from_secs_f64((level + device) / 1_000.0);
                        let missed = held.abs_diff(wait).saturating_sub(error);
                        assert_eq!(missed, Duration::ZERO, "{name} {scale}: {jitter:?} {wait:?} {held:?}");
                    }
                }
            }
        }
    }
}
