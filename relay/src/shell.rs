//! The threads and the sockets around a [`Relay`].
//!
//! Each thread owns a lane: a public socket, which shares its address with those of the other lanes so that the kernel
//! spreads clients over them, a tunnel socket of its own, and its part of the relay. It receives and sends in batches and
//! waits for nothing but datagrams and time. Lanes share the flow map; a client that the kernel gives to another lane,
//! because sockets came or went, goes on.
//!
//! A relay that is to be replaced hands its sockets over ([`handover`]): its successor reads on where it stopped.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

use voxgate_protocol::id::{NodeIndex, RelayId};

use crate::core::{Directory, Relay, RelayLane, RelaySettings, RelayStats};
use crate::flow::{FlowCounts, FlowLimits};
use crate::stream::{StreamConfig, StreamStats};
use crate::tunnel::Lane;

mod batch;
pub mod handover;
mod lanes;
mod placement;
mod residence;
mod serving;
mod sockets;
#[cfg(test)]
mod tests;
mod waiting;
mod worker;

use handover::{HandoverServer, Inherited};
use lanes::Lanes;
pub use placement::Threads;
pub use residence::{RESIDENCE_BOUNDS, Residence};
use serving::{Serving, Shared, Streams};
use sockets::{LaneSockets, local_addr, own_addresses};
pub use waiting::WaitStyle;
use worker::Worker;

/// What to run a relay with.
#[derive(Debug)]
pub struct RelayConfig {
    /// The public UDP address; an IPv6 wildcard also serves IPv4. A host with several addresses is better given the one
    /// that callers are told: behind a wildcard the kernel answers from the address its routes prefer.
    pub listen: SocketAddr,
    /// The UDP address towards the nodes, of the family of their addresses. Port 0 takes any; another port is the first
    /// lane's, and each further lane takes the next one.
    pub tunnel: SocketAddr,
    /// The relay's identity in tunnel frames.
    pub relay_id: RelayId,
    /// The allow-list it starts with.
    pub directory: Directory,
    /// Bounds of the flow table.
    pub limits: FlowLimits,
    /// How many threads. A relay that inherits sockets takes as many as there are.
    pub threads: Threads,
    /// Whether each thread stays on one processor. Worth it on a host of the relay's own; beside other work the scheduler
    /// knows better.
    pub pin: bool,
    /// How threads wait.
    pub wait: WaitStyle,
    /// Between heartbeats to each node.
    pub heartbeat: Duration,
    /// Where callers without UDP come in; `None`: nowhere.
    pub stream: Option<StreamConfig>,
    /// What a running relay has offered to hand over; see [`handover::take_over`].
    pub inherited: Option<Inherited>,
}

impl RelayConfig {
    /// A relay of one thread for each processor, not pinned, that sleeps when there is nothing to do, with default limits.
    #[must_use]
    pub fn new(listen: SocketAddr, tunnel: SocketAddr, relay_id: RelayId, directory: Directory) -> Self {
        Self {
            listen,
            tunnel,
            relay_id,
            directory,
            limits: FlowLimits::default(),
            threads: Threads::Auto,
            pin: false,
            wait: WaitStyle::Block,
            heartbeat: RelaySettings::HEARTBEAT,
            stream: None,
            inherited: None,
        }
    }
}

/// What a relay has counted and measured, at most about a tenth of a second ago.
#[derive(Clone, Debug)]
pub struct RelayReport {
    /// The counters of all lanes together.
    pub stats: RelayStats,
    /// The present size of the flow table.
    pub flows: FlowCounts,
    /// How long datagrams stayed.
    pub residence: Residence,
    /// The round trip to each node that has answered, and back: the shortest any lane has.
    pub round_trips: Vec<(NodeIndex, Duration)>,
    /// How many threads serve UDP.
    pub threads: usize,
    /// Counters of the stream port, if there is one.
    pub streams: Option<StreamStats>,
}

/// A running relay. Dropping the handle stops it.
pub struct RelayHandle {
    local_addr: SocketAddr,
    tunnel_addr: SocketAddr,
    stream_addr: Option<SocketAddr>,
    shared: Arc<Shared>,
}

impl RelayHandle {
    /// The public address, with the port the kernel chose.
    #[must_use]
    pub const fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// The address of the first lane's tunnel socket, with the port the kernel chose.
    #[must_use]
    pub const fn tunnel_addr(&self) -> SocketAddr {
        self.tunnel_addr
    }

    /// The address of the stream port, with the port the kernel chose.
    #[must_use]
    pub const fn stream_addr(&self) -> Option<SocketAddr> {
        self.stream_addr
    }

    /// Replaces the allow-list.
    pub fn publish(&self, directory: Directory) {
        self.shared.relay.publish(directory);
    }

    /// Says in every heartbeat from now on whether the relay is about to stop. It forwards as before.
    pub fn set_draining(&self, draining: bool) {
        self.shared.relay.set_draining(draining);
    }

    /// Whether the relay says that it is about to stop.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.shared.relay.is_draining()
    }

    /// What the relay has counted and measured.
    #[must_use]
    pub fn report(&self) -> RelayReport {
        self.shared.report()
    }

    /// The counters of [`Self::report`] alone.
    #[must_use]
    pub fn stats(&self) -> RelayStats {
        self.report().stats
    }

    /// Offers the relay's sockets to a successor at a Unix socket of this path, which replaces what is there. Once one has
    /// taken them, this relay serves nothing any more and `handed_over` is called: the process can end.
    ///
    /// # Errors
    /// When the socket cannot be made or no thread can start.
    pub fn serve_handover(
        &self,
        path: PathBuf,
        handed_over: impl FnOnce() + Send + 'static,
    ) -> io::Result<HandoverServer> {
        HandoverServer::start(path, Arc::clone(&self.shared), handed_over)
    }

    /// Stops the relay, waits for its threads and returns what it has counted to the end.
    #[expect(clippy::must_use_candidate, reason = "stopping is the point; the counters are an extra")]
    pub fn shutdown(self) -> RelayReport {
        self.shared.stop();
        self.report()
    }
}

