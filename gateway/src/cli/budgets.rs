//! `voxgate budgets`.

use std::process::ExitCode;

use reqwest::Method;
use serde_json::{Value, json};
use voxgate_policy::money::day::Window;
use voxgate_protocol::money::NanoDollars;
use voxgate_protocol::tenant::{AgentId, KeyId, OrganisationId, TeamId};

use super::administration::{Column, EXITS, GatewayArguments, field};
use super::say;

/// What `voxgate budgets` takes.
#[derive(clap::Args)]
#[command(after_help = EXITS)]
pub(crate) struct BudgetsArguments {
    #[command(subcommand)]
    task: BudgetsTask,
}

#[derive(clap::Subcommand)]
enum BudgetsTask {
    /// List budgets with what is spent, drawn and left, those of the configuration too.
    List {
        #[command(flatten)]
        gateway: GatewayArguments,
    },
    /// Set a budget. It holds at once, for running sessions too.
    Set(Box<NewBudget>),
    /// Put other limits in the place of a budget's.
    Change {
        #[command(flatten)]
        gateway: GatewayArguments,
        /// Its id, as `list` prints it.
        #[arg(value_name = "BUDGET_ID", value_parser = name)]
        id: String,
        #[command(flatten)]
        limits: Limits,
    },
    /// Take a budget away.
    Remove {
        #[command(flatten)]
        gateway: GatewayArguments,
        /// Its id, as `list` prints it.
        #[arg(value_name = "BUDGET_ID", value_parser = name)]
        id: String,
    },
}

/// A budget to be set.
#[derive(clap::Args)]
struct NewBudget {
    #[command(flatten)]
    gateway: GatewayArguments,
    /// The organisation it is for.
    #[arg(long, value_parser = OrganisationId::new)]
    organisation: OrganisationId,
    /// The team it is for. Default: the whole organisation.
    #[arg(long, value_parser = TeamId::new)]
    team: Option<TeamId>,
    /// The key of the team it is for. Default: the whole team.
    #[arg(long, requires = "team", value_parser = KeyId::new)]
    key_id: Option<KeyId>,
    /// The agent of the key it is for. Default: the whole key.
    #[arg(long, requires = "key_id", value_parser = AgentId::new)]
    agent: Option<AgentId>,
    /// How long it lasts before it begins anew, in UTC: hour, day, month, or total, which never does.
    #[arg(long, default_value = "month", value_parser = window)]
    window: Window,
    #[command(flatten)]
    limits: Limits,
}

#[derive(clap::Args)]
#[group(required = true, multiple = true)]
struct Limits {
    /// Beyond this nothing is spent, in US dollars, such as `12.50`.
    #[arg(long, value_name = "DOLLARS", value_parser = dollars)]
    hard: Option<NanoDollars>,
    /// From here on somebody is told, in US dollars.
    #[arg(long, value_name = "DOLLARS", value_parser = dollars)]
    soft: Option<NanoDollars>,
}

impl Limits {
    fn body(&self) -> Value {
        json!({
            "soft_nano_dollars": self.soft.map(NanoDollars::get), "hard_nano_dollars": self.hard.map(NanoDollars::get),
        })
    }
}

/// An id goes into a path.
fn name(text: &str) -> Result<String, String> {
    KeyId::new(text).map(|id| id.to_string()).map_err(|error| error.to_string())
}

fn window(word: &str) -> Result<Window, String> {
    let found = Window::ALL.into_iter().find(|window| window.as_str() == word);
    found.ok_or_else(|| "a window is hour, day, month or total".to_owned())
}

fn dollars(text: &str) -> Result<NanoDollars, String> {
    NanoDollars::from_dollars(text).map_err(|error| error.to_string())
}

/// Does what the command line asks for.
pub(crate) fn run(arguments: BudgetsArguments) -> ExitCode {
    match arguments.task {
        BudgetsTask::List { gateway } => gateway.run(async |administration| {
            let found = administration.list("/budgets").await?;
            administration.show(&found, &BUDGET);
            Ok(())
        }),
        BudgetsTask::Set(new) => new.gateway.clone().run(async |administration| {
            let mut body = new.limits.body();
            body["organisation"] = json!(new.organisation);
            body["team"] = json!(new.team);
            body["key"] = json!(new.key_id);
            body["agent"] = json!(new.agent);
            body["window"] = json!(new.window);
            let made = administration.ask(Method::POST, "/budgets", Some(body)).await?;
            say(&format!("set {}", field(&made, "id")));
            Ok(())
        }),
        BudgetsTask::Change { gateway, id, limits } => gateway.run(async |administration| {
            administration.ask(Method::PUT, &format!("/budgets/{id}"), Some(limits.body())).await?;
            say(&format!("changed {id}"));
            Ok(())
        }),
        BudgetsTask::Remove { gateway, id } => gateway.run(async |administration| {
            administration.ask(Method::DELETE, &format!("/budgets/{id}"), None).await?;
            say(&format!("removed {id}"));
            Ok(())
        }),
    }
}

/// Whom it is for, as far as it says.
fn place(thing: &Value) -> String {
    let names = ["organisation", "team", "key", "agent"].into_iter();
    let said = names.filter(|name| thing.get(name).is_some_and(|name| !name.is_null()));
    said.map(|name| field(thing, name)).collect::<Vec<_>>().join("/")
}

fn amount(thing: &Value, name: &str) -> String {
    let nano = thing.get(name).and_then(Value::as_i64);
    let Some(nano) = nano else { return "-".to_owned() };
    let text = NanoDollars::new(nano).to_string();
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

const BUDGET: [Column; 7] = [
    ("BUDGET", |thing| field(thing, "id")),
    ("FOR", place),
    ("WINDOW", |thing| field(thing, "window")),
    ("SPENT", |thing| amount(thing, "spent_nano_dollars")),
    ("SOFT", |thing| amount(thing, "soft_nano_dollars")),
    ("HARD", |thing| amount(thing, "hard_nano_dollars")),
    ("WRITTEN IN", |thing| field(thing, "source")),
];
