//! How loud a voice is, in stretches of a tenth of a second.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use voxgate_protocol::audio::{Pcm, SampleRate};

use super::observing::HeardSound;

/// The time one value stands for.
pub const LOUDNESS_STEP: Duration = Duration::from_millis(100);

const STEP_NANOS: u128 = LOUDNESS_STEP.as_nanos();

/// Stretches that are kept unread, two minutes: as far as a client that plays by itself may lag behind.
const MOST_UNREAD: usize = 1_200;

/// Of so many samples one is looked at. At 24 kHz these are 600 in a stretch, which tell its level within a quarter of a decibel;
/// to look at all was a third of what it costs to watch a session.
const LOOKED_AT: usize = 4;

/// What is silence, in decibels below full scale.
const FLOOR: f64 = 60.0;

#[derive(Clone, Copy, Debug, Default)]
struct Stretch {
    squares: u64,
    samples: u32,
}

impl Stretch {
    /// The root mean square on a scale of 60 dB below full scale, 0 to 100.
    #[expect(clippy::cast_precision_loss, reason = "sums of a tenth of a second fit")]
    fn level(self) -> u8 {
        if self.samples == 0 || self.squares == 0 {
            return 0;
        }
        let power = self.squares as f64 / f64::from(self.samples) / (32_768.0 * 32_768.0);
        let decibels = 10.0 * power.log10();
        ((decibels + FLOOR) * 100.0 / FLOOR).clamp(0.0, 100.0).round() as u8
    }
}

/// Levels of stretches that follow each other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Piece {
    pub(super) from: Duration,
    pub(super) levels: Vec<u8>,
}

/// The loudness of one voice.
#[derive(Debug)]
pub(super) struct Loudness {
    since: Instant,
    /// The number of the first stretch that is unread.
    first: u64,
    stretches: VecDeque<Stretch>,
    /// The samples themselves, if somebody wants to hear them.
    tape: Option<Vec<HeardSound>>,
}

impl Loudness {
    pub(super) const fn new(since: Instant) -> Self {
        Self { since, first: 0, stretches: VecDeque::new(), tape: None }
    }

    /// From now on the samples are kept too, until they are taken.
    pub(super) fn tape(&mut self) {
        self.tape = Some(Vec::new());
    }

