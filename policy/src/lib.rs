//! Who may call, where a model name leads, and what it may cost.
//!
//! Pure decisions: no clock, no socket, no store. The shell hands in the time and keeps what must survive.
//!
//! - [`agent`]: which tools each agent has.
//! - [`key`]: API keys, kept as hashes, compared in constant time.
//! - [`approval`]: a held act and the person who decides about it.
//! - [`bundle`]: a configuration as one thing, its hash, and what differs between two of them.
//! - [`decision`]: allow, deny or ask a person, by Cedar policies.
//! - [`directory`]: whose keys they are, what they are for, until when.
//! - [`failure`]: how many wrong credentials are answered.
//! - [`admission`]: how many sessions may run, overall and per key.
//! - [`guardrail`]: what may be said.
//! - [`audit`]: the audit log as a chain of hashes.
//! - [`limits`]: sessions at once, and how much of something in a stretch of time.
//! - [`money`]: prices, meters, the ledger, budgets and leases.
//! - [`permission`]: the gate between a model and the tools of a session.
//! - [`token`]: tokens of identity providers.
//! - [`tool`]: which tools an agent may call, with what.
//! - [`routing`]: model names to provider targets.

pub mod admission;
pub mod agent;
pub mod approval;
pub mod audit;
pub mod bundle;
pub mod decision;
pub mod directory;
pub mod failure;
pub mod guardrail;
pub mod key;
pub mod limits;
pub mod money;
pub mod permission;
pub mod routing;
pub mod token;
pub mod tool;
