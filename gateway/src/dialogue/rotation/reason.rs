//! Why a conversation moves to another connection, read from how the one it has ended.

use voxgate_policy::routing::Remedy;
use voxgate_protocol::bridge::{BridgeEvent, Fault, FaultOwner};

/// Why a conversation moves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reason {
    /// The connection reached the configured age.
    Age,
    /// The provider ended the session at its limit.
    Expired,
    /// The provider closed the connection in order.
    Closed,
    /// The connection broke.
    Lost,
    /// The provider said nothing for longer than it may.
    Stalled,
    /// An answer was owed, nothing of it came, and another target could give one.
    Silent,
    /// The first connection did not come about, and another target could make one.
    Setup,
    /// The provider refused what another target may grant.
    Refused,
    /// A better target is well again.
    Better,
    /// The turns of the target were too slow for too long, and another one is not.
    Slow,
}

impl Reason {
    /// The label of the metric.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Age => "age",
            Self::Expired => "expired",
            Self::Closed => "closed",
            Self::Lost => "lost",
            Self::Stalled => "stalled",
            Self::Silent => "silent",
            Self::Setup => "setup",
            Self::Refused => "refused",
            Self::Better => "better",
            Self::Slow => "slow",
        }
    }

    /// Whether the end of a connection is one that a new connection mends. A provider that refuses would do the same
    /// again; another one may not.
    pub(super) fn of(event: &BridgeEvent, has_other: bool) -> Option<Self> {
        match event {
            BridgeEvent::Closed { .. } => Some(Self::Closed),
            BridgeEvent::Fault(fault) if fault.is_final => Self::of_fault(fault).or_else(|| {
                let helps = Remedy::of(fault, has_other) == Remedy::Switch;
                helps.then_some(Self::Refused)
            }),
            _ => None,
        }
    }

    fn of_fault(fault: &Fault) -> Option<Self> {
        if fault.owner != FaultOwner::Provider {
            return None;
        }
        match fault.code.as_str() {
            "session_expired" => Some(Self::Expired),
            "provider_closed" => Some(Self::Closed),
            "provider_disconnected" => Some(Self::Lost),
            "provider_stalled" | "provider_unreachable" => Some(Self::Stalled),
            _ => None,
        }
    }
}
