//! Judges outside: servers of the operator that are shown words and say what is to be done about them.
//!
//! Nothing waits for one. Words go on their way while a task of the runtime asks; its answer rings the session's bell. What
//! is not answered in time counts as the configuration says: as nothing, or as a rule that matched.

use std::sync::Arc;
use std::time::{Duration, Instant};

use hmac::{Hmac, Mac as _};
use reqwest::{Client, Response, StatusCode, Url};
use serde::Serialize;
use sha2::Sha256;
use thiserror::Error;
use tokio::sync::{Semaphore, mpsc};
use tracing::{Instrument as _, Span};
use voxgate_policy::guardrail::{Act, Direction, LONGEST_OPINION, Opinion};
use voxgate_protocol::id::{ItemId, SessionId};
use voxgate_providers::Secret;
use voxgate_telemetry::metrics::Metrics;

use crate::approvals::Ring;
use crate::host::since_unix_epoch;

/// Questions of all sessions that may wait to be asked; beyond it they count as unanswered at once.
const MOST_WAITING: usize = 1_024;

/// Questions under way at once.
const MOST_AT_ONCE: usize = 64;

/// Where the signature of a body stands: `t=<seconds since 1970>,v1=<hexadecimal HMAC-SHA256 of "<t>.<body>">`.
pub(crate) const SIGNATURE: &str = "voxgate-signature";

/// A judge as the configuration describes it.
#[derive(Clone, Debug)]
pub(crate) struct Judge {
    /// The name of its rule.
    pub(crate) name: String,
    /// Whose words it is shown.
    pub(crate) directions: Vec<Direction>,
    pub(crate) url: Url,
    /// Longest wait for an answer, from the words on.
    pub(crate) deadline: Duration,
    /// What counts if there is no answer in time; `None`: nothing.
    pub(crate) unanswered: Option<Act>,
    /// The sentence said instead if the judge wants a replacement and has none.
    pub(crate) say: Option<String>,
    /// Whether it may have words hidden.
    pub(crate) masks: bool,
    /// Whether it may be left unasked while turns are slow.
    pub(crate) is_optional: bool,
    /// What bodies are signed with.
    pub(crate) secret: Option<Secret>,
    /// Asks that server and no other.
    pub(crate) http: Client,
}

/// A client that trusts these authorities besides the public ones.
///
/// # Errors
/// If TLS cannot be set up.
pub(crate) fn client(authorities: Vec<reqwest::Certificate>) -> Result<Client, reqwest::Error> {
    if rustls::crypto::CryptoProvider::get_default().is_none() {
        // Somebody else may just have chosen one; then that one is used.
        let _ = rustls::crypto::ring::default_provider().install_default();
    }
    // What callers say goes to the configured server and nowhere else.
    Client::builder()
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .tls_certs_merge(authorities)
        .build()
}

/// What a judge is asked, as it is sent.
#[derive(Serialize)]
pub(crate) struct Shown {
    pub(crate) version: u32,
    pub(crate) rule: String,
    pub(crate) session_id: SessionId,
    pub(crate) direction: &'static str,
    pub(crate) item_id: ItemId,
    /// The item's words so far.
    pub(crate) words: String,
    /// Whether nothing of the item follows.
    pub(crate) is_complete: bool,
}

/// What came of a question.
#[derive(Debug)]
pub(crate) struct Answered {
    /// Which question: what the session called it.
    pub(crate) number: u64,
    /// `None` if there was no answer in time.
    pub(crate) opinion: Option<Opinion>,
}

pub(crate) struct Asked {
    judge: Arc<Judge>,
    pub(crate) number: u64,
    pub(crate) shown: Shown,
    at: Instant,
    pub(crate) reply: mpsc::Sender<Answered>,
    ring: Ring,
    /// Whose question it is.
    span: Span,
}

/// Asks the judges of a process. Clones share it; its task ends with the last of them.
#[derive(Clone)]
pub(crate) struct Webhooks {
    asked: mpsc::Sender<Asked>,
}

impl Webhooks {
    /// Starts the task that asks, on the runtime this is called in.
    pub(crate) fn start(metrics: Arc<Metrics>) -> Self {
        let (asked, waiting) = mpsc::channel(MOST_WAITING);
        tokio::spawn(ask_all(waiting, metrics));
        Self { asked }
    }

