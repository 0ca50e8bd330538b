//! The relay's side of the control protocol.

use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use reqwest::{Client, Response, StatusCode, Url};
use thiserror::Error;
use tokio::time::Instant;
use voxgate_protocol::id::RelayId;
use voxgate_relay::core::Directory;

use super::LONG_POLL;
use super::list::{AllowList, ListError};
use crate::data_dir::{DataDir, DataError};

/// The last list, inside the data folder. It holds keys.
const STORED: &str = "allow-list.json";
/// Pauses between attempts while the control plane is away: doubled from the shortest to the longest. Short, because a
/// gateway that has just restarted has new keys, and no new call gets through until its relays have them.
const SHORTEST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
/// How long a connection may take; relay and gateway are in one network.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// What an answer may take beyond the long poll.
const ANSWER_SLACK: Duration = Duration::from_secs(5);
/// The largest answer read: four thousand nodes take about 700 kB.
const LARGEST_LIST: usize = 2 << 20;
/// The longest explanation of a refusal that is logged.
const LONGEST_MESSAGE: usize = 200;

/// Why the client cannot be made.
#[derive(Debug, Error)]
pub(crate) enum ClientError {
    /// The CA file.
    #[error("cannot use the CA file {path}: {reason}")]
    Authority {
        /// Which file.
        path: String,
        /// Why.
        reason: String,
    },
    /// TLS could not be set up.
    #[error("cannot set up the connection to the control plane: {0}")]
    Client(String),
}

/// Why a list was not fetched.
#[derive(Debug, Error)]
enum FetchError {
    #[error("the control plane cannot be reached: {0}")]
    Unreachable(String),
    #[error("the control plane refused with {status}: {message}")]
    Refused { status: u16, message: String },
    #[error("the control plane sent something else than an allow-list: {0}")]
    Malformed(String),
    #[error(transparent)]
    List(#[from] ListError),
}

/// Asks the control plane.
#[derive(Debug)]
pub(crate) struct ControlClient {
    http: Client,
    url: Url,
    token: String,
}

impl ControlClient {
    /// A client for the list of one relay. `base` is checked: `http` or `https`, with a host. `authorities` is PEM to
    /// trust beside the public ones.
    ///
    /// # Errors
    /// [`ClientError`].
    pub(crate) fn new(
        base: &Url,
        relay: RelayId,
        token: String,
        authorities: Option<&Path>,
    ) -> Result<Self, ClientError> {
        let http = http_client(authorities, LONG_POLL + ANSWER_SLACK)?;
        let mut url = base.clone();
        let path = format!("{}/internal/v1/relays/{}/allow-list", base.path().trim_end_matches('/'), relay.0);
        url.set_path(&path);
        Ok(Self { http, url, token })
    }

