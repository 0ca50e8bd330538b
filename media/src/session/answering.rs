//! The life of an answer in a session: asked for, begun, played, cancelled, over.

use std::time::{Duration, Instant};

use voxgate_protocol::audio::Pcm;
use voxgate_protocol::bridge::{BridgeCommand, Fault, FaultOwner, OutputPart, ResponseStatus, TurnOwner};
use voxgate_protocol::id::{ItemId, ResponseId};
use voxgate_protocol::session::SessionEvent;
use voxgate_protocol::settings::ResponseOptions;
use voxgate_protocol::usage::TokenUsage;

use super::opening::Beginning;
use super::responses::Started;
use super::{Session, SessionOutput};

impl Session {
    pub(super) fn create_response(&mut self, now: Instant, options: Box<ResponseOptions>) {
        // A provider that owns the turns knows best what runs there, and says so itself.
        let is_owner = self.traits.turn_owner == TurnOwner::Gateway;
        if is_owner && self.responses.is_busy() && !options.is_beside {
            return self.event(SessionEvent::Fault(already_answering()));
        }
        self.meter.asked(now);
        self.ask(options, false);
    }

    /// Answers the caller's turn.
    pub(super) fn answer_turn(&mut self) {
        self.ask(Box::default(), true);
    }

    fn ask(&mut self, options: Box<ResponseOptions>, is_for_turn: bool) {
        self.idle.stop();
        if !options.is_beside {
            self.waiting = None;
        }
        self.responses.asked(&options, is_for_turn);
        self.bridge(BridgeCommand::CreateResponse(options));
    }

    /// Answers the caller's turn once the answer before is over.
    pub(super) fn create_what_waited(&mut self) {
        if self.responses.is_busy() {
            return;
        }
        if let Some(options) = self.withdrawal.take_instead() {
            self.ask(options, false);
        } else if std::mem::take(&mut self.create_when_done) {
            self.answer_turn();
        } else if let Some(options) = self.waiting.take() {
            // Nobody at the client asked for it.
            self.ask(options, true);
        }
    }

    pub(super) fn response_started(&mut self, at: Instant, response_id: ResponseId) {
        self.idle.stop();
        let Some(Started { is_for_turn, is_cancelled }) = self.responses.started(&response_id) else {
            return;
        };
        let is_withdrawn = self.withdrawal.meets();
        self.meter.response_started(at);
        self.event(SessionEvent::ResponseStarted { response_id: response_id.clone(), is_for_turn });
        if is_cancelled {
            self.bridge(BridgeCommand::CancelResponse { response_id: Some(response_id) });
        } else if is_withdrawn {
            self.withdraw_begun(response_id);
        }
    }

    pub(super) fn response_done(
        &mut self,
        at: Instant,
        response_id: ResponseId,
        status: ResponseStatus,
        usage: Option<TokenUsage>,
    ) {
        if self.responses.wants(&response_id) {
            self.meter.response_done(at);
        }
        let status = self.responses.done(&response_id, status);
        self.finish_answer(at, &response_id);
        self.event(SessionEvent::ResponseDone { response_id, status, usage });
        self.create_what_waited();
    }

    pub(super) fn cancel(&mut self, response_id: Option<ResponseId>) {
        match response_id.as_ref().or_else(|| self.responses.current()).cloned() {
            Some(wanted) => drop(self.responses.cancel(&wanted, ResponseStatus::CancelledByClient)),
            None => self.responses.cancel_asked(&ResponseStatus::CancelledByClient),
        }
        self.bridge(BridgeCommand::CancelResponse { response_id });
    }

    pub(super) fn output(&mut self, at: Instant, response_id: ResponseId, item_id: ItemId, part: OutputPart) {
        if self.responses.drops(&response_id) {
            return;
        }
        let mut beginning = None;
        let part = match part {
            OutputPart::Audio(pcm) => {
                self.meter.first_audio(at);
                self.answer.continue_with(&item_id);
                self.play(at, &response_id, &item_id, &pcm);
                if self.answer.is_played_by_the_client() {
                    self.playback_started();
                    self.observer.agent_speaks(at);
                    beginning = self.answer.begins(&response_id, &pcm, at);
                }
                OutputPart::Audio(self.answer.for_client(pcm))
            }
            other => other,
        };
        self.event(SessionEvent::Output { response_id, item_id, part });
        if let Some(beginning) = beginning {
            self.begin_answer(at, beginning);
        }
    }

    /// The message the client was told last came at that time, and begins an answer or its sound.
    fn begin_answer(&mut self, at: Instant, beginning: Beginning) {
        self.meter.polled(at, at);
        if let Beginning::Opened(opening) = beginning {
            self.meter.opened(opening, None, at);
        }
        self.outputs.push_back(SessionOutput::ConfirmSent);
    }

    fn finish_answer(&mut self, at: Instant, response_id: &ResponseId) {
        if let Some(opening) = self.answer.finish(response_id) {
            self.meter.opened(opening, None, at);
            self.outputs.push_back(SessionOutput::ConfirmSent);
        }
    }

    fn play(&mut self, at: Instant, response_id: &ResponseId, item_id: &ItemId, pcm: &Pcm) {
        if self.answer.push(response_id, item_id, pcm, at) {
            return;
        }
        // The queue holds minutes; a provider that sends more than that in one answer has lost its way.
        self.cancel(Some(response_id.clone()));
    }

    pub(super) fn truncate(&mut self, item_id: ItemId, content_index: u32, heard: Duration) {
        self.answer.forget_estimate();
        if self.traits.truncates {
            self.bridge(BridgeCommand::Truncate { item_id: item_id.clone(), content_index, heard });
        }
        self.event(SessionEvent::ItemTruncated { item_id, content_index, heard });
    }

    /// Every answer that began ends, whatever happened to its provider.
    pub(super) fn close_answers(&mut self, code: &str, message: &str) {
        let open: Vec<ResponseId> = self.responses.open().cloned().collect();
        for response_id in open {
            let failed = ResponseStatus::Failed { code: code.to_owned(), message: message.to_owned() };
            let status = self.responses.done(&response_id, failed);
            self.answer.finish(&response_id);
            self.event(SessionEvent::ResponseDone { response_id, status, usage: None });
        }
    }
}

/// What the API says to a second answer (OpenAI's Realtime API, `error` events).
fn already_answering() -> Fault {
    Fault {
        owner: FaultOwner::Client,
        code: "conversation_already_has_active_response".to_owned(),
        message: "The caller's turn is being answered. Wait until that response is finished.".to_owned(),
        may_retry: true,
        may_switch: false,
        is_final: false,
    }
}
