//! From records to requests; what a collector makes of them is in `load-tests/python/test_telemetry.py`.

use std::sync::Arc;
use std::time::Duration;

use prometheus::{HistogramOpts, HistogramVec, IntCounter, Registry};
use tokio::sync::mpsc;
use voxgate_protocol::revision::RevisionName;
use voxgate_protocol::session::EndReason;
use voxgate_protocol::timeline::Hop;
use voxgate_protocol::trace::{Moment, TurnTrace, Work};
use voxgate_protocol::trace_context::TraceContext;
use voxgate_telemetry::gen_ai::{AnswerTimes, GenAiFigures};
use voxgate_telemetry::latency::account::TurnAccount;
use voxgate_telemetry::metrics::Metrics;
use voxgate_telemetry::session::facts::{SessionFacts, TurnNote};
use voxgate_telemetry::session::{RecordLimits, SessionRecord, SessionSink};
use voxgate_telemetry::spans::conventions::{Conventions, GenAi};

use super::figures;
use super::sessions::Sessions;
use super::traces::Traced;
use super::wire::{Data, Histogram};

const MS: Duration = Duration::from_millis(1);

fn record(sinks: Vec<Arc<dyn SessionSink>>) -> SessionRecord {
    let facts = SessionFacts {
        model: "m".to_owned(),
        transport: "webrtc",
        began_at_unix_ms: 1_000,
        revision: RevisionName { number: 1, ..RevisionName::default() },
        ..SessionFacts::new("sess_1".into(), TraceContext::begin(None, (1, 2)))
    };
    SessionRecord::new(facts, RecordLimits::default(), sinks.into())
}

fn tell_turn(record: &SessionRecord, turn: u32) {
    let (from, to) = (Moment::read(Duration::ZERO), Moment::read(100 * MS));
    let works = vec![Work { hop: Hop::Model, from, to }];
    let account = TurnAccount::from_trace(&TurnTrace::new(turn, from, to, works)).unwrap();
    record.turn(MS * 1_000 * turn, TurnNote { account: &account, budget: None, breaches: &[] });
}

/// What comes of so many turns and an end if so many spans may wait, and how many did not fit.
async fn sent(turns: u32, room: usize) -> (Vec<String>, u64) {
    let metrics = Arc::new(Metrics::new().unwrap());
    let (spans, mut made) = mpsc::channel::<Traced>(room);
    let (sessions, notices) = Sessions::new(Conventions::default(), spans, Arc::clone(&metrics));
    let running = tokio::spawn(sessions.run());
    let record = record(vec![Arc::new(notices.clone())]);
    (1..=turns).for_each(|turn| tell_turn(&record, turn));
    record.ended(MS * 9_000, Some(EndReason::HungUp));
    notices.finish().await;
    running.await.unwrap();
    let mut names = Vec::new();
    while let Some(traced) = made.recv().await {
        names.push(traced.span.name.into_owned());
    }
    (names, metrics.otlp_spans.with_label_values(&["queue_full"]).get())
}

#[tokio::test]
async fn every_turn_is_sent_once_and_the_session_last() {
    let (names, lost) = sent(3, 100).await;
    assert_eq!(names, ["turn", "chat m", "turn", "chat m", "turn", "chat m", "session"]);
    assert_eq!(lost, 0);
}

#[tokio::test]
async fn a_turn_whose_word_was_lost_is_found_by_the_next_one() {
    // More than may wait: most of them are not told.
    let (names, lost) = sent(1_900, 10_000).await;
    assert_eq!(names.iter().filter(|name| *name == "turn").count(), 1_900);
    assert_eq!(lost, 0);
}

#[tokio::test]
async fn spans_beyond_the_queue_are_dropped_and_counted() {
    let (names, lost) = sent(3, 4).await;
    assert_eq!(names.len(), 4);
    assert_eq!(lost, 3);
}

#[test]
fn a_histogram_counts_between_its_bounds_as_prometheus_counts_up_to_them() {
    let registry = Registry::new();
    let options = HistogramOpts::new("voxgate_test_seconds", "For a test.").buckets(vec![0.1, 1.0]);
    let histogram = HistogramVec::new(options, &["hop"]).unwrap();
    registry.register(Box::new(histogram.clone())).unwrap();
    for seconds in [0.05, 0.06, 0.5, 7.0] {
        histogram.with_label_values(&["model"]).observe(seconds);
    }
    let metrics = figures::metrics(&registry.gather(), MS, 5 * MS);
    let [metric] = &metrics[..] else { panic!("{metrics:?}") };
    assert_eq!((metric.name.as_str(), metric.unit.as_str()), ("voxgate_test_seconds", "s"));
    let Some(Data::Histogram(Histogram { data_points, aggregation_temporality: 2 })) = &metric.data else {
        panic!("{metric:?}")
    };
    let point = &data_points[0];
    assert_eq!(point.bucket_counts, [2, 1, 1]);
    assert_eq!(point.explicit_bounds, [0.1, 1.0]);
    assert_eq!((point.count, point.sum), (4, Some(7.61)));
    assert_eq!((point.start_time_unix_nano, point.time_unix_nano), (1_000_000, 5_000_000));
    assert_eq!(point.attributes[0].key, "hop");
}

#[test]
fn a_counter_is_a_total_that_only_rises() {
    let registry = Registry::new();
    let counter = IntCounter::new("voxgate_test_total", "For a test.").unwrap();
    registry.register(Box::new(counter.clone())).unwrap();
    counter.inc_by(3);
    let metrics = figures::metrics(&registry.gather(), MS, 5 * MS);
    let Some(Data::Sum(sum)) = &metrics[0].data else { panic!("{metrics:?}") };
    assert!(sum.is_monotonic);
    assert_eq!((sum.data_points[0].as_double, metrics[0].unit.as_str()), (Some(3.0), "1"));
}

#[test]
fn figures_of_answers_leave_under_the_names_of_the_conventions() {
    let figures = GenAiFigures::new().unwrap();
    figures.answered(&AnswerTimes {
        took: 1_500 * MS,
        first_piece: Some(300 * MS),
        failure: None,
        tokens: Some((40, 60)),
        provider: "vendor",
        model: "voice-1",
    });
    let sent = |conventions| figures::gen_ai(&figures.gather(), conventions, MS, 5 * MS);
    let latest = sent(Conventions::default());
    let names: Vec<_> = latest.iter().map(|metric| (metric.name.as_str(), metric.unit.as_str())).collect();
    let expected = [
        ("gen_ai.client.operation.duration", "s"),
        ("gen_ai.client.operation.time_to_first_chunk", "s"),
        ("gen_ai.client.token.usage", "{token}"),
    ];
    assert_eq!(names, expected);
    let Some(Data::Histogram(Histogram { data_points, .. })) = &latest[0].data else { panic!("{latest:?}") };
    let keys: Vec<_> = data_points[0].attributes.iter().map(|attribute| attribute.key.as_str()).collect();
    assert_eq!(
        keys,
        ["gen_ai.request.model", "gen_ai.operation.name", "gen_ai.provider.name"],
        "no error, no error.type"
    );
    assert_eq!((data_points[0].explicit_bounds.len(), data_points[0].sum), (14, Some(1.5)));
    let old = sent(Conventions { gen_ai: GenAi::V1_36, ..Conventions::default() });
    assert_eq!(old.len(), 2, "1.36 has no time to the first chunk");
    let Some(Data::Histogram(Histogram { data_points, .. })) = &old[0].data else { panic!("{old:?}") };
    assert!(data_points[0].attributes.iter().any(|attribute| attribute.key == "gen_ai.system"));
}
