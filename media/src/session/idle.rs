//! How long the caller has been silent after the agent's last word, where the provider finds the turns.
//!
//! Where the gateway finds them its turn machine has this clock. A provider counts from the end of what it sent, which may
//! be long before the caller has heard it, so it is never asked to.

use std::time::{Duration, Instant};

use voxgate_protocol::bridge::BridgeCommand;
use voxgate_protocol::session::SessionEvent;
use voxgate_protocol::settings::TurnDetection;

use super::Session;

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

impl Session {
    /// The silence becomes an item like any turn: a model may hear in it what the detector did not.
    pub(super) fn answer_silence(&mut self, from: Duration, to: Duration) {
        let item_id = self.mint_item();
        self.event(SessionEvent::InputTimedOut { item_id: item_id.clone(), from, to });
        let silence = self.input.take_silence(to.saturating_sub(from));
        self.bridge(BridgeCommand::Audio(silence));
        self.bridge(BridgeCommand::CommitInput { item_id: item_id.clone(), is_silence: true });
        self.event(SessionEvent::InputCommitted { item_id });
        self.answer_turn();
    }

    /// The same where the provider has heard the silence itself, as part of everything. It says when the item is made.
    pub(super) fn have_silence_answered(&mut self, now: Instant, from: Duration) {
        self.input.fill_silence(now, from);
        self.take_input(now);
        let item_id = self.mint_item();
        let to = self.input.position();
        self.event(SessionEvent::InputTimedOut { item_id: item_id.clone(), from, to });
        self.bridge(BridgeCommand::CommitInput { item_id, is_silence: true });
        self.answer_turn();
    }

    pub(super) fn playback_started(&mut self) {
        self.idle.stop();
        self.input.playback_started();
    }

    pub(super) fn playback_ended(&mut self, now: Instant) {
        self.input.playback_ended(now);
        if self.user_item.is_none() {
            self.idle.start(now, self.input.position());
        }
    }
}
