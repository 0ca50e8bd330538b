//! API errors as HTTP responses.

use std::time::Duration;

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use voxgate_policy::admission::Refusal;
use voxgate_realtime::ApiError;

use crate::gate::{Closed, TRY_AGAIN};
use crate::identity::Rejection;

/// An error in the API's own shape: `{"error":{"message","type","param","code"}}`.
pub(crate) struct ErrorReply {
    pub(crate) error: ApiError,
    /// Told in `Retry-After`.
    pub(crate) retry_after: Option<Duration>,
}

impl IntoResponse for ErrorReply {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.error.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let seconds = self.retry_after.map(|wait| (header::RETRY_AFTER, whole_seconds(wait).to_string()));
        let mut reply = (status, Json(self.error.to_json())).into_response();
        if let Some((name, seconds)) = seconds
            && let Ok(seconds) = HeaderValue::from_str(&seconds)
        {
            reply.headers_mut().insert(name, seconds);
        }
        reply
    }
}

impl From<ApiError> for ErrorReply {
    fn from(error: ApiError) -> Self {
        Self { error, retry_after: None }
    }
}

impl From<Closed> for ErrorReply {
    fn from(Closed { error, retry_after }: Closed) -> Self {
        Self { error, retry_after: Some(retry_after) }
    }
}

impl From<Rejection> for ErrorReply {
    fn from(rejection: Rejection) -> Self {
        let because = |message: &str| ApiError { message: message.to_owned(), ..ApiError::invalid_api_key() };
        let error = match rejection {
            Rejection::Missing | Rejection::Unknown => ApiError::invalid_api_key(),
            Rejection::Expired => {
                because("The client secret has expired. Ask POST /v1/realtime/client_secrets for a new one.")
            }
            Rejection::KeyExpired => because("The API key has expired."),
            Rejection::Revoked => ApiError::account_deactivated(),
            Rejection::Token(ref error) => because(&capitalised(&format!("{error}."))),
            Rejection::TooManyFailures(wait) => {
                let seconds = whole_seconds(wait);
                let message = format!("The API key was wrong too often. Try again in {seconds} s.");
                ApiError::rate_limit_exceeded(message)
            }
            Rejection::OutOfScope(scope) => {
                let message =
                    format!("The API key is not for this: it lacks the scope '{}'.", scope.as_str());
                ApiError::permission_denied(message)
            }
        };
        let retry_after = match rejection {
            Rejection::TooManyFailures(wait) => Some(wait),
            _ => None,
        };
        Self { error, retry_after }
    }
}

impl From<Refusal> for ErrorReply {
    fn from(refusal: Refusal) -> Self {
        let message = capitalised(&format!("{refusal}."));
        let error = match refusal {
            Refusal::NodeFull | Refusal::KeyFull => ApiError::rate_limit_exceeded(message),
            Refusal::Draining => ApiError::service_unavailable(message),
        };
        Self { error, retry_after: Some(TRY_AGAIN) }
    }
}

/// Whole seconds that are not too short, at least one.
fn whole_seconds(wait: Duration) -> u64 {
    (wait.as_secs() + u64::from(wait.subsec_nanos() > 0)).max(1)
}

fn capitalised(sentence: &str) -> String {
    let mut letters = sentence.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}
