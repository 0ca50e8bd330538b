//! The UDP edge of a standalone process: its transceiver, and either one relay inside or several outside.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::num::NonZero;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use voxgate_media::transport::{Identity, RelayCandidate};
use voxgate_protocol::id::{NodeIndex, RelayId};
use voxgate_protocol::path::ClientTransport;
use voxgate_relay::core::RelaySettings;
use voxgate_relay::flow::FlowLimits;
use voxgate_relay::shell::{RelayConfig, RelayHandle, Threads, WaitStyle, spawn};
use voxgate_relay::stream::{StreamConfig, StreamLimits};

use super::ground::Ground;
use crate::config::{Checked, RelayPlace};
use crate::control::state::{ControlState, Node};
use crate::data_dir::DataDir;
use crate::host::since_unix_epoch;
use crate::process::StartError;
use crate::relay_figures;
use crate::tls;
use crate::transceiver::{self, Command, EdgeConfig, TransceiverConfig};

/// The one transceiver of a standalone process, and the relay inside it.
const NODE: NodeIndex = NodeIndex(1);
const RELAY: RelayId = RelayId(1);

/// Both ends of the tunnel to the relay inside.
const LOOPBACK: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// Kernel buffer of the transceiver's one socket: 4 MiB hold about half a second of a thousand calls.
const RECEIVE_BUFFER_BYTES: usize = 4 * 1024 * 1024;

/// The transceiver and the relays in front of it.
pub(super) struct EdgeParts {
    /// The relay inside the process, if it has one.
    pub(super) embedded: Option<Arc<RelayHandle>>,
    /// Where clients reach the relays over UDP.
    pub(super) public: Vec<SocketAddr>,
    /// Where those without UDP do.
    pub(super) streams: Vec<SocketAddr>,
    pub(super) commands: mpsc::UnboundedSender<Command>,
    pub(super) control: Arc<ControlState>,
}

/// Starts the transceiver and the relay inside the process, if it has one, which is kept on the newest list from now on.
pub(super) fn start(config: &Checked, ground: &Ground) -> Result<EdgeParts, StartError> {
    let parts = open(config, ground)?;
    if let Some(relay) = &parts.embedded {
        let read = Arc::clone(relay);
        let shown = ground.metrics.add_relay(Box::new(move || relay_figures::read(&read, None)));
        shown.map_err(StartError::internal)?;
        tokio::spawn(follow(Arc::clone(&parts.control), Arc::clone(relay)));
    }
    Ok(parts)
}

fn open(config: &Checked, ground: &Ground) -> Result<EdgeParts, StartError> {
    let is_embedded = config.relays.is_empty();
    let tunnel = if is_embedded { LOOPBACK } else { config.transceiver.tunnel };
    let socket = std::net::UdpSocket::bind(tunnel).map_err(|source| StartError::Listen {
        what: "the transceiver's UDP port",
        address: tunnel,
        source,
        flag: "transceiver.tunnel in the configuration",
    })?;
    // A smaller buffer than asked for still works; the kernel caps it at net.core.rmem_max.
    let _ = socket2::SockRef::from(&socket).set_recv_buffer_size(RECEIVE_BUFFER_BYTES);
    let bound = socket.local_addr().map_err(StartError::system("a socket"))?;
    let since_unix_epoch = since_unix_epoch();
    // Every start is another life: ufrags of an earlier one lead nowhere.
    let node = Node {
        index: NODE,
        epoch: since_unix_epoch.as_secs() as u8,
        address: advertised(config.transceiver.advertise.filter(|_| !is_embedded), bound),
    };
    let ids =
        if is_embedded { vec![RELAY] } else { config.relays.iter().map(|relay| RelayId(relay.id)).collect() };
    let control = ControlState::new(node, &ids, since_unix_epoch, config.limits.session_duration);
    let control = Arc::new(control.map_err(StartError::internal)?);
    let embedded =
        if is_embedded { Some(Arc::new(start_relay(config, &ground.data, &control)?)) } else { None };
    let places = match &embedded {
        Some(relay) => vec![place_of(relay, config)],
        None => config.relays.clone(),
    };
    let edges = places.iter().filter_map(|place| edge(place, &control, since_unix_epoch)).collect();
    let transceiver_config = TransceiverConfig {
        identity: Identity::generate().map_err(StartError::internal)?,
        metrics: Arc::clone(&ground.metrics),
        replay: ground.replay.clone(),
        money: Some(Arc::clone(&ground.money)),
    };
    let (commands, _thread) = transceiver::spawn(socket, edges, transceiver_config)
        .map_err(StartError::system("the transceiver's thread"))?;
    let public = places.iter().map(|place| place.advertise).collect();
    let streams = places.iter().filter_map(|place| place.stream).collect();
    Ok(EdgeParts { embedded, public, streams, commands, control })
}

