//! What the traffic with a provider says about it.

use std::time::Instant;

use voxgate_policy::routing::{Outcome, Trouble};
use voxgate_protocol::bridge::{BridgeCommand, BridgeEvent, OutputPart, ResponseStatus};

/// Listens to one connection and tells how it goes.
#[derive(Debug, Default)]
pub(crate) struct Evidence {
    /// When the answer that is awaited was asked for.
    asked: Option<Instant>,
}

impl Evidence {
    /// The provider is told something.
    pub(crate) const fn told(&mut self, now: Instant, command: &BridgeCommand) {
        if matches!(command, BridgeCommand::CreateResponse(_)) {
            self.asked = Some(now);
        }
    }

    /// The provider says something, in the order it said it.
    pub(crate) fn heard(&mut self, at: Instant, event: &BridgeEvent) -> Option<Outcome> {
        match event {
            BridgeEvent::Ready => Some(Outcome::Ready),
            BridgeEvent::InputCommitted { .. } => {
                self.asked.get_or_insert(at);
                None
            }
            BridgeEvent::Output { part: OutputPart::Audio(_), .. } => {
                let asked = self.asked.take()?;
                Some(Outcome::Answered(Some(at.saturating_duration_since(asked))))
            }
            BridgeEvent::ResponseDone { status, .. } => {
                self.asked = None;
                of_status(status)
            }
            BridgeEvent::Fault(fault) => Trouble::of(fault).map(Outcome::Failed),
            _ => None,
        }
    }
}

/// An answer that was cut off by the caller or the client says nothing. Nor does one that failed for a reason that may be the
/// client's: otherwise one client could close a target off for all.
fn of_status(status: &ResponseStatus) -> Option<Outcome> {
    match status {
        ResponseStatus::Completed
        | ResponseStatus::IncompleteByTokens
        | ResponseStatus::IncompleteByFilter => Some(Outcome::Answered(None)),
        ResponseStatus::Failed { code, .. } => {
            let trouble = match code.as_str() {
                "rate_limit_exceeded" => Trouble::Busy,
                "insufficient_quota" | "credit_balance_exhausted" | "billing_hard_limit_reached" => {
                    Trouble::Refused
                }
                "server_error" | "internal_error" | "service_unavailable" | "overloaded" => Trouble::Broken,
                _ => return None,
            };
            Some(Outcome::Failed(trouble))
        }
        ResponseStatus::CancelledByTurn | ResponseStatus::CancelledByClient => None,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use voxgate_protocol::audio::{Pcm, SampleRate};
    use voxgate_protocol::bridge::{Fault, FaultOwner};

    use super::*;

    const STEP: Duration = Duration::from_millis(300);

    fn output(part: OutputPart) -> BridgeEvent {
        BridgeEvent::Output { response_id: "r".into(), item_id: "a".into(), part }
    }

    fn audio() -> BridgeEvent {
        output(OutputPart::Audio(Pcm::silence(SampleRate::HZ_24000, STEP)))
    }

    fn done(status: ResponseStatus) -> BridgeEvent {
        BridgeEvent::ResponseDone { response_id: "r".into(), status, usage: None }
    }

    #[test]
    fn the_first_audio_of_an_answer_is_timed_from_the_question() {
        let (start, mut evidence) = (Instant::now(), Evidence::default());
        evidence.told(start, &BridgeCommand::CreateResponse(Box::default()));
        assert_eq!(evidence.heard(start, &BridgeEvent::ResponseStarted { response_id: "r".into() }), None);
        assert_eq!(evidence.heard(start + STEP, &audio()), Some(Outcome::Answered(Some(STEP))));
        assert_eq!(evidence.heard(start + 2 * STEP, &audio()), None, "only the first");
        // A provider that finds the turns itself is asked by the turn.
        evidence.heard(start, &BridgeEvent::InputCommitted { item_id: "u".into() });
        assert_eq!(evidence.heard(start + STEP, &audio()), Some(Outcome::Answered(Some(STEP))));
    }

    #[test]
    fn an_answer_without_sound_proves_the_provider_well_and_one_that_failed_the_opposite() {
        let (now, mut evidence) = (Instant::now(), Evidence::default());
        assert_eq!(evidence.heard(now, &done(ResponseStatus::Completed)), Some(Outcome::Answered(None)));
        assert_eq!(evidence.heard(now, &done(ResponseStatus::CancelledByTurn)), None);
        let failed = |code: &str| ResponseStatus::Failed { code: code.to_owned(), message: String::new() };
        for (code, trouble) in [
            ("server_error", Trouble::Broken),
            ("rate_limit_exceeded", Trouble::Busy),
            ("insufficient_quota", Trouble::Refused),
        ] {
            assert_eq!(evidence.heard(now, &done(failed(code))), Some(Outcome::Failed(trouble)));
        }
        assert_eq!(
            evidence.heard(now, &done(failed("invalid_prompt"))),
            None,
            "the client may have caused it"
        );
    }

    #[test]
    fn a_fault_of_the_client_says_nothing_about_the_provider() {
        let (now, mut evidence) = (Instant::now(), Evidence::default());
        let fault = |owner| Fault {
            owner,
            code: "provider_disconnected".to_owned(),
            message: String::new(),
            may_retry: true,
            may_switch: true,
            is_final: true,
        };
        assert_eq!(evidence.heard(now, &BridgeEvent::Fault(fault(FaultOwner::Client))), None);
        let broken = Some(Outcome::Failed(Trouble::Broken));
        assert_eq!(evidence.heard(now, &BridgeEvent::Fault(fault(FaultOwner::Provider))), broken);
    }
}
