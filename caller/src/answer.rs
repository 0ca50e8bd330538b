//! When the answer to a question is complete.

use std::time::{Duration, Instant};

use serde_json::Value;

/// A response without sound (text, or a tool call) is complete this long after it is done: sound that belongs to it
/// would have started before.
const SOUND_MAY_START: Duration = Duration::from_secs(1);

/// What can be said about the answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum AnswerState {
    /// Not complete.
    Open,
    /// Complete.
    Complete,
    /// The API says that it failed.
    Failed(String),
}

/// Follows the events of a session until the last thing said is answered.
///
/// An answer that was over before the last word belongs to something said before, and one that was cancelled because
/// the caller went on speaking is followed by another.
#[derive(Debug, Default)]
pub(crate) struct AnswerWatch {
    last_word_at: Option<Instant>,
    response: Option<String>,
    done: Option<(Instant, Done)>,
    sounding: Sounding,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Sounding {
    #[default]
    NotYet,
    Now,
    Over(Instant),
}

#[derive(Clone, Debug)]
enum Done {
    Completed,
    Cancelled,
    Failed(String),
}

impl AnswerWatch {
    /// The question was said; `last_word_at` is when its last audible sample was.
    pub(crate) const fn question_ended(&mut self, last_word_at: Instant) {
        self.last_word_at = Some(last_word_at);
    }

    /// Takes an event that came at `now`.
    pub(crate) fn handle(&mut self, event: &Value, now: Instant) {
        match event["type"].as_str().unwrap_or_default() {
            "response.created" => {
                self.response = event["response"]["id"].as_str().map(str::to_owned);
                (self.done, self.sounding) = (None, Sounding::NotYet);
            }
            "response.done" if self.concerns(&event["response"]["id"]) => {
                self.done = Some((now, outcome(&event["response"])));
            }
            "output_audio_buffer.started" if self.concerns(&event["response_id"]) => {
                self.sounding = Sounding::Now
            }
            "output_audio_buffer.stopped" | "output_audio_buffer.cleared"
                if self.concerns(&event["response_id"]) =>
            {
                self.sounding = Sounding::Over(now);
            }
            _ => {}
        }
    }

    /// What is known at `now`.
    pub(crate) fn state(&self, now: Instant) -> AnswerState {
        let (Some(last_word_at), Some((done_at, done))) = (self.last_word_at, &self.done) else {
            return AnswerState::Open;
        };
        if let Done::Failed(message) = done {
            return AnswerState::Failed(message.clone());
        }
        let over_at = match self.sounding {
            Sounding::Now => return AnswerState::Open,
            Sounding::NotYet => *done_at + SOUND_MAY_START,
            Sounding::Over(at) => at.max(*done_at),
        };
        let belongs = over_at >= last_word_at && !matches!(done, Done::Cancelled);
        if belongs && over_at <= now { AnswerState::Complete } else { AnswerState::Open }
    }

    /// When [`AnswerWatch::state`] may change without an event.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let (done_at, _) = self.done.as_ref()?;
        (self.sounding == Sounding::NotYet).then(|| *done_at + SOUND_MAY_START)
    }

    /// Events of a response that is not the newest one are too late to matter. Gateways that leave ids out are
    /// taken at their word.
    fn concerns(&self, id: &Value) -> bool {
        match (id.as_str(), &self.response) {
            (Some(id), Some(response)) => id == response,
            _ => true,
        }
    }
}

fn outcome(response: &Value) -> Done {
    match response["status"].as_str() {
        Some("cancelled") => Done::Cancelled,
        Some("failed") => {
            let message = response["status_details"]["error"]["message"].as_str();
            Done::Failed(message.unwrap_or("no reason given").to_owned())
        }
        _ => Done::Completed,
    }
}

#[cfg(test)]
mod tests;