    /// What was taped since the last call.
    pub(super) fn take_tape(&mut self) -> Vec<HeardSound> {
        self.tape.as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// Samples that were heard from `at` on. Those of a time that was read count for the oldest that was not.
    pub(super) fn add(&mut self, at: Instant, samples: &[i16], rate: SampleRate) {
        let mut passed = at.saturating_duration_since(self.since);
        if let Some(tape) = &mut self.tape {
            tape.push(HeardSound::Samples(passed, Pcm { rate, samples: samples.to_vec() }));
        }
        let mut rest = samples;
        while !rest.is_empty() {
            let number = ((passed.as_nanos() / STEP_NANOS) as u64).max(self.first);
            let end = LOUDNESS_STEP * (number as u32).saturating_add(1);
            let fits = rate.samples_in(end.saturating_sub(passed)).0.max(1) as usize;
            let (now, later) = rest.split_at(fits.min(rest.len()));
            let Some(stretch) = self.stretch(number) else { return };
            let looked_at = now.iter().step_by(LOOKED_AT);
            stretch.samples += looked_at.len() as u32;
            stretch.squares += looked_at.map(|sample| i64::from(*sample).pow(2).cast_unsigned()).sum::<u64>();
            (passed, rest) = (end, later);
        }
    }

    /// Samples that were heard up to `at`.
    pub(super) fn add_before(&mut self, at: Instant, samples: &[i16], rate: SampleRate) {
        let length = Duration::from_secs_f64(samples.len() as f64 / f64::from(rate.hz()));
        self.add(at.checked_sub(length).unwrap_or(at), samples, rate);
    }

    /// Nothing is heard from `at` on of what was to be.
    pub(super) fn silence(&mut self, at: Instant) {
        let passed = at.saturating_duration_since(self.since);
        if let Some(tape) = &mut self.tape {
            tape.push(HeardSound::Silence(passed));
        }
        let passed = passed.as_nanos().div_ceil(STEP_NANOS) as u64;
        self.stretches.truncate(passed.saturating_sub(self.first) as usize);
    }

    /// The levels of all stretches that ended by `until`; `None` if that are none.
    pub(super) fn take(&mut self, until: Duration) -> Option<Piece> {
        let end = (until.as_nanos() / STEP_NANOS) as u64;
        let count = end.checked_sub(self.first).filter(|count| *count > 0)? as usize;
        let from = LOUDNESS_STEP * u32::try_from(self.first).ok()?;
        let mut levels: Vec<u8> =
            self.stretches.drain(..count.min(self.stretches.len())).map(Stretch::level).collect();
        // Whoever was not read for long has nothing but silence to tell of the rest.
        levels.resize(count.min(MOST_UNREAD), 0);
        self.first = end;
        Some(Piece { from, levels })
    }

    fn stretch(&mut self, number: u64) -> Option<&mut Stretch> {
        let index = usize::try_from(number.checked_sub(self.first)?).ok()?;
        if index >= MOST_UNREAD {
            return None;
        }
        if self.stretches.len() <= index {
            self.stretches.resize(index + 1, Stretch::default());
        }
        self.stretches.get_mut(index)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);
    const RATE: SampleRate = SampleRate::HZ_16000;

    fn levels(loudness: &mut Loudness, until: Duration) -> Vec<u8> {
        loudness.take(until).map_or_else(Vec::new, |piece| piece.levels)
    }

    #[test]
    fn full_scale_is_a_hundred_a_tenth_of_it_two_thirds_and_silence_nothing() {
        let start = Instant::now();
        let mut loudness = Loudness::new(start);
        for (step, level) in [(0, 32_767), (1, 3_277), (2, 0), (3, 20)] {
            loudness.add(start + 100 * MS * step, &[level; 1_600], RATE);
        }
        assert_eq!(levels(&mut loudness, 400 * MS), [100, 67, 0, 0]);
        assert_eq!(loudness.take(480 * MS), None, "no whole stretch since");
    }

    #[test]
    fn a_voice_has_the_level_that_all_of_its_samples_have() {
        // 150 Hz with ten of its overtones, in pieces that fall anywhere into stretches.
        let tone =
            |at: u32, part: u32| (f64::from(at * part) * 150.0 * std::f64::consts::TAU / 24_000.0).sin();
        let samples: Vec<i16> =
            (0..24_000).map(|at| (1..=10).map(|part| 1_500.0 * tone(at, part)).sum::<f64>() as i16).collect();
        let power = samples.iter().map(|sample| f64::from(*sample).powi(2)).sum::<f64>() / 24_000.0;
        let level = 100.0 * (20.0 * (power.sqrt() / 32_768.0).log10() + FLOOR) / FLOOR;
        let start = Instant::now();
        let mut loudness = Loudness::new(start);
        for (number, piece) in samples.chunks(331).enumerate() {
            let at = Duration::from_secs_f64(331.0 * number as f64 / 24_000.0);
            loudness.add(start + at, piece, SampleRate::HZ_24000);
        }
        for found in levels(&mut loudness, 1_000 * MS) {
            assert!((f64::from(found) - level).abs() <= 1.0, "{found} of {level}");
        }
    }

    #[test]
    fn samples_count_where_they_are_heard() {
        let start = Instant::now();
        let mut loudness = Loudness::new(start);
        loudness.add(start + 250 * MS, &[10_000; 3_200], RATE);
        loudness.add_before(start + 700 * MS, &[10_000; 1_600], RATE);
        let loud =
            levels(&mut loudness, 800 * MS).iter().map(|level| u8::from(*level > 50)).collect::<Vec<_>>();
        assert_eq!(loud, [0, 0, 1, 1, 1, 0, 1, 0]);
    }

    #[test]
    fn what_the_agent_was_going_to_say_is_not_heard_once_it_is_stopped() {
        let start = Instant::now();
        let mut loudness = Loudness::new(start);
        loudness.add(start, &[10_000; 16_000], RATE);
        loudness.silence(start + 320 * MS);
        loudness.add(start + 600 * MS, &[10_000; 1_600], RATE);
        let loud =
            levels(&mut loudness, 800 * MS).iter().map(|level| u8::from(*level > 50)).collect::<Vec<_>>();
        assert_eq!(loud, [1, 1, 1, 1, 0, 0, 1, 0]);
    }

    #[test]
    fn a_voice_nobody_reads_stays_small_and_late_samples_are_not_lost() {
        let start = Instant::now();
        let mut loudness = Loudness::new(start);
        for second in 0..600 {
            loudness.add(start + 1_000 * MS * second, &[10_000; 16_000], RATE);
        }
        assert_eq!(loudness.stretches.len(), MOST_UNREAD);
        assert_eq!(loudness.take(600_000 * MS).unwrap().levels.len(), MOST_UNREAD);
        loudness.add(start, &[10_000; 160], RATE);
        let piece = loudness.take(600_100 * MS).unwrap();
        assert_eq!((piece.from, piece.levels.len()), (600_000 * MS, 1));
        assert!(piece.levels[0] > 50);
    }
}
