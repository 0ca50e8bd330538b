//! Runs a core on a log, in virtual time.

use std::io::BufRead;
use std::panic::AssertUnwindSafe;
use std::time::{Duration, Instant};

use voxgate_protocol::bridge::TurnOwner;

use super::entry::{LogError, Reader, Step};
use super::fingerprint::fingerprint;
use super::recorder::Kept;
use crate::dialogue::core::DialogueCore;

/// Room in front of the start, for what came in before it.
pub(super) const BEFORE: Duration = Duration::from_secs(3 * 24 * 3_600);

/// How a replay went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Every decision and event came out as before.
    Identical,
    /// The first input that had another result.
    Different {
        /// Its line in the file, counted from one.
        line: u64,
        /// Seconds from the start.
        at: String,
        /// What it was.
        input: String,
        /// What came of it in the call, from where the two differ.
        recorded: Vec<String>,
        /// What came of it now, from where the two differ.
        replayed: Vec<String>,
    },
}

/// A replay.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) verdict: Verdict,
    pub(crate) inputs: u64,
    pub(crate) outputs: u64,
    /// Whether the log was written to its end.
    pub(crate) is_whole: bool,
    /// Whether turns in this log were found in audio that was not kept: then a difference says nothing.
    pub(crate) lacks_voice: bool,
    /// Whether the words were hidden: then what was decided by them may come out otherwise.
    pub(crate) lacks_words: bool,
    /// The program that wrote the log.
    pub(crate) program: String,
}

/// Runs the core on a log. `show` gets every input and output as one line of text.
///
/// # Errors
/// [`LogError`] if the log cannot be read or understood.
pub(crate) fn replay(source: impl BufRead, mut show: impl FnMut(&str)) -> Result<Outcome, LogError> {
    let (header, mut log) = Reader::open(source)?;
    let far = Instant::now().checked_add(BEFORE);
    let start = far.ok_or_else(|| log.malformed("this machine's clock leaves no room"))?;
    let made = unwound(|| {
        let core = DialogueCore::new(header.config())?;
        Ok(match header.resumed.clone() {
            Some(parked) => core.resume(parked),
            None => core,
        })
    });
    let core =
        made.unwrap_or_else(|| Err(voxgate_media::session::SessionError::Audio("it panicked".to_owned())));
    let mut core = core.map_err(|error| LogError::Core(error.to_string()))?;
    let kept = header.kept();
    let mut outcome = Outcome {
        verdict: Verdict::Identical,
        inputs: 0,
        outputs: 0,
        is_whole: false,
        lacks_voice: !header.has_audio && header.traits.turn_owner == TurnOwner::Gateway,
        lacks_words: !header.has_words,
        program: header.program,
    };
    while let Some(step) = log.next()? {
        outcome.inputs += 1;
        let described = step.input.describe();
        show(&format!("{:>12.6} > {described}", step.at.seconds()));
        let replayed = run(&mut core, (start, kept), &step, &log)?;
        for output in &replayed {
            outcome.outputs += 1;
            show(&format!("{:12} <   {output}", ""));
        }
        if replayed != step.outputs {
            let same = replayed.iter().zip(&step.outputs).take_while(|(now, then)| now == then).count();
            outcome.verdict = Verdict::Different {
                line: log.line(),
                at: format!("{:.6}", step.at.seconds()),
                input: described,
                recorded: step.outputs[same..].to_vec(),
                replayed: replayed[same..].to_vec(),
            };
            return Ok(outcome);
        }
    }
    outcome.is_whole = log.is_whole();
    Ok(outcome)
}

/// Whether every line is understood and none is missing.
pub(crate) fn is_well_formed(source: impl BufRead) -> bool {
    let Ok((_, mut log)) = Reader::open(source) else { return false };
    loop {
        match log.next() {
            Ok(Some(_)) => {}
            Ok(None) => return log.is_whole(),
            Err(_) => return false,
        }
    }
}

/// Feeds one input and fingerprints what comes of it. A core that panics is a finding, not the end of the tool.
fn run<R: BufRead>(
    core: &mut DialogueCore,
    (start, kept): (Instant, Kept),
    step: &Step,
    log: &Reader<R>,
) -> Result<Vec<String>, LogError> {
    let impossible = || log.malformed("it lies nowhere near the session");
    let now = step.at.from(start).ok_or_else(impossible)?;
    let input = step.input.input(start).ok_or_else(impossible)?;
    let mut outputs = Vec::new();
    let ran = unwound(|| {
        core.handle(now, input);
        while let Some(output) = core.poll_output() {
            if kept.compares(&output) {
                outputs.push(fingerprint(&output, start, kept.words));
            }
        }
    });
    if ran.is_none() {
        outputs.push("panic".to_owned());
    }
    Ok(outputs)
}

pub(super) fn unwound<T>(act: impl FnOnce() -> T) -> Option<T> {
    std::panic::catch_unwind(AssertUnwindSafe(act)).ok()
}
