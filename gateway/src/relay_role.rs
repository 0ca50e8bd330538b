//! `voxgate relay`: a relay in a process of its own.
//!
//! The threads that forward packets wait for nothing here: this module hands them new allow-lists, tells operators how
//! they fare, and decides when they stop.

mod operations;
#[cfg(test)]
mod tests;

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use axum_server::Handle;
use tokio::sync::oneshot;
use voxgate_relay::core::Directory;
use voxgate_relay::flow::FlowLimits;
use voxgate_relay::shell::handover::{HandoverServer, take_over};
use voxgate_relay::shell::{RelayConfig, RelayHandle, Threads, WaitStyle, spawn};
use voxgate_relay::stream::{StreamConfig, StreamLimits};
use voxgate_telemetry::relay::RelayMetrics;

use crate::cli::say;
use crate::config::{CheckedRelay, Stream, Wait};
use crate::control::client::{ControlClient, Freshness, follow, stored_list};
use crate::data_dir::DataDir;
use crate::http_server;
use crate::otlp::Exporter;
use crate::process::{StartError, StopSignals, listen_tcp};
use crate::process_figures;
use crate::relay_figures;
use crate::tls;
use operations::Operations;

/// Where a running relay offers its sockets to its successor, inside the data folder.
const HANDOVER_SOCKET: &str = "handover.sock";
/// How often a draining relay looks whether it still has flows.
const DRAIN_LOOK: Duration = Duration::from_millis(100);
/// How often the successor of a relay tries to get the port of operations, which its predecessor gives up when it ends.
const PORT_RETRY: Duration = Duration::from_millis(50);
/// How long operators' requests may take once the relay has stopped.
const LAST_ANSWERS: Duration = Duration::from_millis(200);

/// Runs until SIGTERM or SIGINT, then drains; or until another process takes over. `takes_over`: whether this process
/// takes the sockets of one that runs on the same data folder.
pub(crate) fn run(config: &CheckedRelay, takes_over: bool) -> Result<(), StartError> {
    // Packets have threads of their own; these serve operators and the control plane.
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(StartError::system("threads"))?;
    runtime.block_on(serve(config, takes_over))
}

async fn serve(config: &CheckedRelay, takes_over: bool) -> Result<(), StartError> {
    // First, so that a signal during the start is not lost and does not kill.
    let mut stop = StopSignals::listen()?;
    let data = DataDir::open(&config.data_dir)?;
    let authorities = config.control_ca.as_deref();
    let client = ControlClient::new(&config.control, config.id, config.token.clone(), authorities)?;
    let freshness = Arc::new(Freshness::default());
    let (held, directory) = match stored_list(&data, &freshness)? {
        Some((revision, directory)) => (Some(revision), directory),
        None => (None, Directory::default()),
    };
    let started = start(config, directory, &data, takes_over)?;
    let relay = Arc::clone(&started.relay);
    let metrics = metrics(&relay, &freshness)?;
    let exporter = config.otlp.as_ref().map(|otlp| Exporter::of_relay(otlp, metrics.clone()));
    let operations = Operations::new(metrics, Arc::clone(&relay), Arc::clone(&freshness));
    let handle = Handle::new();
    let server =
        tokio::spawn(serve_operations(started.operations, config.operations, operations, handle.clone()));
    let (_offer, handed_over) = offer_sockets(&relay, &data.path(HANDOVER_SOCKET));
    greet(config, &relay);

    let publish = |directory| relay.publish(directory);
    let run = async {
        tokio::select! {
            () = really_handed_over(handed_over) => "voxgate relay has handed over.",
            () = stop_and_drain(config, &relay, &mut stop) => "voxgate relay has stopped.",
        }
    };
    let farewell = tokio::select! {
        farewell = run => farewell,
        // Follows for ever, also while draining: the calls that still run may need a new list.
        () = follow(&client, &data, &freshness, held, publish) => "",
    };
    handle.graceful_shutdown(Some(LAST_ANSWERS));
    // A listener that was never opened has nobody to answer.
    let _ = tokio::time::timeout(2 * LAST_ANSWERS, server).await;
    if let Some(exporter) = exporter {
        exporter.finish().await;
    }
    say(farewell);
    Ok(())
}

/// A relay that forwards, and the listener of its operations unless its predecessor still has the port.
struct Started {
    relay: Arc<RelayHandle>,
    operations: Option<std::net::TcpListener>,
}

