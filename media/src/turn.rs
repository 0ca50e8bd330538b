//! When the caller begins and ends to speak.
//!
//! Speech is timed by the samples alone, so a replayed call has the same turns; only the idle timeout looks at the
//! clock. Audio that ends or is muted is silence and ends a turn like any other.

mod backchannel;
mod ending;
mod listening;
mod log_mel;
mod loudness;
mod shape;

pub use backchannel::Backchannels;
pub use ending::{EndOfTurn, TurnSoFar};
pub use listening::{ListeningRule, Question, TurnListener};
pub use log_mel::{LOG_MEL_BANDS, LOG_MEL_HOP, LOG_MEL_RATE, LogMel};
pub use shape::TranscriptShape;

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use voxgate_protocol::audio::{SampleCount, SampleRate};
use voxgate_protocol::settings::{Eagerness, TurnDetection};

use crate::voice::{VOICE_FRAME, VoiceFrame};

use listening::Listening;
use loudness::{Loudness, Sounds};

/// Frames of speech that begin a turn, about 50 ms; a click is shorter.
const START_FRAMES: usize = 3;

/// The frames among which [`START_FRAMES`] have to lie.
const START_WINDOW: usize = 4;

/// How far below the threshold speech in progress may fall.
const HYSTERESIS: f32 = 0.15;

/// What `semantic_vad` takes over from `server_vad`, for it has no such settings of its own.
const SEMANTIC_THRESHOLD: f32 = 0.5;
const SEMANTIC_PREFIX: Duration = Duration::from_millis(300);

/// Estimates at or below the first mean that the caller will surely go on, at or above the second that they are surely
/// done: no estimate is exact enough to tell more at either end.
const SURELY_GOES_ON: f32 = 0.1;
const SURELY_DONE: f32 = 0.9;

/// Speech after which an estimate no longer counts. Words come later than their sound, so a little speech after an
/// estimate is the end of what was estimated.
const ESTIMATE_OUTLIVES: Duration = Duration::from_millis(250);

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TurnEvent {
    /// The caller began to speak.
    SpeechStarted {
        /// Where the turn's audio begins: the onset of speech less the prefix padding, never inside the turn before.
        at: Duration,
        /// How far the input had been heard when this was decided.
        detected_at: SampleCount,
    },
    /// The caller fell silent: the listener is asked whether that ends the turn.
    Paused {
        /// The question.
        question: Question,
        /// Where the turn's audio begins.
        begin: SampleCount,
    },
    /// The caller's turn is over.
    SpeechStopped {
        /// Where the turn's audio ends, the pause included.
        at: Duration,
        /// Where the last speech ended.
        last_speech: SampleCount,
    },
    /// Nobody spoke for the idle timeout after the agent's last word.
    IdleTimeout {
        /// The input position when playback ended.
        from: Duration,
        /// The input position now.
        to: Duration,
    },
}

/// How long a pause ends a turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PauseRule {
    /// Always the same pause.
    Fixed(Duration),
    /// The less the words sound complete, the longer.
    Adaptive {
        /// If the words are surely complete.
        shortest: Duration,
        /// Without an estimate.
        usual: Duration,
        /// If the words are surely not complete.
        maximum: Duration,
    },
}

impl PauseRule {
    /// The maxima are those of the Realtime API; the rest is chosen so that a finished sentence is answered sooner than
    /// by `server_vad` with its 500 ms, and a caller nobody understands the words of is not cut off more often.
    #[must_use]
    pub fn of(detection: &TurnDetection) -> Self {
        match detection {
            TurnDetection::ServerVad(vad) => Self::Fixed(vad.silence),
            TurnDetection::Semantic(vad) => {
                let (shortest, usual, maximum) = match vad.eagerness {
                    Eagerness::High => (200, 300, 2_000),
                    Eagerness::Medium | Eagerness::Auto => (250, 600, 4_000),
                    Eagerness::Low => (500, 1_200, 8_000),
                };
                Self::Adaptive {
                    shortest: Duration::from_millis(shortest),
                    usual: Duration::from_millis(usual),
                    maximum: Duration::from_millis(maximum),
                }
            }
        }
    }

