//! The gate between a model and the tools of a session.
//!
//! Every event of a provider goes through [`ToolGate`] before anybody acts on it. A tool that may be called with anything is
//! let through as it comes; the arguments of any other call are kept until they are complete, and then limits and policies
//! decide. An allowed call goes on as it came. A refused one reaches nobody: the model is given the refusal as the tool's
//! output and goes on. A call that needs a person is held until one decides or the deadline comes; meanwhile the caller
//! hears that it takes a moment, and calls that are approved go on as an answer of their own.
//!
//! What was not let through when its answer is cut off (by the caller, the client, a rule, a fault) reaches nobody and nobody
//! is asked about it: whoever stopped the answer stopped the call.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use voxgate_protocol::bridge::{BridgeCommand, BridgeEvent, OutputPart, ResponseStatus};
use voxgate_protocol::conversation::{Item, ItemKind, ItemStatus};
use voxgate_protocol::id::{IdSource, ItemId, ResponseId, ToolCallId};
use voxgate_protocol::settings::{ResponseOptions, ToolChoice};

use crate::approval::ApprovalState;
use crate::decision::{Authorizer, Decision, Effect, Question, Risk};
use crate::directory::Caller;
use crate::tool::{LONGEST_ARGUMENTS, ToolRefusal, ToolRules};

/// Calls of one session that may wait for a person at once; a model that asks for more is refused.
const MAX_HELD: usize = 16;

/// Calls whose arguments come in at once, more than any answer has.
const MAX_WRITING: usize = 64;

/// Answers that run side by side, and answers and calls that are over and still remembered.
const MAX_KNOWN: usize = 64;

/// Refusals told again to a connection that takes over.
const MAX_TOLD: usize = 16;

/// What the model is told of a call that no policy permits.
const NOT_PERMITTED: &str = "this agent may not call the tool";

/// What the caller is told while a person decides, if the operator chose no sentence. The model says it, so it comes in the
/// language of the conversation.
const FILLER: &str = "In one short sentence, tell the caller that you need a moment to have this approved. \
                      Say nothing about what will come of it.";

/// What a session's tool calls are judged by.
#[derive(Clone, Debug)]
pub struct ToolPermissions {
    /// The policies.
    pub authorizer: Arc<Authorizer>,
    /// Who the session belongs to.
    pub caller: Caller,
    /// The tools of its agent.
    pub tools: Arc<ToolRules>,
    /// The sentence the caller hears while a person decides; without one the model finds its own.
    pub filler: Option<String>,
}

/// What became of a call that no person was asked about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallOutcome {
    /// It went on to the client.
    Allowed,
    /// Limits or policies forbid it.
    Refused,
    /// Its answer was cut off before it could go on.
    Dropped,
}

impl CallOutcome {
    /// The name in metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Allowed => "allowed",
            Self::Refused => "refused",
            Self::Dropped => "dropped",
        }
    }
}

/// What the gate wants done, in order.
#[derive(Clone, Debug, PartialEq)]
pub enum GateOutput {
    /// Hand this on as the provider's.
    Event(BridgeEvent),
    /// Write this at the end of the provider's conversation.
    Item(Item),
    /// Have the model answer, once nothing else is under way.
    Answer(Box<ResponseOptions>),
    /// The policies decided about a tool.
    Decided {
        /// The tool.
        tool: String,
        /// How much harm it can do.
        risk: Risk,
        /// How.
        decision: Decision,
    },
    /// No policy forbids a call, and nobody gets it.
    Refused {
        /// The tool.
        tool: String,
        /// Whether too many calls wait for a person already; else it is outside the limits of the agent.
        is_crowded: bool,
    },
    /// A call is settled without a person.
    Outcome(CallOutcome),
    /// A call is held: a person has to be asked, and [`ToolGate::settle`] told.
    Held(HeldCall),
}

/// A call a person has to decide about.
#[derive(Clone, PartialEq, Eq)]
pub struct HeldCall {
    /// The provider's name of it.
    pub call_id: ToolCallId,
    /// The tool.
    pub tool: String,
    /// How much harm it can do.
    pub risk: Risk,
    /// JSON text the model wrote.
    pub arguments: String,
}

