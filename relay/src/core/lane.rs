//! What one thread of a relay owns.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use voxgate_protocol::id::NodeIndex;
use voxgate_protocol::path::ClientAddress;

use super::memory::FlowMemory;
use super::nodes::{Node, Nodes};
use super::{Directory, Outbox, Relay, RelayStats, Socket, canonical};
use crate::flow::MOST_EXPIRED;
use crate::tunnel::{Kind, Lane, MAX_PAYLOAD, Outgoing, claim, frames};

/// The lane that keeps the relay's house: heartbeats and the end of flows.
const HOUSEKEEPER: Lane = Lane(0);
/// Between looks for flows that have ended, and of the other lanes for a new directory.
const HOUSEKEEPING: Duration = Duration::from_millis(250);

/// How long datagrams for clients stay with the lane. A node hears it with the next hello: no frame to the node leaves with
/// such a datagram, and the node would take that time for the network's.
#[derive(Clone, Copy, Debug, Default)]
struct Stay {
    sum: Duration,
    count: u32,
    /// Of those before the last hello.
    mean: Duration,
}

impl Stay {
    /// The mean since it was asked last; if there was none since, that of before.
    fn take(&mut self) -> Duration {
        if let Some(mean) = self.sum.checked_div(self.count) {
            *self = Self { mean, ..Self::default() };
        }
        self.mean
    }
}

/// One thread's part of a [`Relay`].
pub struct RelayLane {
    pub(super) relay: Arc<Relay>,
    pub(super) lane: Lane,
    revision: u64,
    pub(super) directory: Arc<Directory>,
    pub(super) nodes: Nodes,
    pub(super) memory: FlowMemory,
    pub(super) stats: RelayStats,
    stay: Stay,
    next_heartbeat: Instant,
    next_housekeeping: Instant,
}

impl fmt::Debug for RelayLane {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("RelayLane").field("lane", &self.lane).finish_non_exhaustive()
    }
}

impl RelayLane {
    /// A lane of a relay. Lane 0 must exist: it says the heartbeats and ends the flows. A number must be used only once in
    /// the life of a relay, because frames of a second lane would repeat the first one's sequence.
    #[must_use]
    pub fn new(relay: Arc<Relay>, lane: Lane) -> Self {
        let (revision, directory) = relay.directory();
        let started = relay.started;
        let mut nodes = Nodes::default();
        nodes.follow(started, &relay, lane, &directory);
        Self {
            relay,
            lane,
            revision,
            directory,
            nodes,
            memory: FlowMemory::new(),
            stats: RelayStats::default(),
            stay: Stay::default(),
            next_heartbeat: started,
            next_housekeeping: started + HOUSEKEEPING,
        }
    }

    /// Which lane this is.
    #[must_use]
    pub const fn lane(&self) -> Lane {
        self.lane
    }

    /// What the lane has counted.
    #[must_use]
    pub const fn stats(&self) -> RelayStats {
        self.stats
    }

    /// The smoothed round trip to each node that has answered, and back.
    pub fn round_trips(&self) -> impl Iterator<Item = (NodeIndex, Duration)> {
        self.nodes.round_trips()
    }

    /// A client's datagram came at `received_at`, which is `now` or shortly before, with this IPv4 type of service or IPv6
    /// traffic class.
    pub fn handle_client(
        &mut self,
        now: Instant,
        received_at: Instant,
        from: ClientAddress,
        traffic_class: u8,
        datagram: &[u8],
        out: &mut Outbox,
    ) {
        self.follow_directory(now);
        self.stats.client_datagrams += 1;
        self.stats.client_bytes += datagram.len() as u64;
        let client = ClientAddress::new(from.socket, from.transport);
        if !self.relay.admits(client) {
            self.stats.drop_client_address += 1;
        } else if datagram.len() > MAX_PAYLOAD {
            self.stats.drop_client_oversize += 1;
        } else if let Some(tag) = self.destination(now, client, datagram) {
            let up = Outgoing {
                kind: Kind::Up,
                session: tag.session,
                client: Some(client),
                traffic_class,
                since: Some(received_at),
                payload: datagram,
            };
            self.send_up(now, tag.node, &up, out);
        }
    }

    /// The connection of a client is over; the flow it had, if any, ends with it. Its node learns nothing: it hears the
    /// silence, or the client under another address.
    pub fn client_gone(&mut self, now: Instant, client: ClientAddress) {
        let mut flows = self.relay.flows();
        if let Some(tag) = flows.uplink(now, client)
            && flows.release(client, tag)
        {
            self.stats.released += 1;
        }
    }

