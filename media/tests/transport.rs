//! The transport against a second WebRTC engine, in virtual time and without a socket.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

#[path = "transport/agent.rs"]
mod agent;
#[path = "transport/call.rs"]
mod call;
#[path = "transport/caller.rs"]
mod caller;
#[path = "transport/connection.rs"]
mod connection;
#[path = "transport/draining.rs"]
mod draining;
#[path = "transport/hostile.rs"]
mod hostile;
#[path = "transport/moving.rs"]
mod moving;
#[path = "transport/offers.rs"]
mod offers;
#[path = "transport/relays.rs"]
mod relays;
#[path = "transport/restart.rs"]
mod restart;
