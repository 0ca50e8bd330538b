//! `voxgate standalone`: every role in one process, over the same paths as a cluster, UDP relay and tunnel included.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::Router;
use axum_server::Handle;
use axum_server::tls_rustls::RustlsConfig;
use thiserror::Error;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{RwLock, mpsc, oneshot, watch};
use voxgate_media::transport::Identity;
use voxgate_policy::admission::Admission;
use voxgate_policy::key::KeyRing as ApiKeys;
use voxgate_protocol::id::{NodeIndex, RelayId};
use voxgate_relay::core::NodeEntry;
use voxgate_relay::flow::FlowLimits;
use voxgate_relay::shell::{RelayConfig, RelayHandle};
use voxgate_relay::tunnel::TunnelKey;
use voxgate_relay::ufrag::{KeyRing, UfragKey};
use voxgate_signaling::api::{self, ClientApi};
use voxgate_signaling::identity::Identity as Credentials;
use voxgate_signaling::permit::Places;
use voxgate_telemetry::metrics::Metrics;

use crate::bridges::{Bridges, BridgesError};
use crate::cli::say;
use crate::config::Checked;
use crate::data_dir::{DataDir, DataError, FirstKey};
use crate::host::{LocalHost, Sealing, since_unix_epoch};
use crate::operations::{self, Operations};
use crate::pages;
use crate::tls::{self, TlsError};
use crate::transceiver::{self, Command, EdgeConfig, TransceiverConfig};

/// The one transceiver and the one relay of a standalone process.
const NODE: NodeIndex = NodeIndex(1);
const RELAY: RelayId = RelayId(1);

/// Kernel buffer of the transceiver's one socket: 4 MiB hold about half a second of a thousand calls.
const RECEIVE_BUFFER_BYTES: usize = 4 * 1024 * 1024;

/// Time between the deadline of a drain and the end of the process, for farewells.
const AFTER_DEADLINE: Duration = Duration::from_secs(2);

/// Why the process cannot start. Each is one line.
#[derive(Debug, Error)]
pub(crate) enum StartError {
    /// A port is taken or an address is not ours.
    #[error("cannot listen on {what} {address}: {source}; choose another one with {flag}")]
    Listen {
        /// Which listener.
        what: &'static str,
        /// Where.
        address: SocketAddr,
        /// Why.
        source: io::Error,
        /// How to change it.
        flag: &'static str,
    },
    /// The data folder.
    #[error(transparent)]
    Data(#[from] DataError),
    /// Certificates.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// A provider.
    #[error(transparent)]
    Bridges(#[from] BridgesError),
    /// The operating system refused something every machine has.
    #[error("the operating system refused {what}: {source}")]
    System {
        /// What.
        what: &'static str,
        /// Why.
        source: io::Error,
    },
    /// Something inside could not be set up.
    #[error("cannot start: {0}")]
    Internal(String),
}

/// Runs until SIGTERM or SIGINT, then drains.
pub(crate) fn run(config: Checked) -> Result<(), StartError> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|source| StartError::System { what: "threads", source })?;
    runtime.block_on(serve(config))
}

async fn serve(config: Checked) -> Result<(), StartError> {
    // First, so that a signal during the start is not lost and does not kill.
    let mut stop = StopSignals::listen()?;
    let data = DataDir::open(&config.data_dir)?;
    // Sockets first: a taken port is the most likely trouble and costs nothing to find.
    let http = listen_tcp("http", config.http, "--http")?;
    let https = listen_tcp("https", config.https, "--https")?;
    let metrics = Arc::new(Metrics::new().map_err(|error| StartError::Internal(error.to_string()))?);
    let edge = start_edge(&config, &metrics)?;
    let first_key = data.first_key(chosen_key(std::env::var("VOXGATE_ADMIN_KEY").ok()).as_deref())?;
    let tls = tls::server_config(&data, config.https)?;
    let places = Places::new(Admission::new(config.sessions));
    let (drain, drained) = watch::channel(None);
    let sockets = Arc::new(RwLock::new(()));
    let host = LocalHost {
        bridges: Bridges::start(&config.providers)?,
        transceiver: edge.commands.clone(),
        sealing: edge.sealing,
        encoder: config.encoder,
        max_session: config.limits.session_duration,
        metrics: Arc::clone(&metrics),
        drain: drained,
        sockets: Arc::clone(&sockets),
        slots: AtomicU64::new(1),
    };
    let relay = Arc::new(edge.relay);
    let addresses = Addresses {
        http: http.local_addr().unwrap_or(config.http),
        https: https.local_addr().unwrap_or(config.https),
        relay: config.relay_advertise.unwrap_or_else(|| relay.local_addr()),
    };
    let service = router(&config, &first_key, host, places.clone(), metrics, Arc::clone(&relay));
    let handle = Handle::new();
    let plain = axum_server::from_tcp(http)
        .map_err(|source| StartError::System { what: "a socket", source })?
        .handle(handle.clone())
        .serve(service.clone().into_make_service());
    let secure = axum_server::from_tcp_rustls(https, RustlsConfig::from_config(tls))
        .map_err(|source| StartError::System { what: "a socket", source })?
        .handle(handle.clone())
        .serve(service.into_make_service());
    let servers = tokio::spawn(async move { tokio::join!(plain, secure) });
    greet(&addresses, &data, &first_key);
    stop.next().await;
    shut_down(&config, &places, &edge.commands, &drain, &sockets, &mut stop).await;
    handle.graceful_shutdown(Some(Duration::from_secs(1)));
    let _ = servers.await;
    say("voxgate has stopped.");
    Ok(())
}

