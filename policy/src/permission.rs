//! The gate between a model and the tools of a session.
//!
//! Every event of a provider goes through [`ToolGate`] before anybody acts on it. The arguments of a tool call are kept until
//! they are complete; then limits and policies decide. An allowed call goes on as it came. A refused one reaches nobody: the
//! model is given the refusal as the tool's output and goes on. A call that needs a person is held until one decides or
//! the deadline comes; meanwhile the caller hears that it takes a moment, and a call that is approved goes on as an answer
//! of its own.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use voxgate_protocol::bridge::{BridgeCommand, BridgeEvent, OutputPart, ResponseStatus};
use voxgate_protocol::conversation::{Item, ItemKind, ItemStatus, Position};
use voxgate_protocol::id::{IdSource, ItemId, ResponseId, ToolCallId};
use voxgate_protocol::settings::{ResponseOptions, ToolChoice};

use crate::approval::{Approval, ApprovalError, ApprovalState, Verdict};
use crate::decision::{Authorizer, Decision, Effect, Question};
use crate::directory::Caller;
use crate::tool::{LONGEST_ARGUMENTS, ToolRules};

/// Calls of one session that may wait for a person at once; a model that asks for more is refused.
const MAX_HELD: usize = 16;

/// What the model is told of a call that no policy permits.
const NOT_PERMITTED: &str = "this agent may not call the tool";

/// What the caller is told while a person decides. The model says it, so it comes in the language of the conversation.
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
    /// How long a person has to decide.
    pub approval_window: Duration,
}

/// What the gate wants done, in order.
#[derive(Clone, Debug, PartialEq)]
pub enum GateOutput {
    /// Hand this on as the provider's.
    Event(BridgeEvent),
    /// Tell the provider.
    Command(BridgeCommand),
    /// A policy decided about a call.
    Decided {
        /// The tool.
        tool: String,
        /// How. `None`: the limits of the tool refused it before any policy was asked.
        decision: Option<Decision>,
    },
    /// A call is held: a person has to be asked.
    Held {
        /// The call.
        call_id: ToolCallId,
        /// The tool.
        tool: String,
        /// JSON text the model wrote.
        arguments: String,
        /// When it is too late.
        deadline: Instant,
    },
    /// A held call is decided.
    Settled {
        /// The call.
        call_id: ToolCallId,
        /// How.
        state: ApprovalState,
    },
}

/// A call whose arguments come in, or that is held.
#[derive(Debug)]
struct Withheld {
    call_id: ToolCallId,
    tool: String,
    arguments: String,
    events: Vec<BridgeEvent>,
}

#[derive(Debug)]
struct HeldCall {
    call: Withheld,
    approval: Approval,
}

/// What one answer's tool calls came to.
#[derive(Debug, Default)]
struct Outcome {
    refused: Vec<(ToolCallId, String)>,
    has_passed: bool,
    has_held: bool,
}

/// The gate of one session.
#[derive(Debug)]
pub struct ToolGate {
    permissions: ToolPermissions,
    ids: IdSource,
    writing: BTreeMap<ItemId, Withheld>,
    outcomes: BTreeMap<ResponseId, Outcome>,
    running: BTreeSet<ResponseId>,
    held: BTreeMap<ToolCallId, HeldCall>,
    /// Held calls that are decided and wait for the answer in progress to end.
    settled: VecDeque<(Withheld, ApprovalState)>,
    outputs: VecDeque<GateOutput>,
}

impl ToolGate {
    /// The names of what the gate makes itself follow from the seed.
    #[must_use]
    pub const fn new(permissions: ToolPermissions, seed: u64) -> Self {
        Self {
            permissions,
            ids: IdSource::new(seed),
            writing: BTreeMap::new(),
            outcomes: BTreeMap::new(),
            running: BTreeSet::new(),
            held: BTreeMap::new(),
            settled: VecDeque::new(),
            outputs: VecDeque::new(),
        }
    }