    /// A datagram came to the tunnel socket at `received_at`, which is `now` or shortly before.
    pub fn handle_tunnel(
        &mut self,
        now: Instant,
        received_at: Instant,
        from: SocketAddr,
        datagram: &[u8],
        out: &mut Outbox,
    ) {
        self.follow_directory(now);
        self.stats.tunnel_datagrams += 1;
        // What follows a frame that is not authentic is no node's either, and not worth a look.
        let mut frames = frames(datagram);
        while frames.next().is_some_and(|frame| self.handle_frame(now, received_at, from, frame, out)) {}
    }

    /// Whether the frame is authentic.
    fn handle_frame(
        &mut self,
        now: Instant,
        received_at: Instant,
        from: SocketAddr,
        datagram: &[u8],
        out: &mut Outbox,
    ) -> bool {
        let Ok(claim) = claim(datagram) else {
            self.stats.drop_tunnel_malformed += 1;
            return false;
        };
        let from = canonical(from);
        let Some(node) = self.nodes.get_mut(claim.node).filter(|node| node.address == from) else {
            self.stats.drop_tunnel_unlisted += 1;
            return false;
        };
        let frame = match node.endpoint.open(received_at, datagram) {
            Ok(frame) => frame,
            Err(error) => {
                self.count_tunnel_error(error);
                return false;
            }
        };
        let present = frame.header.relay_epoch == self.relay.epoch;
        if present {
            node.greeting.answered(now);
        } else {
            self.stats.tunnel_stale_epoch += 1;
            node.greeting.repeat_soon(now);
        }
        self.apply(now, &frame.header, present, frame.payload, out);
        true
    }

    /// So many datagrams for clients were sent, which had stayed with the lane for `sum` together.
    pub fn stayed(&mut self, count: u32, sum: Duration) {
        self.stay.count = self.stay.count.saturating_add(count);
        self.stay.sum = self.stay.sum.saturating_add(sum);
    }

    /// Does what is due at `now`: says hello, ends flows, takes a new directory.
    pub fn handle_timeout(&mut self, now: Instant, out: &mut Outbox) {
        self.follow_directory(now);
        if self.next_housekeeping <= now {
            self.next_housekeeping = now + HOUSEKEEPING;
            if self.lane == HOUSEKEEPER {
                let expired = self.relay.flows().expire(now);
                self.stats.expired_half_open += expired.half_open;
                self.stats.expired_assured += expired.assured;
                if expired.half_open == MOST_EXPIRED || expired.assured == MOST_EXPIRED {
                    self.next_housekeeping = now;
                }
            }
        }
        let heartbeat = self.lane == HOUSEKEEPER && self.next_heartbeat <= now;
        if heartbeat {
            let next = self.next_heartbeat + self.relay.heartbeat;
            // Late heartbeats are not made up for.
            self.next_heartbeat = if next > now { next } else { now + self.relay.heartbeat };
        }
        self.greet(now, heartbeat, out);
    }

    /// When [`Self::handle_timeout`] has something to do next.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let hello = if self.lane == HOUSEKEEPER {
            Some(self.next_heartbeat)
        } else {
            self.nodes.iter().map(|node| node.greeting.next()).min()
        };
        hello.into_iter().chain([self.next_housekeeping]).min()
    }

    fn greet(&mut self, now: Instant, heartbeat: bool, out: &mut Outbox) {
        let by_greeting = self.lane != HOUSEKEEPER;
        let is_due = heartbeat || by_greeting && self.nodes.iter().any(|node| node.greeting.due(now));
        if !is_due {
            return;
        }
        let hello = Outgoing {
            kind: Kind::Hello { draining: self.relay.is_draining() },
            session: 0,
            client: None,
            traffic_class: 0,
            since: now.checked_sub(self.stay.take()),
            payload: &[],
        };
        let due = |node: &&mut Node| heartbeat || by_greeting && node.greeting.due(now);
        for node in self.nodes.iter_mut().filter(due) {
            let sealed = out.push_with(Socket::Tunnel, node.address, 0, |frame| {
                node.endpoint.seal(now, &hello, frame).is_ok()
            });
            node.greeting.sent(now);
            self.stats.hellos_sent += u64::from(sealed);
        }
    }

    /// Takes a directory that was published since the last look.
    fn follow_directory(&mut self, now: Instant) {
        if self.relay.revision.load(Ordering::Acquire) == self.revision {
            return;
        }
        (self.revision, self.directory) = self.relay.directory();
        self.nodes.follow(now, &self.relay, self.lane, &self.directory);
    }
}
