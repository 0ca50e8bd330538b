//! What was seen of a turn: moments, before anybody reckons where its time went.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::timeline::{Certainty, Hop};

/// A moment of a turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Moment {
    /// Since the trace's zero, which lies before everything in it.
    pub at: Duration,
    /// Whether a clock was read, or the moment was derived from a round trip, a report or a default.
    pub certainty: Certainty,
    /// It is wrong by at most this much; zero if that is not known.
    pub error: Duration,
}

impl Moment {
    /// Read from the gateway's clock.
    #[must_use]
    pub const fn read(at: Duration) -> Self {
        Self { at, certainty: Certainty::Measured, error: Duration::ZERO }
    }

    /// Derived.
    #[must_use]
    pub const fn derived(at: Duration, error: Duration) -> Self {
        Self { at, certainty: Certainty::Estimated, error }
    }
}

/// A hop was at work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Work {
    /// Which.
    pub hop: Hop,
    /// Since when; before [`TurnTrace::mouth`] if it began while the caller spoke.
    pub from: Moment,
    /// Until when.
    pub to: Moment,
}

/// What was seen of one turn. Time that no work covers is nobody's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TurnTrace {
    /// The number of the turn in its session, from 1.
    pub turn: u32,
    /// The caller's last word.
    pub mouth: Moment,
    /// The caller hears the answer.
    pub ear: Moment,
    /// Who was at work in between, in the order it was seen.
    pub works: Vec<Work>,
    /// Hops that took part without anybody knowing for how long: what the way of a client that never answered took.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub unseen: Vec<Hop>,
    /// The gateway had the packet with the last word.
    pub arrived: Duration,
    /// The packet with the first sound of the answer was handed to the network.
    pub sent: Duration,
    /// The last word, as the client's own samples are counted. `None` where no packet of it came.
    pub spoken: Option<AudioMark>,
    /// The first sound, as the answer's samples are counted. `None` if the answer made none.
    pub heard: Option<AudioMark>,
}

/// A sample, and the packet that had to be there for it, by their RTP timestamps. Both ends of a call count the samples of
/// a stream alike, so a client can tell when it captured or played one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AudioMark {
    /// The first sample of the packet.
    pub packet: u32,
    /// The sample. Opus puts it out later than it took it in, so it may lie in the packet before or behind.
    pub sample: u32,
}

/// What a client saw of a turn, each moment since the zero of its own clock; `None` for what it does not know.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ClientMoments {
    /// The last word reached the microphone.
    pub spoken: Option<Duration>,
    /// The packet that brought it left.
    pub sent: Option<Duration>,
    /// The packet with the first sound came in.
    pub received: Option<Duration>,
    /// The first sound came out.
    pub heard: Option<Duration>,
    /// How wrong `spoken` may be.
    pub spoken_error: Duration,
    /// How wrong `heard` may be.
    pub heard_error: Duration,
}

impl TurnTrace {
    /// A trace whose packets came and went at its ends, without samples the client could know.
    #[must_use]
    pub const fn new(turn: u32, mouth: Moment, ear: Moment, works: Vec<Work>) -> Self {
        let (arrived, sent) = (mouth.at, ear.at);
        Self { turn, mouth, ear, works, unseen: Vec::new(), arrived, sent, spoken: None, heard: None }
    }

    /// From the caller's last word to the caller's ear.
    #[must_use]
    pub const fn mouth_to_ear(&self) -> Duration {
        self.ear.at.saturating_sub(self.mouth.at)
    }
}
