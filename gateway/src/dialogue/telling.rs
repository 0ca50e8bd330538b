//! What a session tells its provider, and over which connection.

use std::time::Instant;

use voxgate_media::turn::Question;
use voxgate_policy::routing::Target;
use voxgate_protocol::audio::Pcm;
use voxgate_protocol::bridge::{BridgeCommand, BridgeEvent, FaultOwner};
use voxgate_realtime::ContextItem;
use voxgate_telemetry::metrics::Metrics;
use voxgate_telemetry::session::facts::Serving;

use super::Dialogue;
use super::chronicle::sentences::{self, Move};
use super::core::CoreInput;
use super::guard::Guard;
use super::provider::{self, Moved, Untold};
use super::rotation::{Reason, Step};

impl Dialogue {
    pub(super) fn judge_turn(&mut self, now: Instant, question: Question, speech: Pcm) {
        let is_asked = self.ear.as_ref().is_some_and(|ear| ear.ask(now, question, speech));
        if !is_asked {
            self.take(now, CoreInput::TurnJudged { question, probability: None });
        }
    }

    pub(super) fn tell_provider(&mut self, now: Instant, arrived: Option<Instant>, command: BridgeCommand) {
        if let Some(refusal) = self.allowance.refuses(now, &command) {
            self.chronicle.pen().event(now, sentences::answer_refused(&refusal));
            return self.tell_core(now, BridgeEvent::Fault(refusal.fault()));
        }
        let judgement = self.guard.read(&command);
        self.consultant.read(&command);
        let command = self.guard.mask(command);
        if let Some(account) = &mut self.account {
            account.told(now, &command);
        }
        self.answers.told(now, &command);
        let is_audio = matches!(command, BridgeCommand::Audio(_));
        match self.provider.tell(now, command) {
            Ok(()) => {}
            // What the pump said last is in the queue; behind it lies the news of its end, which rings no bell.
            Err(Untold::Gone) => {
                self.has_more_events = true;
                return;
            }
            Err(Untold::Full) => {
                self.metrics.provider_fault(FaultOwner::Gateway);
                if is_audio {
                    self.chronicle.audio_dropped(now);
                } else {
                    self.chronicle.pen().event(now, sentences::provider_congested());
                    // The client would wait for the answer to this command for ever.
                    self.tell_core(now, BridgeEvent::Fault(provider::takes_nothing()));
                }
                return;
            }
        }
        if let (true, Some(arrived)) = (is_audio, arrived) {
            Metrics::observe(&self.metrics.ingress_seconds, arrived.elapsed());
        }
        self.obey(now, now, judgement);
    }

    /// Looks after the connections to the provider, now that every command was told. True if the core was told
    /// something about it.
    pub(super) fn rotate(&mut self, now: Instant) -> bool {
        let mut has_told = false;
        if self.ended().is_some() {
            return false;
        }
        while let Some(step) = self.provider.step(now) {
            let news = match step {
                Step::Open => {
                    if let Some(reason) = self.provider.cut_off_by() {
                        self.chronicle.pen().event(now, sentences::retry(reason));
                    }
                    self.provider.open_next(now);
                    None
                }
                Step::Overdue(_) => None,
                Step::Move(reason) => {
                    // What the new connection says from now on may have rung before it was listened to.
                    self.has_more_events = true;
                    let mut context = self.core.context();
                    context.extend(self.gate.context());
                    let context = masked(&self.guard, context);
                    let moved = self.provider.move_over(now, reason, context);
                    self.note_move(now, reason, &moved);
                    if let (Some(account), Some(target)) = (&mut self.account, &moved.target) {
                        account.moved(now, target, self.provider.settings());
                    }
                    if moved.fault.is_some() {
                        self.chronicle.pen().event(now, sentences::provider_congested());
                    }
                    moved.fault
                }
                Step::End(reason, event) => {
                    self.chronicle.pen().event(now, sentences::gave_up(reason, &event));
                    self.provider.gave_up(reason, &event);
                    Some(*event)
                }
            };
            if let Some(event) = news {
                self.tell_core(now, event);
                has_told = true;
            }
        }
        self.has_more_events |= self.provider.has_heard();
        if self.provider.has_cut() {
            self.provider.recut(&masked(&self.guard, self.core.context()));
        }
        has_told
    }
}

impl Dialogue {
    /// The conversation moved: to another target, or to a new connection to the same one.
    fn note_move(&self, now: Instant, reason: Reason, moved: &Moved) {
        let Moved { from, target: to, waited, .. } = moved;
        let left = from.as_ref().filter(|_| reason == Reason::Slow).map(Target::name);
        let grounds = left.and_then(|left| self.latency.grounds_against(&self.route, &left));
        let (from, to) = (from.as_ref(), to.as_ref());
        let note = sentences::moved(&Move { reason, from, to, waited: *waited, grounds });
        self.chronicle.pen().event(now, note);
        if let Some(to) = to {
            self.presence.served_by(now, serving(to, &self.route));
        }
    }
}

/// A target as the session's record names it.
pub(super) fn serving(target: &Target, route: &str) -> Serving {
    Serving {
        provider: target.provider.clone(),
        region: target.region.clone(),
        model: target.provider_model.clone(),
        route: Some(route.to_owned()),
    }
}

/// What a new connection is told of a conversation, without what a rule hides.
pub(super) fn masked(guard: &Guard, mut context: Vec<ContextItem>) -> Vec<ContextItem> {
    context.iter_mut().filter_map(|entry| entry.item.as_mut()).for_each(|item| guard.mask_item(item));
    context
}
