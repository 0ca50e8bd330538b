//! How long the caller has been silent after the agent's last word, where the provider finds the turns.
//!
//! Where the gateway finds them its turn machine has this clock. A provider counts from the end of what it sent, which may
//! be long before the caller has heard it, so it is never asked to.

use std::time::{Duration, Instant};

use voxgate_protocol::settings::TurnDetection;

/// The clock of the idle timeout.
#[derive(Debug, Default)]
pub(super) struct IdleClock {
    timeout: Option<Duration>,
    /// When it fires, and where in the caller's audio the silence began.
    running: Option<(Instant, Duration)>,
}

impl IdleClock {
    /// New rules for turns; without a timeout nothing is timed.
    pub(super) fn configure(&mut self, detection: Option<&TurnDetection>) {
        self.timeout = match detection {
            Some(TurnDetection::ServerVad(vad)) => vad.idle_timeout,
            Some(TurnDetection::Semantic(_)) | None => None,
        };
        if self.timeout.is_none() {
            self.running = None;
        }
    }

    /// The agent's last word was heard, at this position of the caller's audio.
    pub(super) fn start(&mut self, now: Instant, from: Duration) {
        self.running = self.timeout.and_then(|timeout| Some((now.checked_add(timeout)?, from)));
    }

    /// Somebody speaks, or is about to.
    pub(super) const fn stop(&mut self) {
        self.running = None;
    }

    /// Where the silence began, if it has lasted for too long. Then it runs no more.
    pub(super) fn take(&mut self, now: Instant) -> Option<Duration> {
        self.running.take_if(|(at, _)| *at <= now).map(|(_, from)| from)
    }

    /// When [`IdleClock::take`] has to be asked.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.running.map(|(at, _)| at)
    }
}
