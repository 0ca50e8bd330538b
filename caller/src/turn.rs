//! The gateway's account of a turn, as it comes on the data channel `voxgate`.

use serde::{Deserialize, Serialize};

/// One hop of a turn.
///
/// Names are kept as they come, so that an older caller shows what a newer gateway measures.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HopMeasured {
    /// Which; the names of [`voxgate_protocol::timeline::Hop`].
    pub hop: String,
    /// Who can make it shorter; the names of [`voxgate_protocol::timeline::HopOwner`].
    pub owner: String,
    /// `measured`, also where the gateway says nothing of it, or `estimated`.
    #[serde(default = "measured")]
    pub certainty: String,
    /// What the turn waited for it, in milliseconds.
    pub duration_ms: f64,
    /// Its work while another hop was waited for, in milliseconds. No part of the sum.
    #[serde(default)]
    pub overlapped_ms: f64,
}

fn measured() -> String {
    "measured".to_owned()
}

impl HopMeasured {
    /// Whether the duration was derived and not measured.
    #[must_use]
    pub fn is_estimated(&self) -> bool {
        self.certainty != "measured"
    }
}

/// The waterfall of one turn.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TurnMeasured {
    /// The number of the turn in its session, from 1.
    pub turn: u32,
    /// From the caller's last word to the caller's ear, as the gateway knows it, in milliseconds.
    pub mouth_to_ear_ms: f64,
    /// `measured` if the caller's own clock saw both ends, else `estimated`.
    #[serde(default)]
    pub certainty: String,
    /// How wrong `mouth_to_ear_ms` may be, in milliseconds; 0 if that is not known.
    #[serde(default)]
    pub error_ms: f64,
    /// The hops in order; they sum to `mouth_to_ear_ms`.
    pub hops: Vec<HopMeasured>,
}

/// A message on the channel `voxgate`, as far as a caller understands it.
#[derive(Debug, Deserialize)]
#[serde(tag = "type")]
pub(crate) enum GatewayMessage {
    #[serde(rename = "turn.measured")]
    TurnMeasured(TurnMeasured),
    /// What does the caller's clock show?
    #[serde(rename = "clock.ask")]
    ClockAsked { question: u32 },
    /// When was the last word captured, and when was the first sound played?
    #[serde(rename = "turn.ask")]
    TurnAsked(TurnAsked),
    /// The relay of the call is dead.
    #[serde(rename = "relay.lost")]
    RelayLost,
    /// The relay of the call is about to stop.
    #[serde(rename = "relay.draining")]
    RelayDraining,
    #[serde(other)]
    Unknown,
}

/// A question about one turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub(crate) struct TurnAsked {
    pub(crate) turn: u32,
    /// A question about the time that may be answered with it.
    pub(crate) question: Option<u32>,
    pub(crate) spoken: Option<SampleAsked>,
    pub(crate) heard: Option<SampleAsked>,
}

/// A sample and the packet it came with, by their RTP timestamps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub(crate) struct SampleAsked {
    pub(crate) packet: u32,
    pub(crate) sample: u32,
}

/// What a caller tells the gateway. Times are those of its clock, in milliseconds.
#[derive(Debug, Serialize)]
#[serde(tag = "type")]
pub(crate) enum CallerMessage {
    #[serde(rename = "client.report")]
    Report(ClientReport),
    #[serde(rename = "clock.answer")]
    Clock {
        #[serde(flatten)]
        clock: ClockAnswer,
        #[serde(skip_serializing_if = "Option::is_none")]
        report: Option<ClientReport>,
    },
    #[serde(rename = "client.turn")]
    Turn {
        #[serde(flatten)]
        seen: ClientTurn,
        #[serde(skip_serializing_if = "Option::is_none")]
        clock: Option<ClockAnswer>,
        #[serde(skip_serializing_if = "Option::is_none")]
        report: Option<ClientReport>,
    },
}

/// What the caller's clock showed when a question came and when the answer left.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct ClockAnswer {
    pub(crate) question: u32,
    pub(crate) received_ms: f64,
    pub(crate) replied_ms: f64,
}

/// What a caller saw of a turn; what it does not know is left out.
#[derive(Debug, Serialize)]
pub(crate) struct ClientTurn {
    pub(crate) turn: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) spoken_at_ms: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) sent_at_ms: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) received_at_ms: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) heard_at_ms: Option<f64>,
}

/// What a caller measured of its own side since the report before; what it does not know is left out.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct ClientReport {
    pub(crate) packets: u32,
    pub(crate) lost: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) round_trip_ms: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) jitter_buffer_ms: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) playout_ms: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) capture_ms: Option<f64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_measured_turn_is_understood_and_unknown_fields_and_hops_are_no_obstacle() {
        let text = r#"{"type":"turn.measured","turn":3,"mouth_to_ear_ms":812.4,"call":"rtc_1","hops":[
            {"hop":"teleport","owner":"provider","certainty":"estimated","duration_ms":812.4}]}"#;
        let GatewayMessage::TurnMeasured(turn) = serde_json::from_str(text).unwrap() else {
            panic!("not a turn")
        };
        assert_eq!(
            (turn.turn, turn.hops[0].hop.as_str(), turn.hops[0].is_estimated()),
            (3, "teleport", true)
        );
    }

    #[test]
    fn other_messages_are_left_alone() {
        let message = serde_json::from_str(r#"{"type":"turn.planned","turn":1}"#).unwrap();
        assert!(matches!(message, GatewayMessage::Unknown));
    }

    #[test]
    fn a_report_leaves_out_what_is_not_known() {
        let report = ClientReport {
            round_trip_ms: Some(1.5),
            jitter_buffer_ms: None,
            playout_ms: Some(0.0),
            capture_ms: None,
            packets: 50,
            lost: 0,
        };
        let text = serde_json::to_string(&CallerMessage::Report(report)).unwrap();
        let expected =
            r#"{"type":"client.report","packets":50,"lost":0,"round_trip_ms":1.5,"playout_ms":0.0}"#;
        assert_eq!(text, expected);
    }

    #[test]
    fn an_answer_brings_a_report_and_the_time_along() {
        let seen = ClientTurn {
            turn: 2,
            spoken_at_ms: None,
            sent_at_ms: None,
            received_at_ms: None,
            heard_at_ms: Some(5.0),
        };
        let clock = Some(ClockAnswer { question: 9, received_ms: 1.0, replied_ms: 4.0 });
        let text = serde_json::to_string(&CallerMessage::Turn { seen, clock, report: None }).unwrap();
        let expected = r#"{"type":"client.turn","turn":2,"heard_at_ms":5.0,"clock":{"question":9,"received_ms":1.0,"replied_ms":4.0}}"#;
        assert_eq!(text, expected);
        let clock = ClockAnswer { question: 1, received_ms: 1.0, replied_ms: 1.5 };
        let text = serde_json::to_string(&CallerMessage::Clock { clock, report: None }).unwrap();
        assert_eq!(text, r#"{"type":"clock.answer","question":1,"received_ms":1.0,"replied_ms":1.5}"#);
    }
}
