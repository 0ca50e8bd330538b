//! A contender's process, pinned to its core and watched from outside.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};

use super::processor::{ProcessorClock, pin};

/// How long a contender may take to start.
const START_LIMIT: Duration = Duration::from_secs(20);

/// The cores of the benchmark.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cores {
    /// Where the generator runs.
    pub generator: usize,
    /// Where every contender runs.
    pub contender: usize,
}

/// A running contender. Dropping it ends it.
#[derive(Debug)]
pub struct Process {
    child: Child,
    clock: ProcessorClock,
    lines: mpsc::Receiver<String>,
}

impl Process {
    /// Starts a contender on its core.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn start(cores: Cores, command: &mut Command) -> anyhow::Result<Self> {
        // A child inherits the core of the thread that starts it.
        pin(cores.contender).context("cannot pin the contender")?;
        let started = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn();
        pin(cores.generator).context("cannot pin the generator")?;
        let mut child =
            started.with_context(|| format!("cannot start {}", command.get_program().display()))?;
        let clock = ProcessorClock::of(child.id())?;
        let (sender, lines) = mpsc::channel();
        if let Some(output) = child.stdout.take() {
            std::thread::spawn(move || {
                for line in BufReader::new(output).lines().map_while(Result::ok) {
                    // After the start nobody listens.
                    let _ = sender.send(line);
                }
            });
        }
        Ok(Self { child, clock, lines })
    }

    /// The first line of its output for which the pattern yields something.
    ///
    /// # Errors
    /// There is none before it ends or the time is over.
    pub fn find<T>(&self, pattern: impl Fn(&str) -> Option<T>) -> anyhow::Result<T> {
        let deadline = Instant::now() + START_LIMIT;
        let mut said = String::new();
        while let Ok(line) = self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            if let Some(found) = pattern(&line) {
                return Ok(found);
            }
            said.push_str(&line);
            said.push('\n');
        }
        bail!("the contender did not start; it said:\n{said}")
    }

    /// Its processor time.
    #[must_use]
    pub const fn clock(&self) -> ProcessorClock {
        self.clock
    }

    /// Its resident memory in bytes.
    ///
    /// # Errors
    /// It has ended.
    pub fn resident_bytes(&self) -> anyhow::Result<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kilobytes = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok());
        Ok(kilobytes.context("the kernel does not tell the resident memory")? * 1_024)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // A contender has nothing to finish; errors say that it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
