//! API errors as HTTP responses.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use voxgate_policy::admission::Refusal;
use voxgate_realtime::ApiError;

use crate::identity::Rejection;

/// An error in the API's own shape: `{"error":{"message","type","param","code"}}`.
pub(crate) struct ErrorReply(pub(crate) ApiError);

impl IntoResponse for ErrorReply {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.0.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        (status, Json(self.0.to_json())).into_response()
    }
}

impl From<ApiError> for ErrorReply {
    fn from(error: ApiError) -> Self {
        Self(error)
    }
}

impl From<Rejection> for ErrorReply {
    fn from(rejection: Rejection) -> Self {
        let because = |message: &str| ApiError { message: message.to_owned(), ..ApiError::invalid_api_key() };
        Self(match rejection {
            Rejection::Missing | Rejection::Unknown => ApiError::invalid_api_key(),
            Rejection::Expired => {
                because("The client secret has expired. Ask POST /v1/realtime/client_secrets for a new one.")
            }
            Rejection::KeyExpired => because("The API key has expired."),
            Rejection::Revoked => ApiError::account_deactivated(),
            Rejection::TooManyFailures(wait) => {
                let seconds = wait.as_secs() + 1;
                let message = format!("The API key was wrong too often. Try again in {seconds} s.");
                ApiError::rate_limit_exceeded(message)
            }
            Rejection::OutOfScope(scope) => {
                let message =
                    format!("The API key is not for this: it lacks the scope '{}'.", scope.as_str());
                ApiError::permission_denied(message)
            }
        })
    }
}

impl From<Refusal> for ErrorReply {
    fn from(refusal: Refusal) -> Self {
        let message = capitalised(&format!("{refusal}."));
        Self(match refusal {
            Refusal::NodeFull | Refusal::KeyFull => ApiError::rate_limit_exceeded(message),
            Refusal::Draining => ApiError::service_unavailable(message),
        })
    }
}

fn capitalised(sentence: &str) -> String {
    let mut letters = sentence.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}
