//! Where an answer begins to be heard: voices begin with a little silence, and what is waited for is the sound.

use std::time::{Duration, Instant};

use voxgate_protocol::audible::first_audible;
use voxgate_protocol::audio::{Pcm, SampleCount, SampleRate};
use voxgate_protocol::id::ResponseId;

/// An answer that makes no sound for this long is taken to have begun with its first packet.
const LONGEST_SILENCE: Duration = Duration::from_secs(2);

/// What a packet means for the beginning of its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Opening {
    /// It brings the first sound, this far behind its first sample. Of a message: this long after it came.
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
        let length = SampleCount(samples.len() as u64).duration_at(rate);
        self.silence = opening.is_none().then(|| silence + length);
        opening
    }

    /// Nothing follows for now.
    pub(super) fn pause(&mut self) -> Option<Opening> {
        self.silence.take().map(|_| Opening::Silent)
    }
}

/// What a message means for the beginning of its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Beginning {
    /// It begins the answer, which makes no sound so far.
    Quiet,
    /// With it, it is known how the answer began.
    Opened(Opening),
}

/// Watches the messages of an answer until the first sound. Its client is taken to play each as soon as it has it and the one
/// before has ended.
#[derive(Debug, Default)]
pub(super) struct MessageOpening {
    watch: OpeningWatch,
    /// The answer that is or was watched last.
    answer: Option<ResponseId>,
    /// When all of its silence so far has been played.
    played: Option<Instant>,
}

impl MessageOpening {
    /// Takes the next message of an answer. `None` if it means nothing for its beginning.
    pub(super) fn hear(&mut self, answer: &ResponseId, pcm: &Pcm, came: Instant) -> Option<Beginning> {
        let is_first = self.answer.as_ref() != Some(answer);
        if is_first {
            (self.answer, self.played) = (Some(answer.clone()), None);
            self.watch.begin();
        }
        let begins = self.played.map_or(came, |played| played.max(came));
        let Some(opening) = self.watch.hear(&pcm.samples, pcm.rate) else {
            self.played = Some(begins + pcm.duration());
            return is_first.then_some(Beginning::Quiet);
        };
        Some(Beginning::Opened(match opening {
            Opening::Sounds(within) => Opening::Sounds(begins.saturating_duration_since(came) + within),
            Opening::Silent => Opening::Silent,
        }))
    }

    /// Nothing follows in this answer.
    pub(super) fn finish(&mut self, answer: &ResponseId) -> Option<Opening> {
        if self.answer.as_ref() == Some(answer) { self.watch.pause() } else { None }
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

    #[test]
    fn silence_that_came_at_once_is_played_before_the_sound_that_came_with_it() {
        let (start, ms) = (Instant::now(), Duration::from_millis(1));
        let pcm = |sample: i16| Pcm { rate: RATE, samples: vec![sample; 2_400] };
        let answer = ResponseId::from("resp_1");
        for (arrivals, expected) in [([0, 0, 1], 199), ([0, 250, 500], 0), ([0, 0, 150], 50)] {
            let mut watch = MessageOpening::default();
            let came = arrivals.map(|at| start + at * ms);
            assert_eq!(watch.hear(&answer, &pcm(0), came[0]), Some(Beginning::Quiet));
            assert_eq!(watch.hear(&answer, &pcm(0), came[1]), None);
            let sounds = Opening::Sounds(expected * ms);
            assert_eq!(watch.hear(&answer, &pcm(900), came[2]), Some(Beginning::Opened(sounds)));
            assert_eq!(watch.hear(&answer, &pcm(900), came[2]), None);
            assert_eq!(watch.finish(&answer), None);
        }
    }

    #[test]
    fn an_answer_that_ends_without_a_sound_is_told_once() {
        let (now, mut watch) = (Instant::now(), MessageOpening::default());
        let answers = ["resp_1", "resp_2"].map(ResponseId::from);
        assert_eq!(watch.finish(&answers[0]), None);
        watch.hear(&answers[0], &Pcm::silence(RATE, Duration::from_millis(20)), now);
        let outcomes = [watch.finish(&answers[0]), watch.finish(&answers[0])];
        assert_eq!(outcomes, [Some(Opening::Silent), None]);
    }
}
