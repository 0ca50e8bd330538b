//! Where an answer begins to be heard: voices begin with a little silence, and what is waited for is the sound.

use std::time::Duration;

use voxgate_protocol::audible::first_audible;
use voxgate_protocol::audio::{SampleCount, SampleRate};

use crate::encode::FRAME;

/// An answer that makes no sound for this long is taken to have begun with its first packet.
const LONGEST_SILENCE: Duration = Duration::from_secs(2);

/// What a packet means for the beginning of its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Opening {
    /// It brings the first sound, this far behind its first sample.
    Sounds(Duration),
    /// The answer made no sound so far and is not waited for any longer.
    Silent,
}

/// Watches the frames of one answer until the first sound.
#[derive(Debug, Default)]
pub(super) struct OpeningWatch {
    silence: Option<Duration>,
}

impl OpeningWatch {
    /// Another answer begins with the next frame.
    pub(super) const fn begin(&mut self) {
        self.silence = Some(Duration::ZERO);
    }

    /// Takes the next frame; only until something is known.
    pub(super) fn hear(&mut self, samples: &[i16], rate: SampleRate) -> Option<Opening> {
        let silence = self.silence?;
        let opening = match first_audible(samples, rate) {
            Some(index) => Some(Opening::Sounds(SampleCount(index as u64).duration_at(rate))),
            None if silence >= LONGEST_SILENCE => Some(Opening::Silent),
            None => None,
        };
        self.silence = if opening.is_some() { None } else { Some(silence + FRAME) };
        opening
    }

    /// Nothing follows for now.
    pub(super) fn pause(&mut self) -> Option<Opening> {
        self.silence.take().map(|_| Opening::Silent)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: SampleRate = SampleRate::HZ_24000;

    #[test]
    fn the_first_sound_is_found_once_and_to_the_sample() {
        let mut watch = OpeningWatch::default();
        let (silence, mut sound) = (vec![0; 480], vec![0; 480]);
        sound[240..].fill(5_000);
        assert_eq!(watch.hear(&sound, RATE), None, "no answer has begun");
        watch.begin();
        assert_eq!(watch.hear(&silence, RATE), None);
        assert_eq!(watch.hear(&sound, RATE), Some(Opening::Sounds(Duration::from_millis(10))));
        assert_eq!(watch.hear(&sound, RATE), None);
        assert_eq!(watch.pause(), None);
    }

    #[test]
    fn an_answer_without_sound_is_not_waited_for_without_end() {
        let mut watch = OpeningWatch::default();
        watch.begin();
        let openings: Vec<_> = (0..200).filter_map(|_| watch.hear(&[0; 480], RATE)).collect();
        assert_eq!(openings, [Opening::Silent]);
        watch.begin();
        assert_eq!((watch.pause(), watch.pause()), (Some(Opening::Silent), None));
    }
}
