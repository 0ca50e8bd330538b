//! What sessions cost, who pays, and when a call has to stop because of it.
//!
//! Whole nano-dollars throughout. Everything is driven from outside: times are the wall clock since the Unix epoch and
//! come in as arguments, entries for the ledger and draws on budgets go out.
//!
//! - [`day`]: days and budget windows of UTC.
//! - [`price`]: what a model costs, and the dated book of such prices.
//! - [`invoice`]: a provider's invoice beside the ledger.
//! - [`ledger`]: entries that are only ever added, and their totals.
//! - [`outbox`]: entries on their way to a store, exactly once in effect.
//! - [`meter`]: one session's usage, from the wire and from its provider, made into entries.
//! - [`budget`]: limits of organisations, teams, keys and agents, and the leases drawn on them.
//! - [`spending`]: a meter and its lease together: warn, no new answer, cancel, close.

pub mod budget;
pub mod day;
pub mod invoice;
pub mod ledger;
pub mod meter;
pub mod outbox;
pub mod price;
pub mod spending;

#[cfg(test)]
mod tests;
