//! What a fault says about the target it comes from, and what may be done about it.

use voxgate_protocol::bridge::{Fault, FaultOwner};

/// What is wrong with a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// It cannot be reached, or takes too long to begin.
    Unreachable,
    /// It refuses the gateway: the key, the model, the money. That does not mend by itself soon.
    Refused,
    /// It has too much to do.
    Busy,
    /// A connection in use broke, or the provider failed on it.
    Broken,
    /// An answer was owed and nothing came.
    Silent,
}

impl Trouble {
    /// Every kind.
    pub const ALL: [Self; 5] = [Self::Unreachable, Self::Refused, Self::Busy, Self::Broken, Self::Silent];

    /// The label of metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unreachable => "unreachable",
            Self::Refused => "refused",
            Self::Busy => "busy",
            Self::Broken => "broken",
            Self::Silent => "silent",
        }
    }

    /// What a fault says about the target. `None`: nothing, because the client is at fault, or because the connection has
    /// merely reached the age at which this provider ends every one.
    #[must_use]
    pub fn of(fault: &Fault) -> Option<Self> {
        if fault.owner == FaultOwner::Client || is_old_age(fault) {
            return None;
        }
        Some(match fault.code.as_str() {
            "rate_limit_exceeded" => Self::Busy,
            "provider_stalled" => Self::Silent,
            "provider_disconnected" | "provider_closed" | "provider_congested" => Self::Broken,
            _ if !fault.may_retry => Self::Refused,
            _ => Self::Unreachable,
        })
    }

    /// Whether one is enough: the next session would meet the same.
    pub(super) const fn is_certain(self) -> bool {
        matches!(self, Self::Refused | Self::Busy)
    }

    /// Whether only an answer proves the opposite. A provider that takes every connection and answers on none is not well.
    pub(super) const fn is_of_answers(self) -> bool {
        matches!(self, Self::Broken | Self::Silent)
    }
}

/// What to do about a fault that ends a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Remedy {
    /// Tell the client; no connection anywhere mends it.
    Tell,
    /// Ask the same target again.
    Retry,
    /// Ask another target.
    Switch,
}

impl Remedy {
    /// The remedy for a fault, if `has_other` target could serve or not.
    #[must_use]
    pub fn of(fault: &Fault, has_other: bool) -> Self {
        if is_old_age(fault) {
            return Self::Retry;
        }
        if fault.may_switch && has_other {
            return Self::Switch;
        }
        if fault.may_retry && fault.owner == FaultOwner::Provider { Self::Retry } else { Self::Tell }
    }
}

fn is_old_age(fault: &Fault) -> bool {
    fault.code == "session_expired"
}
