//! The voxgate binary.

mod bridges;
mod cli;
mod config;
mod control;
mod data_dir;
mod dialogue;
mod host;
mod operations;
mod pages;
mod process;
mod relay_figures;
mod relay_role;
mod replay;
mod sealing;
mod sideband;
mod socket;
mod standalone;
mod tls;
mod transceiver;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::run()
}
