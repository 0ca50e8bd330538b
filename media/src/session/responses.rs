//! Which answers were asked for and which are being written.
//!
//! An answer has no name until the provider begins it, so a cancellation that comes earlier waits here for it. Answers
//! beside the conversation (`conversation: "none"`) run next to the one the caller hears and are not interrupted.

use std::collections::VecDeque;

use voxgate_protocol::bridge::ResponseStatus;
use voxgate_protocol::id::ResponseId;
use voxgate_protocol::settings::ResponseOptions;

/// Answers asked for or being written that are remembered. More than a provider ever has under way.
const MOST_OPEN: usize = 64;

/// Cancelled answers whose late pieces are still expected.
const MOST_CANCELLED: usize = 16;

/// What a provider complains of that is no request for an answer (OpenAI's Realtime API, `error` events).
const OTHER_COMPLAINTS: [&str; 2] = ["response_cancel_not_active", "input_audio_buffer_commit_empty"];

#[derive(Debug)]
struct Asked {
    is_beside: bool,
    is_for_turn: bool,
    cancelled: Option<ResponseStatus>,
}

#[derive(Debug)]
struct Cancelled {
    id: ResponseId,
    reason: ResponseStatus,
    /// Something of it came later and was dropped.
    lacks_pieces: bool,
}

#[derive(Debug)]
struct Open {
    id: ResponseId,
    is_beside: bool,
}

/// How an answer begins.
#[derive(Clone, Copy, Debug)]
pub(super) struct Started {
    /// No client asked for it.
    pub(super) is_for_turn: bool,
    /// It was cancelled before it had a name: the provider has to be told.
    pub(super) is_cancelled: bool,
}

/// The answers of one session.
#[derive(Debug, Default)]
pub(super) struct Responses {
    /// Oldest first, the order in which the provider begins them.
    asked: VecDeque<Asked>,
    open: VecDeque<Open>,
    cancelled: VecDeque<Cancelled>,
}

impl Responses {
    /// `is_for_turn` tells that no client asked for it.
    pub(super) fn asked(&mut self, options: &ResponseOptions, is_for_turn: bool) {
        let asked = Asked { is_beside: options.is_beside, is_for_turn, cancelled: None };
        push(&mut self.asked, asked, MOST_OPEN);
    }

    /// The provider began an answer; nothing if it said so before.
    pub(super) fn started(&mut self, id: &ResponseId) -> Option<Started> {
        if self.open.iter().any(|open| open.id == *id) {
            return None;
        }
        let asked = self.asked.pop_front();
        let is_beside = asked.as_ref().is_some_and(|asked| asked.is_beside);
        let is_for_turn = asked.as_ref().is_some_and(|asked| asked.is_for_turn);
        push(&mut self.open, Open { id: id.clone(), is_beside }, MOST_OPEN);
        let is_cancelled = match asked.and_then(|asked| asked.cancelled) {
            Some(status) => self.cancel(id, status),
            None => false,
        };
        Some(Started { is_for_turn, is_cancelled })
    }

    /// The provider complains. If that refuses an answer it was asked for: whether it was to answer a turn.
    pub(super) fn refused(&mut self, complaint: &str) -> Option<bool> {
        let is_beside = self.asked.front()?.is_beside;
        // Of an answer being written a provider complains when it ends it.
        let is_refusal = self.current().is_none() || is_beside;
        if !is_refusal || OTHER_COMPLAINTS.contains(&complaint) {
            return None;
        }
        self.asked.pop_front().map(|asked| asked.is_for_turn)
    }

    /// Whether the conversation has an answer that is not over; a second one would be refused.
    pub(super) fn is_busy(&self) -> bool {
        self.current().is_some() || self.asked.iter().any(|asked| !asked.is_beside)
    }

    /// Whether no answer of the conversation is in progress and none at all is asked for.
    pub(super) fn is_idle(&self) -> bool {
        self.current().is_none() && self.asked.is_empty()
    }

    /// Whether an answer in progress stays outside the conversation.
    pub(super) fn is_beside(&self, id: &ResponseId) -> bool {
        self.open.iter().any(|open| open.is_beside && open.id == *id)
    }

    /// The answer that writes to the conversation.
    pub(super) fn current(&self) -> Option<&ResponseId> {
        self.open.iter().rev().find(|open| !open.is_beside).map(|open| &open.id)
    }

    /// Every answer that has begun and not ended.
    pub(super) fn open(&self) -> impl Iterator<Item = &ResponseId> {
        self.open.iter().map(|open| &open.id)
    }

    /// Whether pieces of this answer still count.
    pub(super) fn wants(&self, id: &ResponseId) -> bool {
        !self.cancelled.iter().any(|cancelled| cancelled.id == *id)
    }

    /// Whether this piece of an answer, which has come now, is dropped.
    pub(super) fn drops(&mut self, id: &ResponseId) -> bool {
        let cancelled = self.cancelled.iter_mut().find(|cancelled| cancelled.id == *id);
        cancelled.map(|cancelled| cancelled.lacks_pieces = true).is_some()
    }

    /// From now on pieces of this answer are dropped; it ends with the given status. False if that was so before, or
    /// if there is no such answer.
    pub(super) fn cancel(&mut self, id: &ResponseId, status: ResponseStatus) -> bool {
        let is_news = self.open.iter().any(|open| open.id == *id) && self.wants(id);
        if is_news {
            let cancelled = Cancelled { id: id.clone(), reason: status, lacks_pieces: false };
            push(&mut self.cancelled, cancelled, MOST_CANCELLED);
        }
        is_news
    }

    /// Cancels what was asked for and has not begun.
    pub(super) fn cancel_asked(&mut self, status: &ResponseStatus) {
        for asked in self.asked.iter_mut().filter(|asked| !asked.is_beside) {
            asked.cancelled.get_or_insert_with(|| status.clone());
        }
    }

    /// The provider finished an answer. Gives the status the client should see: the reason of a cancel is known
    /// here, not at the provider, and an answer is not complete for a client who did not get all of it, or from whom policy
    /// took it back.
    pub(super) fn done(&mut self, id: &ResponseId, status: ResponseStatus) -> ResponseStatus {
        self.open.retain(|open| open.id != *id);
        let Some(cancelled) = self.cancelled.iter().find(|cancelled| cancelled.id == *id) else {
            return status;
        };
        let is_cut = match status {
            ResponseStatus::CancelledByClient | ResponseStatus::CancelledByTurn => true,
            ResponseStatus::Completed => {
                cancelled.lacks_pieces || cancelled.reason == ResponseStatus::IncompleteByFilter
            }
            _ => false,
        };
        if is_cut { cancelled.reason.clone() } else { status }
    }
}

/// Keeps the newest.
fn push<T>(queue: &mut VecDeque<T>, value: T, most: usize) {
    if queue.len() == most {
        queue.pop_front();
    }
    queue.push_back(value);
}
