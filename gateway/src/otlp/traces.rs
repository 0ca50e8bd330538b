//! Spans on their way to the collector.

use std::time::Duration;

use prometheus::IntCounterVec;
use prost::Message as _;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, timeout_at};
use voxgate_protocol::trace_context::TraceId;
use voxgate_telemetry::spans::{Attribute, Span, SpanEvent, SpanKind, Value};

use super::delivery::Delivery;
use super::figures::nanoseconds;
use super::wire::{self, AnyValue, ArrayValue, KeyValue, Resource, STATUS_ERROR};

/// Spans of one request: about half a megabyte, an eighth of what collectors take at once.
const MOST_AT_ONCE: usize = 512;

/// The trace may be followed (bit 0), and whether the parent is of another process is known (bit 8).
const FLAGS: u32 = 0x101;
/// The parent is of another process.
const REMOTE_PARENT: u32 = 0x200;

/// A span of a trace.
#[derive(Debug)]
pub(super) struct Traced {
    pub(super) trace: TraceId,
    pub(super) span: Span,
}

/// Sends spans as they come, those of `every` together, until nobody makes any more. Counts what became of them.
pub(super) async fn ship(
    mut waiting: mpsc::Receiver<Traced>,
    (delivery, told): (Delivery, IntCounterVec),
    resource: Resource,
    every: Duration,
    mut stopped: watch::Receiver<bool>,
) {
    while let Some(first) = waiting.recv().await {
        let until = Instant::now() + every;
        let mut batch = vec![first];
        while batch.len() < MOST_AT_ONCE {
            match timeout_at(until, waiting.recv()).await {
                Ok(Some(span)) => batch.push(span),
                Ok(None) | Err(_) => break,
            }
        }
        let spans = batch.len() as u64;
        let outcome = delivery.deliver(&request(&resource, batch), &mut stopped).await;
        told.with_label_values(&[outcome.as_str()]).inc_by(spans);
    }
}

/// `ExportTraceServiceRequest` with these spans.
pub(super) fn request(resource: &Resource, spans: Vec<Traced>) -> Vec<u8> {
    let spans = spans.into_iter().map(span).collect();
    let scope_spans = vec![wire::ScopeSpans { scope: Some(wire::Scope::voxgate()), spans }];
    let resource_spans = vec![wire::ResourceSpans { resource: Some(resource.clone()), scope_spans }];
    wire::TracesRequest { resource_spans }.encode_to_vec()
}

fn span(Traced { trace, span }: Traced) -> wire::Span {
    wire::Span {
        trace_id: trace.to_bytes().to_vec(),
        span_id: span.id.to_bytes().to_vec(),
        parent_span_id: span.parent.map(|parent| parent.to_bytes().to_vec()).unwrap_or_default(),
        name: span.name.into_owned(),
        kind: match span.kind {
            SpanKind::Internal => 1,
            SpanKind::Server => 2,
            SpanKind::Client => 3,
        },
        start_time_unix_nano: nanoseconds(span.from),
        end_time_unix_nano: nanoseconds(span.to),
        attributes: span.attributes.into_iter().map(attribute).collect(),
        events: span.events.into_iter().map(event).collect(),
        status: span.failure.map(|why| wire::Status { message: why.to_owned(), code: STATUS_ERROR }),
        flags: if span.has_remote_parent { FLAGS | REMOTE_PARENT } else { FLAGS },
    }
}

fn event(event: SpanEvent) -> wire::Event {
    wire::Event {
        time_unix_nano: nanoseconds(event.at),
        name: event.name.into_owned(),
        attributes: event.attributes.into_iter().map(attribute).collect(),
    }
}

fn attribute(attribute: Attribute) -> KeyValue {
    let text = |text: String| AnyValue { value: Some(wire::Value::Text(text)) };
    KeyValue::of(
        attribute.name,
        match attribute.value {
            Value::Text(text) => wire::Value::Text(text),
            Value::Flag(flag) => wire::Value::Flag(flag),
            Value::Whole(number) => wire::Value::Whole(number),
            Value::Fraction(number) => wire::Value::Fraction(number),
            Value::Texts(texts) => {
                wire::Value::List(ArrayValue { values: texts.into_iter().map(text).collect() })
            }
        },
    )
}
