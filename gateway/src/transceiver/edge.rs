//! The transceiver's end of the tunnels to one relay.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use voxgate_media::transport::RelayCandidate;
use voxgate_protocol::id::{NodeIndex, RelayId};
use voxgate_protocol::path::ClientAddress;
use voxgate_relay::tunnel::{
    Endpoint, EndpointError, Frame, Kind, Lane, MOST_LANES, Outgoing, Passage, Side, TunnelKey,
};

use super::call::TunnelTimes;
use super::choice;

/// Hellos of a life of the relay that is known are answered at most this often. They come every 50 ms.
const ANSWER_EVERY: Duration = Duration::from_secs(1);

/// A relay this transceiver is reached through.
#[derive(Clone, Debug)]
pub(crate) struct EdgeConfig {
    /// The relay's name in frames.
    pub(crate) relay: RelayId,
    /// This transceiver's name in frames.
    pub(crate) node: NodeIndex,
    /// Where clients reach the relay.
    pub(crate) candidates: Vec<RelayCandidate>,
    /// The host frames come from. Their ports are learned from authentic frames: each thread of the relay has one of
    /// its own, and a relay that starts anew has others.
    pub(crate) tunnel_ip: IpAddr,
    /// The key both ends share.
    pub(crate) key: TunnelKey,
    /// The wall clock at start, for the first sequence number.
    pub(crate) since_unix_epoch: Duration,
}

/// An authentic frame.
pub(super) struct Heard<'a> {
    pub(super) frame: Frame<'a>,
    /// What the relay and the way to it take, each direction for itself.
    pub(super) times: TunnelTimes,
    /// It is the first one of a life of the relay.
    pub(super) lives_anew: bool,
}

/// The transceiver's end of the tunnel to one thread of a relay.
#[derive(Debug)]
struct LaneEnd {
    endpoint: Endpoint,
    /// Where the newest frame came from.
    address: SocketAddr,
    newest: u64,
    /// How long datagrams for clients stay with that thread.
    stay: Duration,
    /// The relay's life and time of the last answer to a hello.
    answered: Option<(u32, Instant)>,
}

impl LaneEnd {
    /// What relay and tunnel take, as of this frame.
    fn times(&mut self, frame: &Frame<'_>) -> TunnelTimes {
        let residence = frame.header.timing.residence;
        if matches!(frame.header.kind, Kind::Hello { .. }) {
            self.stay = residence;
        }
        match self.endpoint.passage() {
            Some(Passage { coming, going, error }) => {
                TunnelTimes { relay_in: residence + coming, relay_out: Some(self.stay + going), error }
            }
            None => TunnelTimes { relay_in: residence, ..TunnelTimes::default() },
        }
    }
}

/// The transceiver's end of the tunnels to one relay.
#[derive(Debug)]
pub(super) struct Edge {
    config: EdgeConfig,
    origin: Instant,
    /// By lane; grows as lanes are heard, up to [`MOST_LANES`].
    lanes: Vec<Option<Box<LaneEnd>>>,
    /// The relay's present life.
    epoch: Option<u32>,
    /// The greatest sequence number of all lanes. It begins with the relay's start in nanoseconds, so that every
    /// frame of a later life is ahead of all of an earlier one, whatever the lane.
    newest: u64,
    /// The lane of that frame, which belongs to the present life.
    newest_lane: Lane,
}

impl Edge {
    /// An end whose process started at `now`.
    pub(super) fn new(config: EdgeConfig, now: Instant) -> Self {
        Self { config, origin: now, lanes: Vec::new(), epoch: None, newest: 0, newest_lane: Lane::default() }
    }

    pub(super) const fn relay(&self) -> RelayId {
        self.config.relay
    }

    /// Whether frames of this relay may come from there.
    pub(super) fn sends_from(&self, from: SocketAddr) -> bool {
        from.ip().to_canonical() == self.config.tunnel_ip.to_canonical()
    }

    pub(super) fn candidates(&self) -> &[RelayCandidate] {
        &self.config.candidates
    }

    /// Whether clients reach this relay at this address.
    pub(super) fn serves(&self, address: SocketAddr) -> bool {
        self.config.candidates.iter().any(|candidate| candidate.address == address)
    }

