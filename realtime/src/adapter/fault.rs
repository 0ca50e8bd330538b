//! Failures reported by the session core.

use voxgate_protocol::bridge::{Fault, FaultOwner};

use super::Adapter;
use crate::asker::{Asker, Origin};
use crate::error::{ApiError, ErrorKind, excerpt};

impl Adapter {
    /// One `error` event, with the client's `event_id` if the failure answers a request of the client.
    ///
    /// Some clients end the call on any error, so the two races that hurt nobody are kept from a client that did not
    /// ask: a cancellation that came too late, and a second answer the client did not request.
    pub(super) fn fault(&mut self, fault: &Fault) {
        let asker = match fault.code.as_str() {
            "response_cancel_not_active" => return,
            "input_audio_buffer_commit_empty" => match self.input.take_commit() {
                Some(asker) => Some(asker),
                None => return,
            },
            "conversation_already_has_active_response" => match self.refused_request() {
                Some(asker) => Some(asker),
                None => return,
            },
            _ if self.answers.active().is_none() => {
                self.answers.requests.pop_front().and_then(|request| request.asker)
            }
            _ => None,
        };
        // What ends the session concerns everybody, whoever asked for it.
        let asker = asker.filter(|asker| !fault.is_final || asker.origin == Origin::Client);
        if fault.is_final {
            self.answers.requests.clear();
            self.has_reported_end = true;
        }
        self.refuse(asker, &refusal(fault));
    }

    /// An answer will not begin: the oldest the client asked for, or one to a turn, of which the client did not ask.
    pub(super) fn response_refused(&mut self, fault: &Fault, is_for_turn: bool) {
        if !is_for_turn {
            let asker = self.answers.requests.pop_front().and_then(|request| request.asker);
            return self.refuse(asker, &refusal(fault));
        }
        if fault.code != "conversation_already_has_active_response" {
            self.refuse(None, &refusal(fault));
        }
    }

    /// The request of the client that lost the race: one that has not begun, or one that took the name of an answer
    /// to the caller's turn.
    fn refused_request(&mut self) -> Option<Asker> {
        if let Some(request) = self.answers.requests.pop_front() {
            return request.asker;
        }
        let active = self.answers.live.iter_mut().find(|response| !response.request.is_out_of_band)?;
        // Without a name nobody would know which request is meant.
        active.request.asker.take_if(|asker| asker.event_id.is_some())
    }
}

fn refusal(fault: &Fault) -> ApiError {
    let kind = match (fault.code.as_str(), fault.owner) {
        ("insufficient_quota" | "credit_balance_exhausted" | "billing_hard_limit_reached", _) => {
            ErrorKind::InsufficientQuota
        }
        ("rate_limit_exceeded", _) => ErrorKind::RateLimit,
        (_, FaultOwner::Client) => ErrorKind::InvalidRequest,
        (_, FaultOwner::Provider | FaultOwner::Gateway) => ErrorKind::Server,
    };
    ApiError::new(500, kind, excerpt(&fault.code), fault.message.clone())
}
