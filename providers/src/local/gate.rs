//! A cheap gate in front of the recogniser: is there anything to decode?
//!
//! It decides what is worth decoding, not what is a turn: the gateway's own voice activity does that. So it opens
//! early and closes late, and costs a sum of squares per 20 ms.

use std::collections::VecDeque;

/// Samples per decision: 20 ms at 16 kHz.
pub(super) const FRAME: usize = 320;

/// Frames that are looked at together, and how many of them have to be loud for the gate to open.
const WINDOW: usize = 5;
const LOUD_OF_WINDOW: usize = 3;

/// Quiet frames after which the gate closes: 1.2 s, more than the usual pause that ends a turn, so that a turn is
/// one piece for the recogniser.
const QUIET_FRAMES: u32 = 60;

/// How far above the noise a frame has to be, in decibels, to open the gate and to keep it open.
const OPEN_ABOVE_NOISE: f32 = 9.0;
const HOLD_ABOVE_NOISE: f32 = 6.0;

/// Below this level (decibels relative to full scale) nothing opens the gate.
const QUIETEST_SPEECH: f32 = -52.0;

/// The noise estimate stays in this range, falls quickly and rises by one decibel a second.
const NOISE_RANGE: (f32, f32) = (-75.0, -30.0);
const NOISE_FALL: f32 = 0.3;
const NOISE_RISE: f32 = 0.02;

/// Tracks the level of noise and opens for what is louder.
#[derive(Debug)]
pub(super) struct Gate {
    noise: f32,
    recent: VecDeque<bool>,
    quiet: u32,
    open: bool,
}

impl Gate {
    /// A closed gate in a quiet room.
    pub(super) fn new() -> Self {
        Self { noise: -60.0, recent: VecDeque::with_capacity(WINDOW), quiet: 0, open: false }
    }

    /// Whether the gate is open after one frame of [`FRAME`] samples.
    pub(super) fn hear(&mut self, frame: &[i16]) -> bool {
        let level = level_of(frame);
        let loud = level > (self.noise + OPEN_ABOVE_NOISE).max(QUIETEST_SPEECH);
        let holds = level > (self.noise + HOLD_ABOVE_NOISE).max(QUIETEST_SPEECH);
        self.follow_noise(level);
        if self.recent.len() == WINDOW {
            self.recent.pop_front();
        }
        self.recent.push_back(loud);
        self.quiet = if holds { 0 } else { self.quiet + 1 };
        if self.open {
            self.open = self.quiet < QUIET_FRAMES;
        } else {
            self.open = self.recent.iter().filter(|loud| **loud).count() >= LOUD_OF_WINDOW;
        }
        self.open
    }

    /// Quiet frames since the last loud one.
    pub(super) const fn quiet_frames(&self) -> u32 {
        self.quiet
    }

    fn follow_noise(&mut self, level: f32) {
        let step = if level < self.noise { (level - self.noise) * NOISE_FALL } else { NOISE_RISE };
        self.noise = (self.noise + step).clamp(NOISE_RANGE.0, NOISE_RANGE.1);
    }
}

/// Mean power of a frame in decibels relative to full scale.
fn level_of(frame: &[i16]) -> f32 {
    let sum: f64 = frame.iter().map(|sample| f64::from(*sample) * f64::from(*sample)).sum();
    let mean = sum / (frame.len().max(1) as f64) / (32_768.0 * 32_768.0);
    (10.0 * mean.max(1e-10).log10()) as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tone(amplitude: i16) -> Vec<i16> {
        (0..FRAME).map(|index| if index % 40 < 20 { amplitude } else { -amplitude }).collect()
    }

    #[test]
    fn silence_and_steady_noise_keep_it_closed() {
        let mut gate = Gate::new();
        assert!((0..200).all(|_| !gate.hear(&[0; FRAME])));
        // A hum of -50 dB: it may open at first, the noise estimate then rises until it is closed for good.
        let states: Vec<bool> = (0..3_000).map(|_| gate.hear(&tone(104))).collect();
        assert!(states[2_000..].iter().all(|open| !open));
    }

    #[test]
    fn speech_opens_it_within_three_frames_and_a_pause_of_one_second_does_not_close_it() {
        let mut gate = Gate::new();
        assert!((0..50).all(|_| !gate.hear(&tone(10))));
        assert_eq!([0; 3].map(|_| gate.hear(&tone(3_000))), [false, false, true]);
        assert!((0..50).all(|_| gate.hear(&tone(10))));
        assert!((0..10).any(|_| !gate.hear(&tone(10))));
    }

    #[test]
    fn a_click_does_not_open_it() {
        let mut gate = Gate::new();
        assert!(!gate.hear(&tone(20_000)));
        assert!((0..20).all(|_| !gate.hear(&tone(10))));
    }
}
