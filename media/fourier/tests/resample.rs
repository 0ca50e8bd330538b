//! What a stream becomes at another rate.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::Duration;

use voxgate_fourier::resample::{ResampleError, Resampler};
use voxgate_protocol::audio::SampleRate;

fn rate(hz: u32) -> SampleRate {
    SampleRate::new(hz).unwrap()
}

fn samples(delay: Duration, rate: u32) -> usize {
    (delay.as_secs_f64() * f64::from(rate)).round() as usize
}

fn tone(hz: f64, rate: u32, samples: usize) -> Vec<i16> {
    (0..samples)
        .map(|n| (10_000.0 * (std::f64::consts::TAU * hz * n as f64 / f64::from(rate)).sin()) as i16)
        .collect()
}

#[test]
fn pushes_of_any_length_give_the_same_samples_as_one_push() {
    for (from, to) in
        [(16_000, 24_000), (24_000, 16_000), (22_050, 24_000), (48_000, 22_050), (48_000, 44_100)]
    {
        let input = tone(440.0, from, from as usize);
        let mut whole = Resampler::new(rate(from), rate(to)).unwrap();
        let mut expected = whole.push(&input);
        expected.extend(whole.flush());
        let mut pieces = Resampler::new(rate(from), rate(to)).unwrap();
        let mut got = Vec::new();
        let mut rest = input.as_slice();
        let mut length = 1;
        while !rest.is_empty() {
            let (piece, after) = rest.split_at(length.min(rest.len()));
            got.extend(pieces.push(piece));
            rest = after;
            length = length * 7 % 997 + 1;
        }
        got.extend(pieces.flush());
        assert!(got == expected, "{from} to {to}");
        let delay = samples(whole.delay(), to);
        assert_eq!(got.len(), to as usize + delay, "{from} to {to}");
    }
}

#[test]
fn a_tone_keeps_its_place_and_its_loudness() {
    for (from, to) in [(16_000, 24_000), (24_000, 16_000), (22_050, 24_000), (48_000, 22_050)] {
        let mut resampler = Resampler::new(rate(from), rate(to)).unwrap();
        let delay = samples(resampler.delay(), to);
        assert!(resampler.delay() <= Duration::from_millis(5), "{from} to {to}: {:?}", resampler.delay());
        let output = resampler.push(&tone(200.0, from, from as usize));
        let expected = tone(200.0, to, to as usize / 2);
        let off = |n: usize| (i32::from(output[n + delay]) - i32::from(expected[n])).abs();
        // The filter of an odd block is centred between two samples: half a sample of 200 Hz is 300 of 10 000.
        let worst = (1_000..expected.len() - 1_000).map(off).max().unwrap();
        assert!(worst < 320, "{from} to {to}: off by {worst}");
        let mut resampler = Resampler::new(rate(from), rate(to)).unwrap();
        let output = resampler.push(&tone(3_000.0, from, from as usize));
        let squares = output[1_000..].iter().map(|&sample| f64::from(sample).powi(2)).sum::<f64>();
        let amplitude = (2.0 * squares / (output.len() - 1_000) as f64).sqrt();
        assert!((9_700.0..10_300.0).contains(&amplitude), "{from} to {to}: amplitude {amplitude}");
    }
}

#[test]
fn whole_pushes_of_twenty_milliseconds_leave_nothing_waiting() {
    for (from, to) in
        [(16_000, 24_000), (24_000, 16_000), (22_050, 24_000), (48_000, 22_050), (24_000, 48_000)]
    {
        let mut resampler = Resampler::new(rate(from), rate(to)).unwrap();
        assert_eq!(resampler.push(&vec![0; from as usize / 50]).len(), to as usize / 50, "{from} to {to}");
    }
}

#[test]
fn equal_rates_pass_through_and_odd_ratios_are_refused() {
    let mut same = Resampler::new(rate(16_000), rate(16_000)).unwrap();
    assert_eq!(same.push(&[1, 2, 3]), [1, 2, 3]);
    assert_eq!(same.delay(), Duration::ZERO);
    let refused = Resampler::new(rate(44_100), rate(47_999)).unwrap_err();
    assert_eq!(refused, ResampleError::Ratio { from: 44_100, to: 47_999 });
}

#[test]
fn a_full_scale_square_wave_is_clipped_and_does_not_wrap() {
    let square: Vec<i16> = (0..4_800).map(|n| if n / 60 % 2 == 0 { i16::MAX } else { i16::MIN }).collect();
    let mut resampler = Resampler::new(rate(24_000), rate(16_000)).unwrap();
    let output = resampler.push(&square);
    // Half way through a level the filter's ringing has settled: a wrapped sample would have the other sign.
    let delay = samples(resampler.delay(), 16_000);
    for level in 10..40 {
        let middle = output[delay + level * 40 + 20];
        assert_eq!(middle > 0, level % 2 == 0, "level {level}: {middle}");
    }
}
