//! What somebody who looks on sees of a session: who speaks when, and what is said as far as that may be seen.
//!
//! Pure, beside the session core: what is seen follows from what happens, and nothing follows from what is seen.

use std::borrow::Cow;
use std::collections::VecDeque;

use voxgate_media::session::Observed;
use voxgate_protocol::bridge::{OutputPart, ResponseStatus};
use voxgate_protocol::conversation::ItemStatus;
use voxgate_protocol::id::{ItemId, ResponseId};
use voxgate_protocol::session::SessionEvent;
use voxgate_telemetry::session::view::Lane;

/// Things seen and not read; of more the oldest are forgotten.
const MOST_UNREAD: usize = 1_024;

/// Answers whose items are remembered: the one that is spoken, and those before it that are not over.
const MOST_ANSWERS: usize = 8;

/// Items remembered of one answer.
const MOST_ITEMS: usize = 32;

/// How much of what is said may be seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum SeenWords {
    /// Nothing.
    #[default]
    None,
    /// Items when they are complete: something may have to be hidden in them, for which they have to be whole.
    Complete,
    /// Everything as it comes.
    All,
}

/// Something that was seen.
#[derive(Debug, PartialEq)]
pub(crate) enum Seen {
    /// Who speaks.
    Session(Observed),
    /// What is said.
    Words { item: ItemId, who: Lane, words: SaidWords },
    /// What the client, or a connection beside it, wants cannot be done; the code it was told.
    Refused(Cow<'static, str>),
}

/// What became known of the words of an item.
#[derive(PartialEq, Eq)]
pub(crate) enum SaidWords {
    /// More of them.
    Added(String),
    /// These are all.
    Complete(String),
    /// No more was heard than this.
    Cut(String),
    /// The answer was taken back, and its words with it.
    TakenBack,
}

/// The length only: what was said must not reach a log.
impl std::fmt::Debug for SaidWords {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (name, bytes) = match self {
            Self::Added(text) => ("Added", text.len()),
            Self::Complete(text) => ("Complete", text.len()),
            Self::Cut(text) => ("Cut", text.len()),
            Self::TakenBack => ("TakenBack", 0),
        };
        write!(f, "{name}({bytes} bytes)")
    }
}

/// What is to be looked at once the conversation knows of it.
pub(crate) enum Glimpse {
    Words(ItemId, Lane, SaidWords),
    /// An item of the agent is over; not to its end if it was cut.
    Whole(ItemId, bool),
}

/// What was seen and not read.
#[derive(Default)]
pub(crate) struct Sight {
    words: SeenWords,
    seen: VecDeque<Seen>,
    /// The items of the last answers.
    answers: VecDeque<(ResponseId, Vec<ItemId>)>,
    /// Items of answers that were taken back: nothing more is told of their words.
    taken_back: VecDeque<ItemId>,
}

impl Sight {
    pub(crate) fn of(words: SeenWords) -> Self {
        Self { words, ..Self::default() }
    }

    pub(crate) fn poll(&mut self) -> Option<Seen> {
        self.seen.pop_front()
    }

    /// What is to be seen of an event, before the conversation has it. Answers beside the conversation are not spoken.
    pub(crate) fn glimpse(
        &mut self,
        event: &SessionEvent,
        is_beside: impl Fn(&ResponseId) -> bool,
    ) -> Option<Glimpse> {
        if self.words == SeenWords::None {
            return None;
        }
        let all = self.words == SeenWords::All;
        let caller = |item: &ItemId, words| Some(Glimpse::Words(item.clone(), Lane::Caller, words));
        match event {
            SessionEvent::InputTranscriptDelta { item_id, delta } if all => {
                caller(item_id, SaidWords::Added(delta.clone()))
            }
            SessionEvent::InputTranscriptDone { item_id, transcript: words, .. }
            | SessionEvent::InputWords { item_id, words } => {
                caller(item_id, SaidWords::Complete(words.clone()))
            }
            SessionEvent::Output { response_id, item_id, part } => {
                let (OutputPart::Transcript(words) | OutputPart::Text(words)) = part else { return None };
                if is_beside(response_id) {
                    return None;
                }
                self.belongs(response_id, item_id);
                let words = SaidWords::Added(words.clone());
                all.then(|| Glimpse::Words(item_id.clone(), Lane::Agent, words))
            }
            SessionEvent::OutputItemDone { response_id, item_id, status } if !is_beside(response_id) => {
                Some(Glimpse::Whole(item_id.clone(), *status != ItemStatus::Completed))
            }
            SessionEvent::ItemTruncated { item_id, .. } => Some(Glimpse::Whole(item_id.clone(), true)),
            SessionEvent::ResponseDone { response_id, status, .. } => {
                if *status == ResponseStatus::IncompleteByFilter {
                    self.take_back(Some(response_id));
                }
                None
            }
            _ => None,
        }
    }

    /// Looks, now that the conversation has it.
    pub(crate) fn look(&mut self, glimpse: Glimpse, words_of: impl Fn(&ItemId) -> Option<String>) {
        match glimpse {
            Glimpse::Words(item, who, words) => self.note(item, who, words),
            Glimpse::Whole(item, is_cut) => {
                let Some(words) = words_of(&item) else { return };
                let words = if is_cut { SaidWords::Cut(words) } else { SaidWords::Complete(words) };
                self.note(item, Lane::Agent, words);
            }
        }
    }

    /// An answer is taken back, whether or not it is over; `None` is the last one.
    pub(crate) fn take_back(&mut self, answer: Option<&ResponseId>) {
        let wanted = |(known, _): &&(ResponseId, Vec<ItemId>)| answer.is_none_or(|answer| known == answer);
        let Some((_, items)) = self.answers.iter().rev().find(wanted).cloned() else { return };
        for item in items {
            if self.taken_back.contains(&item) {
                continue;
            }
            self.note(item.clone(), Lane::Agent, SaidWords::TakenBack);
            if self.taken_back.len() == MOST_ANSWERS * MOST_ITEMS {
                self.taken_back.pop_front();
            }
            self.taken_back.push_back(item);
        }
    }

    fn note(&mut self, item: ItemId, who: Lane, words: SaidWords) {
        if self.taken_back.contains(&item) {
            return;
        }
        self.keep(Seen::Words { item, who, words });
    }

    /// Something the client, or a connection beside it, wanted was refused.
    pub(crate) fn refused(&mut self, code: Cow<'static, str>) {
        self.keep(Seen::Refused(code));
    }

    fn keep(&mut self, seen: Seen) {
        if self.seen.len() == MOST_UNREAD {
            self.seen.pop_front();
        }
        self.seen.push_back(seen);
    }

    fn belongs(&mut self, answer: &ResponseId, item: &ItemId) {
        if !self.answers.iter().any(|(known, _)| known == answer) {
            if self.answers.len() == MOST_ANSWERS {
                self.answers.pop_front();
            }
            self.answers.push_back((answer.clone(), Vec::new()));
        }
        let items = self.answers.iter_mut().find(|(known, _)| known == answer).map(|(_, items)| items);
        if let Some(items) = items.filter(|items| items.len() < MOST_ITEMS && !items.contains(item)) {
            items.push(item.clone());
        }
    }
}
