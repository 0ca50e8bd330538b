//! The HTTP side of a call: key, offer and answer, hang-up.

use std::path::Path;
use std::time::Duration;

use reqwest::header::{CONTENT_TYPE, LOCATION};
use reqwest::multipart::{Form, Part};
use reqwest::{Client, RequestBuilder, Response, StatusCode, Url};
use serde_json::{Value, json};

use crate::error::CallError;

/// Answers are a few kilobytes; more is not read.
const LARGEST_BODY: usize = 1 << 20;

/// Words of a refusal that are shown when it is not in the form of the API.
const LONGEST_MESSAGE: usize = 200;

/// The gateway's HTTP API, as one caller sees it.
#[derive(Clone, Debug)]
pub(crate) struct Dial {
    client: Client,
    base: String,
    key: String,
}

/// What `POST /realtime/calls` gave.
#[derive(Debug)]
pub(crate) struct OpenedCall {
    /// `rtc_…`, if the gateway names the call.
    pub(crate) id: Option<String>,
    /// SDP.
    pub(crate) answer: String,
}

impl Dial {
    pub(crate) fn new(
        base: &str,
        key: &str,
        ca_file: Option<&Path>,
        timeout: Duration,
    ) -> Result<Self, CallError> {
        let url =
            Url::parse(base).ok().filter(|url| url.has_host() && matches!(url.scheme(), "http" | "https"));
        let url = url.ok_or_else(|| CallError::Address { url: base.to_owned() })?;
        // A program that uses this crate may have chosen a provider already; then that one is used.
        if rustls::crypto::CryptoProvider::get_default().is_none() {
            let _ = rustls::crypto::ring::default_provider().install_default();
        }
        let mut client = Client::builder().connect_timeout(timeout).timeout(timeout);
        if is_loopback(&url) {
            client = client.no_proxy();
        }
        if let Some(path) = ca_file {
            client = client.tls_certs_merge(authorities(path)?);
        }
        let client = client.build().map_err(|error| unreachable_at(base, &error))?;
        Ok(Self { client, base: base.trim_end_matches('/').to_owned(), key: key.to_owned() })
    }

    /// `POST /realtime/client_secrets`: a key that is good for starting calls only.
    pub(crate) async fn ephemeral_key(&self, model: Option<&str>) -> Result<String, CallError> {
        let what = "issue an ephemeral key";
        let mut session = json!({"type": "realtime"});
        if let Some(model) = model {
            session["model"] = model.into();
        }
        let request = self.post("realtime/client_secrets", &self.key).json(&json!({"session": session}));
        let (_, body) = self.send(what, request).await?;
        let answer: Value = serde_json::from_str(&body).unwrap_or_default();
        let key = answer["value"].as_str();
        key.map(str::to_owned)
            .ok_or_else(|| CallError::BadAnswer { what, reason: "it has no value".to_owned() })
    }

    /// `POST /realtime/calls` with the bare offer, the session being that of an ephemeral key.
    pub(crate) async fn open_with(&self, ephemeral_key: &str, offer: &str) -> Result<OpenedCall, CallError> {
        let request = self.post("realtime/calls", ephemeral_key).header(CONTENT_TYPE, "application/sdp");
        self.open(request.body(offer.to_owned())).await
    }

    /// `POST /realtime/calls` with offer and session in one form, under the API key itself.
    pub(crate) async fn open_as(&self, session: &Value, offer: &str) -> Result<OpenedCall, CallError> {
        let part = |text: String, kind: &str| {
            Part::text(text).mime_str(kind).map_err(|error| unreachable_at(&self.base, &error))
        };
        let form = Form::new()
            .part("sdp", part(offer.to_owned(), "application/sdp")?)
            .part("session", part(session.to_string(), "application/json")?);
        self.open(self.post("realtime/calls", &self.key).multipart(form)).await
    }

    /// `PATCH /realtime/calls/{id}`: the answer to an offer that restarts ICE, if it comes within `patience`.
    pub(crate) async fn restart(
        &self,
        id: &str,
        offer: &str,
        patience: Duration,
    ) -> Result<String, CallError> {
        let what = "move a call";
        let request = self.client.patch(format!("{}/realtime/calls/{id}", self.base)).bearer_auth(&self.key);
        let request = request.header(CONTENT_TYPE, "application/sdp").body(offer.to_owned());
        let (_, answer) = self.send(what, request.timeout(patience)).await?;
        if !answer.starts_with("v=0") {
            return Err(CallError::BadAnswer { what, reason: "it is not SDP".to_owned() });
        }
        Ok(answer)
    }

