//! The answers in progress and what was received of them.

use std::collections::VecDeque;
use std::time::Duration;

use voxgate_protocol::audio::{SampleCount, SampleRate};
use voxgate_protocol::bridge::{BridgeEvent, OutputPart, ResponseStatus, TurnStage};
use voxgate_protocol::conversation::ItemStatus;
use voxgate_protocol::id::{ItemId, ResponseId, ToolCallId};
use voxgate_protocol::usage::TokenUsage;

/// One in the conversation and a few beside it (`conversation: "none"`).
const MAXIMUM_OPEN: usize = 16;
const MAXIMUM_ITEMS: usize = 128;
/// Ended answers whose late events are recognised.
const MAXIMUM_ENDED: usize = 32;
/// Spoken items whose length is remembered for truncation.
const MAXIMUM_SPOKEN: usize = 64;

/// The call an item asks for.
#[derive(Clone, Debug)]
pub(super) struct ToolName {
    pub(super) call_id: ToolCallId,
    pub(super) name: String,
}

#[derive(Debug)]
struct OpenItem {
    id: ItemId,
    tool: Option<ToolName>,
    /// Whether the gateway has heard of it.
    shown: bool,
    has_arguments: bool,
    is_done: bool,
}

#[derive(Debug)]
struct Answer {
    id: ResponseId,
    has_output: bool,
    items: Vec<OpenItem>,
}

#[derive(Debug)]
struct Spoken {
    item_id: ItemId,
    samples: SampleCount,
    is_done: bool,
}

/// Keeps the promises of the neutral stream whatever the vendor sends: an answer starts once and ends once, its
/// output lies in between, and each of its items ends before it does.
#[derive(Debug, Default)]
pub(super) struct Answers {
    open: Vec<Answer>,
    ended: VecDeque<ResponseId>,
    spoken: VecDeque<Spoken>,
}

impl Answers {
    /// Whether an answer is in progress.
    pub(super) const fn is_active(&self) -> bool {
        !self.open.is_empty()
    }

    /// Whether this answer is in progress.
    pub(super) fn is_open(&self, response_id: &ResponseId) -> bool {
        self.open.iter().any(|answer| answer.id == *response_id)
    }

    /// The answer in progress, if there is exactly one: some vendors leave its name out.
    pub(super) fn only(&self) -> Option<&ResponseId> {
        if let [answer] = self.open.as_slice() { Some(&answer.id) } else { None }
    }

    /// How much speech of an item was received, and whether more may come. `None` for an item that never spoke.
    pub(super) fn spoken(&self, item_id: &ItemId, rate: SampleRate) -> Option<(Duration, bool)> {
        let spoken = self.spoken.iter().rev().find(|spoken| spoken.item_id == *item_id)?;
        Some((spoken.samples.duration_at(rate), spoken.is_done))
    }

    /// An answer begins. `false` if it has already ended or there is no room.
    pub(super) fn start(&mut self, response_id: &ResponseId, events: &mut Vec<BridgeEvent>) -> bool {
        if self.is_open(response_id) {
            return true;
        }
        if self.ended.contains(response_id) || self.open.len() == MAXIMUM_OPEN {
            return false;
        }
        self.open.push(Answer { id: response_id.clone(), has_output: false, items: Vec::new() });
        events.push(BridgeEvent::ResponseStarted { response_id: response_id.clone() });
        true
    }

    /// An item of an answer begins. A tool call is shown at once, words and speech with their first piece.
    pub(super) fn add_item(
        &mut self,
        response_id: &ResponseId,
        item_id: &ItemId,
        tool: Option<ToolName>,
        events: &mut Vec<BridgeEvent>,
    ) -> bool {
        if !self.start(response_id, events) {
            return false;
        }
        let Some(item) = self.item(response_id, item_id) else { return false };
        if item.is_done {
            return false;
        }
        let Some(tool) = tool else { return true };
        item.tool = Some(tool);
        self.arguments(response_id, item_id, String::new(), events)
    }

    /// A piece of an item. `false` if it belongs nowhere.
    pub(super) fn output(
        &mut self,
        response_id: &ResponseId,
        item_id: &ItemId,
        part: OutputPart,
        events: &mut Vec<BridgeEvent>,
    ) -> bool {
        if !self.start(response_id, events) {
            return false;
        }
        let Some(item) = self.item(response_id, item_id) else { return false };
        if item.is_done {
            return false;
        }
        item.shown = true;
        if let OutputPart::Audio(pcm) = &part {
            self.count_speech(item_id, pcm.len());
        }
        if let Some(answer) = self.open.iter_mut().find(|answer| answer.id == *response_id)
            && !std::mem::replace(&mut answer.has_output, true)
        {
            events.push(BridgeEvent::Stage(TurnStage::FirstToken));
        }
        events.push(BridgeEvent::Output { response_id: response_id.clone(), item_id: item_id.clone(), part });
        true
    }

