//! The keys of the store as they were last known, for a start while the store is away.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use voxgate_policy::directory::{Caller, KeyEntry, Role, Scope};
use voxgate_policy::key::KeyHash;
use voxgate_protocol::tenant::TenantPath;

/// The name of the file in the data folder.
pub const FILE_NAME: &str = "keys-last-known.json";

/// A key as the file has it: its hash, never the key.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Remembered {
    tenant: TenantPath,
    role: String,
    scopes: Vec<String>,
    hash: String,
    expires_at: Option<u64>,
    is_revoked: bool,
}

impl Remembered {
    fn of(key: &KeyEntry) -> Self {
        let Caller { tenancy, role, scopes, .. } = &key.caller;
        Self {
            tenant: tenancy.clone(),
            role: role.as_str().to_owned(),
            scopes: scopes.iter().map(|scope| scope.as_str().to_owned()).collect(),
            hash: key.hash.to_hex(),
            expires_at: key.expires_at,
            is_revoked: key.is_revoked,
        }
    }

    fn read(self) -> Option<KeyEntry> {
        let scopes = self.scopes.iter().map(|word| Scope::from_word(word)).collect::<Option<_>>()?;
        let role = Role::from_word(&self.role)?;
        let caller = Caller { tenancy: self.tenant, role, scopes, is_signed_in: false };
        let hash = KeyHash::from_hex(&self.hash).ok()?;
        Some(KeyEntry { hash, caller, expires_at: self.expires_at, is_revoked: self.is_revoked })
    }
}

/// Where the last known keys are kept.
#[derive(Clone, Debug)]
pub struct KeyMemory {
    path: PathBuf,
}

impl KeyMemory {
    /// A file, which need not exist yet.
    #[must_use]
    pub const fn new(path: PathBuf) -> Self {
        Self { path }
    }

    #[cfg(test)]
    pub(super) fn path(&self) -> &std::path::Path {
        &self.path
    }

    /// Keeps the keys, whole or not at all, for the owner of the file only.
    pub(super) fn keep(&self, keys: &[KeyEntry]) -> io::Result<()> {
        let keys: Vec<_> = keys.iter().map(Remembered::of).collect();
        let draft = self.path.with_extension("new");
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&draft)?;
        file.write_all(&serde_json::to_vec(&keys)?)?;
        file.sync_all()?;
        fs::rename(&draft, &self.path)
    }

    /// The keys as they were last known; `None` if nothing was ever known, or the file is damaged.
    pub(super) fn recall(&self) -> Option<Vec<KeyEntry>> {
        let text = fs::read(&self.path).ok()?;
        recall(&text)
    }
}

/// Reads the file of the last known keys.
pub(super) fn recall(text: &[u8]) -> Option<Vec<KeyEntry>> {
    let keys: Vec<Remembered> = serde_json::from_slice(text).ok()?;
    keys.into_iter().map(Remembered::read).collect()
}
