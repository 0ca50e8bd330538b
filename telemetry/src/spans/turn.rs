//! A turn and what it waited for.

use std::time::Duration;

use voxgate_protocol::timeline::{Certainty, Hop};
use voxgate_protocol::trace_context::{SpanId, TraceContext};

use super::attributes::{Attributes, of_event};
use super::conventions::{Conventions, GenAi, Part};
use super::{Span, SpanEvent, SpanKind, Value, milliseconds, number};
use crate::session::view::{
    BreachView, EventView, HopView, Severity, StretchView, SummaryView, TokensView, TurnView,
};

/// The spans of a turn: first its own, then those of its hops in their order.
///
/// `events` are those of the session; only those that happened in the turn count.
#[must_use]
pub fn turn_spans(
    context: &TraceContext,
    session: &SummaryView,
    turn: &TurnView,
    events: &[EventView],
    conventions: Conventions,
) -> Vec<Span> {
    let place = Place::new(context, session, turn, conventions);
    let mut spans = vec![place.turn(events)];
    for hop in &turn.hops {
        let stretches = hop.stretches.iter().enumerate();
        spans.extend(stretches.map(|(index, stretch)| place.stretch(hop, index, stretch)));
    }
    spans
}

/// Whether something happened in a turn, its ends included.
pub(super) fn is_within(turn: &TurnView, at_ms: f64) -> bool {
    (turn.at_ms..=turn.at_ms + turn.mouth_to_ear_ms).contains(&at_ms)
}

/// When a record began, since 1970.
pub(super) fn beginning(session: &SummaryView) -> Duration {
    Duration::try_from_secs_f64(session.began_at).unwrap_or_default()
}

struct Place<'a> {
    session: &'a SummaryView,
    turn: &'a TurnView,
    conventions: Conventions,
    parent: SpanId,
    id: SpanId,
    /// The caller's last word, since 1970.
    mouth: Duration,
    /// The caller's ear, since 1970.
    ear: Duration,
}

impl<'a> Place<'a> {
    fn new(
        context: &TraceContext,
        session: &'a SummaryView,
        turn: &'a TurnView,
        conventions: Conventions,
    ) -> Self {
        let mouth = beginning(session) + milliseconds(turn.at_ms);
        Self {
            session,
            turn,
            conventions,
            parent: context.span,
            id: context.span.below(number::TURNS + u64::from(turn.turn)),
            mouth,
            ear: mouth + milliseconds(turn.mouth_to_ear_ms),
        }
    }

    fn turn(&self, events: &[EventView]) -> Span {
        let turn = self.turn;
        let within: Vec<_> = events.iter().filter(|event| is_within(turn, event.at_ms)).collect();
        let failed = within.iter().find(|event| event.severity == Severity::Error);
        let began = beginning(self.session);
        let happened = within.iter().map(|event| SpanEvent {
            at: began + milliseconds(event.at_ms),
            name: event.kind.as_str().into(),
            attributes: of_event(event),
        });
        let breached = turn.breaches.iter().map(|breach| self.breach(breach));
        Span {
            id: self.id,
            parent: Some(self.parent),
            has_remote_parent: false,
            name: "turn".into(),
            kind: SpanKind::Internal,
            from: self.mouth,
            to: self.ear,
            attributes: self.of_turn(),
            events: happened.chain(breached).collect(),
            failure: failed.map(|event| event.kind.as_str()),
        }
    }

    fn of_turn(&self) -> Vec<super::Attribute> {
        let turn = self.turn;
        let unknown: Vec<String> = turn.unknown.iter().map(|hop| hop.as_str().to_owned()).collect();
        let mut attributes = Attributes::of(Part::Chain, self.session, self.conventions)
            .with("voxgate.turn", turn.turn)
            .with("voxgate.mouth_to_ear_ms", turn.mouth_to_ear_ms)
            .with("voxgate.certainty", certainty(turn.certainty))
            .with("voxgate.error_ms", turn.error_ms)
            .with("voxgate.unattributed_ms", turn.unattributed_ms)
            .with("voxgate.interrupted", turn.interrupted)
            .maybe("voxgate.budget_ms", turn.budget_ms)
            .maybe("voxgate.cost_nano_dollars", turn.cost_nano_dollars)
            .maybe("voxgate.route", turn.route.as_deref());
        if !unknown.is_empty() {
            attributes = attributes.with("voxgate.unknown_hops", Value::Texts(unknown));
        }
        // A hop of which only the duration is known has no place in the waterfall.
        for hop in turn.hops.iter().filter(|hop| hop.stretches.is_empty()) {
            let name = format!("voxgate.hop.{}.duration_ms", hop.hop.as_str());
            attributes = attributes.named(name, hop.duration_ms);
        }
        attributes.done()
    }

