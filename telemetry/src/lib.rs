//! What an operator can see: the metric catalogue and its text form.
//!
//! Every metric of voxgate is declared in [`metrics`] or, for relays, in [`relay`], with its unit and sentence, in base units and without
//! session, user or key ids in labels.

pub mod metrics;
pub mod relay;
