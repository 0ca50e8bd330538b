//! Whose keys they are, what they are for, until when.

use std::collections::{BTreeMap, BTreeSet};

use thiserror::Error;
use voxgate_protocol::tenant::{KeyId, OrganisationId, TeamId, TenantPath};

use crate::key::{KeyError, KeyHash, KeyIndex, KeyRing};

/// What a caller may do in the administration of its organisation. Policies give the roles their meaning.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// Everything, keys and budgets included.
    Owner,
    /// Sees everything and ends sessions; decides about held tool calls.
    Operator,
    /// Sees everything, changes nothing.
    Auditor,
    /// Calls.
    #[default]
    Member,
}

impl Role {
    /// Every role.
    pub const ALL: [Self; 4] = [Self::Owner, Self::Operator, Self::Auditor, Self::Member];

    /// The word in configurations, claims and policies.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Owner => "owner",
            Self::Operator => "operator",
            Self::Auditor => "auditor",
            Self::Member => "member",
        }
    }

    /// Reads the word.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.as_str() == word)
    }
}

/// What a key opens, whatever the policies say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scope {
    /// Start, move and hang up sessions.
    Calls,
    /// Make client secrets.
    ClientSecrets,
    /// Attach to running calls.
    Sidebands,
    /// The administration, as far as role and policies go.
    Admin,
}

impl Scope {
    /// Every scope.
    pub const ALL: [Self; 4] = [Self::Calls, Self::ClientSecrets, Self::Sidebands, Self::Admin];

    /// The word in configurations.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Calls => "calls",
            Self::ClientSecrets => "client_secrets",
            Self::Sidebands => "sidebands",
            Self::Admin => "admin",
        }
    }

    /// Reads the word.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|scope| scope.as_str() == word)
    }
}

/// Somebody who proved who they are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Caller {
    /// Their place in the tree.
    pub tenancy: TenantPath,
    /// Their role.
    pub role: Role,
    /// What their credential opens.
    pub scopes: BTreeSet<Scope>,
    /// Whether it is a person or service that signed in with a token; otherwise a key.
    pub is_signed_in: bool,
}

/// One key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyEntry {
    /// The hash of the key; the key itself is kept nowhere.
    pub hash: KeyHash,
    /// Whose it is.
    pub caller: Caller,
    /// When it ends to work, in seconds since 1970. `None`: never.
    pub expires_at: Option<u64>,
    /// Whether it was taken back.
    pub is_revoked: bool,
}

impl KeyEntry {
    /// A key of the default organisation and team that opens everything its role may see.
    #[must_use]
    pub fn first_run(key: KeyId, role: Role, hash: KeyHash) -> Self {
        let tenancy = TenantPath { key, ..TenantPath::default() };
        let caller = Caller { tenancy, role, scopes: Scope::ALL.into(), is_signed_in: false };
        Self { hash, caller, expires_at: None, is_revoked: false }
    }
}

/// What can be wrong with a tree of keys.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum DirectoryError {
    /// Two keys of a team have one id.
    #[error("the key {key} of {organisation}/{team} is given twice")]
    SameId {
        /// Of this organisation.
        organisation: OrganisationId,
        /// Of this team.
        team: TeamId,
        /// The id.
        key: KeyId,
    },
    /// Two ids have one key: nobody could say whose call it is.
    #[error("the keys {first} and {second} have the same hash")]
    SameHash {
        /// One of them.
        first: String,
        /// The other.
        second: String,
    },
}

type Place = (OrganisationId, TeamId, KeyId);

fn place(tenancy: &TenantPath) -> Place {
    (tenancy.organisation.clone(), tenancy.team.clone(), tenancy.key.clone())
}

/// Every key of an installation.
///
/// A key keeps its [`KeyIndex`] for as long as the directory lives, so that running sessions can be told apart; the
/// index of a key that is gone is never given to another one.
#[derive(Clone, Debug, Default)]
pub struct Directory {
    ring: KeyRing,
    entries: Vec<KeyEntry>,
    by_place: BTreeMap<Place, KeyIndex>,
}

impl Directory {
    /// # Errors
    /// [`DirectoryError`] if two keys cannot be told apart.
    pub fn new(entries: Vec<KeyEntry>) -> Result<Self, DirectoryError> {
        check(&entries)?;
        let mut directory = Self::default();
        for entry in entries {
            directory.add(entry);
        }
        Ok(directory)
    }

