#![no_main]
//! The answer of a guardrail webhook. Corpus: policy/corpus/opinions.
use voxgate_policy::guardrail::Opinion;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    if let Ok(Opinion::Replace { say: Some(say) }) = Opinion::parse(data) {
        assert!(!say.trim().is_empty() && !say.contains('\n'));
    }
});
