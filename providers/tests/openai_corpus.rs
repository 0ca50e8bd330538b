//! Replays the kept conversations as they are, and damaged in every way a seed can think of.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::PathBuf;

use serde_json::Value;
use voxgate_protocol::bridge::{BridgeEvent, OutputPart, TurnOwner};
use voxgate_protocol::id::IdSource;
use voxgate_protocol::settings::SessionSettings;
use voxgate_providers::openai_realtime::invariants::check_lines;
use voxgate_providers::openai_realtime::{Codec, OpenAiOptions};

const DAMAGED_REPLAYS: u64 = 300;

struct Conversation {
    name: String,
    turn_owner: TurnOwner,
    frames: Vec<String>,
    kinds: Vec<String>,
}

fn corpus() -> Vec<Conversation> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("corpus/openai");
    let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<PathBuf> =
        files.filter(|path| path.extension().is_some_and(|end| end == "json")).collect();
    files.sort();
    files.iter().map(read).collect()
}

fn read(path: &PathBuf) -> Conversation {
    let file: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let gateway = file["turn_owner"] == "gateway";
    let kinds = file["kinds"].as_array().unwrap().iter().map(|kind| kind.as_str().unwrap().to_owned());
    Conversation {
        name: path.display().to_string(),
        turn_owner: if gateway { TurnOwner::Gateway } else { TurnOwner::Provider },
        frames: file["frames"].as_array().unwrap().iter().map(Value::to_string).collect(),
        kinds: kinds.collect(),
    }
}

fn codec(turn_owner: TurnOwner) -> Codec {
    let mut codec = Codec::new(OpenAiOptions {
        turn_owner,
        settings: SessionSettings::default(),
        transcription_model: None,
    });
    codec.decode(r#"{"type":"session.created"}"#);
    codec.decode(r#"{"type":"session.updated"}"#);
    while codec.poll_transmit().is_some() {}
    codec
}

fn kind(event: &BridgeEvent) -> &'static str {
    match event {
        BridgeEvent::Ready => "ready",
        BridgeEvent::SpeechStarted { .. } => "speech_started",
        BridgeEvent::SpeechStopped { .. } => "speech_stopped",
        BridgeEvent::InputTimedOut { .. } => "timed_out",
        BridgeEvent::InputCommitted { .. } => "committed",
        BridgeEvent::InterimTranscript { .. } => "interim",
        BridgeEvent::InputTranscriptDelta { .. } => "input_delta",
        BridgeEvent::InputTranscriptDone { .. } => "input_done",
        BridgeEvent::InputWords { .. } => "input_words",
        BridgeEvent::InputTranscriptFailed { .. } => "input_failed",
        BridgeEvent::ResponseStarted { .. } => "started",
        BridgeEvent::Output { part, .. } => match part {
            OutputPart::Audio(_) => "audio",
            OutputPart::Transcript(_) => "transcript",
            OutputPart::Text(_) => "text",
            OutputPart::ToolArguments { .. } => "tool",
        },
        BridgeEvent::OutputItemDone { .. } => "item_done",
        BridgeEvent::ResponseDone { .. } => "done",
        BridgeEvent::Stage(_) => "stage",
        BridgeEvent::Fault(_) => "fault",
        BridgeEvent::Closed { .. } => "closed",
    }
}

#[test]
fn every_kept_conversation_becomes_the_expected_events() {
    let corpus = corpus();
    assert!(corpus.len() >= 6);
    for conversation in corpus {
        let mut codec = codec(conversation.turn_owner);
        let events = check_lines(&mut codec, &conversation.frames.join("\n")).unwrap();
        let kinds: Vec<&str> = events.iter().map(kind).collect();
        assert_eq!(kinds, conversation.kinds, "{}", conversation.name);
    }
}

/// Repeats, drops, swaps, cuts and merges frames.
fn damage(frames: &[String], random: &mut IdSource) -> String {
    let mut damaged: Vec<String> = Vec::new();
    for frame in frames {
        let bits = random.next_bits();
        let cut = (bits >> 32) as usize % (frame.len() + 1);
        match bits % 10 {
            0 => {}
            1 => damaged.extend([frame.clone(), frame.clone()]),
            2 => damaged.insert((bits >> 8) as usize % (damaged.len() + 1), frame.clone()),
            3 => damaged.push(frame.chars().take(cut).collect()),
            4 => damaged.push(frame.replace("item_a", "item_b")),
            5 => damaged.push(frame.replace("resp_1", "resp_2")),
            6 => damaged.push(frame.replace("\"item_a\"", "null").replace("\"completed\"", "{}")),
            _ => damaged.push(frame.clone()),
        }
    }
    damaged.join("\n")
}

#[test]
fn no_damage_to_a_conversation_breaks_a_promise_of_the_stream() {
    for conversation in corpus() {
        for seed in 0..DAMAGED_REPLAYS {
            let mut random = IdSource::new(seed);
            let lines = damage(&conversation.frames, &mut random);
            let mut codec = codec(conversation.turn_owner);
            if let Err(broken) = check_lines(&mut codec, &lines) {
                panic!("{broken}, in {} with seed {seed}:\n{lines}", conversation.name);
            }
        }
    }
}
