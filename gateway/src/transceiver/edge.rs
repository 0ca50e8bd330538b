//! The transceiver's end of the tunnel to one relay.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use voxgate_protocol::id::{NodeIndex, RelayId};
use voxgate_relay::tunnel::{Endpoint, EndpointError, Frame, Kind, Outgoing, Side, TunnelKey};

use super::call::TunnelTimes;

/// A relay this transceiver is reached through.
pub(crate) struct EdgeConfig {
    /// The relay's name in frames.
    pub(crate) relay: RelayId,
    /// This transceiver's name in frames.
    pub(crate) node: NodeIndex,
    /// Where clients reach the relay.
    pub(crate) public: SocketAddr,
    /// Where frames come from and go to.
    pub(crate) tunnel: SocketAddr,
    /// The key both ends share.
    pub(crate) key: TunnelKey,
    /// The wall clock at start, for the first sequence number.
    pub(crate) since_unix_epoch: Duration,
}

/// The transceiver's end of the tunnel to one relay.
pub(super) struct Edge {
    pub(super) public: SocketAddr,
    pub(super) tunnel: SocketAddr,
    endpoint: Endpoint,
    /// The relay's life whose flows were last taught.
    taught_epoch: Option<u32>,
}

impl Edge {
    pub(super) fn new(config: EdgeConfig, now: Instant) -> Self {
        let endpoint =
            Endpoint::new(Side::Node, config.relay, config.node, config.key, now, config.since_unix_epoch);
        Self { public: config.public, tunnel: config.tunnel, endpoint, taught_epoch: None }
    }

    /// Verifies a frame and says how long its datagram took from the relay's socket to here: the time inside the
    /// relay, plus half of the tunnel's round trip.
    pub(super) fn open<'a>(
        &mut self,
        now: Instant,
        bytes: &'a [u8],
    ) -> Result<(Frame<'a>, TunnelTimes), EndpointError> {
        let frame = self.endpoint.open(now, bytes)?;
        let one_way = self.endpoint.round_trip().map(|round_trip| round_trip / 2);
        let times = TunnelTimes {
            relay_in: frame.header.timing.residence + one_way.unwrap_or_default(),
            relay_out: one_way,
        };
        Ok((frame, times))
    }

    /// True once for each life of the relay.
    pub(super) fn lives_anew(&mut self) -> bool {
        let epoch = self.endpoint.relay_epoch();
        std::mem::replace(&mut self.taught_epoch, epoch) != epoch
    }

    pub(super) fn send(
        &mut self,
        now: Instant,
        tag: u32,
        client: SocketAddr,
        confirmed: bool,
        datagram: &[u8],
        outbox: &mut Vec<(SocketAddr, Vec<u8>)>,
    ) {
        self.seal(now, Kind::Down { confirmed }, tag, Some(client), datagram, outbox);
    }

    pub(super) fn confirm(
        &mut self,
        now: Instant,
        tag: u32,
        client: SocketAddr,
        outbox: &mut Vec<(SocketAddr, Vec<u8>)>,
    ) {
        self.seal(now, Kind::Confirm, tag, Some(client), &[], outbox);
    }

    pub(super) fn release(
        &mut self,
        now: Instant,
        tag: u32,
        client: SocketAddr,
        outbox: &mut Vec<(SocketAddr, Vec<u8>)>,
    ) {
        self.seal(now, Kind::Release, tag, Some(client), &[], outbox);
    }

    pub(super) fn refresh(
        &mut self,
        now: Instant,
        tag: u32,
        client: Option<SocketAddr>,
        outbox: &mut Vec<(SocketAddr, Vec<u8>)>,
    ) {
        self.seal(now, Kind::Refresh, tag, client, &[], outbox);
    }

    fn seal(
        &mut self,
        now: Instant,
        kind: Kind,
        session: u32,
        client: Option<SocketAddr>,
        payload: &[u8],
        outbox: &mut Vec<(SocketAddr, Vec<u8>)>,
    ) {
        let mut frame = Vec::new();
        let outgoing = Outgoing { kind, session, client, since: None, payload };
        if let Err(error) = self.endpoint.seal(now, &outgoing, &mut frame) {
            tracing::debug!(%error, "a datagram did not fit into a tunnel frame");
            return;
        }
        outbox.push((self.tunnel, frame));
    }
}
