//! Measures conversations as a caller hears them.

use std::io::Write as _;
use std::path::PathBuf;

use clap::Parser;
use voxgate_load_tests::bench::machine::Machine;
use voxgate_load_tests::conversation_bench::{Options, record, run};

/// Measures how fast a caller can interrupt, how exactly an answer is cut, and how soon it comes.
///
/// The exit code says whether it could be measured, not whether it was fast.
#[derive(Debug, Parser)]
struct Arguments {
    /// The gateway's binary, a release build.
    #[arg(long, default_value = "target/release/voxgate")]
    gateway: PathBuf,
    /// WAV files of speech, said in turn.
    #[arg(required = true)]
    speech: Vec<PathBuf>,
    /// Interruptions in each arrangement.
    #[arg(long, default_value_t = 50)]
    interruptions: usize,
    /// Keep a record in this folder: README.md, cycles.csv.
    #[arg(long)]
    record: Option<PathBuf>,
    /// The command a reader of the record runs for a record of their own.
    #[arg(long, default_value = "make bench-conversation")]
    command: String,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let Arguments { gateway, speech, interruptions, record: folder, command } = Arguments::parse();
    // The engine warns about every call that ends; errors alone are news.
    tracing_subscriber::fmt().with_max_level(tracing::Level::ERROR).with_writer(std::io::stderr).init();
    let machine = Machine::look(&gateway);
    let measured = Box::pin(run::run(&Options { gateway, speech, interruptions })).await?;
    if let Some(folder) = &folder {
        record::write(folder, &command, &machine, &measured)?;
    }
    let mut output = std::io::stdout();
    writeln!(output, "{}", record::markdown(&measured))?;
    if let Some(folder) = &folder {
        writeln!(output, "The record is in {}.", folder.display())?;
    }
    Ok(())
}
