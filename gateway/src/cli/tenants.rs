//! `voxgate organisations` and `voxgate teams`.

use std::process::ExitCode;

use reqwest::Method;
use serde_json::json;
use voxgate_protocol::tenant::{OrganisationId, TeamId};

use super::administration::{Column, EXITS, GatewayArguments, field};
use super::say;

/// What `voxgate organisations` takes.
#[derive(clap::Args)]
#[command(after_help = EXITS)]
pub(crate) struct OrganisationsArguments {
    #[command(subcommand)]
    task: OrganisationsTask,
}

#[derive(clap::Subcommand)]
enum OrganisationsTask {
    /// List organisations, those of the configuration too.
    List {
        #[command(flatten)]
        gateway: GatewayArguments,
    },
    /// Make an organisation. Only owners of the organisation `default`, which runs the gateway, can.
    Create {
        #[command(flatten)]
        gateway: GatewayArguments,
        /// Its id, which never changes: letters, digits, `-`, `_` and `.`.
        #[arg(value_name = "ORGANISATION", value_parser = OrganisationId::new)]
        id: OrganisationId,
        /// For people. Default: the id.
        #[arg(long)]
        name: Option<String>,
    },
}

/// What `voxgate teams` takes.
#[derive(clap::Args)]
#[command(after_help = EXITS)]
pub(crate) struct TeamsArguments {
    #[command(subcommand)]
    task: TeamsTask,
}

#[derive(clap::Subcommand)]
enum TeamsTask {
    /// List the teams of an organisation, those of the configuration too.
    List {
        #[command(flatten)]
        gateway: GatewayArguments,
        /// The organisation.
        #[arg(value_name = "ORGANISATION", value_parser = OrganisationId::new)]
        organisation: OrganisationId,
    },
    /// Make a team in an organisation. `voxgate keys create` makes its keys.
    Create {
        #[command(flatten)]
        gateway: GatewayArguments,
        /// The organisation.
        #[arg(value_name = "ORGANISATION", value_parser = OrganisationId::new)]
        organisation: OrganisationId,
        /// Its id, which never changes: letters, digits, `-`, `_` and `.`.
        #[arg(value_name = "TEAM", value_parser = TeamId::new)]
        id: TeamId,
        /// For people. Default: the id.
        #[arg(long)]
        name: Option<String>,
    },
}

/// Does what the command line asks for.
pub(crate) fn run_organisations(arguments: OrganisationsArguments) -> ExitCode {
    match arguments.task {
        OrganisationsTask::List { gateway } => gateway.run(async |administration| {
            let found = administration.list("/organisations").await?;
            administration.show(&found, &ORGANISATION);
            Ok(())
        }),
        OrganisationsTask::Create { gateway, id, name } => gateway.run(async |administration| {
            let body = json!({ "id": id, "name": name.unwrap_or_else(|| id.to_string()) });
            administration.ask(Method::POST, "/organisations", Some(body)).await?;
            say(&format!("made {id}"));
            Ok(())
        }),
    }
}

/// Does what the command line asks for.
pub(crate) fn run_teams(arguments: TeamsArguments) -> ExitCode {
    match arguments.task {
        TeamsTask::List { gateway, organisation } => gateway.run(async |administration| {
            let found = administration.list(&format!("/organisations/{organisation}/teams")).await?;
            administration.show(&found, &TEAM);
            Ok(())
        }),
        TeamsTask::Create { gateway, organisation, id, name } => gateway.run(async |administration| {
            let body = json!({ "id": id, "name": name.unwrap_or_else(|| id.to_string()) });
            let path = format!("/organisations/{organisation}/teams");
            administration.ask(Method::POST, &path, Some(body)).await?;
            say(&format!("made {organisation}/{id}"));
            Ok(())
        }),
    }
}

const ORGANISATION: [Column; 3] = [
    ("ORGANISATION", |thing| field(thing, "id")),
    ("NAME", |thing| field(thing, "name")),
    ("WRITTEN IN", |thing| field(thing, "source")),
];

const TEAM: [Column; 3] = [
    ("TEAM", |thing| field(thing, "id")),
    ("NAME", |thing| field(thing, "name")),
    ("WRITTEN IN", |thing| field(thing, "source")),
];
