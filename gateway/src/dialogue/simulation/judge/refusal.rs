//! A client event that was refused, or that only asked, changed nothing.

use voxgate_protocol::settings::SessionSettings;
use voxgate_realtime::ContextItem;

use super::{Verdict, promise};
use crate::dialogue::core::DialogueCore;

/// What a client event can change.
#[derive(PartialEq)]
struct State {
    settings: SessionSettings,
    items: Vec<String>,
    words: Vec<ContextItem>,
}

impl State {
    fn of(core: &DialogueCore) -> Self {
        Self {
            settings: core.settings().clone(),
            items: core.item_ids().map(str::to_owned).collect(),
            words: core.context(),
        }
    }
}

/// One client event and what came of it.
pub(super) struct Asking {
    before: State,
    /// It was answered by an error, or by what it asked for.
    is_only_answered: Option<&'static str>,
    /// Everything else that came of it.
    others: Vec<String>,
}

impl Asking {
    pub(super) fn new(core: &DialogueCore) -> Self {
        Self { before: State::of(core), is_only_answered: None, others: Vec::new() }
    }

    /// This answer leaves everything as it was.
    pub(super) fn answered(&mut self, how: &'static str) {
        self.is_only_answered = Some(how);
    }

    /// Something else came of it.
    pub(super) fn other(&mut self, what: &str) {
        self.others.push(what.to_owned());
    }

    pub(super) fn settled(&self, core: &DialogueCore) -> Verdict {
        let Some(how) = self.is_only_answered else { return Ok(()) };
        promise!(self.others.is_empty(), "an event that was {how} led to {:?}", self.others);
        promise!(self.before == State::of(core), "an event that was {how} changed the session");
        Ok(())
    }
}
