//! The keys of configuration and store, as a running gateway follows them: a key made elsewhere works within a second, a
//! revoked one ends its sessions within a second.

mod memory;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use voxgate_policy::directory::{Directory, DirectoryError, KeyEntry};

use crate::directory::SharedDirectory;
use crate::store::{Store, StoreError};

pub use memory::{FILE_NAME, KeyMemory};

/// Between two looks at the store: a revocation is to end calls within a second.
const LOOK_EVERY: Duration = Duration::from_millis(300);

/// Longest wait for one answer of the store.
const LOOK_TIMEOUT: Duration = Duration::from_secs(5);

/// Keys read at once.
const PAGE: u32 = 1_000;

/// The keys of the configuration and those of the store, which change apart from each other and are one tree. Clones share
/// it.
#[derive(Clone, Debug)]
pub struct KeyBook {
    directory: SharedDirectory,
    parts: Arc<Mutex<Parts>>,
}

#[derive(Debug)]
struct Parts {
    configured: Vec<KeyEntry>,
    stored: Vec<KeyEntry>,
}

impl KeyBook {
    /// The keys of the configuration; none of the store yet.
    ///
    /// # Errors
    /// [`DirectoryError`] if two of them cannot be told apart.
    pub fn new(configured: Vec<KeyEntry>) -> Result<Self, DirectoryError> {
        let directory = SharedDirectory::new(Directory::new(configured.clone())?);
        Ok(Self { directory, parts: Arc::new(Mutex::new(Parts { configured, stored: Vec::new() })) })
    }

    /// The tree of both.
    #[must_use]
    pub fn directory(&self) -> SharedDirectory {
        self.directory.clone()
    }

    /// The keys of the configuration.
    #[must_use]
    pub fn configured(&self) -> Vec<KeyEntry> {
        self.parts.lock().unwrap_or_else(PoisonError::into_inner).configured.clone()
    }

    /// Puts other keys in the place of those of the configuration. Gives the number of keys that lost their validity.
    ///
    /// # Errors
    /// [`DirectoryError`]; then nothing has changed.
    pub fn set_configured(&self, configured: Vec<KeyEntry>) -> Result<usize, DirectoryError> {
        self.change(|parts| Parts { configured, stored: parts.stored.clone() })
    }

    /// Puts other keys in the place of those of the store. Gives the number of keys that lost their validity.
    ///
    /// # Errors
    /// [`DirectoryError`]; then nothing has changed.
    pub fn set_stored(&self, stored: Vec<KeyEntry>) -> Result<usize, DirectoryError> {
        self.change(|parts| Parts { configured: parts.configured.clone(), stored })
    }

    fn change(&self, to: impl FnOnce(&Parts) -> Parts) -> Result<usize, DirectoryError> {
        // Both halves are whole whatever a panicking thread did.
        let mut parts = self.parts.lock().unwrap_or_else(PoisonError::into_inner);
        let next = to(&parts);
        let lost = self.directory.replace([next.configured.clone(), next.stored.clone()].concat())?;
        *parts = next;
        Ok(lost)
    }
}

/// Whether the store has been away for too long to trust what is remembered of it. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct StoreHealth(Arc<AtomicBool>);

impl StoreHealth {
    /// Whether the store has been away for longer than the tolerance.
    #[must_use]
    pub fn is_away(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    fn set_away(&self, is_away: bool) {
        if self.0.swap(is_away, Ordering::Relaxed) != is_away {
            if is_away {
                tracing::warn!("the store is away: running sessions go on, new ones follow store.when_away");
            } else {
                tracing::info!("the store is back");
            }
        }
    }
}

/// Follows the keys of a store.
#[derive(Debug)]
pub struct Roster {
    store: Store,
    book: KeyBook,
    memory: KeyMemory,
    health: StoreHealth,
    tolerance: Duration,
    /// Whether the tables are up to date.
    is_prepared: bool,
    /// The number of changes the keys were read at.
    seen: Option<i64>,
    answered_at: Instant,
    has_complained: bool,
}

impl Roster {
    /// Reads the keys. If the store does not answer, those count that were last known, and the store counts as away. Later it
    /// does so once it has not answered for `tolerance`.
    ///
    /// # Errors
    /// [`StoreError`] if the store does not answer and nothing was ever known of it.
    pub async fn open(
        store: Store,
        book: KeyBook,
        memory: KeyMemory,
        tolerance: Duration,
    ) -> Result<Self, StoreError> {
        let health = StoreHealth::default();
        let answered_at = Instant::now();
        let mut roster = Self {
            store,
            book,
            memory,
            health,
            tolerance,
            is_prepared: false,
            seen: None,
            answered_at,
            has_complained: false,
        };
        if let Err(error) = roster.look().await {
            // What is wrong with the store itself does not get better by waiting.
            let is_away = matches!(error, StoreError::Database(_));
            let known = roster.memory.recall().filter(|_| is_away);
            let known = known.filter(|keys| roster.book.set_stored(keys.clone()).is_ok());
            let Some(known) = known else { return Err(error) };
            tracing::warn!(%error, keys = known.len(), "the store is away; the keys are those last known");
            roster.health.set_away(true);
        }
        Ok(roster)
    }

    /// Whether the store answers.
    #[must_use]
    pub fn health(&self) -> StoreHealth {
        self.health.clone()
    }

    /// Follows the store until the task is aborted.
    pub async fn follow(mut self) {
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            match tokio::time::timeout(LOOK_TIMEOUT, self.look()).await {
                Ok(Ok(())) => {
                    self.answered_at = Instant::now();
                    self.has_complained = false;
                    self.health.set_away(false);
                }
                Ok(Err(error)) => self.complain(&error.to_string()),
                Err(_) => self.complain("no answer in time"),
            }
            if self.answered_at.elapsed() > self.tolerance {
                self.health.set_away(true);
            }
        }
    }

    /// Says why, once for each time the store is away.
    fn complain(&mut self, error: &str) {
        if !std::mem::replace(&mut self.has_complained, true) {
            tracing::warn!(error, "the store does not answer");
        }
    }

    async fn look(&mut self) -> Result<(), StoreError> {
        if !self.is_prepared {
            self.store.prepare().await?;
            self.is_prepared = true;
        }
        let changes = self.store.directory_changes().await?;
        if self.seen == Some(changes) {
            return Ok(());
        }
        let mut entries = Vec::new();
        let mut after = String::new();
        loop {
            let page = self.store.keys(&after, PAGE).await?;
            entries.extend(page.iter().map(|key| key.entry.clone()));
            match page.last() {
                Some(last) if page.len() == PAGE as usize => after = last.id().to_owned(),
                _ => break,
            }
        }
        self.seen = Some(changes);
        if let Err(error) = self.memory.keep(&entries) {
            tracing::error!(%error, "the keys could not be kept for a start while the store is away");
        }
        match self.book.set_stored(entries) {
            Ok(0) => {}
            Ok(lost) => tracing::info!(lost, "keys of the store were revoked"),
            Err(error) => tracing::error!(%error, "the keys of the store changed and are not used"),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
