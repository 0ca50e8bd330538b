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
        let mut error = ApiError::invalid_api_key();
        if rejection == Rejection::Expired {
            error.message =
                "The client secret has expired. Ask POST /v1/realtime/client_secrets for a new one."
                    .to_owned();
        }
        Self(error)
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
