//! The input audio buffer.

use super::vad::{EnergyVad, Heard, VadParameters, WINDOW, level};
use super::voice::{RATE, milliseconds};

/// Audio since the last commit, and the detector that listens to it.
#[derive(Debug, Default)]
pub(super) struct InputBuffer {
    vad: EnergyVad,
    window: Vec<i16>,
    /// Samples since the last commit or clear.
    uncommitted: u64,
    /// Loudness of the loud part of the turn: sum of levels and number of windows that had any.
    levels: (f64, u64),
}

/// What a committed turn was like.
#[derive(Clone, Copy, Debug)]
pub(super) struct Turn {
    pub(super) samples: u64,
    pub(super) level: f64,
}

impl Turn {
    pub(super) const fn milliseconds(&self) -> u64 {
        milliseconds(self.samples)
    }

    /// What the simulator "recognises" if no text is set.
    pub(super) fn description(&self) -> String {
        let seconds = self.samples as f64 / f64::from(RATE);
        format!("I heard {seconds:.1} seconds at a level of {:.0}.", self.level)
    }
}

impl InputBuffer {
    /// Takes samples up to the end of the next window. Returns what is left and what was heard.
    pub(super) fn take<'a>(
        &mut self,
        samples: &'a [i16],
        parameters: Option<&VadParameters>,
    ) -> (&'a [i16], Option<Heard>) {
        let (head, rest) = samples.split_at(samples.len().min(WINDOW - self.window.len()));
        self.window.extend_from_slice(head);
        self.uncommitted += head.len() as u64;
        if self.window.len() < WINDOW {
            return (rest, None);
        }
        let loudness = level(&self.window);
        if loudness > 100.0 {
            self.levels = (self.levels.0 + loudness, self.levels.1 + 1);
        }
        let heard = self.vad.hear(&self.window, parameters);
        self.window.clear();
        (rest, heard)
    }

    /// Forgets the audio since the last commit.
    pub(super) fn clear(&mut self) {
        self.uncommitted = 0;
        self.levels = (0.0, 0);
        self.vad.reset();
    }

    /// The turn, if it has the 100 ms a commit needs.
    pub(super) fn commit(&mut self) -> Option<Turn> {
        if milliseconds(self.uncommitted) < 100 {
            return None;
        }
        let (sum, windows) = self.levels;
        let turn = Turn { samples: self.uncommitted, level: sum / windows.max(1) as f64 };
        self.clear();
        Some(turn)
    }

    /// Audio before the padding of a detected start is not part of the turn.
    pub(super) fn speech_started(&mut self, position_samples: u64, start_ms: u64) {
        let start = start_ms * u64::from(RATE) / 1_000;
        self.uncommitted = self.uncommitted.min(position_samples.saturating_sub(start));
    }
}
