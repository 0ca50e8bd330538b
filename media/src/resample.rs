//! Streaming conversion between sample rates.

use std::collections::VecDeque;
use std::fmt;
use std::time::Duration;

use rubato::audioadapter_buffers::direct::InterleavedSlice;
use rubato::{Fft, FixedSync, Resampler as _, WindowFunction};
use thiserror::Error;
use voxgate_protocol::audio::{SampleCount, SampleRate};

/// Two rates whose shortest common block is longer than this have no ratio a call could use.
const MAX_BLOCK: Duration = Duration::from_millis(50);

/// The pushes of a call are multiples of this, so blocks that divide it leave nothing waiting.
const PUSH: Duration = Duration::from_millis(20);

/// Why two rates cannot be converted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ResampleError {
    /// Their ratio needs blocks too long for a conversation.
    #[error("no low-delay conversion from {from} Hz to {to} Hz")]
    Ratio {
        /// Input rate in Hz.
        from: u32,
        /// Output rate in Hz.
        to: u32,
    },
}

/// Converts one mono stream. Pushes may have any length; what does not fill a block waits for the next push.
pub struct Resampler {
    from: SampleRate,
    to: SampleRate,
    engine: Option<Engine>,
}

struct Engine {
    fft: Fft<f32>,
    waiting: VecDeque<i16>,
    input: Vec<f32>,
    output: Vec<f32>,
    pushed: u64,
    produced: u64,
}

impl fmt::Debug for Resampler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Resampler").field("from", &self.from).field("to", &self.to).finish_non_exhaustive()
    }
}

impl Resampler {
    /// A converter between two rates; equal rates pass through unchanged.
    ///
    /// # Errors
    ///
    /// [`ResampleError::Ratio`] if the rates have no useful common divisor, such as 44 100 and 47 999 Hz.
    pub fn new(from: SampleRate, to: SampleRate) -> Result<Self, ResampleError> {
        if from == to {
            return Ok(Self { from, to, engine: None });
        }
        let refused = ResampleError::Ratio { from: from.hz(), to: to.hz() };
        let block = block_length(from, to).ok_or(refused)?;
        let fft = Fft::new_custom(
            from.hz() as usize,
            to.hz() as usize,
            block,
            1,
            1,
            WindowFunction::BlackmanHarris2,
            FixedSync::Both,
        )
        .map_err(|_| refused)?;
        let (input, output) = (vec![0.0; fft.input_frames_max()], vec![0.0; fft.output_frames_max()]);
        let engine = Engine { fft, waiting: VecDeque::new(), input, output, pushed: 0, produced: 0 };
        Ok(Self { from, to, engine: Some(engine) })
    }

    /// Converts samples and returns what is complete.
    pub fn push(&mut self, samples: &[i16]) -> Vec<i16> {
        let Some(engine) = &mut self.engine else { return samples.to_vec() };
        engine.pushed += samples.len() as u64;
        engine.waiting.extend(samples);
        let mut converted =
            Vec::with_capacity(engine.waiting.len() * engine.output.len() / engine.input.len());
        while engine.waiting.len() >= engine.input.len() {
            engine.convert_block(&mut converted);
        }
        converted
    }

    /// Returns the rest of the stream, so that all output together sounds as long as all input plus
    /// [`Resampler::delay`], and starts a new stream.
    pub fn flush(&mut self) -> Vec<i16> {
        let delay = self.delay_samples();
        let Some(engine) = &mut self.engine else { return Vec::new() };
        let whole = engine.pushed * u64::from(self.to.hz()) / u64::from(self.from.hz()) + delay;
        let missing = whole.saturating_sub(engine.produced) as usize;
        let mut converted = Vec::with_capacity(missing);
        while converted.len() < missing {
            engine.waiting.resize(engine.waiting.len().max(engine.input.len()), 0);
            engine.convert_block(&mut converted);
        }
        converted.truncate(missing);
        engine.fft.reset();
        engine.waiting.clear();
        (engine.pushed, engine.produced) = (0, 0);
        converted
    }

    /// How much later a sound is in the output than in the input: 5 ms between the rates of speech.
    #[must_use]
    pub fn delay(&self) -> Duration {
        SampleCount(self.delay_samples()).duration_at(self.to)
    }

    fn delay_samples(&self) -> u64 {
        self.engine.as_ref().map_or(0, |engine| engine.fft.output_delay() as u64)
    }
}

impl Engine {
    fn convert_block(&mut self, converted: &mut Vec<i16>) {
        let block = self.input.len();
        for (slot, sample) in self.input.iter_mut().zip(self.waiting.drain(..block)) {
            *slot = f32::from(sample);
        }
        self.output.fill(0.0);
        let capacity = self.output.len();
        if let Ok(input) = InterleavedSlice::new(&self.input, 1, block)
            && let Ok(mut output) = InterleavedSlice::new_mut(&mut self.output, 1, capacity)
        {
            // Both buffers have the lengths the converter asked for, which is all it checks.
            let _ = self.fft.process_into_buffer(&input, &mut output, None);
        }
        converted.extend(self.output.iter().map(|sample| sample.round() as i16));
        self.produced += self.output.len() as u64;
    }
}

