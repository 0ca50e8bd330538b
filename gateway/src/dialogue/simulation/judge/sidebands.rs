//! Everybody who listens to a call hears the same in the same order, and answers to one go to that one.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use serde_json::Value;
use voxgate_realtime::SidebandId;

use super::{Verdict, promise, text};

/// Most that are attached at once.
const MOST: usize = 4;

#[derive(Default)]
pub(super) struct Sidebands {
    attached: BTreeSet<SidebandId>,
    /// What each of them sent.
    asked: BTreeMap<String, SidebandId>,
    /// Told to sideband connections and not yet to the client.
    owed: VecDeque<String>,
}

impl Sidebands {
    pub(super) fn attach(&mut self, id: SidebandId, is_taken: bool, is_over: bool) -> Verdict {
        let should_be = !is_over && self.attached.len() < MOST;
        promise!(is_taken == should_be, "{id:?} attaches: {is_taken}; {} are", self.attached.len());
        if is_taken {
            self.attached.insert(id);
        }
        Ok(())
    }

    pub(super) fn leave(&mut self, id: SidebandId) {
        self.attached.remove(&id);
    }

    pub(super) fn has(&self, id: SidebandId) -> bool {
        self.attached.contains(&id)
    }

    pub(super) fn asks(&mut self, id: SidebandId, event_id: &str) {
        self.asked.insert(event_id.to_owned(), id);
    }

    /// One event to all of them.
    pub(super) fn told(&mut self, event: &str) -> Verdict {
        promise!(!self.attached.is_empty(), "nobody is attached, and all are told something");
        promise!(!event.contains(r#""type":"session.created""#), "session.created is the client's alone");
        self.owed.push_back(event.to_owned());
        Ok(())
    }

    /// One event to the client itself. `is_live` tells that it is one of now, not one that waited for the channel.
    pub(super) fn client_told(&mut self, kind: &str, event: &str, is_live: bool) -> Verdict {
        if self.owed.front().is_some_and(|owed| owed == event) {
            self.owed.pop_front();
            return Ok(());
        }
        let is_known = self.owed.iter().any(|owed| owed == event);
        promise!(!is_known, "{kind} comes to the client in another order than to its sidebands");
        promise!(!is_live || self.attached.is_empty(), "{kind} was kept from the sideband connections");
        Ok(())
    }

    /// An event that names what the client sent.
    pub(super) fn names(&self, event_id: &str) -> Option<SidebandId> {
        self.asked.get(event_id).copied()
    }

    /// One event to one of them.
    pub(super) fn reply(&self, id: SidebandId, event: &Value) -> Verdict {
        let kind = text(event, "type");
        promise!(self.attached.contains(&id), "{kind} for {id:?}, which is not attached");
        promise!(
            matches!(kind, "error" | "conversation.item.retrieved"),
            "{kind} is for everybody, not for {id:?}"
        );
        if let Some(named) = event["error"]["event_id"].as_str() {
            promise!(self.names(named) == Some(id), "an error for {id:?} names {named}");
        }
        Ok(())
    }

    /// The input is carried to its end. Once the channel is open the client knows all the others know.
    pub(super) fn settled(&self, is_open: bool) -> Verdict {
        promise!(!is_open || self.owed.is_empty(), "{} events were kept from the client", self.owed.len());
        Ok(())
    }
}
