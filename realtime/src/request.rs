//! The HTTP bodies of the Realtime API.

use std::time::Duration;

use serde_json::{Value, json};
use voxgate_protocol::settings::{
    InputSettings, Purpose, ServerVad, SessionSettings, Transcription, TurnDetection,
};

use crate::allowed_events::AllowedEvents;
use crate::error::ApiError;
use crate::fields::Fields;
use crate::limits;
use crate::session_update::{self, UpdateRules};

/// Longest JSON body that is read.
pub const LONGEST_BODY: usize = 256 * 1024;

/// How long a client secret may start sessions if the request does not say.
const DEFAULT_SECRET_LIFETIME: u64 = 600;

/// The body of `POST /v1/realtime/client_secrets`.
#[derive(Clone)]
pub struct ClientSecretRequest {
    /// How long the secret starts sessions: 10 s to 2 h, 10 min by default.
    pub expires_after: Duration,
    /// The session as the client wrote it.
    pub session: Option<Value>,
    /// The same, read and completed with the defaults of the API. The model is empty if the client named none.
    pub settings: SessionSettings,
    /// What the holder may send; `None` means every client event. Asked for with an extension of the API:
    /// `"client": {"data_channel": {"allowed_client_events": [..]}}` beside `session`.
    pub allowed_events: Option<AllowedEvents>,
}

/// Shows no instructions: they may be confidential.
impl std::fmt::Debug for ClientSecretRequest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ClientSecretRequest")
            .field("expires_after", &self.expires_after)
            .field("model", &self.settings.model)
            .finish_non_exhaustive()
    }
}

/// The settings of a session nobody configured: speech, and `server_vad` with the defaults of the API.
#[must_use]
pub fn default_settings() -> SessionSettings {
    SessionSettings {
        input: InputSettings {
            turn_detection: Some(TurnDetection::ServerVad(ServerVad::default())),
            ..InputSettings::default()
        },
        ..SessionSettings::default()
    }
}

/// The settings of a transcription session nobody configured (`?intent=transcription`): turns are found as in a
/// conversation, their words are written down, nobody answers.
#[must_use]
pub fn transcription_settings() -> SessionSettings {
    let mut turn_detection = Some(TurnDetection::ServerVad(ServerVad::default()));
    session_update::answer_nothing(&mut turn_detection);
    SessionSettings {
        purpose: Purpose::Transcription,
        input: InputSettings {
            transcription: Some(Transcription::default()),
            turn_detection,
            ..InputSettings::default()
        },
        ..SessionSettings::default()
    }
}

/// Reads the body of `POST /v1/realtime/client_secrets`; an empty body asks for the defaults.
///
/// # Errors
/// The body is too long, not JSON, or has a field that is unknown or not accepted.
pub fn client_secret_request(body: &[u8]) -> Result<ClientSecretRequest, ApiError> {
    let mut request = ClientSecretRequest {
        expires_after: Duration::from_secs(DEFAULT_SECRET_LIFETIME),
        session: None,
        settings: default_settings(),
        allowed_events: None,
    };
    if body.iter().all(u8::is_ascii_whitespace) {
        return Ok(request);
    }
    let value = json_body(body)?;
    let fields = Fields::of(&value, "")?;
    fields.allow_only(&["expires_after", "session", "client"])?;
    if let Some(expiry) = fields.object("expires_after")? {
        expiry.allow_only(&["anchor", "seconds"])?;
        expiry.one_of("anchor", &["created_at"])?;
        let seconds = expiry.whole("seconds", 10..=7_200)?;
        request.expires_after = Duration::from_secs(seconds.unwrap_or(DEFAULT_SECRET_LIFETIME));
    }
    if let Some(client) = fields.object("client")? {
        request.allowed_events = AllowedEvents::parse(&client)?;
    }
    if let Some(session) = fields.value("session") {
        request.settings = session_settings(session)?;
        request.session = Some(session.clone());
    }
    Ok(request)
}

/// Reads a session object, such as the `session` part of `POST /v1/realtime/calls`.
///
/// # Errors
/// The body is too long, not JSON, or has a field that is unknown or not accepted.
pub fn session_config(body: &[u8]) -> Result<SessionSettings, ApiError> {
    session_settings(&json_body(body)?)
}

/// Completes a session object, of a conversation or of a transcription, with the defaults of the API.
///
/// # Errors
/// A field is unknown or not accepted.
pub fn session_settings(session: &Value) -> Result<SessionSettings, ApiError> {
    let rules = UpdateRules { takes_model: true, voice_is_fixed: false, format_is_negotiated: false };
    let defaults = match session.get("type").and_then(Value::as_str) {
        Some("transcription") => transcription_settings(),
        Some("realtime") | None => default_settings(),
        Some(_) => {
            let reason = "supported values are 'realtime' and 'transcription'.";
            return Err(ApiError::invalid_value("session.type", reason));
        }
    };
    session_update::apply(&defaults, session, "session", rules)
}

/// The effective session as clients read it: `session` of `session.created` and of the client secret response.
/// `expires_at_unix` is in seconds, zero if it is not known yet.
#[must_use]
pub fn session_object(settings: &SessionSettings, id: &str, expires_at_unix: u64) -> Value {
    crate::session_object::to_json(settings, id, expires_at_unix)
}

/// The answer to `POST /v1/realtime/client_secrets`. `expires_at_unix` is the end of the secret in seconds. What the
/// holder may send is shown only if the request bound it.
#[must_use]
pub fn client_secret_response(
    secret: &str,
    expires_at_unix: u64,
    settings: &SessionSettings,
    session_id: &str,
    allowed: Option<&AllowedEvents>,
) -> Value {
    let mut response = json!({
        "value": secret,
        "expires_at": expires_at_unix,
        "session": session_object(settings, session_id, 0),
    });
    if let Some(allowed) = allowed {
        response["client"] = json!({"data_channel": {"allowed_client_events": allowed.names()}});
    }
    response
}

fn json_body(body: &[u8]) -> Result<Value, ApiError> {
    let refusal =
        || ApiError::new(400, crate::ErrorKind::InvalidRequest, "invalid_json", "The body is not JSON.");
    if body.len() > LONGEST_BODY {
        return Err(ApiError::request_too_large(LONGEST_BODY));
    }
    let text = std::str::from_utf8(body).map_err(|_| refusal())?;
    limits::check(text, LONGEST_BODY)?;
    serde_json::from_str(text).map_err(|_| refusal())
}
