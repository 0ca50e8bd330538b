//! Which answers are asked for, written and played.

use std::collections::VecDeque;

use voxgate_protocol::id::{ItemId, ResponseId};

use crate::response::{OutputItem, Request, Response};

/// Most requests of a client that have not begun.
pub(super) const MOST_REQUESTS: usize = 16;

/// Names of finished answers kept, so that late pieces and repeated ends are recognised.
const MOST_FINISHED: usize = 64;

/// An answer whose audio is on its way to the caller.
pub(super) struct Playing {
    pub(super) response_id: ResponseId,
    /// The last frame left before the answer was done.
    pub(super) has_drained: bool,
}

/// The state of all answers of a session.
#[derive(Default)]
pub(super) struct Answers {
    /// Asked for by the client, oldest first.
    pub(super) requests: VecDeque<Request>,
    /// Between `response.created` and `response.done`.
    pub(super) live: Vec<Response>,
    finished: VecDeque<ResponseId>,
    /// Between `output_audio_buffer.started` and `.stopped` or `.cleared`.
    pub(super) playing: Vec<Playing>,
}

impl Answers {
    /// The answer that writes to the conversation; there is at most one.
    pub(super) fn active(&self) -> Option<&Response> {
        self.live.iter().find(|response| !response.request.is_out_of_band)
    }

    /// A request that will write to the conversation once it begins.
    pub(super) fn awaited(&self) -> Option<&Request> {
        self.requests.iter().find(|request| !request.is_out_of_band && !request.is_cancelled)
    }

    pub(super) fn index(&self, id: &ResponseId) -> Option<usize> {
        self.live.iter().position(|response| response.id == *id)
    }

    /// An item being written to the conversation.
    pub(super) fn live_item(&mut self, id: &ItemId) -> Option<&mut OutputItem> {
        let active = self.live.iter_mut().find(|response| !response.request.is_out_of_band)?;
        active.items.iter_mut().find(|item| item.id == *id)
    }

    /// An item being written to the conversation, to look at.
    pub(super) fn written(&self, id: &ItemId) -> Option<&OutputItem> {
        let active = self.live.iter().find(|response| !response.request.is_out_of_band)?;
        active.items.iter().find(|item| item.id == *id)
    }

    /// Whether any answer being written has an item of this name.
    pub(super) fn names_item(&self, id: &ItemId) -> bool {
        self.live.iter().any(|response| response.item_index(id).is_some())
    }

    /// Takes an answer out of the live ones and remembers that it is over.
    pub(super) fn finish(&mut self, index: usize) -> Response {
        let response = self.live.remove(index);
        if self.finished.len() >= MOST_FINISHED {
            self.finished.pop_front();
        }
        self.finished.push_back(response.id.clone());
        response
    }

    pub(super) fn has_finished(&self, id: &ResponseId) -> bool {
        self.finished.contains(id)
    }
}
