//! PCM to Opus packets of 20 ms.

use std::fmt;
use std::time::Duration;

use thiserror::Error;
use voxgate_protocol::audio::SampleRate;

/// The length of every packet.
pub const FRAME: Duration = Duration::from_millis(20);

/// The RTP ticks of every packet (RFC 7587 section 4.1).
pub const FRAME_TICKS: u32 = 960;

/// How much later a decoder puts a sample out than the encoder took it in, with libopus in any mode but the one for
/// restricted delay (2.5 ms): what every browser and nearly every other client sends.
pub const OPUS_LOOK_AHEAD: Duration = Duration::from_micros(6_500);

/// An Opus packet without audio: the TOC byte of one 20 ms SILK wide-band mono frame (configuration 9, code 0) and
/// no frame data. RFC 6716 section 3.2.1 gives the empty frame its meaning, "deliberately not transmitted"; sent once
/// at the end of a talkspurt it lets the receiver's NetEQ expect silence instead of loss (RFC 7587 section 3.1.3).
pub const DTX_FRAME: [u8; 1] = [9 << 3];

/// The largest packet libopus writes for one frame (RFC 6716 section 3.2.1).
const MAX_PACKET: usize = 1_275;

/// How to encode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EncoderConfig {
    /// Target in bits per second. Default 32 000.
    pub bitrate: u32,
    /// 0 to 10: more is better sound for more CPU. Default 5.
    pub complexity: u8,
    /// Whether packets repeat their predecessor for the case of loss. Default true; costs about 35 % more CPU.
    pub fec: bool,
    /// The loss the redundancy is sized for, 0 to 100. Default 10.
    pub expected_loss_percent: u8,
}

impl Default for EncoderConfig {
    fn default() -> Self {
        Self { bitrate: 32_000, complexity: 5, fec: true, expected_loss_percent: 10 }
    }
}

/// Why nothing was encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum EncodeError {
    /// Opus encodes at 8, 12, 16, 24 and 48 kHz only.
    #[error("Opus does not encode at {0} Hz")]
    Rate(u32),
    /// The samples are not exactly 20 ms.
    #[error("a frame has {expected} samples, not {got}")]
    FrameLength {
        /// 20 ms at the encoder's rate.
        expected: usize,
        /// What was given.
        got: usize,
    },
    /// libopus refused a setting or failed.
    #[error("Opus encoder: {0}")]
    Opus(&'static str),
}

/// The encoder of one stream.
pub struct Encoder {
    opus: opus::Encoder,
    rate: SampleRate,
}

impl fmt::Debug for Encoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Encoder").field("rate", &self.rate).finish_non_exhaustive()
    }
}

fn opus_error(error: opus::Error) -> EncodeError {
    EncodeError::Opus(error.code().description())
}

impl Encoder {
    /// An encoder for mono speech.
    ///
    /// # Errors
    ///
    /// [`EncodeError::Rate`] if the rate is not native to Opus, [`EncodeError::Opus`] if a setting is out of range.
    pub fn new(input_rate: SampleRate, config: EncoderConfig) -> Result<Self, EncodeError> {
        if !input_rate.is_native_to_opus() {
            return Err(EncodeError::Rate(input_rate.hz()));
        }
        let opus = opus::Encoder::new(input_rate.hz(), opus::Channels::Mono, opus::Application::Voip)
            .map_err(opus_error)?;
        let mut encoder = Self { opus, rate: input_rate };
        encoder.opus.set_signal(opus::Signal::Voice).map_err(opus_error)?;
        encoder.configure(config)?;
        Ok(encoder)
    }

    /// Changes the settings from the next frame on.
    ///
    /// # Errors
    ///
    /// [`EncodeError::Opus`] if a setting is out of range.
    pub fn configure(&mut self, config: EncoderConfig) -> Result<(), EncodeError> {
        let bits = i32::try_from(config.bitrate).map_err(|_| EncodeError::Opus("bit rate out of range"))?;
        self.opus.set_bitrate(opus::Bitrate::Bits(bits)).map_err(opus_error)?;
        self.opus.set_complexity(i32::from(config.complexity)).map_err(opus_error)?;
        self.opus.set_inband_fec(config.fec).map_err(opus_error)?;
        self.opus.set_packet_loss_perc(i32::from(config.expected_loss_percent)).map_err(opus_error)
    }

