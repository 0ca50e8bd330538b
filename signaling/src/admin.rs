//! The administration over HTTP.
//!
//! - [`reach`]: how much of the tree somebody administers.
//! - [`approvals`]: tool calls that wait for a person.

pub mod approvals;
pub mod reach;
