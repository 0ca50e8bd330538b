//! What a session tells its provider, and over which connection.

use std::time::Instant;

use serde_json::json;
use voxgate_media::turn::Question;
use voxgate_policy::routing::Target;
use voxgate_protocol::audio::Pcm;
use voxgate_protocol::bridge::{BridgeCommand, BridgeEvent, FaultOwner};
use voxgate_realtime::ContextItem;
use voxgate_telemetry::metrics::Metrics;
use voxgate_telemetry::session::facts::{EventNote, Serving};
use voxgate_telemetry::session::view::EventKind;

use super::Dialogue;
use super::core::CoreInput;
use super::guard::Guard;
use super::provider::{self, Untold};
use super::rotation::{Reason, Step};

impl Dialogue {
    pub(super) fn judge_turn(&mut self, now: Instant, question: Question, speech: Pcm) {
        let is_asked = self.ear.as_ref().is_some_and(|ear| ear.ask(now, question, speech));
        if !is_asked {
            self.take(now, CoreInput::TurnJudged { question, probability: None });
        }
    }

    pub(super) fn tell_provider(&mut self, now: Instant, arrived: Option<Instant>, command: BridgeCommand) {
        if let Some(fault) = self.allowance.refuses(now, &command) {
            return self.tell_core(now, BridgeEvent::Fault(fault));
        }
        let judgement = self.guard.read(&command);
        self.consultant.read(&command);
        let command = self.guard.mask(command);
        if let Some(account) = &mut self.account {
            account.told(now, &command);
        }
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
                if !is_audio {
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
                    if self.provider.is_cut_off() {
                        let text = "The connection to the provider is gone: another one is tried.";
                        self.chronicle.pen().event(now, EventNote::warning(EventKind::Retry, text));
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
                    self.note_move(now, reason, moved.target.as_ref());
                    if let (Some(account), Some(target)) = (&mut self.account, &moved.target) {
                        account.moved(now, target, self.provider.settings());
                    }
                    moved.fault
                }
                Step::End(reason, event) => {
                    let text = "No connection to a provider can be made any more.";
                    let detail = json!({ "reason": reason.as_str() });
                    self.chronicle.pen().event(now, EventNote::error(EventKind::Error, text).with(detail));
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
    fn note_move(&self, now: Instant, reason: Reason, target: Option<&Target>) {
        let reason = reason.as_str();
        let note = match target {
            Some(target) => {
                self.presence.served_by(now, serving(target, &self.route));
                let text = format!("The conversation moved to {} ({reason}).", target.name());
                let detail =
                    json!({ "reason": reason, "provider": target.provider, "region": target.region });
                EventNote::warning(EventKind::Failover, text).with(detail)
            }
            None => {
                let text = format!("The conversation moved to a new connection to its provider ({reason}).");
                EventNote::info(EventKind::Rotation, text).with(json!({ "reason": reason }))
            }
        };
        self.chronicle.pen().event(now, note);
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
