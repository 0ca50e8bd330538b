//! Where the milliseconds of a turn went.
//!
//! A turn lasts from the caller's last word to the caller's ear. Its hops are those of
//! [`Hop`](voxgate_protocol::timeline::Hop), and with `unattributed` they sum exactly to the whole, whatever the
//! stamps say:
//!
//! - [`clock`]: how far the client's clock is from the gateway's, and how sure that is.
//! - [`capture`]: when the client captured a sample.
//! - [`stamp`]: moments, and the stretches between them that hops claim.
//! - [`joining`]: what a client saw of a turn, put together with what the gateway did.
//! - [`account`]: what each hop took, what of its work ran beside another hop, and what no hop explains.
//! - [`budget`]: what a turn and its hops may take, and who took more.
//! - [`burn`]: how fast the slow turns a route may have are used up.
//! - [`watch`]: both together, and what to do about it.
//! - [`hold`]: what is done is done for a while.
//! - [`route`]: all of that for a route and for each of its targets.
//!
//! Nothing here reads a clock or a socket: moments are durations since the session began.

pub mod account;
mod attribution;
pub mod budget;
pub mod burn;
pub mod capture;
pub mod clock;
mod fit;
pub mod hold;
pub mod joining;
pub mod route;
pub mod stamp;
pub mod watch;

use std::time::Duration;

use thiserror::Error;

/// No turn lasts longer. What claims to is a broken stamp.
pub const LONGEST_TURN: Duration = Duration::from_secs(3_600);

/// Claims one turn may have: each hop of a turn with two tool calls, twice over.
pub const MOST_CLAIMS: usize = 96;

/// Why a turn has no account.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum LatencyError {
    /// The answer was heard before the caller had finished speaking.
    #[error("the answer was heard before the caller had finished")]
    HeardTooSoon,
    /// The whole or one hop is longer than [`LONGEST_TURN`].
    #[error("a turn of more than an hour is a broken stamp")]
    TooLong,
    /// More claims than [`MOST_CLAIMS`].
    #[error("more than {MOST_CLAIMS} claims in one turn")]
    TooManyClaims,
}

#[cfg(test)]
mod tests;
