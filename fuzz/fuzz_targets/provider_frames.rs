#![no_main]
//! What a provider of the Realtime protocol sends, one frame per line. Corpus: providers/corpus/openai.
use voxgate_protocol::bridge::TurnOwner;
use voxgate_protocol::settings::SessionSettings;
use voxgate_providers::openai_realtime::{Codec, OpenAiOptions, invariants};

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let text = String::from_utf8_lossy(data);
    for turn_owner in [TurnOwner::Provider, TurnOwner::Gateway] {
        let mut codec = Codec::new(OpenAiOptions { turn_owner, settings: SessionSettings::default(), transcription_model: None });
        if let Err(broken) = invariants::check_lines(&mut codec, &text) {
            panic!("{broken}");
        }
    }
});
