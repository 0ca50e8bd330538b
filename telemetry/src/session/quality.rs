//! How a call sounds, as an estimate: the E-model (ITU-T G.107) with what a gateway can know.
//!
//! The rating is `R = 93.2 - Id - Ie,eff`, and the opinion score `MOS = 1 + 0.035 R + R (R - 60) (100 - R) 7e-6` (G.107,
//! annex B), 1 to 4.41:
//!
//! - `Id = 0.024 d + 0.11 (d - 177.3) [d > 177.3]` with the delay `d` from mouth to ear in milliseconds, the approximation of
//!   R. Cole and J. Rosenbluth (Voice over IP performance monitoring, 2001) for calls without audible echo;
//! - `Ie,eff = Ie + (95 - Ie) P / (P + Bpl)` with the share of packets `P` that were lost and not repaired, in percent, `Ie =
//!   0` and `Bpl = 25.1`: the figures of G.113, appendix I for G.711 with packet loss concealment and random loss.
//!   G.113 has none for Opus, which conceals at least as well.
//!
//! A call over WebSocket has no rating: nothing of it is lost, and the client's buffer, most of the delay, is not known.
//!
//! It is an estimate: it knows neither how bursty the loss is, nor the microphone, nor the voice, nor that the
//! answer takes its time; that is what the waterfall is for. It is good for "this call is worse than that one".

use std::time::Duration;

use super::facts::{DownlinkNote, NetworkNote, UplinkNote};

/// The rating of a call in which nothing is wrong (G.107 default values).
const BEST_RATING: f64 = 93.2;

/// The delay up to which a conversation does not suffer, in milliseconds.
const EASY_DELAY: f64 = 177.3;

/// Robustness against loss: G.711 with concealment (G.113, table I.4).
const LOSS_ROBUSTNESS: f64 = 25.1;

/// One frame of 20 ms and the coder's look-ahead of 6.5 ms, which pass before a packet leaves (RFC 6716, section 2).
const CODING: Duration = Duration::from_micros(26_500);

/// A second's rating: of the direction that fared worse. `None` if the round trip is not known, or nothing came either
/// way.
#[must_use]
pub fn rating(second: &NetworkNote) -> Option<f64> {
    let way = second.round_trip? / 2 + CODING;
    let uplink = second.uplink.and_then(|uplink| {
        let delay = way + uplink.buffer.unwrap_or_default();
        Some(rated(delay, uplink.loss_after_repair()?))
    });
    let downlink = second.downlink.and_then(|downlink| {
        let known = [downlink.buffer, downlink.playout, downlink.probable_wait];
        let delay = way + known.into_iter().flatten().sum::<Duration>();
        Some(rated(delay, downlink.loss()?))
    });
    match (uplink, downlink) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}

/// The rating for a delay and a share of lost packets, 0 to 1.
#[must_use]
pub fn rated(delay: Duration, loss: f64) -> f64 {
    let delay = delay.as_secs_f64() * 1_000.0;
    let by_delay = 0.024 * delay + 0.11 * (delay - EASY_DELAY).max(0.0);
    let percent = loss.clamp(0.0, 1.0) * 100.0;
    let by_loss = 95.0 * percent / (percent + LOSS_ROBUSTNESS);
    (BEST_RATING - by_delay - by_loss).clamp(0.0, BEST_RATING)
}

/// The opinion score of a rating.
#[must_use]
pub fn opinion(rating: f64) -> f64 {
    let rating = rating.clamp(0.0, 100.0);
    (1.0 + 0.035 * rating + rating * (rating - 60.0) * (100.0 - rating) * 7e-6).max(1.0)
}

impl UplinkNote {
    /// The share of packets nothing made up for; `None` without packets, or if none could be lost.
    fn loss_after_repair(&self) -> Option<f64> {
        let lost = self.lost?;
        share(lost.saturating_sub(self.recovered.unwrap_or_default()), self.packets.saturating_add(lost))
    }
}

impl DownlinkNote {
    fn loss(&self) -> Option<f64> {
        let lost = self.lost?;
        share(lost, self.packets?.saturating_add(lost))
    }
}

fn share(part: u32, whole: u32) -> Option<f64> {
    (whole > 0).then(|| f64::from(part) / f64::from(whole))
}

/// How a whole session sounded, and what was lost.
#[derive(Clone, Copy, Debug)]
pub(super) struct Quality {
    ratings: f64,
    rated: u32,
    sent: u64,
    lost: u64,
}

impl Quality {
    pub(super) const NONE: Self = Self { ratings: 0.0, rated: 0, sent: 0, lost: 0 };

