//! What a relay's handle and its hand-over act on.

use std::collections::BTreeMap;
use std::io;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use voxgate_protocol::id::RelayId;

use super::RelayReport;
use super::lanes::Lanes;
use super::sockets::{open_tunnel, serves};
use super::worker::LaneReport;
use crate::core::Relay;
use crate::stream::{self, StreamConfig, StreamHandle};
use crate::tunnel::{Lane, MOST_LANES};

/// The running parts of a relay.
#[derive(Debug)]
pub(super) struct Serving {
    pub(super) lanes: Lanes,
    /// The public and the tunnel socket of each lane once more, to be handed over.
    pub(super) descriptors: Vec<[OwnedFd; 2]>,
    pub(super) streams: Option<Streams>,
}

/// What the handle of a relay and the thread that offers its sockets share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) relay: Arc<Relay>,
    pub(super) id: RelayId,
    pub(super) pin: bool,
    pub(super) reports: Vec<Arc<Mutex<LaneReport>>>,
    /// `None` once the relay was stopped or handed over.
    pub(super) serving: Mutex<Option<Serving>>,
}

impl Shared {
    pub(super) fn serving(&self) -> MutexGuard<'_, Option<Serving>> {
        self.serving.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn stop(&self) {
        // Dropping stops every thread.
        drop(self.serving().take());
    }

    pub(super) fn report(&self) -> RelayReport {
        let mut sum = LaneReport::default();
        let mut shortest = BTreeMap::new();
        for report in &self.reports {
            let report = report.lock().unwrap_or_else(PoisonError::into_inner);
            sum.stats += report.stats;
            sum.residence += report.residence;
            for (node, round_trip) in &report.round_trips {
                let known = shortest.entry(*node).or_insert(*round_trip);
                *known = (*known).min(*round_trip);
            }
        }
        let streams = self.serving().as_ref().and_then(|serving| serving.streams.as_ref()?.counted());
        if let Some((relay, _)) = streams {
            sum.stats += relay;
        }
        RelayReport {
            stats: sum.stats,
            flows: self.relay.flow_counts(),
            residence: sum.residence,
            round_trips: shortest.into_iter().collect(),
            threads: self.reports.len(),
            streams: streams.map(|(_, streams)| streams),
        }
    }
}

/// The stream port and the lane behind it.
#[derive(Debug)]
pub(super) struct Streams {
    config: StreamConfig,
    lane: Lane,
    listener: TcpListener,
    tunnel: UdpSocket,
    running: Option<StreamHandle>,
}

impl Streams {
    /// Binds the port, or takes the sockets of the relay that hands over if they are at the same address.
    ///
    /// # Errors
    /// When an address cannot be bound.
    pub(super) fn open(
        config: StreamConfig,
        kept: Option<(TcpListener, UdpSocket)>,
        tunnel: SocketAddr,
        lane: Lane,
    ) -> io::Result<Self> {
        let is_wanted = |(listener, _): &(TcpListener, UdpSocket)| {
            listener.local_addr().is_ok_and(|kept| serves(kept, config.listen))
        };
        let (listener, tunnel) = match kept.filter(is_wanted) {
            Some(kept) => kept,
            None => (stream::bind(config.listen)?, open_tunnel(tunnel, lane)?.into()),
        };
        Ok(Self { config, lane, listener, tunnel, running: None })
    }

    /// Starts the thread.
    ///
    /// # Errors
    /// When a socket is refused by the runtime, or no thread can start.
    pub(super) fn start(mut self, relay: &Arc<Relay>) -> io::Result<Self> {
        let (listener, tunnel) = (self.listener.try_clone()?, self.tunnel.try_clone()?);
        self.running = Some(stream::spawn(Arc::clone(relay), self.lane, listener, tunnel, &self.config)?);
        Ok(self)
    }

    /// Closes every connection and ends the thread; the sockets stay.
    pub(super) fn stop(mut self) -> Self {
        drop(self.running.take());
        // A lane started anew would repeat the sequence of the former one.
        self.lane = Lane((self.lane.0 + 1).min(MOST_LANES - 1));
        self
    }

    pub(super) fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    pub(super) fn tunnel_addr(&self) -> io::Result<SocketAddr> {
        self.tunnel.local_addr()
    }

    /// The listener and the tunnel socket.
    pub(super) const fn sockets(&self) -> (&TcpListener, &UdpSocket) {
        (&self.listener, &self.tunnel)
    }

    fn counted(&self) -> Option<(crate::core::RelayStats, stream::StreamStats)> {
        self.running.as_ref().map(|running| (running.relay_stats(), running.stats()))
    }
}
