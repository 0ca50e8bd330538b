#![no_main]
//! The relay's opening of sealed ufrags. Corpus: relay/corpus/ufrag.
libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    voxgate_relay::fuzz::ufrag(data);
});
