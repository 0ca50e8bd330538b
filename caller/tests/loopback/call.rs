//! The library: one call.

use std::time::{Duration, Instant};

use crate::gateway::{ANSWER_TONE_HZ, API_KEY, Behaviour, CALL_ID, Gateway, LOSE_RELAY};
use serde_json::json;
use voxgate_caller::{Call, CallError, CallNotice, CallOptions, Speech, Step};

const LIMIT: Duration = Duration::from_secs(30);

fn options(gateway: &Gateway) -> CallOptions {
    CallOptions { timeout: LIMIT, ..CallOptions::new(gateway.base_url.as_str(), API_KEY) }
}

/// A 300 Hz tone, so that the answer's 500 Hz cannot be mistaken for it.
fn question() -> Speech {
    let step = std::f64::consts::TAU * 300.0 / 48_000.0;
    Speech::from_samples(
        (0..24_000).map(|index| ((step * f64::from(index)).sin() * 8_000.0) as i16).collect(),
    )
}

fn cycles_per_second(samples: &[i16]) -> f64 {
    let rising = samples.windows(2).filter(|pair| pair[0] < 0 && pair[1] >= 0).count();
    rising as f64 * 24_000.0 / samples.len() as f64
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_question_is_heard_and_its_answer_comes_back_after_it() {
    let gateway = Gateway::start(Behaviour::Answer).await;
    let mut call =
        Call::connect(CallOptions { model: Some("voice-1".into()), ..options(&gateway) }).await.unwrap();
    assert_eq!(call.id(), Some(CALL_ID));
    call.wait_for("session.created", LIMIT).await.unwrap();
    let spoken = call.play(question()).await.unwrap();
    call.wait_for("output_audio_buffer.stopped", LIMIT).await.unwrap();
    let notice = tokio::time::timeout(LIMIT, call.next()).await.unwrap();
    let Some(CallNotice::Turn(turn)) = notice else { panic!("no measured turn but {notice:?}") };
    assert_eq!((turn.turn, turn.hops.len()), (1, 3));

    let answer_at =
        tokio::time::timeout(LIMIT, call.heard().wait_for_onset(spoken.started_at)).await.unwrap();
    let mouth_to_ear = answer_at - spoken.last_word_at.unwrap();
    assert!(
        mouth_to_ear >= Duration::from_millis(180),
        "the stand-in waits for 200 ms of silence: {mouth_to_ear:?}"
    );
    let recording = call.heard().recording();
    assert_eq!(recording.lost + recording.late + recording.undecodable, 0);
    let samples = recording.to_pcm().samples;
    let pitch = cycles_per_second(&samples[samples.len() / 4..samples.len() * 3 / 4]);
    assert!((pitch - ANSWER_TONE_HZ).abs() < 15.0, "{pitch}");

    let timings = call.timings();
    for step in Step::ALL {
        assert!(timings.at(step).is_some(), "{step:?}");
    }
    call.hang_up().await.unwrap();
    let seen = gateway.seen.lock().unwrap();
    assert_eq!(seen.hang_ups, [CALL_ID]);
    assert_eq!(seen.sessions, [json!({"type": "realtime", "model": "voice-1"})]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_whose_relay_is_lost_is_moved_and_goes_on() {
    let gateway = Gateway::start(Behaviour::Answer).await;
    let mut call = Call::connect(options(&gateway)).await.unwrap();
    call.wait_for("session.created", LIMIT).await.unwrap();
    call.send_event(&json!({"type": LOSE_RELAY})).await.unwrap();
    let moved = async {
        while gateway.seen.lock().unwrap().restarts.len() < 2 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(LIMIT, moved).await.unwrap();
    call.play(question()).await.unwrap();
    call.wait_for("output_audio_buffer.stopped", LIMIT).await.unwrap();
    let ufrag =
        |offer: &String| offer.lines().find(|line| line.starts_with("a=ice-ufrag:")).map(str::to_owned);
    let seen = gateway.seen.lock().unwrap();
    assert_eq!(seen.restarts.len(), 2, "the gateway was busy first");
    assert_ne!(ufrag(&seen.restarts[0]), ufrag(&seen.restarts[1]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_of_its_own_goes_out_with_the_offer_and_client_events_arrive() {
    let gateway = Gateway::start(Behaviour::Mute).await;
    let session = json!({"type": "realtime", "instructions": "Be brief."});
    let model = Some("voice-1".into());
    let mut call =
        Call::connect(CallOptions { session: Some(session), model, ..options(&gateway) }).await.unwrap();
    call.wait_for("session.created", LIMIT).await.unwrap();
    call.send_event(&json!({"type": "response.cancel"})).await.unwrap();
    assert!(call.timings().at(Step::SecretReceived).is_none());
    let arrived = async {
        loop {
            if let Some(event) = gateway.seen.lock().unwrap().client_events.pop() {
                return event;
            }
            tokio::task::yield_now().await;
        }
    };
    let event = tokio::time::timeout(LIMIT, arrived).await.unwrap();
    assert_eq!(event, json!({"type": "response.cancel"}));
    let sent = json!({"type": "realtime", "instructions": "Be brief.", "model": "voice-1"});
    assert_eq!(gateway.seen.lock().unwrap().sessions, [sent]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_echo_comes_back_whole_while_the_caller_reports_its_side() {
    let gateway = Gateway::start(Behaviour::Echo).await;
    let call = Call::connect(options(&gateway)).await.unwrap();
    let playing = (call.play(question()), call.play(question()));
    let (first, second) = (playing.0.await.unwrap(), playing.1.await.unwrap());
    assert_eq!(first.finished_at, second.started_at);
    let heard = call.heard();
    tokio::time::timeout(LIMIT, heard.wait_for_onset(first.started_at)).await.unwrap();
    let reported = async {
        loop {
            if let Some(report) =
                gateway.seen.lock().unwrap().reports.iter().find(|report| report["jitter_buffer_ms"].is_f64())
            {
                return report.clone();
            }
            tokio::task::yield_now().await;
        }
    };
    let report = tokio::time::timeout(LIMIT, reported).await.unwrap();
    assert_eq!(report["type"], "client.report");
    assert_eq!(report["capture_ms"], 0.0, "there is no device in front of a headless caller");
    assert!(report["jitter_buffer_ms"].as_f64().unwrap() >= 0.0, "{report}");
    assert!(report["round_trip_ms"].as_f64().is_none_or(|ms| ms > 0.0), "{report}");
    let recording = heard.recording();
    let audible = recording.frames().iter().filter(|frame| frame.audible.is_some()).count();
    assert!((49..=56).contains(&audible), "1 s of tone in frames of 20 ms: {audible}");
    call.hang_up().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn silenced_speech_ends_with_nothing() {
    let gateway = Gateway::start(Behaviour::Mute).await;
    let call = Call::connect(options(&gateway)).await.unwrap();
    let playing = call.play(Speech::from_samples(vec![5_000; 48_000 * 60]));
    let waiting = call.play(question());
    call.fall_silent();
    assert_eq!((playing.await, waiting.await), (None, None));
}

#[tokio::test]
async fn a_refused_key_comes_with_the_words_of_the_api() {
    let gateway = Gateway::start(Behaviour::Mute).await;
    let refused = Call::connect(CallOptions::new(gateway.base_url.as_str(), "sk-wrong")).await.unwrap_err();
    assert!(matches!(refused, CallError::KeyRefused { status: 401, .. }), "{refused}");
    assert!(refused.to_string().contains("Incorrect API key provided"), "{refused}");
    assert_eq!(refused.exit_status(), 4);
}

#[tokio::test]
async fn a_gateway_that_is_not_there_is_said_to_be_unreachable() {
    let unused = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base_url = format!("http://{}/v1", unused.local_addr().unwrap());
    drop(unused);
    let error = Call::connect(CallOptions::new(base_url.as_str(), "sk-test")).await.unwrap_err();
    assert!(matches!(error, CallError::Unreachable { .. }), "{error}");
    assert!(error.to_string().contains(&base_url), "{error}");
}

#[tokio::test]
async fn a_gateway_that_never_answers_costs_no_more_than_the_limit() {
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base_url = format!("http://{}/v1", silent.local_addr().unwrap());
    let timeout = Duration::from_millis(300);
    let started = Instant::now();
    let error =
        Call::connect(CallOptions { timeout, ..CallOptions::new(base_url, "sk-test") }).await.unwrap_err();
    assert!(matches!(error, CallError::ConnectTimeout { .. } | CallError::Unreachable { .. }), "{error}");
    assert!(started.elapsed() >= timeout);
}
