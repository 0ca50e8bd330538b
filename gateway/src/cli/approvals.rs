//! `voxgate approvals`.

use std::process::ExitCode;
use std::time::Duration;

use reqwest::Method;
use serde_json::Value;

use super::administration::{Administration, Column, EXITS, GatewayArguments, Trouble, field};
use super::say;
use super::sessions::whose;
use crate::host::since_unix_epoch;

/// What `voxgate approvals` takes.
#[derive(clap::Args)]
#[command(after_help = EXITS)]
pub(crate) struct ApprovalsArguments {
    #[command(subcommand)]
    task: ApprovalsTask,
}

#[derive(clap::Subcommand)]
enum ApprovalsTask {
    /// List the tool calls that wait for a person, with what the model wants to do and the time that is left.
    List {
        #[command(flatten)]
        gateway: GatewayArguments,
    },
    /// Let a tool call happen. The conversation goes on with it.
    Approve(Verdict),
    /// Refuse a tool call. The model is told so.
    Deny(Verdict),
}

/// A verdict.
#[derive(clap::Args)]
struct Verdict {
    #[command(flatten)]
    gateway: GatewayArguments,
    /// The call, as `list` prints it.
    #[arg(value_name = "APPROVAL")]
    approval: String,
}

/// Does what the command line asks for.
pub(crate) fn run(arguments: ApprovalsArguments) -> ExitCode {
    match arguments.task {
        ApprovalsTask::List { gateway } => gateway.run(async |administration| {
            let held = administration.list("/approvals").await?;
            administration.show(&held, &COLUMNS);
            Ok(())
        }),
        ApprovalsTask::Approve(Verdict { gateway, approval }) => {
            gateway.run(async |administration| decide(&administration, &approval, "approve").await)
        }
        ApprovalsTask::Deny(Verdict { gateway, approval }) => {
            gateway.run(async |administration| decide(&administration, &approval, "deny").await)
        }
    }
}

async fn decide(administration: &Administration, approval: &str, verdict: &str) -> Result<(), Trouble> {
    let path = format!("/approvals/{approval}/{verdict}");
    let decided = administration.ask(Method::POST, &path, None).await?;
    say(&field(&decided, "state"));
    Ok(())
}

const COLUMNS: [Column; 6] = [
    ("APPROVAL", |held| field(held, "id")),
    ("TOOL", |held| field(held, "tool")),
    ("RISK", |held| field(held, "risk")),
    ("ARGUMENTS", |held| field(held, "arguments")),
    ("LEFT", left),
    ("WHOSE", whose),
];

fn left(held: &Value) -> String {
    let deadline = Duration::from_millis(held.get("deadline_ms").and_then(Value::as_u64).unwrap_or_default());
    let left = deadline.saturating_sub(since_unix_epoch()).as_secs();
    humantime_serde::re::humantime::format_duration(Duration::from_secs(left)).to_string()
}
