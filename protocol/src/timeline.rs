//! The hops of a turn and their durations.
//!
//! A turn is measured from the moment the caller stopped speaking to the moment the caller hears the answer. The
//! hops **sum exactly** to that; what cannot be attributed is [`Hop::Unattributed`].

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// One stretch of a turn. The order of the variants is the order in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Hop {
    /// Microphone to the client's network card.
    Capture,
    /// Client to relay.
    Uplink,
    /// Relay to transceiver, both sockets included.
    RelayIn,
    /// Waiting for reordered or lost packets.
    Jitter,
    /// Opus to PCM.
    Decode,
    /// From the last speech sample to the decision that the turn is over.
    Endpointing,
    /// Until the words are known (cascade and local providers).
    Stt,
    /// Admission, guardrails, routing.
    Policy,
    /// Until the model's first output.
    Model,
    /// Until there is a speakable piece of text.
    Aggregation,
    /// Until the first sample of the voice.
    Tts,
    /// Waiting for the playout deadline.
    Pacing,
    /// PCM to Opus.
    Encode,
    /// Transceiver to relay, both sockets included.
    RelayOut,
    /// Relay to client.
    Downlink,
    /// The client's jitter buffer and loudspeaker.
    Playout,
    /// What no hop explains.
    Unattributed,
}

/// Who can make a hop shorter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum HopOwner {
    /// The caller's device.
    Client,
    /// The way between device and relay.
    Network,
    /// voxgate.
    Gateway,
    /// The vendor.
    Provider,
    /// A configured wait.
    Setting,
}

impl HopOwner {
    /// The name in JSON, metrics and on the page.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Network => "network",
            Self::Gateway => "gateway",
            Self::Provider => "provider",
            Self::Setting => "setting",
        }
    }
}

impl Hop {
    /// Every hop in order.
    pub const ALL: [Self; 17] = [
        Self::Capture,
        Self::Uplink,
        Self::RelayIn,
        Self::Jitter,
        Self::Decode,
        Self::Endpointing,
        Self::Stt,
        Self::Policy,
        Self::Model,
        Self::Aggregation,
        Self::Tts,
        Self::Pacing,
        Self::Encode,
        Self::RelayOut,
        Self::Downlink,
        Self::Playout,
        Self::Unattributed,
    ];

    /// The name in JSON, metrics and on the page.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Capture => "capture",
            Self::Uplink => "uplink",
            Self::RelayIn => "relay_in",
            Self::Jitter => "jitter",
            Self::Decode => "decode",
            Self::Endpointing => "endpointing",
            Self::Stt => "stt",
            Self::Policy => "policy",
            Self::Model => "model",
            Self::Aggregation => "aggregation",
            Self::Tts => "tts",
            Self::Pacing => "pacing",
            Self::Encode => "encode",
            Self::RelayOut => "relay_out",
            Self::Downlink => "downlink",
            Self::Playout => "playout",
            Self::Unattributed => "unattributed",
        }
    }

    /// Who can make it shorter.
    #[must_use]
    pub const fn owner(self) -> HopOwner {
        match self {
            Self::Capture | Self::Playout => HopOwner::Client,
            Self::Uplink | Self::Downlink => HopOwner::Network,
            Self::Endpointing => HopOwner::Setting,
            Self::Stt | Self::Model | Self::Tts => HopOwner::Provider,
            Self::RelayIn
            | Self::Jitter
            | Self::Decode
            | Self::Policy
            | Self::Aggregation
            | Self::Pacing
            | Self::Encode
            | Self::RelayOut
            | Self::Unattributed => HopOwner::Gateway,
        }
    }
}

/// How a duration is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Certainty {
    /// Two timestamps of one clock.
    Measured,
    /// Derived from a round trip, a report or a default.
    Estimated,
}

/// One hop of one turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct HopTime {
    /// Which.
    pub hop: Hop,
    /// How long.
    pub duration: Duration,
    /// How it is known.
    pub certainty: Certainty,
}

/// The waterfall of one turn.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TurnTimeline {
    /// The number of the turn in its session, from 1.
    pub turn: u32,
    /// The hops that took part, in order, each at most once. They sum to [`TurnTimeline::mouth_to_ear`].
    pub hops: Vec<HopTime>,
}

impl TurnTimeline {
    /// From the caller's last word to the caller's ear.
    #[must_use]
    pub fn mouth_to_ear(&self) -> Duration {
        self.hops.iter().map(|hop| hop.duration).sum()
    }
}
