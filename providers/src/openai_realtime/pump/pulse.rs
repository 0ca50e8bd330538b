//! The deadlines of a connection.

use std::time::{Duration, Instant};

use voxgate_protocol::bridge::Fault;

use super::fault;

/// How often a ping is sent. Proxies on the way close what is silent for a minute or more.
const PING_INTERVAL: Duration = Duration::from_secs(15);
/// Three pings without a sign of life: the connection is gone.
const SILENCE_LIMIT: Duration = Duration::from_secs(45);
/// How long the loop sleeps if nothing is due: it computes the deadline anew.
const LONGEST_SLEEP: Duration = Duration::from_secs(60);

/// What is due.
pub(super) enum Due {
    /// A ping.
    Ping,
    /// The end.
    Fault(Fault),
}

/// When the vendor was heard last and what follows if it is not heard again. Pure.
pub(super) struct Pulse {
    connect_deadline: Option<Instant>,
    connect_until: Instant,
    stall_timeout: Duration,
    last_ping: Instant,
    /// The last message of any kind, pongs included.
    last_sign: Instant,
    /// The last event, or the moment an answer was asked for.
    last_word: Instant,
}

impl Pulse {
    pub(super) fn new(now: Instant, connect_timeout: Duration, stall_timeout: Duration) -> Self {
        let connect_until = now + connect_timeout;
        Self {
            connect_deadline: Some(connect_until),
            connect_until,
            stall_timeout,
            last_ping: now,
            last_sign: now,
            last_word: now,
        }
    }

    pub(super) const fn connect_deadline(&self) -> Instant {
        self.connect_until
    }

    /// The vendor has taken the settings.
    pub(super) const fn configured(&mut self) {
        self.connect_deadline = None;
    }

    /// A message came, or the time up to now does not count against the vendor.
    pub(super) fn heard(&mut self, now: Instant) {
        self.last_sign = now;
    }

    /// An event came.
    pub(super) fn spoke(&mut self, now: Instant) {
        self.last_word = now;
    }

    /// An answer was asked for.
    pub(super) fn asked(&mut self, now: Instant) {
        self.last_word = now;
    }

    /// The next moment [`Pulse::due`] has to be asked.
    pub(super) fn deadline(&self, is_reading: bool, is_answering: bool) -> Instant {
        let mut deadline = self.last_ping + PING_INTERVAL;
        if let Some(limit) = self.connect_deadline {
            deadline = deadline.min(limit);
        }
        if is_reading {
            deadline = deadline.min(self.last_sign + SILENCE_LIMIT);
            if is_answering {
                deadline = deadline.min(self.stalls_at());
            }
        }
        deadline.min(self.last_ping + LONGEST_SLEEP)
    }

    /// What is due now, one thing at a time.
    pub(super) fn due(&mut self, now: Instant, is_reading: bool, is_answering: bool) -> Option<Due> {
        if self.connect_deadline.is_some_and(|limit| now >= limit) {
            return Some(Due::Fault(fault::unreachable(
                "provider_connect_timeout",
                "The provider did not confirm the session's settings in time.".to_owned(),
            )));
        }
        if is_reading && now >= self.last_sign + SILENCE_LIMIT {
            return Some(Due::Fault(fault::unreachable(
                "provider_unreachable",
                "The provider stopped answering pings.".to_owned(),
            )));
        }
        if is_reading && is_answering && now >= self.stalls_at() {
            let seconds = self.stall_timeout.as_secs_f32();
            return Some(Due::Fault(fault::unreachable(
                "provider_stalled",
                format!("The provider was silent for {seconds} s in the middle of an answer."),
            )));
        }
        if now >= self.last_ping + PING_INTERVAL {
            self.last_ping = now;
            return Some(Due::Ping);
        }
        None
    }

    fn stalls_at(&self) -> Instant {
        self.last_word + self.stall_timeout
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STALL: Duration = Duration::from_secs(5);

    fn ready(now: Instant) -> Pulse {
        let mut pulse = Pulse::new(now, Duration::from_secs(3), STALL);
        pulse.configured();
        pulse
    }

    fn code(due: Option<Due>) -> Option<String> {
        if let Some(Due::Fault(fault)) = due { Some(fault.code) } else { None }
    }

    #[test]
    fn a_session_that_is_never_configured_times_out() {
        let start = Instant::now();
        let mut pulse = Pulse::new(start, Duration::from_secs(3), STALL);
        assert_eq!(pulse.deadline(true, false), start + Duration::from_secs(3));
        let late = start + Duration::from_secs(3);
        assert_eq!(code(pulse.due(late, true, false)).as_deref(), Some("provider_connect_timeout"));
    }

    #[test]
    fn silence_counts_only_while_an_answer_is_owed_and_we_listen() {
        let start = Instant::now();
        let mut pulse = ready(start);
        let late = start + STALL;
        assert!(pulse.due(late, true, false).is_none());
        assert!(pulse.due(late, false, true).is_none());
        assert_eq!(pulse.deadline(true, true), late);
        assert_eq!(code(pulse.due(late, true, true)).as_deref(), Some("provider_stalled"));
    }

    #[test]
    fn pings_go_out_and_unanswered_ones_end_the_connection() {
        let start = Instant::now();
        let mut pulse = ready(start);
        for round in 1..=2 {
            let now = start + PING_INTERVAL * round;
            assert!(matches!(pulse.due(now, true, false), Some(Due::Ping)));
            assert!(pulse.due(now, true, false).is_none());
        }
        let late = start + SILENCE_LIMIT;
        assert_eq!(code(pulse.due(late, true, false)).as_deref(), Some("provider_unreachable"));
    }
}
