//! What a turn takes outside of the time its session sees: at the client, and on the way to it and back.

use std::time::Duration;

use voxgate_protocol::session::ClientReport;
use voxgate_protocol::timeline::{Certainty, Hop};

use crate::trace::Outside;

use super::Leg;
use super::client_buffer::ClientBuffer;

/// Microphone to encoder, as long as the client has not said otherwise: one device buffer of 10 ms, what browsers ask
/// of the system for calls.
const DEFAULT_CAPTURE: Duration = Duration::from_millis(10);

/// What the network added, as far as the shell knows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NetworkTimes {
    /// Relay receive to transceiver receive of the last packet.
    pub relay_in: Duration,
    /// Transceiver send to relay send of the last packet the relay is known to have received.
    pub relay_out: Option<Duration>,
    /// How wrong each of both may be, if the other is by as much; zero if that is not known.
    pub relay_error: Duration,
    /// Round trip between client and transceiver (ICE or RTCP, through the relay, or the pings of a WebSocket).
    pub round_trip: Option<Duration>,
    /// The interarrival jitter of what is sent to the client, as its RTCP reports tell it.
    pub jitter: Option<Duration>,
}

/// One side of a turn.
#[derive(Debug)]
pub(super) struct Side {
    /// In the order of time.
    pub(super) known: Vec<Outside>,
    /// Hops nobody knows anything of.
    pub(super) unseen: Vec<Hop>,
}

/// What is known of the client and the way to it.
#[derive(Debug)]
pub(super) struct Outsides {
    leg: Leg,
    pub(super) client: ClientReport,
    pub(super) network: NetworkTimes,
}

impl Outsides {
    pub(super) fn of(leg: Leg) -> Self {
        Self { leg, client: ClientReport::default(), network: NetworkTimes::default() }
    }

    /// Before the last word was here. It waited for its packet or message to fill, and that came late.
    pub(super) fn mouth_side(&self, packing: Duration, late: Duration) -> Side {
        match self.leg {
            Leg::Rtp => {
                let device = self.client.capture.unwrap_or(DEFAULT_CAPTURE);
                let way = self.way(Hop::Uplink, self.one_way().unwrap_or_default());
                let NetworkTimes { relay_in, relay_error, .. } = self.network;
                let relay_in = match relay_error {
                    Duration::ZERO => known(Hop::RelayIn, relay_in),
                    error => Outside { error, ..estimate(Hop::RelayIn, relay_in) },
                };
                Side {
                    known: vec![estimate(Hop::Capture, device + packing), way, relay_in],
                    unseen: Vec::new(),
                }
            }
            // Whoever sends messages may be a telephone exchange as well as a browser: nobody knows of a device.
            Leg::Pcm => {
                let capture = estimate(Hop::Capture, self.client.capture.unwrap_or_default() + packing);
                let (uplink, unseen) = self.message_way(Hop::Uplink, late);
                Side { known: [Some(capture), uplink].into_iter().flatten().collect(), unseen }
            }
        }
    }

    /// After the answer left.
    pub(super) fn ear_side(&self) -> Side {
        let told = match (self.client.jitter_buffer, self.client.playout) {
            (None, None) => None,
            (jitter, playout) => Some(jitter.unwrap_or_default() + playout.unwrap_or_default()),
        };
        match self.leg {
            Leg::Rtp => {
                let error = self.network.relay_error;
                let relay_out = Outside { error, ..estimate(Hop::RelayOut, self.relay_out()) };
                let way = self.way(Hop::Downlink, self.one_way().unwrap_or_default());
                let playout = told.map_or_else(|| self.expected(), |told| estimate(Hop::Playout, told));
                Side { known: vec![relay_out, way, playout], unseen: Vec::new() }
            }
            Leg::Pcm => {
                let (downlink, mut unseen) = self.message_way(Hop::Downlink, Duration::ZERO);
                let playout = told.map(|told| estimate(Hop::Playout, told));
                unseen.extend(playout.is_none().then_some(Hop::Playout));
                Side { known: downlink.into_iter().chain(playout).collect(), unseen }
            }
        }
    }

    /// The client's buffers, as its reports let expect.
    fn expected(&self) -> Outside {
        let ClientBuffer { wait, error } = self.network.jitter.map_or(ClientBuffer::USUAL, ClientBuffer::of);
        Outside { error, ..estimate(Hop::Playout, wait) }
    }

    fn relay_out(&self) -> Duration {
        self.network.relay_out.unwrap_or(self.network.relay_in)
    }

    /// Half of the round trip between client and relay, or gateway if there is none between.
    fn one_way(&self) -> Option<Duration> {
        let round_trip = self.client.round_trip.or(self.network.round_trip)?;
        Some(round_trip.saturating_sub(self.network.relay_in.saturating_add(self.relay_out())) / 2)
    }

    /// Half of a round trip: one half may have taken all of it, and the other nothing.
    fn way(&self, hop: Hop, duration: Duration) -> Outside {
        Outside { error: self.one_way().unwrap_or_default(), ..estimate(hop, duration) }
    }

    /// The way of a message that came this late. Without a round trip nobody knows what the others took.
    fn message_way(&self, hop: Hop, late: Duration) -> (Option<Outside>, Vec<Hop>) {
        match self.one_way() {
            Some(one_way) => (Some(self.way(hop, one_way + late)), Vec::new()),
            None => (Some(late).filter(|late| !late.is_zero()).map(|late| estimate(hop, late)), vec![hop]),
        }
    }
}

pub(super) const fn known(hop: Hop, duration: Duration) -> Outside {
    Outside { hop, duration, certainty: Certainty::Measured, error: Duration::ZERO }
}

/// Of which nobody knows how wrong it is.
const fn estimate(hop: Hop, duration: Duration) -> Outside {
    Outside { hop, duration, certainty: Certainty::Estimated, error: Duration::ZERO }
}
