//! The rooms of the voxgate binary: configuration, sockets, loops, shutdown. [`run`] is all of it; the program only calls it.

mod approvals;
mod audit;
mod bridges;
mod cli;
mod config;
mod control;
mod data_dir;
mod dialogue;
mod end_of_turn;
mod fleet;
#[doc(hidden)]
pub mod fuzz;
mod host;
mod http_server;
mod latency;
mod limits;
mod logging;
mod money;
mod notices;
mod operations;
mod otlp;
mod pages;
mod permissions;
mod process;
mod process_figures;
mod published_keys;
mod relay_figures;
mod relay_role;
mod replay;
mod revision;
mod routing;
mod sealing;
mod sideband;
mod socket;
mod standalone;
mod tls;
mod transceiver;
mod webhook;

use std::process::ExitCode;

/// Does what the command line says, and gives the status to exit with.
#[must_use]
pub fn run() -> ExitCode {
    cli::run()
}
