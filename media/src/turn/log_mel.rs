//! The input of models that hear speech as Whisper does: a log-mel spectrogram.
//!
//! The figures are those of the Whisper feature extractor (Radford et al., "Robust Speech Recognition via Large-Scale Weak
//! Supervision", section 2.2) with normalised samples, as models of the Smart Turn family are trained with: 16 kHz, Hann
//! windows of 25 ms every 10 ms, 80 mel bands of the Slaney scale up to 8 kHz, the logarithm to base 10 of the power, not
//! more than 8 below the loudest, then (x + 4) / 4.

use std::fmt;
use std::sync::Arc;

use voxgate_fourier::spectrum::{self, Complex, RealToComplex};
use voxgate_protocol::audio::SampleRate;

/// The rate of the samples.
pub const LOG_MEL_RATE: SampleRate = SampleRate::HZ_16000;

/// Mel bands.
pub const LOG_MEL_BANDS: usize = 80;

/// Samples from one frame to the next.
pub const LOG_MEL_HOP: usize = 160;

/// Samples of a window.
const WINDOW: usize = 400;

/// The least power that counts.
const FLOOR: f64 = 1e-10;

/// Keeps silence from being divided by zero.
const LEAST_VARIANCE: f64 = 1e-7;

/// How far below the loudest anything counts, in powers of ten.
const RANGE: f64 = 8.0;

/// Computes the spectrogram of the end of what was said.
pub struct LogMel {
    frames: usize,
    transform: Arc<dyn RealToComplex<f32>>,
    window: Vec<f64>,
    bands: Vec<Band>,
}

/// A triangle over the bins of the transform.
struct Band {
    first: usize,
    weights: Vec<f64>,
}

impl fmt::Debug for LogMel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LogMel").field("frames", &self.frames).finish_non_exhaustive()
    }
}

impl LogMel {
    /// Spectrograms of so many frames, at least three.
    #[must_use]
    pub fn new(frames: usize) -> Self {
        let hann = |n: usize| 0.5 - 0.5 * (std::f64::consts::TAU * n as f64 / WINDOW as f64).cos();
        Self {
            frames: frames.max(3),
            transform: spectrum::forward(WINDOW),
            window: (0..WINDOW).map(hann).collect(),
            bands: bands(),
        }
    }

    /// Samples that are heard.
    #[must_use]
    pub const fn samples(&self) -> usize {
        self.frames * LOG_MEL_HOP
    }

    /// The spectrogram of the last of these samples, taken at [`LOG_MEL_RATE`], with silence in front if there are fewer:
    /// [`LOG_MEL_BANDS`] rows, the lowest first, of one figure for each frame.
    #[must_use]
    pub fn spectrogram(&self, speech: &[i16]) -> Vec<f32> {
        let samples = mirrored(&normalised(&last(speech, self.samples())), WINDOW / 2);
        let mut rows = vec![0.0; LOG_MEL_BANDS * self.frames];
        let mut frame = self.transform.make_input_vec();
        let mut spectrum = self.transform.make_output_vec();
        let mut scratch = self.transform.make_scratch_vec();
        for index in 0..self.frames {
            let heard = &samples[index * LOG_MEL_HOP..][..WINDOW];
            for ((slot, sample), weight) in frame.iter_mut().zip(heard).zip(&self.window) {
                *slot = (sample * weight) as f32;
            }
            // All three have the lengths the transform asked for, which is all it checks.
            let _ = self.transform.process_with_scratch(&mut frame, &mut spectrum, &mut scratch);
            for (row, band) in self.bands.iter().enumerate() {
                rows[row * self.frames + index] = band.power(&spectrum).max(FLOOR).log10();
            }
        }
        let loudest = rows.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        rows.iter().map(|figure| ((figure.max(loudest - RANGE) + 4.0) / 4.0) as f32).collect()
    }
}

impl Band {
    fn power(&self, spectrum: &[Complex<f32>]) -> f64 {
        self.weights
            .iter()
            .zip(&spectrum[self.first..])
            .map(|(weight, bin)| weight * f64::from(bin.norm_sqr()))
            .sum()
    }
}

/// The last samples, with silence in front.
fn last(speech: &[i16], count: usize) -> Vec<f64> {
    let heard = &speech[speech.len().saturating_sub(count)..];
    let silence = std::iter::repeat_n(0.0, count - heard.len());
    silence.chain(heard.iter().map(|sample| f64::from(*sample) / 32_768.0)).collect()
}

/// With a mean of zero and a variance of one.
fn normalised(samples: &[f64]) -> Vec<f64> {
    let count = samples.len() as f64;
    let mean = samples.iter().sum::<f64>() / count;
    let variance = samples.iter().map(|sample| (sample - mean).powi(2)).sum::<f64>() / count;
    let scale = (variance + LEAST_VARIANCE).sqrt();
    samples.iter().map(|sample| (sample - mean) / scale).collect()
}

