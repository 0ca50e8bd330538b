//! What an answer sounds like.

use std::f64::consts::TAU;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, ensure};

/// Samples per second of the wire.
pub const RATE: u32 = 24_000;

/// Length of the marker at the head of an answer.
pub const MARKER: Duration = Duration::from_millis(200);

/// The melody: four notes, a quarter of a second each, clearly apart from every marker.
const NOTES_HZ: [f64; 4] = [262.0, 330.0, 392.0, 523.0];
const NOTE_SAMPLES: usize = 6_000;
const AMPLITUDE: f64 = 8_000.0;

/// The sound of an answer at 24 kHz.
#[derive(Clone, Debug)]
pub enum AnswerAudio {
    /// A melody of pure tones.
    Tones {
        /// Its length.
        length: Duration,
        /// Whether the first 200 ms are a tone of [`marker_hz`], so that a test knows which answer it hears.
        marked: bool,
    },
    /// Recorded samples at 24 kHz.
    Samples(Arc<[i16]>),
}

impl Default for AnswerAudio {
    fn default() -> Self {
        Self::Tones { length: Duration::from_secs(3), marked: false }
    }
}

impl AnswerAudio {
    /// Reads a mono 16-bit WAV file at 24 kHz.
    ///
    /// # Errors
    /// The file cannot be read or has another format.
    pub fn from_wav(path: &Path) -> anyhow::Result<Self> {
        let shown = path.display();
        let mut reader = hound::WavReader::open(path).with_context(|| format!("cannot read {shown}"))?;
        let spec = reader.spec();
        ensure!(
            spec.channels == 1 && spec.sample_rate == RATE && spec.bits_per_sample == 16,
            "{shown} must be mono, 16 bit, {RATE} Hz"
        );
        let samples: Result<Arc<[i16]>, _> = reader.samples::<i16>().collect();
        Ok(Self::Samples(samples.with_context(|| format!("cannot read the samples of {shown}"))?))
    }

    /// The samples of the answer with this number, counted from 1.
    #[must_use]
    pub fn samples(&self, number: u32) -> Arc<[i16]> {
        match self {
            Self::Samples(samples) => Arc::clone(samples),
            Self::Tones { length, marked } => {
                let marker = if *marked { samples_in(MARKER) } else { 0 };
                (0..samples_in(*length))
                    .map(|index| {
                        let hz = if index < marker {
                            marker_hz(number)
                        } else {
                            NOTES_HZ[index / NOTE_SAMPLES % NOTES_HZ.len()]
                        };
                        let phase = TAU * hz * index as f64 / f64::from(RATE);
                        (phase.sin() * AMPLITUDE) as i16
                    })
                    .collect()
            }
        }
    }
}

/// The tone that marks the answer with this number: 1000 to 2950 Hz in steps of 50 Hz, repeating after 40.
#[must_use]
pub fn marker_hz(number: u32) -> f64 {
    1_000.0 + 50.0 * f64::from(number % 40)
}

/// Whole samples in a duration.
#[must_use]
pub fn samples_in(duration: Duration) -> usize {
    (duration.as_micros() * u128::from(RATE) / 1_000_000) as usize
}

/// Whole milliseconds of a number of samples.
#[must_use]
pub const fn milliseconds(samples: u64) -> u64 {
    samples * 1_000 / RATE as u64
}
