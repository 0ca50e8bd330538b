//! Two voices on one time axis, as a WAV file. Pure: what is heard when is handed in.

use std::time::Duration;

use voxgate_media::resample::Resampler;
use voxgate_protocol::audio::{Pcm, SampleCount, SampleRate};

/// Of the file: what a telephone call needs, and a third less than the answers of most providers have.
pub(super) const RATE: SampleRate = SampleRate::HZ_16000;

/// Pieces that begin this close to the end of the one before follow it without a gap: the network hands over no packet when it is
/// due, and a voice that stutters with it cannot be understood.
const NEAR: usize = samples_in(Duration::from_millis(100));

/// A pause from this length on may be shortened by a voice that lags behind.
const SHORTEST_PAUSE: usize = samples_in(Duration::from_millis(20));

/// What is quieter than this counts as a pause: 50 dB below full scale.
const QUIET: u16 = 104;

/// RIFF, `fmt ` and the head of `data`.
const HEADER: usize = 44;

/// One sample of both channels.
const BOTH: usize = 4;

/// Times of sound lie before this: sessions last a day at most.
const FURTHEST: Duration = Duration::from_secs(2 * 24 * 3_600);

/// Whose voice it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Channel {
    /// The caller, left.
    Left,
    /// The agent, right.
    Right,
}

/// Where a channel is. Counted in samples of the file.
#[derive(Default)]
struct Lane {
    end: usize,
    /// How much of what lies before `end` is a pause.
    quiet: usize,
    converter: Option<(SampleRate, Resampler)>,
}

impl Lane {
    /// Where a piece goes that was heard from `at` on.
    fn place(&self, at: usize) -> usize {
        if self.end == 0 || at > self.end + NEAR {
            return at;
        }
        if at + NEAR >= self.end {
            return self.end;
        }
        // More came in than time passed. Nothing of a voice is lost: it is late until a pause makes up for it.
        let pause = if self.quiet < SHORTEST_PAUSE { 0 } else { self.quiet };
        at.max(self.end - pause)
    }

    /// At the rate of the file; nothing of a rate no voice has.
    fn converted(&mut self, pcm: &Pcm) -> Vec<i16> {
        if self.converter.as_ref().is_none_or(|(rate, _)| *rate != pcm.rate) {
            self.converter = Resampler::new(pcm.rate, RATE).ok().map(|converter| (pcm.rate, converter));
        }
        self.converter.as_mut().map_or_else(Vec::new, |(_, converter)| converter.push(&pcm.samples))
    }

    /// What still waits for samples that do not follow.
    fn rest(&mut self) -> Vec<i16> {
        self.converter.as_mut().map_or_else(Vec::new, |(_, converter)| converter.flush())
    }

    fn wrote(&mut self, place: usize, samples: &[i16]) {
        let pause = samples.iter().rev().take_while(|sample| sample.unsigned_abs() < QUIET).count();
        let before = if place == self.end { self.quiet } else { 0 };
        self.quiet = if pause == samples.len() { before + pause } else { pause };
        self.end = place + samples.len();
    }
}

/// A file that is being made.
pub(super) struct Mix {
    bytes: Vec<u8>,
    lanes: [Lane; 2],
}

impl Mix {
    /// A file of this length. What lies behind it is left out.
    pub(super) fn new(length: Duration) -> Self {
        let bytes = vec![0; HEADER + samples_in(length) * BOTH];
        Self { bytes, lanes: [Lane::default(), Lane::default()] }
    }

    /// Sound that was heard from a time on.
    pub(super) fn add(&mut self, channel: Channel, from: Duration, pcm: &Pcm) {
        let lane = &mut self.lanes[channel as usize];
        let place = lane.place(samples_in(from.min(FURTHEST)));
        if place > lane.end {
            let (end, mut rest) = (lane.end, lane.rest());
            rest.truncate(place - end);
            self.write(channel, end, &rest);
        }
        let lane = &mut self.lanes[channel as usize];
        let samples = lane.converted(pcm);
        lane.wrote(place, &samples);
        self.write(channel, place, &samples);
    }

