//! Opus packets to PCM, with repair of lost packets.

use std::fmt;

use thiserror::Error;
use voxgate_protocol::audio::SampleRate;

use crate::jitter::RTP_CLOCK_HZ;

/// The longest Opus packet in 48 kHz ticks: 120 ms (RFC 6716 section 3.2.5).
const MAX_PACKET_TICKS: u32 = 5_760;

/// The granularity of what libopus conceals, in 48 kHz ticks: 2.5 ms.
pub const DECODER_STEP_TICKS: u32 = 120;

/// Why a packet was not decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum DecodeError {
    /// Opus decodes at 8, 12, 16, 24 and 48 kHz only.
    #[error("Opus does not decode at {0} Hz")]
    Rate(u32),
    /// The bytes are not an Opus packet.
    #[error("not a valid Opus packet")]
    Corrupt,
    /// libopus could not allocate a decoder.
    #[error("no Opus decoder available")]
    Unavailable,
}

/// The decoder of one stream. Stereo packets come out as mono.
pub struct Decoder {
    opus: opus::Decoder,
    rate: SampleRate,
}

impl fmt::Debug for Decoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Decoder").field("rate", &self.rate).finish_non_exhaustive()
    }
}

impl Decoder {
    /// A decoder whose output has the given rate.
    ///
    /// # Errors
    ///
    /// [`DecodeError::Rate`] if the rate is not native to Opus, [`DecodeError::Unavailable`] without memory.
    pub fn new(rate: SampleRate) -> Result<Self, DecodeError> {
        if !rate.is_native_to_opus() {
            return Err(DecodeError::Rate(rate.hz()));
        }
        let opus =
            opus::Decoder::new(rate.hz(), opus::Channels::Mono).map_err(|_| DecodeError::Unavailable)?;
        Ok(Self { opus, rate })
    }

    /// Decodes one packet. A packet of one byte sounds as concealment of the length its TOC byte says: that is how
    /// DTX is marked (RFC 6716 section 3.2.1).
    ///
    /// # Errors
    ///
    /// [`DecodeError::Corrupt`] if libopus refuses the bytes; the decoder stays usable.
    pub fn decode(&mut self, packet: &[u8]) -> Result<Vec<i16>, DecodeError> {
        if packet.is_empty() {
            return Err(DecodeError::Corrupt);
        }
        let mut samples = vec![0; self.samples(MAX_PACKET_TICKS)];
        let decoded = self.opus.decode(packet, &mut samples, false).map_err(|_| DecodeError::Corrupt)?;
        samples.truncate(decoded);
        Ok(samples)
    }

    /// The last `ticks` (48 kHz) in front of `next`, from the redundancy `next` carries; concealed where it has none.
    pub fn recover(&mut self, next: &[u8], ticks: u32) -> Vec<i16> {
        self.fill(next, ticks)
    }

    /// Conceals `ticks` (48 kHz) for which nothing is known. The sound fades within about 60 ms.
    pub fn conceal(&mut self, ticks: u32) -> Vec<i16> {
        self.fill(&[], ticks)
    }

    /// Always returns the asked length: what libopus does not deliver is silence.
    fn fill(&mut self, packet: &[u8], ticks: u32) -> Vec<i16> {
        let ticks = ticks.min(MAX_PACKET_TICKS);
        let whole = self.samples(ticks / DECODER_STEP_TICKS * DECODER_STEP_TICKS);
        let mut samples = vec![0; self.samples(ticks)];
        if whole > 0 && self.opus.decode(packet, &mut samples[..whole], !packet.is_empty()).is_err() {
            samples.fill(0);
        }
        samples
    }

    fn samples(&self, ticks: u32) -> usize {
        (u64::from(ticks) * u64::from(self.rate.hz()) / u64::from(RTP_CLOCK_HZ)) as usize
    }
}