    /// The longest pause there can be inside a turn.
    #[must_use]
    pub const fn longest(self) -> Duration {
        match self {
            Self::Fixed(pause) => pause,
            Self::Adaptive { maximum, .. } => maximum,
        }
    }

    fn pause(self, complete: Option<f32>) -> Duration {
        match (self, complete) {
            (Self::Fixed(pause), _) => pause,
            (Self::Adaptive { usual, .. }, None) => usual,
            (Self::Adaptive { shortest, maximum, .. }, Some(complete)) => {
                let open = 1.0 - (complete - SURELY_GOES_ON) / (SURELY_DONE - SURELY_GOES_ON);
                // Waiting is judged by its factor: from 0.3 to 0.6 s is as much as from 2 to 4 s.
                let factor = maximum.as_secs_f32() / shortest.as_secs_f32();
                shortest.mul_f32(factor.powf(open.clamp(0.0, 1.0)))
            }
        }
    }
}

#[derive(Clone, Copy, Debug)]
struct Parameters {
    threshold: f32,
    prefix: Duration,
    rule: PauseRule,
    idle_timeout: Option<Duration>,
}

impl Parameters {
    fn of(detection: &TurnDetection) -> Self {
        let rule = PauseRule::of(detection);
        match detection {
            TurnDetection::ServerVad(vad) => Self {
                threshold: vad.threshold.clamp(0.01, 1.0),
                prefix: vad.prefix_padding,
                rule,
                idle_timeout: vad.idle_timeout,
            },
            TurnDetection::Semantic(_) => {
                Self { threshold: SEMANTIC_THRESHOLD, prefix: SEMANTIC_PREFIX, rule, idle_timeout: None }
            }
        }
    }
}

/// How likely the words so far are a whole turn.
#[derive(Clone, Copy, Debug)]
struct Estimate {
    complete: f32,
    /// What the caller said since.
    spoken: Duration,
}

/// Finds the turns of one stream of [`VoiceFrame`]s.
#[derive(Debug)]
pub struct TurnMachine {
    parameters: Parameters,
    rate: SampleRate,
    position: SampleCount,
    /// The last frames before speech: where each began and whether it was speech.
    window: VecDeque<(SampleCount, bool)>,
    loudness: Loudness,
    /// What the detector said of the last frame.
    probability: f32,
    /// Where the last speech ended, while the caller speaks.
    last_speech: Option<SampleCount>,
    /// Speech since the turn began, and where it ended. Kept until the next turn begins.
    spoken: Option<(Duration, SampleCount)>,
    /// Where the turn before ended: the next cannot begin earlier.
    floor: SampleCount,
    /// Where the turn's audio begins, while the caller speaks.
    begin: SampleCount,
    estimate: Option<Estimate>,
    listening: Option<Listening>,
    idle: Option<(Instant, SampleCount)>,
    events: VecDeque<TurnEvent>,
}

impl TurnMachine {
    /// A machine for frames whose positions count samples of the given rate.
    #[must_use]
    pub fn new(detection: &TurnDetection, rate: SampleRate) -> Self {
        Self {
            parameters: Parameters::of(detection),
            rate,
            position: SampleCount(0),
            window: VecDeque::with_capacity(START_WINDOW),
            loudness: Loudness::new(),
            probability: 0.0,
            last_speech: None,
            spoken: None,
            floor: SampleCount(0),
            begin: SampleCount(0),
            estimate: None,
            listening: None,
            idle: None,
            events: VecDeque::new(),
        }
    }

    /// A machine that begins to listen within a stream: the next frame begins at this position.
    #[must_use]
    pub fn starting_at(position: SampleCount, detection: &TurnDetection, rate: SampleRate) -> Self {
        Self { position, floor: position, ..Self::new(detection, rate) }
    }

