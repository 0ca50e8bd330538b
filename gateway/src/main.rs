//! The voxgate binary.

use std::process::ExitCode;

fn main() -> ExitCode {
    voxgate_gateway::run()
}