/// How much audio a packet carries in 48 kHz ticks, from its TOC byte and frame count (RFC 6716 section 3.1);
/// `None` if it is not an Opus packet.
#[must_use]
pub fn packet_ticks(packet: &[u8]) -> Option<u32> {
    if packet.is_empty() {
        return None;
    }
    let ticks = opus::packet::get_nb_samples(packet, RTP_CLOCK_HZ).ok()?;
    u32::try_from(ticks).ok().filter(|&ticks| (1..=MAX_PACKET_TICKS).contains(&ticks))
}

/// Whether a packet carries a redundant copy of the audio in front of it: the LBRR flag of the first SILK frame
/// (RFC 6716 sections 4.2.3 and 4.2.4).
#[must_use]
pub fn carries_redundancy(packet: &[u8]) -> bool {
    let Ok(parsed) = opus::packet::parse(packet) else { return false };
    let configuration = parsed.toc >> 3;
    // Configurations from 16 on are CELT, which has no redundancy.
    if configuration >= 16 {
        return false;
    }
    let Some(&flags) = parsed.frames.first().and_then(|frame| frame.first()) else { return false };
    let silk_frames = match configuration {
        0..12 if configuration % 4 == 2 => 2,
        0..12 if configuration % 4 == 3 => 3,
        _ => 1,
    };
    let mid = flags >> (7 - silk_frames) & 1 == 1;
    let stereo = parsed.toc & 0b100 != 0;
    let side = stereo && flags >> (6 - 2 * silk_frames) & 1 == 1;
    mid || side
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encode::{DTX_FRAME, Encoder, EncoderConfig};
    use crate::speech_fixture::speech_at;

    fn packets(fec: bool) -> Vec<Vec<u8>> {
        let config = EncoderConfig { fec, expected_loss_percent: 15, ..EncoderConfig::default() };
        let mut encoder = Encoder::new(SampleRate::HZ_16000, config).unwrap();
        let speech = speech_at(SampleRate::HZ_16000);
        speech.samples.chunks_exact(320).map(|frame| encoder.encode(frame).unwrap()).collect()
    }

    #[test]
    fn every_native_rate_decodes_to_twenty_milliseconds() {
        for hz in [8_000, 12_000, 16_000, 24_000, 48_000] {
            let mut decoder = Decoder::new(SampleRate::new(hz).unwrap()).unwrap();
            assert_eq!(decoder.decode(&packets(false)[0]).unwrap().len(), hz as usize / 50);
        }
        assert!(matches!(Decoder::new(SampleRate::new(22_050).unwrap()), Err(DecodeError::Rate(22_050))));
    }

    #[test]
    fn redundancy_is_seen_only_where_the_encoder_put_it() {
        let with = packets(true).iter().filter(|packet| carries_redundancy(packet)).count();
        assert!(with > 50, "{with}");
        assert_eq!(packets(false).iter().filter(|packet| carries_redundancy(packet)).count(), 0);
        assert!(!carries_redundancy(&[]));
        assert!(!carries_redundancy(&DTX_FRAME));
    }

    #[test]
    fn the_dtx_frame_is_twenty_milliseconds_that_fade_to_silence() {
        assert_eq!(packet_ticks(&DTX_FRAME), Some(960));
        let mut decoder = Decoder::new(SampleRate::HZ_48000).unwrap();
        for packet in packets(false).iter().take(40) {
            decoder.decode(packet).unwrap();
        }
        let mut last = Vec::new();
        for _ in 0..25 {
            last = decoder.decode(&DTX_FRAME).unwrap();
            assert_eq!(last.len(), 960);
        }
        let peak = last.iter().map(|sample| sample.unsigned_abs()).max().unwrap();
        assert!(peak < 200, "{peak}");
    }

    #[test]
    fn concealment_has_the_asked_length_even_between_two_steps() {
        let mut decoder = Decoder::new(SampleRate::HZ_24000).unwrap();
        assert_eq!(decoder.conceal(960).len(), 480);
        assert_eq!(decoder.conceal(1_000).len(), 500);
        assert_eq!(decoder.conceal(60).len(), 30);
        assert_eq!(decoder.recover(&packets(true)[60], 960).len(), 480);
    }
}
