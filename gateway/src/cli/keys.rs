//! `voxgate keys`.

use std::collections::BTreeSet;
use std::process::ExitCode;
use std::time::Duration;

use voxgate_policy::directory::{Caller, KeyEntry, Role, Scope};
use voxgate_policy::key::KeyHash;
use voxgate_protocol::tenant::{AgentId, KeyId, OrganisationId, TeamId, TenantPath};
use voxgate_signaling::store::keys::StoredKey;
use voxgate_signaling::store::request::Done;
use voxgate_signaling::store::tenants::{Organisation, Team};
use voxgate_signaling::store::{Store, StoreError};

use super::store::{StoreArguments, deed};
use super::{complain, say};
use crate::config::default_scopes;
use crate::data_dir::{new_api_key, random_hex};
use crate::host::since_unix_epoch;

/// Keys read at once.
const PAGE: u32 = 500;

/// What `voxgate keys` takes.
#[derive(clap::Args)]
pub(crate) struct KeysArguments {
    #[command(subcommand)]
    task: KeysTask,
}

#[derive(clap::Subcommand)]
enum KeysTask {
    /// Make a key and print it, this once. A running gateway takes it within a second.
    Create(Box<NewKey>),
    /// List keys: id, team, state, name. Keys themselves are kept nowhere.
    List {
        #[command(flatten)]
        store: StoreArguments,
    },
    /// Revoke a key for good. A running gateway ends its sessions within a second.
    Revoke {
        #[command(flatten)]
        store: StoreArguments,
        /// The id of the key, as `list` prints it.
        #[arg(value_name = "KEY_ID")]
        id: String,
    },
}

/// A key to be made.
#[derive(clap::Args)]
struct NewKey {
    #[command(flatten)]
    store: StoreArguments,
    /// For people: who or what uses the key.
    #[arg(long)]
    name: String,
    /// The organisation it belongs to.
    #[arg(long, default_value = "default", value_parser = OrganisationId::new)]
    organisation: OrganisationId,
    /// The team it belongs to.
    #[arg(long, default_value = "default", value_parser = TeamId::new)]
    team: TeamId,
    /// Make organisation and team if the store does not know them; without it a mistyped name is refused.
    #[arg(long)]
    new_team: bool,
    /// The agent it is narrowed to. Default: none.
    #[arg(long, value_parser = AgentId::new)]
    agent: Option<AgentId>,
    /// What its holder may do in the administration: owner, operator, auditor or member.
    #[arg(long, default_value = "member", value_parser = role)]
    role: Role,
    /// What it opens, separated by commas: calls, client_secrets, sidebands, admin. Default: all, but for members not admin.
    #[arg(long, value_delimiter = ',', value_parser = scope)]
    scopes: Option<Vec<Scope>>,
    /// How long it works, such as `30d`. Default: until it is revoked.
    #[arg(long, value_name = "TIME", value_parser = humantime_serde::re::humantime::parse_duration)]
    expires_in: Option<Duration>,
}

fn role(word: &str) -> Result<Role, String> {
    Role::from_word(word).ok_or_else(|| "a role is owner, operator, auditor or member".to_owned())
}

fn scope(word: &str) -> Result<Scope, String> {
    Scope::from_word(word).ok_or_else(|| "a scope is calls, client_secrets, sidebands or admin".to_owned())
}

/// Does what the command line asks for.
pub(crate) fn run(arguments: KeysArguments) -> ExitCode {
    match arguments.task {
        KeysTask::Create(new) => {
            let Some((id, key)) = random_hex::<6>().zip(new_api_key()) else {
                return complain("the operating system gave no random numbers", 2);
            };
            new.store.clone().run(async |store| create(&store, *new, &format!("key_{id}"), &key).await)
        }
        KeysTask::List { store } => store.run(async |store| list(&store).await),
        KeysTask::Revoke { store, id } => store.run(async |store| revoke(&store, &id).await),
    }
}

async fn create(store: &Store, new: NewKey, id: &str, key: &str) -> Result<ExitCode, StoreError> {
    let by = deed();
    if new.new_team {
        make_team(store, &new).await?;
    }
    let id = KeyId::new(id).map_err(|_| StoreError::Damaged { what: "id" })?;
    let tenancy = TenantPath { organisation: new.organisation, team: new.team, key: id, agent: new.agent };
    let expires_at = new.expires_in.map(|time| since_unix_epoch().saturating_add(time).as_secs());
    let scopes: Option<BTreeSet<Scope>> = new.scopes.map(|scopes| scopes.into_iter().collect());
    let scopes = scopes.unwrap_or_else(|| default_scopes(new.role));
    let caller = Caller { tenancy, role: new.role, scopes, is_signed_in: false };
    let entry = KeyEntry { hash: KeyHash::of(key), caller, expires_at, is_revoked: false };
    let stored = StoredKey { entry, name: new.name, created_at: by.at_unix_ms, revoked_at: None };
    store.add_key(&stored, &by).await?;
    say(&format!("id   {}", stored.id()));
    say(&format!("key  {key}   (shown this once; only its hash is kept)"));
    Ok(ExitCode::SUCCESS)
}

/// Makes what is missing of the key's place.
async fn make_team(store: &Store, new: &NewKey) -> Result<(), StoreError> {
    let by = deed();
    let (organisation, team) = (new.organisation.as_str(), new.team.as_str());
    if !store.has_organisation(organisation).await? {
        let name = organisation.to_owned();
        let organisation = Organisation { id: name.clone(), name, created_at: by.at_unix_ms };
        store.add_organisation(&organisation, &by).await?;
    }
    if !store.has_team(organisation, team).await? {
        let (id, organisation_id) = (team.to_owned(), organisation.to_owned());
        let team = Team { name: id.clone(), id, organisation_id, created_at: by.at_unix_ms };
        store.add_team(&team, &by).await?;
    }
    Ok(())
}

async fn list(store: &Store) -> Result<ExitCode, StoreError> {
    let now = since_unix_epoch().as_secs();
    let mut after = String::new();
    loop {
        let page = store.keys(&after, PAGE).await?;
        for key in &page {
            let state = match key.entry.expires_at {
                _ if key.entry.is_revoked => "revoked",
                Some(at) if at <= now => "expired",
                _ => "live",
            };
            let TenantPath { organisation, team, .. } = &key.entry.caller.tenancy;
            let role = key.entry.caller.role.as_str();
            say(&format!("{}  {organisation}/{team}  {role:<8}  {state:<7}  {}", key.id(), key.name));
        }
        match page.last() {
            Some(last) if page.len() == PAGE as usize => last.id().clone_into(&mut after),
            _ => return Ok(ExitCode::SUCCESS),
        }
    }
}

async fn revoke(store: &Store, id: &str) -> Result<ExitCode, StoreError> {
    let done = store.revoke_key(id, &deed()).await?;
    say(if done == Done::Now { "revoked" } else { "was revoked before" });
    Ok(ExitCode::SUCCESS)
}
