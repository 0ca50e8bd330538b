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
