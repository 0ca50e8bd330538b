//! A gateway that is watched: how much processor time it uses, or how many instructions it carries out.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, ensure};

use super::round::Side;
use crate::bench::gateway::{Gateway, configuration, free_udp_address};
use crate::provider_sim::{AnswerAudio, ProviderSim, SimConfig, SimHandle};
use crate::relay_bench::processor::ProcessorClock;

/// Length of an answer.
const ANSWER: Duration = Duration::from_millis(1_500);

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Processor time of the whole process, user and system, in nanoseconds.
    ProcessorTime,
    /// Instructions of the whole process outside the kernel, by callgrind: free of other programs' noise, and slow.
    Instructions,
}

#[derive(Debug)]
enum Meter {
    Clock(ProcessorClock, Duration),
    Callgrind { process: String, dumps: PathBuf },
}

/// A gateway with a provider of its own, and what is counted of it.
#[derive(Debug)]
pub struct Watched {
    gateway: Gateway,
    meter: Meter,
    /// Ends with it.
    provider: SimHandle,
}

impl Watched {
    /// Starts one of a side. What callgrind writes goes to `folder`.
    ///
    /// # Errors
    /// The gateway does not start; for instructions, also if there is no valgrind.
    pub async fn start(binary: &Path, side: Side, unit: Unit, folder: &Path) -> anyhow::Result<Self> {
        let answer = AnswerAudio::Tones { length: ANSWER, marked: false };
        let provider = ProviderSim::spawn(SimConfig { answer, ..SimConfig::default() }).await?;
        let relay = free_udp_address()?;
        let dumps = folder.join(format!("callgrind-{}", provider.addr().port()));
        let command = match unit {
            Unit::ProcessorTime => Command::new(binary),
            Unit::Instructions => {
                let mut command = Command::new("valgrind");
                command.args(["--tool=callgrind", "--instr-atstart=no", "--quiet"]);
                command.arg(format!("--callgrind-out-file={}", dumps.display())).arg(binary);
                command
            }
        };
        let gateway = Gateway::start_by(command, &configuration_of(side, &provider), relay, relay)?;
        let meter = match unit {
            Unit::ProcessorTime => Meter::Clock(ProcessorClock::of(gateway.process_id())?, Duration::ZERO),
            Unit::Instructions => Meter::Callgrind { process: gateway.process_id().to_string(), dumps },
        };
        Ok(Self { gateway, meter, provider })
    }

    /// Its next sessions are those of this side, which it was not of before.
    ///
    /// # Errors
    /// The gateway does not take the configuration.
    pub async fn join(&self, side: Side) -> anyhow::Result<()> {
        self.gateway.reconfigure(&configuration_of(side, &self.provider)).await
    }

    /// The base of its API.
    #[must_use]
    pub fn base_url(&self) -> String {
        self.gateway.base_url()
    }

    /// What it logged.
    #[must_use]
    pub fn log(&self) -> String {
        self.gateway.log()
    }

    /// From now on is counted.
    ///
    /// # Errors
    /// The process is gone, or callgrind does not obey.
    pub fn begin(&mut self) -> anyhow::Result<()> {
        match &mut self.meter {
            Meter::Clock(clock, before) => *before = clock.read()?,
            Meter::Callgrind { process, .. } => control(&["--instr=on", process])?,
        }
        Ok(())
    }

    /// What was counted since [`Watched::begin`]: nanoseconds or instructions.
    ///
    /// # Errors
    /// The process is gone, or callgrind does not tell.
    pub fn end(&mut self) -> anyhow::Result<u64> {
        match &self.meter {
            Meter::Clock(clock, before) => {
                Ok(u64::try_from(clock.read()?.saturating_sub(*before).as_nanos())?)
            }
            Meter::Callgrind { process, dumps } => {
                control(&["--instr=off", process])?;
                control(&["--dump", process])?;
                let dump = dumps.with_extension("1");
                let text = fs::read_to_string(&dump)
                    .with_context(|| format!("callgrind did not write {}", dump.display()))?;
                total(&text).context("callgrind wrote no totals")
            }
        }
    }
}

fn configuration_of(side: Side, provider: &SimHandle) -> String {
    let measuring = side == Side::On;
    format!("{}telemetry: {{ measuring: {measuring} }}\n", configuration(provider.addr()))
}

fn control(arguments: &[&str]) -> anyhow::Result<()> {
    let output = Command::new("callgrind_control").args(arguments).output();
    let output = output.context("callgrind_control cannot be started (Debian: valgrind)")?;
    let said = String::from_utf8_lossy(&output.stdout);
    ensure!(output.status.success(), "callgrind_control {arguments:?} failed: {said}");
    Ok(())
}

/// The instructions in a dump of callgrind (Callgrind Format Specification, `totals`).
fn total(dump: &str) -> Option<u64> {
    let line = dump.lines().rev().find_map(|line| line.strip_prefix("totals:"))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_instructions_of_a_dump_are_its_totals() {
        let dump = "# callgrind format\nevents: Ir\n\nfn=(1) main\n16 400\n\ntotals: 61000000000\n";
        assert_eq!(total(dump), Some(61_000_000_000));
        assert_eq!(total("events: Ir\ntotals: many\n"), None);
        assert_eq!(total(""), None);
    }
}
