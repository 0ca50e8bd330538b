//! The clock of one turn: every stretch of time goes to exactly one hop.

use std::time::{Duration, Instant};

use voxgate_protocol::timeline::{Certainty, Hop, HopTime, TurnTimeline};

/// Measures one turn from the arrival of the caller's last speech sample.
///
/// A cursor moves forward through time; each mark gives the stretch it passed to one hop. So the hops sum to the
/// whole by construction, and a mark that comes too early takes nothing.
#[derive(Clone, Debug)]
pub struct TurnClock {
    cursor: Instant,
    hops: Vec<HopTime>,
}

impl TurnClock {
    /// Starts at the arrival of the packet with the last speech sample.
    #[must_use]
    pub const fn start(arrived: Instant) -> Self {
        Self { cursor: arrived, hops: Vec::new() }
    }

    /// Gives the time from the last mark until `at` to a hop.
    pub fn mark(&mut self, hop: Hop, at: Instant) {
        let passed = at.saturating_duration_since(self.cursor);
        self.cursor = self.cursor.max(at);
        self.add(hop, passed, Certainty::Measured);
    }

    /// Adds a stretch outside the marked time: before the arrival, or after the last packet left.
    pub fn add(&mut self, hop: Hop, duration: Duration, certainty: Certainty) {
        if let Some(known) = self.hops.iter_mut().find(|known| known.hop == hop) {
            known.duration += duration;
            if certainty == Certainty::Estimated {
                known.certainty = certainty;
            }
        } else {
            self.hops.push(HopTime { hop, duration, certainty });
        }
    }

    /// Whether a hop took part so far.
    #[must_use]
    pub fn has(&self, hop: Hop) -> bool {
        self.hops.iter().any(|known| known.hop == hop)
    }

    /// The finished waterfall, hops in their order in time.
    #[must_use]
    pub fn finish(mut self, turn: u32) -> TurnTimeline {
        self.hops.sort_by_key(|known| known.hop);
        TurnTimeline { turn, hops: self.hops }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn the_hops_sum_exactly_to_the_whole() {
        let start = Instant::now();
        let mut clock = TurnClock::start(start);
        clock.mark(Hop::Jitter, start + 3 * MS);
        clock.mark(Hop::Endpointing, start + 503 * MS);
        clock.mark(Hop::Model, start + 803 * MS);
        clock.add(Hop::Downlink, 20 * MS, Certainty::Estimated);
        clock.add(Hop::Capture, 15 * MS, Certainty::Estimated);
        let timeline = clock.finish(1);
        assert_eq!(timeline.mouth_to_ear(), 838 * MS);
        let order: Vec<_> = timeline.hops.iter().map(|hop| hop.hop).collect();
        assert_eq!(order, [Hop::Capture, Hop::Jitter, Hop::Endpointing, Hop::Model, Hop::Downlink]);
    }

    #[test]
    fn a_mark_from_the_past_takes_nothing_and_loses_nothing() {
        let start = Instant::now();
        let mut clock = TurnClock::start(start);
        clock.mark(Hop::Endpointing, start + 500 * MS);
        clock.mark(Hop::Stt, start + 200 * MS);
        clock.mark(Hop::Model, start + 700 * MS);
        let timeline = clock.finish(2);
        assert_eq!(timeline.hops[1].duration, Duration::ZERO);
        assert_eq!(timeline.mouth_to_ear(), 700 * MS);
    }

    #[test]
    fn a_hop_passed_twice_is_one_hop_with_both_stretches() {
        let start = Instant::now();
        let mut clock = TurnClock::start(start);
        clock.mark(Hop::Model, start + 100 * MS);
        clock.mark(Hop::Unattributed, start + 150 * MS);
        clock.mark(Hop::Model, start + 250 * MS);
        let timeline = clock.finish(3);
        assert_eq!(timeline.hops.len(), 2);
        assert_eq!(timeline.hops[0].duration, 200 * MS);
    }
}
