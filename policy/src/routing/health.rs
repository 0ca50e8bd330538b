//! How a target is: a circuit that opens when it fails, and how soon it speaks.

use std::time::Duration;

use super::fault::Trouble;

/// A refusal keeps a target out this many times longer: keys and contracts are mended by people.
const REFUSED_LONGER: u32 = 6;

/// A probe of which nothing is heard for this long counts no more: its caller hung up before anything was known.
const PROBE_PATIENCE: Duration = Duration::from_secs(30);

/// A measurement counts this long.
const FRESH: Duration = Duration::from_mins(10);

/// A new measurement counts for one part in this many.
const SMOOTHING: u32 = 5;

/// When targets are left alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BreakerRule {
    /// Failures in a row after which a target gets no more sessions. At least 1.
    pub failures: u32,
    /// For how long, until one session is let through to see. Doubles each time that one fails as well.
    pub cool_down: Duration,
    /// The longest it becomes.
    pub longest_cool_down: Duration,
}

impl Default for BreakerRule {
    fn default() -> Self {
        Self { failures: 3, cool_down: Duration::from_secs(10), longest_cool_down: Duration::from_mins(5) }
    }
}

/// How it went with a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It took the connection and the settings.
    Ready,
    /// It answered. For a spoken answer: how long after it was asked for its first audio came.
    Answered(Option<Duration>),
    /// It failed.
    Failed(Trouble),
}

/// Whether a target gets sessions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CircuitState {
    /// As many as its share is.
    Closed,
    /// None.
    Open,
    /// One, to see whether it is well again.
    HalfOpen,
}

impl CircuitState {
    /// Every state.
    pub const ALL: [Self; 3] = [Self::Closed, Self::Open, Self::HalfOpen];

    /// The label of metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Open => "open",
            Self::HalfOpen => "half_open",
        }
    }
}

/// Why and how often a circuit is open.
#[derive(Clone, Copy, Debug)]
struct Trip {
    /// In a row, this one included.
    number: u32,
    trouble: Trouble,
}

#[derive(Clone, Copy, Debug)]
enum Circuit {
    Closed,
    Open { until: Duration, trip: Trip },
    HalfOpen { since: Duration, trip: Trip },
}

#[derive(Clone, Copy, Debug)]
struct Measured {
    average: Duration,
    at: Duration,
}

/// The health of one target. All times are on one clock that does not go back.
#[derive(Clone, Copy, Debug)]
pub(super) struct Health {
    circuit: Circuit,
    /// Failures to begin, in a row.
    beginnings: u32,
    /// Failures to answer, in a row.
    answers: u32,
    first_audio: Option<Measured>,
}

impl Default for Health {
    fn default() -> Self {
        Self { circuit: Circuit::Closed, beginnings: 0, answers: 0, first_audio: None }
    }
}

impl Health {
    pub(super) const fn state(&self) -> CircuitState {
        match self.circuit {
            Circuit::Closed => CircuitState::Closed,
            Circuit::Open { .. } => CircuitState::Open,
            Circuit::HalfOpen { .. } => CircuitState::HalfOpen,
        }
    }

    /// When it may be given a session: at once, or not before.
    pub(super) fn free_at(&self, now: Duration) -> Duration {
        match self.circuit {
            Circuit::Closed => now,
            Circuit::Open { until, .. } => until.max(now),
            Circuit::HalfOpen { since, .. } => (since + PROBE_PATIENCE).max(now),
        }
    }

    /// It is given a session, which is the probe if the circuit is not closed.
    pub(super) const fn begin(&mut self, now: Duration) {
        if let Circuit::Open { trip, .. } | Circuit::HalfOpen { trip, .. } = self.circuit {
            self.circuit = Circuit::HalfOpen { since: now, trip };
        }
    }

    /// How long it takes to speak, if that was measured lately.
    pub(super) fn first_audio(&self, now: Duration) -> Option<Duration> {
        self.first_audio.filter(|measured| now < measured.at + FRESH).map(|measured| measured.average)
    }

    pub(super) fn report(&mut self, now: Duration, rule: &BreakerRule, outcome: Outcome) {
        match outcome {
            Outcome::Ready => {
                self.beginnings = 0;
                self.mend(false);
            }
            Outcome::Answered(first_audio) => {
                (self.beginnings, self.answers) = (0, 0);
                self.mend(true);
                if let Some(sample) = first_audio {
                    self.measure(now, sample);
                }
            }
            Outcome::Failed(trouble) => self.fail(now, rule, trouble),
        }
    }

    /// Only the probe closes the circuit again: an answer on a connection from before says little about new ones.
    const fn mend(&mut self, has_answered: bool) {
        if let Circuit::HalfOpen { trip, .. } = self.circuit
            && (has_answered || !trip.trouble.is_of_answers())
        {
            self.circuit = Circuit::Closed;
        }
    }

    fn fail(&mut self, now: Duration, rule: &BreakerRule, trouble: Trouble) {
        let failures = if trouble.is_of_answers() { &mut self.answers } else { &mut self.beginnings };
        *failures = failures.saturating_add(1);
        let is_enough = trouble.is_certain() || *failures >= rule.failures;
        match self.circuit {
            Circuit::Closed if is_enough => self.open(now, rule, Trip { number: 1, trouble }),
            Circuit::HalfOpen { trip, .. } => {
                self.open(now, rule, Trip { number: trip.number.saturating_add(1), trouble });
            }
            // What was on its way when the circuit opened fails too, and proves nothing new.
            Circuit::Closed | Circuit::Open { .. } => {}
        }
    }

    fn open(&mut self, now: Duration, rule: &BreakerRule, trip: Trip) {
        let factor = if trip.trouble == Trouble::Refused { REFUSED_LONGER } else { 1 };
        let doubled = 1_u32.checked_shl(trip.number.saturating_sub(1)).unwrap_or(u32::MAX);
        let pause = rule.cool_down.saturating_mul(factor).saturating_mul(doubled);
        let longest = rule.longest_cool_down.max(rule.cool_down);
        self.circuit = Circuit::Open { until: now.saturating_add(pause.min(longest)), trip };
        (self.beginnings, self.answers) = (0, 0);
    }

    fn measure(&mut self, now: Duration, sample: Duration) {
        let average = match self.first_audio(now) {
            Some(before) => (before * (SMOOTHING - 1) + sample) / SMOOTHING,
            None => sample,
        };
        self.first_audio = Some(Measured { average, at: now });
    }
}
