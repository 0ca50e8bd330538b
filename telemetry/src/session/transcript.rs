//! What was said, as far as it may be kept.

use std::sync::Arc;
use std::time::Duration;

use super::facts::WordsChange;
use super::kept::{Kept, Stamped};
use super::view::{Lane, WordsState, WordsView};

/// The most text of one item, in bytes: half an hour of talk.
const LONGEST_ITEM: usize = 32 * 1_024;

impl Stamped for WordsView {
    type Key = String;

    fn key(&self) -> String {
        self.item.clone()
    }

    fn seq(&self) -> u64 {
        self.seq
    }

    fn stamp(&mut self, seq: u64) {
        self.seq = seq;
    }
}

/// Items of a limited number and length; the oldest go.
#[derive(Clone, Debug)]
pub(super) struct Transcript {
    items: Kept<WordsView>,
    most_bytes: usize,
    bytes: usize,
}

impl Transcript {
    pub(super) const fn new(most: usize, most_bytes: usize) -> Self {
        Self { items: Kept::new(most), most_bytes, bytes: 0 }
    }

    /// Takes what became known of an item. False if that is nothing new.
    pub(super) fn take(
        &mut self,
        seq: u64,
        at: Duration,
        (item, who): (&str, Lane),
        change: WordsChange<'_>,
    ) -> bool {
        let key = item.to_owned();
        let before = self.items.newest().find(|words| words.item == key).map(|words| words.text.len());
        let has_changed = match (before, change) {
            (Some(_), change) => self.items.change(seq, &key, |words| apply(words, change)),
            (None, WordsChange::Add(text) | WordsChange::Complete(text) | WordsChange::Cut(text)) => {
                let at_ms = at.as_millis() as u64;
                let state = WordsState::Partial;
                let mut words = WordsView { seq, item: key, at_ms, who, text: String::new(), state };
                apply(&mut words, change);
                self.bytes += text.len().min(LONGEST_ITEM);
                let gone = self.items.push(seq, words);
                self.bytes -= gone.map_or(0, |words| words.text.len());
                self.forget();
                return true;
            }
            (None, WordsChange::Remove) => false,
        };
        if let (true, Some(before)) = (has_changed, before) {
            let after =
                self.items.newest().find(|words| words.item == item).map_or(0, |words| words.text.len());
            self.bytes = self.bytes - before + after;
            self.forget();
        }
        has_changed
    }

    pub(super) fn since(&self, revision: u64) -> Vec<Arc<WordsView>> {
        self.items.since(revision)
    }

    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn len(&self) -> usize {
        self.items.len()
    }

    pub(super) const fn is_truncated(&self) -> bool {
        self.items.is_truncated()
    }

    fn forget(&mut self) {
        while self.bytes > self.most_bytes {
            let Some(oldest) = self.items.forget_oldest() else { break };
            self.bytes -= oldest.text.len();
        }
    }
}

/// A removed item stays as an empty one, so that readers who have its words lose them.
fn apply(words: &mut WordsView, change: WordsChange<'_>) {
    match change {
        // What was taken back or cut does not grow again.
        WordsChange::Add(_) | WordsChange::Complete(_) if words.state == WordsState::Cut => {}
        WordsChange::Add(text) => words.text.push_str(beginning(text, LONGEST_ITEM - words.text.len())),
        WordsChange::Complete(text) => {
            words.text = beginning(text, LONGEST_ITEM).to_owned();
            words.state = WordsState::Complete;
        }
        WordsChange::Cut(text) => {
            words.text = beginning(text, LONGEST_ITEM).to_owned();
            words.state = WordsState::Cut;
        }
        WordsChange::Remove => {
            words.text = String::new();
            words.state = WordsState::Cut;
        }
    }
}

/// As many whole characters as fit.
fn beginning(text: &str, most: usize) -> &str {
    if text.len() <= most {
        return text;
    }
    let end = (0..=most).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
    text.get(..end).unwrap_or_default()
}
