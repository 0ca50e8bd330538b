//! The turns of the last hours, side by side.
//!
//! Averages hide what callers feel, and buckets chosen beforehand cannot be asked anything new. So the turns themselves are
//! kept, at most [`MOST_TURNS`] of the last [`LONGEST_AGE`], and every figure is reckoned from them when somebody
//! asks: it is exact, and it is of those turns only that whoever asks may see.
//!
//! - [`turn`]: what is kept of a turn.
//! - [`distribution`]: quantiles and histogram of durations.
//! - [`question`]: what can be asked.
//! - [`report`]: the answer: groups beside each other, a heat map, and who spent the time of slow turns.
//!
//! Nothing here reads a clock. A moment is a time since 1970, or since anything else that is the same for all.

pub mod distribution;
mod kept;
pub mod question;
pub mod report;
pub mod turn;

use std::collections::VecDeque;
use std::time::Duration;

use voxgate_protocol::money::NanoDollars;

use self::kept::{Origins, Row};
use self::question::Question;
use self::report::Report;
use self::turn::{HeardTurn, TurnOrigin};

/// Most turns that are kept, about 4 MB: six hours of a turn a second.
pub const MOST_TURNS: usize = 20_000;

/// No turn is kept for longer. It is the longest window that can be asked for.
pub const LONGEST_AGE: Duration = Duration::from_secs(6 * 3_600);

/// The turns that are kept.
#[derive(Clone, Debug)]
pub struct Overview {
    rows: VecDeque<Row>,
    /// Turns that were kept before the oldest of them.
    gone: u64,
    origins: Origins,
    /// The end of the last turn that was counted. Time that runs backwards stands still.
    newest: Duration,
    /// The end of the last turn that had to go although it was not too old.
    lost: Option<Duration>,
    most: usize,
}

impl Default for Overview {
    fn default() -> Self {
        Self::of_at_most(MOST_TURNS)
    }
}

impl Overview {
    /// One that keeps at most so many turns.
    #[must_use]
    pub fn of_at_most(most: usize) -> Self {
        Self {
            rows: VecDeque::new(),
            gone: 0,
            origins: Origins::default(),
            newest: Duration::ZERO,
            lost: None,
            most: most.max(1),
        }
    }

    /// Keeps a turn; the oldest goes if there are too many, and with it all that is too old.
    pub fn turn(&mut self, turn: &HeardTurn) {
        self.newest = self.newest.max(turn.at);
        let origin = self.origins.enter(&turn.origin);
        self.rows.push_back(Row::of(turn, self.newest, origin));
        let oldest = self.newest.saturating_sub(LONGEST_AGE);
        while let Some(row) = self.rows.front() {
            let is_old = row.at < oldest;
            if !is_old && self.rows.len() <= self.most {
                break;
            }
            if !is_old {
                self.lost = Some(row.at);
            }
            self.origins.leave(row.origin);
            self.rows.pop_front();
            self.gone += 1;
        }
    }

    /// What the turn with this number cost, counted from 0 over all that were ever told. Nothing happens if it is gone.
    pub fn cost(&mut self, number: u64, cost: NanoDollars) {
        let place = number.checked_sub(self.gone).and_then(|place| usize::try_from(place).ok());
        if let Some(row) = place.and_then(|place| self.rows.get_mut(place)) {
            row.cost = Some(cost);
        }
    }

    /// Answers from those turns whose origin is seen. It asks `is_seen` once for each origin.
    ///
    /// It sorts the durations of every hop, a few tens of milliseconds with [`MOST_TURNS`].
    #[must_use]
    pub fn report(&self, question: &Question, is_seen: impl FnMut(&TurnOrigin) -> bool) -> Report {
        report::report(self, question, is_seen)
    }

    /// How many turns are kept.
    #[must_use]
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether none is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }
}

#[cfg(test)]
mod tests;