/// Without the arguments, which may hold what a caller said.
impl std::fmt::Debug for HeldCall {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "HeldCall({}, {}, {})", self.call_id, self.tool, self.risk.as_str())
    }
}

/// A call nobody has been given.
#[derive(Debug)]
struct Withheld {
    item_id: ItemId,
    call_id: ToolCallId,
    tool: String,
    arguments: String,
    events: Vec<BridgeEvent>,
}

impl Withheld {
    fn item(&self) -> Item {
        let kind = ItemKind::ToolCall {
            call_id: self.call_id.clone(),
            name: self.tool.clone(),
            arguments: self.arguments.clone(),
        };
        Item { id: self.item_id.clone(), status: ItemStatus::Completed, kind }
    }
}

/// What happens to a call whose arguments come in.
#[derive(Debug)]
enum Way {
    /// Its tool may be called with anything: each piece goes on at once.
    Through,
    /// It is kept until it is complete; with the decision, if the tool's name was enough for it.
    Kept(Option<Decision>),
    /// Its tool may not be called.
    Refused(Refusal),
}

/// Why a call goes to nobody.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Refusal {
    /// The policies forbid it, which was told already.
    Policies,
    /// The limits of the agent do.
    Limits(ToolRefusal),
    /// Too many calls wait for a person.
    Crowded,
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Policies => f.write_str(NOT_PERMITTED),
            Self::Limits(refusal) => refusal.fmt(f),
            Self::Crowded => f.write_str("too many calls wait for a person already"),
        }
    }
}

#[derive(Debug)]
struct Writing {
    call: Withheld,
    way: Way,
}

/// An answer that is being written.
#[derive(Debug)]
struct Running {
    id: ResponseId,
    /// It stays outside the conversation, so the model cannot be told what became of its calls.
    is_beside: bool,
    is_cancelled: bool,
    writing: Vec<Writing>,
    asks: Vec<(Withheld, Risk)>,
    refused: Vec<(Withheld, Refusal)>,
    has_passed: bool,
}

/// A refusal the model has not answered yet.
#[derive(Debug)]
struct Told {
    call: Item,
    output: Item,
    is_being_answered: bool,
}

/// The gate of one session.
#[derive(Debug)]
pub struct ToolGate {
    permissions: ToolPermissions,
    ids: IdSource,
    /// Oldest first.
    running: VecDeque<Running>,
    /// Calls that are over; what still comes of them is nothing.
    over: VecDeque<ItemId>,
    held: BTreeMap<ToolCallId, Withheld>,
    /// Approved calls that wait for the answer in progress to end.
    approved: Vec<Withheld>,
    told: VecDeque<Told>,
    outputs: VecDeque<GateOutput>,
}

impl ToolGate {
    /// The names of what the gate makes itself follow from the seed.
    #[must_use]
    pub const fn new(permissions: ToolPermissions, seed: u64) -> Self {
        Self {
            permissions,
            ids: IdSource::new(seed),
            running: VecDeque::new(),
            over: VecDeque::new(),
            held: BTreeMap::new(),
            approved: Vec::new(),
            told: VecDeque::new(),
            outputs: VecDeque::new(),
        }
    }

    /// Takes an event of the provider. Then read [`ToolGate::poll_output`] until `None`.
    pub fn handle_event(&mut self, event: BridgeEvent) {
        match &event {
            BridgeEvent::ResponseStarted { response_id } => self.begin(response_id.clone()),
            BridgeEvent::Output { part: OutputPart::ToolArguments { .. }, .. } => return self.piece(event),
            BridgeEvent::OutputItemDone { response_id, item_id, status } => {
                let (response_id, is_complete) = (response_id.clone(), *status == ItemStatus::Completed);
                match self.take_writing(&response_id, item_id) {
                    Some(writing) => return self.complete(&response_id, writing, is_complete, event),
                    None if self.over.contains(item_id) => return,
                    None => {}
                }
            }
            BridgeEvent::ResponseDone { response_id, status, .. } => {
                let (id, is_complete) = (response_id.clone(), *status == ResponseStatus::Completed);
                return self.end(&id, is_complete, event);
            }
            BridgeEvent::Fault(fault) if fault.is_final => self.running.clear(),
            BridgeEvent::Closed { .. } => self.running.clear(),
            _ => {}
        }
        self.outputs.push_back(GateOutput::Event(event));
    }

