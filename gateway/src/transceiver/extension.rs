//! The data channel `voxgate`: what the Realtime API has no words for.
//!
//! A client that opens it gets the waterfall of each turn and may report what only it can measure. Stock clients
//! do not open it and never see an event they do not know.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::json;
use voxgate_protocol::session::{CandidatePair, ClientReport};
use voxgate_protocol::timeline::{Certainty, Hop, HopOwner};
use voxgate_protocol::trace::{AudioMark, ClientMoments};
use voxgate_telemetry::latency::account::{HopAccount, Stretch, TurnAccount};
use voxgate_telemetry::latency::budget::Breach;

use crate::dialogue::{ClientMessage, ClientQuestion, MeasuredTurn, TimeAnswer};

/// The label of the channel.
pub(super) const CHANNEL: &str = "voxgate";

/// A client that claims more than this about itself is wrong; its waterfall would be useless.
const LONGEST_REPORTED_MS: f64 = 10_000.0;

/// Packets in one report: ten seconds of the shortest packets there are. More is a counter that was not started anew.
const MOST_REPORTED_PACKETS: u32 = 4_000;

/// A client's clock may count from 1970, and not from 2100.
const LATEST_CLIENT_MS: f64 = 4.1e12;

/// What happened to the relay that carries a call. A page that is told restarts ICE and is given other relays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RelayNotice {
    /// It was not heard for too long.
    Lost,
    /// It is about to stop.
    Draining,
}

impl RelayNotice {
    /// The cause in metrics.
    pub(super) const fn cause(self) -> &'static str {
        match self {
            Self::Lost => "silent",
            Self::Draining => "draining",
        }
    }
}

/// `relay.lost` or `relay.draining`.
pub(super) const fn relay_notice(notice: RelayNotice) -> &'static str {
    match notice {
        RelayNotice::Lost => r#"{"type":"relay.lost"}"#,
        RelayNotice::Draining => r#"{"type":"relay.draining"}"#,
    }
}

/// How far a hop at work once may lie from where those before it end: rounding of each.
const ROUNDING: Duration = Duration::from_micros(20);

/// `turn.measured`: hops in their order, milliseconds with microsecond resolution, summing to the whole. Written without
/// a tree in between, and without what is as usual: it is the dearest part of measuring a turn, and one datagram is a third of
/// three.
pub(super) fn turn_measured(turn: &MeasuredTurn) -> String {
    let account = &turn.account;
    let durations = account.hops.iter().map(|hop| hop.duration).chain([account.unattributed]);
    let whole: u128 = durations.map(|duration| duration.as_micros()).sum();
    let unattributed = (!account.unattributed.is_zero()).then(|| HopMessage::unattributed(account));
    let mut ended = Duration::ZERO;
    let mut hops: Vec<_> = account.hops.iter().map(|hop| HopMessage::of(hop, &mut ended)).collect();
    hops.extend(unattributed);
    let message = TurnMessage {
        kind: "turn.measured",
        turn: account.turn,
        mouth_to_ear_ms: whole as f64 / 1_000.0,
        certainty: account.whole.certainty,
        error_ms: milliseconds(account.whole.error),
        hops,
        breaches: turn.breaches.iter().map(BreachMessage::of).collect(),
    };
    // Numbers and fixed names can always be written.
    serde_json::to_string(&message).unwrap_or_default()
}

#[derive(Serialize)]
struct TurnMessage {
    #[serde(rename = "type")]
    kind: &'static str,
    turn: u32,
    mouth_to_ear_ms: f64,
    certainty: Certainty,
    error_ms: f64,
    hops: Vec<HopMessage>,
    breaches: Vec<BreachMessage>,
}

#[derive(Serialize)]
struct HopMessage {
    hop: &'static str,
    owner: HopOwner,
    duration_ms: f64,
    /// Only of what is not measured.
    #[serde(skip_serializing_if = "is_measured")]
    certainty: Certainty,
    /// Work nobody waited for, beside another hop and before the caller's last word, is no part of the sum.
    #[serde(skip_serializing_if = "is_nothing")]
    overlapped_ms: f64,
    #[serde(skip_serializing_if = "is_nothing")]
    ahead_ms: f64,
    #[serde(skip_serializing_if = "is_nothing")]
    error_ms: f64,
    /// Not of a hop that was at work once, from where the hops before it end.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    stretches: Vec<StretchMessage>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "as serde calls it")]
const fn is_measured(certainty: &Certainty) -> bool {
    matches!(certainty, Certainty::Measured)
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "as serde calls it")]
fn is_nothing(ms: &f64) -> bool {
    *ms == 0.0
}

