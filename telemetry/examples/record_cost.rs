//! What it costs to write a session down: `cargo run --release -p voxgate-telemetry --example record_cost`.
//!
//! A busy session of an hour: every second packets, levels and a cost, every five seconds a turn of eleven hops, four marks,
//! an event and words; and, in a second run, a page that reads what is new four times a second. Processor time is what
//! the kernel counted for this thread.

use std::error::Error;
use std::io::Write as _;
use std::sync::Arc;
use std::time::Duration;

use voxgate_protocol::money::NanoDollars;
use voxgate_protocol::revision::{BundleHash, RevisionName};
use voxgate_protocol::timeline::Hop;
use voxgate_protocol::trace::{Moment, TurnTrace, Work};
use voxgate_protocol::trace_context::TraceContext;
use voxgate_telemetry::latency::account::TurnAccount;
use voxgate_telemetry::latency::budget::LatencyBudget;
use voxgate_telemetry::session::facts::{
    DownlinkNote, EventNote, NetworkNote, SessionFacts, TurnNote, UplinkNote, WordsChange,
};
use voxgate_telemetry::session::view::{EventKind, Lane, MarkKind, RecordingView};
use voxgate_telemetry::session::{RecordLimits, SessionRecord};

const SECOND: Duration = Duration::from_secs(1);
const SECONDS: u32 = 3_600;
const HOPS: [Hop; 11] = [
    Hop::Capture,
    Hop::Uplink,
    Hop::RelayIn,
    Hop::Jitter,
    Hop::Decode,
    Hop::Endpointing,
    Hop::Model,
    Hop::Pacing,
    Hop::Encode,
    Hop::Downlink,
    Hop::Playout,
];

/// Time this thread ran, as the kernel counts it (proc_pid_schedstat: nanoseconds on the processor come first).
fn processor_time() -> Result<Duration, Box<dyn Error>> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat")?;
    Ok(Duration::from_nanos(text.split(' ').next().unwrap_or_default().parse()?))
}

fn facts() -> SessionFacts {
    SessionFacts {
        model: "m".to_owned(),
        transport: "webrtc",
        revision: RevisionName { number: 1, hash: BundleHash::new([0xab; 32]) },
        ..SessionFacts::new("sess_1".into(), TraceContext::begin(None, (1, 1)))
    }
}

fn account(turn: u32) -> Result<TurnAccount, Box<dyn Error>> {
    let at = |place: usize| Moment::read(Duration::from_millis(place as u64 * 70));
    let works =
        HOPS.iter().enumerate().map(|(place, hop)| Work { hop: *hop, from: at(place), to: at(place + 1) });
    let trace = TurnTrace::new(turn, at(0), at(HOPS.len()), works.collect());
    Ok(TurnAccount::from_trace(&trace)?)
}

fn turn(record: &SessionRecord, at: Duration, number: u32) -> Result<(), Box<dyn Error>> {
    let (account, budget) = (account(number)?, LatencyBudget::speech_to_speech());
    let breaches = budget.breaches(&account);
    for lane in [Lane::Caller, Lane::Agent] {
        record.mark(at, lane, MarkKind::Speech);
        record.mark_ended(at + SECOND, lane, MarkKind::Speech, None);
        for _ in 0..10 {
            record.words(at, &format!("item_{number}_{lane:?}"), lane, WordsChange::Add("some more words "));
        }
    }
    record.turn(at, TurnNote { account: &account, budget: Some(&budget), breaches: &breaches });
    record.event(at, EventNote::info(EventKind::Breach, "A turn took longer than it may."));
    Ok(())
}

fn hour(has_reader: bool) -> Result<Duration, Box<dyn Error>> {
    let record = SessionRecord::new(facts(), RecordLimits::default(), Arc::from([]));
    record.keeps(RecordingView { words: true, voices: false });
    let mut seen = 0;
    let before = processor_time()?;
    for second in 0..SECONDS {
        let at = SECOND * second;
        let uplink = UplinkNote { packets: 50, ..UplinkNote::default() };
        let downlink = DownlinkNote { packets: Some(50), lost: Some(0), ..DownlinkNote::default() };
        record.network(
            at,
            NetworkNote {
                round_trip: Some(SECOND / 20),
                uplink: Some(uplink),
                downlink: Some(downlink),
                pair: Some("udp/host".to_owned()),
            },
        );
        record.levels(at, &[50; 10], &[60; 10]);
        record.cost(at, NanoDollars::new(i64::from(second)));
        if second % 5 == 0 {
            turn(&record, at, second / 5 + 1)?;
        }
        for _ in 0..if has_reader { 4 } else { 0 } {
            let view = record.view_since(seen);
            seen = view.revision;
            std::hint::black_box(view);
        }
    }
    Ok((processor_time()? - before) / SECONDS)
}

fn main() -> Result<(), Box<dyn Error>> {
    let (alone, read) = (hour(false)?, hour(true)?);
    writeln!(
        std::io::stdout(),
        "a second of a session: {alone:?} to write it down, {read:?} with a page that reads it"
    )?;
    Ok(())
}
