//! `voxgate relay`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use super::{EXIT_CONFIG, complain, exit_code};
use crate::config::{self, CheckedRelay, ConfigError, RelayFile, ThreadCount, Wait};
use crate::logging::{self, LogFormat};
use crate::relay_role;

/// What `voxgate relay` takes. Flags win over the configuration file.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "\
A relay takes the UDP packets of clients at one public port and carries them to the gateway. It holds no session and\n\
decrypts nothing. Two of them for each gateway keep calls alive when one goes away:\n\n  \
export VOXGATE_RELAY_TOKEN=$(openssl rand -hex 32)\n  \
voxgate standalone --config deploy/two-relays.example.yaml\n  \
voxgate relay --config deploy/relay.example.yaml\n  \
voxgate relay --id 3 --listen 127.0.0.1:3480 --operations 127.0.0.1:9480 \\\n                \
--control http://127.0.0.1:8090 --data-dir relay-3\n\n\
The gateway's control listener tells it which nodes it may send to; without the gateway it goes on with the last list.\n\n\
A new process on the same data folder takes the sockets of the running one over without losing a packet, and the old\n\
one ends: that is how a relay is upgraded.\n\n\
SIGTERM drains: /readyz answers 503, the gateway moves calls to other relays, and the process ends when none is left or\n\
relay.drain_deadline has come. A second SIGTERM ends it at once.")]
pub(super) struct RelayArguments {
    /// Configuration file (YAML). `deploy/relay.example.yaml` shows every setting.
    #[arg(long, env = "VOXGATE_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    /// Folder for the last allow-list and the hand-over socket. Default: `relay-data`.
    #[arg(long, env = "VOXGATE_DATA_DIR", value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// The relay's id: 1 or more, as in the gateway's list of relays.
    #[arg(long, env = "VOXGATE_RELAY_ID", value_name = "NUMBER")]
    id: Option<u32>,
    /// Address and port of the one public UDP socket. Default: 127.0.0.1:3478.
    #[arg(long, env = "VOXGATE_RELAY", value_name = "ADDR:PORT")]
    listen: Option<SocketAddr>,
    /// Address of the sockets towards nodes. Default: 127.0.0.1:0, any ports.
    #[arg(long, env = "VOXGATE_RELAY_TUNNEL", value_name = "ADDR:PORT")]
    tunnel: Option<SocketAddr>,
    /// Address and port of TCP and TLS for clients without UDP. Default: none.
    #[arg(long, env = "VOXGATE_RELAY_STREAM", value_name = "ADDR:PORT")]
    stream: Option<SocketAddr>,
    /// Address and port of /healthz, /readyz and /metrics. Default: 127.0.0.1:9478.
    #[arg(long, env = "VOXGATE_RELAY_OPERATIONS", value_name = "ADDR:PORT")]
    operations: Option<SocketAddr>,
    /// URL of the gateway's control listener. The token comes from VOXGATE_RELAY_TOKEN unless the file says otherwise.
    #[arg(long, env = "VOXGATE_RELAY_CONTROL", value_name = "URL")]
    control: Option<String>,
    /// Threads that forward: `auto` or a number. Default: auto, one for each core the process may use.
    #[arg(long, env = "VOXGATE_RELAY_THREADS", value_name = "COUNT")]
    threads: Option<ThreadCount>,
    /// How threads wait for packets. Default: block.
    #[arg(long, env = "VOXGATE_RELAY_WAIT", value_name = "STYLE")]
    wait: Option<Wait>,
    /// Do not take over from a relay that runs on the same data folder.
    #[arg(long)]
    no_takeover: bool,
}

impl RelayArguments {
    fn load(&self) -> Result<CheckedRelay, ConfigError> {
        let mut file = match &self.config {
            Some(path) => config::read_relay(path)?,
            None => RelayFile::default(),
        };
        let relay = &mut file.relay;
        if let Some(data_dir) = &self.data_dir {
            file.data_dir.clone_from(data_dir);
        }
        relay.id = self.id.or(relay.id);
        relay.listen = self.listen.unwrap_or(relay.listen);
        relay.tunnel = self.tunnel.unwrap_or(relay.tunnel);
        relay.stream = self.stream.or(relay.stream);
        relay.operations = self.operations.unwrap_or(relay.operations);
        relay.control = self.control.clone().or_else(|| relay.control.take());
        relay.threads = self.threads.unwrap_or(relay.threads);
        relay.wait = self.wait.unwrap_or(relay.wait);
        config::check_relay(&file, &|name| std::env::var(name).ok())
    }
}

/// Runs a relay.
pub(super) fn run(arguments: &RelayArguments, log_format: LogFormat) -> ExitCode {
    logging::start(log_format);
    crate::process::raise_open_files();
    match arguments.load() {
        Ok(checked) => exit_code(relay_role::run(&checked, !arguments.no_takeover)),
        Err(error) => complain(&error.to_string(), EXIT_CONFIG),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::super::{Cli, Task};
    use super::*;

    #[test]
    fn a_relay_can_be_described_on_the_command_line_alone() {
        let cli = Cli::parse_from([
            "voxgate",
            "relay",
            "--id",
            "3",
            "--listen",
            "127.0.0.1:3480",
            "--control",
            "http://127.0.0.1:8090",
            "--threads",
            "2",
            "--wait",
            "busy_poll",
        ]);
        let Task::Relay(arguments) = cli.command else { panic!("another task") };
        let ConfigError::Problems(problems) = arguments.load().unwrap_err() else { panic!("another error") };
        assert_eq!(problems.len(), 1, "{problems:?}");
        assert!(problems[0].contains("VOXGATE_RELAY_TOKEN"), "{problems:?}");
    }
}
