//! `voxgate replay`.

use std::fs::File;
use std::io::{BufReader, Write as _, stdout};
use std::path::PathBuf;
use std::process::ExitCode;

use super::{complain, say};
use crate::replay::{LogError, Outcome, Verdict, replay};

/// What `voxgate replay` takes.
#[derive(clap::Args)]
#[command(after_help = "\
Exit status: 0 every decision and event came out as in the call; 1 something differs, and what is printed; 2 the file\n\
is no replay log, or ends early.\n\n\
Lines with > are what went into the session, lines with < what came of it and a hash of it. No words are printed.")]
pub(crate) struct ReplayArguments {
    /// A log written with `replay` in the configuration.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Print the result only.
    #[arg(long)]
    quiet: bool,
}

/// Replays, prints, and says by the exit status how it went.
pub(crate) fn run(arguments: &ReplayArguments) -> ExitCode {
    let mut out = std::io::BufWriter::new(stdout().lock());
    let file = File::open(&arguments.file).map_err(LogError::from);
    let outcome = file.and_then(|file| {
        replay(BufReader::new(file), |line| {
            if !arguments.quiet {
                // Whoever closed the pipe has read enough.
                let _ = writeln!(out, "{line}");
            }
        })
    });
    drop(out);
    match outcome {
        Ok(outcome) => report(&outcome),
        Err(error) => complain(&format!("{}: {error}", arguments.file.display()), 2),
    }
}

fn report(outcome: &Outcome) -> ExitCode {
    let Outcome { inputs, outputs, program, .. } = outcome;
    match &outcome.verdict {
        Verdict::Identical if !outcome.is_whole => {
            say(&format!("identical as far as the log goes, but it ends early: {inputs} inputs"));
            ExitCode::from(2)
        }
        Verdict::Identical => {
            say(&format!("identical: {inputs} inputs, {outputs} decisions and events"));
            ExitCode::SUCCESS
        }
        Verdict::Different { line, at, input, recorded, replayed } => {
            say(&format!("different at {at} s, line {line}, input {inputs} ({input}), in the call:"));
            for output in recorded {
                say(&format!("  {output}"));
            }
            say("now:");
            for output in replayed {
                say(&format!("  {output}"));
            }
            if outcome.lacks_voice {
                say("the log holds no audio (replay.audio), so turns that voxgate found are not found again");
            }
            if outcome.lacks_words {
                say("the log holds no words (a guardrail masks), so what was decided by them may differ");
            }
            if program != env!("CARGO_PKG_VERSION") {
                say(&format!("the log was written by voxgate {program}"));
            }
            ExitCode::from(1)
        }
    }
}
