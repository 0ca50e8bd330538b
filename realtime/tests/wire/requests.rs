//! The HTTP bodies.

use std::time::Duration;

use serde_json::json;
use voxgate_protocol::settings::TurnDetection;
use voxgate_realtime::request::{
    client_secret_request, client_secret_response, default_settings, session_config, session_object,
};

use crate::harness::validator;

#[test]
fn an_empty_body_asks_for_the_defaults() {
    for body in [&b""[..], b" \n", b"{}"] {
        let request = client_secret_request(body).unwrap();
        assert_eq!(request.expires_after, Duration::from_secs(600));
        assert!(request.session.is_none());
        assert!(matches!(request.settings.input.turn_detection, Some(TurnDetection::ServerVad(_))));
    }
}

#[test]
fn a_secret_lives_between_ten_seconds_and_two_hours() {
    let asked = |seconds: u64| {
        let body = json!({"expires_after": {"anchor": "created_at", "seconds": seconds}}).to_string();
        client_secret_request(body.as_bytes())
    };
    assert_eq!(asked(10).unwrap().expires_after, Duration::from_secs(10));
    assert_eq!(asked(7_200).unwrap().expires_after, Duration::from_secs(7_200));
    for seconds in [0, 9, 7_201] {
        assert_eq!(asked(seconds).unwrap_err().param.as_deref(), Some("expires_after.seconds"));
    }
}

#[test]
fn the_session_of_a_request_is_read_and_kept() {
    let session = json!({"type": "realtime", "model": "voice-1", "audio": {"output": {"voice": "marin"}}});
    let body = json!({"session": session}).to_string();
    let request = client_secret_request(body.as_bytes()).unwrap();
    assert_eq!(request.settings.model, "voice-1");
    assert_eq!(request.settings.voice.as_deref(), Some("marin"));
    assert_eq!(request.session, Some(session));
    assert!(!format!("{request:?}").contains("marin"));
}

#[test]
fn wrong_bodies_are_refused_with_a_reason() {
    let cases: [(&[u8], &str); 6] = [
        (b"{", "invalid_json"),
        (b"\xff\xfe", "invalid_json"),
        (b"[]", "invalid_type"),
        (b"{\"sessions\":{}}", "unknown_parameter"),
        (b"{\"session\":{\"type\":\"dictation\"}}", "invalid_value"),
        (b"{\"session\":{\"audio\":{\"input\":{\"format\":{\"type\":\"audio/pcmu\"}}}}}", "invalid_value"),
    ];
    for (body, code) in cases {
        let refusal = client_secret_request(body).unwrap_err();
        assert_eq!(refusal.code.as_deref(), Some(code));
        assert_eq!(refusal.status, 400);
    }
    let long = vec![b' '; 300_000];
    assert_eq!(session_config(&long).unwrap_err().status, 413);
}

#[test]
fn answers_have_the_shape_of_the_sdk() {
    let mut settings = default_settings();
    settings.model = "voice-1".to_owned();
    let response = client_secret_response("ek_abc", 1_800_000_000, &settings, "sess_1", None);
    assert!(validator(include_str!("../../specs/client-secret-response.schema.json")).is_valid(&response));
    assert_eq!(response["session"]["expires_at"], 0);
    let session = session_object(&settings, "sess_1", 5);
    assert!(validator(include_str!("../../specs/session.schema.json")).is_valid(&session));
}

#[test]
fn what_is_shown_can_be_sent_back() {
    let mut settings = default_settings();
    settings.voice = Some("marin".to_owned());
    let shown = session_object(&settings, "sess_1", 5).to_string();
    assert_eq!(session_config(shown.as_bytes()).unwrap(), settings_with_defaults(settings));
}

/// Shown defaults are explicit when read back.
fn settings_with_defaults(
    mut settings: voxgate_protocol::settings::SessionSettings,
) -> voxgate_protocol::settings::SessionSettings {
    settings.speed_percent = Some(100);
    settings.vendor.insert("truncation".to_owned(), json!("auto"));
    settings
}
