//! How a session ends, and what is left of it for a client that comes back.

use std::time::Instant;

use serde_json::{Value, json};
use voxgate_protocol::session::{EndReason, SessionCommand};
use voxgate_realtime::ApiError;

use super::Dialogue;
use super::chronicle::sentences;
use super::core::CoreInput;
use crate::logging;

/// The last event for a client whose session a mistake of ours ended.
pub(crate) fn told_of_mistake() -> Value {
    let error = ApiError::server_error("The gateway made a mistake: the session is over. Connect anew.");
    json!({ "type": "error", "event_id": "event_internal_error", "error": error.to_json()["error"] })
}

impl Dialogue {
    /// Ends the session. What a lost client cannot have heard is cut from its conversation first.
    pub(crate) fn end(&mut self, now: Instant, reason: EndReason) {
        if reason == EndReason::ClientLost && self.ended().is_none() {
            let silent_for = now.saturating_duration_since(self.client_heard_at);
            self.take(now, CoreInput::Command(SessionCommand::LoseClient { silent_for }));
        }
        self.take(now, CoreInput::End(reason));
    }

    /// A mistake of ours: nothing the session would still say is to be trusted, and its record says so.
    pub(crate) const fn fail(&mut self) {
        self.has_failed = true;
    }

    /// What is left of a session whose client was lost waits for it; any other end ends the conversation. A client that
    /// wanted to come back and did not reach this session tries again with the token it has.
    pub(super) fn leave(&mut self, now: Instant) {
        let ticket = self.ticket.take();
        let used = self.used_token.take().filter(|_| self.ended() != Some(EndReason::HungUp));
        if let Some(used) = used {
            self.chronicle.pen().event(now, sentences::did_not_come_back());
            return used.put_back(self.core.park());
        }
        let Some(ticket) = ticket else { return };
        if self.ended() == Some(EndReason::ClientLost) {
            ticket.park(now, self.core.park());
        }
    }
}

impl Drop for Dialogue {
    fn drop(&mut self) {
        let now = Instant::now();
        self.leave(now);
        let has_failed = self.has_failed || std::thread::panicking();
        let reason = match self.ended() {
            Some(reason) => reason,
            None if has_failed => EndReason::InternalError,
            None => EndReason::ClientLost,
        };
        // What a mistake left behind is not looked at once more.
        if !has_failed {
            self.write_second(now);
        }
        if let Some(cost) = self.account.as_mut().and_then(|account| account.close(now)) {
            self.presence.costs(now, cost);
        }
        self.chronicle.ended(now, reason);
        let record = self.presence.record();
        record.ended(self.presence.since_began(now), Some(reason));
        logging::session_ended(&record.summary());
        self.metrics.sessions.dec();
        self.metrics.session_ended(reason);
    }
}