    /// With a listener, who is asked in the pauses of turns under [`PauseRule::Adaptive`].
    #[must_use]
    pub fn heard_by(self, rule: Option<ListeningRule>) -> Self {
        Self { listening: rule.map(Listening::new), ..self }
    }

    /// Changes the rules from the next frame on. Speech in progress goes on under the new ones.
    pub fn reconfigure(&mut self, detection: &TurnDetection) {
        self.parameters = Parameters::of(detection);
        if self.parameters.idle_timeout.is_none() {
            self.idle = None;
        }
    }

    /// Takes the verdict on the next frame.
    pub fn push(&mut self, frame: VoiceFrame) {
        let begin = self.position;
        self.position = frame.end.max(begin);
        self.loudness.hear(frame.halves);
        if self.last_speech.is_some() {
            self.continue_speech(begin, frame.probability);
        } else {
            self.look_for_speech(begin, frame.probability);
        }
        self.probability = frame.probability;
    }

    /// Ends speech in progress because no more audio will come.
    pub fn end_of_stream(&mut self) {
        if let Some(last_speech) = self.last_speech.take() {
            self.stop(last_speech);
        }
        self.window.clear();
    }

    /// Forgets speech in progress without an event: the client took the turn into its own hands.
    pub fn discard(&mut self) {
        self.last_speech = None;
        self.forget_estimates();
        self.window.clear();
        self.floor = self.position;
    }

    /// Takes the listener's verdict on a question: how likely the caller is done, 0 to 1, or `None` if that cannot be told.
    /// It outranks the words until the caller speaks on. False if it came too late to count.
    pub fn hear_verdict(&mut self, question: Question, probability: Option<f32>) -> bool {
        self.listening.as_mut().is_some_and(|listening| listening.hear(question, probability))
    }

    /// Tells how likely the words heard so far are a whole turn, 0 to 1; `None` if nobody can tell. Valid until the
    /// caller has spoken on for a quarter of a second; only [`PauseRule::Adaptive`] uses it.
    pub fn estimate_complete(&mut self, probability: Option<f32>) {
        self.estimate = probability
            .filter(|probability| !probability.is_nan())
            .map(|complete| Estimate { complete, spoken: Duration::ZERO });
    }

    /// The agent is audible: the idle timeout stops.
    pub fn playback_started(&mut self) {
        self.idle = None;
    }

    /// The agent's last word was heard: the idle timeout starts, if one is set and the caller is silent.
    pub fn playback_ended(&mut self, now: Instant) {
        if let Some(timeout) = self.parameters.idle_timeout
            && self.last_speech.is_none()
        {
            self.idle = now.checked_add(timeout).map(|deadline| (deadline, self.position));
        }
    }

    /// Fires the idle timeout if it is due.
    pub fn handle_timeout(&mut self, now: Instant) {
        let Some((deadline, from)) = self.idle else { return };
        if deadline <= now {
            self.idle = None;
            let (from, to) = (from.duration_at(self.rate), self.position.duration_at(self.rate));
            self.events.push_back(TurnEvent::IdleTimeout { from, to });
        }
    }

