//! Sequence numbers of a tunnel and the window that refuses repeated ones.

use std::time::Duration;

/// How many sequence numbers behind the newest are still told apart.
const WINDOW: u64 = 1024;
const WORD: u64 = 64;

/// Remembers which sequence numbers of one sender have arrived (the sliding window of RFC 6479).
///
/// Accepts every number once: new ones always, older ones within the last 960 and only the first time.
#[derive(Clone, Debug)]
pub struct ReplayWindow {
    newest: Option<u64>,
    seen: [u64; (WINDOW / WORD) as usize],
}

impl Default for ReplayWindow {
    fn default() -> Self {
        Self::new()
    }
}

impl ReplayWindow {
    /// A window that has seen nothing.
    #[must_use]
    pub const fn new() -> Self {
        Self { newest: None, seen: [0; (WINDOW / WORD) as usize] }
    }

    /// Records a number. `false`, and no change, when it was seen before or is too old to know.
    pub fn accept(&mut self, sequence: u64) -> bool {
        let block = sequence / WORD;
        match self.newest {
            Some(newest) if sequence > newest => self.forget_between(newest / WORD, block),
            Some(newest) if newest / WORD - block >= WINDOW / WORD => return false,
            Some(_) => {}
            None => self.seen = [0; (WINDOW / WORD) as usize],
        }
        self.newest = self.newest.max(Some(sequence));
        let bit = 1 << (sequence % WORD);
        let word = &mut self.seen[slot(block)];
        let fresh = *word & bit == 0;
        *word |= bit;
        fresh
    }

    fn forget_between(&mut self, old_block: u64, new_block: u64) {
        for step in 1..=(new_block - old_block).min(WINDOW / WORD) {
            self.seen[slot(old_block.wrapping_add(step))] = 0;
        }
        if new_block - old_block > WINDOW / WORD {
            self.seen = [0; (WINDOW / WORD) as usize];
        }
    }
}

const fn slot(block: u64) -> usize {
    (block % (WINDOW / WORD)) as usize
}

/// Counts the frames of one sender.
///
/// It starts at the sender's boot time in nanoseconds since the Unix epoch, so a restarted sender is ahead of everything
/// it sent before without having stored anything, as long as its clock does not run backwards across the restart.
#[derive(Clone, Debug)]
pub struct Sequence(u64);

impl Sequence {
    /// A sequence for a sender that started at this time since the Unix epoch.
    #[must_use]
    pub fn starting_at(since_unix_epoch: Duration) -> Self {
        Self(u64::try_from(since_unix_epoch.as_nanos()).unwrap_or(u64::MAX / 2))
    }

    /// The next number.
    pub const fn advance(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(1);
        self.0
    }
}
