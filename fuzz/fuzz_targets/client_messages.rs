#![no_main]
//! What a client sends: session requests and events, one message per line. Corpus: realtime/corpus/client-events.
libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    for event in voxgate_realtime::fuzz::client_messages(data) {
        assert!(event.starts_with('{'), "an event that is no JSON object");
    }
});
