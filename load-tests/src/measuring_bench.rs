//! What it costs to measure a call: two gateways in one run, one with `telemetry.measuring`, one without.
//!
//! Both carry the same calls ([`caller`]) and are watched from outside ([`meter`]), round by round ([`round`]); what counts
//! is the difference within a round ([`difference`]). `measuring_bench/method.md` says what is in it and what is not, and
//! goes into every record ([`record`]).

pub mod caller;
pub mod difference;
pub mod meter;
pub mod record;
pub mod round;