    fn add(&mut self, entry: KeyEntry) {
        let index = self.ring.add(entry.hash);
        self.by_place.insert(place(&entry.caller.tenancy), index);
        self.entries.push(entry);
    }

    /// Who presents this key at `now` (seconds since 1970). Every key is compared, in constant time.
    ///
    /// # Errors
    /// [`KeyError::Unknown`], [`KeyError::Revoked`] or [`KeyError::Expired`].
    pub fn authenticate(&self, presented: &str, now: u64) -> Result<(KeyIndex, &Caller), KeyError> {
        let index = self.ring.authenticate(presented)?;
        Ok((index, self.valid(index, now)?))
    }

    /// Whose key this is, if it still opens anything at `now` (seconds since 1970).
    ///
    /// # Errors
    /// [`KeyError::Unknown`], [`KeyError::Revoked`] or [`KeyError::Expired`].
    pub fn valid(&self, index: KeyIndex, now: u64) -> Result<&Caller, KeyError> {
        let entry = self.entries.get(index.0 as usize).ok_or(KeyError::Unknown)?;
        if entry.is_revoked {
            return Err(KeyError::Revoked);
        }
        if entry.expires_at.is_some_and(|end| end <= now) {
            return Err(KeyError::Expired);
        }
        Ok(&entry.caller)
    }

    /// Takes a key back. `None` if there is no such key, or it was revoked before.
    pub fn revoke(&mut self, organisation: &OrganisationId, team: &TeamId, key: &KeyId) -> Option<KeyIndex> {
        let place = (organisation.clone(), team.clone(), key.clone());
        let index = *self.by_place.get(&place)?;
        let entry = self.entries.get_mut(index.0 as usize).filter(|entry| !entry.is_revoked)?;
        entry.is_revoked = true;
        Some(index)
    }

    /// Puts another tree in the place of this one. Gives the keys whose sessions have to end: revoked, gone, or with
    /// another hash or place than before.
    ///
    /// # Errors
    /// [`DirectoryError`]; then nothing has changed.
    pub fn replace(&mut self, entries: Vec<KeyEntry>) -> Result<Vec<KeyIndex>, DirectoryError> {
        check(&entries)?;
        let mut lost: BTreeSet<KeyIndex> = BTreeSet::new();
        for (index, entry) in self.entries.iter_mut().enumerate() {
            if !std::mem::replace(&mut entry.is_revoked, true) {
                lost.insert(KeyIndex(index as u32));
            }
        }
        for entry in entries {
            let known = self.by_place.get(&place(&entry.caller.tenancy)).copied();
            let kept = known.and_then(|index| Some((index, self.entries.get_mut(index.0 as usize)?)));
            match kept.filter(|(_, old)| old.hash == entry.hash) {
                Some((index, old)) => {
                    let goes_on = !entry.is_revoked && old.caller.tenancy == entry.caller.tenancy;
                    *old = entry;
                    if goes_on {
                        lost.remove(&index);
                    }
                }
                None => self.add(entry),
            }
        }
        Ok(lost.into_iter().collect())
    }

    /// Every key that was not taken back, for the administration.
    pub fn keys(&self) -> impl Iterator<Item = &KeyEntry> {
        self.entries.iter().filter(|entry| !entry.is_revoked)
    }

    /// The keys that were taken back.
    #[must_use]
    pub fn revoked(&self) -> BTreeSet<KeyIndex> {
        let revoked = self.entries.iter().enumerate().filter(|(_, entry)| entry.is_revoked);
        revoked.map(|(index, _)| KeyIndex(index as u32)).collect()
    }
}

