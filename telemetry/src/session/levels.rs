//! How loud both sides were.

use std::collections::VecDeque;
use std::time::Duration;

use super::view::LevelsView;

/// The time one value stands for.
pub const LEVEL_STEP: Duration = Duration::from_millis(100);

/// [`LEVEL_STEP`] in milliseconds.
const STEP_MS: u64 = 100;

/// Pieces readers can tell apart: an hour, if they come once a second.
const MOST_PIECES: usize = 3_600;

/// Values from the beginning of the session, or of what is left of it.
#[derive(Clone, Debug)]
pub(super) struct Levels {
    /// Of caller and agent.
    values: VecDeque<[u8; 2]>,
    /// The index of the first value that is left.
    first: u64,
    most: usize,
    /// Up to which index there were values at which revision, rising.
    pieces: VecDeque<(u64, u64)>,
}

impl Levels {
    pub(super) const fn new(most: usize) -> Self {
        Self { values: VecDeque::new(), first: 0, most, pieces: VecDeque::new() }
    }

    /// Adds what was heard since `from`. What was not told of is silence; what is known already stays.
    pub(super) fn add(&mut self, seq: u64, from: Duration, caller: &[u8], agent: &[u8]) {
        let mut index = from.as_millis() as u64 / STEP_MS;
        let length = caller.len().max(agent.len()) as u64;
        let Some(last) = index.checked_add(length) else { return };
        // Whatever lies further ahead than all that is kept leaves nothing of what was.
        let kept = last.saturating_sub(self.most as u64);
        if self.end() < kept {
            self.values.clear();
            self.first = kept;
        }
        while self.end() < index {
            self.push([0, 0]);
        }
        let value = |lane: &[u8], at: u64| lane.get(at as usize).map_or(0, |level| (*level).min(100));
        for offset in 0..length {
            if index == self.end() {
                self.push([value(caller, offset), value(agent, offset)]);
            }
            index += 1;
        }
        let end = self.end();
        if self.pieces.back().is_none_or(|(_, told)| *told < end) {
            self.pieces.push_back((seq, end));
        }
        if self.pieces.len() > MOST_PIECES {
            self.pieces.pop_front();
        }
    }

    /// What came after a revision.
    pub(super) fn since(&self, revision: u64) -> LevelsView {
        let seen = self.pieces.partition_point(|(seq, _)| *seq <= revision);
        let told = seen.checked_sub(1).and_then(|index| self.pieces.get(index)).map_or(0, |(_, end)| *end);
        let from = told.max(self.first);
        let skipped = (from - self.first) as usize;
        let lane = |side: usize| self.values.iter().skip(skipped).map(|value| value[side]).collect();
        LevelsView { every_ms: STEP_MS as u32, from_ms: from * STEP_MS, caller: lane(0), agent: lane(1) }
    }

    pub(super) fn len(&self) -> usize {
        self.values.len()
    }

    pub(super) const fn is_truncated(&self) -> bool {
        self.first > 0
    }

    /// The index behind the last value.
    fn end(&self) -> u64 {
        self.first + self.values.len() as u64
    }

    fn push(&mut self, value: [u8; 2]) {
        self.values.push_back(value);
        if self.values.len() > self.most {
            self.values.pop_front();
            self.first += 1;
        }
    }
}
