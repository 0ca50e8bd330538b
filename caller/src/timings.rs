//! When each step of a call was reached.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// A step of a call, in the usual order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Step {
    /// An ephemeral key was received (not with a session of the caller's own).
    SecretReceived,
    /// The offer left for `POST /realtime/calls`.
    OfferSent,
    /// The answer came.
    AnswerReceived,
    /// A network path works.
    IceConnected,
    /// Keys are exchanged; audio can flow.
    DtlsConnected,
    /// The data channel `oai-events` is open.
    ChannelOpen,
    /// The first audio packet left.
    FirstAudioOut,
    /// The first event came, normally `session.created`.
    FirstEvent,
    /// The first audio packet came.
    FirstAudioIn,
    /// The first sample that can be heard came.
    FirstAudible,
}

impl Step {
    /// Every step in the usual order.
    pub const ALL: [Self; 10] = [
        Self::SecretReceived,
        Self::OfferSent,
        Self::AnswerReceived,
        Self::IceConnected,
        Self::DtlsConnected,
        Self::ChannelOpen,
        Self::FirstAudioOut,
        Self::FirstEvent,
        Self::FirstAudioIn,
        Self::FirstAudible,
    ];

    /// The name in JSON.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::SecretReceived => "secret_received",
            Self::OfferSent => "offer_sent",
            Self::AnswerReceived => "answer_received",
            Self::IceConnected => "ice_connected",
            Self::DtlsConnected => "dtls_connected",
            Self::ChannelOpen => "channel_open",
            Self::FirstAudioOut => "first_audio_out",
            Self::FirstEvent => "first_event",
            Self::FirstAudioIn => "first_audio_in",
            Self::FirstAudible => "first_audible",
        }
    }
}

/// A snapshot of the steps reached so far.
#[derive(Clone, Copy, Debug)]
pub struct CallTimings {
    started: Instant,
    reached: [Option<Instant>; Step::ALL.len()],
}

impl CallTimings {
    /// When dialling began.
    #[must_use]
    pub const fn started(&self) -> Instant {
        self.started
    }

    /// When a step was reached first.
    #[must_use]
    pub const fn at(&self, step: Step) -> Option<Instant> {
        self.reached[step as usize]
    }

    /// How long after dialling a step was reached.
    #[must_use]
    pub fn after(&self, step: Step) -> Option<Duration> {
        self.at(step).map(|at| at.saturating_duration_since(self.started))
    }

    /// The reached steps with the time since dialling, in the usual order.
    pub fn reached(&self) -> impl Iterator<Item = (Step, Duration)> + '_ {
        Step::ALL.into_iter().filter_map(|step| Some((step, self.after(step)?)))
    }
}

/// The clock-card of a running call, stamped from its tasks.
#[derive(Clone, Debug)]
pub(crate) struct TimingCard(Arc<Mutex<CallTimings>>);

impl TimingCard {
    pub(crate) fn new(started: Instant) -> Self {
        Self(Arc::new(Mutex::new(CallTimings { started, reached: [None; Step::ALL.len()] })))
    }

    /// Keeps the first time of each step.
    pub(crate) fn stamp(&self, step: Step, at: Instant) {
        let mut timings = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        timings.reached[step as usize].get_or_insert(at);
    }

    pub(crate) fn read(&self) -> CallTimings {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
