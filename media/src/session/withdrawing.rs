//! Policy takes an answer back, and may have something else said.

use std::time::Instant;

use voxgate_protocol::bridge::{BridgeCommand, ResponseStatus, TurnOwner};
use voxgate_protocol::id::ResponseId;
use voxgate_protocol::settings::ResponseOptions;

use super::Session;

/// What is to happen once the answer that was taken back is over.
#[derive(Debug, Default)]
pub(super) struct Withdrawal {
    /// A provider that owns the turns will begin an answer nobody has seen yet; it is the one.
    awaits_answer: bool,
    instead: Option<Box<ResponseOptions>>,
}

impl Withdrawal {
    /// What may be asked for now that no answer is under way.
    pub(super) fn take_instead(&mut self) -> Option<Box<ResponseOptions>> {
        if self.awaits_answer { None } else { self.instead.take() }
    }

    /// Whether the answer that begins is the one to be taken back.
    pub(super) fn meets(&mut self) -> bool {
        std::mem::take(&mut self.awaits_answer)
    }

    /// Whether an answer that has not begun will be taken back.
    pub(super) const fn awaits_answer(&self) -> bool {
        self.awaits_answer
    }

    /// The caller goes on: what was wrong is over.
    pub(super) fn forget(&mut self) {
        *self = Self::default();
    }
}

impl Session {
    pub(super) fn withdraw(
        &mut self,
        now: Instant,
        response_id: Option<ResponseId>,
        instead: Option<Box<ResponseOptions>>,
    ) {
        self.create_when_done = false;
        let is_asked = self.responses.is_busy();
        let found = response_id.or_else(|| self.responses.current().cloned());
        let awaits_answer = found.is_none()
            && !is_asked
            && self.traits.turn_owner == TurnOwner::Provider
            && self.answers_turns();
        self.withdrawal = Withdrawal { awaits_answer, instead };
        match found {
            Some(response_id) => self.withdraw_begun(response_id),
            None => self.responses.cancel_asked(&ResponseStatus::IncompleteByFilter),
        }
        self.clear_output(now);
        self.create_what_waited();
    }

    pub(super) fn withdraw_begun(&mut self, response_id: ResponseId) {
        if self.responses.cancel(&response_id, ResponseStatus::IncompleteByFilter) {
            self.bridge(BridgeCommand::CancelResponse { response_id: Some(response_id) });
        }
    }

    /// Whether turns of the caller are answered without the client.
    pub(super) fn answers_turns(&self) -> bool {
        self.settings.input.turn_detection.as_ref().is_some_and(|turn| turn.creates_response())
    }
}
