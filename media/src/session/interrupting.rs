//! The caller speaks over the answer: it stops at once, or is held until it is known whether that was meant.

use std::time::{Duration, Instant};

use voxgate_protocol::bridge::{BridgeCommand, ResponseStatus, TurnOwner};
use voxgate_protocol::id::ItemId;
use voxgate_protocol::session::SessionEvent;

use super::Session;
use super::answer::Interrupted;
use super::held::{End, Held, Verdict};

impl Session {
    /// Speech began, in the gateway's own detection.
    pub(super) fn gateway_heard_the_beginning(&mut self, now: Instant, at: Duration) {
        if let Some(held) = &mut self.held {
            held.end = None;
            return;
        }
        let item_id = self.mint_item();
        if self.may_hold() && self.answer.hold() {
            // The client hears of it once it is known to be speech: the API has no word for a noise.
            self.words.clear();
            self.held = Some(Held::new(item_id, at, now));
        } else {
            self.speech_started(now, item_id, at);
        }
    }

    fn may_hold(&self) -> bool {
        self.interruption.is_some() && self.speech_interrupts()
    }

    pub(super) fn speech_interrupts(&self) -> bool {
        self.settings.input.turn_detection.as_ref().is_some_and(|turn| turn.interrupts_response())
    }

    /// Whether the end of this turn is kept back until it is known that it was one.
    pub(super) const fn keep_end(&mut self, end: End) -> bool {
        match &mut self.held {
            Some(held) => {
                held.end = Some(end);
                true
            }
            None => false,
        }
    }

    /// Decides about a held answer as soon as it can be decided.
    pub(super) fn judge_held(&mut self, now: Instant) {
        let (Some(held), Some(rule)) = (&self.held, &self.interruption) else { return };
        if !self.answer.is_audible() {
            return self.let_go(now);
        }
        let Some((spoken, quiet)) = self.input.last_spoken() else { return };
        match held.judge(rule, spoken, quiet) {
            Verdict::Wait => {}
            Verdict::Interrupt => self.confirm_held(now),
            Verdict::Resume => self.resume_held(now),
        }
    }

    /// New words of the turn that goes on.
    pub(super) fn hear_words(&mut self, now: Instant) {
        self.estimate_end_of_turn();
        if let (Some(held), Some(rule)) = (&mut self.held, &self.interruption) {
            held.hear(self.words.so_far(), rule);
            self.judge_held(now);
        }
    }

    /// It was an interruption: what would have happened when the answer fell silent happens now.
    pub(super) fn confirm_held(&mut self, now: Instant) {
        let Some(held) = self.held.take() else { return };
        self.announce_speech(now, held.item_id, held.at);
        self.interrupt(now, held.since);
        self.make_up_for(now, held.end);
    }

    /// It was none: the answer goes on, and the sound never was.
    fn resume_held(&mut self, now: Instant) {
        let is_backchannel = self.held.take().is_some_and(|held| held.is_backchannel());
        let count = if is_backchannel { &mut self.backchannels } else { &mut self.noises };
        *count += 1;
        self.input.clear();
        self.words.clear();
        self.bridge(BridgeCommand::ClearInput);
        self.answer.resume();
        self.drain_playout(now);
    }

    /// The answer is no longer held, and what the caller says is a turn like any other.
    pub(super) fn let_go(&mut self, now: Instant) {
        let Some(held) = self.held.take() else { return };
        self.answer.resume();
        self.announce_speech(now, held.item_id, held.at);
        if self.speech_interrupts() {
            // An answer nobody hears can be under way all the same.
            self.interrupt(now, now);
        }
        self.make_up_for(now, held.end);
    }

    fn make_up_for(&mut self, now: Instant, end: Option<End>) {
        if let Some(end) = end {
            self.turn_ended(end.arrival, now);
            self.gateway_heard_the_end(end.at);
        }
    }

    /// The new rules do not hold answers: whatever is held goes on.
    pub(super) fn release_if_unruled(&mut self, now: Instant) {
        if !self.may_hold() {
            self.let_go(now);
        }
    }

    pub(super) fn speech_started(&mut self, now: Instant, item_id: ItemId, at: Duration) {
        self.words.clear();
        self.announce_speech(now, item_id, at);
        if self.speech_interrupts() {
            self.interrupt(now, now);
        }
    }

    fn announce_speech(&mut self, now: Instant, item_id: ItemId, at: Duration) {
        self.note_speech(now, at);
        self.meter.speech_started();
        self.idle.stop();
        self.waiting = None;
        self.user_item = Some(item_id.clone());
        self.event(SessionEvent::SpeechStarted { item_id, at });
    }

    /// Stops the answer everywhere, now. What was heard counts up to `silent_since`.
    fn interrupt(&mut self, now: Instant, silent_since: Instant) {
        self.create_when_done = false;
        self.withdrawal.forget();
        let current = self.responses.current().cloned();
        let stopped = current.filter(|id| self.responses.cancel(id, ResponseStatus::CancelledByTurn));
        if stopped.is_some() || self.answer.is_audible() {
            self.interruptions += 1;
            self.observer.interrupted(silent_since);
        }
        if self.traits.turn_owner == TurnOwner::Gateway {
            self.responses.cancel_asked(&ResponseStatus::CancelledByTurn);
            if stopped.is_some() {
                self.bridge(BridgeCommand::CancelResponse { response_id: stopped });
            }
        }
        self.cut_playback(now, silent_since);
    }

    /// The client takes back what it has not heard. Whatever sound an answer was held for, it has interrupted then.
    pub(super) fn clear_output(&mut self, now: Instant) {
        if self.held.is_some() {
            self.confirm_held(now);
        } else {
            self.cut_playback(now, now);
        }
    }

    /// The answers become what the client can have heard of them.
    pub(super) fn lose_client(&mut self, now: Instant, silent_for: Duration) {
        let heard_at = now.checked_sub(silent_for).unwrap_or(now);
        let silent_since = self.held.take().map_or(heard_at, |held| held.since.min(heard_at));
        let cut = self.answer.lose(silent_since, self.meter.client_buffer());
        self.observer.agent_silent(silent_since);
        self.tell_cut(cut);
    }

    fn cut_playback(&mut self, now: Instant, silent_since: Instant) {
        let cut = self.answer.clear(silent_since, self.meter.client_buffer());
        self.observer.agent_silent(silent_since);
        self.drain_playout(now);
        self.tell_cut(cut);
    }

    fn tell_cut(&mut self, cut: Vec<Interrupted>) {
        for Interrupted { item_id, heard } in cut {
            // What the client removed while it sounded is unknown to the provider, which would complain.
            if !self.deleted.contains(&item_id) {
                self.truncate(item_id, 0, heard);
            }
        }
    }
}
