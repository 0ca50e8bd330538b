//! How likely the caller is speaking and how loud it is, sixteen milliseconds at a time.

use std::fmt;
use std::time::Duration;

use voxgate_protocol::audio::{SampleCount, SampleRate};

use crate::resample::{ResampleError, Resampler};

/// The length of a frame.
pub const VOICE_FRAME: Duration = Duration::from_millis(16);

/// The detector's rate.
const RATE: SampleRate = SampleRate::HZ_16000;

/// Samples of a frame at the detector's rate.
const FRAME_SAMPLES: usize = 256;

/// The pole of the filter before the levels: a corner at 150 Hz, above hum and rumble and below most of a voice.
const POLE: f32 = 0.94;

/// The level of digital silence, in dB relative to full scale.
pub const SILENCE_DBFS: f32 = -100.0;

/// The verdict on one frame.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct VoiceFrame {
    /// Where the frame ends, in input samples from the start of the stream.
    pub end: SampleCount,
    /// How likely it is speech, 0 to 1. Rises about 30 ms after a voice begins, and falls slowly for 150 ms after it ended.
    pub probability: f32,
    /// The root mean square level of its first and its second half, hum and rumble left out, in dB relative to full scale,
    /// [`SILENCE_DBFS`] at the least. Without delay.
    pub halves: [f32; 2],
}

/// A first order high-pass filter.
#[derive(Clone, Copy, Debug, Default)]
struct HighPass {
    input: f32,
    output: f32,
}

impl HighPass {
    fn level_dbfs(&mut self, samples: &[i16]) -> f32 {
        let mut sum = 0.0;
        for sample in samples {
            let input = f32::from(*sample) / 32_768.0;
            self.output = input - self.input + POLE * self.output;
            self.input = input;
            sum += self.output * self.output;
        }
        (10.0 * (sum / samples.len() as f32).log10()).max(SILENCE_DBFS)
    }
}

/// The detector of one stream.
pub struct VoiceActivity {
    detector: Box<earshot::Detector>,
    input_rate: SampleRate,
    resampler: Resampler,
    delay: u64,
    filter: HighPass,
    waiting: Vec<i16>,
    frames: u64,
}

impl fmt::Debug for VoiceActivity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VoiceActivity")
            .field("input_rate", &self.input_rate)
            .field("frames", &self.frames)
            .finish_non_exhaustive()
    }
}

impl VoiceActivity {
    /// A detector for samples of the given rate; it hears them at 16 kHz.
    ///
    /// # Errors
    ///
    /// [`ResampleError`] if the rate does not convert to 16 kHz.
    pub fn new(input_rate: SampleRate) -> Result<Self, ResampleError> {
        let resampler = Resampler::new(input_rate, RATE)?;
        let delay = RATE.samples_in(resampler.delay()).0;
        let detector = earshot::Detector::default_boxed();
        let (filter, waiting) = (HighPass::default(), Vec::new());
        Ok(Self { detector, input_rate, resampler, delay, filter, waiting, frames: 0 })
    }

    /// Hears samples and returns the verdict on each frame they complete.
    pub fn push(&mut self, samples: &[i16]) -> Vec<VoiceFrame> {
        self.waiting.extend(self.resampler.push(samples));
        let complete = self.waiting.len() / FRAME_SAMPLES * FRAME_SAMPLES;
        let mut verdicts = Vec::with_capacity(complete / FRAME_SAMPLES);
        for frame in self.waiting[..complete].chunks_exact(FRAME_SAMPLES) {
            self.frames += 1;
            let heard = (self.frames * FRAME_SAMPLES as u64).saturating_sub(self.delay);
            let end = heard * u64::from(self.input_rate.hz()) / u64::from(RATE.hz());
            let probability = self.detector.predict_i16(frame).clamp(0.0, 1.0);
            let (first, second) = frame.split_at(FRAME_SAMPLES / 2);
            let halves = [first, second].map(|half| self.filter.level_dbfs(half));
            verdicts.push(VoiceFrame { end: SampleCount(end), probability, halves });
        }
        self.waiting.drain(..complete);
        verdicts
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::speech_fixture::speech_at;

    #[test]
    fn speech_is_heard_at_every_rate_and_silence_is_not() {
        for hz in [8_000, 16_000, 22_050, 24_000, 48_000] {
            let rate = SampleRate::new(hz).unwrap();
            let mut voice = VoiceActivity::new(rate).unwrap();
            let before = voice.push(&vec![0; hz as usize]);
            let during = voice.push(&speech_at(rate).samples);
            let after = voice.push(&vec![0; hz as usize * 2]);
            let speaking = |frames: &[VoiceFrame]| frames.iter().filter(|f| f.probability > 0.5).count();
            assert_eq!(speaking(&before), 0, "{hz}");
            assert!(
                speaking(&during) * 10 > during.len() * 5,
                "{hz}: {}/{}",
                speaking(&during),
                during.len()
            );
            assert!(speaking(&after) < 12, "{hz}: {}", speaking(&after));
        }
    }

    #[test]
    fn frames_end_every_sixteen_milliseconds_of_input() {
        let mut voice = VoiceActivity::new(SampleRate::HZ_24000).unwrap();
        let mut frames = Vec::new();
        for length in [1, 479, 480, 960, 100, 23_000] {
            frames.extend(voice.push(&vec![0; length]));
        }
        assert!(frames.windows(2).all(|pair| pair[1].end.0 - pair[0].end.0 == 384));
        assert!(frames.last().unwrap().end.0 <= 25_020);
        assert!(frames.last().unwrap().end.0 > 25_020 - 2 * 384);
    }

    #[test]
    fn levels_follow_the_sound_at_once_and_leave_out_what_is_no_voice() {
        let tone = |hz: f32, samples: usize| -> Vec<i16> {
            let radians = std::f32::consts::TAU * hz / 16_000.0;
            (0..samples).map(|index| (16_384.0 * (radians * index as f32).sin()) as i16).collect()
        };
        let levels = |samples: &[i16]| -> Vec<f32> {
            let frames = VoiceActivity::new(SampleRate::HZ_16000).unwrap().push(samples);
            frames.into_iter().flat_map(|frame| frame.halves).collect()
        };
        let mut sound = vec![0; 384];
        sound.extend(tone(1_000.0, 768));
        sound.extend([0; 1_408]);
        let heard = levels(&sound);
        let loud = |level: &f32| (-9.5..-8.5).contains(level);
        assert!(heard[..3].iter().all(|level| *level == SILENCE_DBFS), "{heard:?}");
        assert!(heard[3..9].iter().all(loud), "half of full scale is 6 dB, a sine 3 dB more: {heard:?}");
        assert!(heard[9..].iter().all(|level| *level < -25.0), "{heard:?}");
        assert!(levels(&tone(50.0, 4_096))[8..].iter().all(|level| *level < -17.0));
        assert!(levels(&[i16::MAX; 4_096])[8..].iter().all(|level| *level < -60.0), "an offset is no sound");
    }

    #[test]
    fn the_same_samples_give_the_same_verdicts() {
        let speech = speech_at(SampleRate::HZ_24000).samples;
        let mut whole = VoiceActivity::new(SampleRate::HZ_24000).unwrap();
        let mut pieces = VoiceActivity::new(SampleRate::HZ_24000).unwrap();
        let in_pieces: Vec<_> = speech.chunks(317).flat_map(|piece| pieces.push(piece)).collect();
        let at_once = whole.push(&speech);
        assert_eq!(at_once[..in_pieces.len()], in_pieces[..]);
    }
}