/// A variable that is set but empty, as container files make it of a missing value, chooses nothing: an empty key
/// would let everybody in.
fn chosen_key(variable: Option<String>) -> Option<String> {
    variable.filter(|key| !key.trim().is_empty())
}

fn router(
    config: &Checked,
    first_key: &FirstKey,
    host: LocalHost,
    places: Places,
    metrics: Arc<Metrics>,
    relay: Arc<RelayHandle>,
) -> Router {
    let mut hashes = vec![first_key.hash];
    hashes.extend(&config.key_hashes);
    let client_api = ClientApi {
        identity: Arc::new(Credentials::new(ApiKeys::new(hashes))),
        routes: Arc::new(config.routes.clone()),
        places: places.clone(),
        default_model: config.default_model.as_str().into(),
        host: Arc::new(host),
    };
    let operations = Operations { metrics, places, relay, relay_counted: Arc::new(Mutex::default()) };
    api::router(client_api).merge(operations::router(operations)).merge(pages::router())
}

/// The relay and the transceiver behind it.
struct EdgeParts {
    relay: RelayHandle,
    commands: mpsc::UnboundedSender<Command>,
    sealing: Sealing,
}

fn start_edge(config: &Checked, metrics: &Arc<Metrics>) -> Result<EdgeParts, StartError> {
    let internal = |error: &dyn std::fmt::Display| StartError::Internal(error.to_string());
    let system = |what| move |source| StartError::System { what, source };
    let socket = std::net::UdpSocket::bind("127.0.0.1:0").map_err(system("a loopback socket"))?;
    // A smaller buffer than asked for still works; the kernel caps it at net.core.rmem_max.
    let _ = socket2::SockRef::from(&socket).set_recv_buffer_size(RECEIVE_BUFFER_BYTES);
    let node_address = socket.local_addr().map_err(system("a loopback socket"))?;
    let ufrag_secret: [u8; 16] = random()?;
    let tunnel_secret: [u8; 32] = random()?;
    let ufrag_key = || UfragKey::new(0, ufrag_secret, 0).map_err(|error| internal(&error));
    let since_unix_epoch = since_unix_epoch();
    let node_epoch = since_unix_epoch.as_secs() as u8;
    let node = NodeEntry { address: node_address, key: TunnelKey::new(0, tunnel_secret), epoch: node_epoch };
    let relay_config = RelayConfig {
        listen: config.relay_listen,
        tunnel: SocketAddr::from(([127, 0, 0, 1], 0)),
        relay_id: RELAY,
        key_ring: KeyRing::new([ufrag_key()?]),
        nodes: vec![(NODE, node)],
        limits: FlowLimits::default(),
    };
    let relay = voxgate_relay::shell::spawn(relay_config).map_err(|source| StartError::Listen {
        what: "the relay's UDP port",
        address: config.relay_listen,
        source,
        flag: "--relay",
    })?;
    let edge = EdgeConfig {
        relay: RELAY,
        node: NODE,
        public: config.relay_advertise.unwrap_or_else(|| relay.local_addr()),
        tunnel: relay.tunnel_addr(),
        key: TunnelKey::new(0, tunnel_secret),
        since_unix_epoch,
    };
    let transceiver_config = TransceiverConfig {
        identity: Identity::generate().map_err(|error| internal(&error))?,
        encoder: config.encoder,
        setup_timeout: config.limits.setup_timeout,
        silence_timeout: config.limits.silence_timeout,
        metrics: Arc::clone(metrics),
    };
    let (commands, _thread) = transceiver::spawn(socket, vec![edge], transceiver_config)
        .map_err(system("the transceiver's thread"))?;
    let sealing = Sealing { key: ufrag_key()?, node: NODE, node_epoch };
    Ok(EdgeParts { relay, commands, sealing })
}