/// With its beginning and its end mirrored to both sides, so that the first and the last frame are whole.
fn mirrored(samples: &[f64], beyond: usize) -> Vec<f64> {
    let before = samples.iter().skip(1).take(beyond).rev();
    let after = samples.iter().rev().skip(1).take(beyond);
    before.chain(samples).chain(after).copied().collect()
}

fn bands() -> Vec<Band> {
    let nyquist = f64::from(LOG_MEL_RATE.hz()) / 2.0;
    let step = mel(nyquist) / (LOG_MEL_BANDS + 1) as f64;
    let edge = |index: usize| hertz(step * index as f64);
    let bin_width = f64::from(LOG_MEL_RATE.hz()) / WINDOW as f64;
    let band = |index: usize| {
        let (low, middle, high) = (edge(index), edge(index + 1), edge(index + 2));
        // Every band has the same area.
        let height = 2.0 / (high - low);
        let weight = |bin: usize| {
            let at = bin as f64 * bin_width;
            ((at - low) / (middle - low)).min((high - at) / (high - middle)).max(0.0) * height
        };
        let first = (low / bin_width).floor() as usize;
        let end = ((high / bin_width).ceil() as usize).min(WINDOW / 2) + 1;
        Band { first, weights: (first..end).map(weight).collect() }
    };
    (0..LOG_MEL_BANDS).map(band).collect()
}

/// Where the Slaney scale turns from even steps to even factors, in hertz and in mel.
const TURN_HERTZ: f64 = 1_000.0;
const TURN_MEL: f64 = 15.0;

/// One mel below the turn, in hertz.
const MEL_HERTZ: f64 = 200.0 / 3.0;

/// The logarithm of one mel above it: 27 of them make a factor of 6.4.
fn mel_factor() -> f64 {
    6.4_f64.ln() / 27.0
}

fn mel(hertz: f64) -> f64 {
    if hertz < TURN_HERTZ { hertz / MEL_HERTZ } else { TURN_MEL + (hertz / TURN_HERTZ).ln() / mel_factor() }
}

fn hertz(mel: f64) -> f64 {
    if mel < TURN_MEL { mel * MEL_HERTZ } else { TURN_HERTZ * ((mel - TURN_MEL) * mel_factor()).exp() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::speech_fixture::speech_at;

    /// Lines of row, frame and figure: what `load-tests/python/test_end_of_turn.py` takes from the reference.
    const REFERENCE: &str = include_str!("../../tests/data/log-mel.txt");

    #[test]
    fn the_spectrogram_of_a_sentence_is_that_of_the_reference() {
        let log_mel = LogMel::new(800);
        let rows = log_mel.spectrogram(&speech_at(LOG_MEL_RATE).samples);
        assert_eq!(rows.len(), 80 * 800);
        let mut lines = 0;
        for line in REFERENCE.lines().filter(|line| !line.starts_with('#')) {
            let mut words = line.split_whitespace();
            let (row, frame): (usize, usize) =
                (words.next().unwrap().parse().unwrap(), words.next().unwrap().parse().unwrap());
            let figure: f32 = words.next().unwrap().parse().unwrap();
            let got = rows[row * 800 + frame];
            assert!(
                (got - figure).abs() < 1e-4,
                "band {row}, frame {frame}: {got}, the reference has {figure}"
            );
            lines += 1;
        }
        assert!(lines >= 200, "{lines}");
    }

    #[test]
    fn silence_has_the_least_figure_everywhere_and_any_length_is_taken() {
        let log_mel = LogMel::new(100);
        for length in [0, 1, 159, 16_000, 40_000] {
            let rows = log_mel.spectrogram(&vec![0; length]);
            assert_eq!(rows.len(), 8_000);
            assert!(rows.iter().all(|figure| (figure + 1.5).abs() < 1e-6), "{length}");
        }
    }

    #[test]
    fn a_tone_is_loudest_in_its_own_band_and_only_the_end_is_heard() {
        let tone = |hertz: f64, count: usize| -> Vec<i16> {
            (0..count)
                .map(|n| (8_000.0 * (std::f64::consts::TAU * hertz * n as f64 / 16_000.0).sin()) as i16)
                .collect()
        };
        let log_mel = LogMel::new(100);
        let loudest = |rows: &[f32]| {
            (0..LOG_MEL_BANDS).max_by(|a, b| rows[a * 100 + 50].total_cmp(&rows[b * 100 + 50])).unwrap()
        };
        let low = log_mel.spectrogram(&tone(300.0, 16_000));
        let high = log_mel.spectrogram(&tone(5_000.0, 16_000));
        assert!(loudest(&low) < 12 && loudest(&high) > 60, "{} {}", loudest(&low), loudest(&high));
        let both = [tone(300.0, 50_000), tone(5_000.0, 16_000)].concat();
        assert_eq!(log_mel.spectrogram(&both), high);
    }
}
