//! A piece of audio that can be recognised on its way back.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// Samples of a piece: 20 ms at 24 kHz, as clients of the API send them.
pub const SAMPLES: usize = 480;

/// Begins a stamp. Nothing else in a piece is this loud.
const MARK: [i16; 4] = [32_001, -32_003, 32_007, -32_009];

/// A piece with this number, as the API carries it: base64 of little-endian 16-bit samples.
///
/// The number stands in the audio itself, because a gateway that understands audio may cut it anew; one that changes a
/// sample is found out.
#[must_use]
pub fn write(number: u32) -> String {
    // 15 bits to a sample, so that no number looks like the mark.
    let low = i16::try_from(number & 0x3fff).unwrap_or_default();
    let high = i16::try_from((number >> 14) & 0x3fff).unwrap_or_default();
    let stamp = MARK.into_iter().chain([low, high]);
    let quiet = (0_i16..).map(|index| (index % 37) * 11 - 200);
    let bytes: Vec<u8> = stamp.chain(quiet).take(SAMPLES).flat_map(i16::to_le_bytes).collect();
    STANDARD.encode(bytes)
}

/// The numbers of the pieces whose stamps are in this audio, in their order.
#[must_use]
pub fn read(audio: &str) -> Vec<u32> {
    let bytes = STANDARD.decode(audio).unwrap_or_default();
    let samples: Vec<i16> =
        bytes.chunks_exact(2).map(|pair| i16::from_le_bytes([pair[0], pair[1]])).collect();
    let stamps = samples.windows(MARK.len() + 2).filter(|window| window.starts_with(&MARK));
    let part = |sample: i16| u32::try_from(sample).unwrap_or_default();
    stamps.map(|stamp| part(stamp[MARK.len()]) | part(stamp[MARK.len() + 1]) << 14).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_recognised_however_they_are_cut() {
        let numbers = [0, 1, 16_383, 16_384, 5_000_000];
        let bytes: Vec<u8> =
            numbers.iter().flat_map(|number| STANDARD.decode(write(*number)).unwrap()).collect();
        assert_eq!(bytes.len(), numbers.len() * SAMPLES * 2);
        assert_eq!(read(&STANDARD.encode(&bytes)), numbers);
        assert_eq!(read(&STANDARD.encode(&bytes[300..])), numbers[1..]);
    }

    #[test]
    fn audio_that_was_changed_is_not_recognised() {
        let mut bytes = STANDARD.decode(write(7)).unwrap();
        bytes[2] ^= 1;
        assert!(read(&STANDARD.encode(&bytes)).is_empty() && read("not base64!").is_empty());
    }
}
