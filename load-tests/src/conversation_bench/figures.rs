//! From a talk to times.

use std::time::{Duration, Instant};

use super::hearing::{Stretch, stretches};
use super::talk::{Talk, is_speech, is_truncation};
use super::{MODEL_DELAY, PAUSE};

/// One question, its answer, and how that was interrupted. Milliseconds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Cycle {
    /// From the last word of the question to the first audible sample of the answer, without the pause that ends the
    /// turn and the provider's delay: the share of the gateway, both ways and the codec included.
    pub own_share: f64,
    /// From the first sample of the interrupting speech to the last audible sample of the answer.
    pub stop: f64,
    /// From the first sample of the interrupting speech until the caller was told that it was heard.
    pub told: f64,
    /// From there to the last audible sample of the answer; negative if the answer was over before.
    pub stale: f64,
    /// How much of the answer the recording holds.
    pub heard: f64,
    /// How much the gateway says was heard.
    pub said: f64,
}

impl Cycle {
    /// How much more the gateway says than was heard.
    #[must_use]
    pub fn error(&self) -> f64 {
        self.said - self.heard
    }
}

/// The cycles of a talk: one less than questions. What cannot be paired is left out.
#[must_use]
pub fn cycles(talk: &Talk) -> Vec<Cycle> {
    let heard = stretches(&talk.frames);
    talk.questions
        .windows(2)
        .filter_map(|pair| {
            let asked = pair[0].last_word_at?;
            let interrupted = pair[1].started_at;
            let answer =
                heard.iter().find(|stretch| stretch.began >= asked && stretch.began < interrupted)?;
            cycle(talk, asked, interrupted, answer)
        })
        .collect()
}

fn cycle(talk: &Talk, asked: Instant, interrupted: Instant, answer: &Stretch) -> Option<Cycle> {
    let told = talk.events.iter().find(|event| is_speech(event) && event.received_at >= interrupted)?;
    let cut = talk.events.iter().find(|event| is_truncation(event) && event.received_at >= interrupted)?;
    let waited = answer.began.saturating_duration_since(asked);
    Some(Cycle {
        own_share: ms(waited) - ms(PAUSE) - ms(MODEL_DELAY),
        stop: ms(answer.ended.saturating_duration_since(interrupted)),
        told: ms(told.received_at.saturating_duration_since(interrupted)),
        stale: signed_ms(told.received_at, answer.ended),
        heard: ms(answer.length),
        said: cut.json["audio_end_ms"].as_f64()?,
    })
}

fn ms(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1_000.0
}

fn signed_ms(from: Instant, to: Instant) -> f64 {
    ms(to.saturating_duration_since(from)) - ms(from.saturating_duration_since(to))
}

/// The value at or below which a share of the values lie (nearest rank); nothing of none.
#[must_use]
pub fn quantile(values: impl Iterator<Item = f64>, share: f64) -> Option<f64> {
    let mut sorted: Vec<f64> = values.collect();
    sorted.sort_by(f64::total_cmp);
    let rank = (share * sorted.len() as f64).ceil() as usize;
    sorted.get(rank.max(1) - 1).copied()
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use voxgate_caller::recording::HeardFrame;
    use voxgate_caller::{ServerEvent, Spoken};
    use voxgate_protocol::audio::SampleCount;

    use super::*;

    fn spoken(started_at: Instant, last_word_at: Instant) -> Spoken {
        Spoken { started_at, last_word_at: Some(last_word_at), capture_wait: None, finished_at: last_word_at }
    }

    fn event(received_at: Instant, json: serde_json::Value) -> ServerEvent {
        ServerEvent { received_at, json }
    }

    #[test]
    fn a_cycle_is_measured_between_the_recording_and_what_was_told() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let frame = |ms: u64| HeardFrame {
            start: SampleCount(ms * 24),
            length: SampleCount(480),
            heard_at: at(1_000 + ms),
            audible: Some((SampleCount(0), SampleCount(479))),
        };
        let talk = Talk {
            questions: vec![spoken(at(0), at(250)), spoken(at(2_000), at(2_400))],
            events: vec![
                event(at(60), json!({"type": "input_audio_buffer.speech_started"})),
                event(at(2_090), json!({"type": "input_audio_buffer.speech_started"})),
                event(at(2_091), json!({"type": "conversation.item.truncated", "audio_end_ms": 1_080})),
            ],
            frames: (0..54).map(|index| frame(index * 20)).collect(),
        };
        let found = cycles(&talk);
        assert_eq!(found.len(), 1);
        let close = |value: f64, expected: f64| (value - expected).abs() < 0.1;
        assert!(close(found[0].own_share, 50.0), "{found:?}");
        assert!(close(found[0].stop, 80.0), "{found:?}");
        assert!(close(found[0].told, 90.0), "{found:?}");
        assert!(close(found[0].stale, -10.0), "{found:?}");
        assert!(close(found[0].error(), 0.0), "{found:?}");
    }

    #[test]
    fn an_answer_that_never_came_is_no_cycle() {
        let start = Instant::now();
        let talk = Talk { questions: vec![spoken(start, start), spoken(start, start)], ..Talk::default() };
        assert_eq!(cycles(&talk), []);
    }

    #[test]
    fn a_quantile_is_one_of_the_values() {
        let values = || (1..=100).rev().map(f64::from);
        assert_eq!(quantile(values(), 0.5), Some(50.0));
        assert_eq!(quantile(values(), 0.99), Some(99.0));
        assert_eq!(quantile(std::iter::empty(), 0.5), None);
    }
}
