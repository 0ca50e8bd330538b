//! The router: the OpenAI Realtime GA paths.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::{FromRequest, Multipart, Path, Query, Request, State, WebSocketUpgrade};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get, patch, post};
use tower_http::cors::{AllowHeaders, Any, CorsLayer};
use voxgate_policy::directory::Scope;
use voxgate_protocol::id::{CallId, SessionId};
use voxgate_protocol::settings::{Purpose, SessionSettings};
use voxgate_protocol::trace_context::{TraceContext, TraceParent};
use voxgate_realtime::request;
use voxgate_realtime::{ApiError, ErrorKind};
use voxgate_telemetry::session::facts::SessionFacts;

use crate::decision::{self, Transport};
use crate::gate::Gate;
use crate::host::SessionRequest;
use crate::identity::{Binding, Identity, Principal, Rejection};
use crate::live::LiveSessions;
use crate::permit::Places;
use crate::reply::ErrorReply;
use crate::resume::{Resumed, Resumptions};
use crate::terms::{Terms, TermsInForce};

/// Largest body of any request: an SDP offer is below 10 kB, a session with many tools below a few hundred.
const MAX_BODY_BYTES: usize = 1024 * 1024;

/// A report of a client has a dozen numbers.
const MAX_REPORT_BYTES: usize = 2_048;

/// The largest offer of an ICE restart. A browser's has 6 KiB; reading one is work that other calls wait for.
const MAX_RESTART_BYTES: usize = 64 * 1024;

/// Largest message of a sideband connection, a little more than a session takes of it, so that most of what is too long
/// is answered instead of cut off. Audio of a call never comes this way.
const MAX_SIDEBAND_MESSAGE_BYTES: usize = 2 * 1024 * 1024;

/// Largest message of a client WebSocket: the API allows 15 MiB of audio, which base64 and JSON make larger.
const MAX_SOCKET_MESSAGE_BYTES: usize = 22 * 1024 * 1024;

/// Most read from a WebSocket at once. The library fills as many bytes with zeros before every read, so that its own choice,
/// 128 KiB, costs more than the 2 KiB of an event with 20 ms of audio; a longer message takes several reads.
const SOCKET_READ_BYTES: usize = 8 * 1024;

/// What offers and answers are.
const SDP: &str = "application/sdp";

/// The subprotocol the API speaks. Browsers fail a socket whose server echoes anything they did not offer.
const SUBPROTOCOL: &str = "realtime";

/// Browsers cannot set headers on a WebSocket; their key comes as a subprotocol with this prefix.
const KEY_SUBPROTOCOL: &str = "openai-insecure-api-key.";

/// The header of the answer that starts a session: the token with which a client that lost it can go on.
const RESUME_TOKEN: &str = "voxgate-resume-token";

/// The header of W3C Trace Context. Of a request that starts a session: the span the session is to stand below. Of the
/// answer: the session's own span, so that a client can link to it.
const TRACEPARENT: &str = "traceparent";

/// What the handlers share.
#[derive(Clone)]
pub struct ClientApi {
    /// Keys and secrets.
    pub identity: Arc<Identity>,
    /// Policies, routes and everything else sessions begin with.
    pub terms: TermsInForce,
    /// Running sessions.
    pub places: Places,
    /// What every session passes before it begins.
    pub gate: Gate,
    /// What the administration sees of them.
    pub live: LiveSessions,
    /// Conversations whose clients may come back.
    pub resumptions: Resumptions,
}

impl std::fmt::Debug for ClientApi {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ClientApi").field("terms", &self.terms).finish_non_exhaustive()
    }
}

impl ClientApi {
    /// Who asks, if the credential opens `scope`, and the terms that hold for them.
    async fn enter(
        &self,
        credential: Option<&str>,
        scope: Scope,
    ) -> Result<(Arc<Terms>, Principal), Rejection> {
        self.identity.prepare(credential).await;
        let (terms, principal) =
            self.terms.with(|| self.identity.authenticate(credential, unix_now(), scope));
        Ok((terms, principal?))
    }
}

