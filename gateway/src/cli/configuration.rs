//! `voxgate plan`, `apply`, `rollback` and `revisions`: the configuration of a running gateway.

use std::io::{BufRead as _, IsTerminal as _};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use reqwest::{Client, Method, Url};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use thiserror::Error;
use voxgate_policy::bundle::Bundle;
use voxgate_protocol::revision::BundleHash;
use voxgate_signaling::admin::revisions::{Plan, PlannedChange, RevisionFacts, RunningRevision, TakesEffect};

use super::{EXIT_CONFIG, complain, say};
use crate::config;
use crate::control::client::{http_client, innermost};

/// Longest wait for an answer. Checking loads what the configuration names.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);

/// Another configuration runs than the one that was planned against.
const EXIT_STALE: u8 = 3;

/// Which gateway, and who asks.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct GatewayArguments {
    /// Base URL of the gateway's API.
    #[arg(long, env = "VOXGATE_URL", default_value = "http://127.0.0.1:8080/v1", value_name = "URL")]
    url: Url,
    /// API key of an owner of the organisation `default`. Better in the environment than on the command line, where others can
    /// see it.
    #[arg(long, env = "VOXGATE_KEY", hide_env_values = true, value_name = "KEY")]
    key: String,
    /// PEM file with the gateway's CA, for https addresses: `tls/ca.pem` in its data folder.
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// Print what the gateway answers, as JSON.
    #[arg(long)]
    json: bool,
}

/// What `voxgate plan` takes.
#[derive(clap::Args)]
#[command(
    after_help = "Exit status: 0 nothing would change; 1 the gateway cannot be asked or refuses; 2 something would change; \
                        78 the configuration has problems."
)]
pub(crate) struct PlanArguments {
    #[command(flatten)]
    gateway: GatewayArguments,
    /// The configuration file. Files it names are sent along.
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

/// What `voxgate apply` takes.
#[derive(clap::Args)]
#[command(
    after_help = "Exit status: 0 it runs; 1 the gateway cannot be asked or refuses; 3 another configuration runs meanwhile; 78 \
                        the configuration has problems."
)]
pub(crate) struct ApplyArguments {
    #[command(flatten)]
    gateway: GatewayArguments,
    /// The configuration file. Files it names are sent along.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Do not ask.
    #[arg(long, short)]
    yes: bool,
}

/// What `voxgate rollback` takes.
#[derive(clap::Args)]
pub(crate) struct RollbackArguments {
    #[command(flatten)]
    gateway: GatewayArguments,
    /// The number of the revision, as `voxgate revisions` prints it. Default: the last one before what runs.
    #[arg(value_name = "REVISION")]
    revision: Option<u64>,
}

/// What `voxgate revisions` takes.
#[derive(clap::Args)]
pub(crate) struct RevisionsArguments {
    #[command(flatten)]
    gateway: GatewayArguments,
    /// How many to list, the newest first.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=200))]
    limit: u32,
}

/// Why something was not done.
#[derive(Debug, Error)]
enum Failure {
    #[error("{0}")]
    Config(#[from] config::ConfigError),
    #[error("the gateway cannot be asked: {0}")]
    Unreachable(String),
    #[error("the gateway refuses: {0}")]
    Refused(String),
    #[error("{0}; nothing was changed")]
    Stale(String),
    #[error("the gateway finds {} problem(s):\n{}", .0.len(), .0.join("\n"))]
    Problems(Vec<String>),
    #[error("nothing was changed")]
    Declined,
}

impl Failure {
    const fn exit_code(&self) -> u8 {
        match self {
            Self::Config(_) | Self::Problems(_) => EXIT_CONFIG,
            Self::Stale(_) => EXIT_STALE,
            Self::Unreachable(_) | Self::Refused(_) | Self::Declined => 1,
        }
    }
}

#[derive(Serialize)]
struct PlanOrder<'a> {
    bundle: &'a Bundle,
}

#[derive(Serialize)]
struct ApplyOrder<'a> {
    bundle: &'a Bundle,
    follows: BundleHash,
}

