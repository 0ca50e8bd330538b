//! Calls of tools: nobody sees one before it may be run, and what a person was asked about ends in one way.

use std::collections::BTreeMap;
use std::time::Instant;

use serde_json::Value;
use voxgate_policy::approval::ApprovalState;
use voxgate_protocol::bridge::BridgeCommand;
use voxgate_protocol::conversation::{Item, ItemKind};

use super::{Verdict, promise};
use crate::dialogue::simulation::person::{Asked, Rule};

/// What the gate tells a model of a call that is not made.
const REFUSAL: &str = "The call was refused: ";

struct Held {
    deadline: Instant,
    state: ApprovalState,
    /// How often the model was told that it is not made.
    refusals: u32,
    /// How often the client was told that it can run it.
    given: u32,
}

pub(super) struct Calls {
    rule: Rule,
    held: BTreeMap<String, Held>,
}

impl Calls {
    pub(super) const fn new(rule: Rule) -> Self {
        Self { rule, held: BTreeMap::new() }
    }

    pub(super) fn asked(&mut self, asked: &Asked) -> Verdict {
        promise!(self.rule == Rule::Asked, "a person is asked about {}, which needs none", asked.call_id);
        let held = Held { deadline: asked.deadline, state: ApprovalState::Pending, refusals: 0, given: 0 };
        let is_new = self.held.insert(asked.call_id.as_str().to_owned(), held).is_none();
        promise!(is_new, "a person is asked twice about {}", asked.call_id);
        Ok(())
    }

    pub(super) fn decided(&mut self, call_id: &str, state: ApprovalState) -> Verdict {
        let Some(held) = self.held.get_mut(call_id) else { return Err(format!("{call_id} was not held")) };
        promise!(held.state == ApprovalState::Pending, "{call_id} is decided twice");
        held.state = state;
        Ok(())
    }

    /// An event somebody at the client reads.
    pub(super) fn event(&mut self, event: &Value) -> Verdict {
        let output = event["response"]["output"].as_array().into_iter().flatten();
        let named = output.map(|item| &item["call_id"]).chain([&event["call_id"], &event["item"]["call_id"]]);
        for call_id in named.filter_map(Value::as_str) {
            promise!(self.rule != Rule::Forbidden, "{call_id} may not be made and is seen");
            if self.rule == Rule::Asked {
                let state = self.held.get(call_id).map(|held| held.state);
                promise!(state == Some(ApprovalState::Approved), "{call_id} is seen and {state:?}");
            }
        }
        Ok(())
    }

    /// An event to the client itself.
    pub(super) fn client_told(&mut self, kind: &str, event: &Value) -> Verdict {
        self.event(event)?;
        if kind != "response.function_call_arguments.done" {
            return Ok(());
        }
        let Some(held) = event["call_id"].as_str().and_then(|call_id| self.held.get_mut(call_id)) else {
            return Ok(());
        };
        held.given += 1;
        promise!(held.given == 1, "a held call is given twice: {event}");
        Ok(())
    }

    /// A command to the provider.
    pub(super) fn command(&mut self, now: Instant, command: &BridgeCommand) -> Verdict {
        let BridgeCommand::CreateItem {
            item: Item { kind: ItemKind::ToolOutput { call_id, output }, .. },
            ..
        } = command
        else {
            return Ok(());
        };
        if !output.starts_with(REFUSAL) {
            return Ok(());
        }
        let Some(held) = self.held.get_mut(call_id.as_str()) else {
            promise!(self.rule == Rule::Forbidden, "{call_id} is refused by nobody");
            return Ok(());
        };
        if held.state == ApprovalState::Pending && held.deadline <= now {
            held.state = ApprovalState::Expired;
        }
        held.refusals += 1;
        let is_no = matches!(held.state, ApprovalState::Denied | ApprovalState::Expired);
        promise!(is_no && held.refusals == 1, "{call_id} is {:?} and refused {}", held.state, held.refusals);
        Ok(())
    }

    /// The books at the end: how many were held, and how many of them the client could run.
    pub(super) fn finish(&self) -> Result<(u64, u64), String> {
        for (call_id, held) in &self.held {
            let is_no = matches!(held.state, ApprovalState::Denied | ApprovalState::Expired);
            promise!(
                held.refusals == u32::from(is_no) && (held.given == 0 || !is_no),
                "{call_id} is {:?}, {} times refused and {} times given",
                held.state,
                held.refusals,
                held.given
            );
        }
        let given = self.held.values().filter(|held| held.given > 0).count();
        Ok((self.held.len() as u64, given as u64))
    }
}
