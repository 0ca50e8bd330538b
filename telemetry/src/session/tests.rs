//! A reader that merges what is new by key has exactly what is there, whatever is written and whenever it reads; and no
//! list outgrows its bound.

use std::collections::BTreeMap;
use std::sync::atomic::AtomicU32;

use proptest::prelude::*;
use serde_json::{Value, json};
use voxgate_protocol::revision::{BundleHash, RevisionName};
use voxgate_protocol::timeline::Hop;
use voxgate_protocol::trace::{Moment, TurnTrace, Work};
use voxgate_protocol::trace_context::TraceContext;

use super::facts::{DownlinkNote, UplinkNote};
use super::view::{EventKind, SessionState, WordsState};
use super::*;
use crate::latency::account::TurnAccount;
use crate::latency::budget::LatencyBudget;

const MS: Duration = Duration::from_millis(1);

const SMALL: RecordLimits =
    RecordLimits { turns: 5, network: 6, levels: 40, marks: 7, items: 4, words: 60, events: 5 };

fn facts() -> SessionFacts {
    SessionFacts {
        model: "m".to_owned(),
        transport: "webrtc",
        began_at_unix_ms: 1_790_000_000_500,
        revision: RevisionName { number: 3, hash: BundleHash::new([0xab; 32]) },
        ..SessionFacts::new(
            "sess_1".into(),
            TraceContext::begin(None, (0x0af7_6519_16cd_43dd_8448_eb21_1c80_319c, 1)),
        )
    }
}

fn record(limits: RecordLimits) -> SessionRecord {
    SessionRecord::new(facts(), limits, Arc::from([]))
}

fn account(turn: u32, model: Duration) -> TurnAccount {
    let at = |duration| Moment::read(duration);
    let works = vec![Work { hop: Hop::Model, from: at(Duration::ZERO), to: at(model) }];
    TurnAccount::from_trace(&TurnTrace::new(turn, at(Duration::ZERO), at(model), works)).unwrap()
}

fn tell_turn(record: &SessionRecord, at: Duration, turn: u32, model: Duration) {
    let account = account(turn, model);
    let budget = LatencyBudget::speech_to_speech();
    let breaches = budget.breaches(&account);
    record.turn(at, TurnNote { account: &account, budget: Some(&budget), breaches: &breaches });
}

/// Something a session may tell its record.
#[derive(Clone, Debug)]
enum Telling {
    Turn(u64),
    Second(u32, u32),
    Levels(u64, Vec<u8>, Vec<u8>),
    Mark(Lane, MarkKind),
    MarkEnded(Lane, MarkKind),
    Words(u8, Lane, u8, String),
    Event(u8),
    EventEnded(u64),
    Tokens(u8),
    Cost(i64),
    Answer,
    Serving(u8),
    End,
}

fn telling() -> impl Strategy<Value = Telling> {
    let lane = || prop_oneof![Just(Lane::Caller), Just(Lane::Agent)];
    let kind = || prop_oneof![Just(MarkKind::Speech), Just(MarkKind::Interruption)];
    let loudness = || prop::collection::vec(0..=255_u8, 0..14);
    prop_oneof![
        4 => (1..3_000_u64).prop_map(Telling::Turn),
        4 => (0..50_u32, 0..50_u32).prop_map(|(packets, lost)| Telling::Second(packets, lost)),
        4 => (0..12_000_u64, loudness(), loudness()).prop_map(|(from, one, other)| Telling::Levels(from, one, other)),
        3 => (lane(), kind()).prop_map(|(lane, kind)| Telling::Mark(lane, kind)),
        3 => (lane(), kind()).prop_map(|(lane, kind)| Telling::MarkEnded(lane, kind)),
        6 => (0..7_u8, lane(), 0..4_u8, "[a-zäß ]{0,25}").prop_map(|(item, who, what, text)| Telling::Words(item, who, what, text)),
        3 => any::<u8>().prop_map(Telling::Event),
        1 => (0..9_u64).prop_map(Telling::EventEnded),
        1 => any::<u8>().prop_map(Telling::Tokens),
        2 => (0..1_000_000_i64).prop_map(Telling::Cost),
        1 => Just(Telling::Answer),
        1 => any::<u8>().prop_map(Telling::Serving),
        1 => Just(Telling::End),
    ]
}

