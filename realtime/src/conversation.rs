//! The adapter's copy of the conversation: what a client can retrieve.

use std::collections::VecDeque;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use voxgate_protocol::conversation::{Content, Item, ItemKind, Position};
use voxgate_protocol::id::ItemId;

use crate::truncation::heard_words;

/// Most items kept; beyond it the oldest are forgotten, as a model forgets them too.
const MOST_ITEMS: usize = 4_096;

/// Most text kept, in bytes.
const MOST_BYTES: usize = 32 * 1024 * 1024;

/// The item an item should stand behind does not exist.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct PositionUnknown;

#[derive(Clone, Serialize, Deserialize)]
struct Entry {
    item: Item,
    /// What the caller said in it, if the client did not ask to see it.
    unseen_words: Option<String>,
    /// How long each content part sounds, for truncation; missing for parts without sound.
    spoken: Vec<Duration>,
}

impl Entry {
    fn weight(&self) -> usize {
        weight(&self.item) + self.unseen_words.as_ref().map_or(0, String::len)
    }
}

/// Items in order.
#[derive(Clone, Default, Serialize, Deserialize)]
#[serde(from = "VecDeque<Entry>", into = "VecDeque<Entry>")]
pub(crate) struct Conversation {
    entries: VecDeque<Entry>,
    bytes: usize,
}

impl From<VecDeque<Entry>> for Conversation {
    fn from(entries: VecDeque<Entry>) -> Self {
        let bytes = entries.iter().map(|entry| weight(&entry.item)).sum();
        Self { entries, bytes }
    }
}

impl From<Conversation> for VecDeque<Entry> {
    fn from(conversation: Conversation) -> Self {
        conversation.entries
    }
}

impl Conversation {
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// The text and pictures it holds, in bytes.
    pub(crate) const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Every item's name, in order.
    pub(crate) fn ids(&self) -> impl Iterator<Item = &ItemId> {
        self.entries.iter().map(|entry| &entry.item.id)
    }

    fn index(&self, id: &ItemId) -> Option<usize> {
        // What is asked for is nearly always recent.
        self.entries.iter().rposition(|entry| entry.item.id == *id)
    }

    pub(crate) fn contains(&self, id: &ItemId) -> bool {
        self.index(id).is_some()
    }

    pub(crate) fn get(&self, id: &ItemId) -> Option<&Item> {
        self.index(id).map(|index| &self.entries[index].item)
    }

    /// All items in order, each with the words that are not shown in it.
    pub(crate) fn items_with_words(&self) -> impl DoubleEndedIterator<Item = (&Item, Option<&str>)> {
        self.entries.iter().map(|entry| (&entry.item, entry.unseen_words.as_deref()))
    }

    /// The item before the given one.
    pub(crate) fn previous(&self, id: &ItemId) -> Option<&ItemId> {
        let before = self.index(id)?.checked_sub(1)?;
        Some(&self.entries[before].item.id)
    }

    /// The last item.
    pub(crate) fn last(&self) -> Option<&ItemId> {
        self.entries.back().map(|entry| &entry.item.id)
    }

    /// Adds an item whose id is not in use.
    pub(crate) fn insert(&mut self, item: Item, position: &Position) -> Result<(), PositionUnknown> {
        let index = match position {
            Position::Last => self.entries.len(),
            Position::First => 0,
            Position::After(before) => self.index(before).ok_or(PositionUnknown)? + 1,
        };
        self.bytes += weight(&item);
        self.entries.insert(index, Entry { item, unseen_words: None, spoken: Vec::new() });
        self.forget_oldest();
        Ok(())
    }

    fn forget_oldest(&mut self) {
        while self.entries.len() > 1 && (self.entries.len() > MOST_ITEMS || self.bytes > MOST_BYTES) {
            if let Some(entry) = self.entries.pop_front() {
                self.bytes -= entry.weight();
            }
        }
    }

    pub(crate) fn remove(&mut self, id: &ItemId) -> bool {
        let Some(entry) = self.index(id).and_then(|index| self.entries.remove(index)) else { return false };
        self.bytes -= entry.weight();
        true
    }

    /// Writes the final form of an item; `false` if it is not (or no longer) in the conversation.
    pub(crate) fn replace(&mut self, item: Item, spoken: Vec<Duration>) -> bool {
        let Some(index) = self.index(&item.id) else { return false };
        let entry = &mut self.entries[index];
        self.bytes = self.bytes - entry.weight() + weight(&item);
        *entry = Entry { item, unseen_words: None, spoken };
        true
    }

    /// Writes down what a caller said.
    pub(crate) fn set_transcript(&mut self, id: &ItemId, words: &str) {
        let Some(index) = self.index(id) else { return };
        let ItemKind::Message { content, .. } = &mut self.entries[index].item.kind else { return };
        for part in content {
            if let Content::InputAudio { transcript } = part {
                let before = transcript.replace(words.to_owned()).map_or(0, |text| text.len());
                self.bytes = self.bytes - before + words.len();
                return;
            }
        }
    }

    /// Remembers what a caller said without showing it.
    pub(crate) fn set_unseen_words(&mut self, id: &ItemId, words: String) {
        let Some(index) = self.index(id) else { return };
        self.bytes += words.len();
        let before = self.entries[index].unseen_words.replace(words);
        self.bytes -= before.map_or(0, |words| words.len());
        self.forget_oldest();
    }

    /// How long a part of an item sounds, if it is speech of the agent.
    pub(crate) fn spoken(&self, id: &ItemId, content_index: usize) -> Option<Duration> {
        let entry = &self.entries[self.index(id)?];
        let ItemKind::Message { content, .. } = &entry.item.kind else { return None };
        match content.get(content_index)? {
            Content::OutputAudio { .. } => Some(entry.spoken.get(content_index).copied().unwrap_or_default()),
            _ => None,
        }
    }

    /// Cuts the words of a part to what was heard.
    pub(crate) fn truncate(&mut self, id: &ItemId, content_index: usize, heard: Duration) {
        let Some(total) = self.spoken(id, content_index) else { return };
        let Some(index) = self.index(id) else { return };
        let entry = &mut self.entries[index];
        let before = weight(&entry.item);
        if let ItemKind::Message { content, .. } = &mut entry.item.kind
            && let Some(Content::OutputAudio { transcript }) = content.get_mut(content_index)
        {
            *transcript = heard_words(transcript, heard, total).to_owned();
        }
        if let Some(spoken) = entry.spoken.get_mut(content_index) {
            *spoken = heard.min(total);
        }
        self.bytes = self.bytes - before + weight(&entry.item);
    }
}

/// The text an item holds, in bytes.
fn weight(item: &Item) -> usize {
    match &item.kind {
        ItemKind::Message { content, .. } => content
            .iter()
            .map(|part| match part {
                Content::InputText(text) | Content::OutputText(text) => text.len(),
                Content::InputAudio { transcript } => transcript.as_ref().map_or(0, String::len),
                Content::InputImage { image_url } => image_url.len(),
                Content::OutputAudio { transcript } => transcript.len(),
            })
            .sum(),
        ItemKind::ToolCall { name, arguments, .. } => name.len() + arguments.len(),
        ItemKind::ToolOutput { output, .. } => output.len(),
    }
}
