//! Notes who was at work in a turn, and when. Who was waited for is reckoned elsewhere.

use std::time::{Duration, Instant};

use voxgate_protocol::timeline::{Certainty, Hop};
use voxgate_protocol::trace::{Moment, TurnTrace, Work};

/// Works one turn may have: each hop of a turn with a dozen tool calls. Later ones are nobody's.
const MOST_WORKS: usize = 64;

/// A hop outside the time the gateway sees: before the arrival, or after the last packet left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outside {
    /// Which.
    pub hop: Hop,
    /// How long.
    pub duration: Duration,
    /// How that is known.
    pub certainty: Certainty,
    /// How wrong it may be; zero if that is not known.
    pub error: Duration,
}

/// Notes one turn from the arrival of the caller's last speech sample.
///
/// A cursor moves forward through time: work whose beginning nobody saw began when the work before it was done.
#[derive(Clone, Debug)]
pub struct TurnTracer {
    arrived: Instant,
    cursor: Instant,
    works: Vec<(Hop, Instant, Instant)>,
}

impl TurnTracer {
    /// Starts at the arrival of the packet with the last speech sample.
    #[must_use]
    pub const fn start(arrived: Instant) -> Self {
        Self { arrived, cursor: arrived, works: Vec::new() }
    }

    /// A hop was at work from the last mark until `at`. One that is earlier than that mark did nothing.
    pub fn mark(&mut self, hop: Hop, at: Instant) {
        self.mark_since(hop, self.cursor, at);
    }

    /// A hop was at work since `begun`, possibly beside others or before the caller's last word.
    pub fn mark_since(&mut self, hop: Hop, begun: Instant, at: Instant) {
        if self.works.len() < MOST_WORKS && begun <= at {
            self.works.push((hop, begun, at));
        }
        self.cursor = self.cursor.max(at);
    }

    /// Nobody that is known was at work until `at`.
    pub fn pass(&mut self, at: Instant) {
        self.cursor = self.cursor.max(at);
    }

    /// The finished trace. `before` and `after` are in their order in time; the latter begins at the last mark.
    #[must_use]
    pub fn finish(self, turn: u32, before: &[Outside], after: &[Outside]) -> TurnTrace {
        let way_here: Duration = before.iter().map(|outside| outside.duration).sum();
        let earliest = self.works.iter().map(|(_, begun, _)| *begun).min().unwrap_or(self.arrived);
        // The arrival on the trace's clock, far enough from zero for all that came before it.
        let arrived = way_here.max(self.arrived.saturating_duration_since(earliest));
        let moment = |at: Instant| {
            let late = at.saturating_duration_since(self.arrived);
            let early = self.arrived.saturating_duration_since(at);
            (arrived + late).saturating_sub(early)
        };
        let leaves = moment(self.cursor);
        let mut works = chain(arrived.saturating_sub(way_here), before);
        works.extend(self.works.iter().map(|(hop, begun, at)| Work {
            hop: *hop,
            from: Moment::read(moment(*begun)),
            to: Moment::read(moment(*at)),
        }));
        works.extend(chain(leaves, after));
        let way_back: Duration = after.iter().map(|outside| outside.duration).sum();
        // What the client's buffers add is known without its error, and so is the whole.
        let derived = |at: Duration| Moment::derived(at, Duration::ZERO);
        let (mouth, ear) = (derived(arrived.saturating_sub(way_here)), derived(leaves + way_back));
        TurnTrace { arrived, sent: leaves, ..TurnTrace::new(turn, mouth, ear, works) }
    }
}

/// One behind the other.
fn chain(mut at: Duration, hops: &[Outside]) -> Vec<Work> {
    let mut works = Vec::with_capacity(hops.len());
    for Outside { hop, duration, certainty, error } in hops.iter().copied() {
        let moment = |at: Duration, error: Duration| Moment { at, certainty, error };
        works.push(Work { hop, from: moment(at, error), to: moment(at + duration, Duration::ZERO) });
        at += duration;
    }
    works
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn estimated(hop: Hop, duration: Duration) -> Outside {
        Outside { hop, duration, certainty: Certainty::Estimated, error: Duration::ZERO }
    }

    fn took(trace: &TurnTrace, hop: Hop) -> Vec<Duration> {
        trace.works.iter().filter(|work| work.hop == hop).map(|work| work.to.at - work.from.at).collect()
    }

    #[test]
    fn the_ways_outside_lie_around_the_time_the_gateway_sees() {
        let start = Instant::now();
        let mut tracer = TurnTracer::start(start);
        tracer.mark(Hop::Endpointing, start + 500 * MS);
        tracer.mark(Hop::Model, start + 800 * MS);
        let trace =
            tracer.finish(1, &[estimated(Hop::Capture, 15 * MS)], &[estimated(Hop::Downlink, 20 * MS)]);
        assert_eq!(trace.mouth_to_ear(), 835 * MS);
        let [capture, endpointing, model, downlink] = &trace.works[..] else { panic!("{trace:?}") };
        assert_eq!((capture.from.at, downlink.to.at), (trace.mouth.at, trace.ear.at));
        assert_eq!((capture.to.at, endpointing.to.at), (endpointing.from.at, model.from.at));
        assert_eq!(model.to.at, downlink.from.at);
    }

    #[test]
    fn work_that_began_before_the_last_word_keeps_its_beginning() {
        let start = Instant::now() + 10_000 * MS;
        let mut tracer = TurnTracer::start(start);
        tracer.mark(Hop::Endpointing, start + 500 * MS);
        tracer.mark_since(Hop::Stt, start - 2_000 * MS, start + 550 * MS);
        tracer.mark(Hop::Model, start + 700 * MS);
        let trace = tracer.finish(1, &[estimated(Hop::Capture, 10 * MS)], &[]);
        assert_eq!(took(&trace, Hop::Stt), [2_550 * MS]);
        assert_eq!(took(&trace, Hop::Model), [150 * MS], "the model began when the words were known");
        assert_eq!(trace.mouth_to_ear(), 710 * MS);
    }

    #[test]
    fn a_mark_from_the_past_does_nothing_and_time_nobody_worked_stays_nobodys() {
        let start = Instant::now();
        let mut tracer = TurnTracer::start(start);
        tracer.mark(Hop::Endpointing, start + 500 * MS);
        tracer.mark(Hop::Stt, start + 200 * MS);
        tracer.pass(start + 900 * MS);
        tracer.mark(Hop::Model, start + 1_000 * MS);
        let trace = tracer.finish(1, &[], &[]);
        assert_eq!((took(&trace, Hop::Stt).len(), took(&trace, Hop::Model)), (0, vec![100 * MS]));
        assert_eq!(trace.mouth_to_ear(), 1_000 * MS);
    }

    #[test]
    fn a_turn_without_end_stays_small() {
        let start = Instant::now();
        let mut tracer = TurnTracer::start(start);
        for number in 0..1_000 {
            tracer.mark(Hop::Model, start + number * MS);
        }
        let trace = tracer.finish(1, &[], &[]);
        assert_eq!((trace.works.len(), trace.mouth_to_ear()), (MOST_WORKS, 999 * MS));
    }
}
