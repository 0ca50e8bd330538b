//! The gate of one session between its model and its tools: the rules of policy, the people who decide, and the session.
//!
//! Outside the session core, like the guardrails: what comes of a tool call reaches the core as an event of the provider or
//! as a command, so a replay log has it and needs neither policies nor people. What the provider says goes through
//! [`Gate::hear`] first; then everything is carried on with [`Gate::poll_step`].

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use voxgate_policy::approval::ApprovalState;
use voxgate_policy::decision::{Act, Decision, Effect, Question, Risk};
use voxgate_policy::directory::Caller;
use voxgate_policy::permission::{GateOutput, HeldCall, ToolGate, ToolPermissions};
use voxgate_protocol::bridge::{BridgeCommand, BridgeEvent};
use voxgate_protocol::conversation::Position;
use voxgate_protocol::id::{ResponseId, SessionId, ToolCallId};
use voxgate_protocol::session::SessionCommand;
use voxgate_realtime::ContextItem;
use voxgate_telemetry::metrics::Metrics;

use crate::approvals::{HeldCalls, Ring, Ticket};
use crate::permissions::Permissions;

use super::chronicle::{Pen, sentences};

/// What the core has to take next.
#[derive(Debug, PartialEq)]
pub(super) enum Step {
    /// Something of the provider, or in its name.
    Event(BridgeEvent),
    /// Something the session is to do.
    Command(SessionCommand),
}

/// The gate of one session.
pub(super) struct Gate {
    calls: ToolGate,
    held: HeldCalls,
    session_id: SessionId,
    caller: Caller,
    /// How long a person has to decide.
    window: Duration,
    /// Wakes this session.
    ring: Ring,
    metrics: Arc<Metrics>,
    pen: Pen,
    /// The calls a person is asked about, with the numbers of the events that say so.
    tickets: BTreeMap<ToolCallId, (Ticket, u64)>,
    steps: VecDeque<Step>,
    is_closed: bool,
}

impl Gate {
    /// The gate of a session of `caller`, which `ring` wakes when a person has decided. The names of what it makes itself
    /// follow from the seed.
    pub(super) fn new(
        permissions: &Permissions,
        (session_id, caller): (SessionId, Caller),
        ring: Ring,
        (metrics, pen): (Arc<Metrics>, Pen),
        seed: u64,
    ) -> Self {
        let rules = permissions.agents.rules(caller.tenancy.agent.as_ref());
        let judged_by = ToolPermissions {
            authorizer: Arc::clone(&permissions.authorizer),
            caller: caller.clone(),
            tools: Arc::clone(&rules.tools),
            filler: rules.filler.clone(),
        };
        Self {
            calls: ToolGate::new(judged_by, seed),
            held: permissions.held.clone(),
            session_id,
            caller,
            window: rules.approval_window,
            ring,
            metrics,
            pen,
            tickets: BTreeMap::new(),
            steps: VecDeque::new(),
            is_closed: false,
        }
    }

    /// The provider says something.
    pub(super) fn hear(&mut self, now: Instant, event: BridgeEvent) {
        self.calls.handle_event(event);
        self.carry_on(now);
    }

    /// The session tells the provider something.
    pub(super) fn tell(&mut self, command: &BridgeCommand) {
        self.calls.handle_command(command);
    }

    /// This answer, which has just begun, stays outside the conversation.
    pub(super) fn note_beside(&mut self, response_id: &ResponseId) {
        self.calls.note_beside(response_id);
    }

    /// Looks what became of the held calls: people may have decided, and deadlines come.
    pub(super) fn look(&mut self, now: Instant) {
        let states = self.tickets.iter().map(|(call_id, (ticket, _))| (call_id.clone(), ticket.state(now)));
        let settled: Vec<_> = states.filter(|(_, state)| *state != ApprovalState::Pending).collect();
        for (call_id, state) in settled {
            if let Some((_, number)) = self.tickets.remove(&call_id) {
                self.pen.event_ended(now, number);
            }
            self.calls.settle(&call_id, state);
            self.pen.event(now, sentences::person_decided(call_id.as_str(), state));
            tracing::info!(call = %call_id, state = state.as_str(), "a held tool call is settled");
        }
        self.carry_on(now);
    }

    /// When [`Gate::look`] has something to find.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.tickets.values().map(|(ticket, _)| ticket.deadline()).min()
    }

    /// Whether [`Gate::release`] has something to let go.
    pub(super) fn has_approved(&self) -> bool {
        self.calls.has_approved() && !self.is_closed
    }

    /// The session is free: approved calls go to the client.
    pub(super) fn release(&mut self, now: Instant) {
        self.calls.release();
        self.carry_on(now);
    }

    /// What the core has to take next.
    pub(super) fn poll_step(&mut self) -> Option<Step> {
        self.steps.pop_front()
    }

    /// What a new connection to the provider has to be told besides the conversation the client knows.
    pub(super) fn context(&self) -> impl Iterator<Item = ContextItem> {
        self.calls.context().map(|item| ContextItem { id: item.id.clone(), item: Some(item) })
    }

    /// The session is over: nobody needs to decide any more.
    pub(super) fn close(&mut self) {
        self.is_closed = true;
        self.tickets.clear();
    }

    fn carry_on(&mut self, now: Instant) {
        while let Some(output) = self.calls.poll_output() {
            match output {
                GateOutput::Event(event) => self.steps.push_back(Step::Event(event)),
                GateOutput::Item(item) => {
                    self.command(SessionCommand::CreateItem { item, position: Position::Last })
                }
                GateOutput::Answer(options) => self.command(SessionCommand::AnswerWhenFree(options)),
                GateOutput::Decided { tool, risk, decision } => {
                    self.note_decision(now, &tool, risk, &decision);
                }
                GateOutput::Refused { tool, is_crowded } => {
                    self.pen.event(now, sentences::tool_refused(&tool, is_crowded));
                }
                GateOutput::Outcome(outcome) => {
                    self.metrics.tool_calls.with_label_values(&[outcome.as_str()]).inc();
                }
                GateOutput::Held(held) => self.hold(now, &held),
            }
        }
    }

    fn command(&mut self, command: SessionCommand) {
        self.steps.push_back(Step::Command(command));
    }

    fn note_decision(&self, now: Instant, tool: &str, risk: Risk, decision: &Decision) {
        self.held.decided(&self.caller, &Question::ToolCall { tool, risk }, decision);
        let labels = [Act::ToolCall.as_str(), decision.effect.as_str()];
        self.metrics.policy_decisions.with_label_values(&labels).inc();
        if decision.effect == Effect::Deny {
            self.pen.event(now, sentences::tool_forbidden(tool, risk, decision));
        }
        tracing::debug!(
            tool,
            effect = decision.effect.as_str(),
            policies = ?decision.policies,
            "a tool call was decided"
        );
    }

    fn hold(&mut self, now: Instant, held: &HeldCall) {
        if self.is_closed {
            return;
        }
        let ring = Arc::clone(&self.ring);
        let ticket = self.held.ask(now, (&self.session_id, &self.caller.tenancy), held, self.window, ring);
        let number = self.pen.event(now, sentences::person_asked(held));
        tracing::info!(call = %held.call_id, tool = held.tool, "a tool call waits for a person");
        self.tickets.insert(held.call_id.clone(), (ticket, number));
    }
}

#[cfg(test)]
mod tests;