#[derive(Serialize)]
struct StretchMessage {
    start_ms: f64,
    duration_ms: f64,
    overlapped: bool,
}

#[derive(Serialize)]
struct BreachMessage {
    subject: &'static str,
    spender: Option<&'static str>,
    owner: Option<HopOwner>,
    budget_ms: f64,
    spent_ms: f64,
    certain: bool,
}

impl HopMessage {
    /// `ended`: where the hops before it end, and then where it does.
    fn of(hop: &HopAccount, ended: &mut Duration) -> Self {
        let follows = match hop.stretches.as_slice() {
            [] => true,
            [only] => !only.is_overlapped && only.start.abs_diff(*ended) <= ROUNDING,
            _ => false,
        };
        *ended += hop.duration;
        let stretches = if follows { &[] } else { hop.stretches.as_slice() };
        Self {
            hop: hop.hop.as_str(),
            owner: hop.hop.owner(),
            certainty: hop.certainty,
            duration_ms: milliseconds(hop.duration),
            overlapped_ms: milliseconds(hop.overlapped),
            ahead_ms: milliseconds(hop.ahead),
            error_ms: milliseconds(hop.error),
            stretches: stretches.iter().map(StretchMessage::of).collect(),
        }
    }

    fn unattributed(account: &TurnAccount) -> Self {
        Self {
            hop: Hop::Unattributed.as_str(),
            owner: Hop::Unattributed.owner(),
            certainty: account.whole.certainty,
            duration_ms: milliseconds(account.unattributed),
            overlapped_ms: 0.0,
            ahead_ms: 0.0,
            error_ms: 0.0,
            stretches: Vec::new(),
        }
    }
}

impl StretchMessage {
    fn of(stretch: &Stretch) -> Self {
        Self {
            start_ms: milliseconds(stretch.start),
            duration_ms: milliseconds(stretch.duration),
            overlapped: stretch.is_overlapped,
        }
    }
}

impl BreachMessage {
    fn of(breach: &Breach) -> Self {
        Self {
            subject: breach.subject.as_str(),
            spender: breach.spender.map(Hop::as_str),
            owner: breach.owner(),
            budget_ms: milliseconds(breach.budget),
            spent_ms: milliseconds(breach.spent),
            certain: breach.is_certain,
        }
    }
}

fn milliseconds(duration: Duration) -> f64 {
    duration.as_micros() as f64 / 1_000.0
}

/// `clock.ask` or `turn.ask`.
pub(super) fn client_question(question: &ClientQuestion) -> String {
    let mark = |mark: &Option<AudioMark>| {
        mark.map(|AudioMark { packet, sample }| json!({ "packet": packet, "sample": sample }))
    };
    match question {
        ClientQuestion::Time(number) => json!({ "type": "clock.ask", "question": number }),
        ClientQuestion::Turn { turn, time, spoken, heard } => {
            let (spoken, heard) = (mark(spoken), mark(heard));
            let mut asked = json!({ "type": "turn.ask", "turn": turn, "spoken": spoken, "heard": heard });
            if let Some(time) = time {
                asked["question"] = json!(time);
            }
            asked
        }
    }
    .to_string()
}

#[derive(Deserialize)]
#[serde(tag = "type")]
enum Message {
    #[serde(rename = "client.report")]
    Report(Report),
    #[serde(rename = "clock.answer")]
    Time {
        #[serde(flatten)]
        clock: ClockAnswer,
        report: Option<Report>,
    },
    #[serde(rename = "client.turn")]
    Turn(SeenTurn),
}

#[derive(Deserialize)]
struct ClockAnswer {
    question: u32,
    received_ms: f64,
    replied_ms: f64,
    unix_ms: Option<f64>,
}

#[derive(Deserialize)]
struct Report {
    round_trip_ms: Option<f64>,
    jitter_buffer_ms: Option<f64>,
    playout_ms: Option<f64>,
    capture_ms: Option<f64>,
    before_stamp_ms: Option<f64>,
    jitter_ms: Option<f64>,
    concealed_ms: Option<f64>,
    packets: Option<u32>,
    lost: Option<u32>,
    pair: Option<String>,
}

