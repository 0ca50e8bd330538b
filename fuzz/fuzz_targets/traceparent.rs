#![no_main]
//! The `traceparent` header of a request that starts a session. Corpus: protocol/corpus/traceparent.
use voxgate_protocol::trace_context::TraceParent;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let Some(parent) = std::str::from_utf8(data).ok().and_then(TraceParent::parse) else { return };
    assert_eq!(TraceParent::parse(&parent.to_string()), Some(parent));
});