    /// The provider is told something by the session.
    pub fn handle_command(&mut self, command: &BridgeCommand) {
        let BridgeCommand::CancelResponse { response_id } = command else { return };
        for running in &mut self.running {
            running.is_cancelled |= response_id.as_ref().is_none_or(|id| *id == running.id);
        }
    }

    /// This answer stays outside the conversation.
    pub fn note_beside(&mut self, response_id: &ResponseId) {
        if let Some(running) = self.running(response_id) {
            running.is_beside = true;
        }
    }

    /// How a held call was decided; [`ApprovalState::Pending`] changes nothing. False if no such call is held.
    pub fn settle(&mut self, call_id: &ToolCallId, state: ApprovalState) -> bool {
        let reason = match state {
            ApprovalState::Pending => return self.held.contains_key(call_id),
            ApprovalState::Approved => None,
            ApprovalState::Denied => Some("a person decided against it"),
            ApprovalState::Expired => Some("nobody approved it in time"),
        };
        let Some(call) = self.held.remove(call_id) else { return false };
        match reason {
            None => self.approved.push(call),
            Some(reason) => {
                self.refuse(&call, reason);
                self.go_on();
            }
        }
        true
    }

    /// Whether [`ToolGate::release`] has something to let go.
    #[must_use]
    pub fn has_approved(&self) -> bool {
        !self.approved.is_empty()
    }

    /// No answer is asked for or in progress, so approved calls can go on: together, as an answer of their own, because the
    /// one they came in is over.
    pub fn release(&mut self) {
        if self.approved.is_empty() {
            return;
        }
        let response_id = ResponseId::from_random(self.ids.next_bits());
        let started = BridgeEvent::ResponseStarted { response_id: response_id.clone() };
        self.outputs.push_back(GateOutput::Event(started));
        for mut event in std::mem::take(&mut self.approved).into_iter().flat_map(|call| call.events) {
            if let BridgeEvent::Output { response_id: of, .. }
            | BridgeEvent::OutputItemDone { response_id: of, .. } = &mut event
            {
                *of = response_id.clone();
            }
            self.outputs.push_back(GateOutput::Event(event));
        }
        let done = BridgeEvent::ResponseDone { response_id, status: ResponseStatus::Completed, usage: None };
        self.outputs.push_back(GateOutput::Event(done));
    }

    /// What another connection to the provider has to be told of calls behind the conversation the client knows: those
    /// that are held, and refusals the model has not answered yet.
    pub fn context(&self) -> impl Iterator<Item = Item> {
        let told = self.told.iter().flat_map(|told| [told.call.clone(), told.output.clone()]);
        told.chain(self.approved.iter().chain(self.held.values()).map(Withheld::item))
    }

    /// The next thing to do, in order.
    pub fn poll_output(&mut self) -> Option<GateOutput> {
        self.outputs.pop_front()
    }

    fn running(&mut self, id: &ResponseId) -> Option<&mut Running> {
        self.running.iter_mut().find(|running| running.id == *id)
    }

    fn begin(&mut self, id: ResponseId) {
        if self.running(&id).is_some() {
            return;
        }
        self.told.iter_mut().for_each(|told| told.is_being_answered = true);
        let running = Running {
            id,
            is_beside: false,
            is_cancelled: false,
            writing: Vec::new(),
            asks: Vec::new(),
            refused: Vec::new(),
            has_passed: false,
        };
        push(&mut self.running, running, MAX_KNOWN);
    }

    /// A piece of a call's arguments. Of an answer that is over, or of a call that is, nobody wants any.
    fn piece(&mut self, event: BridgeEvent) {
        let BridgeEvent::Output {
            response_id,
            item_id,
            part: OutputPart::ToolArguments { call_id, name, delta },
        } = &event
        else {
            return;
        };
        if self.over.contains(item_id) {
            return;
        }
        let Some(at) = self.running.iter().position(|running| running.id == *response_id) else { return };
        let known = self.running[at].writing.iter().position(|writing| writing.call.item_id == *item_id);
        let known = match known {
            Some(known) => known,
            None if self.running[at].writing.len() == MAX_WRITING => return,
            None => {
                let way = self.way_of(name);
                let call = Withheld {
                    item_id: item_id.clone(),
                    call_id: call_id.clone(),
                    tool: name.clone(),
                    arguments: String::new(),
                    events: Vec::new(),
                };
                self.running[at].writing.push(Writing { call, way });
                self.running[at].writing.len() - 1
            }
        };
        let Writing { call, way } = &mut self.running[at].writing[known];
        match way {
            Way::Through => self.outputs.push_back(GateOutput::Event(event)),
            // One byte more than is accepted is enough to refuse it; a flood is not kept.
            _ if call.arguments.len() > LONGEST_ARGUMENTS => {}
            Way::Kept(_) => {
                call.arguments.push_str(delta);
                call.events.push(event);
            }
            Way::Refused(_) => call.arguments.push_str(delta),
        }
    }

