//! Refusals, in the shape of the OpenAI API.

use std::borrow::Cow;

use serde_json::{Value, json};

/// The `type` of an API error: who has to act.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// The request is wrong; the same request will never succeed.
    InvalidRequest,
    /// Too many requests at the moment; the same request may succeed later.
    RateLimit,
    /// A budget or credit is used up.
    InsufficientQuota,
    /// The server or a provider behind it failed.
    Server,
}

impl ErrorKind {
    /// The word on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::InvalidRequest => "invalid_request_error",
            Self::RateLimit => "rate_limit_error",
            Self::InsufficientQuota => "insufficient_quota",
            Self::Server => "server_error",
        }
    }
}

/// One refusal: an HTTP error body or the `error` server event.
///
/// The message is one sentence for the client's developer. It names fields, never a secret and never what a
/// caller said.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ApiError {
    /// The HTTP status that fits; without meaning on a data channel or WebSocket.
    pub status: u16,
    /// Who has to act.
    pub kind: ErrorKind,
    /// A stable code, if the API has one.
    pub code: Option<Cow<'static, str>>,
    /// One sentence.
    pub message: String,
    /// The path of the field at fault, such as `session.audio.output.voice`.
    pub param: Option<String>,
}

impl ApiError {
    /// A refusal with a code of the caller's choice.
    #[must_use]
    pub fn new(
        status: u16,
        kind: ErrorKind,
        code: impl Into<Cow<'static, str>>,
        message: impl Into<String>,
    ) -> Self {
        Self { status, kind, code: Some(code.into()), message: message.into(), param: None }
    }

    /// Names the field at fault.
    #[must_use]
    pub fn with_param(mut self, param: impl Into<String>) -> Self {
        self.param = Some(param.into());
        self
    }

    fn invalid_request(status: u16, code: &'static str, message: impl Into<String>) -> Self {
        Self::new(status, ErrorKind::InvalidRequest, code, message)
    }

    /// 401: the bearer token is missing, unknown or expired.
    #[must_use]
    pub fn invalid_api_key() -> Self {
        let message = "The API key is missing or not valid. Send it as \"Authorization: Bearer KEY\".";
        Self::invalid_request(401, "invalid_api_key", message)
    }

    /// 401: the key exists but is switched off.
    #[must_use]
    pub fn account_deactivated() -> Self {
        Self::invalid_request(401, "account_deactivated", "The account of this API key is deactivated.")
    }

    /// 403: the key is known, and may not do this.
    #[must_use]
    pub fn permission_denied(message: impl Into<String>) -> Self {
        Self::invalid_request(403, "permission_denied", message)
    }

    /// 404: no live call has this id.
    #[must_use]
    pub fn call_id_not_found() -> Self {
        let message = "No session found for the provided call_id";
        Self { param: Some(String::new()), ..Self::invalid_request(404, "call_id_not_found", message) }
    }

    /// 400: the conversation of this token cannot be resumed: the token is unknown, used, or too old, or the session
    /// ended in order. An extension of the API.
    #[must_use]
    pub fn resume_token_invalid() -> Self {
        let message = "The conversation cannot be resumed: the token is unknown, used or expired, or its session ended \
                       in order. Start a new session.";
        Self {
            param: Some("resume".to_owned()),
            ..Self::invalid_request(400, "resume_token_invalid", message)
        }
    }

    /// 404: the model is not routed to any provider, or the key may not use it.
    #[must_use]
    pub fn model_not_found(model: &str) -> Self {
        let message =
            format!("The model '{}' does not exist or you do not have access to it.", excerpt(model));
        Self::invalid_request(404, "model_not_found", message).with_param("model")
    }

    /// 404: no such route.
    #[must_use]
    pub fn unknown_url(method: &str, path: &str) -> Self {
        let message = format!("Invalid URL ({} {})", excerpt(method), excerpt(path));
        Self::invalid_request(404, "unknown_url", message)
    }

    /// 400: calls over SIP are not taken, so none can be accepted, rejected or referred.
    #[must_use]
    pub fn sip_not_supported() -> Self {
        let message =
            "This gateway takes no SIP calls. WebRTC calls need no acceptance; end one with /hangup.";
        Self::invalid_request(400, "sip_not_supported", message)
    }

    /// 400: the path belongs to the beta of the API, whose sessions had another shape.
    #[must_use]
    pub fn beta_api_shape_disabled() -> Self {
        let message = "The beta of the Realtime API is not supported. Use POST /v1/realtime/client_secrets.";
        Self::invalid_request(400, "beta_api_shape_disabled", message)
    }