fn check(entries: &[KeyEntry]) -> Result<(), DirectoryError> {
    let mut places = BTreeSet::new();
    let mut hashes: BTreeMap<[u8; 32], &TenantPath> = BTreeMap::new();
    for entry in entries {
        let tenancy = &entry.caller.tenancy;
        if !places.insert(place(tenancy)) {
            let TenantPath { organisation, team, key, .. } = tenancy.clone();
            return Err(DirectoryError::SameId { organisation, team, key });
        }
        if let Some(first) = hashes.insert(entry.hash.into_bytes(), tenancy) {
            return Err(DirectoryError::SameHash { first: first.to_string(), second: tenancy.to_string() });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(team: &str, key: &str, secret: &str) -> KeyEntry {
        let mut entry = KeyEntry::first_run(KeyId::new(key).unwrap(), Role::Member, KeyHash::of(secret));
        entry.caller.tenancy.team = TeamId::new(team).unwrap();
        entry
    }

    fn ids(team: &str, key: &str) -> (OrganisationId, TeamId, KeyId) {
        (OrganisationId::default(), TeamId::new(team).unwrap(), KeyId::new(key).unwrap())
    }

    #[test]
    fn a_key_leads_to_its_place_in_the_tree() {
        let directory =
            Directory::new(vec![entry("red", "web", "vg_1"), entry("blue", "web", "vg_2")]).unwrap();
        let (index, caller) = directory.authenticate("vg_2", 0).unwrap();
        assert_eq!((index, caller.tenancy.team.as_str()), (KeyIndex(1), "blue"));
        assert_eq!(directory.authenticate("vg_3", 0).unwrap_err(), KeyError::Unknown);
    }

    #[test]
    fn an_expired_key_opens_nothing_from_its_second_on() {
        let mut key = entry("red", "web", "vg_1");
        key.expires_at = Some(1_000);
        let directory = Directory::new(vec![key]).unwrap();
        assert!(directory.authenticate("vg_1", 999).is_ok());
        assert_eq!(directory.authenticate("vg_1", 1_000).unwrap_err(), KeyError::Expired);
    }

    #[test]
    fn a_revoked_key_opens_nothing_and_is_revoked_once() {
        let mut directory =
            Directory::new(vec![entry("red", "web", "vg_1"), entry("blue", "web", "vg_2")]).unwrap();
        let (organisation, team, key) = ids("blue", "web");
        assert_eq!(directory.revoke(&organisation, &team, &key), Some(KeyIndex(1)));
        assert_eq!(directory.revoke(&organisation, &team, &key), None);
        assert_eq!(directory.authenticate("vg_2", 0).unwrap_err(), KeyError::Revoked);
        assert!(directory.authenticate("vg_1", 0).is_ok(), "the key of the same name of another team");
    }

    #[test]
    fn a_new_tree_ends_what_is_gone_and_leaves_the_rest_its_names() {
        let old = ["kept", "gone", "rotated", "revoked"].map(|key| entry("red", key, &format!("vg_{key}")));
        let mut directory = Directory::new(old.to_vec()).unwrap();
        let mut revoked = entry("red", "revoked", "vg_revoked");
        revoked.is_revoked = true;
        let mut kept = entry("red", "kept", "vg_kept");
        kept.caller.role = Role::Operator;
        let new = vec![entry("red", "added", "vg_added"), revoked, entry("red", "rotated", "vg_fresh"), kept];
        assert_eq!(directory.replace(new).unwrap(), [KeyIndex(1), KeyIndex(2), KeyIndex(3)]);
        let (index, caller) = directory.authenticate("vg_kept", 0).unwrap();
        assert_eq!((index, caller.role), (KeyIndex(0), Role::Operator));
        assert_eq!(directory.authenticate("vg_rotated", 0).unwrap_err(), KeyError::Revoked);
        assert_eq!(directory.authenticate("vg_gone", 0).unwrap_err(), KeyError::Revoked);
        assert_eq!(directory.authenticate("vg_fresh", 0).unwrap().0, KeyIndex(5));
        let back = old.to_vec();
        let lost = directory.replace(back).unwrap();
        assert_eq!(lost, [KeyIndex(4), KeyIndex(5)], "what was gone comes back under its old name");
        assert_eq!(directory.authenticate("vg_gone", 0).unwrap().0, KeyIndex(1));
    }

    #[test]
    fn keys_that_cannot_be_told_apart_are_refused() {
        let twice = vec![entry("red", "web", "vg_1"), entry("red", "web", "vg_2")];
        assert!(matches!(Directory::new(twice), Err(DirectoryError::SameId { .. })));
        let same = vec![entry("red", "web", "vg_1"), entry("blue", "web", "vg_1")];
        assert!(matches!(Directory::new(same), Err(DirectoryError::SameHash { .. })));
    }
}
