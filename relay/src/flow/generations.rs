//! How lanes notice that a flow they remember has changed.

use std::fmt;
use std::sync::atomic::{AtomicU32, Ordering};

/// Counters, of which each address has one by its hash. Two addresses that share one are both forgotten when either
/// changes, which costs a look into the table and nothing else.
const COUNTERS: usize = 65_536;

/// A counter for each address, advanced under the table's lock whenever its flow appears, moves or ends. What was read
/// from the table together with the counter holds as long as the counter stands.
pub(crate) struct Generations(Box<[AtomicU32]>);

impl Generations {
    pub(super) fn new() -> Self {
        Self((0..COUNTERS).map(|_| AtomicU32::new(0)).collect())
    }

    /// The present generation of the addresses with this hash.
    pub(crate) fn of(&self, hash: u64) -> u32 {
        self.counter(hash).load(Ordering::Acquire)
    }

    pub(super) fn advance(&self, hash: u64) {
        self.counter(hash).fetch_add(1, Ordering::Release);
    }

    fn counter(&self, hash: u64) -> &AtomicU32 {
        // The low bits place an address in a lane's memory; the high ones are independent of them.
        &self.0[(hash >> 48) as usize % COUNTERS]
    }
}

impl fmt::Debug for Generations {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("Generations").field(&self.0.len()).finish()
    }
}