    /// Asks a judge; the answer goes to `reply`, then `ring` is called. Never waits. False if too much waits already.
    pub(crate) fn ask(
        &self,
        judge: &Arc<Judge>,
        (number, shown): (u64, Shown),
        reply: mpsc::Sender<Answered>,
        ring: Ring,
    ) -> bool {
        let judge = Arc::clone(judge);
        let asked = Asked { judge, number, shown, at: Instant::now(), reply, ring, span: Span::current() };
        self.asked.try_send(asked).is_ok()
    }

    /// Nobody ever answers.
    #[cfg(test)]
    pub(crate) fn deaf() -> Self {
        Self::answered_by_hand(1).0
    }

    /// The test answers; so many questions may wait.
    #[cfg(test)]
    pub(crate) fn answered_by_hand(waiting: usize) -> (Self, mpsc::Receiver<Asked>) {
        let (asked, questions) = mpsc::channel(waiting);
        (Self { asked }, questions)
    }
}

async fn ask_all(mut waiting: mpsc::Receiver<Asked>, metrics: Arc<Metrics>) {
    let places = Arc::new(Semaphore::new(MOST_AT_ONCE));
    while let Some(asked) = waiting.recv().await {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        let metrics = Arc::clone(&metrics);
        let span = asked.span.clone();
        let asking = async move {
            answer(asked, &metrics).await;
            drop(place);
        };
        tokio::spawn(asking.instrument(span));
    }
}

async fn answer(asked: Asked, metrics: &Metrics) {
    let Asked { judge, number, shown, at, reply, ring, .. } = asked;
    let rest = judge.deadline.saturating_sub(at.elapsed());
    let (outcome, opinion) = match tokio::time::timeout(rest, ask(&judge, &shown)).await {
        Ok(Ok(opinion)) => ("answered", Some(opinion)),
        Ok(Err(error)) => {
            tracing::warn!(rule = judge.name, %error, "a guardrail webhook gave no opinion");
            ("failed", None)
        }
        Err(_) => ("late", None),
    };
    metrics.guardrail_webhooks.with_label_values(&[judge.name.as_str(), outcome]).inc();
    Metrics::observe(&metrics.guardrail_webhook_seconds, at.elapsed());
    // A session that is over needs no opinion.
    if reply.send(Answered { number, opinion }).await.is_ok() {
        ring();
    }
}

/// Why there is no opinion. Shows no words and no address.
#[derive(Debug, Error)]
enum AskError {
    #[error("it cannot be reached")]
    Unreachable,
    #[error("it answered with status {0}")]
    Status(u16),
    #[error(transparent)]
    Opinion(#[from] voxgate_policy::guardrail::OpinionError),
    #[error("it wants words hidden, which the configuration does not let it (webhook.masks)")]
    MayNotMask,
    #[error("the question could not be written")]
    Unwritten,
}

async fn ask(judge: &Judge, shown: &Shown) -> Result<Opinion, AskError> {
    let body = serde_json::to_vec(shown).map_err(|_| AskError::Unwritten)?;
    let mut request = judge.http.post(judge.url.clone()).header("content-type", "application/json");
    if let Some(secret) = &judge.secret {
        let signature = sign(secret, since_unix_epoch().as_secs(), &body).ok_or(AskError::Unwritten)?;
        request = request.header(SIGNATURE, signature);
    }
    let response = request.body(body).send().await.map_err(|_| AskError::Unreachable)?;
    if response.status() != StatusCode::OK {
        return Err(AskError::Status(response.status().as_u16()));
    }
    match Opinion::parse(&read(response).await?)? {
        Opinion::Mask { .. } if !judge.masks => Err(AskError::MayNotMask),
        opinion => Ok(opinion),
    }
}

/// The body, as far as one byte beyond what is accepted.
async fn read(mut response: Response) -> Result<Vec<u8>, AskError> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|_| AskError::Unreachable)? {
        let room = (LONGEST_OPINION + 1).saturating_sub(body.len());
        body.extend_from_slice(&chunk[..chunk.len().min(room)]);
        if body.len() > LONGEST_OPINION {
            break;
        }
    }
    Ok(body)
}

/// The signature of a body made at a time in seconds since 1970.
pub(crate) fn sign(secret: &Secret, at: u64, body: &[u8]) -> Option<String> {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.reveal().as_bytes()).ok()?;
    mac.update(format!("{at}.").as_bytes());
    mac.update(body);
    let digest = mac.finalize().into_bytes();
    let hexadecimal: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    Some(format!("t={at},v1={hexadecimal}"))
}

#[cfg(test)]
mod tests;
