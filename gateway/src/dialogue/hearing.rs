//! What a session hears from its provider, its judges and the people who approve.

use std::time::Instant;

use voxgate_protocol::bridge::BridgeEvent;
use voxgate_protocol::session::EndReason;
use voxgate_providers::bridge::StampedEvent;
use voxgate_signaling::resume::ResumeTicket;
use voxgate_telemetry::gen_ai::AnswerTimes;
use voxgate_telemetry::metrics::Metrics;

use crate::end_of_turn::{Ear, Verdict};

use super::Dialogue;
use super::chronicle::sentences;
use super::core::CoreInput;
use super::gate::Step as Passed;
use super::guard::Judgement;

/// Events of a provider taken in one go, so that a burst of one call does not hold up the others.
const EVENTS_AT_ONCE: usize = 64;

impl Dialogue {
    /// The bridge has something to say.
    pub(crate) fn handle_bridge(&mut self, now: Instant) {
        if self.ticket.as_ref().is_some_and(ResumeTicket::is_wanted) {
            // It has noticed the loss first.
            if self.ended().is_none() {
                self.chronicle.pen().event(now, sentences::goes_on_elsewhere());
            }
            self.end(now, EndReason::ClientLost);
        }
        if self.presence.is_told_to_end() {
            self.end(now, EndReason::EndedByOperator);
        }
        self.has_more_events = false;
        self.allowance.hear_answers(now);
        self.provider.answered();
        self.hear_verdicts(now);
        self.look_at_held_calls(now);
        self.hear_judges(now);
        for _ in 0..EVENTS_AT_ONCE {
            let Some(StampedEvent { at, event }) = self.provider.hear(now) else { return };
            if let BridgeEvent::Fault(fault) = &event {
                self.chronicle.pen().event(now, sentences::fault(fault));
            }
            self.time_answers(at, &event);
            let judgement = self.guard.hear(&event);
            self.obey(now, at, judgement);
            self.consultant.hear(&event);
            if let Some(account) = &mut self.account {
                account.heard(now, &event);
            }
            self.allowance.heard(now, &event);
            self.pass(now, at, event);
        }
        self.has_more_events = true;
    }

    /// Passes an event on. What is over a limit is stopped at once, however much of it comes in one burst: a tool call before
    /// anybody sees it, an answer as soon as it has begun.
    fn pass(&mut self, now: Instant, at: Instant, event: BridgeEvent) {
        let begins = matches!(event, BridgeEvent::ResponseStarted { .. });
        while !begins && self.keep_limits(now) {}
        self.gate.hear(now, event);
        self.pass_gate(now, at);
        while self.keep_limits(now) {}
    }

    /// Counts an answer that is over, for whom it is not a turn.
    fn time_answers(&mut self, at: Instant, event: &BridgeEvent) {
        let Some(over) = self.answers.heard(at, event) else { return };
        let Some(target) = self.provider.target() else { return };
        let asked = &self.presence.record().facts().model;
        self.metrics.gen_ai.answered(&AnswerTimes {
            took: over.took,
            first_piece: over.first_piece,
            failure: over.failure,
            tokens: over.usage.map(|usage| (usage.input(), usage.output())),
            provider: &target.provider,
            model: target.provider_model.as_ref().unwrap_or(asked),
        });
    }

    fn hear_verdicts(&mut self, now: Instant) {
        while let Some(Verdict { question, probability }) = self.ear.as_mut().and_then(Ear::hear) {
            self.take(now, CoreInput::TurnJudged { question, probability });
        }
    }

    /// Takes what the gate lets through.
    fn pass_gate(&mut self, now: Instant, at: Instant) {
        while let Some(step) = self.gate.poll_step() {
            let event = match step {
                Passed::Command(command) => {
                    self.take(now, CoreInput::Command(command));
                    continue;
                }
                Passed::Event(event) => event,
            };
            let begun = match &event {
                BridgeEvent::ResponseStarted { response_id } => Some(response_id.clone()),
                _ => None,
            };
            self.take(now, CoreInput::Bridge { at, event });
            if let Some(response_id) = begun.filter(|response_id| self.core.is_beside(response_id)) {
                self.gate.note_beside(&response_id);
            }
        }
    }

    fn hear_judges(&mut self, now: Instant) {
        while let Some(heard) = self.consultant.poll() {
            let judgement = self.guard.heed(heard);
            self.obey(now, now, judgement);
        }
    }

    /// Writes down which judges are not heard, or left out.
    pub(super) fn note_judges(&mut self, now: Instant) {
        while let Some(note) = self.consultant.poll_note() {
            self.chronicle.pen().event(now, note);
        }
    }

    pub(super) fn look_at_held_calls(&mut self, now: Instant) {
        self.gate.look(now);
        self.pass_gate(now, now);
    }

    /// Gives the client what a person approved, once that disturbs no answer. True if there was something.
    pub(super) fn release(&mut self, now: Instant) -> bool {
        if !self.gate.has_approved() || !self.core.is_free() {
            return false;
        }
        self.gate.release(now);
        self.pass_gate(now, now);
        true
    }

    /// Does what the rules ask for.
    pub(super) fn obey(&mut self, now: Instant, arrived: Instant, judgement: Judgement) {
        for note in &judgement.notes {
            self.metrics.guardrail_matched(&note.rule, note.direction, note.act);
            self.chronicle.pen().event(now, sentences::guardrail(note));
            tracing::info!(
                rule = note.rule,
                direction = note.direction,
                act = note.act,
                "a guardrail matched"
            );
        }
        if let Some(command) = judgement.command {
            self.take(now, CoreInput::Command(command));
            Metrics::observe(&self.metrics.guardrail_stop_seconds, arrived.elapsed());
        }
        if let Some(reason) = judgement.end {
            self.end(now, reason);
        }
    }
}
