//! A session's record as a tree: who is below whom, what lies where, and what stays inside.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use voxgate_protocol::revision::{BundleHash, RevisionName};
use voxgate_protocol::session::EndReason;
use voxgate_protocol::timeline::Hop;
use voxgate_protocol::trace::{Moment, TurnTrace, Work};
use voxgate_protocol::trace_context::{TraceContext, TraceParent};
use voxgate_protocol::usage::TokenUsage;

use super::conventions::{Conventions, GenAi, Voice};
use super::*;
use crate::latency::account::TurnAccount;
use crate::latency::budget::LatencyBudget;
use crate::session::facts::{EventNote, Serving, SessionFacts, TurnNote, WordsChange};
use crate::session::view::{EventKind, Lane, MarkKind, RecordView, RecordingView};
use crate::session::{RecordLimits, SessionRecord};

const MS: Duration = Duration::from_millis(1);
const BEGAN_MS: u64 = 1_790_000_000_500;

fn context() -> TraceContext {
    let asked = TraceParent::parse("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01");
    TraceContext::begin(asked, (0, 77))
}

fn account(turn: u32) -> TurnAccount {
    let at = |ms: u32| Moment::read(MS * ms);
    let work = |hop, from, to| Work { hop, from: at(from), to: at(to) };
    let works = vec![
        work(Hop::Stt, 900, 1_250),
        work(Hop::Endpointing, 1_000, 1_200),
        work(Hop::Model, 1_250, 1_600),
        work(Hop::Tts, 1_500, 1_700),
    ];
    TurnAccount::from_trace(&TurnTrace::new(turn, at(1_000), at(1_750), works)).unwrap()
}

fn event(kind: EventKind, detail: serde_json::Value) -> EventNote {
    EventNote::info(kind, "Nobody but readers of the record sees this: marmalade.").with(detail)
}

/// Two turns at 1 s and at 5 s, of which the second is too slow; something in each, between them, and words.
fn record() -> SessionRecord {
    let facts = SessionFacts {
        model: "asked".to_owned(),
        transport: "webrtc",
        began_at_unix_ms: BEGAN_MS,
        revision: RevisionName { number: 3, hash: BundleHash::new([0xab; 32]) },
        ..SessionFacts::new("sess_1".into(), context())
    };
    let record = SessionRecord::new(facts, RecordLimits::default(), Arc::from([]));
    record.keeps(RecordingView { words: true, voices: false });
    let serving =
        Serving { provider: "vendor".to_owned(), model: Some("served".to_owned()), ..Serving::default() };
    record.served_by(Duration::ZERO, serving);
    record.words(MS * 900, "item_1", Lane::Caller, WordsChange::Complete("marmalade"));
    record.event(MS * 1_200, event(EventKind::Guardrail, json!({ "rule": "cards", "words": "marmalade" })));
    record.turn(MS * 1_000, TurnNote { account: &account(1), budget: None, breaches: &[] });
    let used = TokenUsage {
        input_text: 5,
        input_audio: 40,
        output_text: 3,
        output_audio: 60,
        ..TokenUsage::default()
    };
    record.tokens(MS * 2_500, &used);
    record.event(MS * 3_000, event(EventKind::Failover, json!({ "from": "vendor", "to": "other" })));
    let budget = LatencyBudget { whole: Some(MS * 500), ..LatencyBudget::cascade() };
    let slow = account(2);
    let breaches = budget.breaches(&slow);
    record.turn(MS * 5_000, TurnNote { account: &slow, budget: Some(&budget), breaches: &breaches });
    record.event(MS * 5_100, EventNote::error(EventKind::Error, "marmalade"));
    let call = json!({ "tool": "weather", "call": "call_1", "until_ms": 5_300.0, "arguments": "marmalade" });
    record.event(MS * 5_200, event(EventKind::ToolCall, call));
    record.mark(MS * 500, Lane::Caller, MarkKind::Speech);
    record.mark_ended(MS * 1_000, Lane::Caller, MarkKind::Speech, None);
    record.mark(MS * 6_000, Lane::Agent, MarkKind::Speech);
    record
}

fn tree(view: &RecordView, conventions: Conventions) -> Vec<Span> {
    let (context, session) = (context(), &view.session);
    let turns =
        view.turns.iter().flat_map(|turn| turn_spans(&context, session, turn, &view.events, conventions));
    let tools = tool_spans(&context, session, &view.turns, &view.events, conventions);
    let speech = speech_spans(&context, session, &view.marks, conventions);
    let all = turns.chain(tools).chain(speech).chain([session_span(&context, view, conventions)]);
    all.collect()
}