fn tell(record: &SessionRecord, at: Duration, turn: &mut u32, telling: &Telling) {
    match telling {
        Telling::Turn(model) => {
            *turn += 1;
            tell_turn(record, at, *turn, MS * *model as u32);
        }
        Telling::Second(packets, lost) => {
            let uplink = UplinkNote { packets: *packets, lost: Some(*lost), ..UplinkNote::default() };
            let note =
                NetworkNote { round_trip: Some(20 * MS), uplink: Some(uplink), ..NetworkNote::default() };
            record.network(at, note);
        }
        Telling::Levels(from, caller, agent) => record.levels(MS * *from as u32, caller, agent),
        Telling::Mark(lane, kind) => record.mark(at, *lane, *kind),
        Telling::MarkEnded(lane, kind) => record.mark_ended(at, *lane, *kind, Some(80 * MS)),
        Telling::Words(item, who, what, text) => {
            let change = match what {
                0 => WordsChange::Add(text),
                1 => WordsChange::Complete(text),
                2 => WordsChange::Cut(text),
                _ => WordsChange::Remove,
            };
            record.words(at, &format!("item_{item}"), *who, change);
        }
        Telling::Event(number) => {
            record.event(at, EventNote::info(EventKind::Error, "It happened.").with(json!({ "n": number })));
        }
        Telling::EventEnded(number) => record.event_ended(at, *number),
        Telling::Tokens(tokens) => {
            record.tokens(at, &TokenUsage { output_audio: u64::from(*tokens), ..TokenUsage::default() });
        }
        Telling::Cost(cost) => record.cost(at, NanoDollars::new(*cost)),
        Telling::Answer => record.answered(at),
        Telling::Serving(name) => {
            record.served_by(at, Serving { provider: format!("p{name}"), ..Serving::default() });
        }
        Telling::End => record.ended(at, Some(EndReason::HungUp)),
    }
}

/// What a page holds of a session: lists by key, and both levels.
#[derive(Default)]
struct Reader {
    revision: u64,
    session: Value,
    lists: BTreeMap<&'static str, BTreeMap<String, Value>>,
    levels: BTreeMap<u64, (u64, u64)>,
}

const KEYS: [(&str, &str); 5] = [
    ("turns", "turn"),
    ("network", "at_ms"),
    ("marks", "number"),
    ("transcript", "item"),
    ("events", "number"),
];

impl Reader {
    fn read(&mut self, record: &SessionRecord) {
        self.take(&serde_json::to_value(record.view_since(self.revision)).unwrap());
    }

    fn take(&mut self, view: &Value) {
        self.revision = view["revision"].as_u64().unwrap();
        self.session = view["session"].clone();
        for (list, key) in KEYS {
            for entry in view[list].as_array().unwrap() {
                assert!(entry["seq"].as_u64().unwrap() <= self.revision);
                self.lists.entry(list).or_default().insert(entry[key].to_string(), entry.clone());
            }
        }
        let levels = &view["levels"];
        let (from, every) = (levels["from_ms"].as_u64().unwrap(), levels["every_ms"].as_u64().unwrap());
        let lanes = (levels["caller"].as_array().unwrap(), levels["agent"].as_array().unwrap());
        for (index, (caller, agent)) in lanes.0.iter().zip(lanes.1).enumerate() {
            let value = (caller.as_u64().unwrap(), agent.as_u64().unwrap());
            let before = self.levels.insert(from + index as u64 * every, value);
            assert_eq!(before, None, "a level was told twice");
        }
    }

