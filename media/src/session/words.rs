//! What the caller has said in the turn that goes on.

use std::collections::VecDeque;

use voxgate_protocol::id::ItemId;

/// Bytes of a turn's words that are kept: several minutes of speech, and no provider can make it more.
const MOST_BYTES: usize = 16 * 1024;

/// Items whose late transcripts are told from those of the turn that goes on.
const MOST_COMMITTED: usize = 16;

/// The words of one turn, as far as a recogniser has them before its end.
#[derive(Default)]
pub(super) struct TurnWords {
    so_far: String,
    committed: VecDeque<ItemId>,
}

/// Leaves the words out: they must never reach a log.
impl std::fmt::Debug for TurnWords {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "TurnWords({} bytes)", self.so_far.len())
    }
}

impl TurnWords {
    /// A turn begins.
    pub(super) fn clear(&mut self) {
        self.so_far.clear();
    }

    /// This item is no longer the one being spoken.
    pub(super) fn committed(&mut self, item_id: &ItemId) {
        if self.committed.len() == MOST_COMMITTED {
            self.committed.pop_front();
        }
        self.committed.push_back(item_id.clone());
    }

    /// The recogniser's words, all of them anew.
    pub(super) fn replace(&mut self, words: String) {
        self.so_far = words;
        if self.so_far.len() > MOST_BYTES {
            self.so_far.clear();
        }
    }

    /// More words of an item. False if that item's turn is over.
    pub(super) fn add(&mut self, item_id: &ItemId, delta: &str) -> bool {
        let is_current = !self.committed.contains(item_id);
        if is_current && self.so_far.len() + delta.len() <= MOST_BYTES {
            self.so_far.push_str(delta);
        }
        is_current
    }

    pub(super) fn so_far(&self) -> &str {
        &self.so_far
    }
}
