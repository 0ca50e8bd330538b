//! Whether the tool may be called, and the person who is asked: sometimes quick, sometimes late, sometimes not there.

use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use voxgate_policy::agent::{AgentRules, Agents};
use voxgate_policy::approval::{ApprovalState, Verdict};
use voxgate_policy::decision::{Authorizer, Risk};
use voxgate_policy::tool::{ToolRule, ToolRules};
use voxgate_protocol::id::ToolCallId;
use voxgate_signaling::admin::reach::Reach;
use voxgate_telemetry::metrics::Metrics;

use super::dice::Dice;
use crate::approvals::HeldCalls;
use crate::permissions::Permissions;

/// The one tool of the provider's model.
pub(super) const TOOL: &str = "weather";

/// What becomes of calls of the tool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rule {
    /// Nobody said anything about it.
    Unnamed,
    /// Its arguments are looked at.
    Judged,
    /// A person decides.
    Asked,
    /// It may not be called.
    Forbidden,
}

/// A call a person was asked about.
pub(super) struct Asked {
    pub(super) call_id: ToolCallId,
    pub(super) deadline: Instant,
}

struct Plan {
    at: Instant,
    id: String,
    call_id: ToolCallId,
    verdict: Verdict,
}

pub(super) struct Person {
    pub(super) rule: Rule,
    held: HeldCalls,
    window: Duration,
    dice: Dice,
    known: Vec<String>,
    plans: Vec<Plan>,
}

fn shared() -> &'static (Arc<Authorizer>, Arc<Metrics>) {
    static SHARED: OnceLock<(Arc<Authorizer>, Arc<Metrics>)> = OnceLock::new();
    SHARED.get_or_init(|| (Arc::new(Authorizer::load(&[]).unwrap()), Arc::new(Metrics::new().unwrap())))
}

pub(super) fn metrics() -> Arc<Metrics> {
    Arc::clone(&shared().1)
}

impl Person {
    pub(super) fn new(mut dice: Dice) -> Self {
        let rule = match dice.below(10) {
            0..=3 => Rule::Unnamed,
            4 => Rule::Judged,
            5..=8 => Rule::Asked,
            _ => Rule::Forbidden,
        };
        let window = dice.millis(100, 1_500);
        let held = HeldCalls::new(metrics(), dice.seed());
        Self { rule, held, window, dice, known: Vec::new(), plans: Vec::new() }
    }

    pub(super) fn permissions(&self) -> Permissions {
        let risk = if self.rule == Rule::Asked { Risk::Dangerous } else { Risk::ReadOnly };
        let tool = ToolRule { risk, allows_others: true, ..ToolRule::default() };
        let is_named = matches!(self.rule, Rule::Judged | Rule::Asked);
        let tools = ToolRules {
            tools: is_named.then(|| (TOOL.to_owned(), tool)).into_iter().collect(),
            allows_others: self.rule == Rule::Unnamed,
        };
        let rules = AgentRules { tools: Arc::new(tools), approval_window: self.window, filler: None };
        Permissions {
            authorizer: Arc::clone(&shared().0),
            agents: Arc::new(Agents::new([("*".to_owned(), rules)].into())),
            held: self.held.clone(),
        }
    }

    pub(super) fn next_at(&self) -> Option<Instant> {
        self.plans.iter().map(|plan| plan.at).min()
    }

    /// The calls that are asked about since this was called last.
    pub(super) fn look(&mut self, now: Instant) -> Vec<Asked> {
        let mut asked = Vec::new();
        for pending in self.held.pending_at(now, &Reach::Installation) {
            if self.known.contains(&pending.id) {
                continue;
            }
            self.known.push(pending.id.clone());
            asked.push(Asked { call_id: pending.call.clone(), deadline: now + self.window });
            if self.dice.chance(75) {
                let verdict = if self.dice.chance(70) { Verdict::Approve } else { Verdict::Deny };
                let at = now + self.dice.millis(0, 900);
                self.plans.push(Plan { at, id: pending.id, call_id: pending.call, verdict });
            }
        }
        asked
    }

    /// The verdict that is due, if it still counts.
    pub(super) fn decide(&mut self, now: Instant) -> Option<(ToolCallId, ApprovalState)> {
        let due = self.plans.iter().enumerate().min_by_key(|(_, plan)| plan.at)?.0;
        let Plan { id, call_id, verdict, .. } = self.plans.swap_remove(due);
        let state = self.held.decide_at(now, &id, &Reach::Installation, verdict).ok()?;
        Some((call_id, state))
    }

    /// Whether nobody waits for a verdict any more.
    pub(super) fn is_at_rest(&self, now: Instant) -> bool {
        self.held.pending_at(now, &Reach::Installation).is_empty()
    }
}