#[derive(Deserialize)]
struct SeenTurn {
    turn: u32,
    clock: Option<ClockAnswer>,
    report: Option<Report>,
    spoken_at_ms: Option<f64>,
    sent_at_ms: Option<f64>,
    received_at_ms: Option<f64>,
    heard_at_ms: Option<f64>,
    spoken_error_ms: Option<f64>,
    heard_error_ms: Option<f64>,
}

/// Reads what a client says of itself; `None` for anything else. A figure that cannot be is left out.
pub(crate) fn client_message(text: &str) -> Option<ClientMessage> {
    Some(match serde_json::from_str(text).ok()? {
        Message::Report(report) => figures(&report).into(),
        Message::Time { clock, report } => {
            ClientMessage { time: Some(time(&clock)?), report: report.as_ref().map(figures), turn: None }
        }
        Message::Turn(seen) => ClientMessage {
            time: seen.clock.as_ref().and_then(time),
            report: seen.report.as_ref().map(figures),
            turn: Some((seen.turn, moments(&seen))),
        },
    })
}

fn time(clock: &ClockAnswer) -> Option<(u32, TimeAnswer)> {
    let (received, replied) = (moment(clock.received_ms)?, moment(clock.replied_ms)?);
    Some((clock.question, TimeAnswer { received, replied, unix: clock.unix_ms.and_then(moment) }))
}

fn moments(seen: &SeenTurn) -> ClientMoments {
    ClientMoments {
        spoken: seen.spoken_at_ms.and_then(moment),
        sent: seen.sent_at_ms.and_then(moment),
        received: seen.received_at_ms.and_then(moment),
        heard: seen.heard_at_ms.and_then(moment),
        spoken_error: duration(seen.spoken_error_ms).unwrap_or_default(),
        heard_error: duration(seen.heard_error_ms).unwrap_or_default(),
    }
}

fn moment(ms: f64) -> Option<Duration> {
    (0.0..=LATEST_CLIENT_MS).contains(&ms).then(|| Duration::from_secs_f64(ms / 1_000.0))
}

fn duration(ms: Option<f64>) -> Option<Duration> {
    ms.filter(|ms| (0.0..=LONGEST_REPORTED_MS).contains(ms)).map(|ms| Duration::from_secs_f64(ms / 1_000.0))
}

/// Reads a report that did not come on the channel: one that is nothing else besides.
pub(crate) fn client_report(text: &str) -> Option<ClientReport> {
    match client_message(text)? {
        ClientMessage { report, time: None, turn: None } => report,
        ClientMessage { .. } => None,
    }
}

