//! Measures what an audio event costs, beside other gateways.

use std::io::Write as _;
use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::bail;
use clap::{Parser, Subcommand};
use voxgate_load_tests::bench::machine::Machine;
use voxgate_load_tests::event_bench::contender::{Contender, Surroundings, version};
use voxgate_load_tests::event_bench::record::{self, Outcome};
use voxgate_load_tests::event_bench::round::{Plan, run};
use voxgate_load_tests::event_bench::{pipe, summary, vendor};
use voxgate_load_tests::relay_bench::child::Cores;
use voxgate_load_tests::relay_bench::processor::{allowed_cores, pin};
use voxgate_load_tests::relay_bench::record::load_averages;

/// Measures voxgate, SMG and LiteLLM in turn: processor time and latency of 20 ms of audio through a WebSocket session.
///
/// The exit code says whether it could be measured, not whether it was fast.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    service: Option<Service>,
    /// One short round: a minute and a half instead of ten.
    #[arg(long)]
    quick: bool,
    /// Only these: pipe, voxgate, smg, litellm.
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// The gateway's binary, a release build.
    #[arg(long, default_value = "target/release/voxgate")]
    gateway: PathBuf,
    /// The folder with the programs of the others.
    #[arg(long, default_value = "target/peers-venv/bin")]
    others: PathBuf,
    /// Keep a record in this folder: record.md, rounds.json.
    #[arg(long)]
    record: Option<PathBuf>,
    /// The command a reader of the record runs for a record of their own.
    #[arg(long, default_value = "make bench-events")]
    command: String,
}

/// What runs on the contender's core; the benchmark starts it itself.
#[derive(Debug, Subcommand)]
enum Service {
    /// The pipe.
    #[command(hide = true)]
    ServePipe {
        #[arg(long)]
        listen: SocketAddr,
        #[arg(long)]
        vendor: SocketAddr,
    },
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    if let Some(Service::ServePipe { listen, vendor }) = arguments.service {
        return pipe::serve(listen, vendor);
    }
    // Before anything is pinned, so that it sees all processors.
    let machine = Machine::look(&arguments.gateway);
    let cores = allowed_cores()?;
    let (Some(generator), Some(contender)) = (cores.first().copied(), cores.get(1).copied()) else {
        bail!("two cores are needed: one for the clients and the vendor, one for the gateway");
    };
    pin(generator)?;
    let folder = std::env::temp_dir().join(format!("voxgate-event-bench-{}", std::process::id()));
    std::fs::create_dir_all(&folder)?;
    let around = Surroundings {
        cores: Cores { generator, contender },
        program: std::env::current_exe()?,
        voxgate: arguments.gateway.clone(),
        others: arguments.others.clone(),
        folder: folder.clone(),
        vendor: vendor::start()?,
    };
    let plan = plan(&arguments);
    let measured = run(&plan, &around);
    let _ = std::fs::remove_dir_all(&folder);
    let (cells, failures) = measured?;
    let versions = ["smg", "litellm"].map(|package| version(package, &arguments.others)).to_vec();
    let outcome = Outcome { plan, cells, failures, machine, versions, load_after: load_averages() };
    report(&arguments, &outcome)
}

fn report(arguments: &Arguments, outcome: &Outcome) -> anyhow::Result<()> {
    let mut output = std::io::stdout();
    writeln!(output, "{}", summary::markdown(&outcome.cells))?;
    for failure in &outcome.failures {
        writeln!(output, "left out: {failure}")?;
    }
    if let Some(folder) = &arguments.record {
        record::write(folder, &arguments.command, outcome)?;
        writeln!(output, "The record is in {}.", folder.display())?;
    }
    Ok(())
}

fn plan(arguments: &Arguments) -> Plan {
    let mut plan = if arguments.quick { Plan::quick() } else { Plan::full() };
    if !arguments.only.is_empty() {
        // Without the direct way no latency can be compared.
        plan.contenders
            .retain(|one| *one == Contender::Direct || arguments.only.iter().any(|name| name == one.name()));
    }
    plan
}
