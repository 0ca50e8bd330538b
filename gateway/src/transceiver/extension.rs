//! The data channel `voxgate`: what the Realtime API has no words for.
//!
//! A client that opens it gets the waterfall of each turn and may report what only it can measure. Stock clients
//! do not open it and never see an event they do not know.

use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value, json};
use voxgate_protocol::session::ClientReport;
use voxgate_protocol::timeline::TurnTimeline;

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

/// `turn.measured`: hops in their order in time, milliseconds with microsecond resolution, summing to the whole.
pub(super) fn turn_measured(timeline: &TurnTimeline) -> String {
    let hops: Vec<Value> = timeline
        .hops
        .iter()
        .map(|hop| {
            json!({
                "hop": hop.hop.as_str(),
                "owner": hop.hop.owner(),
                "certainty": hop.certainty,
                "duration_ms": milliseconds(hop.duration),
            })
        })
        .collect();
    let whole: u128 = timeline.hops.iter().map(|hop| hop.duration.as_micros()).sum();
    json!({
        "type": "turn.measured",
        "turn": timeline.turn,
        "mouth_to_ear_ms": whole as f64 / 1_000.0,
        "hops": hops,
    })
    .to_string()
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
    use voxgate_protocol::timeline::{Certainty, Hop, HopTime};

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
        let hop = |hop, nanos| HopTime {
            hop,
            duration: Duration::from_nanos(nanos),
            certainty: Certainty::Measured,
        };
        let timeline =
            TurnTimeline { turn: 2, hops: vec![hop(Hop::Jitter, 1_999), hop(Hop::Model, 300_000_999)] };
        let value: Value = serde_json::from_str(&turn_measured(&timeline)).unwrap();
        let sum: f64 =
            value["hops"].as_array().unwrap().iter().map(|hop| hop["duration_ms"].as_f64().unwrap()).sum();
        assert!((sum - value["mouth_to_ear_ms"].as_f64().unwrap()).abs() < 1e-9);
        assert_eq!(value["hops"][1]["owner"], "provider");
    }
}