    /// What the name of a tool alone decides.
    fn way_of(&mut self, tool: &str) -> Way {
        if self.permissions.tools.judges_arguments(tool) {
            return Way::Kept(None);
        }
        let risk = match self.permissions.tools.check(tool, "") {
            Ok(risk) => risk,
            Err(refusal) => return Way::Refused(Refusal::Limits(refusal)),
        };
        let decision = self.decide(tool, risk);
        match decision.effect {
            Effect::Allow => Way::Through,
            Effect::AskPerson => Way::Kept(Some(decision)),
            Effect::Deny => Way::Refused(Refusal::Policies),
        }
    }

    fn decide(&mut self, tool: &str, risk: Risk) -> Decision {
        let ToolPermissions { authorizer, caller, .. } = &self.permissions;
        let decision = authorizer.decide(caller, &Question::ToolCall { tool, risk });
        let told = GateOutput::Decided { tool: tool.to_owned(), risk, decision: decision.clone() };
        self.outputs.push_back(told);
        decision
    }

    fn take_writing(&mut self, response_id: &ResponseId, item_id: &ItemId) -> Option<Writing> {
        let running = self.running(response_id)?;
        let at = running.writing.iter().position(|writing| writing.call.item_id == *item_id)?;
        Some(running.writing.remove(at))
    }

    /// A call is written to its end, or cut off: then it is one nobody may act on.
    fn complete(&mut self, of: &ResponseId, writing: Writing, is_complete: bool, event: BridgeEvent) {
        let Writing { mut call, way } = writing;
        push(&mut self.over, call.item_id.clone(), MAX_KNOWN);
        let is_wanted = is_complete && self.running(of).is_some_and(|running| !running.is_cancelled);
        match way {
            Way::Through => self.pass(of, [event], is_wanted),
            _ if !is_wanted => self.count(1, CallOutcome::Dropped),
            Way::Kept(decision) => {
                call.events.push(event);
                self.judge(of, call, decision);
            }
            Way::Refused(reason) => self.hold_back(of, |running| running.refused.push((call, reason))),
        }
    }

    fn pass(&mut self, of: &ResponseId, events: impl IntoIterator<Item = BridgeEvent>, is_wanted: bool) {
        self.outputs.extend(events.into_iter().map(GateOutput::Event));
        self.count(1, if is_wanted { CallOutcome::Allowed } else { CallOutcome::Dropped });
        self.hold_back(of, |running| running.has_passed |= is_wanted);
    }

    /// Notes something for the end of an answer.
    fn hold_back(&mut self, of: &ResponseId, note: impl FnOnce(&mut Running)) {
        if let Some(running) = self.running(of) {
            note(running);
        }
    }

    fn judge(&mut self, of: &ResponseId, call: Withheld, decision: Option<Decision>) {
        let checked = if call.arguments.len() > LONGEST_ARGUMENTS {
            Err(ToolRefusal::TooLong)
        } else {
            self.permissions.tools.check(&call.tool, &call.arguments)
        };
        let risk = match checked {
            Ok(risk) => risk,
            Err(refusal) => {
                return self.hold_back(of, |running| running.refused.push((call, Refusal::Limits(refusal))));
            }
        };
        let effect = match decision {
            Some(decision) => decision.effect,
            None => self.decide(&call.tool, risk).effect,
        };
        match effect {
            Effect::Allow => self.pass(of, call.events, true),
            Effect::AskPerson => self.hold_back(of, |running| running.asks.push((call, risk))),
            Effect::Deny => self.hold_back(of, |running| running.refused.push((call, Refusal::Policies))),
        }
    }

