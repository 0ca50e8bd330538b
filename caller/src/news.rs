//! When a caller tells what it measured of itself: at once if something changed, else with what it sends anyway.

use std::time::{Duration, Instant};

use crate::turn::ClientReport;

/// A caller without news says so this often.
const LONGEST_SILENCE: Duration = Duration::from_secs(5);

/// A time that moved by less, or by less than [`SHARE`] of itself, is no news.
const LEAST_MS: f64 = 10.0;
const SHARE: f64 = 0.25;

/// What was measured and what of it was told.
#[derive(Debug, Default)]
pub(crate) struct News {
    told: Option<(Instant, ClientReport)>,
    waiting: Option<ClientReport>,
}

impl News {
    /// Takes a reading, counted since the one before. What to tell at once, if anything.
    pub(crate) fn read(&mut self, now: Instant, reading: ClientReport) -> Option<ClientReport> {
        let waiting = self.waiting.map_or(reading, |waiting| both(&waiting, &reading));
        self.waiting = Some(waiting);
        let is_due = self.told.is_none_or(|(at, told)| {
            now.saturating_duration_since(at) >= LONGEST_SILENCE || is_news(&told, &waiting)
        });
        if is_due { self.take(now) } else { None }
    }

    /// What was not told so far; it goes with another message.
    pub(crate) fn take(&mut self, now: Instant) -> Option<ClientReport> {
        let report = self.waiting.take()?;
        self.told = Some((now, report));
        Some(report)
    }
}

fn both(before: &ClientReport, now: &ClientReport) -> ClientReport {
    ClientReport {
        packets: before.packets.saturating_add(now.packets),
        lost: before.lost.saturating_add(now.lost),
        round_trip_ms: now.round_trip_ms.or(before.round_trip_ms),
        jitter_buffer_ms: now.jitter_buffer_ms.or(before.jitter_buffer_ms),
        playout_ms: now.playout_ms.or(before.playout_ms),
        capture_ms: now.capture_ms.or(before.capture_ms),
    }
}

fn is_news(told: &ClientReport, now: &ClientReport) -> bool {
    let moved = |time: fn(&ClientReport) -> Option<f64>| match (time(told), time(now)) {
        (Some(before), Some(now)) => (now - before).abs() > LEAST_MS.max(SHARE * before),
        (None, Some(_)) => true,
        (_, None) => false,
    };
    now.lost > 0
        || moved(|report| report.round_trip_ms)
        || moved(|report| report.jitter_buffer_ms)
        || moved(|report| report.playout_ms)
        || moved(|report| report.capture_ms)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn reading(buffer: f64) -> ClientReport {
        ClientReport {
            packets: 50,
            lost: 0,
            round_trip_ms: Some(20.0),
            jitter_buffer_ms: Some(buffer),
            playout_ms: None,
            capture_ms: Some(0.0),
        }
    }

    #[test]
    fn what_stays_as_it_is_is_told_every_five_seconds_with_all_that_was_counted_since() {
        let (mut news, start) = (News::default(), Instant::now());
        let told: Vec<_> = (0..11_u32)
            .filter_map(|second| Some((second, news.read(start + SECOND * second, reading(40.0))?.packets)))
            .collect();
        assert_eq!(told, [(0, 50), (5, 250), (10, 250)]);
    }

    #[test]
    fn what_is_lost_or_moves_is_told_at_once() {
        let (mut news, start) = (News::default(), Instant::now());
        assert!(news.read(start, reading(100.0)).is_some());
        assert_eq!(news.read(start + SECOND, reading(124.0)), None, "a quarter at most");
        let told = news.read(start + SECOND * 2, reading(126.0)).unwrap();
        assert_eq!((told.packets, told.jitter_buffer_ms), (100, Some(126.0)));
        let lost = ClientReport { lost: 1, ..reading(126.0) };
        assert_eq!(news.read(start + SECOND * 3, lost).unwrap().lost, 1);
        let known = ClientReport { playout_ms: Some(0.0), ..reading(126.0) };
        assert!(news.read(start + SECOND * 4, known).is_some(), "known for the first time");
        let still = ClientReport { jitter_buffer_ms: None, ..reading(0.0) };
        assert_eq!(news.read(start + SECOND * 5, still), None, "nothing plays");
    }

    #[test]
    fn what_goes_with_another_message_is_not_told_again() {
        let (mut news, start) = (News::default(), Instant::now());
        news.read(start, reading(40.0));
        assert_eq!(news.take(start), None);
        assert_eq!(news.read(start + SECOND, reading(40.0)), None);
        assert_eq!(news.take(start + SECOND * 2).unwrap().packets, 50);
        assert_eq!(news.read(start + SECOND * 6, reading(40.0)), None, "five seconds count from there");
    }
}
