//! Measures the gateway's own time.

use std::io::Write as _;
use std::path::PathBuf;

use clap::Parser;
use voxgate_load_tests::bench::machine::Machine;
use voxgate_load_tests::bench::{Options, Plan, record, round, summary};

/// Measures how long the gateway itself takes, at 1 and 20 sessions, and compares it with the aims.
///
/// The exit code says whether it could be measured, not whether it was fast.
#[derive(Debug, Parser)]
struct Arguments {
    /// The gateway's binary, a release build.
    #[arg(long, default_value = "target/release/voxgate")]
    gateway: PathBuf,
    /// One short round of everything: half a minute instead of four.
    #[arg(long)]
    quick: bool,
    /// Keep a record in this folder: README.md, figures.json, times.csv.
    #[arg(long)]
    record: Option<PathBuf>,
    /// The command a reader of the record runs for a record of their own.
    #[arg(long, default_value = "make bench")]
    command: String,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    // The engine warns about every call that ends; errors alone are news.
    tracing_subscriber::fmt().with_max_level(tracing::Level::ERROR).with_writer(std::io::stderr).init();
    let machine = Machine::look(&arguments.gateway);
    let plan = if arguments.quick { Plan::quick() } else { Plan::full() };
    let outcome = Box::pin(round::run(&Options { gateway: arguments.gateway, plan })).await?;
    if let Some(folder) = &arguments.record {
        record::write(folder, &arguments.command, &machine, &outcome)?;
    }
    let mut output = std::io::stdout();
    writeln!(output, "{}", summary::markdown(&outcome))?;
    if let Some(folder) = &arguments.record {
        writeln!(output, "The record is in {}.", folder.display())?;
    }
    Ok(())
}
