//! One response in the making.

use std::sync::Arc;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::voice::{milliseconds, samples_in};

/// What a response produces.
#[derive(Clone, Debug)]
pub(super) enum Product {
    /// Speech with a transcript.
    Speech(Arc<[i16]>),
    /// Written text.
    Text,
    /// A tool call: name, call id.
    Call(String, String),
}

/// What a response is asked for with.
#[derive(Clone, Debug)]
pub(super) struct Order {
    pub(super) response_id: String,
    pub(super) item_id: String,
    pub(super) product: Product,
    /// The words, or the arguments of the call.
    pub(super) words: String,
    pub(super) metadata: Value,
    /// `null` for a response beside the conversation.
    pub(super) conversation_id: Value,
    pub(super) first_at: Instant,
    pub(super) piece: Duration,
    pub(super) speed: f64,
}

/// A response in progress: a schedule of pieces.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) order: Order,
    words: Vec<String>,
    said: usize,
    spoken: usize,
    next_at: Instant,
    has_begun: bool,
    /// Nothing more comes unless it is cancelled.
    pub(super) is_stalled: bool,
}

impl Answer {
    pub(super) fn new(order: Order) -> Self {
        let words = order.words.split_inclusive(' ').map(str::to_owned).collect();
        let next_at = order.first_at;
        Self { order, words, said: 0, spoken: 0, next_at, has_begun: false, is_stalled: false }
    }

    pub(super) fn is_in_conversation(&self) -> bool {
        !self.order.conversation_id.is_null()
    }

    pub(super) fn next_at(&self) -> Option<Instant> {
        (!self.is_stalled).then_some(self.next_at)
    }

    pub(super) const fn has_begun(&self) -> bool {
        self.has_begun
    }

    pub(super) const fn begin(&mut self) {
        self.has_begun = true;
    }

    /// Samples sent so far.
    pub(super) const fn spoken(&self) -> u64 {
        self.spoken as u64
    }

    pub(super) fn spoken_for(&self) -> Duration {
        Duration::from_millis(milliseconds(self.spoken as u64))
    }

    /// The words sent so far.
    pub(super) fn said(&self) -> String {
        self.words[..self.said].concat()
    }

    /// The `item` of this response at the moment.
    pub(super) fn item(&self, status: &str) -> Value {
        let Order { item_id, product, .. } = &self.order;
        let said = self.said();
        let part = match product {
            Product::Call(name, call_id) => {
                return json!({
                    "id": item_id, "object": "realtime.item", "type": "function_call", "status": status,
                    "name": name, "call_id": call_id, "arguments": said,
                });
            }
            Product::Speech(_) => json!({ "type": "output_audio", "transcript": said }),
            Product::Text => json!({ "type": "output_text", "text": said }),
        };
        let content = if status == "in_progress" { json!([]) } else { json!([part]) };
        json!({
            "id": item_id, "object": "realtime.item", "type": "message", "status": status, "role": "assistant",
            "content": content,
        })
    }

    /// The `part` of a content part event. Its types differ from those of items.
    pub(super) fn part(&self) -> Value {
        match self.order.product {
            Product::Text => json!({ "type": "text", "text": self.said() }),
            _ => json!({ "type": "audio", "transcript": self.said() }),
        }
    }

    /// The next piece: words and base64 audio, either of which may be missing. `None` at the end.
    pub(super) fn next_piece(&mut self) -> Option<(Option<String>, Option<String>)> {
        let (words_due, audio) = match &self.order.product {
            Product::Speech(samples) => {
                let samples = Arc::clone(samples);
                if self.spoken == samples.len() {
                    return None;
                }
                let end = (self.spoken + samples_in(self.order.piece).max(1)).min(samples.len());
                let bytes: Vec<u8> = samples[self.spoken..end].iter().flat_map(|s| s.to_le_bytes()).collect();
                self.spoken = end;
                let share = self.words.len() * end;
                (share.div_ceil(samples.len()), Some(STANDARD.encode(bytes)))
            }
            Product::Text | Product::Call(..) => {
                if self.said == self.words.len() {
                    return None;
                }
                (self.said + 1, None)
            }
        };
        let words = self.words[self.said..words_due].concat();
        self.said = words_due;
        self.next_at += self.order.piece.div_f64(self.order.speed.max(0.01));
        Some(((!words.is_empty()).then_some(words), audio))
    }
}
