#![no_main]
//! RTCP of a caller: what it reports about what it is sent. Corpus: media/corpus/rtcp.
libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let _ = voxgate_media::fuzz::rtcp(std::time::Instant::now(), data);
});
