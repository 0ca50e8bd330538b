use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::sync::Arc;

use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum_server::Handle;
use reqwest::Url;
use tokio::sync::mpsc;
use voxgate_protocol::id::{NodeIndex, RelayId};
use voxgate_relay::core::Directory;

use super::client::{ControlClient, Freshness, follow, stored_list};
use super::server::{Held, allow_list, router};
use super::state::{ControlState, Node, RotateError};
use super::*;
use crate::data_dir::DataDir;

const TOKEN: &str = "0123456789abcdef";
const RELAY: RelayId = RelayId(2);
const SESSION: Duration = Duration::from_secs(3600);
const NOW: Duration = Duration::from_secs(1_800_000_000);

fn state(started: Duration, epoch: u8) -> Arc<ControlState> {
    let node = Node { index: NodeIndex(1), epoch, address: "127.0.0.1:4000".parse().unwrap() };
    Arc::new(ControlState::new(node, &[RELAY], started, SESSION).unwrap())
}

/// A gateway's control listener.
struct Gateway {
    state: Arc<ControlState>,
    address: SocketAddr,
    handle: Handle<SocketAddr>,
    server: tokio::task::JoinHandle<std::io::Result<()>>,
}

impl Gateway {
    async fn start(address: &str, state: Arc<ControlState>) -> Self {
        let listener = std::net::TcpListener::bind(address).unwrap();
        listener.set_nonblocking(true).unwrap();
        let handle = Handle::new();
        let server = axum_server::from_tcp(listener).unwrap().handle(handle.clone());
        let server = tokio::spawn(server.serve(router(Arc::clone(&state), TOKEN).into_make_service()));
        let address = handle.listening().await.unwrap();
        Self { state, address, handle, server }
    }

    /// Ends every connection and gives the port up, as the end of the process would.
    async fn stop(self) {
        self.handle.shutdown();
        self.server.await.unwrap().unwrap();
    }

    fn url(&self) -> Url {
        Url::parse(&format!("http://{}", self.address)).unwrap()
    }

    async fn get(&self, path: &str, token: Option<&str>) -> (StatusCode, String) {
        let mut request = http().get(format!("http://{}{path}", self.address));
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        let answer = request.send().await.unwrap();
        (answer.status(), answer.text().await.unwrap())
    }

    async fn rotate(&self) -> (StatusCode, String) {
        let url = format!("http://{}/internal/v1/ufrag-keys/rotate", self.address);
        let answer = http().post(url).bearer_auth(TOKEN).send().await.unwrap();
        (answer.status(), answer.text().await.unwrap())
    }

    fn seal(&self, tag: u32) -> String {
        self.state.sealing().seal(tag, 0, NOW + SESSION).unwrap()
    }
}

fn http() -> reqwest::Client {
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder().no_proxy().build().unwrap()
}

/// A relay's side without the relay.
struct Follower {
    data: DataDir,
    freshness: Arc<Freshness>,
    published: mpsc::UnboundedReceiver<Directory>,
    task: tokio::task::JoinHandle<()>,
}

impl Follower {
    fn start(base: &Url, token: &str, root: &std::path::Path) -> Self {
        let client = ControlClient::new(base, RELAY, token.to_owned(), None).unwrap();
        let data = DataDir::open(root).unwrap();
        let freshness = Arc::new(Freshness::default());
        let (sender, published) = mpsc::unbounded_channel();
        let held = stored_list(&data, &freshness).unwrap().map(|(revision, directory)| {
            sender.send(directory).unwrap();
            revision
        });
        let (of_task, shared) = (data.clone(), Arc::clone(&freshness));
        let task = tokio::spawn(async move {
            follow(&client, &of_task, &shared, held, |directory| sender.send(directory).unwrap()).await;
        });
        Self { data, freshness, published, task }
    }

