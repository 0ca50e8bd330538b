//! The conversation as the client can rebuild it, and what is kept of an answer that was cut.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde_json::Value;
use voxgate_media::encode::FRAME;
use voxgate_media::session::Leg;

use super::{Verdict, promise, text};
use crate::dialogue::core::DialogueCore;

/// Samples of a WebSocket client for a millisecond, in bytes.
const BYTES_OF_MILLISECOND: u64 = 48;

#[derive(Default)]
struct Book {
    /// Audio the provider sent, late pieces included.
    received: Duration,
    /// Audio that surely was taken.
    taken: Duration,
    /// Bytes of audio a WebSocket client got.
    bytes: u64,
    words: BTreeMap<u64, String>,
    response_id: Option<String>,
    /// Milliseconds the client was told were heard.
    heard: Option<u64>,
    is_done: bool,
}

#[derive(Default)]
pub(super) struct Items {
    order: Vec<String>,
    books: BTreeMap<String, Book>,
    deleted: BTreeSet<String>,
}

impl Items {
    pub(super) fn is_deleted(&self, id: &str) -> bool {
        self.deleted.contains(id)
    }

    /// A piece of audio came from the provider.
    pub(super) fn received(&mut self, id: &str, length: Duration, is_taken: bool) {
        let book = self.books.entry(id.to_owned()).or_default();
        book.received += length;
        if is_taken {
            book.taken += length;
        }
    }

    pub(super) fn received_of(&self, id: &str) -> Duration {
        self.books.get(id).map_or(Duration::ZERO, |book| book.received)
    }

    /// Audio of an answer that surely was taken, and all that came.
    pub(super) fn audio_of(&self, response_id: &str) -> (Duration, Duration) {
        let books = self.books.values().filter(|book| book.response_id.as_deref() == Some(response_id));
        books.fold((Duration::ZERO, Duration::ZERO), |(taken, received), book| {
            (taken + book.taken, received + book.received)
        })
    }

    pub(super) fn response_of(&self, id: &str) -> Option<&str> {
        self.books.get(id)?.response_id.as_deref()
    }

    /// An event about an answer.
    pub(super) fn written(&mut self, kind: &str, event: &Value) {
        let id = if kind == "response.output_item.added" {
            text(&event["item"], "id")
        } else {
            text(event, "item_id")
        };
        if id.is_empty() {
            return;
        }
        let book = self.books.entry(id.to_owned()).or_default();
        book.response_id = Some(text(event, "response_id").to_owned());
        match kind {
            "response.output_audio_transcript.delta" => {
                let index = event["content_index"].as_u64().unwrap_or_default();
                book.words.entry(index).or_default().push_str(text(event, "delta"));
            }
            "response.output_audio.delta" => {
                let delta = text(event, "delta");
                let padding = delta.bytes().rev().take_while(|byte| *byte == b'=').count();
                book.bytes += (delta.len() / 4 * 3 - padding) as u64;
            }
            _ => {}
        }
    }

