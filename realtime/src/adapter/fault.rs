//! Failures reported by the session core.

use voxgate_protocol::bridge::{Fault, FaultOwner};

use super::Adapter;
use crate::error::{ApiError, ErrorKind, excerpt};

impl Adapter {
    /// One `error` event, with the client's `event_id` if the failure answers a request of the client.
    ///
    /// Some clients end the call on any error, so the two races that hurt nobody are kept from a client that did not
    /// ask: a cancellation that came too late, and a second answer the client did not request.
    pub(super) fn fault(&mut self, fault: &Fault) {
        let event_id = match fault.code.as_str() {
            "response_cancel_not_active" => return,
            "input_audio_buffer_commit_empty" => match self.input.take_commit() {
                Some(event_id) => event_id,
                None => return,
            },
            "conversation_already_has_active_response" => match self.refused_request() {
                Some(event_id) => event_id,
                None => return,
            },
            _ if self.answers.active().is_none() => {
                self.answers.requests.pop_front().and_then(|request| request.event_id)
            }
            _ => None,
        };
        if fault.is_final {
            self.answers.requests.clear();
            self.has_reported_end = true;
        }
        self.refuse(event_id, &refusal(fault));
    }

    /// The request of the client that lost the race: one that has not begun, or one that took the name of an answer
    /// to the caller's turn.
    fn refused_request(&mut self) -> Option<Option<String>> {
        if let Some(request) = self.answers.requests.pop_front() {
            return Some(request.event_id);
        }
        let active = self.answers.live.iter_mut().find(|response| !response.request.is_out_of_band)?;
        active.request.event_id.take().map(Some)
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
