//! The relay as a state machine: datagrams and time go in, datagrams and a deadline come out.
//!
//! It owns no socket, reads no clock and draws no random number. Whatever arrives, it answers with datagrams in an
//! [`Outbox`] or with a counter of [`RelayStats`]; there is no third way.
//!
//! A [`Relay`] is what all threads share: the allow-list, the flow table and whether it is draining. A [`RelayLane`] is
//! what one thread owns: its tunnels, its counters and its memory of the flows it serves. The usual media packet touches
//! nothing but the lane.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use voxgate_protocol::id::{NodeIndex, RelayId};
use voxgate_protocol::path::ClientAddress;

use crate::flow::{ACTIVITY_REPORT, FlowCounts, FlowLimits, FlowTable, Generations, Keyed, SnapshotError};
use crate::tunnel::TunnelKey;
use crate::ufrag::KeyRing;

mod down;
mod greeting;
mod lane;
mod memory;
mod nodes;
mod outbox;
mod stats;
#[cfg(test)]
mod tests;
mod up;

pub use lane::RelayLane;
pub use outbox::{Datagram, Outbox, Socket};
pub use stats::RelayStats;

/// [`ACTIVITY_REPORT`] in milliseconds.
const REPORT: u32 = ACTIVITY_REPORT.as_secs() as u32 * 1000;

/// A transceiver the relay may send to.
#[derive(Clone, Debug)]
pub struct NodeEntry {
    /// Its tunnel socket. Frames from any other address are not its.
    pub address: SocketAddr,
    /// The key of the tunnel between this relay and the node.
    pub key: TunnelKey,
    /// Its present life; ufrags sealed for another one lead nowhere.
    pub epoch: u8,
}

/// The allow-list: whose ufrags are opened, and where they may lead. Replaced as a whole.
#[derive(Clone, Debug, Default)]
pub struct Directory {
    /// The keys of the relay's group.
    pub key_ring: KeyRing,
    /// The transceivers.
    pub nodes: BTreeMap<NodeIndex, NodeEntry>,
}

/// What a relay starts with.
#[derive(Clone, Debug)]
pub struct RelaySettings {
    /// Its identity in tunnel frames.
    pub relay: RelayId,
    /// The allow-list it starts with.
    pub directory: Directory,
    /// Bounds of the flow table.
    pub limits: FlowLimits,
    /// Addresses of its own, from which nobody else can be sending.
    pub own_addresses: Vec<SocketAddr>,
    /// A secret random number for the flow table's hashing.
    pub hash_seed: u128,
    /// Which life of the relay this is: a number its earlier lives did not have.
    pub epoch: u32,
    /// When the relay starts.
    pub started: Instant,
    /// The same moment on the wall clock, since the Unix epoch.
    pub started_unix: Duration,
    /// Between heartbeats to each node.
    pub heartbeat: Duration,
}

impl RelaySettings {
    /// Between heartbeats unless the settings say otherwise: a node that hears none for four of them takes the relay for
    /// dead (200 ms), so that a caller does not notice more than a short gap.
    pub const HEARTBEAT: Duration = Duration::from_millis(50);
    /// The least time between heartbeats; a smaller setting is raised to it.
    pub const SHORTEST_HEARTBEAT: Duration = Duration::from_millis(5);

    /// An epoch for a relay that starts at this time since the Unix epoch: milliseconds, wrapping after 49 days.
    #[must_use]
    pub const fn epoch_at(since_unix_epoch: Duration) -> u32 {
        let [.., a, b, c, d] = since_unix_epoch.as_millis().to_be_bytes();
        u32::from_be_bytes([a, b, c, d])
    }
}

/// One relay, as its lanes share it.
pub struct Relay {
    id: RelayId,
    epoch: u32,
    directory: Mutex<Arc<Directory>>,
    /// Counts the published directories, so that a lane sees a new one without taking the lock.
    revision: AtomicU64,
    draining: AtomicBool,
    flows: Mutex<FlowTable>,
    /// The table's, readable without its lock.
    generations: Arc<Generations>,
    keyed: Keyed,
    own_addresses: Vec<SocketAddr>,
    started: Instant,
    started_unix: Duration,
    heartbeat: Duration,
}

