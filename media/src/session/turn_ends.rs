//! How a turn of the caller ends: heard by the gateway, heard by the provider, or committed by the client.

use std::time::{Duration, Instant};

use voxgate_protocol::bridge::{BridgeCommand, TurnOwner};
use voxgate_protocol::id::ItemId;
use voxgate_protocol::session::SessionEvent;

use super::{Session, input};
use crate::turn::TurnSoFar;

impl Session {
    /// New words: the pause that ends the turn depends on whether they sound complete.
    pub(super) fn estimate_end_of_turn(&mut self) {
        let transcription = self.settings.input.transcription.as_ref();
        let language = transcription.and_then(|transcription| transcription.language.as_deref());
        let turn = TurnSoFar { words: self.words.so_far(), language };
        self.input.estimate_complete(self.end_of_turn.estimate(turn));
    }

    pub(super) fn gateway_heard_the_end(&mut self, at: Duration) {
        let item_id = self.take_user_item();
        self.words.committed(&item_id);
        self.event(SessionEvent::SpeechStopped { item_id: item_id.clone(), at });
        self.bridge(BridgeCommand::CommitInput { item_id: item_id.clone(), is_silence: false });
        self.event(SessionEvent::InputCommitted { item_id });
        if self.answers_turns() {
            self.create_when_done = true;
            self.create_what_waited();
        }
    }

    pub(super) fn provider_heard_the_end(&mut self, arrived: Instant, item_id: ItemId, position: Duration) {
        let pause = input::configured_pause(self.settings.input.turn_detection.as_ref());
        let arrival = self.input.arrival_at(position.saturating_sub(pause));
        self.turn_ended(arrival, arrived);
        self.event(SessionEvent::SpeechStopped { item_id, at: position });
    }

    pub(super) fn provider_committed(&mut self, item_id: ItemId) {
        self.words.committed(&item_id);
        // With the gateway as owner of turns the client was told when the gateway decided.
        if self.traits.turn_owner == TurnOwner::Provider {
            self.user_item = None;
            self.event(SessionEvent::InputCommitted { item_id });
        }
    }

    pub(super) fn commit_by_hand(&mut self, now: Instant) {
        // The end of a turn that was kept back is not told any more: the turn is the client's.
        let kept = self.held.as_mut().and_then(|held| held.end.take());
        let arrival = match (self.input.take_uncommitted(), kept.and_then(|end| end.arrival)) {
            (Some(arrival), _) => arrival,
            (None, Some(arrival)) => {
                self.input.clear();
                arrival
            }
            (None, None) => return self.event(SessionEvent::InputEmpty),
        };
        self.idle.stop();
        self.confirm_held(now);
        self.turn_ended(Some(arrival), now);
        let item_id = self.take_user_item();
        self.words.committed(&item_id);
        self.bridge(BridgeCommand::CommitInput { item_id: item_id.clone(), is_silence: false });
        if self.traits.turn_owner == TurnOwner::Gateway {
            self.event(SessionEvent::InputCommitted { item_id });
        }
    }

    /// The item of the turn that is over.
    fn take_user_item(&mut self) -> ItemId {
        match self.user_item.take() {
            Some(item_id) => item_id,
            None => self.mint_item(),
        }
    }
}
