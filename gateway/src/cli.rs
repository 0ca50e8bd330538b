//! The command line.

mod administration;
mod approvals;
mod audit;
mod budgets;
mod call;
mod configuration;
mod keys;
mod relay;
mod replay;
mod sessions;
mod store;
mod tenants;
mod usage;

use std::io::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use clap::{Parser, Subcommand};
use voxgate_policy::bundle::Bundle;

use crate::config::{self, ConfigError, Loaded, Source, Text, Written};
use crate::data_dir::DataDir;
use crate::logging::{self, LogFormat};
use crate::process::{StartError, raise_open_files};
use crate::revision::last_good;
use crate::standalone;

/// What a configuration is called that did not come from a file of this machine.
const BUNDLED: &str = "voxgate.yaml";

/// A configuration or a machine that does not fit (sysexits.h `EX_CONFIG`).
const EXIT_CONFIG: u8 = 78;

/// Real-time voice AI gateway: browsers and Realtime API clients on one side, speech providers on the other.
#[derive(Parser)]
#[command(
    version,
    after_help = "Examples:\n  \
    voxgate standalone                          everything in one process, key-free local voice\n  \
    voxgate relay --config relay.yaml           a relay in a process of its own\n  \
    voxgate check voxgate.yaml                  every problem of a configuration at once\n  \
    voxgate plan voxgate.yaml                   what it would change in a running gateway\n  \
    voxgate apply voxgate.yaml                  put it in force; `voxgate rollback` goes back\n  \
    voxgate call --wav question.wav --save answer.wav\n                                              \
    call a gateway from the terminal and see where the milliseconds went\n\n\
    Logs go to standard error; VOXGATE_LOG sets what is logged. Default: warn,rtc_dtls=error,voxgate=info"
)]
struct Cli {
    /// How log lines of a gateway or a relay are written.
    #[arg(
        long,
        env = "VOXGATE_LOG_FORMAT",
        value_name = "FORMAT",
        value_enum,
        default_value_t,
        global = true
    )]
    log_format: LogFormat,
    #[command(subcommand)]
    command: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Run every role in one process: signaling, relay, transceiver and, by default, the key-free local voice.
    Standalone(Settings),
    /// Run a relay in a process of its own: the public UDP port in front of a gateway.
    Relay(Box<relay::RelayArguments>),
    /// Validate a configuration, of a gateway or of a relay, and list every problem at once, with file, line and column.
    /// Exits with 0 if there is none, with 78 otherwise.
    Check(CheckArguments),
    /// Show what a configuration would change in a running gateway, and which of its sessions that touches.
    Plan(Box<configuration::PlanArguments>),
    /// Put a configuration in force in a running gateway: for new sessions; those that run keep theirs.
    Apply(Box<configuration::ApplyArguments>),
    /// Put an earlier revision of the configuration in force again.
    Rollback(Box<configuration::RollbackArguments>),
    /// List the revisions of a gateway's configuration, the one that runs marked with a star.
    Revisions(Box<configuration::RevisionsArguments>),
    /// Call a gateway: play a WAV as the caller's voice, save the answer, print transcript and latency waterfall.
    Call(Box<call::CallArguments>),
    /// Set, list, change and remove budgets of a running gateway.
    Budgets(Box<budgets::BudgetsArguments>),
    /// Make, list and revoke API keys of the store.
    Keys(keys::KeysArguments),
    /// List and end the sessions of a running gateway.
    Sessions(Box<sessions::SessionsArguments>),
    /// Decide about tool calls that wait for a person.
    Approvals(Box<approvals::ApprovalsArguments>),
    /// List and make organisations of a running gateway.
    Organisations(Box<tenants::OrganisationsArguments>),
    /// List and make teams of a running gateway.
    Teams(Box<tenants::TeamsArguments>),
    /// Look after the audit log.
    Audit(audit::AuditArguments),
    /// Add up what was spent, by organisation, team, key, agent, provider, model, hop and day.
    Usage(Box<usage::UsageArguments>),
    /// Compare a provider's invoice with the ledger.
    Reconcile(usage::ReconcileArguments),
    /// Run the core of a session on its log, in virtual time, and check that every decision and event comes out as it did
    /// in the call.
    Replay(replay::ReplayArguments),
}

/// What `voxgate check` takes.
#[derive(clap::Args)]
struct CheckArguments {
    #[command(flatten)]
    settings: Settings,
    /// Configuration file, as with --config.
    #[arg(value_name = "FILE", conflicts_with = "config")]
    file: Option<PathBuf>,
}

/// Settings that win over the configuration file.
#[derive(Clone, Debug, clap::Args)]
struct Settings {
    /// Configuration file (YAML). Without it every setting has its default; `deploy/voxgate.example.yaml` shows all.
    #[arg(long, env = "VOXGATE_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    /// Folder for keys, certificates and stores. Default: `data`.
    #[arg(long, env = "VOXGATE_DATA_DIR", value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Address and port of plain HTTP. Default: 127.0.0.1:8080.
    #[arg(long, env = "VOXGATE_HTTP", value_name = "ADDR:PORT")]
    http: Option<SocketAddr>,
    /// Address and port of HTTPS. Default: 127.0.0.1:8443.
    #[arg(long, env = "VOXGATE_HTTPS", value_name = "ADDR:PORT")]
    https: Option<SocketAddr>,
    /// Address and port of the relay's one public UDP socket. Default: 127.0.0.1:3478.
    #[arg(long, env = "VOXGATE_RELAY", value_name = "ADDR:PORT")]
    relay: Option<SocketAddr>,
    /// Address clients reach the relay at, where it differs from --relay.
    #[arg(long, env = "VOXGATE_RELAY_ADVERTISE", value_name = "ADDR:PORT")]
    relay_advertise: Option<SocketAddr>,
}