impl fmt::Debug for Relay {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Relay").field("id", &self.id).finish_non_exhaustive()
    }
}

impl Relay {
    /// A relay that knows its nodes and no flow.
    #[must_use]
    pub fn new(settings: RelaySettings) -> Self {
        let flows = FlowTable::new(settings.limits, settings.hash_seed, settings.started);
        Self {
            id: settings.relay,
            epoch: settings.epoch,
            directory: Mutex::new(Arc::new(settings.directory)),
            revision: AtomicU64::new(0),
            draining: AtomicBool::new(false),
            generations: flows.generations(),
            keyed: flows.keyed(),
            flows: Mutex::new(flows),
            own_addresses: settings.own_addresses.into_iter().map(canonical).collect(),
            started: settings.started,
            started_unix: settings.started_unix,
            heartbeat: settings.heartbeat.max(RelaySettings::SHORTEST_HEARTBEAT),
        }
    }

    /// Replaces the allow-list. Lanes take it at their next packet or timeout. A node that stays keeps its tunnels; a
    /// changed key is accepted at once and used when the node has used it, or at once when its id has not changed or the node
    /// has restarted; a node that is gone gets nothing more.
    pub fn publish(&self, directory: Directory) {
        let mut published = self.directory.lock().unwrap_or_else(PoisonError::into_inner);
        *published = Arc::new(directory);
        self.revision.fetch_add(1, Ordering::Release);
    }

    /// Says in every heartbeat from now on whether the relay is about to stop. It forwards as before.
    pub fn set_draining(&self, draining: bool) {
        self.draining.store(draining, Ordering::Relaxed);
    }

    /// Whether the relay says that it is about to stop.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    /// Which life of the relay this is.
    #[must_use]
    pub const fn epoch(&self) -> u32 {
        self.epoch
    }

    /// How many flows there are.
    #[must_use]
    pub fn flow_counts(&self) -> FlowCounts {
        self.flows().counts()
    }

    /// The assured flows, for the process that takes over.
    #[must_use]
    pub fn snapshot(&self, now: Instant) -> Vec<u8> {
        self.flows().snapshot(now)
    }

    /// Adds the assured flows of a [`Self::snapshot`]; returns how many. Addresses that have a flow keep it.
    ///
    /// # Errors
    /// [`SnapshotError`] when the bytes are no snapshot; nothing is added then.
    pub fn restore(&self, now: Instant, snapshot: &[u8]) -> Result<usize, SnapshotError> {
        self.flows().restore(now, snapshot)
    }

    fn flows(&self) -> MutexGuard<'_, FlowTable> {
        self.flows.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The directory with its revision.
    fn directory(&self) -> (u64, Arc<Directory>) {
        let published = self.directory.lock().unwrap_or_else(PoisonError::into_inner);
        (self.revision.load(Ordering::Acquire), Arc::clone(&published))
    }

    fn unix(&self, now: Instant) -> Duration {
        self.started_unix + now.saturating_duration_since(self.started)
    }

    /// Milliseconds since the relay's start, wrapping after 49 days.
    fn millis(&self, now: Instant) -> u32 {
        let [.., a, b, c, d] = now.saturating_duration_since(self.started).as_millis().to_be_bytes();
        u32::from_be_bytes([a, b, c, d])
    }

    /// Whether a client can be there: a port, an address of one host, and not the relay itself.
    fn admits(&self, client: ClientAddress) -> bool {
        can_be_a_client(client.socket) && !self.own_addresses.contains(&client.socket)
    }
}

/// The address with an IPv4 address out of its mapped form, and without what IPv6 adds to a socket address.
const fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

pub(crate) fn can_be_a_client(address: SocketAddr) -> bool {
    let broadcast = matches!(address.ip(), IpAddr::V4(ip) if ip.is_broadcast());
    address.port() != 0 && !address.ip().is_unspecified() && !address.ip().is_multicast() && !broadcast
}