    /// 413: the body or message is longer than accepted.
    #[must_use]
    pub fn request_too_large(limit: usize) -> Self {
        let message = format!("The request is longer than {limit} bytes.");
        Self::invalid_request(413, "request_too_large", message)
    }

    /// 400: a field nobody knows.
    #[must_use]
    pub fn unknown_parameter(param: impl Into<String>) -> Self {
        let param = param.into();
        let message = format!("Unknown parameter: '{}'.", excerpt(&param));
        Self::invalid_request(400, "unknown_parameter", message).with_param(excerpt(&param))
    }

    /// 400: a required field is missing.
    #[must_use]
    pub fn missing_parameter(param: impl Into<String>) -> Self {
        let param = param.into();
        let message = format!("Missing required parameter: '{param}'.");
        Self::invalid_request(400, "missing_required_parameter", message).with_param(param)
    }

    /// 400: a field of the wrong JSON type.
    #[must_use]
    pub fn invalid_type(param: impl Into<String>, expected: &str) -> Self {
        let param = param.into();
        let message = format!("Invalid type for '{param}': expected {expected}.");
        Self::invalid_request(400, "invalid_type", message).with_param(param)
    }

    /// 400: a field whose value is not accepted, and why.
    #[must_use]
    pub fn invalid_value(param: impl Into<String>, reason: impl std::fmt::Display) -> Self {
        let param = param.into();
        let message = format!("Invalid value for '{param}': {reason}");
        Self::invalid_request(400, "invalid_value", message).with_param(param)
    }

    /// 400: a message that is not an event at all, or not one this connection can carry.
    #[must_use]
    pub fn invalid_event(message: impl Into<String>) -> Self {
        Self::invalid_request(400, "invalid_event", message)
    }

    /// 400: a client event that the session's client secret does not allow.
    #[must_use]
    pub fn event_not_allowed(name: &str) -> Self {
        let message = format!("The client secret of this session does not allow '{name}' events.");
        Self::invalid_request(400, "event_not_allowed", message).with_param("type")
    }

    /// 400: the SDP offer cannot be answered.
    #[must_use]
    pub fn invalid_offer(reason: impl std::fmt::Display) -> Self {
        let message = format!("The SDP offer cannot be answered: {reason}");
        Self::invalid_request(400, "invalid_offer", message).with_param("sdp")
    }

    /// 400: the session or its secret is over.
    #[must_use]
    pub fn session_expired(message: impl Into<String>) -> Self {
        Self::invalid_request(400, "session_expired", message)
    }

    /// 429: the budget is used up. Clients stop reconnecting on this code.
    #[must_use]
    pub fn insufficient_quota() -> Self {
        let message = "You exceeded your current quota, please check your plan and billing details.";
        Self::new(429, ErrorKind::InsufficientQuota, "insufficient_quota", message)
    }

    /// 429: too many requests or sessions at the moment.
    #[must_use]
    pub fn rate_limit_exceeded(message: impl Into<String>) -> Self {
        Self::new(429, ErrorKind::RateLimit, "rate_limit_exceeded", message)
    }

    /// 500: something failed that the client cannot change.
    #[must_use]
    pub fn server_error(message: impl Into<String>) -> Self {
        Self::new(500, ErrorKind::Server, "server_error", message)
    }

    /// 503: no node or provider can take the call now.
    #[must_use]
    pub fn service_unavailable(message: impl Into<String>) -> Self {
        Self::new(503, ErrorKind::Server, "service_unavailable", message)
    }

    /// The body of an HTTP error: `{"error":{"message","type","param","code"}}`.
    #[must_use]
    pub fn to_json(&self) -> Value {
        json!({ "error": self.detail() })
    }

    pub(crate) fn detail(&self) -> Value {
        json!({
            "message": self.message,
            "type": self.kind.as_str(),
            "param": self.param,
            "code": self.code,
        })
    }
}

/// At most 64 characters of what a client sent, so that a refusal never echoes a flood.
pub(crate) fn excerpt(text: &str) -> String {
    const LONGEST: usize = 64;
    text.chars().filter(|character| !character.is_control()).take(LONGEST).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_has_the_four_fields_of_the_api() {
        let body = ApiError::unknown_parameter("session.voice").to_json();
        assert_eq!(
            body,
            json!({"error": {
                "message": "Unknown parameter: 'session.voice'.",
                "type": "invalid_request_error",
                "param": "session.voice",
                "code": "unknown_parameter",
            }})
        );
    }

    #[test]
    fn a_refusal_never_echoes_a_flood() {
        let refusal = ApiError::model_not_found(&"m".repeat(10_000));
        assert!(refusal.message.len() < 200);
    }
}