    /// Whether it holds all that a reader who begins now would get. It may hold more: what had to go since.
    fn holds(&self, record: &SessionRecord) {
        let mut fresh = Self::default();
        fresh.read(record);
        assert_eq!(fresh.session, self.session);
        for (list, entries) in &fresh.lists {
            for (key, entry) in entries {
                assert_eq!(self.lists[list].get(key), Some(entry), "{list} {key}");
            }
        }
        for (at, value) in &fresh.levels {
            assert_eq!(self.levels.get(at), Some(value), "{at}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn a_reader_that_merges_what_is_new_has_what_is_there(
        steps in prop::collection::vec((telling(), 0..400_u32, prop::bool::weighted(0.3)), 1..120),
    ) {
        let record = record(SMALL);
        record.keeps(RecordingView { words: true, voices: false });
        let (mut reader, mut at, mut turn) = (Reader::default(), Duration::ZERO, 0);
        for (telling, passed, reads) in &steps {
            at += MS * *passed + Duration::from_micros(1);
            let before = record.revision();
            tell(&record, at, &mut turn, telling);
            prop_assert!(record.revision() >= before);
            if *reads {
                reader.read(&record);
                reader.holds(&record);
            }
        }
        reader.read(&record);
        reader.holds(&record);
        let nothing = record.view_since(record.revision());
        prop_assert!(nothing.turns.is_empty() && nothing.network.is_empty() && nothing.marks.is_empty());
        prop_assert!(nothing.transcript.is_empty() && nothing.events.is_empty());
        prop_assert!(nothing.levels.caller.is_empty());
    }

    #[test]
    fn no_list_outgrows_its_bound(
        steps in prop::collection::vec((telling(), 0..400_u32), 1..200),
    ) {
        let record = record(SMALL);
        record.keeps(RecordingView { words: true, voices: false });
        let (mut at, mut turn) = (Duration::ZERO, 0);
        for (telling, passed) in &steps {
            at += MS * *passed;
            tell(&record, at, &mut turn, telling);
            let view = record.view_since(0);
            prop_assert!(view.turns.len() <= SMALL.turns && view.network.len() <= SMALL.network);
            prop_assert!(view.marks.len() <= SMALL.marks && view.events.len() <= SMALL.events);
            prop_assert!(view.levels.caller.len() <= SMALL.levels);
            prop_assert_eq!(view.levels.caller.len(), view.levels.agent.len());
            prop_assert!(view.levels.caller.iter().chain(&view.levels.agent).all(|level| *level <= 100));
            prop_assert!(view.transcript.len() <= SMALL.items);
            prop_assert!(view.transcript.iter().map(|words| words.text.len()).sum::<usize>() <= SMALL.words);
        }
    }

    #[test]
    fn quantiles_are_those_of_the_turns_that_are_kept(times in prop::collection::vec(1..5_000_u64, 1..30)) {
        let record = record(RecordLimits { turns: 12, ..SMALL });
        for (index, time) in times.iter().enumerate() {
            tell_turn(&record, MS * index as u32, index as u32 + 1, MS * *time as u32);
        }
        let mut kept: Vec<u64> = times.iter().rev().take(12).copied().collect();
        kept.sort_unstable();
        let rank = |percent: usize| kept[(kept.len() * percent).div_ceil(100) - 1] as f64;
        let summary = record.summary();
        prop_assert_eq!(summary.turns as usize, times.len());
        prop_assert!((summary.mouth_to_ear_p50_ms.unwrap() - rank(50)).abs() < 1e-9);
        prop_assert!((summary.mouth_to_ear_p95_ms.unwrap() - rank(95)).abs() < 1e-9);
    }
}

#[test]
fn a_turn_is_shown_with_its_hops_their_budgets_and_who_broke_them() {
    let record = record(RecordLimits::default());
    let region = Some("eu".to_owned());
    let provider = "p".to_owned();
    record.served_by(Duration::ZERO, Serving { provider, region, model: None, route: Some("m*".to_owned()) });
    tell_turn(&record, 5_320 * MS, 1, 1_300 * MS);
    let view = serde_json::to_value(record.view_since(0)).unwrap();
    let turn = &view["turns"][0];
    assert_eq!((&turn["at_ms"], &turn["mouth_to_ear_ms"]), (&json!(5_320.0), &json!(1_300.0)));
    assert_eq!(
        (&turn["provider"], &turn["region"], &turn["route"]),
        (&json!("p"), &json!("eu"), &json!("m*"))
    );
    assert_eq!((&turn["budget_ms"], &turn["hops"][0]["budget_ms"]), (&json!(1_200.0), &json!(500.0)));
    let breach = &turn["breaches"][0];
    assert_eq!(
        (&breach["subject"], &breach["spender"], &breach["owner"]),
        (&json!("whole"), &json!("model"), &json!("provider"))
    );
    let session = &view["session"];
    assert_eq!((&session["breaches"], &session["worst_hop"]), (&json!(1), &json!("model")));
    assert_eq!((&session["mos"], &session["loss_ratio"]), (&Value::Null, &Value::Null));
}

#[test]
fn what_is_spent_after_the_callers_last_word_is_the_next_turns() {
    let record = record(RecordLimits::default());
    let cost = |at, nano| record.cost(MS * at, NanoDollars::new(nano));
    let costs =
        || -> Vec<_> { record.view_since(0).turns.iter().map(|turn| turn.cost_nano_dollars).collect() };
    record.mark(100 * MS, Lane::Caller, MarkKind::Speech);
    record.mark_ended(900 * MS, Lane::Caller, MarkKind::Speech, None);
    tell_turn(&record, 900 * MS, 1, 500 * MS);
    assert_eq!(costs(), [None], "nobody counts");
    cost(1_500, 70);
    record.mark(2_000 * MS, Lane::Caller, MarkKind::Speech);
    cost(2_100, 80);
    record.mark_ended(2_200 * MS, Lane::Caller, MarkKind::Speech, None);
    cost(2_300, 85);
    tell_turn(&record, 2_200 * MS, 2, 500 * MS);
    cost(3_000, 100);
    assert_eq!(costs(), [Some(80), Some(20)]);
    assert_eq!(record.summary().cost_nano_dollars, Some(100));
}

#[test]
fn tokens_count_for_the_turn_that_is_answered() {
    let record = record(RecordLimits::default());
    let used = |at, input_text| record.tokens(MS * at, &TokenUsage { input_text, ..TokenUsage::default() });
    let tokens = || -> Vec<_> {
        record.view_since(0).turns.iter().map(|turn| turn.tokens.map(|tokens| tokens.input_text)).collect()
    };
    record.mark(100 * MS, Lane::Caller, MarkKind::Speech);
    record.mark_ended(900 * MS, Lane::Caller, MarkKind::Speech, None);
    used(1_000, 5);
    tell_turn(&record, 900 * MS, 1, 500 * MS);
    used(1_500, 7);
    assert_eq!(tokens(), [Some(12)]);
    record.mark(2_000 * MS, Lane::Caller, MarkKind::Speech);
    record.mark_ended(2_200 * MS, Lane::Caller, MarkKind::Speech, None);
    used(2_300, 11);
    tell_turn(&record, 2_200 * MS, 2, 500 * MS);
    tell_turn(&record, 3_200 * MS, 3, 500 * MS);
    assert_eq!(tokens(), [Some(12), Some(11), None]);
}

#[test]
fn what_happened_for_a_while_says_until_when() {
    let record = record(RecordLimits::default());
    let note = EventNote::info(EventKind::ToolCall, "The model calls a tool.").with(json!({ "tool": "t" }));
    let number = record.event(100 * MS, note);
    let revision = record.revision();
    record.event_ended(450 * MS, number);
    let event = &record.view_since(revision).events[0];
    assert_eq!((event.number, &event.detail), (number, &json!({ "tool": "t", "until_ms": 450.0 })));
}

#[test]
fn an_interruption_is_counted_marked_with_its_stop_time_and_shown_on_its_turn() {
    let record = record(RecordLimits::default());
    tell_turn(&record, 900 * MS, 1, 500 * MS);
    record.mark(2_000 * MS, Lane::Caller, MarkKind::Interruption);
    record.mark_ended(2_090 * MS, Lane::Caller, MarkKind::Interruption, Some(90 * MS));
    let view = record.view_since(0);
    assert!(view.turns[0].interrupted);
    assert_eq!((view.marks[0].until_ms, view.marks[0].stop_ms), (Some(2_090.0), Some(90.0)));
    assert_eq!(view.session.interruptions, 1);
}

#[test]
fn no_word_is_kept_before_it_may_be_nor_printed_by_debug() {
    let record = record(RecordLimits::default());
    record.words(MS, "item_1", Lane::Caller, WordsChange::Add("secret"));
    record.words(MS, "item_1", Lane::Caller, WordsChange::Complete("secret words"));
    assert!(record.view_since(0).transcript.is_empty());
    record.keeps(RecordingView { words: true, voices: false });
    record.words(2 * MS, "item_1", Lane::Caller, WordsChange::Complete("secret words"));
    let view = record.view_since(0);
    assert_eq!(view.transcript[0].text, "secret words");
    let printed = format!("{record:?} {view:?} {:?} {:?}", view.transcript, WordsChange::Add("secret"));
    assert!(!printed.contains("secret"), "{printed}");
}

#[test]
fn words_that_were_cut_do_not_grow_again_and_what_is_removed_is_empty() {
    let record = record(RecordLimits::default());
    record.keeps(RecordingView { words: true, voices: false });
    let say = |change| record.words(MS, "item_1", Lane::Agent, change);
    say(WordsChange::Add("one two "));
    say(WordsChange::Add("three four"));
    say(WordsChange::Cut("one two"));
    say(WordsChange::Add(" five"));
    say(WordsChange::Complete("one two three four five"));
    let words = &record.view_since(0).transcript[0];
    assert_eq!((words.text.as_str(), words.state), ("one two", WordsState::Cut));
    say(WordsChange::Remove);
    assert_eq!(record.view_since(0).transcript[0].text, "");
}

#[test]
fn the_worst_session_is_the_one_somebody_can_still_help() {
    let [fine, slow, over] = [(); 3].map(|()| record(RecordLimits::default()));
    for turn in 1..=12 {
        tell_turn(&fine, MS, turn, if turn == 1 { 1_300 * MS } else { 300 * MS });
        tell_turn(&slow, MS, turn, 1_300 * MS);
        tell_turn(&over, MS, turn, 2_000 * MS);
    }
    over.ended(10_000 * MS, Some(EndReason::ClientClosed));
    let mut worst = [&fine, &over, &slow];
    worst.sort_by_key(|record| std::cmp::Reverse(record.badness()));
    assert!(std::ptr::eq(worst[0], &raw const slow) && std::ptr::eq(worst[2], &raw const over));
    assert_eq!((fine.badness().recent_breaches, slow.badness().recent_breaches), (0, 10));
    assert_eq!((fine.summary().breaches, slow.summary().breaches), (1, 12));
}

#[test]
fn loss_of_both_directions_and_the_mean_rating_are_the_sessions() {
    let record = record(RecordLimits::default());
    let uplink = UplinkNote { packets: 49, lost: Some(1), recovered: Some(1), ..UplinkNote::default() };
    let downlink = DownlinkNote { packets: Some(47), lost: Some(3), ..DownlinkNote::default() };
    let round_trip = Some(30 * MS);
    record.network(
        1_000 * MS,
        NetworkNote { round_trip, uplink: Some(uplink), downlink: Some(downlink), pair: None },
    );
    record.network(2_000 * MS, NetworkNote { round_trip, uplink: Some(uplink), downlink: None, pair: None });
    let view = record.view_since(0);
    assert_eq!(view.session.loss_ratio, Some(5.0 / 150.0));
    let [one, other] = [0, 1].map(|second: usize| view.network[second].mos.unwrap());
    assert!(one < other && other > 4.3, "{one} {other}");
    let whole = view.session.mos.unwrap();
    assert!(one < whole && whole < other);
}

#[test]
fn sinks_hear_of_every_turn_and_once_of_the_end() {
    #[derive(Default)]
    struct Heard {
        began: AtomicU32,
        turns: AtomicU32,
        ended: AtomicU32,
    }
    impl SessionSink for Heard {
        fn began(&self, _record: &SessionRecord) {
            self.began.fetch_add(1, Ordering::Relaxed);
        }
        fn turn(&self, record: &SessionRecord, turn: u32) {
            assert_eq!(record.view_since(0).turns.last().unwrap().turn, turn, "it is in the record");
            self.turns.fetch_add(1, Ordering::Relaxed);
        }
        fn ended(&self, record: &SessionRecord) {
            assert_eq!(record.summary().state, SessionState::Ended);
            self.ended.fetch_add(1, Ordering::Relaxed);
        }
    }
    let heard = Arc::new(Heard::default());
    let sinks: Arc<[Arc<dyn SessionSink>]> = Arc::from([Arc::<Heard>::clone(&heard) as Arc<dyn SessionSink>]);
    let record = SessionRecord::new(facts(), SMALL, sinks);
    tell_turn(&record, MS, 1, MS);
    tell_turn(&record, MS, 2, MS);
    record.ended(5 * MS, Some(EndReason::Drained));
    record.ended(6 * MS, Some(EndReason::HungUp));
    let counted = [&heard.began, &heard.turns, &heard.ended].map(|count| count.load(Ordering::Relaxed));
    assert_eq!(counted, [1, 2, 1]);
    assert_eq!(record.summary().end_reason, Some(EndReason::Drained));
}
