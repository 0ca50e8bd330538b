use std::sync::Mutex;

use axum::extract::ws::WebSocket;
use futures_util::future::BoxFuture;
use serde_json::Value;
use tower::ServiceExt as _;
use voxgate_policy::admission::{Admission, SessionLimits};
use voxgate_policy::decision::{Authorizer, Decision, Question};
use voxgate_policy::directory::{Caller, Directory, KeyEntry, Role};
use voxgate_policy::key::{KeyHash, KeyIndex};
use voxgate_policy::routing::RouteTable;
use voxgate_protocol::revision::RevisionName;
use voxgate_protocol::tenant::KeyId;

use super::*;
use crate::directory::SharedDirectory;
use crate::host::{Recording, ServeSideband, SessionHost};

const CALL: &str = "/v1/realtime/calls/rtc_1";

/// Knows one call, `rtc_1` of the first key, and notes what it was asked.
#[derive(Default)]
struct Host {
    restarts: Mutex<Vec<(CallId, KeyIndex, String)>>,
}

impl SessionHost for Host {
    fn answer(&self, _: CallId, _: String, _: SessionRequest) -> BoxFuture<'_, Result<String, ApiError>> {
        Box::pin(async { Ok("the answer".to_owned()) })
    }

    fn restart_ice(
        &self,
        call_id: CallId,
        key: KeyIndex,
        offer: String,
    ) -> BoxFuture<'_, Result<String, ApiError>> {
        let is_known = call_id.as_str() == "rtc_1" && key == KeyIndex(0);
        self.restarts.lock().unwrap().push((call_id, key, offer));
        Box::pin(async move {
            if is_known { Ok("the new answer".to_owned()) } else { Err(ApiError::call_id_not_found()) }
        })
    }

    fn attach(&self, call_id: CallId, key: KeyIndex) -> BoxFuture<'_, Result<ServeSideband, ApiError>> {
        let is_known = call_id.as_str() == "rtc_1" && key == KeyIndex(0);
        Box::pin(async move {
            let serve: ServeSideband = Box::new(|_| Box::pin(async {}));
            if is_known { Ok(serve) } else { Err(ApiError::call_id_not_found()) }
        })
    }

    fn hang_up(&self, _: CallId, _: KeyIndex) -> BoxFuture<'_, bool> {
        Box::pin(async { false })
    }

    fn report(&self, _: CallId, _: KeyIndex, report: String) -> BoxFuture<'_, Result<(), ApiError>> {
        Box::pin(async move {
            if report == "{}" { Ok(()) } else { Err(ApiError::invalid_type("type", "client.report")) }
        })
    }

    fn refused(&self, _: &ApiError) {}

    fn decided(&self, _: &Caller, _: &Question<'_>, _: &Decision, _: Duration) {}

    fn recording(&self) -> Option<Recording> {
        None
    }

    fn serve_socket(&self, _: WebSocket, _: SessionRequest) -> BoxFuture<'static, ()> {
        Box::pin(async {})
    }
}

fn api() -> (Router, Arc<Host>) {
    let host = Arc::new(Host::default());
    let entry =
        |id: &str, key: &str| KeyEntry::first_run(KeyId::new(id).unwrap(), Role::Member, KeyHash::of(key));
    let keys = Directory::new(vec![entry("mine", "vg_mine"), entry("other", "vg_other")]).unwrap();
    let api = ClientApi {
        identity: Arc::new(Identity::new(SharedDirectory::new(keys))),
        terms: TermsInForce::new(Terms {
            revision: RevisionName::default(),
            authorizer: Arc::new(Authorizer::load(&[]).unwrap()),
            routes: Arc::new(RouteTable::default()),
            default_model: "m".into(),
            agents: Arc::default(),
            limits: Arc::default(),
            host: Arc::clone(&host) as Arc<dyn SessionHost>,
        }),
        places: Places::new(Admission::new(SessionLimits { total: 1, per_key: 1 })),
        gate: Gate::default(),
        live: LiveSessions::default(),
        resumptions: Resumptions::new(Duration::from_secs(120), 10),
    };
    (router(api), host)
}

fn patch_of(path: &str, key: &str, content_type: &str, body: impl Into<Body>) -> Request {
    Request::builder()
        .method(Method::PATCH)
        .uri(path)
        .header(header::AUTHORIZATION, format!("Bearer {key}"))
        .header(header::CONTENT_TYPE, content_type)
        .body(body.into())
        .unwrap()
}

async fn ask(request: Request) -> (StatusCode, HeaderMap, String) {
    let (router, _) = api();
    let reply = router.oneshot(request).await.unwrap();
    let (head, body) = reply.into_parts();
    let body = to_bytes(body, MAX_BODY_BYTES).await.unwrap();
    (head.status, head.headers, String::from_utf8(body.to_vec()).unwrap())
}

