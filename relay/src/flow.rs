//! Which client address belongs to which session, and how sure that is.
//!
//! A binding request with a valid ufrag opens a *half-open* entry for its address and session. It only accounts for
//! bytes: before the node has confirmed the address, no more bytes leave towards it than came from it. Once the node has
//! verified a request's MESSAGE-INTEGRITY and says so, the address has an *assured* flow, and everything else from it goes
//! to that node. Nobody but a node can create or move an assured flow, and another node can take over a flow only when
//! its owner has been silent for a while: somebody with a valid session of their own who forges a caller's source address
//! gets nothing.
//!
//! One [`FlowTable`] serves all lanes of a relay. A lane remembers what it read and comes back when the address's
//! generation has advanced, or once per [`ACTIVITY_REPORT`] to say that the flow lives.

use std::time::Duration;

use thiserror::Error;
use voxgate_protocol::id::NodeIndex;

mod chain;
mod generations;
mod key;
#[cfg(test)]
mod model_tests;
mod rate;
mod snapshot;
mod table;
#[cfg(test)]
mod tests;

pub(crate) use generations::Generations;
pub(crate) use key::{Key, Keyed};
pub use snapshot::SnapshotError;
pub use table::FlowTable;
pub(crate) use table::MOST_EXPIRED;

/// How often a lane tells the table that a flow lives. Ages of flows are known to this precision.
pub const ACTIVITY_REPORT: Duration = Duration::from_secs(1);

/// A session as the tunnel names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionTag {
    /// The node that holds it.
    pub node: NodeIndex,
    /// `Route::random` of its ufrag.
    pub session: u32,
}

/// How many flows a relay keeps, and for how long.
///
/// Hosts are counted by IPv4 address or by the first 64 bits of an IPv6 address. One such host may be a carrier's or an
/// office's NAT with many callers behind it, so what one host may do is generous.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlowLimits {
    /// Half-open entries per session; one more replaces the oldest. 8: a browser checks from few addresses.
    pub half_open_per_session: usize,
    /// Half-open entries per host; one more replaces the oldest. 64: entries last from the first check to its
    /// confirmation, so these are calls that start within a fraction of a second.
    pub half_open_per_host: usize,
    /// Binding requests per second and host from addresses that are not assured for their node; more are dropped. 1000:
    /// an ICE agent checks 20 times a second, so fifty calls may start at the same time and go on doing so.
    pub requests_per_host: u32,
    /// Such requests a host may send at once after a pause. 2000: two seconds' worth.
    pub requests_burst: u32,
    /// Assured flows per session; one more replaces the one silent for longest, or the youngest when none is silent.
    pub assured_per_session: usize,
    /// Half-open entries altogether; above it requests from new addresses are dropped. 57,344 fill a hash table.
    pub half_open: usize,
    /// Assured flows altogether; above it confirmations of new addresses are refused. 114,688 fill a hash table, whose
    /// memory is reserved from the start.
    pub assured: usize,
    /// How long a half-open entry lives.
    pub half_open_age: Duration,
    /// How long an assured flow lives without a datagram in either direction.
    pub assured_idle: Duration,
    /// How long a flow's node must have been silent about it before another node may take it over. Longer than the
    /// interval at which a live call's node answers checks (2.5 s in libwebrtc) and [`ACTIVITY_REPORT`] together.
    pub takeover_quiet: Duration,
}

impl Default for FlowLimits {
    fn default() -> Self {
        Self {
            half_open_per_session: 8,
            half_open_per_host: 64,
            requests_per_host: 1000,
            requests_burst: 2000,
            assured_per_session: 4,
            half_open: 57_344,
            assured: 114_688,
            half_open_age: Duration::from_secs(5),
            assured_idle: Duration::from_secs(30),
            takeover_quiet: Duration::from_secs(6),
        }
    }
}

/// Why the table did not admit something.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum FlowRefusal {
    /// The table holds as many entries as it may.
    #[error("the flow table is full")]
    Full,
    /// The host sends more requests than it may.
    #[error("too many requests of one host")]
    Rate,
    /// Another node's live flow has this address.
    #[error("the address belongs to a live flow of another node")]
    Owned,
    /// More bytes would leave towards an unconfirmed address than came from it.
    #[error("the address is not confirmed and has no budget left")]
    Budget,
}

/// How a binding request was admitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// Its address has an assured flow to the node or a half-open entry of the session.
    Known,
    /// It made a half-open entry.
    Opened,
    /// It made a half-open entry in place of the session's oldest.
    ReplacedOfSession,
    /// It made a half-open entry in place of the host's oldest.
    ReplacedOfHost,
}

/// What a confirmation changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Confirmation {
    /// The address had no flow.
    Created,
    /// The flow now belongs to another node or session.
    Moved,
    /// Nothing new.
    Kept,
}

/// How many entries reached the end of their life.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Expired {
    /// Half-open entries.
    pub half_open: u64,
    /// Assured flows.
    pub assured: u64,
}

/// How many entries there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FlowCounts {
    /// Half-open entries.
    pub half_open: usize,
    /// Assured flows.
    pub assured: usize,
}
