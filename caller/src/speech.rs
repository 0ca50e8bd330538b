//! What the caller says: 48 kHz mono, ready for the encoder.

use std::io::Read;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use hound::{SampleFormat, WavReader};
use voxgate_fourier::recording::{self, RecordingError};
use voxgate_protocol::audio::{Pcm, SampleCount, SampleRate};

use crate::audible::word_end;

/// The rate at which a caller encodes.
pub const SPEECH_RATE: SampleRate = SampleRate::HZ_48000;

/// Longer files are refused: a question is short, and a wrong file should not fill the memory.
const LONGEST: Duration = Duration::from_secs(600);

/// Rates that sound cards and speech synthesisers use.
const FILE_RATES: std::ops::RangeInclusive<u32> = 8_000..=192_000;

const MOST_CHANNELS: u16 = 8;

/// Why a file is not something a caller can say.
#[derive(Debug, thiserror::Error)]
pub enum SpeechError {
    /// The file is missing, unreadable, or not RIFF/WAVE with PCM or float samples.
    #[error("it is not a readable WAV file ({0})")]
    Unreadable(#[from] hound::Error),
    /// Outside 8 to 192 kHz.
    #[error("it has {0} samples per second, and 8000 to 192000 are possible")]
    Rate(u32),
    /// No channel, or more than eight.
    #[error("it has {0} channels, and 1 to 8 are possible")]
    Channels(u16),
    /// Longer than ten minutes.
    #[error("it is longer than {} minutes", LONGEST.as_secs() / 60)]
    TooLong,
    /// Nothing in it.
    #[error("it holds no samples")]
    Empty,
    /// The resampler does not take this pair of rates.
    #[error("it cannot be converted from {rate} to 48000 samples per second ({reason})")]
    Resample {
        /// Samples per second of the file.
        rate: u32,
        /// What the resampler says.
        #[source]
        reason: RecordingError,
    },
}

/// Something to say. Cloning shares the samples, so many callers can say the same.
#[derive(Clone)]
pub struct Speech {
    samples: Arc<[i16]>,
    last_word: Option<usize>,
}

impl Speech {
    /// Speech from samples at [`SPEECH_RATE`].
    #[must_use]
    pub fn from_samples(samples: Vec<i16>) -> Self {
        let last_word = word_end(&samples, SPEECH_RATE).map(|end| end - 1);
        Self { samples: samples.into(), last_word }
    }

    /// Reads a WAV file: 8 to 32 bit or float, 8 to 192 kHz, up to eight channels (mixed to one), up to ten
    /// minutes.
    ///
    /// # Errors
    /// Every variant of [`SpeechError`].
    pub fn read_wav(path: &Path) -> Result<Self, SpeechError> {
        Self::from_wav(WavReader::open(path)?)
    }

    /// Reads a WAV from any source; see [`Speech::read_wav`].
    ///
    /// # Errors
    /// Every variant of [`SpeechError`].
    pub fn from_wav<R: Read>(mut wav: WavReader<R>) -> Result<Self, SpeechError> {
        let spec = wav.spec();
        if !FILE_RATES.contains(&spec.sample_rate) {
            return Err(SpeechError::Rate(spec.sample_rate));
        }
        if spec.channels == 0 || spec.channels > MOST_CHANNELS {
            return Err(SpeechError::Channels(spec.channels));
        }
        if u64::from(wav.duration()) > LONGEST.as_secs() * u64::from(spec.sample_rate) {
            return Err(SpeechError::TooLong);
        }
        let interleaved: Vec<f32> = match spec.sample_format {
            SampleFormat::Float => wav.samples::<f32>().collect::<Result<_, _>>()?,
            SampleFormat::Int => {
                let full_scale = 2_f32.powi(i32::from(spec.bits_per_sample) - 1);
                let scaled = wav.samples::<i32>().map(|sample| sample.map(|value| value as f32 / full_scale));
                scaled.collect::<Result<_, _>>()?
            }
        };
        let channels = usize::from(spec.channels);
        let mono: Vec<f32> = interleaved
            .chunks_exact(channels)
            .map(|frame| frame.iter().sum::<f32>() / channels as f32)
            .collect();
        if mono.is_empty() {
            return Err(SpeechError::Empty);
        }
        let rate = spec.sample_rate;
        let samples = recording::convert(&mono, rate, SPEECH_RATE)
            .map_err(|reason| SpeechError::Resample { rate, reason })?;
        Ok(Self::from_samples(samples.into_iter().map(to_i16).collect()))
    }

    /// The samples at [`SPEECH_RATE`].
    #[must_use]
    pub fn samples(&self) -> &[i16] {
        &self.samples
    }

    /// The same as PCM.
    #[must_use]
    pub fn to_pcm(&self) -> Pcm {
        Pcm { rate: SPEECH_RATE, samples: self.samples.to_vec() }
    }

    /// How long it takes to say.
    #[must_use]
    pub fn duration(&self) -> Duration {
        SampleCount(self.samples.len() as u64).duration_at(SPEECH_RATE)
    }

    /// How many samples lie before the last one that can be heard; nothing if all of it is silence.
    #[must_use]
    pub fn last_word(&self) -> Option<SampleCount> {
        self.last_word.map(|index| SampleCount(index as u64))
    }
}

/// Shows the length only: samples must never reach a log.
impl std::fmt::Debug for Speech {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Speech({:?})", self.duration())
    }
}

/// Clips; a float file may exceed full scale, and not-a-number becomes silence.
fn to_i16(sample: f32) -> i16 {
    (sample * 32_768.0).round() as i16
}

#[cfg(test)]
mod tests;
