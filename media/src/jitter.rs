//! Restores the order of RTP audio packets without delaying those that arrive in order.
//!
//! A recogniser or a speech model needs no playout buffer: a packet in order is released the moment it arrives.
//! Only a gap makes the buffer wait, for as long as the recent jitter justifies, before the missing packets are
//! declared lost. Sequence numbers and timestamps wrap as RFC 3550 section 5.1 says; a sender that jumps to another
//! range of sequence numbers is followed after two consecutive packets (RFC 3550 appendix A.1).

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::time::{Duration, Instant};

/// Ticks of the RTP clock of Opus per second (RFC 7587 section 4.1).
pub const RTP_CLOCK_HZ: u32 = 48_000;

/// The shortest wait for a missing packet.
pub const MIN_WAIT: Duration = Duration::from_millis(10);

/// The longest wait for a missing packet.
pub const MAX_WAIT: Duration = Duration::from_millis(40);

/// More held packets than this end the wait at once: two seconds of 20 ms packets cannot be reordering.
const MAX_HELD: usize = 100;

/// A forward jump of the sequence number up to here is loss, beyond it another stream (RFC 3550 appendix A.1).
const MAX_DROPOUT: i16 = 3_000;

/// A backward jump up to here is a late packet, beyond it another stream (RFC 3550 appendix A.1).
const MAX_MISORDER: i16 = 100;

/// Step of the jitter estimate: it rises by 95 % and falls by 5 % of this, so it settles where one packet in twenty
/// is later than the estimate.
const ESTIMATE_STEP: Duration = Duration::from_millis(4);

/// One RTP audio packet.
#[derive(Clone, PartialEq, Eq)]
pub struct AudioPacket {
    /// RTP sequence number.
    pub sequence: u16,
    /// RTP timestamp of the first sample, in 48 kHz ticks.
    pub timestamp: u32,
    /// RTP marker: the first packet after a pause (RFC 3551 section 4.1).
    pub marker: bool,
    /// How much audio it carries, in 48 kHz ticks. Zero for padding.
    pub duration: u32,
    /// The Opus packet.
    pub payload: Vec<u8>,
}

/// Shows the length of the payload only: audio must never reach a log.
impl fmt::Debug for AudioPacket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AudioPacket")
            .field("sequence", &self.sequence)
            .field("timestamp", &self.timestamp)
            .field("marker", &self.marker)
            .field("duration", &self.duration)
            .field("payload_bytes", &self.payload.len())
            .finish()
    }
}

/// What comes out of the buffer, in the order of the sequence numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JitterOutput {
    /// The next packet.
    Released {
        /// The packet.
        packet: AudioPacket,
        /// When it came from the network.
        arrived: Instant,
        /// How long it was held back.
        waited: Duration,
    },
    /// Packets in front of the next one are given up.
    Lost {
        /// How many packets.
        frames: u32,
        /// How much audio they carried, in 48 kHz ticks, as far as the timestamps tell.
        samples: u32,
    },
    /// The sender paused in front of the next packet: its sequence number follows, its timestamp jumped (DTX).
    TimestampGap {
        /// The length of the pause in 48 kHz ticks.
        samples: u32,
    },
}

/// What became of a packet handed to [`JitterBuffer::push`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pushed {
    /// Released or held.
    Accepted,
    /// Too late: its place was already given up.
    Late,
    /// Known already.
    Duplicate,
    /// Outside the expected range of sequence numbers; followed if its successor comes too.
    OutOfRange,
}

/// Counters since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct JitterStats {
    /// Packets released.
    pub released: u64,
    /// Packets given up.
    pub lost: u64,
    /// Packets that came after they were given up.
    pub late: u64,
    /// Packets that came twice.
    pub duplicates: u64,
    /// Packets that came before an older one.
    pub reordered: u64,
    /// Times the sender jumped to another range of sequence numbers or back in its timestamps.
    pub resets: u64,
    /// The interarrival jitter of RFC 3550, section 6.4.1: a smoothed mean of how much packets come closer together or
    /// further apart than they were sent.
    pub interarrival: Duration,
}

