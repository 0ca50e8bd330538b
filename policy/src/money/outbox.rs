//! Entries on their way to a store, exactly once in effect.
//!
//! An entry is in the outbox before anything is done because of it, and leaves when the store says that it has it. Whoever
//! is killed in between sends it again; its name makes that harmless. The shell keeps the outbox where a restart finds
//! it.

use std::collections::{BTreeSet, VecDeque};

use super::ledger::{Entry, EntryId};

/// Entries nobody has acknowledged, oldest first.
#[derive(Clone, Debug, Default)]
pub struct Outbox {
    waiting: VecDeque<Entry>,
    limit: usize,
}

impl Outbox {
    /// An empty outbox that takes this many entries. One entry weighs about half a kilobyte.
    #[must_use]
    pub const fn new(limit: usize) -> Self {
        Self { waiting: VecDeque::new(), limit }
    }

    /// What a restart found.
    #[must_use]
    pub fn recovered(entries: impl IntoIterator<Item = Entry>, limit: usize) -> Self {
        Self { waiting: entries.into_iter().collect(), limit }
    }

    /// Takes an entry. False if there is no room: nothing may then be spent on its account.
    #[must_use]
    pub fn push(&mut self, entry: Entry) -> bool {
        let has_room = self.waiting.len() < self.limit;
        if has_room {
            self.waiting.push_back(entry);
        }
        has_room
    }

    /// The oldest entries, to be sent to the store.
    #[must_use]
    pub fn batch(&self, most: usize) -> Vec<Entry> {
        self.waiting.iter().take(most).cloned().collect()
    }

    /// The store has these.
    pub fn acknowledge(&mut self, ids: &BTreeSet<EntryId>) {
        self.waiting.retain(|entry| !ids.contains(&entry.id));
    }

    /// How many wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Whether none waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }
}
