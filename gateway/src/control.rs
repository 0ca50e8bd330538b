//! The control protocol between a gateway and the relays in front of it.
//!
//! A relay asks for its allow-list and says which revision it holds; the gateway answers at once when it has another one,
//! and otherwise when one comes or after [`LONG_POLL`]. Nothing on the way of a packet waits for it: a relay goes on
//! with the last list it has, across restarts of its own, for as long as the control plane is away.
//!
//! - [`list`]: the allow-list as it goes over the wire and into the relay's data folder.
//! - [`state`]: what the gateway publishes, and the change of ufrag keys.
//! - [`server`]: the gateway's listener.
//! - [`client`]: the relay's side.

pub(crate) mod client;
pub(crate) mod list;
pub(crate) mod server;
pub(crate) mod state;
#[cfg(test)]
mod tests;

use std::time::Duration;

/// How long the gateway holds a request for a list that does not change. Below the idle time of common proxies (60 s).
pub(crate) const LONG_POLL: Duration = Duration::from_secs(20);

/// The environment variable both sides read the token from unless told otherwise.
pub(crate) const TOKEN_VARIABLE: &str = "VOXGATE_RELAY_TOKEN";