/// Input samples per block. Longer blocks filter better and delay more (half a block): the target is 5 ms from 24 kHz
/// on and 10 ms below, where 5 ms would cut into the consonants.
fn block_length(from: SampleRate, to: SampleRate) -> Option<usize> {
    let divisor = greatest_common_divisor(from.hz(), to.hz());
    let unit = u64::from(from.hz() / divisor);
    if unit > from.samples_in(MAX_BLOCK).0 {
        return None;
    }
    let slower = from.min(to);
    let target =
        if slower < SampleRate::HZ_24000 { Duration::from_millis(10) } else { Duration::from_millis(5) };
    let target = from.samples_in(target).0;
    let push = from.samples_in(PUSH).0;
    let dividing = (1..=push / unit).rev().map(|count| count * unit);
    let block = dividing.into_iter().find(|&block| block <= target && push.is_multiple_of(block));
    Some(block.unwrap_or(unit) as usize)
}

const fn greatest_common_divisor(mut a: u32, mut b: u32) -> u32 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rate(hz: u32) -> SampleRate {
        SampleRate::new(hz).unwrap()
    }

    fn tone(hz: f64, rate: u32, samples: usize) -> Vec<i16> {
        (0..samples)
            .map(|n| (10_000.0 * (std::f64::consts::TAU * hz * n as f64 / f64::from(rate)).sin()) as i16)
            .collect()
    }

    #[test]
    fn pushes_of_any_length_give_the_same_samples_as_one_push() {
        for (from, to) in
            [(16_000, 24_000), (24_000, 16_000), (22_050, 24_000), (48_000, 22_050), (48_000, 44_100)]
        {
            let input = tone(440.0, from, from as usize);
            let mut whole = Resampler::new(rate(from), rate(to)).unwrap();
            let mut expected = whole.push(&input);
            expected.extend(whole.flush());
            let mut pieces = Resampler::new(rate(from), rate(to)).unwrap();
            let mut got = Vec::new();
            let mut rest = input.as_slice();
            let mut length = 1;
            while !rest.is_empty() {
                let (piece, after) = rest.split_at(length.min(rest.len()));
                got.extend(pieces.push(piece));
                rest = after;
                length = length * 7 % 997 + 1;
            }
            got.extend(pieces.flush());
            assert!(got == expected, "{from} to {to}");
            let delay = (whole.delay().as_secs_f64() * f64::from(to)).round() as usize;
            assert_eq!(got.len(), to as usize + delay, "{from} to {to}");
        }
    }

    #[test]
    fn a_tone_keeps_its_place_and_its_loudness() {
        for (from, to) in [(16_000, 24_000), (24_000, 16_000), (22_050, 24_000), (48_000, 22_050)] {
            let mut resampler = Resampler::new(rate(from), rate(to)).unwrap();
            let delay = resampler.delay_samples() as usize;
            assert!(resampler.delay() <= Duration::from_millis(5), "{from} to {to}: {:?}", resampler.delay());
            let output = resampler.push(&tone(200.0, from, from as usize));
            let expected = tone(200.0, to, to as usize / 2);
            let off = |n: usize| (i32::from(output[n + delay]) - i32::from(expected[n])).abs();
            // The filter of an odd block is centred between two samples: half a sample of 200 Hz is 300 of 10 000.
            let worst = (1_000..expected.len() - 1_000).map(off).max().unwrap();
            assert!(worst < 320, "{from} to {to}: off by {worst}");
            let mut resampler = Resampler::new(rate(from), rate(to)).unwrap();
            let output = resampler.push(&tone(3_000.0, from, from as usize));
            let squares = output[1_000..].iter().map(|&sample| f64::from(sample).powi(2)).sum::<f64>();
            let amplitude = (2.0 * squares / (output.len() - 1_000) as f64).sqrt();
            assert!((9_700.0..10_300.0).contains(&amplitude), "{from} to {to}: amplitude {amplitude}");
        }
    }

    #[test]
    fn whole_pushes_of_twenty_milliseconds_leave_nothing_waiting() {
        for (from, to) in
            [(16_000, 24_000), (24_000, 16_000), (22_050, 24_000), (48_000, 22_050), (24_000, 48_000)]
        {
            let mut resampler = Resampler::new(rate(from), rate(to)).unwrap();
            assert_eq!(
                resampler.push(&vec![0; from as usize / 50]).len(),
                to as usize / 50,
                "{from} to {to}"
            );
        }
    }

    #[test]
    fn equal_rates_pass_through_and_odd_ratios_are_refused() {
        let mut same = Resampler::new(rate(16_000), rate(16_000)).unwrap();
        assert_eq!(same.push(&[1, 2, 3]), [1, 2, 3]);
        assert_eq!(same.delay(), Duration::ZERO);
        let refused = Resampler::new(rate(44_100), rate(47_999)).unwrap_err();
        assert_eq!(refused, ResampleError::Ratio { from: 44_100, to: 47_999 });
    }

    #[test]
    fn a_full_scale_square_wave_is_clipped_and_does_not_wrap() {
        let square: Vec<i16> =
            (0..4_800).map(|n| if n / 60 % 2 == 0 { i16::MAX } else { i16::MIN }).collect();
        let mut resampler = Resampler::new(rate(24_000), rate(16_000)).unwrap();
        let output = resampler.push(&square);
        // Half way through a level the filter's ringing has settled: a wrapped sample would have the other sign.
        let delay = resampler.delay_samples() as usize;
        for level in 10..40 {
            let middle = output[delay + level * 40 + 20];
            assert_eq!(middle > 0, level % 2 == 0, "level {level}: {middle}");
        }
    }
}