#[derive(Debug)]
struct Held {
    packet: AudioPacket,
    arrived: Instant,
}

/// Where the stream stands: what the next packet should look like.
#[derive(Clone, Copy, Debug)]
struct Expected {
    /// Extended sequence number of the next packet.
    sequence: u64,
    /// Its timestamp; unknown until a packet with audio was released.
    timestamp: Option<u32>,
    /// The duration of the last packet with audio.
    duration: u32,
}

/// The buffer of one RTP stream.
#[derive(Debug, Default)]
pub struct JitterBuffer {
    expected: Option<Expected>,
    held: BTreeMap<u64, Held>,
    gap_since: Option<Instant>,
    /// Bit n tells whether the packet n + 1 before the expected one was released.
    released_before: u128,
    /// The sequence number that would confirm a jump.
    probation: Option<u16>,
    estimate: Duration,
    last_arrival: Option<(Instant, u32)>,
    outputs: VecDeque<JitterOutput>,
    stats: JitterStats,
}

impl JitterBuffer {
    /// An empty buffer; the first packet sets the position.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes a packet that arrived at `arrived`. Outputs are read with [`JitterBuffer::poll`].
    pub fn push(&mut self, now: Instant, arrived: Instant, packet: AudioPacket) -> Pushed {
        let Some(expected) = self.expected else {
            self.start_at(&packet);
            self.hold(now, arrived, packet);
            return Pushed::Accepted;
        };
        let distance = packet.sequence.wrapping_sub(expected.sequence as u16) as i16;
        if (0..=MAX_DROPOUT).contains(&distance) {
            return self.push_ahead(now, arrived, packet, expected.sequence + distance as u64);
        }
        if (-MAX_MISORDER..0).contains(&distance) {
            return self.refuse_old(distance.unsigned_abs());
        }
        self.push_out_of_range(now, arrived, packet)
    }

    /// Gives up gaps whose deadline has come.
    pub fn handle_timeout(&mut self, now: Instant) {
        while self.poll_timeout().is_some_and(|deadline| deadline <= now) {
            self.give_up_gap(now);
        }
    }

