//! What an operator can see: the metric catalogue and its text form.
//!
//! Every metric of voxgate is declared in [`metrics`], for relays in [`relay`] and for every process in [`process`], with its unit and
//! sentence, in base units and without session, user or key ids in labels; [`catalogue`] lists them all. Where the time of a turn
//! went, and whether that was more than it may take, is reckoned in [`latency`]. [`overview`] puts the turns of the last hours
//! beside each other; what happened in one session is kept in [`session`]. [`gen_ai`] counts in the words of OpenTelemetry.

pub mod catalogue;
mod figures;
pub mod gen_ai;
pub mod latency;
pub mod metrics;
pub mod overview;
pub mod process;
pub mod relay;
pub mod session;
pub mod spans;
pub mod standing;