fn figures(report: &Report) -> ClientReport {
    let packets = |count: Option<u32>| count.filter(|count| *count <= MOST_REPORTED_PACKETS);
    ClientReport {
        round_trip: duration(report.round_trip_ms),
        jitter_buffer: duration(report.jitter_buffer_ms),
        playout: duration(report.playout_ms),
        capture: duration(report.capture_ms),
        before_stamp: duration(report.before_stamp_ms),
        jitter: duration(report.jitter_ms),
        concealed: duration(report.concealed_ms),
        packets: packets(report.packets),
        lost: packets(report.lost),
        pair: report.pair.as_deref().and_then(CandidatePair::parse),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;
    use voxgate_protocol::trace::{Moment, TurnTrace, Work};
    use voxgate_telemetry::latency::budget::LatencyBudget;

    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn a_report_with_impossible_figures_keeps_the_possible_ones() {
        let text =
            r#"{"type":"client.report","round_trip_ms":12.5,"jitter_buffer_ms":-1,"playout_ms":1e300}"#;
        let Some(report) = client_message(text).unwrap().report else { panic!("no report") };
        assert_eq!(report.round_trip, Some(Duration::from_micros(12_500)));
        assert_eq!((report.jitter_buffer, report.playout, report.capture), (None, None, None));
    }

    #[test]
    fn what_a_client_says_of_its_packets_its_clock_and_its_turns_is_read_within_limits() {
        let text = r#"{"type":"client.report","packets":48,"lost":4001,"concealed_ms":20,"jitter_ms":1.5,
            "pair":"tcp/srflx","before_stamp_ms":0,"is_new":true}"#;
        let Some(report) = client_message(text).unwrap().report else { panic!("no report") };
        assert_eq!((report.capture, report.before_stamp), (None, Some(Duration::ZERO)));
        assert_eq!((report.packets, report.lost), (Some(48), None));
        assert_eq!((report.concealed, report.jitter), (Some(20 * MS), Some(Duration::from_micros(1_500))));
        assert_eq!(report.pair.map(CandidatePair::as_str), Some("tcp/srflx"));
        let time = |received: f64| {
            json!({ "type": "clock.answer", "question": 3, "received_ms": received, "replied_ms": 8,
                "unix_ms": 1_700_000_000_500.0 })
            .to_string()
        };
        let unix = Some(Duration::from_millis(1_700_000_000_500));
        let answer = TimeAnswer { received: 7 * MS, replied: 8 * MS, unix };
        let answer = ClientMessage { time: Some((3, answer)), ..ClientMessage::default() };
        assert_eq!(client_message(&time(7.0)), Some(answer));
        assert_eq!((client_message(&time(-1.0)), client_message(&time(1e18))), (None, None));
        let text = r#"{"type":"client.turn","turn":2,"heard_at_ms":5,"spoken_at_ms":-1,"heard_error_ms":1}"#;
        let Some((2, moments)) = client_message(text).unwrap().turn else { panic!("no turn") };
        assert_eq!((moments.heard, moments.spoken, moments.heard_error), (Some(5 * MS), None, MS));
    }

    #[test]
    fn an_answer_may_bring_a_report_and_the_time_along() {
        let text = r#"{"type":"client.turn","turn":2,"heard_at_ms":5,"report":{"packets":48},
            "clock":{"question":9,"received_ms":1,"replied_ms":4}}"#;
        let message = client_message(text).unwrap();
        let answer = TimeAnswer { received: MS, replied: 4 * MS, unix: None };
        assert_eq!((message.time, message.report.unwrap().packets), (Some((9, answer)), Some(48)));
        assert_eq!(message.turn.unwrap().1.heard, Some(5 * MS));
        let text =
            r#"{"type":"clock.answer","question":1,"received_ms":1,"replied_ms":1,"report":{"lost":3}}"#;
        let message = client_message(text).unwrap();
        assert_eq!((message.report.unwrap().lost, message.turn), (Some(3), None));
        assert_eq!((client_report(text), client_message(text).unwrap().time.is_some()), (None, true));
        let text =
            r#"{"type":"client.turn","turn":2,"clock":{"question":9,"received_ms":-1,"replied_ms":4}}"#;
        let message = client_message(text).unwrap();
        assert_eq!((message.time, message.turn.unwrap().0), (None, 2), "a time that cannot be is left out");
    }

    #[test]
    fn what_a_client_is_asked_has_the_numbers_it_needs() {
        let value = |question| -> Value { serde_json::from_str(&client_question(&question)).unwrap() };
        assert_eq!(value(ClientQuestion::Time(4)), json!({ "type": "clock.ask", "question": 4 }));
        let heard = Some(AudioMark { packet: u32::MAX, sample: 311 });
        let mut asked = json!({ "type": "turn.ask", "turn": 2, "spoken": null,
            "heard": { "packet": u32::MAX, "sample": 311 } });
        assert_eq!(value(ClientQuestion::Turn { turn: 2, time: None, spoken: None, heard }), asked);
        asked["question"] = json!(8);
        assert_eq!(value(ClientQuestion::Turn { turn: 2, time: Some(8), spoken: None, heard }), asked);
    }

    #[test]
    fn the_corpus_of_channel_messages_is_understood_or_left_alone() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus/client-channel");
        let mut read = 0;
        for file in std::fs::read_dir(folder).unwrap() {
            let path = file.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            let data = std::fs::read(&path).unwrap();
            let understood = crate::fuzz::client_channel(&data);
            // What a fuzzer finds is named by its digest and promises nothing.
            if name.starts_with("valid-") {
                assert_eq!(understood, data.split(|byte| *byte == b'\n').count() - 1, "{name}");
            } else if name.starts_with("hostile-") {
                assert_eq!(understood, 0, "{name}");
            }
            read += 1;
        }
        assert!(read >= 12, "the corpus has only {read} seeds");
    }

    #[test]
    fn anything_else_is_no_report() {
        for text in ["", "{}", "[1]", r#"{"type":"client.report","round_trip_ms":"x"}"#, r#"{"type":"x"}"#] {
            assert_eq!(client_message(text), None, "{text}");
        }
    }

    #[test]
    fn the_hops_on_the_wire_sum_to_the_whole_on_the_wire() {
        let at = |nanos| Moment::read(Duration::from_nanos(nanos));
        let work = |hop, from, to| Work { hop, from: at(from), to: at(to) };
        let works = vec![work(Hop::Jitter, 500, 2_499), work(Hop::Model, 2_499, 300_000_999)];
        let trace = TurnTrace::new(2, at(500), at(310_000_999), works);
        let account = TurnAccount::from_trace(&trace).unwrap();
        let value: Value =
            serde_json::from_str(&turn_measured(&MeasuredTurn { account, breaches: Vec::new() })).unwrap();
        let hops = value["hops"].as_array().unwrap();
        let sum: f64 = hops.iter().map(|hop| hop["duration_ms"].as_f64().unwrap()).sum();
        assert!((sum - value["mouth_to_ear_ms"].as_f64().unwrap()).abs() < 1e-9);
        assert_eq!((&hops[1]["owner"], &hops[2]["hop"]), (&json!("provider"), &json!("unattributed")));
    }

    #[test]
    fn a_turn_with_every_hop_in_a_row_fits_into_one_datagram_and_says_only_what_is_unusual() {
        let at = |index: usize| Duration::from_micros(87_654 * index as u64);
        let hops = [
            Hop::Capture,
            Hop::Uplink,
            Hop::RelayIn,
            Hop::Jitter,
            Hop::Decode,
            Hop::Endpointing,
            Hop::Stt,
            Hop::Policy,
            Hop::Model,
            Hop::Aggregation,
            Hop::Tts,
            Hop::Encode,
            Hop::RelayOut,
            Hop::Downlink,
            Hop::Playout,
        ];
        let works = hops.iter().enumerate().map(|(index, hop)| {
            let is_between_clocks = matches!(hop, Hop::Uplink | Hop::Downlink);
            let to = Moment::read(at(index + 1));
            let from = Moment::read(at(index));
            let derived = Moment::derived(at(index), Duration::from_micros(612));
            Work { hop: *hop, from: if is_between_clocks { derived } else { from }, to }
        });
        let trace = TurnTrace::new(3, Moment::read(at(0)), Moment::read(at(hops.len())), works.collect());
        let account = TurnAccount::from_trace(&trace).unwrap();
        let text = turn_measured(&MeasuredTurn { account, breaches: Vec::new() });
        // What SCTP puts into one datagram.
        assert!(text.len() <= 1_150, "{} bytes: {text}", text.len());
        let value: Value = serde_json::from_str(&text).unwrap();
        let usual = json!({ "hop": "capture", "owner": "client", "duration_ms": 87.654 });
        assert_eq!(value["hops"][0], usual);
        let between = json!({ "hop": "uplink", "owner": "network", "duration_ms": 87.654,
            "certainty": "estimated", "error_ms": 0.612 });
        assert_eq!(value["hops"][1], between);
    }

    #[test]
    fn work_nobody_waited_for_and_what_took_too_long_are_on_the_wire() {
        let at = |ms| Moment::read(Duration::from_millis(ms));
        let work = |hop, from, to| Work { hop, from: at(from), to: at(to) };
        let works =
            vec![work(Hop::Endpointing, 100, 600), work(Hop::Stt, 0, 650), work(Hop::Model, 650, 1_500)];
        let account = TurnAccount::from_trace(&TurnTrace::new(1, at(100), at(1_500), works)).unwrap();
        let breaches = LatencyBudget::speech_to_speech().breaches(&account);
        let value: Value = serde_json::from_str(&turn_measured(&MeasuredTurn { account, breaches })).unwrap();
        let stt = &value["hops"][1];
        assert_eq!((&stt["duration_ms"], &stt["overlapped_ms"]), (&json!(50.0), &json!(500.0)));
        assert_eq!(stt["ahead_ms"], 100.0);
        assert_eq!(stt["stretches"][0], json!({ "start_ms": 0.0, "duration_ms": 500.0, "overlapped": true }));
        let whole = &value["breaches"][0];
        assert_eq!((&whole["subject"], &whole["spender"]), (&json!("whole"), &json!("model")));
        assert_eq!((&whole["owner"], &whole["certain"]), (&json!("provider"), &json!(true)));
    }
}
