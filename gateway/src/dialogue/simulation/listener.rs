//! Who judges the sound of turns: sometimes nobody, and a listener is late, wrong, speechless, or answers a question nobody
//! asked.

use std::time::{Duration, Instant};

use voxgate_media::turn::{ListeningRule, Question};

use super::dice::Dice;

/// A verdict under way.
type Verdict = (Instant, Question, Option<f32>);

pub(super) struct Listener {
    pub(super) rule: Option<ListeningRule>,
    dice: Dice,
    verdicts: Vec<Verdict>,
}

impl Listener {
    pub(super) fn new(mut dice: Dice) -> Self {
        let rule = dice
            .chance(50)
            .then(|| ListeningRule { window: dice.millis(1_000, 8_000), patience: dice.millis(200, 1_000) });
        Self { rule, dice, verdicts: Vec::new() }
    }

    pub(super) fn next_at(&self) -> Option<Instant> {
        self.verdicts.iter().map(|(at, ..)| *at).min()
    }

    /// Takes a question. What was asked of nobody, or about more than may be heard, breaks a promise.
    pub(super) fn ask(&mut self, now: Instant, question: Question, length: Duration) -> Result<(), String> {
        let rule = self.rule.ok_or("a question to nobody")?;
        if length > rule.window || length.is_zero() {
            return Err(format!("{question:?} is about {length:?}"));
        }
        // The queue may have no room, and a verdict may get lost.
        if self.dice.chance(10) {
            return Ok(());
        }
        let probability = match self.dice.below(6) {
            0 => None,
            1 => Some(f32::NAN),
            2 => Some(1.0),
            _ => Some(self.dice.below(100) as f32 / 100.0),
        };
        self.verdicts.push((now + self.dice.millis(0, 700), question, probability));
        if self.dice.chance(10) {
            self.verdicts.push((now + self.dice.millis(0, 700), Question(question.0 + 1), Some(0.5)));
        }
        Ok(())
    }

    /// The verdict that is due.
    pub(super) fn judge(&mut self) -> Option<(Question, Option<f32>)> {
        let next = (0..self.verdicts.len()).min_by_key(|index| self.verdicts[*index].0)?;
        let (_, question, probability) = self.verdicts.swap_remove(next);
        Some((question, probability))
    }
}
