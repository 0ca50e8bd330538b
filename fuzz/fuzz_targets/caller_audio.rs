#![no_main]
//! RTP audio of a caller: per record one byte of time, sequence, timestamp, length, payload. Corpus:
//! media/corpus/rtp-audio.
use std::time::{Duration, Instant};

use voxgate_media::uplink::{RtpAudio, Uplink};
use voxgate_protocol::audio::SampleRate;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let Ok(mut uplink) = Uplink::new(SampleRate::HZ_16000) else { return };
    let mut now = Instant::now();
    let mut rest = data;
    while let [wait, s0, s1, t0, t1, t2, t3, length, tail @ ..] = rest {
        let (payload, next) = tail.split_at(usize::from(*length).min(tail.len()));
        rest = next;
        now += Duration::from_millis(u64::from(*wait));
        uplink.handle_timeout(now);
        uplink.push(
            now,
            RtpAudio {
                sequence: u16::from_be_bytes([*s0, *s1]),
                timestamp: u32::from_be_bytes([*t0, *t1, *t2, *t3]),
                marker: false,
                payload,
                arrived: now,
            },
        );
        while uplink.poll().is_some() {}
    }
});
