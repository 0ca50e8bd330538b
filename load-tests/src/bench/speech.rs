//! What the callers say: short tones with digital silence between them.
//!
//! Every tone begins exactly with a frame of 20 ms. In silence Opus needs a few bytes and for a tone many, so
//! the packet that carries a beginning is known on the wire by its size. Opus delays sound by 6.5 ms
//! (libopus, `OPUS_GET_LOOKAHEAD` for speech), less than a frame: the beginning lies in the sound decoded
//! from that same packet, and no delay of the codec has to be subtracted.

use std::f64::consts::TAU;
use std::time::{Duration, Instant};

use voxgate_caller::{SPEECH_RATE, Speech};

use crate::provider_sim::vad::level;

/// Five frames.
const TONE: Duration = Duration::from_millis(100);

/// Seven frames: far longer than the gateway may take, so that beginnings cannot be confused.
const PAUSE: Duration = Duration::from_millis(140);

const TONE_HZ: f64 = 440.0;
const AMPLITUDE: f64 = 8_000.0;

/// Root mean square above which decoded sound is a tone: a tenth of the tone's, far above coded silence.
const LOUD: f64 = 500.0;

/// Bytes on the wire above which a packet carries a tone. Header and authentication take up to 36 of them,
/// Opus needs under 20 for silence and 60 or more for a tone at the callers' bitrate.
const LARGE: usize = 75;

/// Quiet units before a beginning: the first after a tone may still carry its echo.
const QUIET_BEFORE: usize = 2;

/// Tones for as long as this.
#[must_use]
pub fn tones(length: Duration) -> Speech {
    let at = |duration: Duration| (duration.as_micros() * u128::from(SPEECH_RATE.hz()) / 1_000_000) as usize;
    let (tone, period) = (at(TONE), at(TONE + PAUSE));
    let sample = |index: usize| {
        let phase = TAU * TONE_HZ * index as f64 / f64::from(SPEECH_RATE.hz());
        if index % period < tone { (phase.sin() * AMPLITUDE) as i16 } else { 0 }
    };
    Speech::from_samples((0..at(length)).map(sample).collect())
}

/// Whether decoded sound contains a tone.
#[must_use]
pub fn is_loud(samples: &[i16]) -> bool {
    level(samples) > LOUD
}

/// Whether a packet of this size on the wire carries a tone.
#[must_use]
pub const fn is_large(size: usize) -> bool {
    size > LARGE
}

/// The times at which sound begins after quiet.
pub fn beginnings(units: impl Iterator<Item = (Instant, bool)>) -> Vec<Instant> {
    let mut quiet = 0;
    let mut found = Vec::new();
    for (at, is_sound) in units {
        if is_sound && quiet >= QUIET_BEFORE {
            found.push(at);
        }
        quiet = if is_sound { 0 } else { quiet + 1 };
    }
    found
}

/// Pairs each beginning at the far end with the last one before it at the near end, if that was shorter ago
/// than a pause.
#[must_use]
pub fn passages(near: &[Instant], far: &[Instant]) -> Vec<Duration> {
    let pair = |arrived: &Instant| {
        let index = near.partition_point(|left| left <= arrived).checked_sub(1)?;
        let took = arrived.duration_since(near[index]);
        (took < PAUSE).then_some(took)
    };
    far.iter().filter_map(pair).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const FRAME: Duration = Duration::from_millis(20);

    #[test]
    fn a_beginning_needs_quiet_before_it() {
        let start = Instant::now();
        let units = [true, false, true, false, false, true, true, false, false, false, true];
        let times = (0..).map(|index| start + FRAME * index);
        assert_eq!(beginnings(times.zip(units)), [start + FRAME * 5, start + FRAME * 10]);
    }

    #[test]
    fn each_arrival_is_paired_with_its_own_departure_and_a_lost_one_with_none() {
        let start = Instant::now();
        let ms = Duration::from_millis;
        let near = [start, start + ms(240), start + ms(480)];
        let far = [start + ms(1), start + ms(482), start + ms(700)];
        assert_eq!(passages(&near, &far), [ms(1), ms(2)]);
        assert_eq!(passages(&[], &far), [] as [Duration; 0]);
    }

    #[test]
    fn tones_begin_with_a_frame() {
        let speech = tones(Duration::from_millis(500));
        let frames = speech.samples().chunks_exact(960);
        let loud: Vec<bool> = frames.map(is_loud).collect();
        let expected: Vec<bool> = (0..25).map(|index| index % 12 < 5).collect();
        assert_eq!(loud, expected);
    }
}
