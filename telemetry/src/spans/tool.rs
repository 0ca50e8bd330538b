//! Tools at work, and people who decide whether they may.

use voxgate_protocol::trace_context::{SpanId, TraceContext};

use super::attributes::{Attributes, of_event};
use super::conventions::{Conventions, Part};
use super::turn::{beginning, is_within};
use super::{Span, SpanKind, milliseconds, number};
use crate::session::view::{EventKind, EventView, Severity, SummaryView, TurnView};

/// The operation of a tool, in the words of the conventions for generative AI.
const OPERATION: &str = "execute_tool";

/// One span for each call of a tool that is over, and for each wait for a person who decided about one: below the turn in
/// which it began, otherwise below the session.
///
/// It is over if its event says in `until_ms` when. Arguments and result of a call are not in it.
#[must_use]
pub fn tool_spans(
    context: &TraceContext,
    session: &SummaryView,
    turns: &[TurnView],
    events: &[EventView],
    conventions: Conventions,
) -> Vec<Span> {
    let span = |event: &EventView| {
        let until_ms = event.detail.get("until_ms")?.as_f64()?;
        let tool = event.detail.get("tool").and_then(|tool| tool.as_str()).unwrap_or("tool");
        let (name, of_call) = match event.kind {
            EventKind::ToolCall => {
                (format!("{OPERATION} {tool}"), of_call(session, event, tool, conventions))
            }
            EventKind::Approval => {
                (format!("approval {tool}"), Attributes::of(Part::Guardrail, session, conventions))
            }
            _ => return None,
        };
        let began = beginning(session);
        let from = began + milliseconds(event.at_ms);
        Some(Span {
            id: context.span.below(number::TOOLS + event.number),
            parent: Some(parent(context, turns, event)),
            has_remote_parent: false,
            name: name.into(),
            kind: SpanKind::Internal,
            from,
            to: from.max(began + milliseconds(until_ms)),
            attributes: of_call.done().into_iter().chain(of_event(event)).collect(),
            events: Vec::new(),
            failure: (event.severity == Severity::Error).then_some("tool_call"),
        })
    };
    events.iter().filter_map(span).collect()
}

fn of_call(session: &SummaryView, event: &EventView, tool: &str, conventions: Conventions) -> Attributes {
    let call = event.detail.get("call").and_then(|call| call.as_str());
    let attributes = Attributes::of(Part::Tool, session, conventions)
        .with("gen_ai.operation.name", OPERATION)
        .with("gen_ai.tool.name", tool)
        .with("gen_ai.conversation.id", session.id.as_str())
        .maybe("gen_ai.tool.call.id", call);
    if conventions.open_inference { attributes.with("tool.name", tool) } else { attributes }
}

fn parent(context: &TraceContext, turns: &[TurnView], event: &EventView) -> SpanId {
    let turn = turns.iter().find(|turn| is_within(turn, event.at_ms));
    turn.map_or(context.span, |turn| context.span.below(number::TURNS + u64::from(turn.turn)))
}
