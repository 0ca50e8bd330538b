#![no_main]
//! The flow snapshot a relay hands over. Corpus: relay/corpus/snapshot.
libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    voxgate_relay::fuzz::snapshot(data);
});
