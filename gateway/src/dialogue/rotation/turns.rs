//! Turns that a provider finds twice: once on the connection that was lost, and again in the audio that is repeated to
//! its successor. To the session each is one turn with one name.

use std::collections::VecDeque;
use std::time::Duration;

use voxgate_protocol::bridge::{BridgeCommand, BridgeEvent};
use voxgate_protocol::conversation::{InputItem, Position};
use voxgate_protocol::id::ItemId;

/// Turns that nothing has answered yet.
const MOST_TURNS: usize = 64;

/// What the session was told of a turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Told {
    Started,
    Stopped,
    Committed,
}

#[derive(Debug)]
struct Turn {
    item_id: ItemId,
    told: Told,
}

/// The turns in the audio that is kept.
#[derive(Debug, Default)]
pub(super) struct Turns {
    /// Oldest first.
    kept: VecDeque<Turn>,
    /// Those of them that the connection in use has still to find in what was repeated to it.
    expected: VecDeque<Turn>,
    /// How much was repeated.
    repeated: Duration,
    /// Names of the connection in use, each with the name the session knows.
    names: Vec<(ItemId, ItemId)>,
}

impl Turns {
    /// Another connection is in use and was told this much audio again.
    pub(super) fn moved(&mut self, repeated: Duration) {
        self.names.clear();
        self.repeated = repeated;
        self.expected = if repeated.is_zero() { VecDeque::new() } else { std::mem::take(&mut self.kept) };
        self.kept.clear();
    }

    /// No audio is kept any more.
    pub(super) fn settled(&mut self) {
        self.kept.clear();
    }

    /// The event in the session's names; `None` if the session was told before.
    pub(super) fn hear(&mut self, event: BridgeEvent) -> Option<BridgeEvent> {
        match event {
            BridgeEvent::SpeechStarted { item_id, at } => match self.found_again(at) {
                Some(turn) => {
                    self.names.push((item_id, turn.item_id.clone()));
                    self.keep(turn);
                    None
                }
                None => {
                    self.keep(Turn { item_id: item_id.clone(), told: Told::Started });
                    Some(BridgeEvent::SpeechStarted { item_id, at })
                }
            },
            BridgeEvent::SpeechStopped { item_id, at } => {
                let item_id = self.name_of(item_id);
                self.tell(&item_id, Told::Stopped).then_some(BridgeEvent::SpeechStopped { item_id, at })
            }
            BridgeEvent::InputCommitted { item_id } => {
                let item_id = self.name_of(item_id);
                self.tell(&item_id, Told::Committed).then_some(BridgeEvent::InputCommitted { item_id })
            }
            BridgeEvent::InputTranscriptDelta { item_id, delta } => {
                Some(BridgeEvent::InputTranscriptDelta { item_id: self.name_of(item_id), delta })
            }
            BridgeEvent::InputTranscriptDone { item_id, transcript, usage } => {
                let item_id = self.name_of(item_id);
                Some(BridgeEvent::InputTranscriptDone { item_id, transcript, usage })
            }
            BridgeEvent::InputWords { item_id, words } => {
                Some(BridgeEvent::InputWords { item_id: self.name_of(item_id), words })
            }
            BridgeEvent::InputTranscriptFailed { item_id, message } => {
                Some(BridgeEvent::InputTranscriptFailed { item_id: self.name_of(item_id), message })
            }
            other => Some(other),
        }
    }

    /// The command in the names of the connection in use.
    pub(super) fn translate(&self, mut command: BridgeCommand) -> BridgeCommand {
        if self.names.is_empty() {
            return command;
        }
        match &mut command {
            BridgeCommand::DeleteItem { item_id } => self.rename(item_id),
            BridgeCommand::CreateItem { position: Position::After(item_id), .. }
            | BridgeCommand::RestoreItem { position: Position::After(item_id), .. } => self.rename(item_id),
            BridgeCommand::CreateResponse(options) => {
                for item in options.input.iter_mut().flatten() {
                    if let InputItem::Reference(item_id) = item {
                        self.rename(item_id);
                    }
                }
            }
            _ => {}
        }
        command
    }

    /// The turn whose beginning was found at this position of the connection in use, if the session knows it. One that
    /// was being spoken when the connection was lost goes on, wherever its speech is found.
    fn found_again(&mut self, at: Duration) -> Option<Turn> {
        let is_going = |turn: &Turn| turn.told == Told::Started;
        if at >= self.repeated {
            self.expected.retain(is_going);
        }
        self.expected.pop_front()
    }

    fn keep(&mut self, turn: Turn) {
        if self.kept.len() == MOST_TURNS {
            self.kept.pop_front();
        }
        self.kept.push_back(turn);
    }

    /// Whether this is news of a turn to the session. What the client commits is no turn of the provider's.
    fn tell(&mut self, item_id: &ItemId, news: Told) -> bool {
        let Some(turn) = self.kept.iter_mut().find(|turn| turn.item_id == *item_id) else { return true };
        let is_news = turn.told < news;
        turn.told = turn.told.max(news);
        is_news
    }

    /// The name the session knows.
    pub(super) fn name_of(&self, theirs: ItemId) -> ItemId {
        let known = self.names.iter().find(|(name, _)| *name == theirs);
        known.map_or(theirs, |(_, ours)| ours.clone())
    }

    fn rename(&self, item_id: &mut ItemId) {
        if let Some((theirs, _)) = self.names.iter().find(|(_, ours)| ours == item_id) {
            *item_id = theirs.clone();
        }
    }
}