    /// From a time on nothing is heard of what was added.
    pub(super) fn silence(&mut self, channel: Channel, from: Duration) {
        let length = (self.bytes.len() - HEADER) / BOTH;
        let lane = &mut self.lanes[channel as usize];
        drop(lane.rest());
        let (from, end) = (samples_in(from.min(FURTHEST)), lane.end);
        if from < end {
            (lane.end, lane.quiet) = (from, 0);
            self.write(channel, from, &vec![0; end.min(length).saturating_sub(from)]);
        }
    }

    /// The file.
    pub(super) fn into_wav(mut self) -> Vec<u8> {
        for (channel, index) in [(Channel::Left, 0), (Channel::Right, 1)] {
            let lane = &mut self.lanes[index];
            let (end, rest) = (lane.end, lane.rest());
            self.write(channel, end, &rest);
        }
        let data = (self.bytes.len() - HEADER) as u32;
        let header = header(data);
        self.bytes[..HEADER].copy_from_slice(&header);
        self.bytes
    }

    fn write(&mut self, channel: Channel, place: usize, samples: &[i16]) {
        let Some(from) = place.checked_mul(BOTH).and_then(|at| at.checked_add(HEADER)) else { return };
        let Some(room) = self.bytes.get_mut(from..) else { return };
        let offset = channel as usize * 2;
        for (both, sample) in room.chunks_exact_mut(BOTH).zip(samples) {
            both[offset..offset + 2].copy_from_slice(&sample.to_le_bytes());
        }
    }
}

/// RIFF/WAVE with linear PCM (Multimedia Programming Interface and Data Specifications 1.0).
fn header(data: u32) -> [u8; HEADER] {
    let (rate, both) = (RATE.hz(), BOTH as u32);
    let mut header = [0; HEADER];
    let fields: [(usize, &[u8]); 13] = [
        (0, b"RIFF"),
        (4, &(data + HEADER as u32 - 8).to_le_bytes()),
        (8, b"WAVE"),
        (12, b"fmt "),
        (16, &16_u32.to_le_bytes()),
        (20, &1_u16.to_le_bytes()),
        (22, &2_u16.to_le_bytes()),
        (24, &rate.to_le_bytes()),
        (28, &(rate * both).to_le_bytes()),
        (32, &(both as u16).to_le_bytes()),
        (34, &16_u16.to_le_bytes()),
        (36, b"data"),
        (40, &data.to_le_bytes()),
    ];
    for (at, field) in fields {
        header[at..at + field.len()].copy_from_slice(field);
    }
    header
}