    /// Takes an event of the provider. Then read [`ToolGate::poll_output`] until `None`.
    pub fn handle_event(&mut self, now: Instant, event: BridgeEvent) {
        match &event {
            BridgeEvent::ResponseStarted { response_id } => {
                self.running.insert(response_id.clone());
            }
            BridgeEvent::Output { item_id, part: OutputPart::ToolArguments { .. }, .. } => {
                self.keep(item_id.clone(), event);
                return;
            }
            BridgeEvent::OutputItemDone { response_id, item_id, status } => {
                if let Some(mut call) = self.writing.remove(item_id) {
                    let (response_id, is_complete) = (response_id.clone(), *status == ItemStatus::Completed);
                    call.events.push(event);
                    // A call that was cut off is one nobody may act on; it reaches nobody.
                    if is_complete {
                        self.judge(now, &response_id, call);
                    }
                    return;
                }
            }
            BridgeEvent::ResponseDone { response_id, .. } => {
                let response_id = response_id.clone();
                self.outputs.push_back(GateOutput::Event(event));
                self.finish(&response_id);
                return;
            }
            BridgeEvent::Fault(fault) if fault.is_final => {
                self.running.clear();
                self.writing.clear();
            }
            _ => {}
        }
        self.outputs.push_back(GateOutput::Event(event));
    }

    /// A person decided about a held call.
    ///
    /// # Errors
    /// [`ApprovalError::AlreadyDecided`]; [`ApprovalError::Unknown`] if no such call is held.
    pub fn decide(
        &mut self,
        now: Instant,
        call_id: &ToolCallId,
        verdict: Verdict,
    ) -> Result<(), ApprovalError> {
        self.handle_timeout(now);
        let held = self.held.get_mut(call_id).ok_or(ApprovalError::Unknown)?;
        let state = held.approval.decide(now, verdict)?;
        self.settle(call_id.clone(), state);
        Ok(())
    }

    /// Time passed: nobody decided about the calls whose deadline this is.
    pub fn handle_timeout(&mut self, now: Instant) {
        let late = self
            .held
            .iter_mut()
            .filter_map(|(call_id, held)| held.approval.handle_timeout(now).then(|| call_id.clone()));
        let late: Vec<ToolCallId> = late.collect();
        for call_id in late {
            self.settle(call_id, ApprovalState::Expired);
        }
    }

