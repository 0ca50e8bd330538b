//! The tree of keys, shared and changed while the gateway runs.

use std::collections::BTreeSet;
use std::sync::{Arc, PoisonError, RwLock};

use tokio::sync::watch;
use voxgate_policy::directory::{Caller, Directory, DirectoryError, KeyEntry};
use voxgate_policy::key::{KeyError, KeyIndex};
use voxgate_protocol::tenant::{KeyId, OrganisationId, TeamId};

/// The keys whose sessions have to end.
pub type Revoked = Arc<BTreeSet<KeyIndex>>;

/// A handle on the directory of this process. Clones share it.
#[derive(Clone, Debug)]
pub struct SharedDirectory {
    directory: Arc<RwLock<Directory>>,
    revoked: watch::Sender<Revoked>,
}

impl SharedDirectory {
    /// Shares a directory.
    #[must_use]
    pub fn new(directory: Directory) -> Self {
        let revoked = watch::Sender::new(Arc::new(directory.revoked()));
        Self { directory: Arc::new(RwLock::new(directory)), revoked }
    }

    /// Who presents this key at `now` (seconds since 1970).
    ///
    /// # Errors
    /// [`KeyError`], as [`Directory::authenticate`].
    pub fn authenticate(&self, presented: &str, now: u64) -> Result<(KeyIndex, Caller), KeyError> {
        let directory = self.directory.read().unwrap_or_else(PoisonError::into_inner);
        directory.authenticate(presented, now).map(|(key, caller)| (key, caller.clone()))
    }

    /// Whose key this is, if it still opens anything at `now` (seconds since 1970).
    ///
    /// # Errors
    /// [`KeyError`], as [`Directory::valid`].
    pub fn valid(&self, key: KeyIndex, now: u64) -> Result<Caller, KeyError> {
        let directory = self.directory.read().unwrap_or_else(PoisonError::into_inner);
        directory.valid(key, now).cloned()
    }

    /// Takes a key back: it opens nothing more, and its sessions end within a second. False if there is no such key, or it
    /// was revoked before.
    pub fn revoke(&self, organisation: &OrganisationId, team: &TeamId, key: &KeyId) -> bool {
        self.change(|directory| directory.revoke(organisation, team, key).is_some())
    }

    /// Puts another tree in the place of this one. Sessions of keys that are gone or revoked end; the others go on. Gives
    /// the number of keys that lost their validity.
    ///
    /// # Errors
    /// [`DirectoryError`]; then nothing has changed.
    pub fn replace(&self, entries: Vec<KeyEntry>) -> Result<usize, DirectoryError> {
        self.change(|directory| directory.replace(entries)).map(|lost| lost.len())
    }

    /// The keys whose sessions have to end, now and at every change.
    #[must_use]
    pub fn watch_revoked(&self) -> watch::Receiver<Revoked> {
        self.revoked.subscribe()
    }

    fn change<T>(&self, change: impl FnOnce(&mut Directory) -> T) -> T {
        let mut directory = self.directory.write().unwrap_or_else(PoisonError::into_inner);
        let result = change(&mut directory);
        // Under the lock, so that two changes are told in their order.
        self.revoked.send_replace(Arc::new(directory.revoked()));
        result
    }
}
