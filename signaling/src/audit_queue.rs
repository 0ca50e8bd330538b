//! What was decided and done, on its way to the audit log: nobody who decides waits for the database.
//!
//! Entries wait in memory, so many and no more. While the store is away they wait on; what does not fit any more is lost,
//! counted, and said in the log itself once it takes entries again.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::Value;
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::task::JoinHandle;

use crate::store::audit::Deed;
use crate::store::{Store, StoreError};

/// Entries that may wait: an hour of a busy node whose store is away, some 10 MB.
const MOST_WAITING: usize = 16_384;

/// Entries of one transaction.
const BATCH: usize = 200;

/// Longest wait for the store to take a batch.
const WRITE_TIMEOUT: Duration = Duration::from_secs(10);

/// Between two attempts while the store is away.
const TRY_EVERY: Duration = Duration::from_millis(500);

/// Longest wait for the rest at the end of the process.
const FINISH_TIMEOUT: Duration = Duration::from_secs(5);

/// Something that happened.
#[derive(Clone, Debug, PartialEq)]
pub struct Note {
    /// Who and when.
    pub by: Deed,
    /// What, as `noun.verb`.
    pub action: &'static str,
    /// To what.
    pub subject: String,
    /// More about it, as a JSON object. No secret and nothing a caller said.
    pub detail: Value,
}

impl Note {
    /// Something that happens now.
    #[must_use]
    pub fn now(
        actor: impl Into<String>,
        action: &'static str,
        subject: impl Into<String>,
        detail: Value,
    ) -> Self {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let by = Deed { actor: actor.into(), at_unix_ms: since.as_millis() as i64, request: None };
        Self { by, action, subject: subject.into(), detail }
    }
}

/// Told how many entries were lost.
type OnLost = Box<dyn Fn(u64) + Send + Sync>;

struct Shared {
    lost: AtomicU64,
    on_lost: OnLost,
    writer: Mutex<Option<JoinHandle<()>>>,
}

/// Where entries are handed in. Clones share it.
#[derive(Clone)]
pub struct AuditQueue {
    sender: Arc<Mutex<Option<Sender<Note>>>>,
    shared: Arc<Shared>,
}

impl fmt::Debug for AuditQueue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuditQueue").field("lost", &self.shared.lost).finish_non_exhaustive()
    }
}

impl AuditQueue {
    /// Begins to write. To be called inside a runtime. `on_lost` is told of entries that could not be kept.
    #[must_use]
    pub fn start(store: Store, on_lost: impl Fn(u64) + Send + Sync + 'static) -> Self {
        Self::holding(MOST_WAITING, store, on_lost)
    }

    fn holding(most: usize, store: Store, on_lost: impl Fn(u64) + Send + Sync + 'static) -> Self {
        let (sender, notes) = channel(most);
        let shared = Shared { lost: AtomicU64::new(0), on_lost: Box::new(on_lost), writer: Mutex::default() };
        let shared = Arc::new(shared);
        let writer = tokio::spawn(write(store, notes, Arc::clone(&shared)));
        *shared.writer.lock().unwrap_or_else(PoisonError::into_inner) = Some(writer);
        Self { sender: Arc::new(Mutex::new(Some(sender))), shared }
    }

    /// Hands an entry in, and never waits.
    pub fn note(&self, note: Note) {
        let sender = self.sender.lock().unwrap_or_else(PoisonError::into_inner);
        let is_taken = sender.as_ref().is_some_and(|sender| sender.try_send(note).is_ok());
        drop(sender);
        if !is_taken {
            self.shared.lose(1);
        }
    }

    /// Writes what waits, for as long as the end of a process may take. What the store does not take until then is lost.
    pub async fn finish(&self) {
        drop(self.sender.lock().unwrap_or_else(PoisonError::into_inner).take());
        let writer = self.shared.writer.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(mut writer) = writer else { return };
        if tokio::time::timeout(FINISH_TIMEOUT, &mut writer).await.is_err() {
            writer.abort();
            tracing::error!("the store did not take the last entries of the audit log; they are lost");
        }
    }
}

impl Shared {
    fn lose(&self, entries: u64) {
        if self.lost.fetch_add(entries, Ordering::Relaxed) == 0 {
            tracing::error!("the audit log takes no entries for so long that they are lost");
        }
        (self.on_lost)(entries);
    }
}

async fn write(store: Store, mut notes: Receiver<Note>, shared: Arc<Shared>) {
    let mut batch = Vec::with_capacity(BATCH);
    while notes.recv_many(&mut batch, BATCH).await > 0 {
        let lost = shared.lost.swap(0, Ordering::Relaxed);
        if lost > 0 {
            batch.push(Note::now("gateway", "audit.lose", "", serde_json::json!({ "entries": lost })));
        }
        deliver(&store, &batch).await;
        batch.clear();
    }
}

/// Tries until the store has taken all of them.
async fn deliver(store: &Store, batch: &[Note]) {
    let mut is_away = false;
    loop {
        let taken = match tokio::time::timeout(WRITE_TIMEOUT, store.note_all(batch)).await {
            Ok(taken) => taken.map_err(|error: StoreError| error.to_string()),
            Err(_) => Err("no answer in time".to_owned()),
        };
        match taken {
            Ok(()) => return,
            Err(error) if !is_away => {
                is_away = true;
                tracing::warn!(error, "the store takes no entries of the audit log; they wait");
            }
            Err(_) => {}
        }
        tokio::time::sleep(TRY_EVERY).await;
    }
}

#[cfg(test)]
mod tests;
