//! A list that forgets its oldest entries, and knows which ones a reader has not seen yet.

use std::collections::VecDeque;
use std::sync::Arc;

/// An entry that says at which revision of the record it changed last.
pub(super) trait Stamped: Clone {
    /// What makes it the same entry as one a reader has seen.
    type Key: PartialEq;

    fn key(&self) -> Self::Key;
    fn seq(&self) -> u64;
    fn stamp(&mut self, seq: u64);
}

/// At most so many entries, in the order they came in. A reader's copy costs it a count of references.
#[derive(Clone, Debug)]
pub(super) struct Kept<T> {
    entries: VecDeque<Arc<T>>,
    most: usize,
    is_truncated: bool,
}

impl<T: Stamped> Kept<T> {
    pub(super) const fn new(most: usize) -> Self {
        Self { entries: VecDeque::new(), most, is_truncated: false }
    }

    /// Adds an entry. The one that had to go for it, if any.
    pub(super) fn push(&mut self, seq: u64, mut entry: T) -> Option<Arc<T>> {
        entry.stamp(seq);
        let oldest = if self.entries.len() < self.most { None } else { self.forget_oldest() };
        self.entries.push_back(Arc::new(entry));
        oldest
    }

    pub(super) fn forget_oldest(&mut self) -> Option<Arc<T>> {
        let oldest = self.entries.pop_front()?;
        self.is_truncated = true;
        Some(oldest)
    }

    /// Changes the newest entry with this key. False if there is none.
    pub(super) fn change(&mut self, seq: u64, key: &T::Key, change: impl FnOnce(&mut T)) -> bool {
        let Some(entry) = self.entries.iter_mut().rev().find(|entry| entry.key() == *key) else {
            return false;
        };
        let entry = Arc::make_mut(entry);
        change(entry);
        entry.stamp(seq);
        true
    }

    /// The newest first.
    pub(super) fn newest(&self) -> impl Iterator<Item = &T> {
        self.entries.iter().rev().map(Arc::as_ref)
    }

    /// What changed after a revision, the oldest first.
    pub(super) fn since(&self, revision: u64) -> Vec<Arc<T>> {
        self.entries.iter().filter(|entry| entry.seq() > revision).map(Arc::clone).collect()
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether entries were forgotten.
    pub(super) const fn is_truncated(&self) -> bool {
        self.is_truncated
    }
}

/// The entries themselves; to be called after the lock was given back, since it may copy them.
pub(super) fn opened<T: Clone>(entries: Vec<Arc<T>>) -> Vec<T> {
    entries.into_iter().map(Arc::unwrap_or_clone).collect()
}
