//! Keeps what is done about slow turns for a while, so that it does not come and go with every other turn.

use std::time::Duration;

use super::watch::{Action, Advice};

/// How long something is done at least.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HoldRule {
    /// The first time. Default 5 min: the shortest window in which a slow target shows.
    pub shortest: Duration,
    /// What it becomes, doubling each time it is needed again within as long after its end. Default 1 h.
    pub longest: Duration,
}

impl Default for HoldRule {
    fn default() -> Self {
        Self { shortest: Duration::from_mins(5), longest: Duration::from_hours(1) }
    }
}

impl HoldRule {
    /// How long the `number`th time in a row lasts. An alert only tells, so it need not become longer.
    fn length(&self, action: Action, number: u32) -> Duration {
        let doubled = match action {
            Action::Alert => 1,
            Action::PreferAnother | Action::ShedOptional => {
                1_u32.checked_shl(number.saturating_sub(1)).unwrap_or(u32::MAX)
            }
        };
        self.shortest.saturating_mul(doubled).min(self.longest.max(self.shortest))
    }
}

/// Something began or ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change {
    /// What is done.
    pub advice: Advice,
    /// Whether it is done from now on, or no more.
    pub begins: bool,
}

/// What is done now, and for how long. Both times are on the clock of who follows the advice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Held {
    /// What.
    pub advice: Advice,
    /// When it began.
    pub since: Duration,
    /// It does not end before this; afterwards it goes on for as long as it is advised.
    pub until: Duration,
}

#[derive(Clone, Copy, Debug)]
struct Hold {
    advice: Advice,
    /// Whether it is done now.
    is_on: bool,
    /// When it began the last time.
    since: Duration,
    /// It is done at least until then; after its end, when it ended.
    until: Duration,
    /// How many times in a row.
    number: u32,
}

/// What is done about the slow turns of one route, or of one target. All times are on one clock that does not go back.
#[derive(Clone, Debug, Default)]
pub struct Stance {
    rule: HoldRule,
    /// In the order in which they were first needed: at most one for each subject and action.
    holds: Vec<Hold>,
}

impl Stance {
    /// Nothing is done yet.
    #[must_use]
    pub const fn new(rule: HoldRule) -> Self {
        Self { rule, holds: Vec::new() }
    }

    /// Holds by another rule from the next time on.
    pub const fn set_rule(&mut self, rule: HoldRule) {
        self.rule = rule;
    }

    /// Follows the advice of `now`: what is new begins at once, what is no longer advised ends when it was held for long
    /// enough.
    pub fn follow(&mut self, now: Duration, advice: &[Advice]) -> Vec<Change> {
        let rule = self.rule;
        // What ended long ago counts as never.
        self.holds.retain(|hold| hold.is_on || now < hold.until.saturating_add(rule.longest));
        let mut changes = Vec::new();
        for hold in self.holds.iter_mut().filter(|hold| hold.is_on) {
            if now >= hold.until && !advice.contains(&hold.advice) {
                (hold.is_on, hold.until) = (false, now);
                changes.push(Change { advice: hold.advice, begins: false });
            }
        }
        for advice in advice {
            if self.begin(now, *advice) {
                changes.push(Change { advice: *advice, begins: true });
            }
        }
        changes
    }

    /// False if it is done already.
    fn begin(&mut self, now: Duration, advice: Advice) -> bool {
        let rule = self.rule;
        match self.holds.iter_mut().find(|hold| hold.advice == advice) {
            Some(hold) if hold.is_on => false,
            Some(hold) => {
                (hold.is_on, hold.since, hold.number) = (true, now, hold.number.saturating_add(1));
                hold.until = now.saturating_add(rule.length(advice.action, hold.number));
                true
            }
            None => {
                let until = now.saturating_add(rule.length(advice.action, 1));
                self.holds.push(Hold { advice, is_on: true, since: now, until, number: 1 });
                true
            }
        }
    }

    /// What is done now, since when and until when.
    pub fn held(&self) -> impl Iterator<Item = Held> {
        let on = self.holds.iter().filter(|hold| hold.is_on);
        on.map(|&Hold { advice, since, until, .. }| Held { advice, since, until })
    }

    /// What is done now.
    pub fn current(&self) -> impl Iterator<Item = Advice> {
        self.held().map(|held| held.advice)
    }

