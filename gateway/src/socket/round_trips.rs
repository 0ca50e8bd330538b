//! Round trips of a WebSocket, by the answers to its pings (RFC 6455 section 5.5.2).
//!
//! Every client answers pings, mostly below the program that uses it. What a ping waits for behind audio that is on its way counts: so
//! does the next answer.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Pings that follow quickly on each other, so that the first turn has a round trip.
const QUICK_PINGS: u64 = 3;
const QUICK_INTERVAL: Duration = Duration::from_millis(250);

/// Later ones: about one a turn. Much shorter than the idle timeouts of proxies.
const INTERVAL: Duration = Duration::from_secs(5);

/// Answers of which the quickest counts for a turn: one that waited behind audio or for a busy client says little of the next.
const RECENT: usize = 3;

/// Pings that wait for an answer. A client may answer only the newest.
const MOST_UNANSWERED: usize = 8;

/// An answer says nothing of the time so long after it: two more should have come since.
const STALE: Duration = Duration::from_secs(15);

/// Follows one connection.
#[derive(Debug)]
pub(super) struct RoundTrips {
    next: Instant,
    pings: u64,
    /// Without an answer so far, the oldest first.
    asked: VecDeque<(u64, Instant)>,
    /// With the time of the answer, the newest last.
    recent: VecDeque<(Instant, Duration)>,
}

impl RoundTrips {
    pub(super) const fn new(now: Instant) -> Self {
        Self { next: now, pings: 0, asked: VecDeque::new(), recent: VecDeque::new() }
    }

    /// When the next ping is due.
    pub(super) const fn poll_timeout(&self) -> Instant {
        self.next
    }

    /// What the ping that leaves now has to say.
    pub(super) fn ping(&mut self, now: Instant) -> [u8; 8] {
        self.pings += 1;
        if self.asked.len() == MOST_UNANSWERED {
            self.asked.pop_front();
        }
        self.asked.push_back((self.pings, now));
        self.next = now + if self.pings < QUICK_PINGS { QUICK_INTERVAL } else { INTERVAL };
        self.pings.to_be_bytes()
    }

    /// A pong came. False if it answers nothing that was asked: clients may send them unasked.
    pub(super) fn pong(&mut self, now: Instant, payload: &[u8]) -> bool {
        let number = <[u8; 8]>::try_from(payload).map(u64::from_be_bytes);
        let index = number.ok().and_then(|number| self.asked.iter().position(|(asked, _)| *asked == number));
        let Some((_, asked)) = index.and_then(|index| self.asked.drain(..=index).next_back()) else {
            return false;
        };
        if self.recent.len() == RECENT {
            self.recent.pop_front();
        }
        self.recent.push_back((now, now.saturating_duration_since(asked)));
        true
    }

    /// The newest.
    pub(super) fn newest(&self, now: Instant) -> Option<Duration> {
        let fresh = self.recent.back().filter(|(at, _)| now.saturating_duration_since(*at) <= STALE);
        fresh.map(|(_, round_trip)| *round_trip)
    }

    /// The quickest of the last few.
    pub(super) fn quickest(&self) -> Option<Duration> {
        self.recent.iter().map(|(_, round_trip)| *round_trip).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn a_round_trip_lies_between_a_ping_and_its_own_answer() {
        let start = Instant::now();
        let mut trips = RoundTrips::new(start);
        let pings: Vec<_> = (0..3).map(|number| trips.ping(start + number * 100 * MS)).collect();
        assert!(!trips.pong(start + 300 * MS, b"unasked") && trips.newest(start).is_none());
        assert!(trips.pong(start + 340 * MS, &pings[1]));
        assert_eq!(trips.newest(start + 340 * MS), Some(240 * MS));
        assert!(!trips.pong(start + 350 * MS, &pings[0]), "the answer to a later one was there before");
        assert!(!trips.pong(start + 360 * MS, &pings[1]), "an answer counts once");
        assert!(trips.pong(start + 500 * MS, &pings[2]));
        assert_eq!((trips.newest(start + 500 * MS), trips.quickest()), (Some(300 * MS), Some(240 * MS)));
    }

    #[test]
    fn one_slow_answer_does_not_count_for_turns_and_old_ones_are_forgotten() {
        let start = Instant::now();
        let mut trips = RoundTrips::new(start);
        let mut now = start;
        for round_trip in [20, 900, 30, 40, 50] {
            now = trips.poll_timeout().max(now);
            let ping = trips.ping(now);
            now += round_trip * MS;
            trips.pong(now, &ping);
        }
        assert_eq!((trips.quickest(), trips.newest(now)), (Some(30 * MS), Some(50 * MS)));
        assert_eq!(trips.newest(now + STALE + MS), None);
    }

    #[test]
    fn pings_are_quick_at_first_and_those_without_an_answer_do_not_pile_up() {
        let start = Instant::now();
        let mut trips = RoundTrips::new(start);
        let mut times = Vec::new();
        for _ in 0..1_000 {
            let now = trips.poll_timeout();
            times.push(now - start);
            trips.ping(now);
        }
        assert_eq!(times[..4], [Duration::ZERO, 250 * MS, 500 * MS, 5_500 * MS]);
        assert_eq!(trips.asked.len(), MOST_UNANSWERED);
    }
}
