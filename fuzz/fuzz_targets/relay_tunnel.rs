#![no_main]
//! The relay's decoding of tunnel frames. Corpus: relay/corpus/tunnel.
libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    voxgate_relay::fuzz::tunnel(data);
});
