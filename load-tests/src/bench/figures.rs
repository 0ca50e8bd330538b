//! From sights and readings to times.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use voxgate_caller::{CallTimings, Step};

use super::histogram::Histogram;
use super::log::{Entry, Sight};
use super::speech::{beginnings, is_large, passages};

/// The longest an answer may take to the caller to be counted as the one the provider began.
const LONGEST_EGRESS: Duration = Duration::from_secs(1);

/// The gateway's histograms that are read, by their short name.
pub const HISTOGRAMS: [(&str, &str); 4] = [
    ("ingress", "voxgate_ingress_seconds"),
    ("egress", "voxgate_egress_seconds"),
    ("pacing_late", "voxgate_pacing_late_seconds"),
    ("answer", "voxgate_answer_seconds"),
];

/// Named readings of the gateway's histograms.
pub type Inside = BTreeMap<&'static str, Histogram>;

/// Reads every histogram from the metrics page.
#[must_use]
pub fn read_inside(page: &str) -> Inside {
    HISTOGRAMS.iter().map(|(short, name)| (*short, Histogram::read(page, name))).collect()
}

/// What was observed between two readings.
#[must_use]
pub fn between(earlier: &Inside, later: &Inside) -> Inside {
    let empty = Histogram::default();
    later.iter().map(|(name, now)| (*name, now.since(earlier.get(name).unwrap_or(&empty)))).collect()
}

/// Times of one kind, each with the number of its session.
pub type Times = Vec<(usize, Duration)>;

/// From the datagram before the relay to the provider's receipt of its audio. `sessions` names session and
/// stream.
#[must_use]
pub fn ingress(log: &[Entry], sessions: &[(usize, u32)]) -> Times {
    let of_session = |(session, ssrc): &(usize, u32)| {
        let sent = log.iter().filter_map(|entry| match entry.sight {
            Sight::Sent { ssrc: whose, size } if whose == *ssrc => Some((entry.at, is_large(size))),
            _ => None,
        });
        let heard = log.iter().filter_map(|entry| match entry.sight {
            Sight::Heard { session: whose, is_loud } if whose == *session => Some((entry.at, is_loud)),
            _ => None,
        });
        let times = passages(&beginnings(sent), &beginnings(heard));
        let session = *session;
        times.into_iter().map(move |time| (session, time))
    };
    sessions.iter().flat_map(of_session).collect()
}

/// From the provider's first bytes of an answer to the first packet of the talkspurt they begin.
#[must_use]
pub fn egress(log: &[Entry], sessions: &[(usize, u32)]) -> Times {
    let mut times = Times::new();
    for (session, ssrc) in sessions {
        let mut answered: Option<Instant> = None;
        for entry in log {
            match entry.sight {
                Sight::Answered { session: whose } if whose == *session => answered = Some(entry.at),
                Sight::Came { ssrc: whose, begins: true } if whose == *ssrc => {
                    let took = answered.take().map(|at| entry.at.saturating_duration_since(at));
                    times.extend(took.filter(|took| *took < LONGEST_EGRESS).map(|took| (*session, took)));
                }
                _ => {}
            }
        }
    }
    times
}

/// The steps of connecting, in milliseconds since the POST of the offer.
#[derive(Clone, Debug)]
pub struct SetUp {
    /// The session.
    pub session: usize,
    /// The answer has come, the path works, keys are exchanged, the channel is open, the caller's first audio
    /// has left.
    pub steps: Vec<(&'static str, Duration)>,
    /// The caller's first audio has reached the provider.
    pub audio_at_provider: Option<Duration>,
    /// The gateway's first audio has reached the caller, who asked for an answer as soon as that was
    /// possible.
    pub audio_at_caller: Option<Duration>,
}

impl SetUp {
    /// From the timings of a call and what was seen at the provider.
    #[must_use]
    pub fn of(session: usize, timings: &CallTimings, log: &[Entry]) -> Option<Self> {
        const STEPS: [Step; 5] = [
            Step::AnswerReceived,
            Step::IceConnected,
            Step::DtlsConnected,
            Step::ChannelOpen,
            Step::FirstAudioOut,
        ];
        let offered = timings.at(Step::OfferSent)?;
        let since = |at: Instant| at.saturating_duration_since(offered);
        let steps =
            STEPS.iter().filter_map(|step| Some((step.as_str(), since(timings.at(*step)?)))).collect();
        let first = log
            .iter()
            .find(|entry| matches!(entry.sight, Sight::Heard { session: whose, .. } if whose == session));
        let audio_at_provider = first.map(|entry| since(entry.at));
        let audio_at_caller = timings.at(Step::FirstAudioIn).map(since);
        Some(Self { session, steps, audio_at_provider, audio_at_caller })
    }
}

/// The time at or below which a share of the times lie (nearest rank); nothing of none.
#[must_use]
pub fn quantile(times: &[Duration], share: f64) -> Option<Duration> {
    let mut sorted = times.to_vec();
    sorted.sort_unstable();
    let rank = (share * sorted.len() as f64).ceil() as usize;
    sorted.get(rank.max(1) - 1).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quantile_is_one_of_the_times() {
        let times: Vec<Duration> = (1..=100).rev().map(Duration::from_millis).collect();
        assert_eq!(quantile(&times, 0.5), Some(Duration::from_millis(50)));
        assert_eq!(quantile(&times, 0.99), Some(Duration::from_millis(99)));
        assert_eq!(quantile(&times, 1.0), Some(Duration::from_millis(100)));
        assert_eq!(quantile(&times[..1], 0.0), Some(Duration::from_millis(100)));
        assert_eq!(quantile(&[], 0.5), None);
    }

    #[test]
    fn an_answer_is_paired_with_the_talkspurt_of_its_own_session() {
        let start = Instant::now();
        let at = |ms, sight| Entry { at: start + Duration::from_millis(ms), sight };
        let log = [
            at(0, Sight::Answered { session: 3 }),
            at(1, Sight::Came { ssrc: 40, begins: true }),
            at(2, Sight::Came { ssrc: 30, begins: false }),
            at(5, Sight::Came { ssrc: 30, begins: true }),
            at(9, Sight::Came { ssrc: 30, begins: true }),
        ];
        let found = egress(&log, &[(3, 30), (4, 40)]);
        assert_eq!(found, [(3, Duration::from_millis(5))]);
    }

    #[test]
    fn a_tone_is_followed_from_the_wire_to_the_provider() {
        let start = Instant::now();
        let mut log = Vec::new();
        for frame in 0..24 {
            let is_tone = frame % 12 >= 7;
            let at = start + Duration::from_millis(20) * frame;
            log.push(Entry { at, sight: Sight::Sent { ssrc: 30, size: if is_tone { 120 } else { 40 } } });
            let at = at + Duration::from_micros(700);
            log.push(Entry { at, sight: Sight::Heard { session: 3, is_loud: is_tone } });
        }
        assert_eq!(ingress(&log, &[(3, 30)]), [(3, Duration::from_micros(700)); 2]);
        assert_eq!(ingress(&log, &[(3, 31)]), []);
    }
}
