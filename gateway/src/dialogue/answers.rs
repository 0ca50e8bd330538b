//! How long a provider's answers take, from the question to their end.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use voxgate_protocol::bridge::{BridgeCommand, BridgeEvent, ResponseStatus};
use voxgate_protocol::id::ResponseId;
use voxgate_protocol::usage::TokenUsage;
use voxgate_telemetry::gen_ai::error_type;

/// Answers and questions that are followed at once; of more the oldest are forgotten.
const MOST: usize = 8;

/// An answer that is over.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct OverAnswer {
    pub(super) took: Duration,
    /// `None` if no piece of it came.
    pub(super) first_piece: Option<Duration>,
    pub(super) failure: Option<&'static str>,
    pub(super) usage: Option<TokenUsage>,
}

#[derive(Debug)]
struct Running {
    response_id: ResponseId,
    asked: Instant,
    first_piece: Option<Instant>,
}

/// Times the answers of one session.
#[derive(Debug, Default)]
pub(super) struct AnswerClock {
    /// Questions that have no answer yet, the oldest first.
    asked: VecDeque<Instant>,
    /// When the caller's turn was whole: who finds the turns answers it unasked.
    turn: Option<Instant>,
    running: VecDeque<Running>,
}

impl AnswerClock {
    /// The provider is told something.
    pub(super) fn told(&mut self, now: Instant, command: &BridgeCommand) {
        if matches!(command, BridgeCommand::CreateResponse(_)) {
            keep(&mut self.asked, now);
        }
    }

    /// The provider says something. Gives the answer that is over by it.
    pub(super) fn heard(&mut self, at: Instant, event: &BridgeEvent) -> Option<OverAnswer> {
        match event {
            BridgeEvent::InputCommitted { .. } => self.turn = Some(at),
            BridgeEvent::ResponseStarted { response_id } => {
                let turn = self.turn.take();
                let asked = self.asked.pop_front().or(turn).unwrap_or(at);
                let response_id = response_id.clone();
                keep(&mut self.running, Running { response_id, asked, first_piece: None });
            }
            BridgeEvent::Output { response_id, .. } => {
                let running = self.running.iter_mut().find(|running| running.response_id == *response_id)?;
                running.first_piece.get_or_insert(at);
            }
            BridgeEvent::ResponseDone { response_id, status, usage } => {
                let place = self.running.iter().position(|running| running.response_id == *response_id)?;
                let Running { asked, first_piece, .. } = self.running.remove(place)?;
                let since = |moment: Instant| moment.saturating_duration_since(asked);
                return Some(OverAnswer {
                    took: since(at),
                    first_piece: first_piece.map(since),
                    failure: failure(status),
                    usage: *usage,
                });
            }
            // It may have been the answer to a question; a wrong time is worse than none.
            BridgeEvent::Fault(_) => {
                self.asked.pop_front();
            }
            _ => {}
        }
        None
    }
}

/// An answer somebody cut off has not failed.
fn failure(status: &ResponseStatus) -> Option<&'static str> {
    match status {
        ResponseStatus::Failed { code, .. } => Some(error_type(code)),
        ResponseStatus::IncompleteByFilter => Some(error_type("content_filter")),
        _ => None,
    }
}

fn keep<T>(queue: &mut VecDeque<T>, entry: T) {
    if queue.len() == MOST {
        queue.pop_front();
    }
    queue.push_back(entry);
}

#[cfg(test)]
mod tests {
    use voxgate_protocol::bridge::{Fault, FaultOwner, OutputPart};

    use super::*;

    const STEP: Duration = Duration::from_millis(300);

    fn started(id: &str) -> BridgeEvent {
        BridgeEvent::ResponseStarted { response_id: id.into() }
    }

    fn piece(id: &str) -> BridgeEvent {
        let part = OutputPart::Text("hello".to_owned());
        BridgeEvent::Output { response_id: id.into(), item_id: "a".into(), part }
    }

    fn done(id: &str, status: ResponseStatus) -> BridgeEvent {
        BridgeEvent::ResponseDone { response_id: id.into(), status, usage: None }
    }

    fn create() -> BridgeCommand {
        BridgeCommand::CreateResponse(Box::default())
    }

    #[test]
    fn an_answer_that_was_asked_for_is_timed_from_the_question() {
        let (start, mut clock) = (Instant::now(), AnswerClock::default());
        clock.heard(start, &BridgeEvent::InputCommitted { item_id: "u".into() });
        clock.told(start + STEP, &create());
        assert_eq!(clock.heard(start + 2 * STEP, &started("r")), None);
        for late in [3, 4] {
            assert_eq!(clock.heard(start + late * STEP, &piece("r")), None);
        }
        let over = clock.heard(start + 6 * STEP, &done("r", ResponseStatus::Completed)).unwrap();
        assert_eq!((over.took, over.first_piece, over.failure), (5 * STEP, Some(2 * STEP), None));
    }

    #[test]
    fn an_answer_to_a_turn_the_provider_found_is_timed_from_the_turn() {
        let (start, mut clock) = (Instant::now(), AnswerClock::default());
        clock.heard(start, &BridgeEvent::InputCommitted { item_id: "u".into() });
        clock.heard(start + STEP, &started("r"));
        let over = clock.heard(start + 2 * STEP, &done("r", ResponseStatus::CancelledByTurn)).unwrap();
        assert_eq!((over.took, over.first_piece, over.failure), (2 * STEP, None, None));
        assert_eq!(clock.heard(start, &done("r", ResponseStatus::Completed)), None, "once");
    }

    #[test]
    fn an_answer_that_fails_says_with_what_as_far_as_it_is_known() {
        let (start, mut clock) = (Instant::now(), AnswerClock::default());
        for (code, expected) in [("server_error", "server_error"), ("account 4711", "_OTHER")] {
            clock.heard(start, &started("r"));
            let status = ResponseStatus::Failed { code: code.to_owned(), message: String::new() };
            assert_eq!(clock.heard(start, &done("r", status)).unwrap().failure, Some(expected));
        }
    }

    #[test]
    fn a_question_that_is_refused_does_not_lend_its_time_to_the_next_answer() {
        let (start, mut clock) = (Instant::now(), AnswerClock::default());
        clock.told(start, &create());
        let refused = Fault {
            owner: FaultOwner::Client,
            code: "rate_limit_exceeded".to_owned(),
            message: String::new(),
            may_retry: true,
            may_switch: false,
            is_final: false,
        };
        clock.heard(start, &BridgeEvent::Fault(refused));
        clock.told(start + 9 * STEP, &create());
        clock.heard(start + 9 * STEP, &started("r"));
        let over = clock.heard(start + 10 * STEP, &done("r", ResponseStatus::Completed)).unwrap();
        assert_eq!(over.took, STEP);
    }

    #[test]
    fn answers_that_never_end_are_forgotten() {
        let (start, mut clock) = (Instant::now(), AnswerClock::default());
        for number in 0..100 {
            clock.told(start, &create());
            clock.heard(start, &started(&format!("r{number}")));
        }
        for _ in 0..100 {
            clock.told(start, &create());
        }
        assert_eq!((clock.running.len(), clock.asked.len()), (MOST, MOST));
    }
}