    /// When [`JitterBuffer::handle_timeout`] wants to be called.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.gap_since.map(|since| since + self.wait())
    }

    /// The next output.
    pub fn poll(&mut self) -> Option<JitterOutput> {
        self.outputs.pop_front()
    }

    /// How long a gap is waited for at present, [`MIN_WAIT`] to [`MAX_WAIT`].
    #[must_use]
    pub fn wait(&self) -> Duration {
        self.estimate.clamp(MIN_WAIT, MAX_WAIT)
    }

    /// Counters since the start.
    #[must_use]
    pub const fn stats(&self) -> JitterStats {
        self.stats
    }

    fn start_at(&mut self, packet: &AudioPacket) {
        self.expected = Some(Expected { sequence: u64::from(packet.sequence), timestamp: None, duration: 0 });
        self.released_before = 0;
        self.probation = None;
        self.last_arrival = None;
    }

    fn push_ahead(&mut self, now: Instant, arrived: Instant, packet: AudioPacket, sequence: u64) -> Pushed {
        self.probation = None;
        if self.held.contains_key(&sequence) {
            self.stats.duplicates += 1;
            return Pushed::Duplicate;
        }
        if self.held.last_key_value().is_some_and(|(&newest, _)| newest > sequence) {
            self.stats.reordered += 1;
        }
        self.observe_jitter(arrived, &packet);
        self.held.insert(sequence, Held { packet, arrived });
        self.release_in_order(now);
        if self.held.len() > MAX_HELD {
            self.give_up_gap(now);
        }
        self.handle_timeout(now);
        Pushed::Accepted
    }

    fn hold(&mut self, now: Instant, arrived: Instant, packet: AudioPacket) {
        self.observe_jitter(arrived, &packet);
        self.held.insert(u64::from(packet.sequence), Held { packet, arrived });
        self.release_in_order(now);
    }

    fn refuse_old(&mut self, back: u16) -> Pushed {
        if self.released_before >> (back - 1) & 1 == 1 {
            self.stats.duplicates += 1;
            return Pushed::Duplicate;
        }
        self.stats.late += 1;
        Pushed::Late
    }

    fn push_out_of_range(&mut self, now: Instant, arrived: Instant, packet: AudioPacket) -> Pushed {
        if self.probation != Some(packet.sequence) {
            self.probation = Some(packet.sequence.wrapping_add(1));
            return Pushed::OutOfRange;
        }
        self.stats.resets += 1;
        self.stats.lost += self.held.len() as u64;
        self.held.clear();
        self.gap_since = None;
        self.start_at(&packet);
        self.hold(now, arrived, packet);
        Pushed::Accepted
    }

    /// Releases the packets that follow without a gap and notes whether one is open behind them.
    fn release_in_order(&mut self, now: Instant) {
        while let Some(expected) = self.expected
            && let Some(held) = self.held.remove(&expected.sequence)
        {
            self.release(now, expected, held, 0);
        }
        self.gap_since = self.held.first_key_value().map(|(_, held)| held.arrived);
    }

    fn give_up_gap(&mut self, now: Instant) {
        let Some(expected) = self.expected else { return };
        let Some((sequence, held)) = self.held.pop_first() else {
            self.gap_since = None;
            return;
        };
        let lost = sequence - expected.sequence;
        self.stats.lost += lost;
        self.released_before = self.released_before.checked_shl(lost as u32).unwrap_or(0);
        self.release(now, Expected { sequence, ..expected }, held, lost as u32);
        self.release_in_order(now);
    }

    fn release(&mut self, now: Instant, expected: Expected, held: Held, lost: u32) {
        let Held { packet, arrived } = held;
        let has_audio = packet.duration > 0;
        let lost_ticks = lost.saturating_mul(expected.duration);
        let passed =
            expected.timestamp.filter(|_| has_audio).map(|at| packet.timestamp.wrapping_sub(at) as i32);
        if passed.is_some_and(|ticks| ticks < 0) {
            self.stats.resets += 1;
        }
        let passed = passed.and_then(|ticks| u32::try_from(ticks).ok()).unwrap_or(lost_ticks);
        if lost > 0 {
            self.outputs.push_back(JitterOutput::Lost { frames: lost, samples: passed.min(lost_ticks) });
        }
        if passed > lost_ticks {
            self.outputs.push_back(JitterOutput::TimestampGap { samples: passed - lost_ticks });
        }
        self.expected = Some(Expected {
            sequence: expected.sequence + 1,
            timestamp: if has_audio {
                Some(packet.timestamp.wrapping_add(packet.duration))
            } else {
                expected.timestamp.map(|at| at.wrapping_add(lost_ticks))
            },
            duration: if has_audio { packet.duration } else { expected.duration },
        });
        self.released_before = self.released_before << 1 | 1;
        self.stats.released += 1;
        let waited = now.saturating_duration_since(arrived);
        self.outputs.push_back(JitterOutput::Released { packet, arrived, waited });
    }

    /// Follows the 95th percentile of how much later or earlier packets come than their timestamps say.
    fn observe_jitter(&mut self, arrived: Instant, packet: &AudioPacket) {
        let previous = self.last_arrival.replace((arrived, packet.timestamp));
        let Some((at, timestamp)) = previous else { return };
        // A marked packet follows a pause, in which the sender's clock need not have run on.
        if packet.marker {
            return;
        }
        let elapsed = arrived.saturating_duration_since(at).as_micros() as i64;
        let ticks = packet.timestamp.wrapping_sub(timestamp) as i32;
        let deviation = (elapsed - i64::from(ticks) * 1_000_000 / i64::from(RTP_CLOCK_HZ)).unsigned_abs();
        let (jitter, deviated) = (self.stats.interarrival, Duration::from_micros(deviation));
        self.stats.interarrival = (jitter * 15 + deviated) / 16;
        if deviated > self.estimate {
            self.estimate = (self.estimate + ESTIMATE_STEP * 19 / 20).min(MAX_WAIT * 2);
        } else {
            self.estimate = self.estimate.saturating_sub(ESTIMATE_STEP / 20);
        }
    }
}

#[cfg(test)]
mod tests;
