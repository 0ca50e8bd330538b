//! What is asked for: queries, paths and bodies, read strictly.

use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use serde::de::DeserializeOwned;
use serde_json::Number;
use utoipa::IntoParams;
use voxgate_policy::key::KeyHash;

use super::access::Administrator;
use super::reply::AdminError;
use crate::api::unix_now_ms;
use crate::store::audit::Deed;
use crate::store::request::RequestMark;

/// Largest body. The largest that makes sense is below one kilobyte.
pub(super) const MAX_BODY_BYTES: usize = 16 * 1024;

/// Largest body that carries a configuration: JSON writes a line's end as two characters, and a control character as six.
const MAX_LARGE_BODY_BYTES: usize = 2 * voxgate_policy::bundle::MOST_BYTES;

/// Longest `Idempotency-Key`.
const LONGEST_MARK: usize = 100;

/// Longest name for people, in characters.
const LONGEST_NAME: usize = 100;

/// Where an organisation is.
#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
#[expect(dead_code, reason = "it only describes")]
pub(super) struct OrganisationPath {
    #[param(max_length = 64, pattern = "^[A-Za-z0-9._-]+$")]
    organisation: String,
}

/// Where a team is.
#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
#[expect(dead_code, reason = "it only describes")]
pub(super) struct TeamPath {
    #[param(max_length = 64, pattern = "^[A-Za-z0-9._-]+$")]
    organisation: String,
    #[param(max_length = 64, pattern = "^[A-Za-z0-9._-]+$")]
    team: String,
}

/// Where a key is.
#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
#[expect(dead_code, reason = "it only describes")]
pub(super) struct KeyPath {
    #[param(max_length = 64, pattern = "^[A-Za-z0-9._-]+$")]
    organisation: String,
    #[param(max_length = 64, pattern = "^[A-Za-z0-9._-]+$")]
    team: String,
    #[param(max_length = 64, pattern = "^[A-Za-z0-9._-]+$")]
    key: String,
}

/// The header that makes a write happen once.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
#[expect(dead_code, reason = "it only describes")]
pub(super) struct IdempotencyKey {
    /// Sent again with the same key, the request is answered and does nothing.
    #[param(
        rename = "Idempotency-Key",
        min_length = 1,
        max_length = 100,
        pattern = "^[!-~]+$",
        nullable = false
    )]
    idempotency_key: Option<String>,
}

/// The place a path names. One that cannot be a place is one that does not exist.
pub(super) struct At<T>(pub(super) T);

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for At<T> {
    type Rejection = AdminError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, AdminError> {
        let place = Path::from_request_parts(parts, state).await;
        place.map(|Path(place)| Self(place)).map_err(|_| AdminError::not_found("address"))
    }
}