    /// A piece of a tool call's arguments. `false` if the call is unknown.
    pub(super) fn arguments(
        &mut self,
        response_id: &ResponseId,
        item_id: &ItemId,
        delta: String,
        events: &mut Vec<BridgeEvent>,
    ) -> bool {
        if !self.start(response_id, events) {
            return false;
        }
        let Some(item) = self.item(response_id, item_id) else { return false };
        let Some(ToolName { call_id, name }) = item.tool.clone() else { return false };
        item.has_arguments |= !delta.is_empty();
        self.output(response_id, item_id, OutputPart::ToolArguments { call_id, name, delta }, events)
    }

    /// All arguments of a tool call. Shown only if no piece of them was.
    pub(super) fn all_arguments(
        &mut self,
        response_id: &ResponseId,
        item_id: &ItemId,
        tool: ToolName,
        arguments: &str,
        events: &mut Vec<BridgeEvent>,
    ) -> bool {
        if !self.start(response_id, events) {
            return false;
        }
        let Some(item) = self.item(response_id, item_id) else { return false };
        if item.has_arguments || arguments.is_empty() && item.shown {
            return true;
        }
        item.tool.get_or_insert(tool);
        self.arguments(response_id, item_id, arguments.to_owned(), events)
    }

    /// An item is complete or cut off.
    pub(super) fn end_item(
        &mut self,
        response_id: &ResponseId,
        item_id: &ItemId,
        status: ItemStatus,
        events: &mut Vec<BridgeEvent>,
    ) -> bool {
        let answer = self.open.iter_mut().find(|answer| answer.id == *response_id);
        let item = answer.and_then(|answer| answer.items.iter_mut().find(|item| item.id == *item_id));
        let Some(item) = item.filter(|item| !item.is_done) else { return false };
        item.is_done = true;
        if item.shown {
            events.push(BridgeEvent::OutputItemDone {
                response_id: response_id.clone(),
                item_id: item_id.clone(),
                status,
            });
        }
        self.end_speech(item_id);
        true
    }

    /// An answer ended; what is left of its items ends with it.
    pub(super) fn end(
        &mut self,
        response_id: &ResponseId,
        status: ResponseStatus,
        usage: Option<TokenUsage>,
        events: &mut Vec<BridgeEvent>,
    ) -> bool {
        if !self.start(response_id, events) {
            return false;
        }
        let Some(index) = self.open.iter().position(|answer| answer.id == *response_id) else { return false };
        let items: Vec<ItemId> = self.open[index].items.iter().map(|item| item.id.clone()).collect();
        let completed = status == ResponseStatus::Completed;
        let rest = if completed { ItemStatus::Completed } else { ItemStatus::Incomplete };
        for item_id in &items {
            self.end_item(response_id, item_id, rest, events);
        }
        self.open.remove(index);
        if self.ended.len() == MAXIMUM_ENDED {
            self.ended.pop_front();
        }
        self.ended.push_back(response_id.clone());
        events.push(BridgeEvent::ResponseDone { response_id: response_id.clone(), status, usage });
        true
    }

    fn item(&mut self, response_id: &ResponseId, item_id: &ItemId) -> Option<&mut OpenItem> {
        let answer = self.open.iter_mut().find(|answer| answer.id == *response_id)?;
        if let Some(index) = answer.items.iter().position(|item| item.id == *item_id) {
            return answer.items.get_mut(index);
        }
        if answer.items.len() == MAXIMUM_ITEMS {
            return None;
        }
        answer.items.push(OpenItem {
            id: item_id.clone(),
            tool: None,
            shown: false,
            has_arguments: false,
            is_done: false,
        });
        answer.items.last_mut()
    }

    fn count_speech(&mut self, item_id: &ItemId, samples: SampleCount) {
        if let Some(spoken) = self.spoken.iter_mut().rev().find(|spoken| spoken.item_id == *item_id) {
            spoken.samples += samples;
            return;
        }
        if self.spoken.len() == MAXIMUM_SPOKEN {
            self.spoken.pop_front();
        }
        self.spoken.push_back(Spoken { item_id: item_id.clone(), samples, is_done: false });
    }

    fn end_speech(&mut self, item_id: &ItemId) {
        if let Some(spoken) = self.spoken.iter_mut().rev().find(|spoken| spoken.item_id == *item_id) {
            spoken.is_done = true;
        }
    }
}
