use serde_json::json;

use super::*;
use crate::turn::HopMeasured;

fn hop(hop: &str, owner: &str, certainty: &str, duration_ms: f64) -> HopMeasured {
    HopMeasured {
        hop: hop.into(),
        owner: owner.into(),
        certainty: certainty.into(),
        duration_ms,
        overlapped_ms: 0.0,
    }
}

fn turn(mouth_to_ear_ms: f64, hops: Vec<HopMeasured>) -> TurnMeasured {
    let certainty = "estimated".to_owned();
    TurnMeasured { turn: 3, mouth_to_ear_ms, certainty, error_ms: 0.0, hops }
}

#[test]
fn a_waterfall_shows_every_hop_where_it_happened_and_sums_up() {
    let turn = turn(
        812.4,
        vec![
            hop("capture", "client", "estimated", 10.0),
            hop("uplink", "network", "estimated", 2.4),
            hop("endpointing", "setting", "measured", 500.0),
            hop("model", "provider", "measured", 280.0),
            hop("encode", "gateway", "measured", 0.2),
            hop("downlink", "network", "estimated", 2.4),
            hop("playout", "client", "estimated", 17.4),
        ],
    );
    let expected = "\
Turn 3: 812.4 ms from mouth to ear
  capture       client        10.0 ms ~ ▏
  uplink        network        2.4 ms ~ █
  endpointing   setting      500.0 ms    ████████████████████████
  model         provider     280.0 ms                            ██████████████
  encode        gateway        0.2 ms                                          ▏
  downlink      network        2.4 ms ~                                        ▏
  playout       client        17.4 ms ~                                        █
  sum                        812.4 ms
                client        27.4 ms   3 %
                network        4.8 ms   1 %
                setting      500.0 ms   62 %
                provider     280.0 ms   34 %
                gateway        0.2 ms   0 %
  heard here                 815.1 ms   (+2.7 ms against the gateway's)
";
    let shown = waterfall(&turn, Some(Duration::from_micros(815_100)));
    assert_eq!(shown, expected, "\n{shown}");
}

#[test]
fn durations_that_are_none_and_control_characters_do_no_harm() {
    let turn =
        turn(0.0, vec![hop("mo\u{1b}[2Jdel", "provider", "measured", f64::NAN), hop("x", "y", "", -5.0)]);
    let shown = waterfall(&turn, None);
    assert!(!shown.contains('\u{1b}'), "{shown}");
    assert!(shown.contains("  sum                          0.0 ms\n"), "{shown}");
}

#[test]
fn both_sides_of_the_conversation_have_a_line() {
    let you =
        json!({"type": "conversation.item.input_audio_transcription.completed", "transcript": " Hello?\n"});
    assert_eq!(transcript_line(&you).unwrap(), "You:   Hello?");
    let agent = json!({"type": "response.output_audio_transcript.done", "transcript": "Good\nmorning."});
    assert_eq!(transcript_line(&agent).unwrap(), "Agent: Good morning.");
    let text = json!({"type": "response.output_text.done", "text": "Read me."});
    assert_eq!(transcript_line(&text).unwrap(), "Agent: Read me.");
}

#[test]
fn other_events_and_empty_transcripts_have_none() {
    assert_eq!(transcript_line(&json!({"type": "response.done"})), None);
    assert_eq!(
        transcript_line(&json!({"type": "response.output_audio_transcript.done", "transcript": " "})),
        None
    );
    assert_eq!(transcript_line(&json!([1])), None);
}

#[test]
fn work_beside_another_hop_is_named_and_left_out_of_the_sums() {
    let mut stt = hop("stt", "provider", "measured", 50.0);
    stt.overlapped_ms = 400.04;
    let shown = waterfall(&turn(550.0, vec![hop("endpointing", "setting", "measured", 500.0), stt]), None);
    assert!(
        shown.lines().any(|line| line.contains("stt") && line.ends_with(" +400.0 ms beside others")),
        "{shown}"
    );
    assert!(shown.lines().any(|line| line.contains("sum") && line.contains("550.0 ms")), "{shown}");
}
