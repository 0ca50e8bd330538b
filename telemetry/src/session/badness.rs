//! Which session somebody should look at first.

use std::time::Duration;

/// How bad a session is; the worst is the greatest.
///
/// A session that runs is worse than one that is over: nobody can do anything for the latter. Then count the turns among
/// the last ten whose whole broke its budget; then the 95th percentile from mouth to ear; then the packets lost. Sessions
/// that are equally bad are to be put in the order of their names, so that a list does not jump.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Badness {
    /// Whether it runs.
    pub runs: bool,
    /// Of the last ten turns, those that took longer than the whole may.
    pub recent_breaches: u32,
    /// Zero without a turn.
    pub p95: Duration,
    /// Lost packets of a million; zero if that is not known.
    pub loss_ppm: u64,
}
