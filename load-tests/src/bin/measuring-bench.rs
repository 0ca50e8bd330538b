//! Measures what it costs to measure a call.

use std::io::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use clap::Parser;
use voxgate_caller::Speech;
use voxgate_load_tests::bench::machine::Machine;
use voxgate_load_tests::measuring_bench::meter::Unit;
use voxgate_load_tests::measuring_bench::record::{self, Outcome};
use voxgate_load_tests::measuring_bench::round::{Plan, run};
use voxgate_load_tests::relay_bench::record::load_averages;

/// Measures two gateways beside each other, one that measures its sessions and one that does not, with the same calls.
///
/// The exit code says whether it could be measured, not whether it was cheap.
#[derive(Debug, Parser)]
struct Arguments {
    /// The gateway's binary, a release build.
    #[arg(long, default_value = "target/release/voxgate")]
    gateway: PathBuf,
    /// A WAV file with what callers ask, about a second long.
    #[arg(long)]
    question: PathBuf,
    /// Count instructions under callgrind instead of processor time: free of the noise of other programs. One call, three rounds.
    #[arg(long)]
    instructions: bool,
    /// Two short rounds: a minute instead of a quarter of an hour.
    #[arg(long)]
    quick: bool,
    /// Rounds.
    #[arg(long)]
    rounds: Option<usize>,
    /// Calls of each gateway.
    #[arg(long)]
    calls: Option<usize>,
    /// Seconds that are counted of a side in a row.
    #[arg(long)]
    seconds: Option<u64>,
    /// Keep a record in this folder: record.md, rounds.json.
    #[arg(long)]
    record: Option<PathBuf>,
    /// The command a reader of the record runs for a record of their own.
    #[arg(long, default_value = "make bench-measuring")]
    command: String,
}

impl Arguments {
    fn plan(&self) -> anyhow::Result<Plan> {
        let (unit, rounds, calls, seconds) = match (self.instructions, self.quick) {
            (false, false) => (Unit::ProcessorTime, 20, 16, 15),
            (false, true) => (Unit::ProcessorTime, 2, 8, 10),
            (true, false) => (Unit::Instructions, 3, 1, 60),
            (true, true) => (Unit::Instructions, 1, 1, 20),
        };
        let question = Speech::read_wav(&self.question);
        Ok(Plan {
            gateway: self.gateway.clone(),
            question: question.with_context(|| self.question.display().to_string())?,
            unit,
            rounds: self.rounds.unwrap_or(rounds).max(1),
            calls: self.calls.unwrap_or(calls).max(1),
            length: Duration::from_secs(self.seconds.unwrap_or(seconds).max(1)),
        })
    }
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    // The engine warns about every call that ends; errors alone are news.
    tracing_subscriber::fmt().with_max_level(tracing::Level::ERROR).with_writer(std::io::stderr).init();
    let machine = Machine::look(&arguments.gateway);
    let plan = arguments.plan()?;
    let rounds = Box::pin(run(&plan)).await?;
    let outcome = Outcome { plan, rounds, machine, load_after: load_averages() };
    if let Some(folder) = &arguments.record {
        record::write(folder, &arguments.command, &outcome)?;
    }
    let mut output = std::io::stdout();
    writeln!(output, "{}", record::markdown(&outcome))?;
    if let Some(folder) = &arguments.record {
        writeln!(output, "The record is in {}.", folder.display())?;
    }
    Ok(())
}
