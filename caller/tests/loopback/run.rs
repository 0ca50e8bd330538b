//! `voxgate call` as a person or a program sees it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::gateway::{ANSWER_TONE_HZ, API_KEY, Behaviour, Gateway};
use serde_json::Value;
use voxgate_caller::{CallError, CallOptions, RunOptions, RunSummary, run};

/// A question of half a second at 16 kHz, and a place for the answer, in a folder of its own.
struct Files(PathBuf);

impl Files {
    fn new(test: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("voxgate-caller-{test}-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let spec = hound::WavSpec {
            channels: 1,
            sample_rate: 16_000,
            bits_per_sample: 16,
            sample_format: hound::SampleFormat::Int,
        };
        let mut wav = hound::WavWriter::create(folder.join("question.wav"), spec).unwrap();
        for index in 0..8_000 {
            let angle = std::f64::consts::TAU * 300.0 * f64::from(index) / 16_000.0;
            wav.write_sample((angle.sin() * 8_000.0) as i16).unwrap();
        }
        wav.finalize().unwrap();
        Self(folder)
    }

    fn question(&self) -> PathBuf {
        self.0.join("question.wav")
    }

    fn answer(&self) -> PathBuf {
        self.0.join("answer.wav")
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

async fn ask(
    gateway: &Gateway,
    wav: &Path,
    change: impl FnOnce(&mut RunOptions),
) -> (Result<RunSummary, CallError>, String) {
    let call = CallOptions {
        timeout: Duration::from_secs(30),
        ..CallOptions::new(gateway.base_url.as_str(), API_KEY)
    };
    let mut options = RunOptions::new(call, wav);
    change(&mut options);
    let (mut out, mut progress) = (Vec::new(), Vec::new());
    let result = run(options, &mut out, &mut progress).await;
    (result, String::from_utf8(out).unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_person_sees_both_transcripts_and_the_waterfall_and_gets_the_answer_as_a_file() {
    let (gateway, files) = (Gateway::start(Behaviour::Answer).await, Files::new("person"));
    let (result, shown) =
        ask(&gateway, &files.question(), |options| options.save = Some(files.answer())).await;
    let summary = result.unwrap();
    let lines: Vec<&str> = shown.lines().collect();
    assert_eq!(
        lines[..4],
        ["You:   What do you hear?", "Agent: A tone.", "", "Turn 1: 212.5 ms from mouth to ear"],
        "{shown}"
    );
    assert!(shown.contains("endpointing   setting      200.0 ms"), "{shown}");
    assert!(lines.last().unwrap().starts_with("  heard here"), "{shown}");
    assert!(summary.mouth_to_ear_ms.unwrap() > 180.0, "{summary:?}");
    let answer = hound::WavReader::open(files.answer()).unwrap();
    let samples: Vec<i16> = answer.into_samples::<i16>().map(Result::unwrap).collect();
    assert!(samples.len() >= 24_000 * 38 / 100, "{}", samples.len());
    let middle = &samples[samples.len() / 4..samples.len() * 3 / 4];
    let rising = middle.windows(2).filter(|pair| pair[0] < 0 && pair[1] >= 0).count();
    let pitch = rising as f64 * 24_000.0 / middle.len() as f64;
    assert!((pitch - ANSWER_TONE_HZ).abs() < 15.0, "{pitch}");
    assert_eq!(gateway.seen.lock().unwrap().hang_ups.len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_program_gets_events_and_the_result_as_json() {
    let (gateway, files) = (Gateway::start(Behaviour::Answer).await, Files::new("program"));
    let change = |options: &mut RunOptions| (options.json, options.events) = (true, true);
    let (result, shown) = ask(&gateway, &files.question(), change).await;
    result.unwrap();
    let lines: Vec<Value> = shown.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines[0]["type"], "session.created");
    assert!(lines.iter().any(|line| line["type"] == "output_audio_buffer.stopped"), "{shown}");
    let summary = lines.last().unwrap();
    assert_eq!((&summary["call_id"], &summary["turns"][0]["turn"]), (&"rtc_test".into(), &1.into()));
    assert!(summary["mouth_to_ear_ms"].as_f64().unwrap() > 180.0, "{summary}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_question_without_an_answer_ends_at_the_limit_with_the_last_event() {
    let (gateway, files) = (Gateway::start(Behaviour::Mute).await, Files::new("mute"));
    let change = |options: &mut RunOptions| options.answer_timeout = Duration::from_secs(1);
    let error = ask(&gateway, &files.question(), change).await.0.unwrap_err();
    assert!(
        error.to_string().starts_with("no complete answer came within 1 s (last event: session.created)"),
        "{error}"
    );
    assert_eq!(error.exit_status(), 6);
    assert_eq!(gateway.seen.lock().unwrap().hang_ups.len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failed_answer_is_told_with_its_reason() {
    let (gateway, files) = (Gateway::start(Behaviour::Fail).await, Files::new("fail"));
    let error = ask(&gateway, &files.question(), |_| {}).await.0.unwrap_err();
    assert!(
        matches!(&error, CallError::AnswerFailed { message } if message == "the model is overloaded"),
        "{error}"
    );
}

#[tokio::test]
async fn a_file_that_is_no_wav_is_refused_before_anybody_is_called() {
    let (gateway, files) = (Gateway::start(Behaviour::Mute).await, Files::new("no-wav"));
    let text = files.0.join("notes.txt");
    std::fs::write(&text, "not a sound").unwrap();
    let error = ask(&gateway, &text, |_| {}).await.0.unwrap_err();
    assert!(matches!(error, CallError::Wav { .. }), "{error}");
    assert_eq!(error.exit_status(), 2);
    assert!(gateway.seen.lock().unwrap().sessions.is_empty());
}
