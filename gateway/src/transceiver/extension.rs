//! The data channel `voxgate`: what the Realtime API has no words for.
//!
//! A client that opens it gets the waterfall of each turn and may report what only it can measure. Stock clients
//! do not open it and never see an event they do not know.

use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value, json};
use voxgate_protocol::session::ClientReport;
use voxgate_protocol::timeline::Hop;
use voxgate_telemetry::latency::account::HopAccount;
use voxgate_telemetry::latency::budget::Breach;

use crate::dialogue::MeasuredTurn;

/// The label of the channel.
pub(super) const CHANNEL: &str = "voxgate";

/// A client that claims more than this about itself is wrong; its waterfall would be useless.
const LONGEST_REPORTED_MS: f64 = 10_000.0;

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

/// `turn.measured`: hops in their order, milliseconds with microsecond resolution, summing to the whole.
pub(super) fn turn_measured(turn: &MeasuredTurn) -> String {
    let account = &turn.account;
    let mut hops: Vec<Value> = account.hops.iter().map(hop).collect();
    if !account.unattributed.is_zero() {
        hops.push(json!({
            "hop": Hop::Unattributed.as_str(),
            "owner": Hop::Unattributed.owner(),
            "certainty": account.whole.certainty,
            "duration_ms": milliseconds(account.unattributed),
        }));
    }
    let durations = account.hops.iter().map(|hop| hop.duration).chain([account.unattributed]);
    let whole: u128 = durations.map(|duration| duration.as_micros()).sum();
    json!({
        "type": "turn.measured",
        "turn": account.turn,
        "mouth_to_ear_ms": whole as f64 / 1_000.0,
        "certainty": account.whole.certainty,
        "hops": hops,
        "breaches": turn.breaches.iter().map(breach).collect::<Vec<_>>(),
    })
    .to_string()
}

/// `overlapped_ms` and `ahead_ms` are work nobody waited for: beside another hop, and before the caller's last word. They
/// are no part of the sum.
fn hop(hop: &HopAccount) -> Value {
    let stretches: Vec<Value> = hop
        .stretches
        .iter()
        .map(|stretch| {
            json!({
                "start_ms": milliseconds(stretch.start),
                "duration_ms": milliseconds(stretch.duration),
                "overlapped": stretch.is_overlapped,
            })
        })
        .collect();
    json!({
        "hop": hop.hop.as_str(),
        "owner": hop.hop.owner(),
        "certainty": hop.certainty,
        "duration_ms": milliseconds(hop.duration),
        "overlapped_ms": milliseconds(hop.overlapped),
        "ahead_ms": milliseconds(hop.ahead),
        "error_ms": milliseconds(hop.error),
        "stretches": stretches,
    })
}

fn breach(breach: &Breach) -> Value {
    json!({
        "subject": breach.subject.as_str(),
        "spender": breach.spender.map(Hop::as_str),
        "owner": breach.owner(),
        "budget_ms": milliseconds(breach.budget),
        "spent_ms": milliseconds(breach.spent),
        "certain": breach.is_certain,
    })
}

fn milliseconds(duration: Duration) -> f64 {
    duration.as_micros() as f64 / 1_000.0
}

#[derive(Deserialize)]
struct Report {
    #[serde(rename = "type")]
    kind: String,
    round_trip_ms: Option<f64>,
    jitter_buffer_ms: Option<f64>,
    playout_ms: Option<f64>,
    capture_ms: Option<f64>,
}

/// Reads `client.report`; anything else, and any figure that cannot be, is left out.
pub(super) fn client_report(text: &str) -> Option<ClientReport> {
    let report: Report = serde_json::from_str(text).ok()?;
    if report.kind != "client.report" {
        return None;
    }
    let duration = |ms: Option<f64>| {
        ms.filter(|ms| (0.0..=LONGEST_REPORTED_MS).contains(ms))
            .map(|ms| Duration::from_secs_f64(ms / 1_000.0))
    };
    Some(ClientReport {
        round_trip: duration(report.round_trip_ms),
        jitter_buffer: duration(report.jitter_buffer_ms),
        playout: duration(report.playout_ms),
        capture: duration(report.capture_ms),
    })
}

#[cfg(test)]
mod tests {
    use voxgate_protocol::trace::{Moment, TurnTrace, Work};
    use voxgate_telemetry::latency::account::TurnAccount;
    use voxgate_telemetry::latency::budget::LatencyBudget;

    use super::*;

    #[test]
    fn a_report_with_impossible_figures_keeps_the_possible_ones() {
        let text =
            r#"{"type":"client.report","round_trip_ms":12.5,"jitter_buffer_ms":-1,"playout_ms":1e300}"#;
        let report = client_report(text).unwrap();
        assert_eq!(report.round_trip, Some(Duration::from_micros(12_500)));
        assert_eq!((report.jitter_buffer, report.playout, report.capture), (None, None, None));
    }

    #[test]
    fn anything_else_is_no_report() {
        for text in ["", "{}", "[1]", r#"{"type":"client.report","round_trip_ms":"x"}"#, r#"{"type":"x"}"#] {
            assert_eq!(client_report(text), None, "{text}");
        }
    }

    #[test]
    fn the_hops_on_the_wire_sum_to_the_whole_on_the_wire() {
        let at = |nanos| Moment::read(Duration::from_nanos(nanos));
        let work = |hop, from, to| Work { hop, from: at(from), to: at(to) };
        let works = vec![work(Hop::Jitter, 500, 2_499), work(Hop::Model, 2_499, 300_000_999)];
        let trace = TurnTrace { turn: 2, mouth: at(500), ear: at(310_000_999), works };
        let account = TurnAccount::from_trace(&trace).unwrap();
        let value: Value =
            serde_json::from_str(&turn_measured(&MeasuredTurn { account, breaches: Vec::new() })).unwrap();
        let hops = value["hops"].as_array().unwrap();
        let sum: f64 = hops.iter().map(|hop| hop["duration_ms"].as_f64().unwrap()).sum();
        assert!((sum - value["mouth_to_ear_ms"].as_f64().unwrap()).abs() < 1e-9);
        assert_eq!((&hops[1]["owner"], &hops[2]["hop"]), (&json!("provider"), &json!("unattributed")));
    }

    #[test]
    fn work_nobody_waited_for_and_what_took_too_long_are_on_the_wire() {
        let at = |ms| Moment::read(Duration::from_millis(ms));
        let work = |hop, from, to| Work { hop, from: at(from), to: at(to) };
        let works =
            vec![work(Hop::Endpointing, 100, 600), work(Hop::Stt, 0, 650), work(Hop::Model, 650, 1_500)];
        let account =
            TurnAccount::from_trace(&TurnTrace { turn: 1, mouth: at(100), ear: at(1_500), works }).unwrap();
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
