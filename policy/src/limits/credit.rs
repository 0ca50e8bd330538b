//! A session's share of a rate, taken ahead in small amounts, so that the session never waits for whoever counts.

/// What to ask whoever counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ask {
    /// Used already; to be noted whether there is room or not.
    pub used: u64,
    /// Wanted for later; zero asks only whether there is room for any.
    pub wanted: u64,
}

/// What whoever counts said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// What was wanted may be used.
    Granted,
    /// There is no room before this time.
    Refused {
        /// In the microseconds of the question.
        until_us: u64,
    },
}

/// There is no room, as far as is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exhausted {
    /// When to try again, in the microseconds of the question.
    pub until_us: u64,
}

/// One session's credit with one rate.
///
/// While a question is on its way the session goes on at its own debt: it uses at most what it needs between a question and its
/// answer too much, and the debt is noted with the next question.
#[derive(Clone, Debug)]
pub struct Credit {
    batch: u64,
    have: i64,
    /// What the question on its way asks for.
    asked: Option<Ask>,
    /// Whether anything happened since the last question.
    is_stale: bool,
    refused_until_us: Option<u64>,
}

impl Credit {
    /// Nothing is taken yet. `batch` is taken ahead at once; zero for what is only known afterwards.
    #[must_use]
    pub const fn new(batch: u64) -> Self {
        Self { batch, have: 0, asked: None, is_stale: true, refused_until_us: None }
    }

    /// Uses so much.
    ///
    /// # Errors
    /// [`Exhausted`] if it is not there and was refused; then nothing is used.
    pub fn use_up(&mut self, now_us: u64, amount: u64) -> Result<(), Exhausted> {
        let amount = i64::try_from(amount).unwrap_or(i64::MAX);
        if self.have < amount
            && let Some(until_us) = self.refused_until_us.filter(|until_us| *until_us > now_us)
        {
            return Err(Exhausted { until_us });
        }
        self.have = self.have.saturating_sub(amount);
        self.is_stale = true;
        Ok(())
    }

    /// Whether there is room for any, as far as is known.
    ///
    /// # Errors
    /// [`Exhausted`] if there is none.
    pub fn has_room(&mut self, now_us: u64) -> Result<(), Exhausted> {
        self.is_stale = true;
        match self.refused_until_us.filter(|until_us| *until_us > now_us && self.have <= 0) {
            Some(until_us) => Err(Exhausted { until_us }),
            None => Ok(()),
        }
    }

    /// Notes what was used, room or not.
    pub fn note(&mut self, amount: u64) {
        self.have = self.have.saturating_sub(i64::try_from(amount).unwrap_or(i64::MAX));
        self.is_stale = true;
    }

    /// What to ask before so much is used, where the answer comes at once.
    pub fn need(&mut self, amount: u64) -> Option<Ask> {
        let amount = i64::try_from(amount).unwrap_or(i64::MAX);
        if self.asked.is_some() || (amount > 0 && self.have >= amount) {
            return None;
        }
        let missing = amount.saturating_sub(self.have.max(0)).unsigned_abs();
        Some(self.ask(missing.max(self.batch)))
    }

    /// What to ask now, where the answer takes its time.
    pub fn poll_ask(&mut self, now_us: u64) -> Option<Ask> {
        let is_refused = self.refused_until_us.is_some_and(|until_us| until_us > now_us);
        let has_enough = self.batch > 0 && self.have >= self.batch.div_ceil(2) as i64;
        let is_wanted = !is_refused && !has_enough && (self.is_stale || self.refused_until_us.is_some());
        (self.asked.is_none() && (self.have < 0 || is_wanted)).then(|| self.ask(self.batch))
    }

    fn ask(&mut self, wanted: u64) -> Ask {
        let ask = Ask { used: self.have.min(0).unsigned_abs(), wanted };
        self.asked = Some(ask);
        self.is_stale = false;
        ask
    }

    /// The answer to the question on its way.
    pub fn answered(&mut self, answer: Answer) {
        let Some(ask) = self.asked.take() else { return };
        self.have = self.have.saturating_add_unsigned(ask.used);
        match answer {
            Answer::Granted => {
                self.have = self.have.saturating_add_unsigned(ask.wanted);
                self.refused_until_us = None;
            }
            Answer::Refused { until_us } => self.refused_until_us = Some(until_us),
        }
    }

