//! When single samples were captured and played, for a gateway that asks by their RTP timestamps.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use voxgate_protocol::audio::{SampleCount, SampleRate};

/// Packets remembered for each direction: 20 s, longer than the longest pause that ends a turn and its answer's way.
const REMEMBERED: usize = 1_000;

/// RTP counts Opus at 48 kHz (RFC 7587 section 4.1).
const CLOCK: SampleRate = SampleRate::HZ_48000;

/// One packet of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Passage {
    /// The RTP timestamp of its first sample.
    pub timestamp: u32,
    /// Its samples at 48 kHz.
    pub length: u32,
    /// When its first sample was at the device: at the microphone, or at the loudspeaker.
    pub sounded_at: Instant,
    /// When it left or came in.
    pub passed_at: Instant,
}

/// The last packets of one stream.
#[derive(Debug, Default)]
pub struct Passages(VecDeque<Passage>);

impl Passages {
    /// Remembers a packet.
    pub fn add(&mut self, passage: Passage) {
        if self.0.len() == REMEMBERED {
            self.0.pop_front();
        }
        self.0.push_back(passage);
    }

    /// When a sample was at the device.
    #[must_use]
    pub fn sounded_at(&self, sample: u32) -> Option<Instant> {
        let within = |passage: &Passage| {
            Some(sample.wrapping_sub(passage.timestamp)).filter(|at| *at < passage.length)
        };
        self.0.iter().rev().find_map(|passage| {
            let offset = SampleCount(within(passage)?.into()).duration_at(CLOCK);
            passage.sounded_at.checked_add(offset)
        })
    }

    /// When the packet with this timestamp left or came in.
    #[must_use]
    pub fn passed_at(&self, packet: u32) -> Option<Instant> {
        self.0.iter().rev().find(|passage| passage.timestamp == packet).map(|passage| passage.passed_at)
    }
}

/// What a call knows of its samples. Cloning shares it.
#[derive(Clone, Debug, Default)]
pub(crate) struct SampleLog(Arc<Mutex<Samples>>);

#[derive(Debug, Default)]
pub(crate) struct Samples {
    pub(crate) spoken: Passages,
    pub(crate) heard: Passages,
    pub(crate) counts: Counts,
}

/// What became of the answer's packets since the last look.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counts {
    pub(crate) packets: u32,
    pub(crate) waited: Duration,
    /// In total.
    pub(crate) lost: u64,
    told_lost: u64,
}

impl Counts {
    /// Packets that came, their mean wait for earlier ones, and packets that did not come, since the last call.
    pub(crate) fn take(&mut self) -> (u32, Option<Duration>, u32) {
        let lost = u32::try_from(self.lost.saturating_sub(self.told_lost)).unwrap_or(u32::MAX);
        let taken = (self.packets, self.waited.checked_div(self.packets), lost);
        *self = Self { lost: self.lost, told_lost: self.lost, ..Self::default() };
        taken
    }
}

impl SampleLog {
    pub(crate) fn lock(&self) -> MutexGuard<'_, Samples> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn a_sample_is_found_in_its_packet_whatever_the_clock_wraps_to() {
        let start = Instant::now();
        let mut passages = Passages::default();
        for number in 0..1_500_u32 {
            let timestamp = number.wrapping_mul(960).wrapping_sub(960 * 1_200 + 480);
            let sounded_at = start + 20 * MS * number;
            passages.add(Passage { timestamp, length: 960, sounded_at, passed_at: sounded_at + 21 * MS });
        }
        let packet = 960_u32.wrapping_mul(1_200).wrapping_sub(960 * 1_200 + 480);
        assert_eq!(passages.sounded_at(packet.wrapping_add(480)), Some(start + 20 * MS * 1_200 + 10 * MS));
        assert_eq!(passages.passed_at(packet), Some(start + 20 * MS * 1_200 + 21 * MS));
        assert_eq!(passages.passed_at(packet.wrapping_add(1)), None);
        assert_eq!(passages.sounded_at(0_u32.wrapping_sub(960 * 1_200 + 480)), None, "long ago");
        assert_eq!(passages.sounded_at(960 * 2_000), None, "not yet");
    }
}
