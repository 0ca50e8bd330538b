//! When the next 20 ms of microphone sound are due.

use std::time::{Duration, Instant};

/// The length of a frame: what every WebRTC client sends.
pub const FRAME: Duration = Duration::from_millis(20);

/// Samples of a frame at 48 kHz, and so the step of its RTP timestamp (RFC 7587 section 4.1).
pub const FRAME_SAMPLES: usize = 960;

/// How far behind a microphone may fall before it gives up the missed frames. A stalled machine sends what it
/// captured meanwhile in one burst; after a longer stall a real capture buffer has overflowed.
const LONGEST_BURST: u64 = 10;

/// The clock of one microphone: frame `n` covers the time from `n` to `n + 1` frames after the start and leaves at
/// its end.
///
/// Deadlines are absolute, so a late wake-up never shifts the frames after it.
#[derive(Debug)]
pub struct Pacer {
    started: Instant,
    frame: u64,
    first_timestamp: u32,
    after_gap: bool,
}

/// One frame to fill and send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slot {
    /// When the first sample of the frame was captured.
    pub captured_from: Instant,
    /// The RTP timestamp, which advances with the clock and not with what was sent.
    pub timestamp: u32,
    /// Whether the frame does not follow the one before it: the first, or the first after a stall.
    pub marker: bool,
}

impl Pacer {
    /// A microphone opened at `now`. `first_timestamp` should be random (RFC 3550 section 5.1).
    #[must_use]
    pub const fn new(now: Instant, first_timestamp: u32) -> Self {
        Self { started: now, frame: 0, first_timestamp, after_gap: true }
    }

    /// When the next frame is complete.
    #[must_use]
    pub fn deadline(&self) -> Instant {
        self.started + frames(self.frame + 1)
    }

    /// The next frame, if it is complete. After a stall the frames come one by one without a wait.
    pub fn take(&mut self, now: Instant) -> Option<Slot> {
        let behind = now.checked_duration_since(self.deadline())?;
        let due = (behind.as_nanos() / FRAME.as_nanos()) as u64;
        if due > LONGEST_BURST {
            self.frame += due;
            self.after_gap = true;
        }
        let slot = Slot {
            captured_from: self.started + frames(self.frame),
            timestamp: self.first_timestamp.wrapping_add((self.frame * FRAME_SAMPLES as u64) as u32),
            marker: self.after_gap,
        };
        self.after_gap = false;
        self.frame += 1;
        Some(slot)
    }
}

/// The first moment from `now` on that lies a multiple of a frame after `beat`, or before it; `now` without one.
#[must_use]
pub fn on_beat(now: Instant, beat: Option<Instant>) -> Instant {
    let Some(beat) = beat else { return now };
    let frame = FRAME.as_nanos();
    let wait = match now.checked_duration_since(beat) {
        Some(behind) => (frame - behind.as_nanos() % frame) % frame,
        None => beat.saturating_duration_since(now).as_nanos() % frame,
    };
    now + Duration::from_nanos(wait as u64)
}

fn frames(count: u64) -> Duration {
    Duration::from_nanos(count * FRAME.as_nanos() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_on_a_beat_leave_at_multiples_of_a_frame_from_it() {
        let beat = Instant::now() + Duration::from_secs(10);
        let ms = Duration::from_millis;
        for (now, wanted) in [
            (beat, beat),
            (beat + ms(40), beat + ms(40)),
            (beat + ms(41), beat + ms(60)),
            (beat - ms(20), beat - ms(20)),
            (beat - ms(21), beat - ms(20)),
            (beat - ms(19), beat),
        ] {
            assert_eq!(on_beat(now, Some(beat)), wanted);
        }
        assert_eq!(on_beat(beat, None), beat);
    }

    #[test]
    fn a_frame_leaves_when_its_last_sample_was_captured() {
        let start = Instant::now();
        let mut pacer = Pacer::new(start, 7);
        assert_eq!(pacer.take(start + FRAME - Duration::from_nanos(1)), None);
        let slot = Slot { captured_from: start, timestamp: 7, marker: true };
        assert_eq!(pacer.take(start + FRAME), Some(slot));
    }

    #[test]
    fn late_wake_ups_do_not_move_the_deadlines_after_them() {
        let start = Instant::now();
        let mut pacer = Pacer::new(start, 0);
        for frame in 1..=500_u32 {
            assert_eq!(pacer.deadline(), start + FRAME * frame);
            let slot = pacer.take(pacer.deadline() + Duration::from_millis(7)).unwrap();
            assert_eq!(slot.timestamp, (frame - 1) * 960);
        }
    }

    #[test]
    fn a_short_stall_is_made_up_for_in_one_burst() {
        let start = Instant::now();
        let mut pacer = Pacer::new(start, 0);
        let late = start + FRAME * 10;
        let burst: Vec<u32> =
            std::iter::from_fn(|| pacer.take(late)).map(|slot| slot.timestamp / 960).collect();
        assert_eq!(burst, (0..10).collect::<Vec<_>>());
    }

    #[test]
    fn a_long_stall_skips_the_clock_forward_and_marks_the_gap() {
        let start = Instant::now();
        let mut pacer = Pacer::new(start, 0);
        pacer.take(start + FRAME);
        let slot = pacer.take(start + FRAME * 100).unwrap();
        assert_eq!((slot.timestamp, slot.marker), (99 * 960, true));
        assert_eq!(pacer.take(start + FRAME * 100), None);
        assert!(!pacer.take(start + FRAME * 101).unwrap().marker);
    }

    #[test]
    fn the_timestamp_wraps() {
        let start = Instant::now();
        let mut pacer = Pacer::new(start, u32::MAX - 959);
        pacer.take(start + FRAME);
        assert_eq!(pacer.take(start + FRAME * 2).unwrap().timestamp, 0);
    }
}
