#![no_main]
//! Datagrams on a TCP connection to the relay. Corpus: relay/corpus/framing.
libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    voxgate_relay::fuzz::framing(data);
});
