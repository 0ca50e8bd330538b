//! Which judges outside are not heard, and which are left out: told when it begins and when it ends, not each time.

use std::collections::{BTreeMap, VecDeque};

use voxgate_telemetry::latency::route::Grounds;
use voxgate_telemetry::session::facts::EventNote;

use crate::latency::Optional;

use super::sentences;

/// What is told of the judges of one session; a judge that comes and goes with every sentence must not push everything else
/// out of the record.
const MOST_TOLD: u32 = 64;

/// What is to be written down of the judges of a session.
#[derive(Debug, Default)]
pub(in crate::dialogue) struct JudgeNews {
    /// Opinions that are missing in a row, by rule.
    missing: BTreeMap<String, u64>,
    /// Questions left out in a row, by rule.
    left_out: BTreeMap<String, u64>,
    told: u32,
    notes: VecDeque<EventNote>,
}

impl JudgeNews {
    /// A judge gave an opinion.
    pub(in crate::dialogue) fn heard(&mut self, rule: &str) {
        if let Some(missed) = self.missing.remove(rule) {
            self.tell(sentences::judge_is_back(rule, missed));
        }
    }

    /// A judge gave none, and the words go on.
    pub(in crate::dialogue) fn silent(&mut self, rule: &str) {
        if count(&mut self.missing, rule) {
            self.tell(sentences::judge_is_silent(rule));
        }
    }

    /// A judge is not asked, since turns are too slow.
    pub(in crate::dialogue) fn left_out(&mut self, rule: &str, grounds: impl FnOnce() -> Option<Grounds>) {
        if count(&mut self.left_out, rule) {
            self.tell(sentences::left_out(Optional::Opinion, Some(rule), grounds().as_ref()));
        }
    }

    /// A judge is asked.
    pub(in crate::dialogue) fn asked(&mut self, rule: &str) {
        if let Some(times) = self.left_out.remove(rule) {
            self.tell(sentences::asked_again(rule, times));
        }
    }

    /// What is to be written down next.
    pub(in crate::dialogue) fn poll(&mut self) -> Option<EventNote> {
        self.notes.pop_front()
    }

    fn tell(&mut self, note: EventNote) {
        if self.told < MOST_TOLD {
            self.told += 1;
            self.notes.push_back(note);
        }
    }
}

/// True for the first in a row. As many rules are counted as are configured.
fn count(counts: &mut BTreeMap<String, u64>, rule: &str) -> bool {
    match counts.get_mut(rule) {
        Some(count) => {
            *count = count.saturating_add(1);
            false
        }
        None => {
            counts.insert(rule.to_owned(), 1);
            true
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(news: &mut JudgeNews) -> Vec<String> {
        std::iter::from_fn(|| news.poll()).map(|note| note.text).collect()
    }

    #[test]
    fn a_judge_that_is_not_heard_is_told_when_that_begins_and_when_it_ends() {
        let mut news = JudgeNews::default();
        news.heard("vendor");
        assert_eq!(told(&mut news), [] as [&str; 0]);
        for _ in 0..3 {
            news.silent("vendor");
        }
        assert_eq!(told(&mut news), ["The guardrail vendor gives no opinion: words go on without it."]);
        news.silent("other");
        news.heard("vendor");
        news.heard("vendor");
        let expected = [
            "The guardrail other gives no opinion: words go on without it.",
            "The guardrail vendor gives opinions again; 3 are missing.",
        ];
        assert_eq!(told(&mut news), expected);
    }

    #[test]
    fn a_judge_that_is_left_out_is_told_once_and_why_until_it_is_asked_again() {
        let mut news = JudgeNews::default();
        for _ in 0..2 {
            news.left_out("vendor", || None);
        }
        assert_eq!(
            told(&mut news),
            ["Left out, since turns are too slow: the guardrail vendor is not asked."]
        );
        news.asked("vendor");
        news.asked("vendor");
        assert_eq!(told(&mut news), ["The guardrail vendor is asked again; it was left out 2 times."]);
    }

    #[test]
    fn a_judge_that_comes_and_goes_is_told_so_often_and_no_more() {
        let mut news = JudgeNews::default();
        for _ in 0..1_000 {
            news.silent("vendor");
            news.heard("vendor");
        }
        assert_eq!(told(&mut news).len(), MOST_TOLD as usize);
    }
}
