//! Who may call, where a model name leads, and what it may cost.
//!
//! Pure decisions: no clock, no socket, no store. The shell hands in the time and keeps what must survive.
//!
//! - [`key`]: API keys, kept as hashes, compared in constant time.
//! - [`admission`]: how many sessions may run, overall and per key.
//! - [`money`]: prices, meters, the ledger, budgets and leases.
//! - [`routing`]: model names to provider targets.

pub mod admission;
pub mod key;
pub mod money;
pub mod routing;