    pub(super) fn event(&mut self, kind: &str, event: &Value) -> Verdict {
        match kind {
            "conversation.item.added" => self.added(event),
            "conversation.item.done" => {
                let id = text(&event["item"], "id");
                promise!(
                    self.order.iter().any(|known| known == id),
                    "{id} is done and not in the conversation"
                );
                self.follows(id, event)?;
                let book = self.books.entry(id.to_owned()).or_default();
                promise!(!std::mem::replace(&mut book.is_done, true), "{id} is done twice");
                Ok(())
            }
            "conversation.item.deleted" => {
                let id = text(event, "item_id");
                let place = self.order.iter().position(|known| known == id);
                let Some(place) = place else { return Err(format!("{id} is deleted and was not there")) };
                self.order.remove(place);
                self.deleted.insert(id.to_owned());
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn added(&mut self, event: &Value) -> Verdict {
        let id = text(&event["item"], "id");
        promise!(!self.order.iter().any(|known| known == id), "{id} is added twice");
        let place = match event["previous_item_id"].as_str() {
            None => 0,
            Some(before) => {
                let place = self.order.iter().position(|known| known == before);
                place.ok_or_else(|| format!("{id} is put behind {before}, which is not there"))? + 1
            }
        };
        self.order.insert(place, id.to_owned());
        self.books.entry(id.to_owned()).or_default().is_done = false;
        Ok(())
    }

    /// Whether an event names the right predecessor of an item that is in the conversation.
    fn follows(&self, id: &str, event: &Value) -> Verdict {
        let place = self.order.iter().position(|known| known == id);
        let before = place.and_then(|place| place.checked_sub(1)).map(|before| self.order[before].as_str());
        let told = event["previous_item_id"].as_str();
        promise!(told == before, "{id} stands behind {before:?}, not behind {told:?}");
        Ok(())
    }

    pub(super) fn committed(&self, event: &Value) -> Verdict {
        let id = text(event, "item_id");
        if self.order.iter().any(|known| known == id) {
            return self.follows(id, event);
        }
        let last = self.order.last().map(String::as_str);
        let told = event["previous_item_id"].as_str();
        promise!(told == last, "{id} is committed behind {told:?}, but the last item is {last:?}");
        Ok(())
    }

    /// `sent` is how many packets left since the item's answer became audible, where packets are sent.
    pub(super) fn truncated(&mut self, event: &Value, sent: Option<u64>, leg: Leg) -> Verdict {
        let id = text(event, "item_id");
        promise!(self.order.iter().any(|known| known == id), "{id} is cut and not in the conversation");
        let told = event["audio_end_ms"].as_u64().unwrap_or(u64::MAX);
        let book = self.books.entry(id.to_owned()).or_default();
        let received = book.received.as_millis() as u64;
        promise!(told <= received, "{id} is cut at {told} ms, but only {received} ms came");
        if leg == Leg::Pcm {
            let got = book.bytes / BYTES_OF_MILLISECOND;
            promise!(told <= got, "{id} is cut at {told} ms, but the client got {got} ms");
        }
        if let Some(sent) = sent {
            let sent = sent * FRAME.as_millis() as u64;
            promise!(told <= sent, "{id} is cut at {told} ms, but only {sent} ms left for the caller");
        }
        book.heard = Some(book.heard.map_or(told, |before| before.min(told)));
        Ok(())
    }

    pub(super) fn retrieved(&self, event: &Value, leg: Leg) -> Verdict {
        let item = &event["item"];
        let id = text(item, "id");
        promise!(self.order.iter().any(|known| known == id), "{id} is retrieved and not in the conversation");
        let Some(book) = self.books.get(id) else { return Ok(()) };
        let content = item["content"].as_array().map(Vec::as_slice).unwrap_or_default();
        for (index, part) in (0..).zip(content) {
            if part["type"] == "output_audio" {
                let said = book.words.get(&index).map_or("", String::as_str);
                book.fits(id, text(part, "transcript"), said, leg)?;
            }
        }
        Ok(())
    }

    /// The order the client rebuilt is the order that is stored.
    pub(super) fn compare(&self, core: &DialogueCore) -> Verdict {
        let stored: Vec<_> = core.item_ids().collect();
        promise!(stored == self.order, "stored is {stored:?}, the client knows {:?}", self.order);
        Ok(())
    }

    pub(super) fn finish(&self, core: &DialogueCore) -> Verdict {
        self.compare(core)?;
        let open = self.order.iter().find(|id| self.books.get(*id).is_none_or(|book| !book.is_done));
        promise!(open.is_none(), "{open:?} was added and never done");
        Ok(())
    }
}

impl Book {
    /// Whether the words that are kept fit what was heard of those that were said.
    fn fits(&self, id: &str, kept: &str, said: &str, leg: Leg) -> Verdict {
        let Some(heard) = self.heard else {
            promise!(kept == said, "{id} was not cut and keeps {kept:?} of {said:?}");
            return Ok(());
        };
        promise!(said.starts_with(kept), "{id} keeps {kept:?}, which is no beginning of {said:?}");
        let (kept, said) = (kept.chars().count() as u128, said.chars().count() as u128);
        // Told in whole milliseconds: up to one more was heard.
        let heard = u128::from(heard) + 1;
        let whole = match leg {
            Leg::Rtp => self.taken.as_millis(),
            Leg::Pcm => u128::from(self.bytes / BYTES_OF_MILLISECOND),
        };
        promise!(
            kept * whole <= said * heard,
            "{id} keeps {kept} of {said} characters, but {heard} of {whole} ms were heard"
        );
        Ok(())
    }
}