    /// When [`ToolGate::handle_timeout`] has to be called.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.held.values().filter_map(|held| held.approval.poll_timeout()).min()
    }

    /// The next thing to do, in order.
    pub fn poll_output(&mut self) -> Option<GateOutput> {
        self.outputs.pop_front()
    }

    fn keep(&mut self, item_id: ItemId, event: BridgeEvent) {
        let BridgeEvent::Output { part: OutputPart::ToolArguments { call_id, name, delta }, .. } = &event
        else {
            return;
        };
        let call = self.writing.entry(item_id).or_insert_with(|| Withheld {
            call_id: call_id.clone(),
            tool: name.clone(),
            arguments: String::new(),
            events: Vec::new(),
        });
        // One byte more than is accepted is enough to refuse it; a flood is not kept.
        if call.arguments.len() <= LONGEST_ARGUMENTS {
            call.arguments.push_str(delta);
            call.events.push(event);
        }
    }

    fn judge(&mut self, now: Instant, response_id: &ResponseId, call: Withheld) {
        let ToolPermissions { authorizer, caller, tools, approval_window } = &self.permissions;
        let refusal = if call.arguments.len() > LONGEST_ARGUMENTS {
            Err(crate::tool::ToolRefusal::TooLong)
        } else {
            tools.check(&call.tool, &call.arguments)
        };
        let (decision, effect) = match &refusal {
            Ok(risk) => {
                let decision =
                    authorizer.decide(caller, &Question::ToolCall { tool: &call.tool, risk: *risk });
                let effect = decision.effect;
                (Some(decision), effect)
            }
            Err(_) => (None, Effect::Deny),
        };
        self.outputs.push_back(GateOutput::Decided { tool: call.tool.clone(), decision });
        let outcome = self.outcomes.entry(response_id.clone()).or_default();
        let is_new = !self.held.contains_key(&call.call_id);
        match effect {
            Effect::Allow => {
                outcome.has_passed = true;
                self.outputs.extend(call.events.into_iter().map(GateOutput::Event));
            }
            Effect::AskPerson if self.held.len() < MAX_HELD && is_new => {
                outcome.has_held = true;
                let approval = Approval::ask(now, *approval_window);
                self.outputs.push_back(GateOutput::Held {
                    call_id: call.call_id.clone(),
                    tool: call.tool.clone(),
                    arguments: call.arguments.clone(),
                    deadline: now + *approval_window,
                });
                self.held.insert(call.call_id.clone(), HeldCall { call, approval });
            }
            Effect::AskPerson => {
                let reason = "too many calls wait for a person already".to_owned();
                outcome.refused.push((call.call_id, reason));
            }
            Effect::Deny => {
                let reason =
                    refusal.err().map_or_else(|| NOT_PERMITTED.to_owned(), |refusal| refusal.to_string());
                outcome.refused.push((call.call_id, reason));
            }
        }
    }

    /// An answer ended: the model learns what became of its refused calls, and goes on, unless the client will make it go
    /// on with the output of a call that passed.
    fn finish(&mut self, response_id: &ResponseId) {
        self.running.remove(response_id);
        let Outcome { refused, has_passed, has_held } = self.outcomes.remove(response_id).unwrap_or_default();
        let has_refused = !refused.is_empty();
        for (call_id, reason) in refused {
            self.refuse(call_id, &reason);
        }
        if !has_passed {
            if has_held {
                self.ask_for_filler();
            } else if has_refused {
                self.go_on();
            }
        }
        self.release();
    }

    fn settle(&mut self, call_id: ToolCallId, state: ApprovalState) {
        let Some(held) = self.held.remove(&call_id) else { return };
        self.outputs.push_back(GateOutput::Settled { call_id, state });
        self.settled.push_back((held.call, state));
        self.release();
    }

    /// Lets go what is decided, once no answer is in progress: a provider refuses to begin a second one, and a client
    /// would hear two at once.
    fn release(&mut self) {
        if !self.running.is_empty() {
            return;
        }
        let mut goes_on = false;
        while let Some((call, state)) = self.settled.pop_front() {
            match state {
                ApprovalState::Approved => self.replay(call),
                ApprovalState::Expired => {
                    self.refuse(call.call_id, "nobody approved it in time");
                    goes_on = true;
                }
                ApprovalState::Denied | ApprovalState::Pending => {
                    self.refuse(call.call_id, "a person decided against it");
                    goes_on = true;
                }
            }
        }
        if goes_on {
            self.go_on();
        }
    }

    /// An approved call, as an answer of its own: the one it came in is over.
    fn replay(&mut self, call: Withheld) {
        let response_id = ResponseId::from_random(self.ids.next_bits());
        let started = BridgeEvent::ResponseStarted { response_id: response_id.clone() };
        self.outputs.push_back(GateOutput::Event(started));
        for mut event in call.events {
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

    fn refuse(&mut self, call_id: ToolCallId, reason: &str) {
        let output = format!("The call was refused: {reason}. Nothing was done. Do not claim otherwise.");
        let item = Item {
            id: ItemId::from_random(self.ids.next_bits()),
            status: ItemStatus::Completed,
            kind: ItemKind::ToolOutput { call_id, output },
        };
        let create = BridgeCommand::CreateItem { item, position: Position::Last };
        self.outputs.push_back(GateOutput::Command(create));
    }

    fn go_on(&mut self) {
        let answer = BridgeCommand::CreateResponse(Box::default());
        self.outputs.push_back(GateOutput::Command(answer));
    }

    fn ask_for_filler(&mut self) {
        let options = ResponseOptions {
            instructions: Some(FILLER.to_owned()),
            tools: Some(Vec::new()),
            tool_choice: Some(ToolChoice::None),
            ..ResponseOptions::default()
        };
        self.outputs.push_back(GateOutput::Command(BridgeCommand::CreateResponse(Box::new(options))));
    }
}

#[cfg(test)]
mod tests;
