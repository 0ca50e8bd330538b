//! Organisations, their teams and keys.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use voxgate_policy::directory::{Caller, Directory, KeyEntry, Role, Scope};
use voxgate_policy::key::KeyHash;
use voxgate_protocol::tenant::{AgentId, KeyId, MalformedTenantName, OrganisationId, TeamId, TenantPath};

/// One organisation.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Organisation {
    /// Its teams, by id. Default: none.
    pub(crate) teams: BTreeMap<String, Team>,
}

/// One team: the tenant. Nothing of one team is visible to another.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Team {
    /// Its keys, by id. Default: none.
    pub(crate) keys: BTreeMap<String, Key>,
}

/// One key.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Key {
    /// SHA-256 of the key, 64 hexadecimal digits. The key itself belongs in no file.
    pub(crate) hash: String,
    /// `owner`, `operator`, `auditor` or `member`. Default `member`: most keys only call.
    #[serde(default = "default_role")]
    pub(crate) role: String,
    /// What the key opens: `calls`, `client_secrets`, `sidebands`, `admin`. Default: all, but for members not `admin`.
    #[serde(default)]
    pub(crate) scopes: Option<Vec<String>>,
    /// When it ends to work (RFC 3339). Default: never.
    #[serde(default, with = "humantime_serde")]
    pub(crate) expires: Option<SystemTime>,
    /// The agent it is narrowed to. Default: none.
    #[serde(default)]
    pub(crate) agent: Option<String>,
    /// Whether it was taken back. Default false. A key that is removed from the file is taken back too; one that stays
    /// as revoked tells whoever still uses it.
    #[serde(default)]
    pub(crate) revoked: bool,
}

fn default_role() -> String {
    Role::default().as_str().to_owned()
}

/// The keys of all organisations.
pub(super) fn check(
    organisations: &BTreeMap<String, Organisation>,
    problems: &mut Vec<String>,
) -> Vec<KeyEntry> {
    let before = problems.len();
    let mut entries = Vec::new();
    for (organisation, written) in organisations {
        for (team, written) in &written.teams {
            for (key, written) in &written.keys {
                let path = format!("organisations.{organisation}.teams.{team}.keys.{key}");
                let ids = (organisation.as_str(), team.as_str(), key.as_str());
                entries.extend(check_key(&path, ids, written, problems));
            }
        }
    }
    // Only a tree without other faults can be judged as a whole.
    if before == problems.len()
        && let Err(error) = Directory::new(entries.clone())
    {
        problems.push(format!("organisations: {error}"));
    }
    entries
}

fn check_key(
    path: &str,
    (organisation, team, key): (&str, &str, &str),
    written: &Key,
    problems: &mut Vec<String>,
) -> Option<KeyEntry> {
    let mut complain = |what: String| problems.push(format!("{path}{what}"));
    let tenancy = tenancy(organisation, team, key, written.agent.as_deref());
    let tenancy = tenancy.map_err(|error| complain(format!(": {error}"))).ok();
    let hash = KeyHash::from_hex(&written.hash).map_err(|error| complain(format!(".hash: {error}"))).ok();
    let role = Role::from_word(&written.role);
    if role.is_none() {
        let roles = Role::ALL.map(Role::as_str).join(", ");
        complain(format!(".role is {:?}; it must be one of {roles}", written.role));
    }
    let scopes = match &written.scopes {
        Some(words) => scopes(words).map_err(&mut complain).ok(),
        None => Some(default_scopes(role?)),
    };
    let expires_at = written.expires.map(|end| {
        // A key that ended before 1970 has ended.
        end.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
    });
    let caller = Caller { tenancy: tenancy?, role: role?, scopes: scopes?, is_signed_in: false };
    Some(KeyEntry { hash: hash?, caller, expires_at, is_revoked: written.revoked })
}

fn tenancy(
    organisation: &str,
    team: &str,
    key: &str,
    agent: Option<&str>,
) -> Result<TenantPath, MalformedTenantName> {
    Ok(TenantPath {
        organisation: OrganisationId::new(organisation)?,
        team: TeamId::new(team)?,
        key: KeyId::new(key)?,
        agent: agent.map(AgentId::new).transpose()?,
    })
}