    fn breach(&self, breach: &BreachView) -> SpanEvent {
        let attributes = Attributes::new()
            .with("voxgate.subject", breach.subject.as_str())
            .maybe("voxgate.spender", breach.spender.map(Hop::as_str))
            .maybe("voxgate.owner", breach.owner.map(|owner| owner.as_str()))
            .with("voxgate.budget_ms", breach.budget_ms)
            .with("voxgate.spent_ms", breach.spent_ms)
            .with("voxgate.certain", breach.certain);
        SpanEvent { at: self.ear, name: "latency_budget_exceeded".into(), attributes: attributes.done() }
    }

    fn stretch(&self, hop: &HopView, index: usize, stretch: &StretchView) -> Span {
        let from = self.mouth + milliseconds(stretch.start_ms);
        let operation = self.conventions.operation(hop.hop);
        let model = self.turn.model.as_deref().unwrap_or(&self.session.model);
        let name = match operation {
            // As the conventions name spans, so that backends for models know what they see.
            Some(operation) => format!("{operation} {model}").into(),
            None => hop.hop.as_str().into(),
        };
        let number = (hop.hop as u64) << 32 | index as u64;
        Span {
            id: self.id.below(number),
            parent: Some(self.id),
            has_remote_parent: false,
            name,
            kind: if operation.is_some() { SpanKind::Client } else { SpanKind::Internal },
            from: from.min(self.ear),
            // Milliseconds of a record are rounded; no child may outlive its parent because of that.
            to: (from + milliseconds(stretch.duration_ms)).min(self.ear),
            attributes: self.of_hop(hop, index, stretch),
            events: Vec::new(),
            failure: None,
        }
    }

    fn of_hop(&self, hop: &HopView, index: usize, stretch: &StretchView) -> Vec<super::Attribute> {
        let mut attributes = Attributes::of(Part::of(hop.hop), self.session, self.conventions)
            .with("voxgate.turn", self.turn.turn)
            .with("voxgate.hop", hop.hop.as_str())
            .with("voxgate.owner", hop.owner.as_str())
            .with("voxgate.certainty", certainty(hop.certainty))
            .with("voxgate.error_ms", hop.error_ms)
            .with("voxgate.overlapped", stretch.overlapped)
            .with("voxgate.hop.duration_ms", hop.duration_ms)
            .maybe("voxgate.budget_ms", hop.budget_ms);
        if hop.ahead_ms > 0.0 {
            attributes = attributes.with("voxgate.hop.ahead_ms", hop.ahead_ms);
        }
        if let Some(operation) = self.conventions.operation(hop.hop) {
            attributes = self.of_provider(attributes, operation, (hop.hop, index));
        }
        attributes.done()
    }

    /// What the conventions say of a call of a model. Only on its first stretch, so that nothing is counted twice.
    fn of_provider(
        &self,
        attributes: Attributes,
        operation: &'static str,
        (hop, index): (Hop, usize),
    ) -> Attributes {
        let (turn, conventions) = (self.turn, self.conventions);
        let model = turn.model.as_deref().unwrap_or(&self.session.model);
        let attributes = attributes
            .with("gen_ai.operation.name", operation)
            .maybe(conventions.gen_ai.provider(), turn.provider.as_deref())
            .with("gen_ai.request.model", model)
            .with("gen_ai.conversation.id", self.session.id.as_str());
        if hop != Hop::Model || index > 0 {
            return attributes;
        }
        let attributes = match &turn.tokens {
            Some(tokens) => of_tokens(attributes, tokens, conventions),
            None => attributes,
        };
        let dollars = turn.cost_nano_dollars.map(|cost| cost as f64 / 1e9);
        if !conventions.open_inference {
            return attributes;
        }
        attributes
            .with("llm.model_name", model)
            .maybe("llm.provider", turn.provider.as_deref())
            .maybe("llm.cost.total", dollars)
    }
}

/// What the answers of a turn used. 1.36 has the totals only.
fn of_tokens(attributes: Attributes, tokens: &TokensView, conventions: Conventions) -> Attributes {
    let (read, written) = (tokens.input_text + tokens.input_audio, tokens.output_text + tokens.output_audio);
    let mut attributes =
        attributes.with("gen_ai.usage.input_tokens", read).with("gen_ai.usage.output_tokens", written);
    if conventions.gen_ai == GenAi::Latest {
        attributes = attributes
            .with("gen_ai.usage.text.input_tokens", tokens.input_text)
            .with("gen_ai.usage.audio.input_tokens", tokens.input_audio)
            .with("gen_ai.usage.cache_read.input_tokens", tokens.cached)
            .with("gen_ai.usage.text.output_tokens", tokens.output_text)
            .with("gen_ai.usage.audio.output_tokens", tokens.output_audio);
    }
    if !conventions.open_inference {
        return attributes;
    }
    attributes
        .with("llm.token_count.prompt", read)
        .with("llm.token_count.completion", written)
        .with("llm.token_count.total", read + written)
        .with("llm.token_count.prompt_details.cache_read", tokens.cached)
        .with("llm.token_count.prompt_details.audio", tokens.input_audio)
        .with("llm.token_count.completion_details.audio", tokens.output_audio)
}

const fn certainty(certainty: Certainty) -> &'static str {
    match certainty {
        Certainty::Measured => "measured",
        Certainty::Estimated => "estimated",
    }
}