/// The routes of the client API.
pub fn router(api: ClientApi) -> Router {
    Router::new()
        .route("/v1/realtime", get(open_socket))
        .route("/v1/realtime/client_secrets", post(create_client_secret))
        .route("/v1/realtime/calls", post(create_call))
        .route("/v1/realtime/calls/{call_id}", patch(restart_ice))
        .route("/v1/realtime/calls/{call_id}/hangup", post(hang_up))
        .route("/v1/realtime/calls/{call_id}/report", post(report))
        .route("/v1/realtime/calls/{call_id}/accept", any(sip_only))
        .route("/v1/realtime/calls/{call_id}/reject", any(sip_only))
        .route("/v1/realtime/calls/{call_id}/refer", any(sip_only))
        .route("/v1/realtime/sessions", any(beta_only))
        .route("/v1/realtime/transcription_sessions", any(beta_only))
        .route("/v1/{*path}", any(unknown_url))
        .method_not_allowed_fallback(unknown_url)
        .layer(cors())
        .with_state(api)
}

/// What the official browser SDK needs: three request headers, one of them its own, and a readable `Location`.
/// Any origin may ask: the credential is the bearer token, never a cookie.
fn cors() -> CorsLayer {
    CorsLayer::new()
        .allow_origin(Any)
        .allow_methods([Method::GET, Method::POST, Method::PATCH, Method::OPTIONS])
        .allow_headers(AllowHeaders::list([
            header::AUTHORIZATION,
            header::CONTENT_TYPE,
            HeaderName::from_static("x-openai-agents-sdk"),
            HeaderName::from_static("openai-organization"),
            HeaderName::from_static("openai-project"),
            HeaderName::from_static("openai-beta"),
            // Browsers that trace send both.
            HeaderName::from_static(TRACEPARENT),
            HeaderName::from_static("tracestate"),
        ]))
        .expose_headers([
            header::LOCATION,
            HeaderName::from_static(RESUME_TOKEN),
            HeaderName::from_static(TRACEPARENT),
        ])
        .max_age(Duration::from_secs(3600))
}

#[derive(Debug, Default, serde::Deserialize)]
struct CallQuery {
    model: Option<String>,
    call_id: Option<String>,
    intent: Option<String>,
    resume: Option<String>,
}

/// The query as a handler gets it, so that its refusal has the API's shape and comes after that of the key.
type AskedQuery = Result<Query<CallQuery>, QueryRejection>;

async fn unknown_url(method: Method, uri: Uri) -> ErrorReply {
    ApiError::unknown_url(method.as_str(), uri.path()).into()
}

/// What the API has for calls that come in over SIP.
async fn sip_only() -> ErrorReply {
    ApiError::sip_not_supported().into()
}

/// What the API had before it was generally available.
async fn beta_only() -> ErrorReply {
    ApiError::beta_api_shape_disabled().into()
}

