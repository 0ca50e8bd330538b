//! What an operator can see: the metric catalogue and its text form.
//!
//! Every metric of voxgate is declared in [`metrics`] or, for relays, in [`relay`], with its unit and sentence, in base units and without
//! session, user or key ids in labels. Where the time of a turn went, and whether that was more than it may take, is
//! reckoned in [`latency`]. [`overview`] puts the turns of the last hours beside each other; what happened in one session
//! is kept in [`session`].

pub mod latency;
pub mod metrics;
pub mod overview;
pub mod relay;
pub mod session;
pub mod spans;
pub mod standing;
