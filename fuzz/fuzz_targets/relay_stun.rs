#![no_main]
//! The relay's reading of STUN. Corpus: relay/corpus/stun.
libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    voxgate_relay::fuzz::stun(data);
});
