//! The one shape of refusals.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::{IntoResponses, ToSchema};

use crate::identity::Rejection;
use crate::store::StoreError;

/// Why a request is refused.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ErrorBody {
    error: ErrorDetail,
}

#[derive(Debug, Serialize, ToSchema)]
struct ErrorDetail {
    /// For programs; these words do not change.
    code: &'static str,
    /// For people; one sentence.
    message: String,
    /// The field or parameter at fault, if it is one.
    param: Option<String>,
    /// Everything that is wrong, where it is more than one thing.
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    #[schema(value_type = Vec<String>, required = false)]
    problems: Box<[String]>,
}

/// A refusal.
#[derive(Debug)]
pub(super) struct AdminError {
    status: StatusCode,
    detail: ErrorDetail,
    retry_after: Option<u64>,
    /// The methods there are.
    allow: Option<Box<str>>,
}

impl AdminError {
    pub(super) fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        let detail = ErrorDetail { code, message: message.into(), param: None, problems: Box::default() };
        Self { status, detail, retry_after: None, allow: None }
    }

    pub(super) fn with_param(mut self, param: impl Into<String>) -> Self {
        self.detail.param = Some(param.into());
        self
    }

    pub(super) fn with_problems(mut self, problems: Vec<String>) -> Self {
        self.detail.problems = problems.into();
        self
    }

    /// What does not exist, or does not exist for whoever asks: nobody can tell the two apart.
    pub(super) fn not_found(what: &str) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", format!("There is no such {what}."))
    }

    /// What exists and has not that.
    pub(super) fn nothing_there(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", message)
    }

    pub(super) fn invalid(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalid_request", message)
    }

    pub(super) fn denied(message: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, "permission_denied", message)
    }

    pub(super) fn conflict(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, code, message)
    }

    /// What the configuration says is changed there.
    pub(super) fn configured(what: &str) -> Self {
        let message = format!("This {what} stands in the configuration of the gateway and is changed there.");
        Self::conflict("configured", message)
    }

    pub(super) fn no_such_method(allow: &str) -> Self {
        let message = format!("This address takes {allow} only.");
        let refusal = Self::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", message);
        Self { allow: Some(allow.into()), ..refusal }
    }

    pub(super) fn too_many_readers() -> Self {
        let message = "Too many live feeds are read already; close some.";
        Self {
            retry_after: Some(10),
            ..Self::new(StatusCode::TOO_MANY_REQUESTS, "too_many_readers", message)
        }
    }

    pub(super) fn too_many_listeners() -> Self {
        let message = "Others listen to recordings already; try again in a moment.";
        Self {
            retry_after: Some(5),
            ..Self::new(StatusCode::TOO_MANY_REQUESTS, "too_many_listeners", message)
        }
    }

    /// What should never happen.
    pub(super) fn failed(message: &str) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal_error", message)
    }

    fn unavailable() -> Self {
        let message = "The store does not answer; try again.";
        Self {
            retry_after: Some(1),
            ..Self::new(StatusCode::SERVICE_UNAVAILABLE, "store_unavailable", message)
        }
    }

    pub(super) fn no_random() -> Self {
        let message = "The operating system gave no random numbers; try again.";
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "no_random_numbers", message)
    }
}

impl IntoResponse for AdminError {
    fn into_response(self) -> Response {
        let mut response = (self.status, Json(ErrorBody { error: self.detail })).into_response();
        if let Some(seconds) = self.retry_after {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        let allow = self.allow.and_then(|methods| HeaderValue::from_str(&methods).ok());
        if let Some(allow) = allow {
            response.headers_mut().insert(header::ALLOW, allow);
        }
        if self.status == StatusCode::UNAUTHORIZED {
            // RFC 9110 section 11.6.1.
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

impl From<Rejection> for AdminError {
    fn from(rejection: Rejection) -> Self {
        let refused = |code, message: &str| Self::new(StatusCode::UNAUTHORIZED, code, message);
        match rejection {
            Rejection::Missing | Rejection::Unknown | Rejection::Expired => refused(
                "invalid_api_key",
                "The API key is missing or not valid; send it as \"Authorization: Bearer KEY\".",
            ),
            Rejection::KeyExpired => refused("key_expired", "The API key has expired."),
            Rejection::Revoked => refused("key_revoked", "The API key was revoked."),
            Rejection::Token(error) => refused("invalid_token", &sentence(&error.to_string())),
            Rejection::TooManyFailures(wait) => {
                let seconds = wait.as_secs() + 1;
                let message = format!("The API key was wrong too often; try again in {seconds} s.");
                Self {
                    retry_after: Some(seconds),
                    ..Self::new(StatusCode::TOO_MANY_REQUESTS, "too_many_failures", message)
                }
            }
            Rejection::OutOfScope(scope) => {
                Self::denied(format!("The API key lacks the scope '{}'.", scope.as_str()))
            }
        }
    }
}

fn sentence(words: &str) -> String {
    let mut letters = words.chars();
    letters
        .next()
        .map_or_else(String::new, |first| first.to_uppercase().chain(letters).chain(['.']).collect())
}

impl From<StoreError> for AdminError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::NotFound { what, .. } => Self::not_found(what),
            StoreError::Exists { what, .. } => {
                Self::conflict("exists", format!("There is a {what} of this id already."))
            }
            StoreError::OtherRequest => Self::conflict(
                "idempotency_key_reused",
                "This Idempotency-Key was used for another request; use a new one.",
            ),
            StoreError::Damaged { what } => {
                tracing::error!(what, "the store holds something damaged");
                let message = "The store holds something damaged; the log of the gateway says what.";
                Self::new(StatusCode::INTERNAL_SERVER_ERROR, "store_damaged", message)
            }
            error => {
                tracing::warn!(%error, "the administration could not use the store");
                Self::unavailable()
            }
        }
    }
}

/// How every request can be refused.
#[derive(IntoResponses)]
#[expect(dead_code, reason = "it only describes")]
pub(super) enum Refusals {
    /// The request is not as described.
    #[response(status = 400)]
    Invalid(ErrorBody),
    /// The key is missing, wrong, expired or revoked.
    #[response(status = 401)]
    NoKey(ErrorBody),
    /// The key's scope, its role or a policy does not allow this.
    #[response(status = 403)]
    Denied(ErrorBody),
    /// There is no such thing in the part of the tree the key administers.
    #[response(status = 404)]
    NotFound(ErrorBody),
    /// It cannot be done to this thing, or the Idempotency-Key was used for another request.
    #[response(status = 409)]
    Conflict(ErrorBody),
    /// The body is too large.
    #[response(status = 413)]
    TooLarge(ErrorBody),
    /// The body is no JSON.
    #[response(status = 415)]
    NoJson(ErrorBody),
    /// The key was wrong too often, too many live feeds are read, or too many listen to recordings.
    #[response(status = 429)]
    TooManyFailures(ErrorBody),
    /// The store does not answer.
    #[response(status = 503)]
    Unavailable(ErrorBody),
}
