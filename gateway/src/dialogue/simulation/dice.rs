//! Chance that a seed decides.

use std::time::Duration;

use voxgate_protocol::id::IdSource;

pub(super) struct Dice(IdSource);

impl Dice {
    pub(super) fn new(seed: u64) -> Self {
        Self(IdSource::new(seed))
    }

    pub(super) fn seed(&mut self) -> u64 {
        self.0.next_seed()
    }

    /// From zero to one less than `end`.
    pub(super) fn below(&mut self, end: u64) -> u64 {
        self.0.next_seed() % end
    }

    pub(super) fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.below(high - low + 1)
    }

    pub(super) fn millis(&mut self, low: u64, high: u64) -> Duration {
        Duration::from_millis(self.between(low, high))
    }

    pub(super) fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    pub(super) fn pick<'a, T>(&mut self, choices: &'a [T]) -> Option<&'a T> {
        if choices.is_empty() { None } else { choices.get(self.below(choices.len() as u64) as usize) }
    }
}