#[derive(Serialize)]
struct RollbackOrder {
    revision: Option<u64>,
    follows: BundleHash,
}

#[derive(Deserialize)]
struct Refusal {
    error: RefusalDetail,
}

#[derive(Deserialize)]
struct RefusalDetail {
    code: String,
    message: String,
    #[serde(default)]
    problems: Vec<String>,
}

#[derive(Serialize, Deserialize)]
struct Listed {
    items: Vec<RevisionFacts>,
}

/// Prints what a file would change.
pub(crate) fn plan(arguments: &PlanArguments) -> ExitCode {
    let PlanArguments { gateway, file } = arguments;
    gateway.run(async |asks| {
        let plan = asks.plan(&config::read_bundle(file)?).await?;
        gateway.show(&plan, show_plan);
        Ok(if plan.changes.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(2) })
    })
}

/// Puts a file in force.
pub(crate) fn apply(arguments: &ApplyArguments) -> ExitCode {
    let ApplyArguments { gateway, file, yes } = arguments;
    gateway.run(async |asks| {
        let bundle = config::read_bundle(file)?;
        let plan = asks.plan(&bundle).await?;
        if !gateway.json {
            show_plan(&plan);
        }
        if !yes && !plan.changes.is_empty() && !agrees() {
            return Err(Failure::Declined);
        }
        let order = ApplyOrder { bundle: &bundle, follows: plan.running.hash };
        let running = asks.order("apply", &order).await?;
        gateway.show(&running, show_running);
        Ok(ExitCode::SUCCESS)
    })
}

/// Goes back.
pub(crate) fn roll_back(arguments: &RollbackArguments) -> ExitCode {
    let RollbackArguments { gateway, revision } = arguments;
    gateway.run(async |asks| {
        let running = asks.running().await?;
        let order = RollbackOrder { revision: *revision, follows: running.revision.hash };
        let running = asks.order("rollback", &order).await?;
        gateway.show(&running, show_running);
        Ok(ExitCode::SUCCESS)
    })
}

/// Lists revisions.
pub(crate) fn revisions(arguments: &RevisionsArguments) -> ExitCode {
    let RevisionsArguments { gateway, limit } = arguments;
    gateway.run(async |asks| {
        let running = asks.running().await?;
        let path = format!("/revisions?limit={limit}");
        let listed: Listed = asks.ask(Method::GET, &path, None::<&()>).await?;
        gateway.show(&listed, |listed| {
            for facts in &listed.items {
                let mark = if facts.name() == running.revision.name() { "*" } else { " " };
                say(&format!("{mark} {}", line_of(facts)));
            }
            show_troubles(&running);
        });
        Ok(ExitCode::SUCCESS)
    })
}

fn line_of(facts: &RevisionFacts) -> String {
    let at = std::time::UNIX_EPOCH + Duration::from_millis(facts.made_at_unix_ms);
    let at = humantime_serde::re::humantime::format_rfc3339_seconds(at);
    let RevisionFacts { number, hash, made_by, origin, .. } = facts;
    format!("{:>5}  {}  {at}  {:<8}  {made_by}", number, hash.short(), origin.as_str())
}

fn show_running(running: &RunningRevision) {
    say(&format!("running: revision {}", running.revision.name()));
    show_troubles(running);
}

fn show_troubles(running: &RunningRevision) {
    if !running.awaiting_restart.is_empty() {
        say(&format!("waiting for a restart: {}", running.awaiting_restart.join(", ")));
    }
    if let Some(reason) = &running.refused_file {
        say(&format!("the configuration file of the gateway is broken and not used: {reason}"));
    }
}

fn show_plan(plan: &Plan) {
    if plan.changes.is_empty() {
        say(&format!("nothing changes: the gateway runs this as revision {}", plan.running.name()));
        return;
    }
    let mut section = String::new();
    for planned in &plan.changes {
        let change = planned.change();
        if change.section() != section {
            change.section().clone_into(&mut section);
            say(&format!("{section}:"));
        }
        say(&format!("  {change}{}", meaning(planned)));
    }
    say(&format!(
        "{} change(s) to revision {}; {} session(s) run, {} of them end",
        plan.changes.len(),
        plan.running.name(),
        plan.sessions_running,
        plan.sessions_ending
    ));
}

