//! The transport against a second WebRTC engine, in virtual time and without a socket.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

#[path = "transport/call.rs"]
mod call;
#[path = "transport/caller.rs"]
mod caller;
#[path = "transport/connection.rs"]
mod connection;
#[path = "transport/hostile.rs"]
mod hostile;
#[path = "transport/offers.rs"]
mod offers;
