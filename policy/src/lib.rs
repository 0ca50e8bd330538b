//! Who may call, and where a model name leads.
//!
//! Pure decisions: no clock, no socket, no store. The shell hands in the time and keeps what must survive.
//!
//! - [`key`]: API keys, kept as hashes, compared in constant time.
//! - [`admission`]: how many sessions may run, overall and per key.
//! - [`routing`]: model names to provider targets.

pub mod admission;
pub mod key;
pub mod routing;
