//! `voxgate sessions`.

use std::process::ExitCode;
use std::time::Duration;

use reqwest::Method;
use serde_json::Value;

use super::administration::{Column, EXITS, GatewayArguments, field};
use super::say;
use crate::host::since_unix_epoch;

/// What `voxgate sessions` takes.
#[derive(clap::Args)]
#[command(after_help = EXITS)]
pub(crate) struct SessionsArguments {
    #[command(subcommand)]
    task: SessionsTask,
}

#[derive(clap::Subcommand)]
enum SessionsTask {
    /// List the sessions that run: whose they are, where they lead, for how long, what they cost so far.
    List {
        #[command(flatten)]
        gateway: GatewayArguments,
    },
    /// End a session. Its client is told so and does not come back by itself.
    End {
        #[command(flatten)]
        gateway: GatewayArguments,
        /// The session, as `list` prints it.
        #[arg(value_name = "SESSION")]
        session: String,
    },
}

/// Does what the command line asks for.
pub(crate) fn run(arguments: SessionsArguments) -> ExitCode {
    match arguments.task {
        SessionsTask::List { gateway } => gateway.run(async |administration| {
            let sessions = administration.list("/sessions").await?;
            administration.show(&sessions, &COLUMNS);
            Ok(())
        }),
        SessionsTask::End { gateway, session } => gateway.run(async |administration| {
            administration.ask(Method::POST, &format!("/sessions/{session}/end"), None).await?;
            say("it ends");
            Ok(())
        }),
    }
}

const COLUMNS: [Column; 8] = [
    ("SESSION", |session| field(session, "id")),
    ("WHOSE", whose),
    ("MODEL", |session| field(session, "model")),
    ("PROVIDER", |session| field(session, "provider")),
    ("OVER", |session| field(session, "transport")),
    ("STATE", |session| field(session, "state")),
    ("FOR", age),
    ("DOLLARS", dollars),
];

/// The place in the tree.
pub(super) fn whose(thing: &Value) -> String {
    let place = ["organisation", "team", "key"].map(|name| field(thing, name)).join("/");
    match thing.get("agent").and_then(Value::as_str) {
        Some(_) => format!("{place}/{}", field(thing, "agent")),
        None => place,
    }
}

fn age(session: &Value) -> String {
    let began = session.get("began_at").and_then(Value::as_u64).unwrap_or_default();
    let age = since_unix_epoch().as_secs().saturating_sub(began);
    humantime_serde::re::humantime::format_duration(Duration::from_secs(age)).to_string()
}

fn dollars(session: &Value) -> String {
    let nano = session.get("cost_nano_dollars").and_then(Value::as_i64);
    nano.map_or_else(|| "-".to_owned(), |nano| voxgate_protocol::money::NanoDollars::new(nano).to_string())
}