    /// A talk spurt begins with the next frame, which is to hold nothing of the one before: neither what the coder looks ahead nor
    /// redundancy of the frame before, which a receiver takes for a lost one and plays.
    ///
    /// # Errors
    ///
    /// [`EncodeError::Opus`] if libopus fails.
    pub fn begin_talkspurt(&mut self) -> Result<(), EncodeError> {
        self.opus.reset_state().map_err(opus_error)
    }

    /// Encodes exactly 20 ms.
    ///
    /// # Errors
    ///
    /// [`EncodeError::FrameLength`] for any other length, [`EncodeError::Opus`] if libopus fails.
    pub fn encode(&mut self, samples: &[i16]) -> Result<Vec<u8>, EncodeError> {
        let expected = self.rate.samples_in(FRAME).0 as usize;
        if samples.len() != expected {
            return Err(EncodeError::FrameLength { expected, got: samples.len() });
        }
        self.opus.encode_vec(samples, MAX_PACKET).map_err(opus_error)
    }

    /// How much later the decoder's output is than the encoder's input.
    ///
    /// # Errors
    ///
    /// [`EncodeError::Opus`] if libopus does not tell.
    pub fn lookahead(&mut self) -> Result<Duration, EncodeError> {
        let samples = self.opus.get_lookahead().map_err(opus_error)?;
        Ok(voxgate_protocol::audio::SampleCount(samples.max(0) as u64).duration_at(self.rate))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode::{Decoder, carries_redundancy, packet_ticks};

    #[test]
    fn every_native_rate_makes_one_packet_of_twenty_milliseconds() {
        for hz in [8_000, 12_000, 16_000, 24_000, 48_000] {
            let rate = SampleRate::new(hz).unwrap();
            let mut encoder = Encoder::new(rate, EncoderConfig::default()).unwrap();
            let packet = encoder.encode(&vec![0; hz as usize / 50]).unwrap();
            assert_eq!(packet_ticks(&packet), Some(FRAME_TICKS));
            assert_eq!(encoder.lookahead().unwrap(), OPUS_LOOK_AHEAD);
        }
    }

    #[test]
    fn other_rates_and_lengths_are_refused() {
        let odd = SampleRate::new(22_050).unwrap();
        assert_eq!(Encoder::new(odd, EncoderConfig::default()).unwrap_err(), EncodeError::Rate(22_050));
        let mut encoder = Encoder::new(SampleRate::HZ_24000, EncoderConfig::default()).unwrap();
        assert_eq!(encoder.encode(&[0; 479]), Err(EncodeError::FrameLength { expected: 480, got: 479 }));
    }

    #[test]
    fn a_talk_spurt_begins_with_nothing_of_the_one_before() {
        let rate = SampleRate::HZ_24000;
        let tone: Vec<i16> =
            (0..480).map(|index| ((f64::from(index) * 0.1).sin() * 12_000.0) as i16).collect();
        let loudest = |begins: bool| {
            let mut encoder = Encoder::new(rate, EncoderConfig::default()).unwrap();
            for _ in 0..20 {
                encoder.encode(&tone).unwrap();
            }
            if begins {
                encoder.begin_talkspurt().unwrap();
            }
            let silence = encoder.encode(&[0; 480]).unwrap();
            let samples = Decoder::new(rate).unwrap().decode(&silence).unwrap();
            (carries_redundancy(&silence), samples.iter().map(|sample| sample.unsigned_abs()).max().unwrap())
        };
        assert!(loudest(false).1 > 1_000, "a coder that goes on is still in the tone");
        let (has_redundancy, loudest) = loudest(true);
        assert!(!has_redundancy && loudest < 10, "{has_redundancy} {loudest}");
    }

    #[test]
    fn a_setting_out_of_range_is_an_error() {
        let config = EncoderConfig { complexity: 11, ..EncoderConfig::default() };
        assert!(matches!(Encoder::new(SampleRate::HZ_24000, config), Err(EncodeError::Opus(_))));
    }
}