    /// Counts a second. Its opinion score.
    pub(super) fn add(&mut self, second: &NetworkNote) -> Option<f64> {
        let uplink = second.uplink.and_then(|uplink| Some((uplink.packets, uplink.lost?)));
        let downlink = second.downlink.and_then(|downlink| Some((downlink.packets?, downlink.lost?)));
        for (packets, lost) in uplink.into_iter().chain(downlink) {
            self.sent = self.sent.saturating_add(u64::from(packets) + u64::from(lost));
            self.lost = self.lost.saturating_add(u64::from(lost));
        }
        let rating = rating(second)?;
        self.ratings += rating;
        self.rated = self.rated.saturating_add(1);
        Some(opinion(rating))
    }

    /// The score of the mean rating.
    pub(super) fn opinion(&self) -> Option<f64> {
        (self.rated > 0).then(|| opinion(self.ratings / f64::from(self.rated)))
    }

    /// Lost packets, repaired or not, of those sent.
    #[expect(clippy::cast_precision_loss, reason = "a session has fewer than 2^52 packets")]
    pub(super) fn loss(&self) -> Option<f64> {
        (self.sent > 0).then(|| self.lost as f64 / self.sent as f64)
    }

    /// The same in millionths; 0 if it is not known.
    pub(super) const fn loss_ppm(&self) -> u32 {
        match self.sent {
            0 => 0,
            sent => (self.lost.saturating_mul(1_000_000) / sent) as u32,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn the_score_is_that_of_the_published_curve() {
        // G.107, annex B, and the tables of R and MOS in G.109: 4.41 is the best, 80 is 4.03, 70 is 3.60, 50 is 2.58.
        for (rating, expected) in [(93.2, 4.41), (80.0, 4.03), (70.0, 3.60), (60.0, 3.10), (50.0, 2.58)] {
            assert!((opinion(rating) - expected).abs() < 0.01, "{rating}: {}", opinion(rating));
        }
        assert_eq!(opinion(-5.0), 1.0);
    }

    #[test]
    fn delay_costs_little_until_it_hinders_a_conversation_and_loss_costs_at_once() {
        assert!((rated(100 * MS, 0.0) - 90.8).abs() < 0.01);
        assert!((rated(400 * MS, 0.0) - (93.2 - 9.6 - 24.497)).abs() < 0.01);
        assert!((rated(Duration::ZERO, 0.05) - (93.2 - 95.0 * 5.0 / 30.1)).abs() < 0.01);
        assert_eq!(rated(10_000 * MS, 1.0), 0.0);
    }

    #[test]
    fn a_second_is_as_good_as_its_worse_direction_and_unknown_without_a_round_trip() {
        let uplink = UplinkNote { packets: 45, lost: Some(5), recovered: Some(5), ..UplinkNote::default() };
        let downlink = DownlinkNote {
            packets: Some(40),
            lost: Some(10),
            playout: Some(40 * MS),
            ..DownlinkNote::default()
        };
        let both = NetworkNote {
            round_trip: Some(40 * MS),
            uplink: Some(uplink),
            downlink: Some(downlink),
            pair: None,
        };
        assert_eq!(rating(&both), Some(rated(CODING + 60 * MS, 0.2)));
        let by_reports = DownlinkNote { playout: None, probable_wait: Some(100 * MS), ..downlink };
        let by_reports = NetworkNote { downlink: Some(by_reports), ..both.clone() };
        assert_eq!(rating(&by_reports), Some(rated(CODING + 120 * MS, 0.2)));
        let up = NetworkNote { downlink: None, ..both.clone() };
        assert_eq!(rating(&up), Some(rated(CODING + 20 * MS, 0.0)), "what was repaired is not heard");
        assert_eq!(rating(&NetworkNote { round_trip: None, ..both }), None);
        let messages = UplinkNote { packets: 50, jitter: Some(MS), ..UplinkNote::default() };
        assert_eq!(rating(&NetworkNote { uplink: Some(messages), ..up.clone() }), None);
        assert_eq!(rating(&NetworkNote { uplink: Some(UplinkNote::default()), ..up }), None);
    }

    #[test]
    fn a_session_is_rated_by_the_seconds_that_could_be() {
        let mut quality = Quality::NONE;
        assert_eq!((quality.opinion(), quality.loss()), (None, None));
        let uplink = UplinkNote { packets: 48, lost: Some(2), recovered: Some(0), ..UplinkNote::default() };
        let second = NetworkNote { round_trip: Some(MS), uplink: Some(uplink), ..NetworkNote::default() };
        quality.add(&second);
        quality.add(&NetworkNote { round_trip: None, ..second.clone() });
        assert_eq!(quality.opinion(), rating(&second).map(opinion));
        assert_eq!((quality.loss(), quality.loss_ppm()), (Some(0.04), 40_000));
    }
}
