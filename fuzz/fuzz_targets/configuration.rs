#![no_main]
//! A configuration somebody applies. Corpus: gateway/corpus/configuration.
libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let _ = voxgate_gateway::fuzz::configuration(data);
});
