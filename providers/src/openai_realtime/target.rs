//! Where a provider is and how it is asked.

use std::time::Duration;

use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::handshake::client::Request;
use tokio_tungstenite::tungstenite::http::header::{AUTHORIZATION, HeaderName, HeaderValue};
use voxgate_protocol::bridge::TurnOwner;

use crate::Secret;

/// A provider's address, key and habits.
#[derive(Clone, Debug)]
pub struct OpenAiTarget {
    /// `https`, `http`, `wss` or `ws`. A path that does not end in `/realtime` gets it appended, an empty one becomes
    /// `/v1/realtime`; a query stays and `model` joins it unless it is there.
    pub base_url: String,
    /// Sent as bearer token; empty for a server without keys.
    pub api_key: Secret,
    /// The vendor's name of the model.
    pub model: String,
    /// Who finds the end of the caller's turn.
    pub turn_owner: TurnOwner,
    /// Longest time from the start to the vendor's consent to the settings.
    pub connect_timeout: Duration,
    /// Longest silence of the vendor while an answer is in progress or was asked for.
    pub stall_timeout: Duration,
    /// Further headers of the WebSocket request, e.g. `OpenAI-Project`.
    pub headers: Vec<(String, Secret)>,
    /// The recognition model where the client names none, also for a client that does not want to see its words. `None`:
    /// the vendor's own choice, and for clients that ask only.
    pub transcription_model: Option<String>,
}

/// An address or header that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TargetError {
    /// The scheme is none of the four.
    #[error("the provider's address must begin with https://, http://, wss:// or ws://")]
    Scheme,
    /// No URL.
    #[error("the provider's address is not a URL")]
    Url,
    /// A header's name or value has characters no header may have. The value is not shown.
    #[error("the provider's header {0} cannot be sent")]
    Header(String),
}

impl OpenAiTarget {
    /// The WebSocket address.
    ///
    /// # Errors
    /// [`TargetError::Scheme`].
    pub fn url(&self) -> Result<String, TargetError> {
        let (scheme, rest) = self.base_url.split_once("://").ok_or(TargetError::Scheme)?;
        let scheme = match scheme {
            "https" | "wss" => "wss",
            "http" | "ws" => "ws",
            _ => return Err(TargetError::Scheme),
        };
        let (place, query) = rest.split_once('?').map_or((rest, ""), |(place, query)| (place, query));
        let (host, path) = place.split_once('/').unwrap_or((place, ""));
        let path = match path.trim_end_matches('/') {
            "" => "v1/realtime".to_owned(),
            full if full == "realtime" || full.ends_with("/realtime") => full.to_owned(),
            base => format!("{base}/realtime"),
        };
        let mut parameters: Vec<String> =
            query.split('&').filter(|p| !p.is_empty()).map(str::to_owned).collect();
        if !self.model.is_empty() && !parameters.iter().any(|parameter| parameter.starts_with("model=")) {
            parameters.push(format!("model={}", percent_encoded(&self.model)));
        }
        let query = if parameters.is_empty() { String::new() } else { format!("?{}", parameters.join("&")) };
        Ok(format!("{scheme}://{host}/{path}{query}"))
    }

    /// The WebSocket request, key included.
    ///
    /// # Errors
    /// See [`TargetError`].
    pub(super) fn request(&self) -> Result<Request, TargetError> {
        let mut request = self.url()?.into_client_request().map_err(|_| TargetError::Url)?;
        if !self.api_key.reveal().is_empty() {
            let bearer = format!("Bearer {}", self.api_key.reveal());
            request.headers_mut().insert(AUTHORIZATION, secret_value("authorization", &bearer)?);
        }
        for (name, value) in &self.headers {
            let header = name.parse::<HeaderName>().map_err(|_| TargetError::Header(name.clone()))?;
            request.headers_mut().insert(header, secret_value(name, value.reveal())?);
        }
        Ok(request)
    }
}

fn secret_value(name: &str, text: &str) -> Result<HeaderValue, TargetError> {
    let mut value = HeaderValue::from_str(text).map_err(|_| TargetError::Header(name.to_owned()))?;
    value.set_sensitive(true);
    Ok(value)
}

/// RFC 3986 section 2.3: everything but unreserved characters is encoded.
fn percent_encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(base_url: &str) -> OpenAiTarget {
        OpenAiTarget {
            base_url: base_url.to_owned(),
            api_key: Secret::new("sk-test"),
            model: "gpt-realtime-2.1".to_owned(),
            turn_owner: TurnOwner::Provider,
            connect_timeout: Duration::from_secs(5),
            stall_timeout: Duration::from_secs(10),
            headers: Vec::new(),
            transcription_model: None,
        }
    }

    #[test]
    fn every_usual_form_of_a_base_url_reaches_the_endpoint() {
        let cases = [
            ("https://api.openai.com/v1", "wss://api.openai.com/v1/realtime?model=gpt-realtime-2.1"),
            ("https://api.openai.com", "wss://api.openai.com/v1/realtime?model=gpt-realtime-2.1"),
            ("http://127.0.0.1:9000/v1/", "ws://127.0.0.1:9000/v1/realtime?model=gpt-realtime-2.1"),
            (
                "wss://x.example/openai/v1/realtime",
                "wss://x.example/openai/v1/realtime?model=gpt-realtime-2.1",
            ),
            ("ws://h/v1?model=a&b=c", "ws://h/v1/realtime?model=a&b=c"),
        ];
        for (base, expected) in cases {
            assert_eq!(target(base).url().as_deref(), Ok(expected), "{base}");
        }
        assert_eq!(target("ftp://h").url(), Err(TargetError::Scheme));
    }

    #[test]
    fn a_model_name_cannot_add_parameters() {
        let sly = OpenAiTarget { model: "a&b=c d".to_owned(), ..target("wss://h") };
        assert_eq!(sly.url().unwrap(), "wss://h/v1/realtime?model=a%26b%3Dc%20d");
    }

    #[test]
    fn neither_key_nor_header_is_ever_printed() {
        let mut target = target("wss://h");
        target.headers.push(("x-secret".to_owned(), Secret::new("hush\n")));
        assert_eq!(target.request().unwrap_err(), TargetError::Header("x-secret".to_owned()));
        let printed = format!("{target:?}");
        assert!(!printed.contains("sk-test") && !printed.contains("hush"));
        target.headers.clear();
        assert!(!format!("{:?}", target.request().unwrap()).contains("sk-test"));
    }
}
