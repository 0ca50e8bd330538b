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
    /// Show a session that runs, or one of the last that are over: its turns and who spent their time; with `--json` the whole
    /// record.
    Show {
        #[command(flatten)]
        gateway: GatewayArguments,
        /// The session, as `list` prints it.
        #[arg(value_name = "SESSION")]
        session: String,
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
        SessionsTask::Show { gateway, session } => gateway.run(async |administration| {
            let record =
                administration.ask(Method::GET, &format!("/sessions/{session}/record"), None).await?;
            let turns = record.get("turns").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
            administration.show_whole(&record, turns, &TURN_COLUMNS);
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

const TURN_COLUMNS: [Column; 6] = [
    ("TURN", |turn| field(turn, "turn")),
    ("MILLISECONDS", |turn| milliseconds(turn.get("mouth_to_ear_ms"))),
    ("MAY TAKE", |turn| milliseconds(turn.get("budget_ms"))),
    ("SERVED BY", |turn| field(turn, "provider")),
    ("LONGEST HOP", longest_hop),
    ("DOLLARS", dollars),
];

fn milliseconds(time: Option<&Value>) -> String {
    time.and_then(Value::as_f64).map_or_else(|| "-".to_owned(), |time| format!("{time:.0}"))
}

fn longest_hop(turn: &Value) -> String {
    let hops = turn.get("hops").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let took = |hop: &Value| hop.get("duration_ms").and_then(Value::as_f64).unwrap_or_default();
    let longest = hops.iter().max_by(|one, other| took(one).total_cmp(&took(other)));
    longest.map_or_else(
        || "-".to_owned(),
        |hop| format!("{} {}", field(hop, "hop"), milliseconds(hop.get("duration_ms"))),
    )
}

/// The place in the tree.
pub(super) fn whose(thing: &Value) -> String {
    let place = ["organisation", "team", "key"].map(|name| field(thing, name)).join("/");
    match thing.get("agent").and_then(Value::as_str) {
        Some(_) => format!("{place}/{}", field(thing, "agent")),
        None => place,
    }
}

fn age(session: &Value) -> String {
    let began = session.get("began_at").and_then(Value::as_f64).unwrap_or_default();
    let began = Duration::try_from_secs_f64(began).unwrap_or_default();
    let age = since_unix_epoch().saturating_sub(began).as_secs();
    humantime_serde::re::humantime::format_duration(Duration::from_secs(age)).to_string()
}

fn dollars(session: &Value) -> String {
    let nano = session.get("cost_nano_dollars").and_then(Value::as_i64);
    nano.map_or_else(|| "-".to_owned(), |nano| voxgate_protocol::money::NanoDollars::new(nano).to_string())
}
