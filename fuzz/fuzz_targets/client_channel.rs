#![no_main]
//! What a client says on the data channel `voxgate`, one message per line. Corpus: gateway/corpus/client-channel.
libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let _ = voxgate_gateway::fuzz::client_channel(data);
});
