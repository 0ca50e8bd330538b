//! One request to the collector, and another try if it does not take it.

use std::io::Write as _;
use std::time::Duration;

use flate2::write::GzEncoder;
use prometheus::IntCounterVec;
use reqwest::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, RETRY_AFTER};
use reqwest::{Client, StatusCode, Url};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};

use super::Compression;

/// The wait after the first request that failed; it doubles with each further one.
const FIRST_WAIT: Duration = Duration::from_millis(500);

/// Longest wait between two tries, also if the collector asks for more.
const LONGEST_WAIT: Duration = Duration::from_secs(30);

/// What became of what was to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// The collector has it.
    Sent,
    /// The collector does not want it.
    Refused,
    /// The collector could not be reached in time, or had no time.
    Unreachable,
}

impl Outcome {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Sent => "sent",
            Self::Refused => "refused",
            Self::Unreachable => "unreachable",
        }
    }
}

/// A request that failed.
#[derive(Debug)]
pub(super) struct Failed {
    pub(super) outcome: Outcome,
    /// The status of the answer, if there was one.
    status: Option<StatusCode>,
    /// How long the collector wants to be left alone.
    wait: Option<Duration>,
}

/// The way to the collector for one kind of data.
pub(super) struct Delivery {
    /// `traces` or `metrics`.
    pub(super) signal: &'static str,
    pub(super) place: Url,
    pub(super) http: Client,
    pub(super) headers: HeaderMap,
    pub(super) timeout: Duration,
    pub(super) retry: Duration,
    pub(super) compression: Compression,
    /// Requests, by signal and outcome.
    pub(super) requests: IntCounterVec,
}

impl Delivery {
    /// Sends until the collector takes it, refuses it, or the time for it is over. When the process ends there is one more
    /// try and no more waiting.
    pub(super) async fn deliver(&self, body: &[u8], stopped: &mut watch::Receiver<bool>) -> Outcome {
        let until = Instant::now() + self.retry;
        let mut wait = FIRST_WAIT;
        let outcome = loop {
            let is_last = *stopped.borrow();
            let Err(failed) = self.once(body).await else { break Outcome::Sent };
            let next = failed.wait.unwrap_or_else(|| wait.mul_f64(jitter())).min(LONGEST_WAIT);
            if failed.outcome == Outcome::Refused || is_last || Instant::now() + next > until {
                self.complain(&failed);
                break failed.outcome;
            }
            tokio::select! {
                () = sleep(next) => {}
                _ = stopped.wait_for(|stopped| *stopped) => {}
            }
            wait = (wait * 2).min(LONGEST_WAIT);
        };
        self.count(outcome);
        outcome
    }

    /// Sends once.
    pub(super) async fn once(&self, body: &[u8]) -> Result<(), Failed> {
        let request = self.http.post(self.place.clone()).headers(self.headers.clone());
        let request = request.header(CONTENT_TYPE, "application/x-protobuf");
        let request = match self.packed(body) {
            Some(packed) => request.header(CONTENT_ENCODING, "gzip").body(packed),
            None => request.body(body.to_vec()),
        };
        let answer = timeout(self.timeout, request.send()).await;
        let unreachable = || Failed { outcome: Outcome::Unreachable, status: None, wait: None };
        let answer = answer.map_err(|_| unreachable())?.map_err(|_| unreachable())?;
        let status = answer.status();
        if status.is_success() {
            return Ok(());
        }
        // Those the specification says to try again; whatever else is refused stays refused.
        let is_busy = matches!(status.as_u16(), 429 | 502 | 503 | 504);
        let outcome = if is_busy { Outcome::Unreachable } else { Outcome::Refused };
        let wait =
            answer.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.trim().parse().ok());
        Err(Failed { outcome, status: Some(status), wait: wait.map(Duration::from_secs) })
    }

    fn packed(&self, body: &[u8]) -> Option<Vec<u8>> {
        if self.compression == Compression::None {
            return None;
        }
        let mut encoder = GzEncoder::new(Vec::new(), flate2::Compression::fast());
        // Writing to memory does not fail; if it did, the body would go as it is.
        encoder.write_all(body).ok()?;
        encoder.finish().ok()
    }

    pub(super) fn count(&self, outcome: Outcome) {
        self.requests.with_label_values(&[self.signal, outcome.as_str()]).inc();
    }

    fn complain(&self, failed: &Failed) {
        let status = failed.status.map(|status| status.as_u16());
        let signal = self.signal;
        tracing::warn!(signal, status, "the OpenTelemetry collector did not take what was sent");
    }
}

/// Half to one and a half, so that many gateways do not come back at once.
fn jitter() -> f64 {
    0.5 + getrandom::u32().map_or(0.5, |random| f64::from(random) / f64::from(u32::MAX))
}
