//! Calls against a stand-in gateway on loopback.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod call;
mod gateway;
mod run;
