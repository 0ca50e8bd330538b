#![no_main]
//! Datagrams on the sockets of a whole relay. Corpus: relay/corpus/exchange.
libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    voxgate_relay::fuzz::exchange(data);
});
