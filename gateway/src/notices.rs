//! What servers of the operator are told of sessions: that one is over, with its figures, and that a turn took too long.
//! Never what was said.
//!
//! Nothing waits for them. A notice goes into a bounded queue and is sent from a task of the runtime, again and again with
//! longer and longer pauses, until its server has taken it or the configured attempts are used up.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use reqwest::{Client, StatusCode, Url};
use serde::Serialize;
use tokio::sync::{Notify, Semaphore, mpsc};
use voxgate_providers::Secret;
use voxgate_telemetry::latency::budget::Subject;
use voxgate_telemetry::metrics::Metrics;
use voxgate_telemetry::session::view::{SummaryView, TurnView};
use voxgate_telemetry::session::{SessionRecord, SessionSink};

use crate::host::since_unix_epoch;
use crate::webhook::{SIGNATURE, sign};

/// Notices of one server that may wait; beyond it they are dropped and counted.
const MOST_WAITING: usize = 1_024;

/// Notices to one server under way at once, those that wait for another attempt included.
const MOST_AT_ONCE: usize = 64;

/// The longest pause before another attempt.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// What a server can be told of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Occasion {
    /// A session is over.
    SessionEnded,
    /// A turn took longer than the whole may take on its route.
    TurnBreached,
}

impl Occasion {
    /// The word in the configuration and in notices.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::SessionEnded => "session_ended",
            Self::TurnBreached => "turn_breached",
        }
    }
}

/// A server as the configuration describes it.
#[derive(Clone, Debug)]
pub(crate) struct Recipient {
    /// Its name in metrics and logs.
    pub(crate) name: String,
    pub(crate) url: Url,
    /// What it is told of.
    pub(crate) occasions: Vec<Occasion>,
    /// Longest wait for an answer to one attempt.
    pub(crate) deadline: Duration,
    /// Attempts after the first one.
    pub(crate) retries: u32,
    /// Before the first of them; the pause doubles with each.
    pub(crate) pause: Duration,
    /// What notices are signed with.
    pub(crate) secret: Option<Secret>,
    /// Reaches that server and no other.
    pub(crate) http: Client,
}

/// A notice as it is sent.
#[derive(Serialize)]
struct Notice<'a> {
    version: u32,
    event: &'static str,
    /// The same however often it is sent.
    id: String,
    session: &'a SummaryView,
    #[serde(skip_serializing_if = "Option::is_none")]
    turn: Option<&'a TurnView>,
}

/// Tells every server. Clones share the queues; the tasks end with the last of them.
#[derive(Clone)]
pub(crate) struct Notices {
    boxes: Arc<[Letterbox]>,
    under_way: Arc<UnderWay>,
    metrics: Arc<Metrics>,
}

struct Letterbox {
    recipient: Arc<Recipient>,
    queue: mpsc::Sender<Arc<[u8]>>,
}

/// Notices that are not sent or given up yet.
#[derive(Default)]
struct UnderWay {
    notices: AtomicUsize,
    fewer: Notify,
}

impl Notices {
    /// Starts a task for each server, on the runtime this is called in.
    pub(crate) fn start(recipients: &[Arc<Recipient>], metrics: &Arc<Metrics>) -> Self {
        let under_way = Arc::<UnderWay>::default();
        let boxes = recipients.iter().map(|recipient| {
            let (queue, waiting) = mpsc::channel(MOST_WAITING);
            let recipient = Arc::clone(recipient);
            let post = Post {
                recipient: Arc::clone(&recipient),
                metrics: Arc::clone(metrics),
                under_way: Arc::clone(&under_way),
            };
            tokio::spawn(post.send_all(waiting));
            Letterbox { recipient, queue }
        });
        Self { boxes: boxes.collect(), under_way, metrics: Arc::clone(metrics) }
    }

    /// Waits until everything was sent or given up, but not for longer than this.
    pub(crate) async fn finish(&self, patience: Duration) {
        let all_sent = async {
            while self.under_way.notices.load(Ordering::Acquire) > 0 {
                self.under_way.fewer.notified().await;
            }
        };
        if tokio::time::timeout(patience, all_sent).await.is_err() {
            let notices = self.under_way.notices.load(Ordering::Acquire);
            tracing::warn!(notices, "webhooks were not told everything before the end");
        }
    }

