//! What of a detector's verdict is sound.
//!
//! The detector goes on to say speech for 150 ms after the last of it, so the level decides where speech ended: frames
//! count up to the last that is louder than the noise around the caller and not far below their voice. Where noise comes too near
//! to the voice the level tells nothing, and the detector has the last word as before.

use std::collections::VecDeque;

use crate::voice::SILENCE_DBFS;

/// Sound this far below the voice is none of it: more than lies between the loudest vowel and the faintest end of a
/// word in one turn, less than between a voice and the echo of its room. dB.
const BELOW_VOICE: f32 = 32.0;

/// Noise varies by this much around its floor. dB.
const ABOVE_FLOOR: f32 = 4.0;

/// Sound above this much below the voice always counts: in more noise than that words end inaudibly. dB.
const ALWAYS_VOICE: f32 = 24.0;

/// How fast the voice's level follows a louder frame, as a share, and falls otherwise, in dB a frame: 2 dB a second.
const RISE: f32 = 0.3;
const FALL: f32 = 0.03;

/// No voice is taken to be quieter. dBFS.
const FAINTEST_VOICE: f32 = -60.0;

/// Frames the floor is the quietest of: 2.9 s, longer than most phrases without a breath.
const FLOOR_FRAMES: u64 = 180;

/// Frames that are averaged for the floor, since noise alone varies from one to the next.
const SMOOTHED: usize = 4;

/// Follows the levels of one caller.
#[derive(Debug)]
pub(super) struct Loudness {
    heard: u64,
    /// Power of the last frames, linear.
    recent: VecDeque<f32>,
    /// Falling candidates for the floor: frame and smoothed level. The first is the floor.
    floors: VecDeque<(u64, f32)>,
    voice: f32,
    halves: [f32; 2],
}

impl Loudness {
    pub(super) fn new() -> Self {
        Self {
            heard: 0,
            recent: VecDeque::with_capacity(SMOOTHED),
            floors: VecDeque::new(),
            voice: FAINTEST_VOICE,
            halves: [SILENCE_DBFS; 2],
        }
    }

    /// Takes the level of the next frame's halves.
    pub(super) fn hear(&mut self, halves: [f32; 2]) {
        self.halves = halves;
        let power = halves.iter().map(|level| 10_f32.powf(level / 10.0)).sum::<f32>() / 2.0;
        if self.recent.len() == SMOOTHED {
            self.recent.pop_front();
        }
        self.recent.push_back(power);
        let smoothed = dbfs(self.recent.iter().sum::<f32>() / self.recent.len() as f32);
        self.heard += 1;
        while self.floors.back().is_some_and(|(_, level)| *level >= smoothed) {
            self.floors.pop_back();
        }
        self.floors.push_back((self.heard, smoothed));
        while self.floors.front().is_some_and(|(frame, _)| frame + FLOOR_FRAMES < self.heard) {
            self.floors.pop_front();
        }
    }

    /// A voice begins with the last frames.
    pub(super) fn voice_begins(&mut self) {
        self.voice = self.recent.iter().copied().map(dbfs).fold(FAINTEST_VOICE, f32::max);
    }

    /// The last frame is surely voice.
    pub(super) fn voice_goes_on(&mut self) {
        let level = self.level();
        self.voice += if level > self.voice { RISE * (level - self.voice) } else { -FALL };
    }

    /// Which half of the last frame is the last that sounds.
    pub(super) fn sounds(&self) -> Sounds {
        let lowest = self.lowest_voice();
        match self.halves.map(|level| level >= lowest) {
            [_, true] => Sounds::ToItsEnd,
            [true, false] => Sounds::ToItsMiddle,
            [false, false] => Sounds::Not,
        }
    }

    /// Whether what is quieter than the noise may be voice none the less.
    pub(super) fn is_masked(&self) -> bool {
        self.floor() + ABOVE_FLOOR > self.voice - BELOW_VOICE
    }

    fn lowest_voice(&self) -> f32 {
        (self.floor() + ABOVE_FLOOR).max(self.voice - BELOW_VOICE).min(self.voice - ALWAYS_VOICE)
    }

    fn level(&self) -> f32 {
        self.recent.back().copied().map_or(SILENCE_DBFS, dbfs)
    }

    fn floor(&self) -> f32 {
        self.floors.front().map_or(SILENCE_DBFS, |(_, level)| *level)
    }
}

/// How much of a frame is sound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sounds {
    ToItsEnd,
    ToItsMiddle,
    Not,
}

fn dbfs(power: f32) -> f32 {
    (10.0 * power.log10()).max(SILENCE_DBFS)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hear(loudness: &mut Loudness, level: f32, frames: usize) {
        for _ in 0..frames {
            loudness.hear([level; 2]);
        }
    }

    fn speaking(noise: f32, voice: f32) -> Loudness {
        let mut loudness = Loudness::new();
        hear(&mut loudness, noise, 60);
        hear(&mut loudness, voice, 4);
        loudness.voice_begins();
        for _ in 0..30 {
            loudness.hear([voice; 2]);
            loudness.voice_goes_on();
        }
        loudness
    }

    #[test]
    fn the_end_of_a_word_is_voice_and_the_noise_after_it_is_not() {
        for noise in [-100.0, -70.0, -50.0] {
            let mut loudness = speaking(noise, -20.0);
            loudness.hear([-40.0; 2]);
            assert_eq!(loudness.sounds(), Sounds::ToItsEnd, "{noise}");
            loudness.hear([-40.0, noise]);
            assert_eq!(loudness.sounds(), Sounds::ToItsMiddle, "{noise}");
            loudness.hear([noise + 2.0; 2]);
            assert_eq!(loudness.sounds(), Sounds::Not, "{noise}");
        }
    }

    #[test]
    fn in_loud_noise_the_level_takes_nothing_from_the_detector() {
        let mut loudness = speaking(-35.0, -20.0);
        loudness.hear([-35.0; 2]);
        assert_eq!(loudness.sounds(), Sounds::ToItsEnd);
        assert!(loudness.is_masked());
    }

    #[test]
    fn the_floor_falls_at_once_and_rises_when_its_quiet_is_forgotten() {
        let mut loudness = Loudness::new();
        hear(&mut loudness, -30.0, 100);
        assert!((loudness.floor() + 30.0).abs() < 0.1);
        hear(&mut loudness, -70.0, 5);
        assert!((loudness.floor() + 70.0).abs() < 0.1);
        hear(&mut loudness, -30.0, FLOOR_FRAMES as usize - 10);
        assert!((loudness.floor() + 70.0).abs() < 0.1);
        hear(&mut loudness, -30.0, 20);
        assert!((loudness.floor() + 30.0).abs() < 0.1);
    }

    #[test]
    fn levels_of_any_kind_leave_a_floor() {
        let mut loudness = Loudness::new();
        for level in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 0.0, -100.0] {
            loudness.hear([level; 2]);
            loudness.voice_begins();
            loudness.voice_goes_on();
            let _ = loudness.sounds();
        }
        assert!(loudness.floors.len() <= 5);
    }
}
