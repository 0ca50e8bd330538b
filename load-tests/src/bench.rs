//! The benchmark of the gateway's own time.
//!
//! A release build of the gateway runs between callers ([`caller`]) and a simulated provider ([`provider`]).
//! The benchmark reads the gateway's own histograms ([`histogram`]), and checks them from outside with stamps
//! on both wires ([`wire`], [`log`]). `bench/method.md` says what each figure means and goes into every
//! record ([`record`]).

use std::path::PathBuf;
use std::time::Duration;

pub mod caller;
pub mod figures;
pub mod gateway;
pub mod histogram;
pub mod log;
pub mod machine;
pub mod provider;
pub mod record;
pub mod round;
pub mod speech;
pub mod summary;
pub mod wire;

/// What to run.
#[derive(Clone, Debug)]
pub struct Options {
    /// The gateway's binary.
    pub gateway: PathBuf,
    /// How much of everything.
    pub plan: Plan,
}

/// How much of everything is measured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Calls that are set up one after the other.
    pub set_ups: usize,
    /// Numbers of sessions.
    pub sizes: Vec<usize>,
    /// Rounds of each number of sessions.
    pub rounds: usize,
    /// Length of a round.
    pub round_length: Duration,
}

impl Plan {
    /// For the record: about four minutes.
    #[must_use]
    pub fn full() -> Self {
        Self { set_ups: 20, sizes: vec![1, 20], rounds: 3, round_length: Duration::from_secs(32) }
    }

    /// For a person in a hurry: half a minute, with a rough p99.
    #[must_use]
    pub fn quick() -> Self {
        Self { set_ups: 5, sizes: vec![1, 20], rounds: 1, round_length: Duration::from_secs(6) }
    }
}
