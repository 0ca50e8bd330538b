//! Messages kept for fuzzing: none may panic, and whatever is answered is well formed.

use std::path::Path;

use serde_json::Value;
use voxgate_realtime::fuzz;

use crate::harness::{assert_valid, validator};

fn corpus() -> Vec<(String, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus/client-events");
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let name = |path: &Path| path.file_stem().unwrap().to_str().unwrap().to_owned();
    files.iter().map(|path| (name(path), std::fs::read(path).unwrap())).collect()
}

#[test]
fn every_message_is_survived_and_answered_well() {
    let files = corpus();
    assert!(files.len() > 20);
    for (_, data) in &files {
        for event in fuzz::client_messages(data) {
            assert_valid(&serde_json::from_str::<Value>(&event).unwrap());
        }
    }
}

#[test]
fn a_message_an_sdk_sends_is_in_the_schema_and_never_an_error() {
    let schema = validator(include_str!("../../specs/client-event.schema.json"));
    let mut seen = 0;
    for (name, data) in corpus().into_iter().filter(|(name, _)| name.starts_with("sdk-")) {
        let event: Value = serde_json::from_slice(&data).unwrap();
        assert!(schema.is_valid(&event), "{name}");
        let line = event.to_string();
        // One kind of client may not send it; the other has to be served.
        let errors = fuzz::client_messages(line.as_bytes());
        let errors = errors.iter().filter(|event| event.contains(r#""type":"error""#)).count();
        assert!(errors <= 1, "{name}");
        seen += 1;
    }
    assert!(seen >= 8);
}

#[test]
fn every_prefix_and_every_flipped_byte_is_survived() {
    for (_, data) in corpus().into_iter().filter(|(_, data)| data.len() < 400) {
        for index in 0..data.len() {
            let mut flipped = data.clone();
            flipped[index] ^= 0x15;
            for mutant in [&data[..index], &flipped] {
                for event in fuzz::client_messages(mutant) {
                    assert!(serde_json::from_str::<Value>(&event).is_ok());
                }
            }
        }
    }
}
