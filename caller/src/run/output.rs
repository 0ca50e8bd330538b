//! The two writers of a run: results for a person or a program, and signs of life.

use std::io::Write;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::RunSummary;
use crate::error::CallError;
use crate::report;
use crate::turn::TurnMeasured;

/// A wait shorter than this needs no word.
const QUIET: Duration = Duration::from_secs(2);

/// A longer one gets a word this often.
const REMINDER: Duration = Duration::from_secs(5);

/// Where the results go.
pub(super) struct Output<'a> {
    writer: &'a mut (dyn Write + Send),
    json: bool,
    events: bool,
}

impl<'a> Output<'a> {
    pub(super) fn new(writer: &'a mut (dyn Write + Send), json: bool, events: bool) -> Self {
        Self { writer, json, events }
    }

    pub(super) fn event(&mut self, event: &Value) -> Result<(), CallError> {
        if self.events {
            writeln!(self.writer, "{event}")?;
        }
        if let Some(line) = report::transcript_line(event).filter(|_| !self.json) {
            writeln!(self.writer, "{line}")?;
        }
        if let Some(message) = event["error"]["message"].as_str().filter(|_| !self.json && !self.events) {
            writeln!(self.writer, "Error: {}", report::printable(message))?;
        }
        Ok(self.writer.flush()?)
    }

    /// The waterfalls at the end, since they come on a channel of their own and would cut into the transcript.
    /// `wall_clock` belongs to the last one.
    pub(super) fn turns(
        &mut self,
        turns: &[TurnMeasured],
        wall_clock: Option<Duration>,
    ) -> Result<(), CallError> {
        for (index, turn) in turns.iter().enumerate().filter(|_| !self.json) {
            let wall_clock = wall_clock.filter(|_| index + 1 == turns.len());
            write!(self.writer, "\n{}", report::waterfall(turn, wall_clock))?;
        }
        Ok(())
    }

    pub(super) fn summary(&mut self, summary: &RunSummary) -> Result<(), CallError> {
        if self.json {
            writeln!(self.writer, "{}", json!(summary))?;
            return Ok(());
        }
        match summary.mouth_to_ear_ms {
            Some(ms) if summary.turns.is_empty() => {
                writeln!(self.writer, "\n{ms:.1} ms from mouth to ear, heard here")?;
            }
            Some(_) => {}
            None => writeln!(self.writer, "\nThe answer made no sound.")?,
        }
        Ok(())
    }
}

/// Tells what is being waited for, when it takes long.
pub(super) struct Progress<'a> {
    writer: &'a mut (dyn Write + Send),
    doing: &'static str,
    since: Instant,
    next_word: Instant,
}

impl<'a> Progress<'a> {
    pub(super) fn new(writer: &'a mut (dyn Write + Send)) -> Self {
        let now = Instant::now();
        Self { writer, doing: "starting", since: now, next_word: now + QUIET }
    }

    pub(super) fn begin(&mut self, doing: &'static str) {
        let now = Instant::now();
        (self.doing, self.since, self.next_word) = (doing, now, now + QUIET);
    }

    /// Says a word if it is time for one.
    pub(super) fn look(&mut self) -> Result<(), CallError> {
        let now = Instant::now();
        if now >= self.next_word {
            self.next_word = now + REMINDER;
            let seconds = (now - self.since).as_secs();
            writeln!(self.writer, "still {} ({seconds} s)", self.doing)?;
            self.writer.flush()?;
        }
        Ok(())
    }

    /// Waits for something that reports nothing itself.
    pub(super) async fn while_waiting<T>(
        &mut self,
        doing: &'static str,
        work: impl Future<Output = Result<T, CallError>>,
    ) -> Result<T, CallError> {
        self.begin(doing);
        let mut work = Box::pin(work);
        loop {
            match tokio::time::timeout_at(self.next_word.into(), &mut work).await {
                Ok(result) => return result,
                Err(_) => self.look()?,
            }
        }
    }
}
