//! What the caller heard, on the timeline of the sender and with the real times of arrival.

use std::io::{Seek, Write};
use std::time::{Duration, Instant};

use hound::{SampleFormat, WavSpec, WavWriter};
use voxgate_protocol::audio::{Pcm, SampleCount, SampleRate};

use crate::audible::{first_audible, last_audible};

/// The rate at which a caller decodes and records.
pub const HEARING_RATE: SampleRate = SampleRate::HZ_24000;

/// RTP timestamps per recorded sample.
const TIMESTAMPS_PER_SAMPLE: i64 = (SampleRate::HZ_48000.hz() / HEARING_RATE.hz()) as i64;

/// A timestamp may run ahead of the clock by this much; further is a new timeline, not silence.
const LARGEST_LEAD: Duration = Duration::from_secs(2);

/// Sound after this much quiet is a new onset. Longer than the gaps inside a word, shorter than those between
/// answers.
const QUIET_BEFORE_ONSET: Duration = Duration::from_millis(200);

/// The recording stops here; counting goes on.
const LONGEST: Duration = Duration::from_secs(3_600);

/// One decoded packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeardFrame {
    /// Its place in the recording.
    pub start: SampleCount,
    /// How long it is.
    pub length: SampleCount,
    /// When it could be heard first: on arrival, or when the packets before it had come or were given up.
    pub heard_at: Instant,
    /// The first and the last sample in it that can be heard.
    pub audible: Option<(SampleCount, SampleCount)>,
}

impl HeardFrame {
    /// When the first audible sample was heard.
    #[must_use]
    pub fn first_audible_at(&self) -> Option<Instant> {
        self.audible.map(|(first, _)| self.heard_at + first.duration_at(HEARING_RATE))
    }

    /// When the last audible sample was heard.
    #[must_use]
    pub fn last_audible_at(&self) -> Option<Instant> {
        self.audible.map(|(_, last)| self.heard_at + last.duration_at(HEARING_RATE))
    }
}

/// Decoded sound with gaps as silence.
#[derive(Clone, Default)]
pub struct Recording {
    samples: Vec<i16>,
    frames: Vec<HeardFrame>,
    /// RTP timestamp, without wrapping, of sample 0.
    origin: i64,
    last_timestamp: i64,
    /// Packets that carried no decodable Opus.
    pub undecodable: u64,
    /// Packets that never came in time.
    pub lost: u64,
    /// Packets that came too late or twice.
    pub late: u64,
}

impl Recording {
    /// Adds what one packet decoded to.
    pub fn add(&mut self, timestamp: u32, decoded: &[i16], heard_at: Instant) {
        let place = self.place(timestamp, heard_at);
        let end = place + decoded.len();
        let audible = first_audible(decoded, HEARING_RATE)
            .zip(last_audible(decoded, HEARING_RATE))
            .map(|(first, last)| (SampleCount(first as u64), SampleCount(last as u64)));
        if SampleCount(end as u64).duration_at(HEARING_RATE) > LONGEST {
            return;
        }
        self.samples.resize(place, 0);
        self.samples.extend_from_slice(decoded);
        let length = SampleCount(decoded.len() as u64);
        self.frames.push(HeardFrame { start: SampleCount(place as u64), length, heard_at, audible });
    }

    /// Where the sample of a timestamp belongs; a timestamp that makes no sense continues at the end.
    fn place(&mut self, timestamp: u32, heard_at: Instant) -> usize {
        let end = self.samples.len() as i64;
        let Some(last) = self.frames.last() else {
            self.last_timestamp = i64::from(timestamp);
            self.origin = self.last_timestamp;
            return 0;
        };
        let step = timestamp.wrapping_sub(self.last_timestamp as u32) as i32;
        self.last_timestamp += i64::from(step);
        let place = (self.last_timestamp - self.origin).div_euclid(TIMESTAMPS_PER_SAMPLE);
        let plausible = heard_at.saturating_duration_since(last.heard_at) + LARGEST_LEAD;
        let furthest = end + HEARING_RATE.samples_in(plausible).0 as i64;
        if (end..=furthest).contains(&place) {
            return place as usize;
        }
        self.origin = self.last_timestamp - end * TIMESTAMPS_PER_SAMPLE;
        end as usize
    }

    /// Every packet in the order of the recording.
    #[must_use]
    pub fn frames(&self) -> &[HeardFrame] {
        &self.frames
    }

    /// How long the recording is, gaps included.
    #[must_use]
    pub fn duration(&self) -> Duration {
        SampleCount(self.samples.len() as u64).duration_at(HEARING_RATE)
    }

    /// The samples.
    #[must_use]
    pub fn to_pcm(&self) -> Pcm {
        Pcm { rate: HEARING_RATE, samples: self.samples.clone() }
    }

    /// When the first sample that can be heard came, no earlier than `since`.
    #[must_use]
    pub fn first_audible_after(&self, since: Instant) -> Option<Instant> {
        self.frames_that_end_after(since).find_map(|frame| {
            let (first, last) = (frame.first_audible_at()?, frame.last_audible_at()?);
            (last >= since).then(|| first.max(since))
        })
    }

    /// When sound began after at least 200 ms of quiet, no earlier than `since`: the start of an answer even if
    /// the end of the one before is still sounding.
    #[must_use]
    pub fn onset_after(&self, since: Instant) -> Option<Instant> {
        let mut quiet_since: Option<SampleCount> = None;
        for frame in &self.frames {
            let Some((first, last)) = frame.audible else { continue };
            let (first, last) = (frame.start + first, frame.start + last);
            let quiet = quiet_since.is_none_or(|end| {
                SampleCount(first.0.saturating_sub(end.0)).duration_at(HEARING_RATE) >= QUIET_BEFORE_ONSET
            });
            quiet_since = Some(last);
            let heard = frame.first_audible_at().filter(|at| quiet && *at >= since);
            if heard.is_some() {
                return heard;
            }
        }
        None
    }

    /// When the last sample that can be heard came.
    #[must_use]
    pub fn last_audible(&self) -> Option<Instant> {
        self.frames.iter().rev().find_map(HeardFrame::last_audible_at)
    }

    /// Writes a mono 16-bit WAV at [`HEARING_RATE`].
    ///
    /// # Errors
    /// What the writer says.
    pub fn write_wav<W: Write + Seek>(&self, to: W) -> Result<(), hound::Error> {
        let sample_rate = HEARING_RATE.hz();
        let spec =
            WavSpec { channels: 1, sample_rate, bits_per_sample: 16, sample_format: SampleFormat::Int };
        let mut writer = WavWriter::new(to, spec)?;
        let mut block = writer.get_i16_writer(self.samples.len() as u32);
        for sample in &self.samples {
            block.write_sample(*sample);
        }
        block.flush()?;
        writer.finalize()
    }

    fn frames_that_end_after(&self, since: Instant) -> impl Iterator<Item = &HeardFrame> {
        self.frames
            .iter()
            .filter(move |frame| frame.heard_at + frame.length.duration_at(HEARING_RATE) >= since)
    }
}

/// Shows the length only: samples must never reach a log.
impl std::fmt::Debug for Recording {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Recording({:?} in {} packets)", self.duration(), self.frames.len())
    }
}

#[cfg(test)]
mod tests;