/// The address relays are told: the advertised one, with the port the system chose where it names none.
fn advertised(advertise: Option<SocketAddr>, bound: SocketAddr) -> SocketAddr {
    let mut address = advertise.unwrap_or(bound);
    if address.port() == 0 {
        address.set_port(bound.port());
    }
    address
}

/// The relay inside the process: one thread, not pinned, because transceiver and providers share the machine.
fn start_relay(
    config: &Checked,
    data: &DataDir,
    control: &Arc<ControlState>,
) -> Result<RelayHandle, StartError> {
    let list =
        control.list(RELAY).ok_or_else(|| StartError::internal("the relay inside is not on the list"))?;
    let relay = spawn(RelayConfig {
        listen: config.relay_listen,
        tunnel: LOOPBACK,
        relay_id: RELAY,
        directory: list.directory().map_err(StartError::internal)?,
        limits: FlowLimits::default(),
        threads: Threads::Fixed(NonZero::<u8>::MIN),
        pin: false,
        wait: WaitStyle::Block,
        heartbeat: RelaySettings::HEARTBEAT,
        stream: stream_config(config, data)?,
        inherited: None,
    });
    relay.map_err(|source| StartError::Listen {
        what: "the relay's UDP port",
        address: config.relay_listen,
        source,
        flag: "--relay or relay.stream",
    })
}

/// The relay's TCP listener, if there is to be one, with a certificate for the address callers reach it at.
fn stream_config(config: &Checked, data: &DataDir) -> Result<Option<StreamConfig>, StartError> {
    let Some(listen) = config.relay_stream else { return Ok(None) };
    let reached = config.relay_stream_advertise.unwrap_or(listen);
    let tls = tls::server_config(data, reached)?;
    Ok(Some(StreamConfig { listen, tls: Some(tls), limits: StreamLimits::default() }))
}

fn place_of(relay: &RelayHandle, config: &Checked) -> RelayPlace {
    let listening = relay.stream_addr();
    RelayPlace {
        id: RELAY.0,
        advertise: config.relay_advertise.unwrap_or_else(|| relay.local_addr()),
        tunnel_ip: relay.tunnel_addr().ip(),
        stream: listening.map(|address| config.relay_stream_advertise.unwrap_or(address)),
    }
}

fn edge(place: &RelayPlace, control: &ControlState, since_unix_epoch: Duration) -> Option<EdgeConfig> {
    let relay = RelayId(place.id);
    let udp = RelayCandidate { address: place.advertise, transport: ClientTransport::Udp };
    let tcp = place.stream.map(|address| RelayCandidate { address, transport: ClientTransport::Tcp });
    Some(EdgeConfig {
        relay,
        node: NODE,
        candidates: std::iter::once(udp).chain(tcp).collect(),
        tunnel_ip: place.tunnel_ip,
        key: control.tunnel_key(relay)?,
        since_unix_epoch,
    })
}

/// Keeps the relay inside the process on the newest list, as a relay outside does over the network.
async fn follow(control: Arc<ControlState>, relay: Arc<RelayHandle>) {
    let mut held = control.list(RELAY).map(|list| list.revision);
    loop {
        control.changed(held).await;
        let Some(list) = control.list(RELAY) else { return };
        match list.directory() {
            Ok(directory) => relay.publish(directory),
            Err(error) => {
                tracing::error!(%error, "the gateway made an allow-list of no use; please report this")
            }
        }
        held = Some(list.revision);
        control.relay_holds(RELAY, list.revision);
    }
}
