//! When the next frame is due and which RTP timestamp it carries.

use std::time::{Duration, Instant};

use crate::encode::{FRAME, FRAME_TICKS};

/// How far behind its deadline a frame may be sent without moving the clock: with the frame that is due this makes
/// three frames at once at most.
const MAX_BACKLOG: Duration = Duration::from_millis(40);

/// The permission to send one frame.
#[derive(Clone, Copy, Debug)]
pub(super) struct Slot {
    pub(super) rtp_timestamp: u32,
    pub(super) marker: bool,
    pub(super) lateness: Duration,
}

#[derive(Clone, Copy, Debug)]
struct Talkspurt {
    start: Instant,
    sent: u32,
}

impl Talkspurt {
    fn deadline(&self) -> Instant {
        self.start + FRAME * self.sent
    }
}

/// Deadlines lie at fixed multiples of 20 ms from the start of a talkspurt, so lateness never adds up.
#[derive(Debug)]
pub(super) struct Pacer {
    rtp_start: u32,
    epoch: Option<Instant>,
    next_tick: u64,
    free_at: Option<Instant>,
    talkspurt: Option<Talkspurt>,
    stalls: u64,
}

impl Pacer {
    pub(super) const fn new(rtp_start: u32) -> Self {
        Self { rtp_start, epoch: None, next_tick: 0, free_at: None, talkspurt: None, stalls: 0 }
    }

    /// When the next frame of the talkspurt is due; `None` between talkspurts.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.talkspurt.as_ref().map(Talkspurt::deadline)
    }

    /// The end of the last packet: a talkspurt cannot begin earlier.
    pub(super) const fn free_at(&self) -> Option<Instant> {
        self.free_at
    }

    /// How often sending fell so far behind that the clock was moved.
    pub(super) const fn stalls(&self) -> u64 {
        self.stalls
    }

    /// Starts a talkspurt whose first frame is due now. Its timestamp is as far from the first one as `now` is.
    pub(super) fn begin(&mut self, now: Instant) {
        let epoch = *self.epoch.get_or_insert(now);
        let elapsed = now.saturating_duration_since(epoch).as_nanos();
        let tick = (elapsed * u128::from(FRAME_TICKS) / FRAME.as_nanos()) as u64;
        self.next_tick = self.next_tick.max(tick);
        self.talkspurt = Some(Talkspurt { start: now, sent: 0 });
    }

    /// Takes the slot that is due.
    pub(super) fn take(&mut self, now: Instant) -> Option<Slot> {
        let talkspurt = self.talkspurt.as_mut()?;
        let lateness = now.saturating_duration_since(talkspurt.deadline());
        if let Some(excess) = lateness.checked_sub(MAX_BACKLOG).filter(|excess| !excess.is_zero()) {
            talkspurt.start += excess;
            self.stalls += 1;
        }
        let marker = talkspurt.sent == 0;
        talkspurt.sent += 1;
        let rtp_timestamp = self.timestamp();
        self.next_tick += u64::from(FRAME_TICKS);
        Some(Slot { rtp_timestamp, marker, lateness })
    }

    /// Ends the talkspurt and returns the timestamp behind its last frame. The packet that says so stands for 20 ms like
    /// any other: a receiver would take a frame with the same timestamp for a late copy of it.
    pub(super) fn end(&mut self) -> Option<u32> {
        self.free_at = Some(self.talkspurt.take()?.deadline() + FRAME);
        let rtp_timestamp = self.timestamp();
        self.next_tick += u64::from(FRAME_TICKS);
        Some(rtp_timestamp)
    }

    const fn timestamp(&self) -> u32 {
        self.rtp_start.wrapping_add(self.next_tick as u32)
    }
}
