use std::path::PathBuf;

use reqwest::Url;

use super::*;
use crate::config::Wait;

/// A list as a relay keeps it.
const STORED: &str =
    r#"{"revision":5,"ufrag_keys":[{"id":0,"secret":"AAAAAAAAAAAAAAAAAAAAAA=="}],"nodes":[]}"#;

fn folder(name: &str) -> PathBuf {
    let path = std::env::temp_dir().join(format!("voxgate-role-{name}-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&path);
    path
}

fn config(data_dir: &Path) -> CheckedRelay {
    let loopback = SocketAddr::from(([127, 0, 0, 1], 0));
    CheckedRelay {
        data_dir: data_dir.to_owned(),
        id: voxgate_protocol::id::RelayId(2),
        listen: loopback,
        tunnel: loopback,
        stream: None,
        operations: loopback,
        control: Url::parse("http://127.0.0.1:9").unwrap(),
        control_ca: None,
        token: "0123456789abcdef".to_owned(),
        threads: std::num::NonZero::new(1),
        pin: false,
        wait: Wait::Block,
        drain_deadline: Duration::from_secs(30),
        heartbeat: Duration::from_millis(50),
        otlp: None,
    }
}

async fn ask(address: SocketAddr, path: &str) -> (u16, String) {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let answer = http.get(format!("http://{address}{path}")).send().await.unwrap();
    (answer.status().as_u16(), answer.text().await.unwrap())
}

#[tokio::test]
async fn a_relay_is_ready_with_a_list_and_not_while_it_drains_and_alive_all_the_time() {
    let root = folder("ready");
    let data = DataDir::open(&root).unwrap();
    let config = config(&root);
    let started = start(&config, Directory::default(), &data, true).unwrap();
    let freshness = Arc::new(Freshness::default());
    let relay = started.relay;
    let operations =
        Operations::new(metrics(&relay, &freshness).unwrap(), Arc::clone(&relay), Arc::clone(&freshness));
    let handle = Handle::new();
    tokio::spawn(serve_operations(started.operations, config.operations, operations, handle.clone()));
    let address = handle.listening().await.unwrap();

    assert_eq!(ask(address, "/readyz").await, (503, "no allow-list yet\n".to_owned()));
    assert_eq!(ask(address, "/healthz").await.0, 200);
    data.write_private("allow-list.json", STORED.as_bytes()).unwrap();
    assert!(stored_list(&data, &freshness).unwrap().is_some());
    assert_eq!(ask(address, "/readyz").await, (200, "ready\n".to_owned()));
    relay.set_draining(true);
    assert_eq!(ask(address, "/readyz").await, (503, "draining\n".to_owned()));
    assert_eq!(ask(address, "/healthz").await, (200, "ok\n".to_owned()));
    let (status, text) = ask(address, "/metrics").await;
    assert_eq!(status, 200);
    for line in
        ["voxgate_relay_draining 1", "voxgate_relay_threads 1", "voxgate_relay_flows{state=\"assured\"} 0"]
    {
        assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
    }
    assert!(!text.contains("127.0.0.1"), "no addresses in labels");
    std::fs::remove_dir_all(root).unwrap();
}

#[tokio::test]
async fn a_second_process_takes_the_sockets_of_the_first() {
    let root = folder("handover");
    let data = DataDir::open(&root).unwrap();
    let socket = data.path(HANDOVER_SOCKET);
    let first = start(&config(&root), Directory::default(), &data, true).unwrap();
    let (_offer, handed_over) = offer_sockets(&first.relay, &socket);
    let address = first.relay.local_addr();

    let again = CheckedRelay { listen: address, ..config(&root) };
    // The hand-over waits for its other side, as it does in a process of its own.
    let second = tokio::task::spawn_blocking(move || start(&again, Directory::default(), &data, true));
    let second = second.await.unwrap().unwrap();
    handed_over.await.unwrap();
    assert_eq!(second.relay.local_addr(), address);
    assert!(second.operations.is_none(), "the port of operations is free only when the first has ended");
    std::fs::remove_dir_all(root).unwrap();
}

#[tokio::test]
async fn a_relay_of_another_id_on_the_same_folder_is_refused_with_the_reason() {
    let root = folder("other");
    let data = DataDir::open(&root).unwrap();
    let socket = data.path(HANDOVER_SOCKET);
    let first = start(&config(&root), Directory::default(), &data, true).unwrap();
    let (_offer, _handed_over) = offer_sockets(&first.relay, &socket);
    let other = CheckedRelay { id: voxgate_protocol::id::RelayId(3), ..config(&root) };
    let error = start(&other, Directory::default(), &data, true).err().unwrap().to_string();
    assert!(error.contains("the running relay has the id 2, not 3"), "{error}");
    std::fs::remove_dir_all(root).unwrap();
}

#[test]
fn a_taken_port_is_named_with_the_flag_that_changes_it() {
    let root = folder("taken");
    let data = DataDir::open(&root).unwrap();
    let taken = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let config = CheckedRelay { listen: taken.local_addr().unwrap(), ..config(&root) };
    let error = start(&config, Directory::default(), &data, true).err().unwrap();
    assert!(error.to_string().contains("--listen"), "{error}");
    std::fs::remove_dir_all(root).unwrap();
}