/// The query, without anything unknown.
pub(super) struct Asked<T>(pub(super) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Asked<T> {
    type Rejection = AdminError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, AdminError> {
        let read = Query::try_from_uri(&parts.uri);
        read.map(|Query(asked)| Self(asked)).map_err(|error| {
            let reason = error.body_text();
            AdminError::invalid(format!("The query cannot be read: {reason}."))
        })
    }
}

/// Who came in.
pub(super) struct By(pub(super) Administrator);

impl<S: Send + Sync> FromRequestParts<S> for By {
    type Rejection = AdminError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, AdminError> {
        // Without the door nobody is let in.
        let administrator = parts.extensions.get::<Administrator>().cloned();
        administrator.map(Self).ok_or_else(|| AdminError::denied("Nobody checked who asks for this."))
    }
}

/// A write with a body: what to do, and who does it.
pub(super) struct Order<T> {
    pub(super) what: T,
    pub(super) by: Deed,
}

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Order<T> {
    type Rejection = AdminError;

    async fn from_request(request: Request, _: &S) -> Result<Self, AdminError> {
        Self::read(request, MAX_BODY_BYTES).await
    }
}

/// A write whose body may be missing.
pub(super) struct BriefOrder<T>(pub(super) Order<Option<T>>);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for BriefOrder<T> {
    type Rejection = AdminError;

    async fn from_request(request: Request, _: &S) -> Result<Self, AdminError> {
        let (parts, body) = request.into_parts();
        let body = whole_body(body, MAX_BODY_BYTES).await?;
        if body.is_empty() {
            return Ok(Self(Order { what: None, by: deed(&parts, &[])? }));
        }
        must_be_json(&parts.headers)?;
        Ok(Self(Order { what: understand(&body)?, by: deed(&parts, &body)? }))
    }
}

/// A write whose body may be large: a configuration with its files.
pub(super) struct LargeOrder<T>(pub(super) Order<T>);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for LargeOrder<T> {
    type Rejection = AdminError;

    async fn from_request(request: Request, _: &S) -> Result<Self, AdminError> {
        Order::read(request, MAX_LARGE_BODY_BYTES).await.map(Self)
    }
}

impl<T: DeserializeOwned> Order<T> {
    async fn read(request: Request, most: usize) -> Result<Self, AdminError> {
        let (parts, body) = request.into_parts();
        let body = read(&parts, body, most).await?;
        Ok(Self { what: understand(&body)?, by: deed(&parts, &body)? })
    }
}

/// A question with a body: nothing is done.
pub(super) struct Inquiry<T>(pub(super) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Inquiry<T> {
    type Rejection = AdminError;

    async fn from_request(request: Request, _: &S) -> Result<Self, AdminError> {
        let (parts, body) = request.into_parts();
        understand(&read(&parts, body, MAX_BODY_BYTES).await?).map(Self)
    }
}

async fn read(parts: &Parts, body: Body, most: usize) -> Result<Bytes, AdminError> {
    must_be_json(&parts.headers)?;
    whole_body(body, most).await
}

fn must_be_json(headers: &HeaderMap) -> Result<(), AdminError> {
    if is_json(headers) {
        return Ok(());
    }
    let message = "Send the body as application/json.";
    Err(AdminError::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", message))
}

async fn whole_body(body: Body, most: usize) -> Result<Bytes, AdminError> {
    to_bytes(body, most).await.map_err(|_| {
        let message = format!("The body is larger than {most} bytes.");
        AdminError::new(StatusCode::PAYLOAD_TOO_LARGE, "request_too_large", message)
    })
}

fn understand<T: DeserializeOwned>(body: &[u8]) -> Result<T, AdminError> {
    serde_json::from_slice(body)
        .map_err(|error| AdminError::invalid(format!("The body is not as described: {error}.")))
}

/// A write without a body.
pub(super) struct BareOrder(pub(super) Deed);

impl<S: Send + Sync> FromRequestParts<S> for BareOrder {
    type Rejection = AdminError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, AdminError> {
        deed(parts, &[]).map(Self)
    }
}

fn is_json(headers: &HeaderMap) -> bool {
    let value = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let kind = value.and_then(|value| value.split(';').next()).unwrap_or_default();
    kind.trim().eq_ignore_ascii_case("application/json")
}

fn deed(parts: &Parts, body: &[u8]) -> Result<Deed, AdminError> {
    let administrator = parts.extensions.get::<Administrator>();
    let actor = administrator.map(Administrator::actor).unwrap_or_default();
    let request = match parts.headers.get("idempotency-key") {
        Some(value) => {
            Some(RequestMark { request: mark(value.as_bytes())?, fingerprint: fingerprint(parts, body) })
        }
        None => None,
    };
    Ok(Deed { actor, at_unix_ms: unix_now_ms() as i64, request })
}

fn mark(value: &[u8]) -> Result<String, AdminError> {
    let is_fit = |byte: &u8| byte.is_ascii_graphic();
    if value.is_empty() || value.len() > LONGEST_MARK || !value.iter().all(is_fit) {
        let message =
            format!("An Idempotency-Key has 1 to {LONGEST_MARK} printable ASCII characters without spaces.");
        return Err(AdminError::invalid(message).with_param("Idempotency-Key"));
    }
    Ok(String::from_utf8_lossy(value).into_owned())
}

/// Everything that is asked for, hashed: the same key with something else is a mistake.
fn fingerprint(parts: &Parts, body: &[u8]) -> String {
    let body = KeyHash::of(&String::from_utf8_lossy(body)).to_hex();
    KeyHash::of(&format!("{} {} {body}", parts.method, parts.uri.path())).to_hex()
}

/// A name for people.
pub(super) fn checked_name(name: &str) -> Result<&str, AdminError> {
    let is_control = |letter: char| letter <= '\u{1f}' || letter == '\u{7f}';
    if name.is_empty() || name.chars().count() > LONGEST_NAME || name.contains(is_control) {
        let message = format!("'name' has 1 to {LONGEST_NAME} characters, none of them a control character.");
        return Err(AdminError::invalid(message).with_param("name"));
    }
    Ok(name)
}

/// A whole number of at most `most`, however it is written: to JSON Schema `1.0` is one too.
pub(super) fn whole(number: &Number, most: u64, param: &'static str) -> Result<u64, AdminError> {
    // Beyond 2⁵³ a fraction could not be told from none.
    let written_with_point =
        number.as_f64().filter(|value| value.fract() == 0.0 && (0.0..=9e15).contains(value));
    let value = number.as_u64().or_else(|| written_with_point.map(|value| value as u64));
    value.filter(|value| *value <= most).ok_or_else(|| {
        AdminError::invalid(format!("'{param}' is a whole number from 0 to {most}.")).with_param(param)
    })
}
