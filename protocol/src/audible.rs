//! Where a stretch of samples can be heard.
//!
//! The same rule finds the last word of a question and the first sound of an answer, so that the two ends of a
//! mouth-to-ear time mean the same thing.

use crate::audio::SampleRate;

/// -46 dBFS: below quiet speech, above what Opus makes of digital silence.
const THRESHOLD: i32 = 164;

/// 5 ms: long enough that one stray sample is not a sound, short against every hop that is measured.
const WINDOWS_PER_SECOND: usize = 200;

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

fn window_length(rate: SampleRate) -> usize {
    (rate.hz() as usize / WINDOWS_PER_SECOND).max(1)
}

fn reaches_threshold(sample: &i16) -> bool {
    i32::from(*sample).abs() >= THRESHOLD
}

fn is_loud(window: &[i16]) -> bool {
    let energy: i64 = window.iter().map(|sample| i64::from(*sample).pow(2)).sum();
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
}
