//! How far the client's clock is from the gateway's, from questions and answers over the data channel.
//!
//! The arithmetic is that of NTP (RFC 5905 section 8): the answer was written between question and answer, so the middle
//! of the round trip is wrong by at most half of it. Which half was slower cannot be known.

use std::collections::VecDeque;
use std::time::Duration;

/// Exchanges remembered, as in NTP's clock filter.
const REMEMBERED: usize = 8;

/// How fast two clocks may run apart, in parts per million: crystals of consumer devices stay within 50, and there are
/// two of them.
const DRIFT_PPM: u32 = 100;

/// The zero of a client's clock is its own choice, and 1970 is a usual one. Later than 2100 is nonsense.
const LATEST_CLIENT_TIME: Duration = Duration::from_secs(130 * 366 * 86_400);

/// One question of the gateway and its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exchange {
    /// The question left, gateway's clock.
    pub asked: Duration,
    /// The question arrived, client's clock.
    pub received: Duration,
    /// The answer left, client's clock.
    pub replied: Duration,
    /// The answer arrived, gateway's clock.
    pub answered: Duration,
}

impl Exchange {
    /// Time on the way, both ways, without what the client took to answer. `None` if the four moments contradict each
    /// other, or are no times at all.
    #[must_use]
    pub fn round_trip(&self) -> Option<Duration> {
        if self.replied > LATEST_CLIENT_TIME || self.answered > LATEST_CLIENT_TIME {
            return None;
        }
        let passed = self.answered.checked_sub(self.asked)?;
        let held = self.replied.checked_sub(self.received)?;
        passed.checked_sub(held)
    }

    /// What to add to a time of the gateway for the client's time, in nanoseconds.
    fn offset(&self) -> i128 {
        let forth = nanos(self.received) - nanos(self.asked);
        let back = nanos(self.replied) - nanos(self.answered);
        i128::midpoint(forth, back)
    }
}

/// The relation of the two clocks at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClockOffset {
    ahead: i128,
    error: Duration,
}

impl ClockOffset {
    /// A time of the client's clock on the gateway's. `None` before the session's beginning, or for what is no time at
    /// all.
    #[must_use]
    pub fn to_gateway(&self, client: Duration) -> Option<Duration> {
        if client > LATEST_CLIENT_TIME {
            return None;
        }
        let at = nanos(client) - self.ahead;
        u64::try_from(at).ok().map(Duration::from_nanos)
    }

    /// The true relation is at most this far from the one assumed.
    #[must_use]
    pub const fn error(&self) -> Duration {
        self.error
    }

    /// What an exchange says of the clocks at a later moment.
    fn of(exchange: &Exchange, round_trip: Duration, now: Duration) -> Self {
        // The middle of an odd number of nanoseconds is rounded.
        let half = round_trip / 2 + Duration::from_nanos(1);
        let drift = now.saturating_sub(exchange.asked).saturating_mul(DRIFT_PPM) / 1_000_000;
        Self { ahead: exchange.offset(), error: half.saturating_add(drift) }
    }

    /// Whether both can be true.
    const fn agrees(&self, other: &Self) -> bool {
        let apart = self.ahead.abs_diff(other.ahead);
        apart <= self.error.as_nanos() + other.error.as_nanos()
    }
}

/// Follows the clock of one client.
#[derive(Clone, Debug, Default)]
pub struct ClientClock {
    exchanges: VecDeque<(Exchange, Duration)>,
}

impl ClientClock {
    /// Takes an exchange into account. Whether it made sense: one that contradicts itself is ignored. After one that
    /// contradicts those before, they are forgotten: the client's clock was set, or is another.
    pub fn exchanged(&mut self, exchange: Exchange) -> bool {
        let Some(round_trip) = exchange.round_trip() else { return false };
        let now = exchange.answered;
        let newest = ClockOffset::of(&exchange, round_trip, now);
        self.exchanges.retain(|(old, round_trip)| ClockOffset::of(old, *round_trip, now).agrees(&newest));
        if self.exchanges.len() == REMEMBERED {
            self.exchanges.pop_front();
        }
        self.exchanges.push_back((exchange, round_trip));
        true
    }

    /// The relation of the clocks at `now` on the gateway's, by the exchange that says it best: a quick one, even if
    /// it is a little old. `None` before the first exchange.
    #[must_use]
    pub fn offset(&self, now: Duration) -> Option<ClockOffset> {
        let known = self.exchanges.iter();
        known
            .map(|(exchange, round_trip)| ClockOffset::of(exchange, *round_trip, now))
            .min_by_key(ClockOffset::error)
    }
}

/// Fits: a [`Duration`] has at most 2⁶⁴ seconds, which are fewer than 2⁹⁴ nanoseconds.
const fn nanos(time: Duration) -> i128 {
    time.as_nanos().cast_signed()
}