async fn create_client_secret(
    State(api): State<ClientApi>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, ErrorReply> {
    let (terms, principal) = api.enter(bearer(&headers), Scope::ClientSecrets).await?;
    if principal.is_client_secret {
        let mut error = ApiError::invalid_api_key();
        error.message = "A client secret cannot make another one. Use an API key.".to_owned();
        return Err(error.into());
    }
    let request = request::client_secret_request(&read(body).await?)?;
    let mut settings = request.settings;
    if settings.model.is_empty() {
        settings.model = terms.default_model.to_string();
    }
    let route =
        terms.routes.resolve(&settings.model).map_err(|_| ApiError::model_not_found(&settings.model))?;
    // A secret for a session nobody may begin would only be refused later, in the hands of somebody who cannot help it.
    decision::may_use(&terms, &principal.caller, &settings, route)?;
    let session_id = SessionId::from_random(random_bits()?);
    let (secret, expires_at) = api.identity.grant(
        principal.key,
        Some(Binding { settings: settings.clone(), allowed_events: request.allowed_events.clone() }),
        request.expires_after,
        unix_now(),
        random_bytes()?,
    );
    let reply = request::client_secret_response(
        &secret,
        expires_at,
        &settings,
        session_id.as_str(),
        request.allowed_events.as_ref(),
    );
    Ok(axum::Json(reply).into_response())
}

async fn create_call(
    State(api): State<ClientApi>,
    query: AskedQuery,
    request: Request,
) -> Result<Response, ErrorReply> {
    start_call(&api, query, request).await.inspect_err(|refusal| api.terms.now().host.refused(&refusal.error))
}

async fn start_call(api: &ClientApi, query: AskedQuery, request: Request) -> Result<Response, ErrorReply> {
    let credential = bearer(request.headers()).map(str::to_owned);
    let asked_by = trace_parent(request.headers());
    let (terms, principal) = api.enter(credential.as_deref(), Scope::Calls).await?;
    let query = read_query(query)?;
    let (offer, session) = read_offer(request).await?;
    let allowed = principal.binding.as_ref().and_then(|binding| binding.allowed_events.as_ref());
    if session.is_some() && allowed.is_some_and(|allowed| !allowed.allows_configuring()) {
        // Otherwise the offer would be a way around the events that are not allowed.
        return Err(ApiError::event_not_allowed("session.update").with_param("session").into());
    }
    let call_id = CallId::from_random(random_bits()?);
    let transport = Transport::WebRtc(call_id.clone());
    let asked = Asked { resume: query.resume, model: query.model, session, transport, asked_by };
    let (request, token) = admit_or_resume(api, &terms, principal, asked).await?;
    let of_session = session_headers(token, &request.presence.trace());
    let answer = terms.host.answer(call_id.clone(), offer, request).await?;
    let location = format!("/v1/realtime/calls/{call_id}");
    let headers = [(header::CONTENT_TYPE, SDP.to_owned()), (header::LOCATION, location)];
    Ok((StatusCode::CREATED, headers, of_session, answer).into_response())
}

/// An extension of the API: a client whose network or relay changed sends an offer with new ICE credentials and goes on
/// with the same call over the relays of the answer.
async fn restart_ice(
    State(api): State<ClientApi>,
    call_id: Result<Path<String>, PathRejection>,
    request: Request,
) -> Result<Response, ErrorReply> {
    let credential = bearer(request.headers()).map(str::to_owned);
    let (terms, principal) = api.enter(credential.as_deref(), Scope::Calls).await?;
    let Path(call_id) = call_id.map_err(|_| ApiError::call_id_not_found())?;
    if !content_type(request.headers()).starts_with(SDP) {
        return Err(unsupported_content_type("Send the offer as application/sdp.").into());
    }
    let offer = utf8(read(request.into_body()).await?)?;
    if offer.len() > MAX_RESTART_BYTES {
        return Err(ApiError::request_too_large(MAX_RESTART_BYTES).into());
    }
    let answer = terms.host.restart_ice(CallId::from(call_id), principal.key, offer).await?;
    Ok(([(header::CONTENT_TYPE, SDP)], answer).into_response())
}

async fn hang_up(
    State(api): State<ClientApi>,
    headers: HeaderMap,
    call_id: Result<Path<String>, PathRejection>,
) -> Result<Response, ErrorReply> {
    let (terms, principal) = api.enter(bearer(&headers), Scope::Calls).await?;
    let Path(call_id) = call_id.map_err(|_| ApiError::call_id_not_found())?;
    if terms.host.hang_up(CallId::from(call_id), principal.key).await {
        Ok(StatusCode::OK.into_response())
    } else {
        Err(ApiError::call_id_not_found().into())
    }
}

/// An extension of the API: what a client measured of its own side, for pages that have no data channel for it.
async fn report(
    State(api): State<ClientApi>,
    call_id: Result<Path<String>, PathRejection>,
    request: Request,
) -> Result<Response, ErrorReply> {
    let credential = bearer(request.headers()).map(str::to_owned);
    let (terms, principal) = api.enter(credential.as_deref(), Scope::Calls).await?;
    let Path(call_id) = call_id.map_err(|_| ApiError::call_id_not_found())?;
    let report = utf8(read(request.into_body()).await?)?;
    if report.len() > MAX_REPORT_BYTES {
        return Err(ApiError::request_too_large(MAX_REPORT_BYTES).into());
    }
    terms.host.report(CallId::from(call_id), principal.key, report).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

async fn open_socket(
    State(api): State<ClientApi>,
    query: AskedQuery,
    headers: HeaderMap,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Result<Response, ErrorReply> {
    start_socket(&api, query, &headers, upgrade)
        .await
        .inspect_err(|refusal| api.terms.now().host.refused(&refusal.error))
}

async fn start_socket(
    api: &ClientApi,
    query: AskedQuery,
    headers: &HeaderMap,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Result<Response, ErrorReply> {
    let credential = bearer(headers).or_else(|| subprotocol_key(headers));
    // Which of the two it is for, the query says; a query that cannot be read is refused after the key.
    let is_sideband = query.as_ref().is_ok_and(|query| query.call_id.is_some());
    let scope = if is_sideband { Scope::Sidebands } else { Scope::Calls };
    let (terms, principal) = api.enter(credential, scope).await?;
    let query = read_query(query)?;
    let upgrade = upgrade.map_err(|_| {
        let message = "This address is for WebSockets; WebRTC calls begin with POST /v1/realtime/calls.";
        ApiError::new(400, ErrorKind::InvalidRequest, "websocket_required", message)
    })?;
    if let Some(call_id) = query.call_id {
        return attach(&terms, principal, call_id.into(), upgrade).await;
    }
    let session = intended(query.intent.as_deref(), &principal)?;
    let (transport, asked_by) = (Transport::WebSocket, trace_parent(headers));
    let asked = Asked { resume: query.resume, model: query.model, session, transport, asked_by };
    let (request, token) = admit_or_resume(api, &terms, principal, asked).await?;
    let of_session = session_headers(token, &request.presence.trace());
    let host = Arc::clone(&terms.host);
    let upgraded = upgrade
        .protocols([SUBPROTOCOL])
        .max_message_size(MAX_SOCKET_MESSAGE_BYTES)
        .max_frame_size(MAX_SOCKET_MESSAGE_BYTES)
        .read_buffer_size(SOCKET_READ_BYTES)
        .on_upgrade(move |socket| host.serve_socket(socket, request));
    Ok((of_session, upgraded).into_response())
}

/// What the answer that starts a session says of it besides: its resume token, if it has one, and its span.
fn session_headers(token: Option<String>, trace: &TraceContext) -> HeaderMap {
    let token = token.map(|token| (RESUME_TOKEN, token));
    let values = token.into_iter().chain([(TRACEPARENT, trace.as_parent().to_string())]);
    let valid = values.filter_map(|(name, value)| Some((name, HeaderValue::from_str(&value).ok()?)));
    valid.map(|(name, value)| (HeaderName::from_static(name), value)).collect()
}

/// The span of whoever asks. More than one counts as none, as does what cannot be read (Trace Context, section 4.1).
fn trace_parent(headers: &HeaderMap) -> Option<TraceParent> {
    let mut values = headers.get_all(TRACEPARENT).iter();
    let only = values.next().filter(|_| values.next().is_none())?;
    TraceParent::parse(only.to_str().ok()?)
}

/// What a client asks for that begins a session.
struct Asked {
    resume: Option<String>,
    model: Option<String>,
    session: Option<SessionSettings>,
    transport: Transport,
    asked_by: Option<TraceParent>,
}

/// A session that begins, or one that goes on with the conversation of a token. Gives the session's own token with it.
async fn admit_or_resume(
    api: &ClientApi,
    terms: &Arc<Terms>,
    principal: Principal,
    asked: Asked,
) -> Result<(SessionRequest, Option<String>), ErrorReply> {
    let key = principal.key;
    let Asked { resume, model, session, transport, asked_by } = asked;
    // Whatever fails from here on, the client may try again with the same token.
    let resumed = match &resume {
        Some(token) => Some(api.resumptions.take(token, key).await?),
        None => None,
    };
    let settings = session.or_else(|| resumed.as_ref().and_then(Resumed::settings).cloned());
    let request = admit(api, terms, principal, model, settings, (transport, asked_by)).await?;
    let issued = api.resumptions.issue(key, random_bytes()?);
    let (token, ticket) = issued.map_or((None, None), |(token, ticket)| (Some(token), Some(ticket)));
    Ok((SessionRequest { resumed, ticket, ..request }, token))
}

/// The session of a WebSocket's `intent`; `None` if the credential or the defaults decide.
fn intended(intent: Option<&str>, principal: &Principal) -> Result<Option<SessionSettings>, ApiError> {
    let wanted = match intent {
        None => return Ok(None),
        Some("conversation") => Purpose::Conversation,
        Some("transcription") => Purpose::Transcription,
        Some(_) => {
            let reason = "supported values are 'conversation' and 'transcription'.";
            return Err(ApiError::invalid_value("intent", reason));
        }
    };
    match &principal.binding {
        Some(binding) if binding.settings.purpose != wanted => {
            Err(ApiError::invalid_value("intent", "the client secret is for the other kind of session."))
        }
        None if wanted == Purpose::Transcription => Ok(Some(request::transcription_settings())),
        _ => Ok(None),
    }
}

/// Attaches to a running call. A client secret may not: it is in the hands of the caller, whom a sideband connection
/// is to watch. Its refusal is that of a call that never was.
async fn attach(
    terms: &Terms,
    principal: Principal,
    call_id: CallId,
    upgrade: WebSocketUpgrade,
) -> Result<Response, ErrorReply> {
    if principal.is_client_secret {
        return Err(ApiError::call_id_not_found().into());
    }
    let serve = terms.host.attach(call_id, principal.key).await?;
    Ok(upgrade
        .protocols([SUBPROTOCOL])
        .max_message_size(MAX_SIDEBAND_MESSAGE_BYTES)
        .max_frame_size(MAX_SIDEBAND_MESSAGE_BYTES)
        .read_buffer_size(SOCKET_READ_BYTES)
        .on_upgrade(serve))
}

fn read_query(query: AskedQuery) -> Result<CallQuery, ApiError> {
    query
        .map(|Query(query)| query)
        .map_err(|rejection| ApiError::invalid_value("query", rejection.body_text()))
}

/// Settings, route and place of a session; whatever is missing is refused with a reason.
async fn admit(
    api: &ClientApi,
    terms: &Terms,
    principal: Principal,
    model: Option<String>,
    session: Option<SessionSettings>,
    (transport, asked_by): (Transport, Option<TraceParent>),
) -> Result<SessionRequest, ErrorReply> {
    let (bound, allowed_events) =
        principal.binding.map_or((None, None), |binding| (Some(binding.settings), binding.allowed_events));
    let mut settings = session.or(bound).unwrap_or_else(request::default_settings);
    if settings.model.is_empty() {
        settings.model = model.unwrap_or_else(|| terms.default_model.to_string());
    }
    let route =
        terms.routes.resolve(&settings.model).map_err(|_| ApiError::model_not_found(&settings.model))?;
    let (route, mut obligations) =
        decision::may_begin(terms, &principal.caller, &transport, &settings, route)?;
    let recording = decision::may_record(terms, &principal.caller, &mut obligations);
    if let Some(until) = principal.until {
        // A token cannot be taken back; its end is the only one its provider can set.
        let left = Duration::from_secs(until.saturating_sub(unix_now()));
        obligations.max_session = Some(obligations.max_session.map_or(left, |most| most.min(left)));
    }
    let permit = api.places.take(principal.key)?;
    let session_id = SessionId::from_random(random_bits()?);
    let tenant = &principal.caller.tenancy;
    let limits = api.gate.admit(&terms.limits, &session_id, tenant, &settings.model).await?;
    let presence = api.live.enter(SessionFacts {
        session: session_id.clone(),
        tenancy: principal.caller.tenancy.clone(),
        model: settings.model.clone(),
        transport: transport.as_str(),
        purpose: decision::purpose(&settings),
        revision: terms.revision,
        began_at_unix_ms: unix_now_ms(),
        call: transport.into_call(),
        trace: TraceContext::begin(asked_by, (random_bits()?, random_bits()? as u64)),
    });
    Ok(SessionRequest {
        session_id,
        revision: terms.revision,
        settings,
        route,
        permit,
        presence,
        limits,
        allowed_events,
        ticket: None,
        resumed: None,
        caller: principal.caller,
        obligations,
        recording,
    })
}

/// The offer, and the session of the multipart form.
async fn read_offer(request: Request) -> Result<(String, Option<SessionSettings>), ApiError> {
    let content_type = content_type(request.headers());
    if content_type.starts_with("multipart/form-data") {
        return read_form(request).await;
    }
    if content_type.starts_with(SDP) {
        return Ok((utf8(read(request.into_body()).await?)?, None));
    }
    Err(unsupported_content_type(
        "Send the offer as application/sdp, or as multipart/form-data with the parts sdp and session.",
    ))
}

fn content_type(headers: &HeaderMap) -> String {
    let value = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    value.unwrap_or_default().to_ascii_lowercase()
}

fn unsupported_content_type(message: &str) -> ApiError {
    ApiError::new(415, ErrorKind::InvalidRequest, "unsupported_content_type", message)
}

async fn read_form(request: Request) -> Result<(String, Option<SessionSettings>), ApiError> {
    let (parts, body) = request.into_parts();
    let body = read(body).await?;
    let request = Request::from_parts(parts, Body::from(body));
    let malformed = || ApiError::invalid_value("sdp", "the multipart form could not be read.");
    let mut form = Multipart::from_request(request, &()).await.map_err(|_| malformed())?;
    let (mut offer, mut session) = (None, None);
    while let Some(part) = form.next_field().await.map_err(|_| malformed())? {
        let name = part.name().unwrap_or_default().to_owned();
        let bytes = part.bytes().await.map_err(|_| malformed())?;
        match name.as_str() {
            "sdp" => offer = Some(utf8(bytes.to_vec())?),
            "session" => session = Some(request::session_config(&bytes)?),
            _ => {}
        }
    }
    let offer = offer.ok_or_else(|| ApiError::missing_parameter("sdp"))?;
    Ok((offer, session))
}

async fn read(body: Body) -> Result<Vec<u8>, ApiError> {
    match to_bytes(body, MAX_BODY_BYTES).await {
        Ok(bytes) => Ok(bytes.to_vec()),
        Err(_) => Err(ApiError::request_too_large(MAX_BODY_BYTES)),
    }
}

fn utf8(bytes: Vec<u8>) -> Result<String, ApiError> {
    String::from_utf8(bytes).map_err(|_| ApiError::invalid_value("sdp", "the offer is not UTF-8 text."))
}

pub(crate) fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

fn subprotocol_key(headers: &HeaderMap) -> Option<&str> {
    headers
        .get_all(header::SEC_WEBSOCKET_PROTOCOL)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .find_map(|protocol| protocol.trim().strip_prefix(KEY_SUBPROTOCOL))
}

pub(crate) fn unix_now() -> u64 {
    unix_now_ms() / 1_000
}

pub(crate) fn unix_now_ms() -> u64 {
    // A clock before 1970 makes every secret valid for ever as little as it makes any valid.
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |passed| passed.as_millis() as u64)
}

pub(crate) fn random_bytes() -> Result<[u8; 32], ApiError> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).map_err(|_| {
        ApiError::service_unavailable("The operating system gave no random numbers; try again.")
    })?;
    Ok(bytes)
}

pub(crate) fn random_bits() -> Result<u128, ApiError> {
    let bytes = random_bytes()?;
    let mut half = [0; 16];
    half.copy_from_slice(&bytes[..16]);
    Ok(u128::from_le_bytes(half))
}

#[cfg(test)]
mod tests;