    async fn next(&mut self) -> Directory {
        self.published.recv().await.unwrap()
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn folder(name: &str) -> PathBuf {
    let path = std::env::temp_dir().join(format!("voxgate-control-{name}-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&path);
    path
}

#[tokio::test]
async fn a_relay_gets_its_list_at_once_and_keeps_it_where_only_its_owner_reads() {
    let gateway = Gateway::start("127.0.0.1:0", state(NOW, 3)).await;
    let root = folder("first");
    let mut relay = Follower::start(&gateway.url(), TOKEN, &root);
    assert!(!relay.freshness.has_list());
    let directory = relay.next().await;
    let node = &directory.nodes[&NodeIndex(1)];
    assert_eq!((node.address.port(), node.epoch), (4000, 3));
    assert_eq!(directory.key_ring.open(gateway.seal(7).as_bytes()).unwrap().random, 7);
    let file = std::fs::metadata(relay.data.path("allow-list.json")).unwrap();
    assert_eq!(file.permissions().mode() & 0o777, 0o600);
    std::fs::remove_dir_all(root).unwrap();
}

#[tokio::test]
async fn a_change_of_key_reaches_the_relay_before_the_first_session_sealed_with_it() {
    let gateway = Gateway::start("127.0.0.1:0", state(NOW, 3)).await;
    let root = folder("rotate");
    let mut relay = Follower::start(&gateway.url(), TOKEN, &root);
    relay.next().await;
    let before = gateway.seal(1);
    let (status, body) = gateway.rotate().await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(body, r#"{"key_id":1,"relays":1,"informed":1}"#);
    let after = gateway.seal(2);
    let directory = relay.next().await;
    assert_eq!(
        directory.key_ring.open(before.as_bytes()).unwrap().random,
        1,
        "a running call keeps its ufrag"
    );
    assert_eq!(directory.key_ring.open(after.as_bytes()).unwrap().random, 2);
    std::fs::remove_dir_all(root).unwrap();
}

#[tokio::test]
async fn without_the_token_there_is_one_line_and_nothing_else() {
    let gateway = Gateway::start("127.0.0.1:0", state(NOW, 3)).await;
    let path = "/internal/v1/relays/2/allow-list";
    for token in [None, Some("0123456789abcdeF"), Some("")] {
        let (status, body) = gateway.get(path, token).await;
        assert_eq!(status, StatusCode::UNAUTHORIZED);
        assert_eq!(body, "the bearer token is missing or wrong\n");
    }
    assert_eq!(gateway.get("/internal/v1/other", Some(TOKEN)).await.0, StatusCode::NOT_FOUND);
    let url = format!("http://{}/internal/v1/ufrag-keys/rotate", gateway.address);
    assert_eq!(http().post(url).send().await.unwrap().status(), StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn a_relay_the_gateway_does_not_know_is_told_so() {
    let gateway = Gateway::start("127.0.0.1:0", state(NOW, 3)).await;
    let (status, body) = gateway.get("/internal/v1/relays/9/allow-list", Some(TOKEN)).await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    assert_eq!(body, "relay 9 is not among the relays of this gateway\n");
}

#[tokio::test]
async fn a_relay_with_the_wrong_token_has_no_list_and_goes_on_asking() {
    let gateway = Gateway::start("127.0.0.1:0", state(NOW, 3)).await;
    let root = folder("token");
    let wrong = Follower::start(&gateway.url(), "another-token-of-16", &root);
    // The right one gets its list while the wrong one is refused.
    let other = folder("token-right");
    let mut right = Follower::start(&gateway.url(), TOKEN, &other);
    right.next().await;
    assert!(!wrong.freshness.has_list());
    assert!(!wrong.task.is_finished());
    std::fs::remove_dir_all(root).unwrap();
    std::fs::remove_dir_all(other).unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_question_about_the_present_list_is_held_and_then_answered_with_nothing() {
    let state = state(NOW, 3);
    let held = state.list(RELAY).unwrap().revision;
    let asked = tokio::time::Instant::now();
    let answer = allow_list(State(state), Path(2), Query(Held { after: Some(held) })).await;
    assert_eq!(answer.status(), StatusCode::NO_CONTENT);
    assert_eq!(asked.elapsed().as_secs(), LONG_POLL.as_secs());
}

#[tokio::test]
async fn a_held_question_is_answered_when_the_list_changes() {
    let state = state(NOW, 3);
    let held = state.list(RELAY).unwrap().revision;
    let question = allow_list(State(Arc::clone(&state)), Path(2), Query(Held { after: Some(held) }));
    let question = tokio::spawn(question);
    // The rotation waits for the relay to hold the new list, which this one never says; it goes on all the same.
    let rotation = Arc::clone(&state).rotate().await.unwrap();
    assert_eq!((rotation.relays, rotation.informed), (1, 0));
    assert_eq!(question.await.unwrap().status(), StatusCode::OK);
}

#[tokio::test]
async fn a_relay_that_starts_without_its_control_plane_uses_the_last_list_and_takes_the_next() {
    let root = folder("away");
    let gateway = Gateway::start("127.0.0.1:0", state(NOW, 3)).await;
    let (url, address) = (gateway.url(), gateway.address);
    let mut relay = Follower::start(&url, TOKEN, &root);
    relay.next().await;
    let ufrag = gateway.seal(7);
    drop(relay);
    gateway.stop().await;

    let mut again = Follower::start(&url, TOKEN, &root);
    let directory = again.next().await;
    assert!(again.freshness.has_list() && again.freshness.age().is_some());
    assert_eq!(directory.key_ring.open(ufrag.as_bytes()).unwrap().random, 7);

    // A gateway that starts anew has other keys and another epoch, and its revisions continue nothing.
    let gateway = Gateway::start(&address.to_string(), state(NOW + SESSION, 4)).await;
    let directory = again.next().await;
    assert_eq!(directory.nodes[&NodeIndex(1)].epoch, 4);
    assert!(directory.key_ring.open(ufrag.as_bytes()).is_err());
    assert!(directory.key_ring.open(gateway.seal(8).as_bytes()).is_ok());
    std::fs::remove_dir_all(root).unwrap();
}

#[tokio::test]
async fn a_damaged_list_is_as_good_as_none() {
    let root = folder("damaged");
    let data = DataDir::open(&root).unwrap();
    data.write_private("allow-list.json", b"{\"revision\":1,\"ufrag_keys\":[").unwrap();
    let freshness = Freshness::default();
    assert!(stored_list(&data, &freshness).unwrap().is_none());
    assert!(!freshness.has_list());
    std::fs::remove_dir_all(root).unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_old_key_lives_as_long_as_the_longest_session_and_its_id_is_then_free_again() {
    let state = state(NOW, 3);
    for expected in 1..16 {
        assert_eq!(Arc::clone(&state).rotate().await.unwrap().key_id, expected);
    }
    assert!(matches!(Arc::clone(&state).rotate().await, Err(RotateError::NoFreeId)));
    assert_eq!(state.list(RELAY).unwrap().ufrag_keys.len(), 16);
    tokio::time::sleep(SESSION + Duration::from_mins(6)).await;
    assert_eq!(state.list(RELAY).unwrap().ufrag_keys.len(), 1);
    assert_eq!(Arc::clone(&state).rotate().await.unwrap().key_id, 0);
}

#[tokio::test]
async fn two_changes_of_key_at_once_are_one() {
    let state = state(NOW, 3);
    let (one, other) = tokio::join!(Arc::clone(&state).rotate(), Arc::clone(&state).rotate());
    assert!(one.is_ok());
    assert!(matches!(other, Err(RotateError::Busy)));
}