    /// An answer ended. A call that was never said to be complete is what its answer is.
    fn end(&mut self, id: &ResponseId, is_complete: bool, event: BridgeEvent) {
        let unfinished = self.running(id).map(|running| std::mem::take(&mut running.writing));
        for writing in unfinished.into_iter().flatten() {
            let item_id = writing.call.item_id.clone();
            if matches!(writing.way, Way::Through) {
                // Whoever has the pieces knows as much.
                push(&mut self.over, item_id, MAX_KNOWN);
                self.pass(id, [], is_complete);
                continue;
            }
            let status = if is_complete { ItemStatus::Completed } else { ItemStatus::Incomplete };
            let done = BridgeEvent::OutputItemDone { response_id: id.clone(), item_id, status };
            self.complete(id, writing, is_complete, done);
        }
        self.outputs.push_back(GateOutput::Event(event));
        let at = self.running.iter().position(|running| running.id == *id);
        let Some(running) = at.and_then(|at| self.running.remove(at)) else { return };
        let withheld = running.asks.len() + running.refused.len();
        if !is_complete || running.is_cancelled {
            self.count(withheld, CallOutcome::Dropped);
        } else if running.is_beside {
            self.count(withheld, CallOutcome::Refused);
        } else {
            self.told.retain(|told| !told.is_being_answered);
            self.settle_answer(running);
        }
    }

    fn count(&mut self, calls: usize, outcome: CallOutcome) {
        self.outputs.extend(std::iter::repeat_n(GateOutput::Outcome(outcome), calls));
    }

    /// The model learns what became of its calls, and goes on, unless the client will make it go on with the output of a
    /// call that passed.
    fn settle_answer(&mut self, running: Running) {
        let Running { asks, mut refused, has_passed, .. } = running;
        let mut has_held = false;
        for (call, risk) in asks {
            if self.held.len() == MAX_HELD || self.held.contains_key(&call.call_id) {
                refused.push((call, Refusal::Crowded));
                continue;
            }
            has_held = true;
            let held = HeldCall {
                call_id: call.call_id.clone(),
                tool: call.tool.clone(),
                risk,
                arguments: call.arguments.clone(),
            };
            self.outputs.push_back(GateOutput::Held(held));
            self.held.insert(call.call_id.clone(), call);
        }
        let has_refused = !refused.is_empty();
        self.count(refused.len(), CallOutcome::Refused);
        for (call, reason) in refused {
            if reason != Refusal::Policies {
                let (tool, is_crowded) = (call.tool.clone(), reason == Refusal::Crowded);
                self.outputs.push_back(GateOutput::Refused { tool, is_crowded });
            }
            self.refuse(&call, &reason.to_string());
        }
        if has_held && !has_passed {
            self.ask_for_filler();
        } else if has_refused && !has_passed {
            self.go_on();
        }
    }

    fn refuse(&mut self, call: &Withheld, reason: &str) {
        let output = format!("The call was refused: {reason}. Nothing was done. Do not claim otherwise.");
        let item = Item {
            id: ItemId::from_random(self.ids.next_bits()),
            status: ItemStatus::Completed,
            kind: ItemKind::ToolOutput { call_id: call.call_id.clone(), output },
        };
        let told = Told { call: call.item(), output: item.clone(), is_being_answered: false };
        push(&mut self.told, told, MAX_TOLD);
        self.outputs.push_back(GateOutput::Item(item));
    }

    fn go_on(&mut self) {
        self.outputs.push_back(GateOutput::Answer(Box::default()));
    }

    fn ask_for_filler(&mut self) {
        let chosen = self.permissions.filler.as_ref().map(|sentence| format!("Say exactly: {sentence}"));
        let options = ResponseOptions {
            instructions: Some(chosen.unwrap_or_else(|| FILLER.to_owned())),
            tool_choice: Some(ToolChoice::None),
            ..ResponseOptions::default()
        };
        self.outputs.push_back(GateOutput::Answer(Box::new(options)));
    }
}

/// Keeps the newest.
fn push<T>(queue: &mut VecDeque<T>, value: T, most: usize) {
    if queue.len() == most {
        queue.pop_front();
    }
    queue.push_back(value);
}

#[cfg(test)]
mod tests;