fn whole() -> Vec<Span> {
    tree(&record().view_since(0), Conventions::default())
}

fn value<'a>(span: &'a Span, name: &str) -> Option<&'a Value> {
    span.attributes.iter().find(|attribute| attribute.name == name).map(|attribute| &attribute.value)
}

fn named<'a>(spans: &'a [Span], name: &str) -> Vec<&'a Span> {
    spans.iter().filter(|span| span.name == name).collect()
}

fn since_began(ms: u64) -> Duration {
    Duration::from_millis(BEGAN_MS + ms)
}

#[test]
fn every_span_has_an_id_of_its_own_and_hangs_below_the_session_which_hangs_below_whoever_asked() {
    let spans = whole();
    let ids: BTreeSet<_> = spans.iter().map(|span| span.id).collect();
    assert_eq!(ids.len(), spans.len());
    let (roots, others): (Vec<_>, Vec<_>) = spans.iter().partition(|span| span.name == "session");
    assert_eq!(roots.len(), 1);
    assert_eq!(
        (roots[0].id, roots[0].parent, roots[0].has_remote_parent),
        (context().span, context().parent, true)
    );
    assert!(others.iter().all(|span| span.parent.is_some_and(|parent| ids.contains(&parent))));
}

#[test]
fn the_stretches_of_a_turn_lie_within_it_and_those_waited_for_sum_to_its_hops() {
    let spans = whole();
    for (turn, at) in named(&spans, "turn").into_iter().zip([1_000, 5_000]) {
        assert_eq!((turn.from, turn.to), (since_began(at), since_began(at + 750)));
        let mut waited: BTreeMap<String, Duration> = BTreeMap::new();
        for hop in
            spans.iter().filter(|span| span.parent == Some(turn.id) && value(span, "voxgate.hop").is_some())
        {
            assert!(turn.from <= hop.from && hop.from <= hop.to && hop.to <= turn.to, "{hop:?}");
            let (Some(Value::Text(name)), Some(Value::Flag(overlapped))) =
                (value(hop, "voxgate.hop"), value(hop, "voxgate.overlapped"))
            else {
                panic!("{hop:?}")
            };
            if !overlapped {
                *waited.entry(name.clone()).or_default() += hop.to - hop.from;
            }
        }
        let expected = account(1).hops.into_iter().map(|hop| (hop.hop.as_str().to_owned(), hop.duration));
        assert_eq!(waited, expected.collect());
        assert_eq!(value(turn, "voxgate.unattributed_ms"), Some(&Value::Fraction(50.0)));
    }
}

#[test]
fn what_happened_is_told_by_the_turn_it_happened_in_or_by_the_session_and_only_by_one() {
    let spans = whole();
    let names = |span: &Span| span.events.iter().map(|event| event.name.to_string()).collect::<Vec<_>>();
    let turns = named(&spans, "turn");
    assert_eq!(names(turns[0]), ["guardrail"]);
    assert_eq!(turns[0].events[0].at, since_began(1_200));
    assert_eq!(turns[0].failure, None);
    assert_eq!(names(turns[1])[..2], ["error", "tool_call"]);
    assert!(names(turns[1])[2..].iter().all(|name| name == "latency_budget_exceeded"));
    assert!(names(turns[1]).len() > 2, "its budget was broken");
    assert_eq!(turns[1].failure, Some("error"));
    assert_eq!(names(named(&spans, "session")[0]), ["failover"]);
}

#[test]
fn nothing_that_was_said_and_no_argument_is_in_any_span() {
    let record = record();
    let view = record.view_since(0);
    assert_eq!(view.transcript.len(), 1, "the record itself may keep words");
    let told = format!("{:?}", tree(&view, Conventions::default()));
    assert!(!told.contains("marmalade"), "{told}");
    assert!(told.contains("cards") && told.contains("weather"));
}

#[test]
fn a_tool_call_is_a_span_below_its_turn_once_it_is_over() {
    let spans = whole();
    let tool = named(&spans, "execute_tool weather")[0];
    assert_eq!((tool.from, tool.to), (since_began(5_200), since_began(5_300)));
    assert_eq!(tool.parent, Some(named(&spans, "turn")[1].id));
    assert_eq!(value(tool, "openinference.span.kind"), Some(&Value::Text("TOOL".to_owned())));
}

