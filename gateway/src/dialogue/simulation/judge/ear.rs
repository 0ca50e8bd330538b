//! What the caller hears: RTP in order and in real time, and nothing of an answer that was taken back.

use std::time::Instant;

use voxgate_media::decode::Decoder;
use voxgate_media::encode::{DTX_FRAME, FRAME, FRAME_TICKS};
use voxgate_protocol::audio::SampleRate;

use super::super::provider::{TONES, tone_of};
use super::{Verdict, promise};

/// Frames that may leave early or at once: the first of a talkspurt and what was late (two frames).
const SLACK: u64 = 4;

/// Frames in which the coder still sounds after what was cut off: its look-ahead reaches into the next frame.
const FADING_FRAMES: u32 = 1;

/// How much of a frame's power its tone has to have to be recognised.
const SHARE: f32 = 0.6;

pub(super) struct Ear {
    decoder: Option<Decoder>,
    first: Option<Instant>,
    last_timestamp: Option<u32>,
    packets: u64,
    /// The tones of this step's packets.
    tones: Vec<Option<usize>>,
    has_packets: bool,
    stale_frames: u32,
}

impl Ear {
    /// Listening costs; without it only the packets are counted.
    pub(super) fn new(listens: bool) -> Self {
        Self {
            decoder: listens.then(|| Decoder::new(SampleRate::HZ_16000).unwrap()),
            first: None,
            last_timestamp: None,
            packets: 0,
            tones: Vec::new(),
            has_packets: false,
            stale_frames: 0,
        }
    }

    /// Packets with audio so far.
    pub(super) fn packets(&self) -> u64 {
        self.packets
    }

    pub(super) fn packet(&mut self, now: Instant, payload: &[u8], timestamp: u32) -> Verdict {
        if let Some(last) = self.last_timestamp.replace(timestamp) {
            let ahead = timestamp.wrapping_sub(last);
            let is_behind = (FRAME_TICKS..1 << 31).contains(&ahead);
            promise!(is_behind, "RTP timestamp {timestamp} overlaps with {last}");
        }
        let samples = self.decoder.as_mut().map(|decoder| decoder.decode(payload).unwrap());
        if payload == DTX_FRAME {
            return Ok(());
        }
        self.packets += 1;
        self.has_packets = true;
        let elapsed = now.duration_since(*self.first.get_or_insert(now));
        let most = (elapsed.as_millis() / FRAME.as_millis()) as u64 + SLACK;
        promise!(self.packets <= most, "{} packets left in {elapsed:?}", self.packets);
        self.tones.extend(samples.map(|samples| tone(&samples)));
        Ok(())
    }

    /// `audible` is what may be heard in this step, if that is known.
    pub(super) fn settled(&mut self, audible: Option<&[String]>) -> Verdict {
        let has_packets = std::mem::take(&mut self.has_packets);
        let tones = std::mem::take(&mut self.tones);
        let Some(audible) = audible else { return Ok(()) };
        promise!(!has_packets || !audible.is_empty(), "a packet left while no answer was played");
        for tone in tones {
            let is_stale = tone.is_some_and(|tone| !audible.iter().any(|id| tone_of(id) == Some(tone)));
            self.stale_frames = if is_stale { self.stale_frames + 1 } else { 0 };
            promise!(
                self.stale_frames <= FADING_FRAMES,
                "the caller hears {} Hz, which is none of {audible:?}",
                tone.map_or(0, |tone| TONES[tone])
            );
        }
        Ok(())
    }
}

/// The tone that makes up most of a frame (Goertzel's algorithm).
fn tone(samples: &[i16]) -> Option<usize> {
    let total: f32 = samples.iter().map(|sample| f32::from(*sample).powi(2)).sum();
    // Silence, and what fades in or out.
    if total / samples.len() as f32 <= 500.0 * 500.0 {
        return None;
    }
    (0..TONES.len()).find(|index| {
        let step = std::f32::consts::TAU * TONES[*index] as f32 / 16_000.0;
        let factor = 2.0 * step.cos();
        let (mut before, mut last) = (0.0_f32, 0.0_f32);
        for sample in samples {
            (before, last) = (last, f32::from(*sample) + factor * last - before);
        }
        let power = before * before + last * last - factor * before * last;
        // A pure tone of n samples has n / 2 times its summed squares.
        power > SHARE * total * samples.len() as f32 / 2.0
    })
}
