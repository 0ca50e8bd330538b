#![no_main]
//! The log of a session, as `voxgate replay` reads it. Corpus: gateway/corpus/replay-log.
libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let _ = voxgate_gateway::fuzz::replay_log(data);
});
