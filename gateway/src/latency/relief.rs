//! What is left out while turns are slow.

use std::sync::Arc;

use voxgate_telemetry::latency::route::Grounds;

use super::LatencyDesk;

/// Work that calls do without.
///
/// The model of the end of turns is none of it: without its verdict a turn ends later, and relief must not slow a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Optional {
    /// The opinion of a guardrail webhook that may stay unasked.
    Opinion,
    /// The voices in a replay log that begins: without them, silence of the same length stands in.
    Voices,
}

impl Optional {
    /// The label of the metric.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Opinion => "opinion",
            Self::Voices => "voices",
        }
    }
}

/// A session's way to ask.
#[derive(Clone, Debug)]
pub(crate) struct Relief {
    latency: Arc<LatencyDesk>,
    /// The session's.
    route: String,
}

impl Relief {
    pub(crate) const fn new(latency: Arc<LatencyDesk>, route: String) -> Self {
        Self { latency, route }
    }

    /// Whether this is to be left out now. Counted if so.
    pub(crate) fn leaves_out(&self, work: Optional) -> bool {
        let is_left_out = self.latency.sheds(&self.route);
        if is_left_out {
            self.latency.shed(&self.route, work);
        }
        is_left_out
    }

    /// Why something is left out at the moment, if anything is.
    pub(crate) fn grounds(&self) -> Option<Grounds> {
        self.latency.grounds_to_shed(&self.route)
    }
}
