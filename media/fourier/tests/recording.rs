//! What a whole recording becomes at another rate.

use voxgate_fourier::recording::convert;
use voxgate_protocol::audio::SampleRate;

#[test]
fn a_recording_keeps_its_length_and_its_place() {
    for hz in [8_000_u32, 22_050, 44_100, 48_000, 192_000] {
        let mut recording = vec![0.0; hz as usize];
        recording[hz as usize / 2] = 1.0;
        let converted = convert(&recording, hz, SampleRate::HZ_48000).unwrap();
        assert!(converted.len().abs_diff(48_000) <= 1, "{hz} Hz: {} samples", converted.len());
        let loudest = (0..converted.len()).max_by(|a, b| converted[*a].total_cmp(&converted[*b])).unwrap();
        assert!(loudest.abs_diff(24_000) <= 1, "{hz} Hz: the click is at {loudest}");
    }
    convert(&[0.0], 0, SampleRate::HZ_48000).unwrap_err();
}