fn meaning(planned: &PlannedChange) -> String {
    let mut parts = Vec::new();
    match planned.takes_effect {
        TakesEffect::Now => {}
        TakesEffect::NewSessions => parts.push("for new sessions".to_owned()),
        TakesEffect::Restart => parts.push("needs a restart".to_owned()),
    }
    if planned.sessions_ending > 0 {
        parts.push(format!("{} session(s) end", planned.sessions_ending));
    }
    if planned.sessions_keeping > 0 {
        let keep = if planned.takes_effect == TakesEffect::Now { "go on" } else { "keep the old" };
        parts.push(format!("{} session(s) {keep}", planned.sessions_keeping));
    }
    if parts.is_empty() { String::new() } else { format!("   [{}]", parts.join("; ")) }
}

/// Asks the person at the terminal. Without one nobody agrees.
fn agrees() -> bool {
    let input = std::io::stdin();
    if !input.is_terminal() {
        say("nobody is there to agree; --yes applies without asking");
        return false;
    }
    say("Apply this? [y/N]");
    let mut answer = String::new();
    input.lock().read_line(&mut answer).is_ok() && matches!(answer.trim(), "y" | "Y" | "yes")
}

impl GatewayArguments {
    fn run(&self, work: impl AsyncFnOnce(&Asks<'_>) -> Result<ExitCode, Failure>) -> ExitCode {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let done = runtime.map_err(|error| Failure::Unreachable(error.to_string())).and_then(|runtime| {
            let http = http_client(self.ca.as_deref(), ANSWER_TIMEOUT);
            let http = http.map_err(|error| Failure::Unreachable(error.to_string()))?;
            let asks = Asks { http, gateway: self };
            runtime.block_on(work(&asks))
        });
        done.unwrap_or_else(|failure| complain(&failure.to_string(), failure.exit_code()))
    }

    fn show<T: Serialize>(&self, answer: &T, for_people: impl FnOnce(&T)) {
        if self.json {
            say(&serde_json::to_string(answer).unwrap_or_default());
        } else {
            for_people(answer);
        }
    }
}

/// Asks a gateway.
struct Asks<'a> {
    http: Client,
    gateway: &'a GatewayArguments,
}

impl Asks<'_> {
    async fn running(&self) -> Result<RunningRevision, Failure> {
        self.ask(Method::GET, "", None::<&()>).await
    }

    async fn plan(&self, bundle: &Bundle) -> Result<Plan, Failure> {
        self.ask(Method::POST, "/plan", Some(&PlanOrder { bundle })).await
    }

    async fn order(&self, what: &str, order: &impl Serialize) -> Result<RunningRevision, Failure> {
        self.ask(Method::POST, &format!("/{what}"), Some(order)).await
    }

    async fn ask<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Option<&impl Serialize>,
    ) -> Result<T, Failure> {
        let unreachable = |error: reqwest::Error| Failure::Unreachable(innermost(&error));
        let url = self.gateway.url.join(&format!("/admin/v1/configuration{path}"));
        let url = url.map_err(|error| Failure::Unreachable(error.to_string()))?;
        let mut request = self.http.request(method, url).bearer_auth(&self.gateway.key);
        if let Some(body) = body {
            request = request.json(body);
        }
        let response = request.send().await.map_err(unreachable)?;
        if response.status().is_success() {
            return response.json().await.map_err(unreachable);
        }
        let status = response.status();
        let refusal: Result<Refusal, _> = response.json().await;
        Err(match refusal.map(|refusal| refusal.error) {
            Ok(detail) if detail.code == "configuration_invalid" => Failure::Problems(detail.problems),
            Ok(detail) if detail.code == "configuration_stale" => Failure::Stale(detail.message),
            Ok(detail) => Failure::Refused(detail.message),
            Err(_) => Failure::Refused(status.to_string()),
        })
    }
}
