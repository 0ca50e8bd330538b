#![no_main]
//! Sequences of operations on the relay's flow table. Corpus: relay/corpus/flow-table.
libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    voxgate_relay::fuzz::flow_table(data);
});