    /// Asks for a list other than the one held. `None`: the one held is the present one.
    async fn fetch(&self, held: Option<u64>) -> Result<Option<AllowList>, FetchError> {
        let mut url = self.url.clone();
        if let Some(revision) = held {
            url.query_pairs_mut().append_pair("after", &revision.to_string());
        }
        let sent = self.http.get(url).bearer_auth(&self.token).send().await;
        let response = sent.map_err(|error| FetchError::Unreachable(innermost(&error)))?;
        let status = response.status();
        if status == StatusCode::NO_CONTENT {
            return Ok(None);
        }
        let body = read(response).await?;
        if status != StatusCode::OK {
            let message = String::from_utf8_lossy(&body);
            let message = message.trim().chars().take(LONGEST_MESSAGE).collect();
            return Err(FetchError::Refused { status: status.as_u16(), message });
        }
        let list = serde_json::from_slice(&body).map_err(|error| FetchError::Malformed(error.to_string()))?;
        Ok(Some(list))
    }
}

/// A client for requests that carry keys: neither the proxies of the environment nor redirects get them. `authorities` is PEM
/// to trust beside the public ones.
///
/// # Errors
/// [`ClientError`].
pub(crate) fn http_client(authorities: Option<&Path>, timeout: Duration) -> Result<Client, ClientError> {
    if rustls::crypto::CryptoProvider::get_default().is_none() {
        // Somebody else may just have chosen one; then that one is used.
        let _ = rustls::crypto::ring::default_provider().install_default();
    }
    let mut builder = Client::builder()
        .no_proxy()
        .connect_timeout(CONNECT_TIMEOUT)
        .timeout(timeout)
        .redirect(reqwest::redirect::Policy::none());
    if let Some(path) = authorities {
        builder = builder.tls_certs_merge(certificates(path)?);
    }
    builder.build().map_err(|error| ClientError::Client(innermost(&error)))
}

async fn read(mut response: Response) -> Result<Vec<u8>, FetchError> {
    let mut body = Vec::new();
    while let Some(chunk) =
        response.chunk().await.map_err(|error| FetchError::Unreachable(innermost(&error)))?
    {
        if body.len() + chunk.len() > LARGEST_LIST {
            return Err(FetchError::Malformed(format!("more than {LARGEST_LIST} bytes")));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

fn certificates(path: &Path) -> Result<Vec<reqwest::Certificate>, ClientError> {
    let unusable = |reason| ClientError::Authority { path: path.display().to_string(), reason };
    let pem = std::fs::read(path).map_err(|error| unusable(error.to_string()))?;
    let found = reqwest::Certificate::from_pem_bundle(&pem).map_err(|error| unusable(error.to_string()))?;
    if found.is_empty() { Err(unusable("it holds no certificate".to_owned())) } else { Ok(found) }
}

/// The innermost cause says what happened: "connection refused", not "error sending request".
pub(crate) fn innermost(error: &reqwest::Error) -> String {
    if error.is_timeout() {
        return "it took too long".to_owned();
    }
    let causes = std::iter::successors(std::error::Error::source(error), |cause| cause.source());
    causes.last().map_or_else(|| error.to_string(), ToString::to_string)
}

/// How old the relay's knowledge is, for readiness and metrics.
#[derive(Debug, Default)]
pub(crate) struct Freshness {
    confirmed: Mutex<Option<Confirmed>>,
}

#[derive(Clone, Copy, Debug)]
enum Confirmed {
    /// The control plane said so.
    ByControlPlane(Instant),
    /// The list comes from the data folder, where it was put then.
    Stored(SystemTime),
}

impl Freshness {
    /// Time since the list in use was known to be the present one; `None` without a list.
    pub(crate) fn age(&self) -> Option<Duration> {
        let confirmed = *self.confirmed.lock().unwrap_or_else(PoisonError::into_inner);
        confirmed.map(|confirmed| match confirmed {
            Confirmed::ByControlPlane(at) => at.elapsed(),
            Confirmed::Stored(at) => at.elapsed().unwrap_or_default(),
        })
    }

    /// Whether there is a list.
    pub(crate) fn has_list(&self) -> bool {
        self.confirmed.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    fn set(&self, confirmed: Confirmed) {
        *self.confirmed.lock().unwrap_or_else(PoisonError::into_inner) = Some(confirmed);
    }
}

/// The list of the data folder, if there is a usable one. A damaged one is as good as none: the control plane has it.
///
/// # Errors
/// [`DataError`] when the file is there and cannot be read.
pub(crate) fn stored_list(
    data: &DataDir,
    freshness: &Freshness,
) -> Result<Option<(u64, Directory)>, DataError> {
    let Some(text) = data.read(STORED)? else { return Ok(None) };
    let list = serde_json::from_str::<AllowList>(&text);
    let directory = list.as_ref().map(AllowList::directory);
    match (list.as_ref(), directory) {
        (Ok(list), Ok(Ok(directory))) => {
            let written = std::fs::metadata(data.path(STORED)).and_then(|file| file.modified());
            freshness.set(Confirmed::Stored(written.unwrap_or_else(|_| SystemTime::now())));
            Ok(Some((list.revision, directory)))
        }
        _ => {
            tracing::warn!(file = STORED, "the stored allow-list is damaged and not used");
            Ok(None)
        }
    }
}

/// Follows the control plane for ever: every new list is stored, then handed to `publish`. `held` is the revision the
/// relay starts with.
pub(crate) async fn follow(
    client: &ControlClient,
    data: &DataDir,
    freshness: &Freshness,
    mut held: Option<u64>,
    publish: impl Fn(Directory),
) {
    let mut pause = SHORTEST_PAUSE;
    let mut is_away = false;
    loop {
        match next(client, data, held, &publish).await {
            Ok(revision) => {
                held = revision;
                freshness.set(Confirmed::ByControlPlane(Instant::now()));
                if std::mem::take(&mut is_away) {
                    tracing::info!("the control plane answers");
                }
                pause = SHORTEST_PAUSE;
            }
            Err(error) => {
                if !std::mem::replace(&mut is_away, true) {
                    tracing::warn!(%error, has_list = freshness.has_list(), "no answer from the control plane; the relay asks on");
                }
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
        }
    }
}

/// One question; the revision held afterwards.
async fn next(
    client: &ControlClient,
    data: &DataDir,
    held: Option<u64>,
    publish: &impl Fn(Directory),
) -> Result<Option<u64>, FetchError> {
    let Some(list) = client.fetch(held).await? else { return Ok(held) };
    let directory = list.directory()?;
    let text = serde_json::to_vec(&list).map_err(|error| FetchError::Malformed(error.to_string()))?;
    // A list that cannot be stored is used all the same: calls come first.
    if let Err(error) = data.write_private(STORED, &text) {
        tracing::error!(%error, "the allow-list is used but could not be stored");
    }
    publish(directory);
    tracing::info!(nodes = list.nodes.len(), ufrag_keys = list.ufrag_keys.len(), "a new allow-list");
    Ok(Some(list.revision))
}