impl Settings {
    /// With this file, if it is given.
    fn or_file(&mut self, file: Option<PathBuf>) -> &Self {
        self.config = file.or_else(|| self.config.take());
        self
    }

    /// Checks the file as what it is: a gateway's configuration, or a relay's.
    fn check(&self) -> Result<(), ConfigError> {
        match &self.config {
            Some(path) if config::describes_a_relay(path)? => {
                let environment = |name: &str| std::env::var(name).ok();
                config::check_relay(&config::read_relay(path)?, &environment).map(drop)
            }
            _ => self.read().map(drop),
        }
    }

    /// What the command line says wins over a configuration.
    fn overrule(&self, written: &mut Written) {
        if let Some(data_dir) = &self.data_dir {
            written.data_dir.clone_from(data_dir);
        }
        for (given, place) in [
            (self.http, &mut written.http.listen),
            (self.https, &mut written.https.listen),
            (self.relay, &mut written.relay.listen),
        ] {
            if let Some(given) = given {
                *place = given;
            }
        }
        written.relay.advertise = self.relay_advertise.or(written.relay.advertise);
    }

    fn load(&self, text: &Text<'_>) -> Result<Loaded, ConfigError> {
        text.load(|written| self.overrule(written), &|name| std::env::var(name).ok())
    }
}

impl Source for Settings {
    fn read(&self) -> Result<Loaded, ConfigError> {
        let path = self.config.as_deref();
        let text = path.map_or_else(|| Ok(String::new()), config::text_of)?;
        let name = path.map(|path| path.display().to_string()).unwrap_or_default();
        self.load(&Text { name: &name, text: &text, read: &config::from_disk })
    }

    fn data_dir(&self) -> PathBuf {
        let of_file = || config::data_dir_of(&config::text_of(self.config.as_deref()?).ok()?);
        self.data_dir.clone().or_else(of_file).unwrap_or_else(|| Written::default().data_dir)
    }

    fn take(&self, bundle: Bundle) -> Result<Loaded, ConfigError> {
        let read = |path: &Path| config::from_bundle(&bundle, path);
        self.load(&Text { name: BUNDLED, text: bundle.configuration(), read: &read })
    }
}

/// Runs what the command line asks for.
pub(crate) fn run() -> ExitCode {
    let Cli { log_format, command } = Cli::parse();
    match command {
        Task::Standalone(settings) => {
            logging::start(log_format);
            raise_open_files();
            let data = DataDir::open_existing(&settings.data_dir());
            match last_good::begin(&settings, data.as_ref()) {
                Ok(beginning) => exit_code(standalone::run(beginning, Arc::new(settings))),
                Err(error) => complain(&error.to_string(), EXIT_CONFIG),
            }
        }
        Task::Relay(arguments) => relay::run(&arguments, log_format),
        Task::Plan(arguments) => configuration::plan(&arguments),
        Task::Apply(arguments) => configuration::apply(&arguments),
        Task::Rollback(arguments) => configuration::roll_back(&arguments),
        Task::Revisions(arguments) => configuration::revisions(&arguments),
        Task::Check(CheckArguments { mut settings, file }) => match settings.or_file(file).check() {
            Ok(()) => {
                say("the configuration is valid");
                ExitCode::SUCCESS
            }
            Err(error) => complain(&error.to_string(), EXIT_CONFIG),
        },
        Task::Call(arguments) => call::run(*arguments),
        Task::Budgets(arguments) => budgets::run(*arguments),
        Task::Keys(arguments) => keys::run(arguments),
        Task::Sessions(arguments) => sessions::run(*arguments),
        Task::Approvals(arguments) => approvals::run(*arguments),
        Task::Organisations(arguments) => tenants::run_organisations(*arguments),
        Task::Teams(arguments) => tenants::run_teams(*arguments),
        Task::Audit(arguments) => audit::run(arguments),
        Task::Usage(arguments) => usage::run(*arguments),
        Task::Reconcile(arguments) => usage::reconcile(arguments),
        Task::Replay(arguments) => replay::run(&arguments),
    }
}

fn exit_code(result: Result<(), StartError>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => complain(&error.to_string(), 1),
    }
}

/// One clear line for the person at the terminal.
fn complain(message: &str, code: u8) -> ExitCode {
    // There is nowhere left to report that standard error is closed.
    let _ = writeln!(std::io::stderr(), "voxgate: {message}");
    ExitCode::from(code)
}

/// One line for the person at the terminal.
pub(crate) fn say(message: &str) {
    // A closed standard output ends nothing: the process is a server first.
    let _ = writeln!(std::io::stdout(), "{message}");
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_flag_wins_over_the_default() {
        let cli = Cli::parse_from(["voxgate", "check", "--http", "127.0.0.1:9", "--data-dir", "/x"]);
        let Task::Check(CheckArguments { settings, .. }) = cli.command else { panic!("another task") };
        let checked = settings.read().unwrap().checked;
        assert_eq!(checked.http.port(), 9);
        assert_eq!(checked.data_dir, PathBuf::from("/x"));
    }
}
