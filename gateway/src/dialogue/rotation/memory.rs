//! What the connection in use was told of the conversation before it.

use std::collections::{HashMap, HashSet};

use voxgate_protocol::bridge::BridgeCommand;
use voxgate_protocol::conversation::{InputItem, Position};
use voxgate_protocol::id::ItemId;
use voxgate_protocol::settings::ResponseOptions;
use voxgate_realtime::ContextItem;

/// The items of former connections.
#[derive(Debug, Default)]
pub(super) struct Memory {
    restored: HashSet<ItemId>,
    /// Items that were left out, each with the one before it that was not.
    absent: HashMap<ItemId, Option<ItemId>>,
}

impl Memory {
    /// The commands that tell a new connection the conversation.
    pub(super) fn restore(&mut self, context: Vec<ContextItem>) -> Vec<BridgeCommand> {
        *self = Self::default();
        let mut last = None;
        let mut commands = Vec::new();
        for ContextItem { id, item } in context {
            let Some(item) = item else {
                self.absent.insert(id, last.clone());
                continue;
            };
            self.restored.insert(id.clone());
            last = Some(id);
            commands.push(BridgeCommand::RestoreItem { item, position: Position::Last });
        }
        commands
    }

    pub(super) fn is_restored(&self, item_id: &ItemId) -> bool {
        self.restored.contains(item_id)
    }

    pub(super) fn forget(&mut self, item_id: &ItemId) {
        self.restored.remove(item_id);
    }

    /// The position behind an item the connection knows.
    pub(super) fn known(&self, position: Position) -> Position {
        let Position::After(item_id) = &position else { return position };
        match self.absent.get(item_id) {
            None => position,
            Some(None) => Position::First,
            Some(Some(before)) => Position::After(before.clone()),
        }
    }

    /// The connection has the item after all: it heard it again.
    pub(super) fn heard_again(&mut self, item_id: &ItemId) {
        self.absent.remove(item_id);
    }

    /// The input of an answer without the items the connection does not know, which it would refuse.
    pub(super) fn input(&self, mut options: Box<ResponseOptions>) -> Box<ResponseOptions> {
        if let Some(input) = &mut options.input {
            input.retain(
                |item| !matches!(item, InputItem::Reference(item_id) if self.absent.contains_key(item_id)),
            );
        }
        options
    }

    /// Puts the present form of an item in the place of the one that was told.
    pub(super) fn replace(&mut self, item_id: &ItemId, context: &[ContextItem]) -> Vec<BridgeCommand> {
        let mut commands = vec![BridgeCommand::DeleteItem { item_id: item_id.clone() }];
        let Some(index) = context.iter().position(|entry| entry.id == *item_id) else { return commands };
        let before =
            context[..index].iter().rev().find(|entry| entry.item.is_some()).map(|entry| entry.id.clone());
        match &context[index].item {
            Some(item) => {
                let position = before.map_or(Position::First, Position::After);
                commands.push(BridgeCommand::RestoreItem { item: item.clone(), position });
            }
            None => {
                self.restored.remove(item_id);
                self.absent.insert(item_id.clone(), before);
            }
        }
        commands
    }
}