fn scopes(words: &[String]) -> Result<BTreeSet<Scope>, String> {
    let unknown = words.iter().find(|word| Scope::from_word(word).is_none());
    match unknown {
        Some(word) => {
            let known = Scope::ALL.map(Scope::as_str).join(", ");
            Err(format!(".scopes has {word:?}; known are {known}"))
        }
        None => Ok(words.iter().filter_map(|word| Scope::from_word(word)).collect()),
    }
}

/// What a key of this role opens where nobody says what.
pub(crate) fn default_scopes(role: Role) -> BTreeSet<Scope> {
    let is_open = |scope: &Scope| *scope != Scope::Admin || role != Role::Member;
    Scope::ALL.into_iter().filter(is_open).collect()
}

/// Every key of a process: the first one, which owns the default organisation, the ones of `key_hashes`, and those of
/// `organisations`. A hash that stands in `key_hashes` too is the first key and nothing else.
pub(crate) fn first_and(first: KeyHash, hashes: &[KeyHash], keys: &[KeyEntry]) -> Vec<KeyEntry> {
    let mut entries = vec![KeyEntry::first_run(KeyId::default(), Role::Owner, first)];
    for (index, hash) in hashes.iter().enumerate() {
        let is_known = entries.iter().any(|entry| entry.hash == *hash);
        let id = KeyId::new(&format!("key-{}", index + 1)).ok().filter(|_| !is_known);
        entries.extend(id.map(|id| {
            let mut entry = KeyEntry::first_run(id, Role::Member, *hash);
            entry.caller.scopes = default_scopes(Role::Member);
            entry
        }));
    }
    entries.extend_from_slice(keys);
    entries
}

#[cfg(test)]
mod tests {
    use super::*;

    const HASH: &str = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";

    fn read(keys: &str) -> Result<Vec<KeyEntry>, Vec<String>> {
        let text = format!("{{ acme: {{ teams: {{ red: {{ keys: {keys} }} }} }} }}");
        let written: BTreeMap<String, Organisation> = serde_saphyr::from_str(&text).unwrap();
        let mut problems = Vec::new();
        let entries = check(&written, &mut problems);
        if problems.is_empty() { Ok(entries) } else { Err(problems) }
    }

    #[test]
    fn a_member_opens_everything_but_the_administration_unless_told_otherwise() {
        let keys = read(&format!("{{ web: {{ hash: {HASH}, expires: 2030-01-01T00:00:00Z }} }}")).unwrap();
        assert_eq!(keys[0].caller.role, Role::Member);
        assert!(!keys[0].caller.scopes.contains(&Scope::Admin) && keys[0].caller.scopes.len() == 3);
        assert_eq!(keys[0].expires_at, Some(1_893_456_000));
        let keys = read(&format!("{{ web: {{ hash: {HASH}, role: owner }} }}")).unwrap();
        assert!(keys[0].caller.scopes.contains(&Scope::Admin));
    }

    #[test]
    fn every_fault_of_a_key_is_named_with_its_place() {
        let text = "{ 'w b': { hash: zz, role: boss, scopes: [calls, flying] } }";
        let problems = read(text).unwrap_err();
        assert_eq!(problems.len(), 4, "{problems:#?}");
        assert!(problems.iter().all(|problem| problem.starts_with("organisations.acme.teams.red.keys.w b")));
    }

    #[test]
    fn two_keys_with_one_hash_are_refused() {
        let problems = read(&format!("{{ a: {{ hash: {HASH} }}, b: {{ hash: {HASH} }} }}")).unwrap_err();
        assert!(problems[0].contains("same hash"), "{problems:?}");
    }

    #[test]
    fn the_first_key_owns_the_default_organisation_and_stands_first() {
        let first = KeyHash::of("vg_first");
        let entries = first_and(first, &[KeyHash::of("vg_more"), first], &[]);
        let ids: Vec<_> = entries.iter().map(|entry| entry.caller.tenancy.key.as_str()).collect();
        assert_eq!(ids, ["default", "key-1"]);
        assert_eq!(entries[0].caller.role, Role::Owner);
        assert_eq!(entries[1].caller.role, Role::Member);
    }
}
