//! Where a stretch of samples can be heard.
//!
//! The same rules find the last word of a question and the first sound of an answer wherever they are looked for, so that the
//! two ends of a mouth-to-ear time mean the same to all who measure it.

use std::fmt;

use crate::audio::SampleRate;

/// -46 dBFS: below quiet speech, above what Opus makes of digital silence.
const THRESHOLD: i32 = 164;

/// 5 ms: long enough that one stray sample is not a sound, short against every hop that is measured.
const WINDOWS_PER_SECOND: usize = 200;

/// A word has ended when 15 ms are quiet as a whole, which is more than a period of the deepest voices. A voice that dies away sinks below
/// the threshold in each period and rises above it with the next, so by less the end would depend on how samples fall into
/// windows, and on what the coder makes of one period.
const WORD_WINDOW_MS: usize = 15;

/// The index of the first sample that can be heard.
#[must_use]
pub fn first_audible(samples: &[i16], rate: SampleRate) -> Option<usize> {
    let window = window_length(rate);
    let (index, loud) = samples.chunks(window).enumerate().find(|(_, window)| is_loud(window))?;
    let within = loud.iter().position(reaches_threshold).unwrap_or(0);
    Some(index * window + within)
}

/// The index of the last sample that can be heard.
#[must_use]
pub fn last_audible(samples: &[i16], rate: SampleRate) -> Option<usize> {
    let window = window_length(rate);
    let (index, loud) = samples.chunks(window).enumerate().rfind(|(_, window)| is_loud(window))?;
    let within = loud.iter().rposition(reaches_threshold).unwrap_or(0);
    Some(index * window + within)
}

/// How many samples there are until the last word has ended: behind it, nothing is loud for 15 ms. What follows the samples
/// is taken for silence.
#[must_use]
pub fn word_end(samples: &[i16], rate: SampleRate) -> Option<usize> {
    let window = word_window(rate);
    let least = i64::from(THRESHOLD).pow(2) * window as i64;
    // Mostly nothing is said, and then all of it together is less than one window of a word.
    if sum_of_squares(samples) < least.cast_unsigned() {
        return None;
    }
    let mut energy = 0;
    for (index, sample) in samples.iter().enumerate().rev() {
        energy += square(*sample) - samples.get(index + window).copied().map_or(0, square);
        if energy >= least {
            return Some(index + 1);
        }
    }
    None
}

/// Follows a stream to the ends of its words.
#[derive(Clone)]
pub struct WordEnds {
    rate: SampleRate,
    /// Where a window may begin that goes on in what comes next.
    before: Vec<i16>,
}

impl WordEnds {
    /// For a stream at `rate`.
    #[must_use]
    pub const fn new(rate: SampleRate) -> Self {
        Self { rate, before: Vec::new() }
    }

    /// Takes the next samples. How many lie behind the end of the last word, if that was less than a window before them; never
    /// an earlier end than was told before.
    pub fn hear(&mut self, samples: &[i16]) -> Option<usize> {
        self.before.extend_from_slice(samples);
        let behind = word_end(&self.before, self.rate).map(|end| self.before.len() - end);
        let kept = word_window(self.rate) - 1;
        self.before.drain(..self.before.len().saturating_sub(kept));
        behind
    }
}

/// Shows the rate only: samples must never reach a log.
impl fmt::Debug for WordEnds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WordEnds").field("rate", &self.rate).finish_non_exhaustive()
    }
}

/// Those of two samples fit 32 bits, and in pairs the processor adds up several at once.
fn sum_of_squares(samples: &[i16]) -> u64 {
    let square = |sample: i16| i32::from(sample).pow(2).cast_unsigned();
    let (pairs, rest) = samples.as_chunks::<2>();
    let pairs: u64 = pairs.iter().map(|[one, other]| u64::from(square(*one) + square(*other))).sum();
    pairs + rest.iter().map(|sample| u64::from(square(*sample))).sum::<u64>()
}

fn word_window(rate: SampleRate) -> usize {
    (rate.hz() as usize * WORD_WINDOW_MS / 1_000).max(1)
}

fn square(sample: i16) -> i64 {
    i64::from(sample).pow(2)
}