    fn tell(&self, record: &SessionRecord, occasion: Occasion, turn: Option<&TurnView>) {
        let mut boxes =
            self.boxes.iter().filter(|one| one.recipient.occasions.contains(&occasion)).peekable();
        if boxes.peek().is_none() {
            return;
        }
        let session = record.summary();
        let id = match turn {
            Some(turn) => format!("{}.turn_{}.{}", session.id, turn.turn, occasion.as_str()),
            None => format!("{}.{}", session.id, occasion.as_str()),
        };
        let notice = Notice { version: 1, event: occasion.as_str(), id, session: &session, turn };
        let Ok(body) = serde_json::to_vec(&notice) else { return };
        let body: Arc<[u8]> = body.into();
        for Letterbox { recipient, queue } in boxes {
            self.under_way.notices.fetch_add(1, Ordering::AcqRel);
            if queue.try_send(Arc::clone(&body)).is_err() {
                self.under_way.is_done();
                self.metrics.session_webhooks.with_label_values(&[recipient.name.as_str(), "dropped"]).inc();
            }
        }
    }
}

impl UnderWay {
    fn is_done(&self) {
        self.notices.fetch_sub(1, Ordering::AcqRel);
        self.fewer.notify_waiters();
        // Whoever looked just before and does not wait yet finds this.
        self.fewer.notify_one();
    }
}

impl SessionSink for Notices {
    fn turn(&self, record: &SessionRecord, _: u32) {
        let Some(turn) = record.newest_turns(1).pop() else { return };
        if turn.breaches.iter().any(|breach| breach.subject == Subject::Whole.as_str()) {
            self.tell(record, Occasion::TurnBreached, Some(&turn));
        }
    }

    fn ended(&self, record: &SessionRecord) {
        self.tell(record, Occasion::SessionEnded, None);
    }
}

/// The way to one server.
#[derive(Clone)]
struct Post {
    recipient: Arc<Recipient>,
    metrics: Arc<Metrics>,
    under_way: Arc<UnderWay>,
}

/// Why a notice was not taken. Shows no address.
#[derive(Debug, thiserror::Error)]
enum Untaken {
    #[error("it cannot be reached")]
    Unreachable,
    #[error("it did not answer in time")]
    Late,
    #[error("it answered with status {0}")]
    Status(u16),
    #[error("the notice could not be signed")]
    Unsigned,
}

impl Untaken {
    /// Whether it may be taken later.
    const fn may_pass(&self) -> bool {
        match self {
            Self::Unreachable | Self::Late => true,
            // Too early, too many requests, or a fault of the server.
            Self::Status(status) => matches!(*status, 408 | 425 | 429 | 500..=599),
            Self::Unsigned => false,
        }
    }
}

impl Post {
    async fn send_all(self, mut waiting: mpsc::Receiver<Arc<[u8]>>) {
        let places = Arc::new(Semaphore::new(MOST_AT_ONCE));
        while let Some(body) = waiting.recv().await {
            let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
            let post = self.clone();
            tokio::spawn(async move {
                let outcome = if post.deliver(&body).await { "delivered" } else { "failed" };
                let labels = [post.recipient.name.as_str(), outcome];
                post.metrics.session_webhooks.with_label_values(&labels).inc();
                post.under_way.is_done();
                drop(place);
            });
        }
    }

    /// Whether the server has taken it in the end.
    async fn deliver(&self, body: &[u8]) -> bool {
        let mut pause = self.recipient.pause;
        for attempt in 0..=self.recipient.retries {
            let Err(error) = self.attempt(body).await else { return true };
            let is_last = attempt == self.recipient.retries || !error.may_pass();
            tracing::warn!(webhook = self.recipient.name, attempt, %error, is_last, "a webhook did not take a notice");
            if is_last {
                return false;
            }
            tokio::time::sleep(pause).await;
            pause = pause.saturating_mul(2).min(LONGEST_PAUSE);
        }
        false
    }

    async fn attempt(&self, body: &[u8]) -> Result<(), Untaken> {
        let Recipient { url, deadline, secret, http, .. } = &*self.recipient;
        let mut request = http.post(url.clone()).header("content-type", "application/json");
        if let Some(secret) = secret {
            // Each attempt says when it is made, so that an old one cannot be sent again by somebody else.
            let signature = sign(secret, since_unix_epoch().as_secs(), body).ok_or(Untaken::Unsigned)?;
            request = request.header(SIGNATURE, signature);
        }
        let answer = tokio::time::timeout(*deadline, request.body(body.to_vec()).send()).await;
        let answer = answer.map_err(|_| Untaken::Late)?.map_err(|_| Untaken::Unreachable)?;
        match answer.status() {
            status if status.is_success() => Ok(()),
            status => Err(Untaken::Status(StatusCode::as_u16(&status))),
        }
    }
}

#[cfg(test)]
mod tests;