impl Drop for RelayHandle {
    fn drop(&mut self) {
        self.shared.stop();
    }
}

impl fmt::Debug for RelayHandle {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("RelayHandle").field("local_addr", &self.local_addr).finish_non_exhaustive()
    }
}

/// Binds the sockets, or takes those of the relay that hands over, and starts the threads.
///
/// # Errors
/// When an address cannot be bound, a socket option is refused, the system has no randomness or no thread can start; with
/// a hand-over also when the other relay does not complete it, and goes on itself.
pub fn spawn(config: RelayConfig) -> io::Result<RelayHandle> {
    let mut inherited = config.inherited;
    let lane_sockets = match &mut inherited {
        Some(inherited) => inherited.take_lanes(config.relay_id, config.listen)?,
        None => sockets::open(config.listen, config.tunnel, config.threads.count()?)?,
    };
    let lane_count = u8::try_from(lane_sockets.len()).map_err(io::Error::other)?;
    let first = lane_sockets.first().ok_or_else(|| io::Error::other("a relay without lanes"))?;
    let (local_addr, tunnel_addr) = (local_addr(&first.public)?, local_addr(&first.tunnel)?);
    let streams = open_streams(config.stream, inherited.as_mut(), config.tunnel, Lane(lane_count))?;
    let stream_addr = streams.as_ref().map(Streams::local_addr).transpose()?;

    let own_addresses = addresses_of(&lane_sockets, streams.as_ref())?;
    let mut settings = settings(config.relay_id, config.directory, config.limits, own_addresses)?;
    settings.heartbeat = config.heartbeat;
    if let Some(inherited) = &inherited {
        settings.epoch = inherited.epoch();
    }
    let relay = Arc::new(Relay::new(settings));
    let (mut shared, mut serving) = assemble(&relay, config.relay_id, lane_sockets, config.wait, config.pin)?;
    if let Some(inherited) = &mut inherited {
        inherited.receive_flows(&relay)?;
    }
    if let Some(streams) = streams {
        serving.streams = Some(streams.start(&relay)?);
    }
    if let Some(inherited) = inherited {
        inherited.confirm()?;
    }
    serving.lanes.release();
    shared.serving = Mutex::new(Some(serving));
    tracing::info!(
        relay = config.relay_id.0,
        port = local_addr.port(),
        threads = lane_count,
        "relay started"
    );
    Ok(RelayHandle { local_addr, tunnel_addr, stream_addr, shared: Arc::new(shared) })
}

fn open_streams(
    config: Option<StreamConfig>,
    inherited: Option<&mut Inherited>,
    tunnel: SocketAddr,
    lane: Lane,
) -> io::Result<Option<Streams>> {
    let Some(config) = config else { return Ok(None) };
    let kept = inherited.and_then(Inherited::take_stream);
    Ok(Some(Streams::open(config, kept, tunnel, lane)?))
}

/// The settings of a relay that starts now, in a life of its own.
fn settings(
    relay: RelayId,
    directory: Directory,
    limits: FlowLimits,
    own_addresses: Vec<SocketAddr>,
) -> io::Result<RelaySettings> {
    let started_unix = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO);
    Ok(RelaySettings {
        relay,
        directory,
        limits,
        own_addresses,
        hash_seed: random_seed()?,
        epoch: RelaySettings::epoch_at(started_unix),
        started: Instant::now(),
        started_unix,
        heartbeat: RelaySettings::HEARTBEAT,
    })
}

/// Threads that wait to be released, and what their handle shares.
fn assemble(
    relay: &Arc<Relay>,
    id: RelayId,
    lane_sockets: Vec<LaneSockets>,
    wait: WaitStyle,
    pin: bool,
) -> io::Result<(Shared, Serving)> {
    let mut descriptors = Vec::with_capacity(lane_sockets.len());
    let mut reports = Vec::with_capacity(lane_sockets.len());
    let mut workers = Vec::with_capacity(lane_sockets.len());
    for (sockets, number) in lane_sockets.into_iter().zip(0..) {
        descriptors.push(sockets.descriptors()?);
        let report = Arc::default();
        reports.push(Arc::clone(&report));
        let lane = RelayLane::new(Arc::clone(relay), Lane(number));
        workers.push(Worker::new(lane, sockets, wait, report)?);
    }
    let lanes = Lanes::start(id, workers, pin)?;
    let serving = Serving { lanes, descriptors, streams: None };
    Ok((Shared { relay: Arc::clone(relay), id, pin, reports, serving: Mutex::new(None) }, serving))
}

fn addresses_of(lanes: &[LaneSockets], streams: Option<&Streams>) -> io::Result<Vec<SocketAddr>> {
    let mut bound = Vec::new();
    for lane in lanes {
        bound.extend([local_addr(&lane.public)?, local_addr(&lane.tunnel)?]);
    }
    if let Some(streams) = streams {
        bound.extend([streams.local_addr()?, streams.tunnel_addr()?]);
    }
    bound.sort_unstable();
    bound.dedup();
    own_addresses(bound)
}

fn random_seed() -> io::Result<u128> {
    let mut seed = [0; 16];
    getrandom::fill(&mut seed).map_err(io::Error::other)?;
    Ok(u128::from_ne_bytes(seed))
}