fn window_length(rate: SampleRate) -> usize {
    (rate.hz() as usize / WINDOWS_PER_SECOND).max(1)
}

fn reaches_threshold(sample: &i16) -> bool {
    i32::from(*sample).abs() >= THRESHOLD
}

fn is_loud(window: &[i16]) -> bool {
    let energy: i64 = window.iter().copied().map(square).sum();
    !window.is_empty() && energy >= i64::from(THRESHOLD).pow(2) * window.len() as i64
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: SampleRate = SampleRate::HZ_24000;

    #[test]
    fn silence_and_a_single_click_are_not_heard() {
        let mut samples = vec![0_i16; 2_400];
        assert_eq!(first_audible(&samples, RATE), None);
        samples[1_000] = 1_000;
        assert_eq!(first_audible(&samples, RATE), None);
        assert_eq!(last_audible(&samples, RATE), None);
    }

    #[test]
    fn a_sound_is_found_to_the_sample_at_both_ends() {
        let mut samples = vec![0_i16; 2_400];
        samples[601..1_700].fill(-2_000);
        assert_eq!(first_audible(&samples, RATE), Some(601));
        assert_eq!(last_audible(&samples, RATE), Some(1_699));
    }

    #[test]
    fn squares_add_up_exactly_whatever_the_samples_and_however_many() {
        assert_eq!(sum_of_squares(&[i16::MIN; 3]), 3 << 30);
        let samples: Vec<i16> =
            (0..301).map(|number: i32| (number * 7_919 % 65_536 - 32_768) as i16).collect();
        for length in [0, 1, 2, 300, 301] {
            let wanted: i64 = samples[..length].iter().map(|sample| i64::from(*sample).pow(2)).sum();
            assert_eq!(sum_of_squares(&samples[..length]), wanted.cast_unsigned(), "{length}");
        }
    }

    #[test]
    fn a_loud_word_ends_with_its_last_sample_and_a_click_is_no_word() {
        let mut samples = vec![0_i16; 2_400];
        samples[1_000] = 3_000;
        assert_eq!(word_end(&samples, RATE), None);
        samples[601..1_700].fill(-2_000);
        let end = word_end(&samples, RATE).unwrap();
        assert!((1_696..=1_700).contains(&end), "{end}");
        assert_eq!(word_end(&samples[..1_700], RATE), Some(end), "silence follows what is known");
    }

    #[test]
    fn a_voice_that_dies_away_ends_at_the_same_place_at_every_rate_and_a_little_louder_or_softer() {
        // 110 Hz, 0.4 dB less each millisecond.
        let ends = |rate: SampleRate, gain: f64| {
            let at = |index: usize| index as f64 / f64::from(rate.hz());
            let voice =
                |t: f64| 8_000.0 * gain * (t * 110.0 * std::f64::consts::TAU).sin() * (-46.0 * t).exp();
            let samples: Vec<i16> =
                (0..rate.hz() as usize / 2).map(|index| voice(at(index)) as i16).collect();
            at(word_end(&samples, rate).unwrap())
        };
        let usual = ends(SampleRate::HZ_48000, 1.0);
        for rate in [SampleRate::HZ_16000, SampleRate::HZ_24000] {
            assert!((ends(rate, 1.0) - usual).abs() < 0.000_5, "{rate:?}");
        }
        for gain in [0.95, 1.05] {
            let apart = ends(SampleRate::HZ_24000, gain) - usual;
            assert!(apart.abs() < 0.003, "{gain}: {apart} s");
        }
    }

    #[test]
    fn a_stream_is_followed_to_the_same_ends_whatever_its_pieces() {
        let samples: Vec<i16> =
            (0..9_600).map(|index| if index % 4_000 < 1_234 { 3_000 } else { 40 }).collect();
        for length in [1, 7, 480, 481, 9_600] {
            let mut words = WordEnds::new(RATE);
            let (mut taken, mut end) = (0, None);
            for piece in samples.chunks(length) {
                taken += piece.len();
                end = words.hear(piece).map(|behind| taken - behind).or(end);
                assert_eq!(end, word_end(&samples[..taken], RATE), "pieces of {length}, until {taken}");
            }
        }
    }
}