    /// When [`TurnMachine::handle_timeout`] wants to be called.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.idle.map(|(deadline, _)| deadline)
    }

    /// The next event.
    pub fn poll_event(&mut self) -> Option<TurnEvent> {
        self.events.pop_front()
    }

    /// Whether the caller is speaking.
    #[must_use]
    pub const fn is_speaking(&self) -> bool {
        self.last_speech.is_some()
    }

    /// How much the caller has spoken in the last turn, pauses not counted, and how long ago that ended.
    #[must_use]
    pub fn last_spoken(&self) -> Option<(Duration, Duration)> {
        let (spoken, end) = self.spoken?;
        Some((spoken, SampleCount(self.position.0.saturating_sub(end.0)).duration_at(self.rate)))
    }

    /// How far the input has been heard.
    #[must_use]
    pub const fn position(&self) -> SampleCount {
        self.position
    }

    fn look_for_speech(&mut self, begin: SampleCount, probability: f32) {
        if self.window.len() == START_WINDOW {
            self.window.pop_front();
        }
        self.window.push_back((begin, probability >= self.parameters.threshold));
        if self.window.iter().filter(|(_, speech)| *speech).count() < START_FRAMES {
            return;
        }
        let onset = self.window.iter().find(|(_, speech)| *speech).map_or(begin, |(at, _)| *at);
        let prefix = self.rate.samples_in(self.parameters.prefix);
        let at = SampleCount(onset.0.saturating_sub(prefix.0)).max(self.floor);
        self.window.clear();
        self.loudness.voice_begins();
        self.last_speech = Some(self.position);
        self.spoken = Some((VOICE_FRAME * START_FRAMES as u32, self.position));
        self.begin = at;
        self.forget_estimates();
        self.idle = None;
        self.events.push_back(TurnEvent::SpeechStarted {
            at: at.duration_at(self.rate),
            detected_at: self.position,
        });
    }

    fn continue_speech(&mut self, begin: SampleCount, probability: f32) {
        let Some(before) = self.last_speech else { return };
        if probability >= self.parameters.threshold {
            self.loudness.voice_goes_on();
        }
        if let Some(last_speech) = self.speech_in_frame(begin, probability) {
            self.last_speech = Some(last_speech);
            self.spoken = self.spoken.map(|(spoken, _)| (spoken + VOICE_FRAME, last_speech));
            self.estimate = self
                .estimate
                .map(|estimate| Estimate { spoken: estimate.spoken + VOICE_FRAME, ..estimate })
                .filter(|estimate| estimate.spoken < ESTIMATE_OUTLIVES);
            if let Some(listening) = &mut self.listening {
                listening.speech(VOICE_FRAME);
            }
            return;
        }
        let paused = SampleCount(self.position.0 - before.0).duration_at(self.rate);
        if self.waits_for_listener(paused) {
            return;
        }
        let heard = self.listening.as_ref().and_then(Listening::verdict);
        let complete = heard.or_else(|| self.estimate.map(|estimate| estimate.complete));
        // A pause shorter than a frame would end every turn at once.
        if paused >= self.parameters.rule.pause(complete).max(VOICE_FRAME) {
            self.last_speech = None;
            self.stop(before);
        }
    }

    /// Where the speech in the frame just heard ends.
    fn speech_in_frame(&self, begin: SampleCount, probability: f32) -> Option<SampleCount> {
        if probability < (self.parameters.threshold - HYSTERESIS).max(0.01) {
            return None;
        }
        match self.loudness.sounds() {
            Sounds::ToItsEnd => Some(self.position),
            Sounds::ToItsMiddle => Some(SampleCount(begin.0.midpoint(self.position.0))),
            // A voice under the noise shows in the detector alone: it grows surer, and never does so after the end.
            Sounds::Not => {
                (self.loudness.is_masked() && probability > self.probability).then_some(self.position)
            }
        }
    }

    /// Asks the listener, if it is time to, and says whether the pause has to go on for the verdict.
    fn waits_for_listener(&mut self, paused: Duration) -> bool {
        let PauseRule::Adaptive { .. } = self.parameters.rule else { return false };
        let Some(listening) = &mut self.listening else { return false };
        if let Some(question) = listening.pause(paused) {
            self.events.push_back(TurnEvent::Paused { question, begin: self.begin });
        }
        listening.waits(paused)
    }

    fn forget_estimates(&mut self) {
        self.estimate = None;
        if let Some(listening) = &mut self.listening {
            listening.forget();
        }
    }

    fn stop(&mut self, last_speech: SampleCount) {
        self.floor = self.position;
        self.forget_estimates();
        let at = self.position.duration_at(self.rate);
        self.events.push_back(TurnEvent::SpeechStopped { at, last_speech });
    }
}

#[cfg(test)]
mod corpus;
#[cfg(test)]
mod lateness_tests;
#[cfg(test)]
mod noise;
#[cfg(test)]
mod tests;