    /// `POST /realtime/calls/{id}/hangup`. A call that is already over is not an error.
    pub(crate) async fn hang_up(&self, id: &str) -> Result<(), CallError> {
        let request = self.post(&format!("realtime/calls/{id}/hangup"), &self.key);
        match self.send("hang up", request).await {
            Ok(_) | Err(CallError::Refused { status: 404, .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    async fn open(&self, request: RequestBuilder) -> Result<OpenedCall, CallError> {
        let what = "open a call";
        let (location, answer) = self.send(what, request).await?;
        if !answer.starts_with("v=0") {
            return Err(CallError::BadAnswer { what, reason: "it is not SDP".to_owned() });
        }
        Ok(OpenedCall { id: location.as_deref().and_then(call_id), answer })
    }

    fn post(&self, path: &str, key: &str) -> RequestBuilder {
        self.client.post(format!("{}/{path}", self.base)).bearer_auth(key)
    }

    /// The `Location` header and the body of a success.
    async fn send(
        &self,
        what: &'static str,
        request: RequestBuilder,
    ) -> Result<(Option<String>, String), CallError> {
        let response = request.send().await.map_err(|error| unreachable_at(&self.base, &error))?;
        let status = response.status();
        let location =
            response.headers().get(LOCATION).and_then(|value| value.to_str().ok()).map(str::to_owned);
        let body = read(response).await.map_err(|error| unreachable_at(&self.base, &error))?;
        if status.is_success() {
            return Ok((location, body));
        }
        let message = refusal(&body);
        let status_code = status.as_u16();
        if matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) {
            return Err(CallError::KeyRefused { status: status_code, message });
        }
        Err(CallError::Refused { what, status: status_code, message })
    }
}

fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

fn authorities(path: &Path) -> Result<Vec<reqwest::Certificate>, CallError> {
    let unusable = |reason: String| CallError::Authority { path: path.to_owned(), reason };
    let pem = std::fs::read(path).map_err(|error| unusable(error.to_string()))?;
    let found = reqwest::Certificate::from_pem_bundle(&pem).map_err(|error| unusable(error.to_string()))?;
    if found.is_empty() { Err(unusable("it holds no certificate".to_owned())) } else { Ok(found) }
}

async fn read(mut response: Response) -> Result<String, reqwest::Error> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        let room = LARGEST_BODY - body.len();
        body.extend_from_slice(&chunk[..chunk.len().min(room)]);
        if chunk.len() >= room {
            break;
        }
    }
    Ok(String::from_utf8_lossy(&body).into_owned())
}

/// `error.message` of the API, or the beginning of whatever came.
fn refusal(body: &str) -> String {
    let answer: Value = serde_json::from_str(body).unwrap_or_default();
    let message = answer["error"]["message"].as_str().unwrap_or(body).trim();
    if message.is_empty() {
        "no reason given".to_owned()
    } else {
        message.chars().take(LONGEST_MESSAGE).collect()
    }
}

/// The last part of `/v1/realtime/calls/rtc_…`, if it can stand in a path.
fn call_id(location: &str) -> Option<String> {
    let id = location.split(['?', '#']).next()?.trim_end_matches('/').rsplit('/').next()?;
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    (!id.is_empty() && id.len() <= 128 && id.chars().all(plain)).then(|| id.to_owned())
}

/// The innermost cause says what happened: "connection refused", not "error sending request".
fn unreachable_at(url: &str, error: &reqwest::Error) -> CallError {
    let causes = std::iter::successors(std::error::Error::source(error), |cause| cause.source());
    let reason = causes.last().map_or_else(|| error.to_string(), ToString::to_string);
    let reason = if error.is_timeout() { "it took too long".to_owned() } else { reason };
    CallError::Unreachable { url: url.to_owned(), reason }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_call_id_is_the_last_part_of_the_location() {
        assert_eq!(call_id("/v1/realtime/calls/rtc_u1-a"), Some("rtc_u1-a".to_owned()));
        assert_eq!(call_id("https://gateway/v1/realtime/calls/rtc_2/?x=1"), Some("rtc_2".to_owned()));
        assert_eq!(call_id("/v1/realtime/calls/rtc_%2e%2e"), None);
        assert_eq!(call_id(""), None);
    }

    #[test]
    fn a_refusal_speaks_with_the_words_of_the_api() {
        assert_eq!(
            refusal(r#"{"error":{"message":"Incorrect API key provided","code":"x"}}"#),
            "Incorrect API key provided"
        );
        assert_eq!(refusal("<h1>Bad gateway</h1>\n"), "<h1>Bad gateway</h1>");
        assert_eq!(refusal(""), "no reason given");
    }

    #[test]
    fn an_address_that_is_none_is_refused_before_dialling() {
        for base in ["gateway:8080", "ftp://gateway/v1", "", "http://"] {
            let refused = Dial::new(base, "key", None, Duration::from_secs(1)).unwrap_err();
            assert!(matches!(refused, CallError::Address { .. }), "{base}: {refused}");
        }
    }

    #[test]
    fn a_missing_authority_file_is_named() {
        let missing = Some(Path::new("no-such-ca.pem"));
        let refused = Dial::new("https://gateway/v1", "key", missing, Duration::from_secs(1)).unwrap_err();
        assert!(refused.to_string().contains("no-such-ca.pem"), "{refused}");
    }
}
