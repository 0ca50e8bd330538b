//! Cuts the caller's continuous audio into utterances worth decoding.

use std::collections::VecDeque;

use super::gate::{FRAME, Gate};

/// Audio before the gate opened that belongs to the utterance: 400 ms at 16 kHz.
const BEFORE_OPENING: usize = 6_400;

/// An utterance is cut after this much audio: 30 s at 16 kHz. Bounds what one caller can make a decoder hold.
const LONGEST_UTTERANCE: u64 = 480_000;

/// In a pause the words so far are asked for after this many quiet frames: 120 ms, longer than the stops inside words, and
/// 300 ms, when the decoder has certainly heard the last word.
const ASK_IN_PAUSE: [u32; 2] = [6, 15];

/// While the caller speaks the words so far are asked for after this many frames: every 240 ms. The last of them is
/// left out, as it is guessed from its beginning.
const ASK_IN_SPEECH: u64 = 12;

/// What to do with a decoder.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Hearing {
    /// An utterance begins at this position with these samples.
    Begin {
        /// Samples of the session before the first sample given.
        position: u64,
        /// The first samples.
        samples: Vec<i16>,
    },
    /// The utterance goes on.
    Go(Vec<i16>),
    /// The words so far are of interest.
    Ask {
        /// The caller is speaking: the last word is not whole.
        inside_speech: bool,
    },
    /// The utterance ends before this position.
    End {
        /// Samples of the session so far.
        position: u64,
    },
}

/// Watches the audio of one session.
#[derive(Debug)]
pub(super) struct Listener {
    gate: Gate,
    /// Samples that do not fill a frame yet.
    partial: Vec<i16>,
    /// The newest samples outside an utterance.
    before: VecDeque<i16>,
    position: u64,
    began: Option<u64>,
}

impl Listener {
    /// Nothing heard yet.
    pub(super) fn new() -> Self {
        Self {
            gate: Gate::new(),
            partial: Vec::new(),
            before: VecDeque::with_capacity(BEFORE_OPENING + FRAME),
            position: 0,
            began: None,
        }
    }

    /// Samples taken from the session so far, in whole frames.
    pub(super) const fn position(&self) -> u64 {
        self.position
    }

    /// Takes audio of 16 kHz.
    pub(super) fn hear(&mut self, samples: &[i16]) -> Vec<Hearing> {
        self.partial.extend_from_slice(samples);
        let whole = self.partial.len() - self.partial.len() % FRAME;
        let frames: Vec<i16> = self.partial.drain(..whole).collect();
        let mut hearings = Vec::new();
        for frame in frames.chunks_exact(FRAME) {
            let open = self.gate.hear(frame);
            self.take(frame, open, &mut hearings);
        }
        hearings
    }

    fn take(&mut self, frame: &[i16], open: bool, hearings: &mut Vec<Hearing>) {
        self.position += FRAME as u64;
        match (self.began, open) {
            (None, false) => {
                self.before.extend(frame);
                let excess = self.before.len().saturating_sub(BEFORE_OPENING);
                self.before.drain(..excess);
            }
            (None, true) => {
                let mut samples: Vec<i16> = self.before.drain(..).collect();
                samples.extend_from_slice(frame);
                let position = self.position.saturating_sub(samples.len() as u64);
                self.began = Some(position);
                hearings.push(Hearing::Begin { position, samples });
            }
            (Some(began), true) if self.position - began < LONGEST_UTTERANCE => {
                match hearings.last_mut() {
                    Some(Hearing::Go(samples)) => samples.extend_from_slice(frame),
                    _ => hearings.push(Hearing::Go(frame.to_vec())),
                }
                if self.is_time_to_ask() {
                    hearings.push(Hearing::Ask { inside_speech: self.gate.quiet_frames() == 0 });
                }
            }
            (Some(_), _) => {
                self.before.extend(frame);
                hearings.extend(self.end());
            }
        }
    }

    fn is_time_to_ask(&self) -> bool {
        match self.gate.quiet_frames() {
            0 => (self.position / FRAME as u64).is_multiple_of(ASK_IN_SPEECH),
            quiet => ASK_IN_PAUSE.contains(&quiet),
        }
    }

    /// Ends an open utterance, because the turn is over.
    pub(super) fn end(&mut self) -> Option<Hearing> {
        self.began.take().map(|_| Hearing::End { position: self.position })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tone(samples: usize) -> Vec<i16> {
        (0..samples).map(|index| if index % 40 < 20 { 4_000 } else { -4_000 }).collect()
    }

    /// The length of the utterances found when audio comes in pieces of an odd size.
    fn utterances(audio: &[i16]) -> Vec<usize> {
        let mut listener = Listener::new();
        let mut lengths = Vec::new();
        for piece in audio.chunks(111) {
            for hearing in listener.hear(piece) {
                match hearing {
                    Hearing::Begin { samples, .. } => lengths.push(samples.len()),
                    Hearing::Go(samples) => *lengths.last_mut().unwrap() += samples.len(),
                    Hearing::Ask { .. } | Hearing::End { .. } => {}
                }
            }
        }
        lengths
    }

    #[test]
    fn silence_is_not_an_utterance() {
        assert_eq!(utterances(&[0; 160_000]), [] as [usize; 0]);
    }

    #[test]
    fn an_utterance_begins_before_the_gate_opened() {
        let mut audio = vec![0; 16_000];
        audio.extend(tone(16_000));
        let found = utterances(&audio);
        assert_eq!(found.len(), 1);
        assert!((16_000 + 4_000..=16_000 + BEFORE_OPENING).contains(&found[0]), "{found:?}");
    }

    #[test]
    fn two_utterances_with_a_long_pause_are_two() {
        let audio = [tone(16_000), vec![0; 48_000], tone(16_000)].concat();
        assert_eq!(utterances(&audio).len(), 2);
    }

    #[test]
    fn speech_without_end_is_cut() {
        // Bursts with short pauses, as the noise estimate follows a steady tone.
        let audio = [tone(8_000), vec![0; 8_000]].concat().repeat(40);
        let found = utterances(&audio);
        assert!(found.len() >= 2, "{found:?}");
        assert!(found.iter().all(|length| *length as u64 <= LONGEST_UTTERANCE));
    }

    #[test]
    fn the_words_so_far_are_asked_for_while_the_caller_speaks_and_twice_in_a_pause() {
        let mut listener = Listener::new();
        let mut asked = |audio: &[i16]| {
            let hearings: Vec<Hearing> = audio.chunks(160).flat_map(|piece| listener.hear(piece)).collect();
            hearings.iter().filter(|hearing| matches!(hearing, Hearing::Ask { .. })).count()
        };
        assert_eq!(asked(&[0; 16_000]), 0);
        let in_speech = asked(&tone(16_000));
        assert!((3..=5).contains(&in_speech), "{in_speech}");
        assert_eq!(asked(&[0; 16_000]), 2);
        assert_eq!(asked(&[0; 160_000]), 0);
    }
}
