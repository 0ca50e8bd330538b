//! Sample rates, sample counts and PCM.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Samples per second of one mono channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "u32", into = "u32")]
pub struct SampleRate(u32);

/// A number that is no rate of any voice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateOutOfRange(u32);

impl std::fmt::Display for RateOutOfRange {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} Hz is not between 8000 and 48000 Hz", self.0)
    }
}

impl std::error::Error for RateOutOfRange {}

impl TryFrom<u32> for SampleRate {
    type Error = RateOutOfRange;

    fn try_from(hz: u32) -> Result<Self, RateOutOfRange> {
        Self::new(hz).ok_or(RateOutOfRange(hz))
    }
}

impl From<SampleRate> for u32 {
    fn from(rate: SampleRate) -> Self {
        rate.0
    }
}

impl SampleRate {
    /// 8 kHz: G.711 and narrow-band telephony.
    pub const HZ_8000: Self = Self(8_000);
    /// 16 kHz: voice activity, recognisers, Gemini Live input.
    pub const HZ_16000: Self = Self(16_000);
    /// 24 kHz: the PCM rate of the OpenAI Realtime API.
    pub const HZ_24000: Self = Self(24_000);
    /// 48 kHz: the RTP clock of Opus (RFC 7587 section 4.1).
    pub const HZ_48000: Self = Self(48_000);

    /// Accepts 8 000 to 48 000 Hz, the range between telephony and full-band Opus.
    #[must_use]
    pub const fn new(hz: u32) -> Option<Self> {
        if hz >= 8_000 && hz <= 48_000 { Some(Self(hz)) } else { None }
    }

    /// Samples per second.
    #[must_use]
    pub const fn hz(self) -> u32 {
        self.0
    }

    /// Whether Opus decodes and encodes at this rate without a resampler (RFC 6716 section 2.1.3).
    #[must_use]
    pub const fn is_native_to_opus(self) -> bool {
        matches!(self.0, 8_000 | 12_000 | 16_000 | 24_000 | 48_000)
    }

    /// How many whole samples fit into a duration.
    #[must_use]
    pub const fn samples_in(self, duration: Duration) -> SampleCount {
        SampleCount((duration.as_nanos() * self.0 as u128 / 1_000_000_000) as u64)
    }
}

/// A number of samples of one mono channel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct SampleCount(pub u64);

impl SampleCount {
    /// How long these samples sound at a rate.
    #[must_use]
    pub const fn duration_at(self, rate: SampleRate) -> Duration {
        Duration::from_nanos((self.0 as u128 * 1_000_000_000 / rate.0 as u128) as u64)
    }
}

impl std::ops::Add for SampleCount {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}

impl std::ops::AddAssign for SampleCount {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

/// Mono signed 16-bit samples at a rate.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pcm {
    /// Samples per second.
    pub rate: SampleRate,
    /// The samples, oldest first.
    #[serde(with = "samples")]
    pub samples: Vec<i16>,
}

/// Samples in a text: little-endian bytes as base64, or the number of samples if all of them are silent.
mod samples {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use serde::de::Error as _;
    use serde::{Deserialize, Deserializer, Serialize as _, Serializer};

    /// Silence longer than this is refused: more than any answer, less than any memory.
    const MOST_SILENCE: u32 = 48_000 * 3_600;

    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Written {
        Silent(u32),
        Coded(String),
    }

    pub(super) fn serialize<S: Serializer>(samples: &[i16], serializer: S) -> Result<S::Ok, S::Error> {
        if samples.iter().all(|sample| *sample == 0) {
            return samples.len().serialize(serializer);
        }
        let bytes: Vec<u8> = samples.iter().flat_map(|sample| sample.to_le_bytes()).collect();
        STANDARD.encode(bytes).serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<i16>, D::Error> {
        match Written::deserialize(deserializer)? {
            Written::Silent(count) if count > MOST_SILENCE => Err(D::Error::custom("too much silence")),
            Written::Silent(count) => Ok(vec![0; count as usize]),
            Written::Coded(text) => {
                let bytes = STANDARD.decode(text).map_err(|_| D::Error::custom("samples are not base64"))?;
                Ok(bytes.chunks_exact(2).map(|pair| i16::from_le_bytes([pair[0], pair[1]])).collect())
            }
        }
    }
}

impl Pcm {
    /// Silence of a given length.
    #[must_use]
    pub fn silence(rate: SampleRate, duration: Duration) -> Self {
        Self { rate, samples: vec![0; rate.samples_in(duration).0 as usize] }
    }

    /// Reads little-endian bytes, the order of every PCM wire format voxgate speaks. An odd last byte is left
    /// out.
    #[must_use]
    pub fn from_le_bytes(rate: SampleRate, bytes: &[u8]) -> Self {
        let mut samples = vec![0; bytes.len() / 2];
        for (sample, pair) in samples.iter_mut().zip(bytes.chunks_exact(2)) {
            *sample = i16::from_le_bytes([pair[0], pair[1]]);
        }
        Self { rate, samples }
    }

    /// Writes little-endian bytes.
    #[must_use]
    pub fn to_le_bytes(&self) -> Vec<u8> {
        let mut bytes = vec![0; self.samples.len() * 2];
        for (pair, sample) in bytes.chunks_exact_mut(2).zip(&self.samples) {
            pair.copy_from_slice(&sample.to_le_bytes());
        }
        bytes
    }

    /// The number of samples.
    #[must_use]
    pub fn len(&self) -> SampleCount {
        SampleCount(self.samples.len() as u64)
    }

    /// Whether there is no sample.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.samples.is_empty()
    }

    /// How long it sounds.
    #[must_use]
    pub fn duration(&self) -> Duration {
        self.len().duration_at(self.rate)
    }
}

/// Shows the length only: samples must never reach a log.
impl std::fmt::Debug for Pcm {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Pcm({} samples at {} Hz)", self.samples.len(), self.rate.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_and_durations_convert_both_ways() {
        let twenty = Duration::from_millis(20);
        assert_eq!(SampleRate::HZ_24000.samples_in(twenty), SampleCount(480));
        assert_eq!(SampleCount(480).duration_at(SampleRate::HZ_24000), twenty);
    }

    #[test]
    fn a_debug_print_never_shows_a_sample() {
        let pcm = Pcm { rate: SampleRate::HZ_8000, samples: vec![12_345, -321] };
        assert_eq!(format!("{pcm:?}"), "Pcm(2 samples at 8000 Hz)");
    }

    #[test]
    fn samples_survive_being_written_down_and_silence_stays_short() {
        let speech = Pcm { rate: SampleRate::HZ_8000, samples: vec![12_345, -321, 0] };
        let text = serde_json::to_string(&speech).unwrap();
        assert!(serde_json::from_str::<Pcm>(&text).unwrap() == speech);
        let silence = Pcm::silence(SampleRate::HZ_24000, Duration::from_secs(1));
        let text = serde_json::to_string(&silence).unwrap();
        assert_eq!(text, r#"{"rate":24000,"samples":24000}"#);
        assert!(serde_json::from_str::<Pcm>(&text).unwrap() == silence);
        assert!(serde_json::from_str::<Pcm>(r#"{"rate":0,"samples":1}"#).is_err());
        assert!(serde_json::from_str::<Pcm>(r#"{"rate":8000,"samples":4000000000}"#).is_err());
    }

    #[test]
    fn an_odd_byte_at_the_end_is_left_out() {
        let pcm = Pcm::from_le_bytes(SampleRate::HZ_24000, &[1, 0, 2, 0, 9]);
        assert_eq!(pcm.samples, [1, 2]);
    }
}
