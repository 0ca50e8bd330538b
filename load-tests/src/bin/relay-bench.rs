//! Measures the relay's speed beside others.

use std::io::Write as _;
use std::net::SocketAddrV4;
use std::path::PathBuf;

use anyhow::bail;
use clap::{Parser, Subcommand};
use voxgate_load_tests::bench::machine::Machine;
use voxgate_load_tests::relay_bench::child::Cores;
use voxgate_load_tests::relay_bench::contender::{Contender, Surroundings};
use voxgate_load_tests::relay_bench::generator::Rate;
use voxgate_load_tests::relay_bench::processor::{allowed_cores, pin, raise_file_limit};
use voxgate_load_tests::relay_bench::record::{self, Outcome};
use voxgate_load_tests::relay_bench::run::{Plan, run};
use voxgate_load_tests::relay_bench::serve::{self, Waiting};
use voxgate_load_tests::relay_bench::{memory, summary};

/// Measures the relay, a raw forwarder, coturn and turn-rs in turn: processor time per packet, packets per core, latency,
/// memory per flow.
///
/// The exit code says whether it could be measured, not whether it was fast.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    service: Option<Service>,
    /// One short round: less than two minutes instead of a quarter of an hour.
    #[arg(long)]
    quick: bool,
    /// Only these: direct, raw, raw-busy, coturn, turn-rs, relay, relay-busy, memory.
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// Only these numbers of flows.
    #[arg(long, value_delimiter = ',')]
    flows: Vec<u32>,
    /// Only these rates: packets per second, or `most`.
    #[arg(long, value_delimiter = ',')]
    rates: Vec<Rate>,
    /// So many rounds, after one that is discarded.
    #[arg(long)]
    rounds: Option<usize>,
    /// coturn's program.
    #[arg(long, default_value = "/usr/bin/turnserver")]
    coturn: PathBuf,
    /// turn-rs's program.
    #[arg(long, default_value = "target/peers/bin/turn-server")]
    turn_rs: PathBuf,
    /// Keep a record in this folder: record.md, rounds.json, processor-time.svg.
    #[arg(long)]
    record: Option<PathBuf>,
    /// The command a reader of the record runs for a record of their own.
    #[arg(long, default_value = "make bench-relay")]
    command: String,
}

/// What runs on the contender's core; the benchmark starts these itself.
#[derive(Debug, Subcommand)]
enum Service {
    /// The raw forwarder.
    #[command(hide = true)]
    ServeRaw {
        #[arg(long)]
        peer: SocketAddrV4,
        #[arg(long)]
        wait: Waiting,
    },
    /// The relay.
    #[command(hide = true)]
    ServeRelay {
        #[arg(long)]
        node: SocketAddrV4,
        #[arg(long)]
        wait: Waiting,
    },
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    match arguments.service {
        Some(Service::ServeRaw { peer, wait }) => return serve::raw(peer, wait),
        Some(Service::ServeRelay { node, wait }) => return serve::relay(node.into(), wait),
        None => {}
    }
    let outcome = measure(&arguments)?;
    if let Some(folder) = &arguments.record {
        record::write(folder, &arguments.command, &outcome)?;
    }
    let mut output = std::io::stdout();
    if !outcome.cells.is_empty() {
        writeln!(output, "{}", summary::markdown(&outcome.cells))?;
    }
    if let Some(memory) = &outcome.memory {
        writeln!(output, "{}", record::memory_line(memory))?;
    }
    if let Some(folder) = &arguments.record {
        writeln!(output, "The record is in {}.", folder.display())?;
    }
    Ok(())
}

fn measure(arguments: &Arguments) -> anyhow::Result<Outcome> {
    let program = std::env::current_exe()?;
    // Before anything is pinned, so that it sees all processors.
    let machine = Machine::look(&program);
    raise_file_limit()?;
    let cores = allowed_cores()?;
    let (Some(generator), Some(contender)) = (cores.first().copied(), cores.get(1).copied()) else {
        bail!("two cores are needed: one for the generator, one for the contender");
    };
    pin(generator)?;
    let around = Surroundings {
        cores: Cores { generator, contender },
        program,
        coturn: arguments.coturn.clone(),
        turn_rs: arguments.turn_rs.clone(),
    };
    let plan = plan(arguments);
    let asked = arguments.only.is_empty() || arguments.only.iter().any(|name| name == "memory");
    let (cells, failures) = run(&plan, &around)?;
    let memory = asked.then(|| memory::measure(&around)).transpose()?;
    let versions = record::versions(&around);
    Ok(Outcome { plan, cells, failures, memory, machine, versions, load_after: record::load_averages() })
}

fn plan(arguments: &Arguments) -> Plan {
    let mut plan = if arguments.quick { Plan::quick() } else { Plan::full() };
    if !arguments.only.is_empty() {
        // Without the direct way no latency can be compared.
        plan.contenders
            .retain(|one| *one == Contender::Direct || arguments.only.iter().any(|name| name == one.name()));
    }
    if plan.contenders == [Contender::Direct] {
        plan.contenders.clear();
    }
    if !arguments.flows.is_empty() {
        plan.flows.clone_from(&arguments.flows);
    }
    if !arguments.rates.is_empty() {
        plan.rates.clone_from(&arguments.rates);
    }
    plan.rounds = arguments.rounds.unwrap_or(plan.rounds);
    plan
}