#[test]
fn the_wait_for_a_person_is_a_span_once_somebody_has_decided() {
    let record = record();
    let asked = |call| json!({ "tool": "refund", "call": call, "risk": "dangerous" });
    let number = record.event(MS * 2_000, event(EventKind::Approval, asked("call_2")));
    record.event(MS * 2_100, event(EventKind::Approval, asked("call_3")));
    record.event_ended(MS * 2_700, number);
    let spans = tree(&record.view_since(0), Conventions::default());
    let waits = named(&spans, "approval refund");
    assert_eq!(waits.len(), 1, "nobody has decided about the other one");
    assert_eq!((waits[0].from, waits[0].to), (since_began(2_000), since_began(2_700)));
    assert_eq!(waits[0].parent, Some(context().span));
    assert_eq!(value(waits[0], "openinference.span.kind"), Some(&Value::Text("GUARDRAIL".to_owned())));
    assert_eq!(value(waits[0], "voxgate.call"), Some(&Value::Text("call_2".to_owned())));
}

#[test]
fn speech_that_is_over_is_a_span_and_speech_that_goes_on_is_none_yet() {
    let spans = whole();
    let caller = named(&spans, "caller speaks")[0];
    assert_eq!((caller.from, caller.to), (since_began(500), since_began(1_000)));
    assert!(named(&spans, "agent speaks").is_empty());
}

#[test]
fn a_session_nobody_wanted_to_end_so_has_failed() {
    for (reason, failure) in [
        (EndReason::ProviderFailed, Some("provider_failed")),
        (EndReason::ClientLost, Some("client_lost")),
        (EndReason::HungUp, None),
        (EndReason::BudgetExhausted, None),
    ] {
        let record = record();
        record.ended(MS * 9_000, Some(reason));
        let span = session_span(&context(), &record.view_since(0), Conventions::default());
        assert_eq!((span.failure, span.to), (failure, since_began(9_000)), "{reason:?}");
    }
}

#[test]
fn the_same_record_gives_the_same_tree() {
    let record = record();
    let (one, other) = (record.view_since(0), record.view_since(0));
    assert_eq!(tree(&one, Conventions::default()), tree(&other, Conventions::default()));
}

#[test]
fn names_follow_the_conventions_that_are_asked_for() {
    let view = record().view_since(0);
    let latest = tree(&view, Conventions::default());
    let model = named(&latest, "chat served")[0];
    assert_eq!(value(model, "gen_ai.provider.name"), Some(&Value::Text("vendor".to_owned())));
    assert_eq!(value(model, "gen_ai.request.model"), Some(&Value::Text("served".to_owned())));
    assert_eq!(value(model, "openinference.span.kind"), Some(&Value::Text("LLM".to_owned())));
    assert!(named(&latest, "speech_to_text served").is_empty());

    let old = Conventions { gen_ai: GenAi::V1_36, voice: Voice::Proposed, open_inference: false };
    let old = tree(&view, old);
    let model = named(&old, "chat served")[0];
    assert_eq!(value(model, "gen_ai.system"), Some(&Value::Text("vendor".to_owned())));
    assert_eq!(value(model, "gen_ai.provider.name"), None);
    assert!(!named(&old, "speech_to_text served").is_empty());
    let written = old.iter().flat_map(|span| &span.attributes);
    assert!(written.clone().all(|attribute| !attribute.name.starts_with("llm.")));
    assert!(written.clone().all(|attribute| !attribute.name.starts_with("openinference")));
}

#[test]
fn what_the_answers_of_a_turn_used_is_told_once_by_its_model() {
    let spans = whole();
    for (name, number) in [
        ("gen_ai.usage.input_tokens", 45),
        ("gen_ai.usage.output_tokens", 63),
        ("gen_ai.usage.audio.output_tokens", 60),
        ("llm.token_count.total", 108),
    ] {
        let told: Vec<_> = spans.iter().filter_map(|span| value(span, name)).collect();
        assert_eq!(told, [&Value::Whole(number)], "{name}");
    }
}

#[test]
fn no_span_has_one_attribute_twice() {
    for span in whole() {
        let names: BTreeSet<_> = span.attributes.iter().map(|attribute| attribute.name.as_ref()).collect();
        assert_eq!(names.len(), span.attributes.len(), "{span:?}");
    }
}
