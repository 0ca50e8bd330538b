//! What the microphone hears: the queued speech, then silence.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use voxgate_protocol::audio::SampleCount;

use crate::pacing::{FRAME, FRAME_SAMPLES};
use crate::speech::{SPEECH_RATE, Speech};

/// When something was said, on the caller's clock.
///
/// A sample counts as said when a microphone would have captured it: a frame sent at `t` was said from 20 ms
/// before `t` until `t`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spoken {
    /// The first sample.
    pub started_at: Instant,
    /// The last sample that can be heard; nothing if all of it was silence.
    pub last_word_at: Option<Instant>,
    /// How long that sample waited until its frame was complete and left: 0 to 20 ms.
    pub capture_wait: Option<Duration>,
    /// The end of the last frame.
    pub finished_at: Instant,
}

/// Speech that waits for its turn, in order.
#[derive(Debug)]
pub(crate) struct Mouth<T> {
    queue: VecDeque<Utterance<T>>,
}

#[derive(Debug)]
struct Utterance<T> {
    speech: Speech,
    position: usize,
    started_at: Option<Instant>,
    last_word: Option<(Instant, Duration)>,
    tag: T,
}

impl<T> Mouth<T> {
    pub(crate) const fn new() -> Self {
        Self { queue: VecDeque::new() }
    }

    /// Says this after everything queued before. `tag` comes back when it was said.
    pub(crate) fn say(&mut self, speech: Speech, tag: T) {
        self.queue.push_back(Utterance { speech, position: 0, started_at: None, last_word: None, tag });
    }

    /// Forgets everything that was not said yet.
    pub(crate) fn fall_silent(&mut self) {
        self.queue.clear();
    }

    /// Fills a frame whose first sample is captured at `captured_from`, with silence after the end of an
    /// utterance. Returns the utterance that ended in it.
    pub(crate) fn fill(
        &mut self,
        captured_from: Instant,
        frame: &mut [i16; FRAME_SAMPLES],
    ) -> Option<(T, Spoken)> {
        frame.fill(0);
        let utterance = self.queue.front_mut()?;
        utterance.speak(captured_from, frame);
        if utterance.position < utterance.speech.samples().len() {
            return None;
        }
        let said = self.queue.pop_front()?;
        let spoken = Spoken {
            started_at: said.started_at.unwrap_or(captured_from),
            last_word_at: said.last_word.map(|(at, _)| at),
            capture_wait: said.last_word.map(|(_, wait)| wait),
            finished_at: captured_from + FRAME,
        };
        Some((said.tag, spoken))
    }
}

impl<T> Utterance<T> {
    fn speak(&mut self, captured_from: Instant, frame: &mut [i16; FRAME_SAMPLES]) {
        self.started_at.get_or_insert(captured_from);
        let rest = &self.speech.samples()[self.position..];
        let taken = rest.len().min(FRAME_SAMPLES);
        frame[..taken].copy_from_slice(&rest[..taken]);
        let here = self.position..self.position + taken;
        if let Some(last_word) = self.speech.last_word().filter(|last| here.contains(&(last.0 as usize))) {
            let offset = SampleCount(last_word.0 - self.position as u64).duration_at(SPEECH_RATE);
            self.last_word = Some((captured_from + offset, FRAME.saturating_sub(offset)));
        }
        self.position += taken;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(mouth: &mut Mouth<u8>, start: Instant, frames: u32) -> Vec<(u8, Spoken)> {
        let mut frame = [0; FRAME_SAMPLES];
        (0..frames).filter_map(|index| mouth.fill(start + FRAME * index, &mut frame)).collect()
    }

    #[test]
    fn the_last_word_is_dated_inside_its_frame() {
        let start = Instant::now();
        let mut samples = vec![0_i16; 960 * 3];
        samples[960..960 + 480].fill(6_000);
        let mut mouth = Mouth::new();
        mouth.say(Speech::from_samples(samples), 1);
        let said = run(&mut mouth, start, 5);
        assert_eq!(said.len(), 1);
        let spoken = said[0].1;
        let offset = SampleCount(960 + 479).duration_at(SPEECH_RATE);
        assert_eq!(spoken.started_at, start);
        assert_eq!(spoken.last_word_at.unwrap().duration_since(start).as_micros(), offset.as_micros());
        assert_eq!(spoken.capture_wait.unwrap() + SampleCount(479).duration_at(SPEECH_RATE), FRAME);
        assert_eq!(spoken.finished_at, start + FRAME * 3);
    }

    #[test]
    fn utterances_follow_each_other_on_whole_frames_and_silence_fills_the_rest() {
        let start = Instant::now();
        let mut mouth = Mouth::new();
        mouth.say(Speech::from_samples(vec![5_000; 1_000]), 1);
        mouth.say(Speech::from_samples(vec![6_000; 960]), 2);
        let mut frame = [9; FRAME_SAMPLES];
        assert_eq!(mouth.fill(start, &mut frame), None);
        assert_eq!(mouth.fill(start + FRAME, &mut frame).unwrap().0, 1);
        assert_eq!((frame[39], frame[40], frame[959]), (5_000, 0, 0));
        let (tag, second) = mouth.fill(start + FRAME * 2, &mut frame).unwrap();
        assert_eq!((tag, second.started_at), (2, start + FRAME * 2));
        assert_eq!(mouth.fill(start + FRAME * 3, &mut frame), None);
        assert_eq!(frame, [0; FRAME_SAMPLES]);
    }

    #[test]
    fn a_silenced_mouth_says_nothing_more() {
        let mut mouth = Mouth::new();
        mouth.say(Speech::from_samples(vec![5_000; 9_600]), 1);
        mouth.fall_silent();
        assert_eq!(run(&mut mouth, Instant::now(), 12), []);
    }

    #[test]
    fn empty_speech_is_said_at_once() {
        let mut mouth = Mouth::new();
        mouth.say(Speech::from_samples(Vec::new()), 4);
        let said = run(&mut mouth, Instant::now(), 1);
        assert_eq!((said[0].0, said[0].1.last_word_at), (4, None));
    }
}