const fn samples_in(duration: Duration) -> usize {
    let SampleCount(samples) = RATE.samples_in(duration);
    samples as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn tone(length: Duration, level: i16) -> Pcm {
        Pcm { rate: RATE, samples: vec![level; samples_in(length)] }
    }

    /// What a channel says in every 20 ms: the sample in their middle.
    fn heard(mix: Mix, channel: Channel) -> Vec<i16> {
        let wav = mix.into_wav();
        let both: Vec<&[u8]> = wav[HEADER..].chunks_exact(BOTH).collect();
        let at = channel as usize * 2;
        both.chunks(320).map(|slot| i16::from_le_bytes([slot[160][at], slot[160][at + 1]])).collect()
    }

    #[test]
    fn each_voice_lies_in_its_channel_where_it_was_heard() {
        let mut mix = Mix::new(200 * MS);
        mix.add(Channel::Left, 20 * MS, &tone(40 * MS, 500));
        mix.add(Channel::Right, 140 * MS, &tone(20 * MS, -700));
        let wav = mix.into_wav();
        assert_eq!((&wav[..4], &wav[8..16]), (&b"RIFF"[..], &b"WAVEfmt "[..]));
        let number = |at: usize| u32::from_le_bytes(wav[at..at + 4].try_into().unwrap());
        assert_eq!((number(4) as usize, number(40) as usize), (wav.len() - 8, wav.len() - HEADER));
        assert_eq!((number(24), wav.len()), (16_000, HEADER + 3_200 * BOTH));
        let mut mix = Mix::new(200 * MS);
        mix.add(Channel::Left, 20 * MS, &tone(40 * MS, 500));
        mix.add(Channel::Right, 140 * MS, &tone(20 * MS, -700));
        assert_eq!(heard(mix, Channel::Left), [0, 500, 500, 0, 0, 0, 0, 0, 0, 0]);
        let mut mix = Mix::new(200 * MS);
        mix.add(Channel::Left, 20 * MS, &tone(40 * MS, 500));
        mix.add(Channel::Right, 140 * MS, &tone(20 * MS, -700));
        assert_eq!(heard(mix, Channel::Right), [0, 0, 0, 0, 0, 0, 0, -700, 0, 0]);
    }

    #[test]
    fn pieces_that_come_unevenly_follow_each_other_and_a_pause_stays_a_pause() {
        let mut mix = Mix::new(400 * MS);
        for (from, level) in [(0, 1_000), (55, 2_000), (41, 3_000), (60, 4_000), (300, 5_000)] {
            mix.add(Channel::Left, from * MS, &tone(20 * MS, level));
        }
        let heard = heard(mix, Channel::Left);
        assert_eq!(heard[..5], [1_000, 2_000, 3_000, 4_000, 0]);
        assert_eq!(heard[14..17], [0, 5_000, 0]);
    }

    #[test]
    fn a_voice_that_came_faster_than_time_passed_loses_nothing_and_catches_up_in_a_pause() {
        let mut mix = Mix::new(1_000 * MS);
        mix.add(Channel::Left, Duration::ZERO, &tone(300 * MS, 1_000));
        mix.add(Channel::Left, 20 * MS, &tone(100 * MS, 2_000));
        mix.add(Channel::Left, 120 * MS, &tone(200 * MS, 3));
        mix.add(Channel::Left, 420 * MS, &tone(20 * MS, 3_000));
        let heard = heard(mix, Channel::Left);
        assert_eq!((heard[14], heard[15], heard[19]), (1_000, 2_000, 2_000));
        assert_eq!(heard[20..23], [3, 3_000, 3], "most of the pause is made up for");
    }

    #[test]
    fn what_was_cut_off_is_not_heard() {
        let mut mix = Mix::new(400 * MS);
        mix.add(Channel::Right, Duration::ZERO, &tone(300 * MS, 1_000));
        mix.silence(Channel::Right, 100 * MS);
        mix.add(Channel::Right, 300 * MS, &tone(20 * MS, 2_000));
        let heard = heard(mix, Channel::Right);
        assert_eq!(heard[4..6], [1_000, 0]);
        assert_eq!(heard[14..17], [0, 2_000, 0]);
    }

    #[test]
    fn another_rate_is_converted_and_what_is_too_far_away_is_left_out() {
        let mut mix = Mix::new(200 * MS);
        for from in [40, 60, 80] {
            mix.add(
                Channel::Right,
                from * MS,
                &Pcm { rate: SampleRate::HZ_24000, samples: vec![8_000; 480] },
            );
        }
        mix.add(Channel::Left, 180 * MS, &tone(1_000 * MS, 900));
        mix.add(Channel::Left, Duration::MAX, &tone(20 * MS, 900));
        mix.add(Channel::Right, Duration::from_secs(86_400), &tone(20 * MS, 900));
        let right = heard(mix, Channel::Right);
        assert_eq!(right.len(), 10);
        assert!(right[..2].iter().all(|sample| *sample == 0) && right[6..].iter().all(|sample| *sample == 0));
        assert!((7_900..8_100).contains(&right[3]), "{right:?}");
    }
}