async fn refusal(request: Request) -> (u16, String) {
    let (status, _, body) = ask(request).await;
    let body: Value = serde_json::from_str(&body).unwrap();
    assert!(body["error"]["message"].is_string(), "{body}");
    (status.as_u16(), body["error"]["code"].as_str().unwrap_or_default().to_owned())
}

#[tokio::test]
async fn an_offer_that_restarts_ice_reaches_the_call_and_its_answer_the_client() {
    let (router, host) = api();
    let request = patch_of(CALL, "vg_mine", "application/sdp; charset=utf-8", "the offer");
    let reply = router.oneshot(request).await.unwrap();
    assert_eq!(reply.status(), StatusCode::OK);
    assert_eq!(reply.headers()[header::CONTENT_TYPE], "application/sdp");
    assert_eq!(to_bytes(reply.into_body(), 100).await.unwrap(), "the new answer");
    let asked = host.restarts.lock().unwrap().clone();
    assert_eq!(asked, [(CallId::from("rtc_1".to_owned()), KeyIndex(0), "the offer".to_owned())]);
}

#[tokio::test]
async fn a_call_of_another_key_is_as_unknown_as_one_that_never_was() {
    let unknown = patch_of("/v1/realtime/calls/rtc_2", "vg_mine", SDP, "the offer");
    assert_eq!(refusal(unknown).await, (404, "call_id_not_found".to_owned()));
    let foreign = patch_of(CALL, "vg_other", SDP, "the offer");
    assert_eq!(refusal(foreign).await, (404, "call_id_not_found".to_owned()));
    let not_text = patch_of("/v1/realtime/calls/%ff", "vg_mine", SDP, "the offer");
    assert_eq!(refusal(not_text).await, (404, "call_id_not_found".to_owned()));
}

#[tokio::test]
async fn a_restart_without_a_key_or_with_something_else_than_an_offer_is_refused_before_the_call_is_looked_up()
 {
    let nobody = patch_of(CALL, "vg_wrong", SDP, "the offer");
    assert_eq!(refusal(nobody).await, (401, "invalid_api_key".to_owned()));
    let json = patch_of(CALL, "vg_mine", "application/json", "{}");
    assert_eq!(refusal(json).await, (415, "unsupported_content_type".to_owned()));
    let bytes = patch_of(CALL, "vg_mine", SDP, vec![0xff, 0xfe]);
    assert_eq!(refusal(bytes).await.0, 400);
    let huge = patch_of(CALL, "vg_mine", SDP, vec![b'v'; MAX_BODY_BYTES + 1]);
    assert_eq!(refusal(huge).await.0, 413);
}

#[tokio::test]
async fn a_page_of_any_origin_may_restart_and_read_where_its_call_is() {
    let preflight = Request::builder()
        .method(Method::OPTIONS)
        .uri(CALL)
        .header(header::ORIGIN, "https://example.com")
        .header(header::ACCESS_CONTROL_REQUEST_METHOD, "PATCH")
        .header(header::ACCESS_CONTROL_REQUEST_HEADERS, "authorization,content-type")
        .body(Body::empty())
        .unwrap();
    let (status, headers, _) = ask(preflight).await;
    assert_eq!(status, StatusCode::OK);
    assert!(headers[header::ACCESS_CONTROL_ALLOW_METHODS].to_str().unwrap().contains("PATCH"));

    let mut request = patch_of(CALL, "vg_mine", SDP, "the offer");
    request.headers_mut().insert(header::ORIGIN, "https://example.com".parse().unwrap());
    let (_, headers, _) = ask(request).await;
    assert_eq!(headers[header::ACCESS_CONTROL_EXPOSE_HEADERS], "location,voxgate-resume-token,traceparent");
}

#[tokio::test]
async fn a_call_has_no_other_verbs() {
    let request = Request::builder().uri(CALL).body(Body::empty()).unwrap();
    assert_eq!(refusal(request).await.0, 404);
}

#[tokio::test]
async fn what_is_for_sip_or_for_the_beta_says_so() {
    for path in ["accept", "reject", "refer"] {
        let request = Request::builder()
            .method(Method::POST)
            .uri(format!("{CALL}/{path}"))
            .body(Body::empty())
            .unwrap();
        assert_eq!(refusal(request).await, (400, "sip_not_supported".to_owned()));
    }
    for path in ["sessions", "transcription_sessions"] {
        let uri = format!("/v1/realtime/{path}");
        let request = Request::builder().method(Method::POST).uri(uri).body(Body::empty()).unwrap();
        assert_eq!(refusal(request).await, (400, "beta_api_shape_disabled".to_owned()));
    }
}