    /// Whether this is done now.
    #[must_use]
    pub fn does(&self, action: Action) -> bool {
        self.current().any(|advice| advice.action == action)
    }

    /// Whether everything of this kind was held for as long as it has to be at `now`. False if none of it is done.
    #[must_use]
    pub fn is_served(&self, now: Duration, action: Action) -> bool {
        let held = || self.holds.iter().filter(|hold| hold.is_on && hold.advice.action == action);
        held().count() > 0 && held().all(|hold| now >= hold.until)
    }
}

#[cfg(test)]
mod tests {
    use voxgate_protocol::timeline::{Hop, HopOwner};

    use super::super::budget::Subject;
    use super::*;

    const MINUTE: Duration = Duration::from_mins(1);

    fn advice(action: Action) -> Advice {
        Advice { action, subject: Subject::Hop(Hop::Model), owner: Some(HopOwner::Provider) }
    }

    const fn begun(advice: Advice) -> Change {
        Change { advice, begins: true }
    }

    #[test]
    fn what_is_advised_begins_at_once_and_is_held_when_the_advice_goes() {
        let (mut stance, prefer) = (Stance::default(), advice(Action::PreferAnother));
        assert_eq!(stance.follow(MINUTE, &[prefer]), [begun(prefer)]);
        assert_eq!(stance.follow(2 * MINUTE, &[prefer]), [], "it is done already");
        assert_eq!(stance.follow(3 * MINUTE, &[]), [], "not for long enough");
        assert!(stance.does(Action::PreferAnother) && !stance.does(Action::ShedOptional));
        assert!(!stance.is_served(5 * MINUTE, Action::PreferAnother));
        assert!(stance.is_served(6 * MINUTE, Action::PreferAnother));
        assert_eq!(stance.follow(6 * MINUTE, &[]), [Change { advice: prefer, begins: false }]);
        assert_eq!(stance.current().count(), 0);
        assert!(!stance.is_served(7 * MINUTE, Action::PreferAnother));
    }

    #[test]
    fn a_remedy_that_is_needed_again_lasts_twice_as_long_up_to_the_longest_and_an_alert_does_not() {
        for (action, minutes) in
            [(Action::ShedOptional, [5, 10, 20, 40, 60, 60]), (Action::Alert, [5, 5, 5, 5, 5, 5])]
        {
            let (mut stance, advice, mut now) = (Stance::default(), advice(action), MINUTE);
            for length in minutes {
                assert_eq!(stance.follow(now, &[advice]).len(), 1);
                now += length * MINUTE;
                assert_eq!(stance.follow(now - Duration::from_nanos(1), &[]), []);
                assert_eq!(stance.follow(now, &[]).len(), 1, "{action:?} after {length} min");
                now += MINUTE;
            }
            // An hour of peace, and it begins small again.
            now += 60 * MINUTE;
            stance.follow(now, &[advice]);
            assert_eq!(stance.follow(now + 5 * MINUTE, &[]).len(), 1);
        }
    }

    #[test]
    fn what_is_held_says_since_when_and_until_when_anew_each_time() {
        let (mut stance, prefer) = (Stance::default(), advice(Action::PreferAnother));
        let held =
            |since: u32, until: u32| Held { advice: prefer, since: since * MINUTE, until: until * MINUTE };
        stance.follow(MINUTE, &[prefer]);
        stance.follow(3 * MINUTE, &[prefer]);
        assert_eq!(stance.held().collect::<Vec<_>>(), [held(1, 6)]);
        stance.follow(7 * MINUTE, &[]);
        assert_eq!(stance.held().count(), 0);
        stance.follow(8 * MINUTE, &[prefer]);
        assert_eq!(stance.held().collect::<Vec<_>>(), [held(8, 18)], "twice as long the second time");
    }

    #[test]
    fn advice_that_comes_and_goes_with_every_turn_changes_little_in_a_day() {
        let (mut stance, prefer) = (Stance::default(), advice(Action::PreferAnother));
        let mut changes = 0;
        for second in 0..86_400_u64 {
            let now = Duration::from_secs(second);
            let advised = if second % 2 == 0 { vec![prefer] } else { vec![] };
            changes += stance.follow(now, &advised).len();
        }
        assert!(changes <= 2 * 28, "{changes} changes");
    }
}