    /// The address this client reached the relay at.
    pub(super) fn reached_at(&self, client: ClientAddress) -> Option<SocketAddr> {
        choice::reached_at(&self.config.candidates, client.socket, client.transport)
    }

    /// The tunnel's smoothed round trip, from live traffic.
    pub(super) fn round_trip(&self) -> Option<Duration> {
        self.end(self.newest_lane)?.endpoint.round_trip()
    }

    /// Verifies a frame that came from an address of this relay. Nothing is kept of one that is not authentic.
    pub(super) fn open<'a>(
        &mut self,
        now: Instant,
        lane: Lane,
        from: SocketAddr,
        bytes: &'a [u8],
    ) -> Result<Heard<'a>, EndpointError> {
        let place = usize::from(lane.0.min(MOST_LANES - 1));
        let (frame, times) = if let Some(end) = self.lanes.get_mut(place).and_then(Option::as_mut) {
            let frame = end.endpoint.open(now, bytes)?;
            if frame.header.sequence > end.newest {
                (end.newest, end.address) = (frame.header.sequence, from);
            }
            (frame, end.times(&frame))
        } else {
            let mut endpoint = self.endpoint(lane);
            let frame = endpoint.open(now, bytes)?;
            let newest = frame.header.sequence;
            let mut end = LaneEnd { endpoint, address: from, newest, stay: Duration::ZERO, answered: None };
            let times = end.times(&frame);
            self.lanes.resize_with(self.lanes.len().max(place + 1), || None);
            self.lanes[place] = Some(Box::new(end));
            (frame, times)
        };
        let lives_anew = self.follow(&frame, lane);
        Ok(Heard { frame, times, lives_anew })
    }

    /// Whether a hello that just came by this lane is to be answered; counted as answered then.
    pub(super) fn owes_answer(&mut self, now: Instant, lane: Lane) -> bool {
        let Some(end) = self.lanes.get_mut(usize::from(lane.0)).and_then(Option::as_mut) else {
            return false;
        };
        let epoch = end.endpoint.relay_epoch().unwrap_or_default();
        let is_answered = end.answered.is_some_and(|(answered, at)| {
            answered == epoch && now.saturating_duration_since(at) < ANSWER_EVERY
        });
        if !is_answered {
            end.answered = Some((epoch, now));
        }
        !is_answered
    }

    /// Puts a frame into `buffer`, for this lane if it belongs to the relay's present life, else for one that does, and
    /// says where to send it. `None` if the relay was never heard or the payload is too long.
    pub(super) fn seal(
        &mut self,
        now: Instant,
        lane: Lane,
        outgoing: &Outgoing<'_>,
        buffer: &mut Vec<u8>,
    ) -> Option<SocketAddr> {
        let epoch = self.epoch;
        let is_present = self.end(lane).is_some_and(|end| end.endpoint.relay_epoch() == epoch);
        let lane = if is_present { lane } else { self.newest_lane };
        let end = self.lanes.get_mut(usize::from(lane.0))?.as_mut()?;
        buffer.clear();
        match end.endpoint.seal(now, outgoing, buffer) {
            Ok(()) => Some(end.address),
            Err(error) => {
                tracing::debug!(%error, "a datagram did not fit into a tunnel frame");
                None
            }
        }
    }

    fn endpoint(&self, lane: Lane) -> Endpoint {
        let config = &self.config;
        Endpoint::new(
            Side::Node,
            config.relay,
            config.node,
            lane,
            config.key.clone(),
            self.origin,
            config.since_unix_epoch,
        )
    }

    fn end(&self, lane: Lane) -> Option<&LaneEnd> {
        self.lanes.get(usize::from(lane.0))?.as_deref()
    }

    /// Notes which lane and which life of the relay is the newest. True once for each life.
    fn follow(&mut self, frame: &Frame<'_>, lane: Lane) -> bool {
        if frame.header.sequence <= self.newest {
            return false;
        }
        (self.newest, self.newest_lane) = (frame.header.sequence, lane);
        self.epoch.replace(frame.header.relay_epoch) != Some(frame.header.relay_epoch)
    }
}

#[cfg(test)]
mod tests;