fn start(
    config: &CheckedRelay,
    directory: Directory,
    data: &DataDir,
    takes_over: bool,
) -> Result<Started, StartError> {
    let inherited = if takes_over { take_over(&data.path(HANDOVER_SOCKET)) } else { Ok(None) };
    let inherited = inherited.map_err(|error| {
        StartError::internal(format!("the relay that runs on this data folder does not hand over: {error}"))
    })?;
    let is_first = inherited.is_none();
    // Its port is the likeliest to be taken by mistake, and costs nothing to find out.
    let listen = || listen_tcp("operations", config.operations, "--operations");
    let operations = is_first.then(listen).transpose()?;
    let relay = spawn(RelayConfig {
        listen: config.listen,
        tunnel: config.tunnel,
        relay_id: config.id,
        directory,
        limits: FlowLimits::default(),
        threads: config.threads.map_or(Threads::Auto, Threads::Fixed),
        pin: config.pin,
        wait: match config.wait {
            Wait::Block => WaitStyle::Block,
            Wait::BusyPoll => WaitStyle::BusyPoll,
        },
        heartbeat: config.heartbeat,
        stream: config.stream.as_ref().map(|listener| stream(listener, data)).transpose()?,
        inherited,
    });
    let relay = relay.map_err(|source| cannot_forward(config, source))?;
    Ok(Started { relay: Arc::new(relay), operations })
}

fn cannot_forward(config: &CheckedRelay, source: io::Error) -> StartError {
    match source.kind() {
        io::ErrorKind::AddrInUse | io::ErrorKind::AddrNotAvailable | io::ErrorKind::PermissionDenied => {
            StartError::Listen {
                what: "the relay's ports beginning with",
                address: config.listen,
                source,
                flag: "--listen, relay.tunnel or relay.stream",
            }
        }
        _ => StartError::internal(source),
    }
}

fn stream(stream: &Stream, data: &DataDir) -> Result<StreamConfig, StartError> {
    let tls = match &stream.certificate {
        Some((certificate, key)) => tls::from_files(certificate, key)?,
        None => tls::server_config(data, stream.listen)?,
    };
    Ok(StreamConfig { listen: stream.listen, tls: Some(tls), limits: StreamLimits::default() })
}

fn metrics(relay: &Arc<RelayHandle>, freshness: &Arc<Freshness>) -> Result<RelayMetrics, StartError> {
    let (relay, freshness) = (Arc::clone(relay), Arc::clone(freshness));
    let read = move || relay_figures::read(&relay, freshness.age());
    RelayMetrics::new(Box::new(read), process_figures::reader("relay")).map_err(StartError::internal)
}

/// Answers operators until told to stop.
async fn serve_operations(
    listener: Option<std::net::TcpListener>,
    address: SocketAddr,
    operations: Operations,
    handle: Handle<SocketAddr>,
) {
    let mut listener = listener;
    let listener = loop {
        match listener.take().map_or_else(|| listen_tcp("operations", address, "--operations"), Ok) {
            Ok(listener) => break listener,
            Err(error) => tracing::debug!(%error, "the predecessor still has the port of operations"),
        }
        tokio::time::sleep(PORT_RETRY).await;
    };
    let served = match http_server::plain(listener) {
        Ok(server) => server.handle(handle).serve(operations::router(operations).into_make_service()).await,
        Err(error) => Err(error),
    };
    if let Err(error) = served {
        tracing::error!(%error, "the relay forwards, but operators can no longer ask it anything");
    }
}

/// Offers the sockets to a successor; the receiver hears when one has taken them.
fn offer_sockets(relay: &RelayHandle, path: &Path) -> (Option<HandoverServer>, oneshot::Receiver<()>) {
    let (sender, handed_over) = oneshot::channel();
    let offer = relay.serve_handover(path.to_owned(), move || {
        // A process that ends anyway needs no telling.
        let _ = sender.send(());
    });
    match offer {
        Ok(offer) => (Some(offer), handed_over),
        Err(error) => {
            tracing::warn!(%error, "a successor will not be able to take over from this relay");
            (None, handed_over)
        }
    }
}

/// Waits for a successor. Where none can come, because the sockets could not be offered, that is for ever.
async fn really_handed_over(handed_over: oneshot::Receiver<()>) {
    if handed_over.await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// Waits to be asked, then lets calls move away or end, up to the deadline. Whoever asks twice does not wait.
async fn stop_and_drain(config: &CheckedRelay, relay: &RelayHandle, stop: &mut StopSignals) {
    stop.next().await;
    relay.set_draining(true);
    let flows = relay.report().flows.assured;
    if flows > 0 {
        say(&format!(
            "Draining: {flows} flow(s) may go on for up to {} s; stop again to end now.",
            config.drain_deadline.as_secs()
        ));
    }
    let drained = async {
        while relay.report().flows.assured > 0 {
            tokio::time::sleep(DRAIN_LOOK).await;
        }
    };
    tokio::select! {
        () = drained => {}
        () = tokio::time::sleep(config.drain_deadline) => {
            tracing::warn!(flows = relay.report().flows.assured, "stopping with flows, the deadline has come");
        }
        () = stop.next() => {}
    }
}

fn greet(config: &CheckedRelay, relay: &RelayHandle) {
    say(&format!("Relay {:<6}udp {}", config.id.0, relay.local_addr()));
    if let Some(address) = relay.stream_addr() {
        say(&format!("            tcp {address}, plain and TLS"));
    }
    say(&format!("Operations  http://{}/metrics, /healthz, /readyz", config.operations));
    say(&format!("Control     {}", config.control));
    say("Stop with Ctrl-C; calls may move or end first.");
}
