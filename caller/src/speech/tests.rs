use std::io::Cursor;

use hound::{WavSpec, WavWriter};

use super::*;

fn wav<S: hound::Sample + Copy>(spec: WavSpec, samples: &[S]) -> Cursor<Vec<u8>> {
    let mut file = Cursor::new(Vec::new());
    let mut writer = WavWriter::new(&mut file, spec).unwrap();
    for sample in samples {
        writer.write_sample(*sample).unwrap();
    }
    writer.finalize().unwrap();
    Cursor::new(file.into_inner())
}

fn read<S: hound::Sample + Copy>(spec: WavSpec, samples: &[S]) -> Result<Speech, SpeechError> {
    Speech::from_wav(WavReader::new(wav(spec, samples)).unwrap())
}

const fn int(channels: u16, sample_rate: u32) -> WavSpec {
    WavSpec { channels, sample_rate, bits_per_sample: 16, sample_format: SampleFormat::Int }
}

fn tone(rate: u32, hz: f64, seconds: f64) -> Vec<i16> {
    let count = (f64::from(rate) * seconds) as usize;
    let step = std::f64::consts::TAU * hz / f64::from(rate);
    (0..count).map(|index| ((step * index as f64).sin() * 10_000.0) as i16).collect()
}

fn cycles_per_second(speech: &Speech) -> f64 {
    let rising = speech.samples().windows(2).filter(|pair| pair[0] < 0 && pair[1] >= 0).count();
    rising as f64 / speech.duration().as_secs_f64()
}

#[test]
fn a_48_khz_mono_file_is_taken_as_it_is() {
    let samples = tone(48_000, 440.0, 0.1);
    assert_eq!(read(int(1, 48_000), &samples).unwrap().samples(), samples);
}

#[test]
fn every_common_rate_keeps_its_length_and_its_pitch() {
    for rate in [8_000, 11_025, 16_000, 22_050, 24_000, 32_000, 44_100, 96_000] {
        let speech = read(int(1, rate), &tone(rate, 440.0, 1.0)).unwrap();
        assert!(speech.samples().len().abs_diff(48_000) <= 2, "{rate}: {}", speech.samples().len());
        assert!((cycles_per_second(&speech) - 440.0).abs() < 2.0, "{rate}: {}", cycles_per_second(&speech));
        let loudest = speech.samples()[4_800..43_200].iter().map(|sample| sample.abs()).max().unwrap();
        assert!((9_500..10_500).contains(&loudest), "{rate}: {loudest}");
    }
}

#[test]
fn stereo_is_mixed_to_the_mean_of_both_sides() {
    let speech = read(int(2, 48_000), &[1_000_i16, 3_000, -500, -1_500]).unwrap();
    assert_eq!(speech.samples(), [2_000, -1_000]);
}

#[test]
fn float_samples_are_scaled_and_clipped() {
    let spec = WavSpec { bits_per_sample: 32, sample_format: SampleFormat::Float, ..int(1, 48_000) };
    let speech = read(spec, &[0.5_f32, -0.25, 2.0, f32::NAN]).unwrap();
    assert_eq!(speech.samples(), [16_384, -8_192, 32_767, 0]);
}

#[test]
fn wider_integers_keep_their_level() {
    let spec = WavSpec { bits_per_sample: 24, ..int(1, 48_000) };
    assert_eq!(read(spec, &[1_i32 << 22, -(1 << 21)]).unwrap().samples(), [16_384, -8_192]);
}

#[test]
fn the_last_word_ends_before_the_silence_of_the_file() {
    let mut samples = tone(48_000, 300.0, 0.5);
    samples.extend(std::iter::repeat_n(0, 48_000));
    let last_word = Speech::from_samples(samples).last_word().unwrap().0;
    assert!((23_900..24_000).contains(&last_word), "{last_word}");
    assert_eq!(Speech::from_samples(vec![0; 960]).last_word(), None);
}

#[test]
fn files_nobody_can_say_are_refused_with_the_reason() {
    assert!(matches!(read::<i16>(int(1, 48_000), &[]), Err(SpeechError::Empty)));
    assert!(matches!(read(int(1, 4_000), &[1_i16]), Err(SpeechError::Rate(4_000))));
    assert!(matches!(read(int(9, 48_000), &[0_i16; 9]), Err(SpeechError::Channels(9))));
    let eleven_minutes = vec![0_i16; 8_000 * 660];
    assert!(matches!(read(int(1, 8_000), &eleven_minutes), Err(SpeechError::TooLong)));
    let missing = Speech::read_wav(Path::new("no-such-file.wav")).unwrap_err();
    assert!(missing.to_string().starts_with("it is not a readable WAV file"), "{missing}");
}
