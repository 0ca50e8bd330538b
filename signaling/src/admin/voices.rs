//! What was kept of voices, to listen to, and the seam to whoever keeps it.

use std::convert::Infallible;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse as _, Response};
use futures_util::stream;
use serde_json::json;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use utoipa::ToSchema;
use voxgate_protocol::id::SessionId;

use super::AdminApi;
use super::order::{At, BareOrder, By};
use super::reply::{AdminError, Refusals};
use super::sessions::{SessionPath, record_of};

/// Recordings that are made or handed out at once. One takes a core, and up to 230 MB.
const MOST_LISTENERS: usize = 2;

/// Bytes that are handed to the network at once.
const PIECE: usize = 64 * 1024;

/// Which voices are wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Of a session that is over.
    pub session: SessionId,
    /// When it began, in milliseconds since 1970.
    pub began_unix_ms: u64,
    /// How long it lasted.
    pub length: Duration,
}

/// Why nothing is heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VoicesError {
    /// No voices were kept of the session.
    #[error("The voices of this session were not kept.")]
    NotKept,
    /// They were, and are gone.
    #[error("The voices of this session are not kept any more.")]
    Removed,
    /// They cannot be read.
    #[error("What was kept of this session cannot be read.")]
    Unreadable,
}

/// Renders what the process keeps of voices.
pub trait Voices: Send + Sync {
    /// A WAV file, 16 bit, the caller left and the agent right, that begins with the session and is as long as it, an hour at most. May
    /// block for a minute, and holds the whole file in memory.
    ///
    /// # Errors
    /// [`VoicesError`].
    fn render(&self, wanted: &Wanted) -> Result<Vec<u8>, VoicesError>;
}

/// Where no voices are kept.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoVoices;

impl Voices for NoVoices {
    fn render(&self, _: &Wanted) -> Result<Vec<u8>, VoicesError> {
        Err(VoicesError::NotKept)
    }
}

/// Who may listen at the same time. Clones share it.
#[derive(Clone)]
pub struct Listening {
    voices: Arc<dyn Voices>,
    places: Arc<Semaphore>,
}

impl Listening {
    /// To these.
    #[must_use]
    pub fn to(voices: Arc<dyn Voices>) -> Self {
        Self { voices, places: Arc::new(Semaphore::new(MOST_LISTENERS)) }
    }

    /// The file with the place it takes, which is free again when that is dropped.
    async fn render(&self, wanted: Wanted) -> Result<(Vec<u8>, OwnedSemaphorePermit), AdminError> {
        let place = Arc::clone(&self.places).try_acquire_owned();
        let place = place.map_err(|_| AdminError::too_many_listeners())?;
        let voices = Arc::clone(&self.voices);
        // Whoever asked may leave; the place stays taken until the work is done.
        let work = tokio::task::spawn_blocking(move || voices.render(&wanted).map(|wav| (wav, place)));
        let rendered = work.await.map_err(|_| AdminError::failed("The voices could not be rendered."))?;
        rendered.map_err(|error| match error {
            VoicesError::NotKept | VoicesError::Removed => AdminError::nothing_there(error.to_string()),
            VoicesError::Unreadable => AdminError::failed(&error.to_string()),
        })
    }
}

impl fmt::Debug for Listening {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Listening").field("places", &self.places.available_permits()).finish_non_exhaustive()
    }
}

/// A RIFF/WAVE file.
#[derive(ToSchema)]
#[schema(value_type = String, format = Binary)]
#[expect(dead_code, reason = "it only describes")]
struct Wav(Vec<u8>);

/// Both voices of a session that is over, if they were kept
///
/// A WAV file with 16 bit at 16 kHz, the caller left, the agent right. Its first sample is the beginning of the session, from which the times
/// of the record count too; where nobody is heard there is silence. Of a session longer than an hour it is the first hour. It is
/// rendered when asked for, which takes about the processor time the session took; two at a time. That somebody listened stands in the audit log as
/// `session.listen`.
#[utoipa::path(
    get,
    path = "/admin/v1/sessions/{session}/audio",
    tag = "sessions",
    params(SessionPath),
    responses((status = 200, description = "The file.", content((Wav = "audio/wav"))), Refusals)
)]
pub(super) async fn listen_to_session(
    State(api): State<AdminApi>,
    By(administrator): By,
    At(id): At<SessionId>,
    BareOrder(deed): BareOrder,
) -> Result<Response, AdminError> {
    let record = record_of(&api, &administrator, &id)?;
    // Behind its newest revision a record has no entries to write.
    let kept = record.view_since(record.revision()).recording;
    if !kept.voices {
        return Err(AdminError::nothing_there(VoicesError::NotKept.to_string()));
    }
    if api.live.find(&id).is_some() {
        let message = "The session still runs; its voices can be heard when it is over.";
        return Err(AdminError::conflict("session_runs", message));
    }
    let facts = record.facts();
    let wanted = Wanted {
        session: id.clone(),
        began_unix_ms: facts.began_at_unix_ms,
        length: Duration::try_from_secs_f64(record.summary().duration_ms / 1_000.0).unwrap_or_default(),
    };
    let (wav, place) = api.voices.render(wanted).await?;
    let tenancy = &facts.tenancy;
    let detail = json!({
        "organisation": tenancy.organisation, "team": tenancy.team, "key": tenancy.key,
    });
    // What cannot be written down is not handed out.
    api.store.note(&deed, "session.listen", id.as_str(), &detail).await?;
    Ok(handed_out(wav, place))
}

fn handed_out(wav: Vec<u8>, place: OwnedSemaphorePermit) -> Response {
    let length = HeaderValue::from(wav.len());
    let pieces = stream::unfold((Bytes::from(wav), place), |(mut rest, place)| async move {
        let piece = rest.split_to(rest.len().min(PIECE));
        (!piece.is_empty()).then_some((Ok::<_, Infallible>(piece), (rest, place)))
    });
    let mut response = Body::from_stream(pieces).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("audio/wav"));
    headers.insert(header::CONTENT_LENGTH, length);
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
