//! The session, above its turns, and who spoke when.

use voxgate_protocol::session::EndReason;
use voxgate_protocol::timeline::Hop;
use voxgate_protocol::trace_context::TraceContext;

use super::attributes::{Attributes, of_event};
use super::conventions::{Conventions, Part, Voice};
use super::turn::{beginning, is_within};
use super::{Attribute, Span, SpanEvent, SpanKind, milliseconds, number};
use crate::session::view::{Lane, MarkKind, MarkView, RecordView, SummaryView, TurnView};

/// The span of a session that is over: above its turns, and below the span of whoever asked for it.
///
/// What happened in a turn that the record still has is in the turn's span.
#[must_use]
pub fn session_span(context: &TraceContext, record: &RecordView, conventions: Conventions) -> Span {
    let session = &record.session;
    let from = beginning(session);
    let in_a_turn = |at_ms: f64| record.turns.iter().any(|turn: &TurnView| is_within(turn, at_ms));
    let events = record.events.iter().filter(|event| !in_a_turn(event.at_ms));
    Span {
        id: context.span,
        parent: context.parent,
        has_remote_parent: context.parent.is_some(),
        name: "session".into(),
        kind: SpanKind::Server,
        from,
        to: from + milliseconds(session.duration_ms),
        attributes: of_session(session, conventions),
        events: events
            .map(|event| SpanEvent {
                at: from + milliseconds(event.at_ms),
                name: event.kind.as_str().into(),
                attributes: of_event(event),
            })
            .collect(),
        failure: session.end_reason.and_then(failure),
    }
}

/// Why a session counts as failed: nobody wanted it to end so.
fn failure(reason: EndReason) -> Option<&'static str> {
    let failed = matches!(
        reason,
        EndReason::ProviderFailed
            | EndReason::SetupTimeout
            | EndReason::ClientLost
            | EndReason::InternalError
    );
    failed.then_some(reason.as_str())
}

fn of_session(session: &SummaryView, conventions: Conventions) -> Vec<Attribute> {
    let attributes = Attributes::of(Part::Agent, session, conventions)
        .with("gen_ai.operation.name", "invoke_agent")
        .with("gen_ai.conversation.id", session.id.as_str())
        .with("gen_ai.request.model", session.model.as_str())
        .maybe(conventions.gen_ai.provider(), session.provider.as_deref())
        .maybe("gen_ai.agent.name", session.agent.as_deref())
        .maybe("error.type", session.end_reason.and_then(failure));
    let proposed = conventions.voice == Voice::Proposed;
    let end_reason = session.end_reason.map(EndReason::as_str);
    attributes
        .maybe("gen_ai.agent.invocation.end_reason", end_reason.filter(|_| proposed))
        .maybe("voxgate.call", session.call.as_deref())
        .with("voxgate.organisation", session.organisation.as_str())
        .with("voxgate.team", session.team.as_str())
        .with("voxgate.transport", session.transport.as_str())
        .with("voxgate.purpose", session.purpose.as_str())
        .with("voxgate.revision", session.revision_number)
        .with("voxgate.revision_hash", session.revision_hash.as_str())
        .maybe("voxgate.route", session.route.as_deref())
        .maybe("voxgate.region", session.region.as_deref())
        .maybe("voxgate.relay", session.relay.as_deref())
        .maybe("voxgate.end_reason", end_reason)
        .with("voxgate.turns", session.turns)
        .with("voxgate.answers", session.answers)
        .with("voxgate.interruptions", session.interruptions)
        .with("voxgate.breaches", session.breaches)
        .maybe("voxgate.worst_hop", session.worst_hop.map(Hop::as_str))
        .maybe("voxgate.mouth_to_ear_p50_ms", session.mouth_to_ear_p50_ms)
        .maybe("voxgate.mouth_to_ear_p95_ms", session.mouth_to_ear_p95_ms)
        .maybe("voxgate.mos", session.mos)
        .maybe("voxgate.loss_ratio", session.loss_ratio)
        .maybe("voxgate.cost_nano_dollars", session.cost_nano_dollars)
        .done()
}

/// Who spoke when: one span below the session for each stretch of speech that is over.
#[must_use]
pub fn speech_spans(
    context: &TraceContext,
    session: &SummaryView,
    marks: &[MarkView],
    conventions: Conventions,
) -> Vec<Span> {
    let speech = marks.iter().filter(|mark| mark.kind == MarkKind::Speech);
    speech
        .filter_map(|mark| {
            let began = beginning(session);
            Some(Span {
                id: context.span.below(number::SPEECH + mark.number),
                parent: Some(context.span),
                has_remote_parent: false,
                name: match mark.lane {
                    Lane::Caller => "caller speaks".into(),
                    Lane::Agent => "agent speaks".into(),
                },
                kind: SpanKind::Internal,
                from: began + milliseconds(mark.at_ms),
                to: began + milliseconds(mark.until_ms?.max(mark.at_ms)),
                attributes: Attributes::of(Part::Chain, session, conventions).done(),
                events: Vec::new(),
                failure: None,
            })
        })
        .collect()
}
