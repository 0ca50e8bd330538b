use std::io::Cursor;

use super::*;

const FRAME: Duration = Duration::from_millis(20);

/// A frame of 20 ms at 24 kHz, loud or silent.
fn frame(loud: bool) -> Vec<i16> {
    vec![if loud { 4_000 } else { 0 }; 480]
}

#[test]
fn timestamp_gaps_become_silence_of_the_same_length() {
    let start = Instant::now();
    let mut recording = Recording::default();
    recording.add(u32::MAX - 959, &frame(true), start);
    recording.add(960 * 9, &frame(true), start + FRAME * 10);
    assert_eq!(recording.duration(), FRAME * 11);
    let pcm = recording.to_pcm();
    assert!(pcm.samples[480..4_800].iter().all(|sample| *sample == 0));
    assert!(pcm.samples[4_800..].iter().all(|sample| *sample == 4_000));
}

#[test]
fn a_timestamp_from_nowhere_continues_at_the_end() {
    let start = Instant::now();
    let mut recording = Recording::default();
    recording.add(0, &frame(true), start);
    recording.add(0x4000_0000, &frame(true), start + FRAME);
    recording.add(0x4000_0000 + 960, &frame(true), start + FRAME * 2);
    recording.add(5, &frame(true), start + FRAME * 3);
    assert_eq!(recording.duration(), FRAME * 4);
}

#[test]
fn the_first_audible_sample_is_dated_by_its_arrival_and_its_place_in_the_packet() {
    let start = Instant::now();
    let mut recording = Recording::default();
    recording.add(0, &frame(false), start);
    let mut late_in_the_frame = frame(false);
    late_in_the_frame[240..].fill(4_000);
    recording.add(960, &late_in_the_frame, start + FRAME);
    assert_eq!(recording.first_audible_after(start), Some(start + FRAME + FRAME / 2));
    assert_eq!(recording.first_audible_after(start + FRAME * 2), None);
    assert_eq!(
        recording.first_audible_after(start + FRAME + FRAME * 3 / 4),
        Some(start + FRAME + FRAME * 3 / 4)
    );
}

#[test]
fn an_onset_needs_quiet_before_it() {
    let start = Instant::now();
    let mut recording = Recording::default();
    for index in 0..40_u32 {
        let loud = !(10..25).contains(&index);
        recording.add(index * 960, &frame(loud), start + FRAME * index);
    }
    assert_eq!(recording.onset_after(start), Some(start));
    assert_eq!(recording.onset_after(start + FRAME * 2), Some(start + FRAME * 25));
    assert_eq!(recording.onset_after(start + FRAME * 26), None);
    assert!(recording.last_audible().unwrap() > start + FRAME * 39);
}

#[test]
fn the_written_wav_reads_back() {
    let mut recording = Recording::default();
    recording.add(0, &[1, -2, 3, 32_767], Instant::now());
    let mut file = Cursor::new(Vec::new());
    recording.write_wav(&mut file).unwrap();
    let reader = hound::WavReader::new(Cursor::new(file.into_inner())).unwrap();
    assert_eq!((reader.spec().sample_rate, reader.spec().channels), (24_000, 1));
    assert_eq!(reader.into_samples::<i16>().collect::<Result<Vec<_>, _>>().unwrap(), [1, -2, 3, 32_767]);
}