    /// When [`Credit::poll_ask`] has something to ask again.
    #[must_use]
    pub fn poll_timeout_us(&self) -> Option<u64> {
        self.refused_until_us.filter(|_| self.asked.is_none())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_taken_ahead_is_used_without_asking_and_refilled_before_it_is_gone() {
        let mut credit = Credit::new(10);
        assert_eq!(credit.poll_ask(0), Some(Ask { used: 0, wanted: 10 }));
        assert_eq!(credit.poll_ask(0), None, "one question at a time");
        credit.answered(Answer::Granted);
        assert_eq!(credit.use_up(1, 5), Ok(()));
        assert_eq!(credit.poll_ask(1), None);
        assert_eq!(credit.use_up(2, 1), Ok(()));
        assert_eq!(credit.poll_ask(2), Some(Ask { used: 0, wanted: 10 }));
    }

    #[test]
    fn while_nobody_answers_the_session_goes_on_at_its_own_debt_which_is_noted() {
        let mut credit = Credit::new(1);
        assert_eq!(credit.poll_ask(0), Some(Ask { used: 0, wanted: 1 }));
        for _ in 0..3 {
            assert_eq!(credit.use_up(1, 1), Ok(()));
        }
        credit.answered(Answer::Granted);
        assert_eq!(credit.poll_ask(2), Some(Ask { used: 2, wanted: 1 }));
        credit.answered(Answer::Refused { until_us: 50 });
        assert_eq!(credit.use_up(49, 1), Err(Exhausted { until_us: 50 }));
        assert_eq!(credit.poll_ask(49), None, "the debt is paid");
    }

    #[test]
    fn what_was_refused_is_asked_for_again_when_there_is_room() {
        let mut credit = Credit::new(1);
        credit.poll_ask(0);
        credit.answered(Answer::Refused { until_us: 50 });
        assert_eq!(credit.use_up(49, 1), Err(Exhausted { until_us: 50 }));
        assert_eq!((credit.poll_ask(49), credit.poll_timeout_us()), (None, Some(50)));
        assert_eq!(credit.poll_ask(50), Some(Ask { used: 0, wanted: 1 }));
        assert_eq!(credit.poll_timeout_us(), None, "an answer is on its way");
        credit.answered(Answer::Granted);
        assert_eq!(credit.use_up(51, 1), Ok(()));
    }

    #[test]
    fn what_is_left_may_be_used_although_more_was_refused() {
        let mut credit = Credit::new(4);
        credit.poll_ask(0);
        credit.answered(Answer::Granted);
        credit.use_up(1, 3).unwrap();
        assert_eq!(credit.poll_ask(1), Some(Ask { used: 0, wanted: 4 }));
        credit.answered(Answer::Refused { until_us: 50 });
        assert_eq!(credit.use_up(2, 1), Ok(()));
        assert_eq!(credit.use_up(3, 1), Err(Exhausted { until_us: 50 }));
    }

    #[test]
    fn what_is_only_known_afterwards_is_noted_and_closes_the_door_behind_it() {
        let mut credit = Credit::new(0);
        assert_eq!(credit.poll_ask(0), Some(Ask { used: 0, wanted: 0 }));
        credit.answered(Answer::Granted);
        assert_eq!(credit.poll_ask(1), None, "nothing has happened since");
        credit.note(700);
        assert_eq!(credit.poll_ask(2), Some(Ask { used: 700, wanted: 0 }));
        credit.answered(Answer::Refused { until_us: 90 });
        assert_eq!(credit.has_room(3), Err(Exhausted { until_us: 90 }));
        assert_eq!(credit.has_room(90), Ok(()));
    }

    #[test]
    fn an_answer_that_comes_at_once_makes_the_limit_exact() {
        let mut credit = Credit::new(0);
        assert_eq!(credit.need(1), Some(Ask { used: 0, wanted: 1 }));
        credit.answered(Answer::Granted);
        assert_eq!(credit.use_up(0, 1), Ok(()));
        assert_eq!(credit.need(1), Some(Ask { used: 0, wanted: 1 }));
        credit.answered(Answer::Refused { until_us: 9 });
        assert_eq!(credit.use_up(1, 1), Err(Exhausted { until_us: 9 }));
    }
}
