//! What somebody who looks at a session sees of it: who speaks when, who is cut off, and how loud both sides are.
//!
//! Nothing in the session depends on it. It costs a sum a sample and nothing a packet, and only where
//! [`Session::observe_since`] was called.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use voxgate_protocol::audio::Pcm;
use voxgate_protocol::settings::TurnDetection;

use super::Session;
use super::input::{Arrival, SEMANTIC_PADDING};
use super::loudness::Piece;

/// Observations that wait for whoever reads them; of more the oldest are forgotten.
const MOST_UNREAD: usize = 256;

/// Time in which the samples of a stretch come in. Loudness is told of what is older.
const COMING_IN: Duration = Duration::from_millis(200);

/// Something that was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Observed {
    /// The caller speaks since then.
    CallerSpeaks(Instant),
    /// The caller's last word was then.
    CallerSilent(Instant),
    /// An answer is played since then.
    AgentSpeaks(Instant),
    /// Nothing of it is played since then.
    AgentSilent(Instant),
    /// The caller cut an answer off.
    Interrupted {
        /// When the caller began to speak.
        spoke: Instant,
        /// When the last of the answer was sent.
        silent: Instant,
    },
}

/// How loud both sides were in stretches of [`LOUDNESS_STEP`](super::loudness::LOUDNESS_STEP), 0 to 100.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loudness {
    /// When the first stretch began, since the time both count from.
    pub from: Duration,
    /// Of the caller.
    pub caller: Vec<u8>,
    /// Of the agent.
    pub agent: Vec<u8>,
}

/// A piece of a voice, with times since both voices are observed.
#[derive(Clone, PartialEq, Eq)]
pub enum HeardSound {
    /// Samples that were heard from then on.
    Samples(Duration, Pcm),
    /// From then on nothing is heard of what was going to be.
    Silence(Duration),
}

/// Leaves the samples out: audio must never reach a log.
impl std::fmt::Debug for HeardSound {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Samples(from, pcm) => write!(f, "Samples({from:?}, {} samples)", pcm.samples.len()),
            Self::Silence(from) => write!(f, "Silence({from:?})"),
        }
    }
}

/// What was heard of both voices.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HeardVoices {
    /// Of the caller, in the order it came in.
    pub caller: Vec<HeardSound>,
    /// Of the agent, in the order it was sent.
    pub agent: Vec<HeardSound>,
}

/// What was seen and not read.
#[derive(Debug, Default)]
pub(super) struct Observer {
    since: Option<Instant>,
    seen: VecDeque<Observed>,
    caller_spoke: Option<Instant>,
    agent_speaks: bool,
}

impl Observer {
    fn note(&mut self, observed: Observed) {
        if self.since.is_none() {
            return;
        }
        if self.seen.len() == MOST_UNREAD {
            self.seen.pop_front();
        }
        self.seen.push_back(observed);
    }

    pub(super) fn caller_speaks(&mut self, at: Instant) {
        self.caller_spoke = Some(at);
        self.note(Observed::CallerSpeaks(at));
    }

    pub(super) fn caller_silent(&mut self, at: Instant) {
        self.note(Observed::CallerSilent(at));
    }

    pub(super) fn agent_speaks(&mut self, at: Instant) {
        if !std::mem::replace(&mut self.agent_speaks, true) {
            self.note(Observed::AgentSpeaks(at));
        }
    }

    pub(super) fn agent_silent(&mut self, at: Instant) {
        if std::mem::take(&mut self.agent_speaks) {
            self.note(Observed::AgentSilent(at));
        }
    }

    pub(super) fn interrupted(&mut self, silent: Instant) {
        let spoke = self.caller_spoke.unwrap_or(silent).min(silent);
        self.note(Observed::Interrupted { spoke, silent });
    }
}

impl Session {
    /// From now on what is seen is kept for [`Session::poll_observed`] and [`Session::take_loudness`], which counts from
    /// that moment.
    pub fn observe_since(&mut self, since: Instant) {
        self.observer.since = Some(since);
        self.input.listen_to_loudness(since);
        self.answer.listen_to_loudness(since);
    }

    /// The next thing that was seen, the oldest first.
    pub fn poll_observed(&mut self) -> Option<Observed> {
        self.observer.seen.pop_front()
    }

    /// How loud both sides were since the last call and up to shortly before `now`; `None` for no whole stretch.
    pub fn take_loudness(&mut self, now: Instant) -> Option<Loudness> {
        let until = now.checked_sub(COMING_IN)?.saturating_duration_since(self.observer.since?);
        let Piece { from, levels: caller } = self.input.take_loudness(until)?;
        // Both began to count at the same moment and are always asked together.
        let agent = self.answer.take_loudness(until).map_or_else(Vec::new, |piece| piece.levels);
        Some(Loudness { from, caller, agent })
    }

    /// From now on the samples of both voices are kept until [`Session::take_voices`]: call that after every input, nothing else
    /// bounds them. To be called after [`Session::observe_since`].
    pub fn tape_voices(&mut self) {
        self.input.tape_voice();
        self.answer.tape_voice();
    }

    /// What was heard of both voices since the last call.
    pub fn take_voices(&mut self) -> HeardVoices {
        HeardVoices { caller: self.input.take_tape(), agent: self.answer.take_tape() }
    }

    /// The caller began to speak at a position of the audio that has the configured padding before the first word.
    pub(super) fn note_speech(&mut self, now: Instant, at: Duration) {
        let padding = match self.settings.input.turn_detection.as_ref() {
            Some(TurnDetection::ServerVad(vad)) => vad.prefix_padding,
            Some(TurnDetection::Semantic(_)) => SEMANTIC_PADDING,
            None => Duration::ZERO,
        };
        let began = self.input.arrival_at(at + padding).map_or(now, |arrival| arrival.received);
        self.observer.caller_speaks(began.min(now));
    }

    /// The turn is over; its last sample came with `arrival`.
    pub(super) fn turn_ended(&mut self, arrival: Option<Arrival>, decided: Instant) {
        self.observer.caller_silent(arrival.map_or(decided, |arrival| arrival.received));
        self.meter.speech_ended(arrival, decided);
    }
}
