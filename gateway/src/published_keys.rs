//! Fetches the keys identity providers publish.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use reqwest::{Certificate, Client, StatusCode, Url};
use serde::Deserialize;
use voxgate_policy::token::Issuer;
use voxgate_signaling::sign_in::{FetchError, IdentityProvider};

/// Longest wait for a connection, and for the whole answer.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
const TIMEOUT: Duration = Duration::from_secs(5);

/// Largest answer, in bytes. The largest providers publish a few thousand.
const LARGEST_ANSWER: usize = 256 * 1024;

/// Where a provider's metadata is, below the issuer (OpenID Connect Discovery 1.0 section 4).
const DISCOVERY: &str = "/.well-known/openid-configuration";

/// A provider as the configuration names it, checked.
#[derive(Clone, Debug)]
pub(crate) struct TrustedIssuer {
    pub(crate) issuer: Issuer,
    /// Where its keys are; `None`: where its metadata says.
    pub(crate) jwks_url: Option<Url>,
    /// PEM of authorities to trust beside the public ones.
    pub(crate) ca_file: Option<PathBuf>,
    pub(crate) bounds_sessions: bool,
}

/// Whether keys may come from there: over TLS, or from this machine.
pub(crate) fn is_trustworthy(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    let is_here = address.map_or(host == "localhost", |address| address.is_loopback());
    url.scheme() == "https" || (url.scheme() == "http" && is_here)
}

/// The provider with the way to its keys.
///
/// # Errors
/// What makes the way impossible: a file without certificates, or an address that makes no sense.
pub(crate) fn provider(trusted: TrustedIssuer) -> Result<IdentityProvider, String> {
    let TrustedIssuer { issuer, jwks_url, ca_file, bounds_sessions } = trusted;
    let http = client(ca_file.as_deref())?;
    let name: Arc<str> = issuer.issuer.as_str().into();
    let fetch = move || {
        let (http, name, jwks_url) = (http.clone(), Arc::clone(&name), jwks_url.clone());
        let keys: futures_util::future::BoxFuture<'static, _> = Box::pin(async move {
            let url = match jwks_url {
                Some(url) => url,
                None => discover(&http, &name).await?,
            };
            get(&http, url).await
        });
        keys
    };
    Ok(IdentityProvider { issuer, bounds_sessions, fetch: Arc::new(fetch) })
}

fn client(ca_file: Option<&Path>) -> Result<Client, String> {
    if rustls::crypto::CryptoProvider::get_default().is_none() {
        // Somebody else may just have chosen one; then that one is used.
        let _ = rustls::crypto::ring::default_provider().install_default();
    }
    // A redirect could lead away from TLS.
    let mut builder = Client::builder()
        .connect_timeout(CONNECT_TIMEOUT)
        .timeout(TIMEOUT)
        .redirect(reqwest::redirect::Policy::none());
    if let Some(path) = ca_file {
        let unusable = |reason: String| format!("{} cannot be used: {reason}", path.display());
        let pem = std::fs::read(path).map_err(|error| unusable(error.to_string()))?;
        let found = Certificate::from_pem_bundle(&pem).map_err(|error| unusable(error.to_string()))?;
        if found.is_empty() {
            return Err(unusable("it holds no certificate".to_owned()));
        }
        builder = builder.tls_certs_merge(found);
    }
    builder.build().map_err(|error| error.to_string())
}

/// The part of a provider's metadata that is needed.
#[derive(Deserialize)]
struct Metadata {
    issuer: String,
    jwks_uri: String,
}

async fn discover(http: &Client, issuer: &str) -> Result<Url, FetchError> {
    let url = Url::parse(&format!("{}{DISCOVERY}", issuer.trim_end_matches('/')))
        .map_err(|error| FetchError(format!("the issuer is no address: {error}")))?;
    let text = get(http, url).await?;
    let metadata: Metadata = serde_json::from_str(&text)
        .map_err(|error| FetchError(format!("the provider's metadata cannot be read: {error}")))?;
    // Section 4.3: otherwise one provider could pass off its keys as another's.
    if metadata.issuer != issuer {
        return Err(FetchError("the provider's metadata is that of another issuer".to_owned()));
    }
    let keys = Url::parse(&metadata.jwks_uri).ok().filter(is_trustworthy);
    keys.ok_or_else(|| FetchError("the provider's metadata leads to keys that are not behind TLS".to_owned()))
}

async fn get(http: &Client, url: Url) -> Result<String, FetchError> {
    let unreachable = |error: reqwest::Error| FetchError(format!("{}", error.without_url()));
    let mut response = http.get(url).send().await.map_err(unreachable)?;
    if response.status() != StatusCode::OK {
        return Err(FetchError(format!("the answer was HTTP {}", response.status().as_u16())));
    }
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(unreachable)? {
        if body.len() + chunk.len() > LARGEST_ANSWER {
            return Err(FetchError(format!("the answer is longer than {LARGEST_ANSWER} bytes")));
        }
        body.extend_from_slice(&chunk);
    }
    String::from_utf8(body).map_err(|_| FetchError("the answer is no text".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_come_over_tls_or_from_this_machine() {
        let is_trusted = |text: &str| is_trustworthy(&Url::parse(text).unwrap());
        for good in
            ["https://id.example/keys", "http://127.0.0.1:8/k", "http://[::1]/k", "http://localhost/k"]
        {
            assert!(is_trusted(good), "{good}");
        }
        for bad in ["http://id.example/keys", "http://10.0.0.1/k", "file:///keys", "http://localhost.evil/k"]
        {
            assert!(!is_trusted(bad), "{bad}");
        }
    }
}