fn listen_tcp(
    what: &'static str,
    address: SocketAddr,
    flag: &'static str,
) -> Result<std::net::TcpListener, StartError> {
    let listen = || {
        let listener = std::net::TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        Ok(listener)
    };
    listen().map_err(|source| StartError::Listen { what, address, source, flag })
}

fn random<const N: usize>() -> Result<[u8; N], StartError> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes)
        .map_err(|error| StartError::Internal(format!("no random numbers: {error}")))?;
    Ok(bytes)
}

/// Where the process really listens; port 0 in the configuration lets the system choose.
struct Addresses {
    http: SocketAddr,
    https: SocketAddr,
    relay: SocketAddr,
}

/// What a newcomer needs to know, once.
fn greet(addresses: &Addresses, data: &DataDir, first_key: &FirstKey) {
    let page = format!("http://{}/", addresses.http);
    match &first_key.fresh {
        Some(key) => {
            say(&format!("Talk page   {page}#key={key}"));
            say(&format!("API key     {key}   (shown this once; only its hash is kept)"));
        }
        None => say(&format!("Talk page   {page}")),
    }
    say(&format!("API base    http://{}/v1", addresses.http));
    say(&format!("            https://{}/v1   (CA: {})", addresses.https, data.path(tls::CA_FILE).display()));
    say(&format!("Relay       udp {}", addresses.relay));
    say("Stop with Ctrl-C; running calls may end first.");
}

/// What asks the process to stop.
struct StopSignals {
    terminate: Signal,
    interrupt: Signal,
}

impl StopSignals {
    fn listen() -> Result<Self, StartError> {
        let system = |source| StartError::System { what: "signal handling", source };
        let terminate = signal(SignalKind::terminate()).map_err(system)?;
        let interrupt = signal(SignalKind::interrupt()).map_err(system)?;
        Ok(Self { terminate, interrupt })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// Stops accepting, lets sessions finish up to the deadline, then ends them.
async fn shut_down(
    config: &Checked,
    places: &Places,
    commands: &mpsc::UnboundedSender<Command>,
    drain: &watch::Sender<Option<Instant>>,
    sockets: &RwLock<()>,
    stop: &mut StopSignals,
) {
    places.drain();
    let running = places.running();
    if running > 0 {
        say(&format!(
            "Stopping: {running} session(s) may go on for up to {} s; stop again to end them now.",
            config.limits.drain_deadline.as_secs()
        ));
    }
    let deadline = Instant::now() + config.limits.drain_deadline;
    tokio::select! {
        () = end_sessions(deadline, commands, drain, sockets) => return,
        () = tokio::time::sleep_until((deadline + AFTER_DEADLINE).into()) => return,
        () = stop.next() => {}
    }
    // Whoever asks twice does not wait, but the callers are still told.
    let now = end_sessions(Instant::now(), commands, drain, sockets);
    let _ = tokio::time::timeout(AFTER_DEADLINE, now).await;
}

/// Ends the sessions that still run at the deadline; returns when none is left.
async fn end_sessions(
    deadline: Instant,
    commands: &mpsc::UnboundedSender<Command>,
    drain: &watch::Sender<Option<Instant>>,
    sockets: &RwLock<()>,
) {
    drain.send_replace(Some(deadline));
    let (reply, calls_ended) = oneshot::channel();
    if commands.send(Command::Drain(deadline, reply)).is_ok() {
        let _ = calls_ended.await;
    }
    // Every WebSocket session holds a read lock for as long as it runs.
    let _all = sockets.write().await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_variable_is_no_key() {
        assert_eq!(chosen_key(Some(String::new())), None);
        assert_eq!(chosen_key(Some(" ".to_owned())), None);
        assert_eq!(chosen_key(Some("vg_mine".to_owned())).as_deref(), Some("vg_mine"));
    }
}
