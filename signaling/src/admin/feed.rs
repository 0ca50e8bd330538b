//! What all readers of live feeds share: who may read, and one look at the sessions for all of them.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::MissedTickBehavior;
use voxgate_protocol::tenant::TenantPath;
use voxgate_telemetry::session::SessionRecord;
use voxgate_telemetry::session::view::SessionState;

use super::reply::AdminError;
use crate::live::LiveSessions;

/// How often the sessions are looked at while somebody reads: what changes reaches a reader within a second.
const EVERY: Duration = Duration::from_millis(500);

/// A key that is revoked opens a feed for no longer than this.
const ASKED_AGAIN: Duration = Duration::from_secs(10);

/// Sessions that are looked at before other tasks of the thread get their turn.
const AT_ONCE: usize = 64;

/// Readers of all feeds together. Each holds a connection and some memory for every session.
const MOST_READERS: usize = 256;

/// Readers with one key: nobody needs more pages open, and no tenant takes all places.
const MOST_OF_ONE_KEY: usize = 32;

/// A session as it stood when it was looked at last.
pub(super) struct Row {
    pub(super) session: Arc<str>,
    pub(super) tenancy: TenantPath,
    pub(super) is_over: bool,
    /// The revision of its record.
    pub(super) seq: u64,
    /// Its summary, written once for all readers.
    pub(super) json: Arc<str>,
}

impl Row {
    fn of(record: &SessionRecord) -> Option<Self> {
        let summary = record.summary();
        Some(Self {
            session: summary.id.as_str().into(),
            tenancy: record.facts().tenancy.clone(),
            is_over: summary.state == SessionState::Ended,
            seq: summary.seq,
            json: serde_json::to_string(&summary).ok()?.into(),
        })
    }
}

/// Every session of the process, in the order of their ids.
#[derive(Default)]
pub(super) struct Board {
    /// Rises with every look.
    pub(super) look: u64,
    pub(super) rows: Vec<Arc<Row>>,
}

/// The newest board. A reader that is slow finds the newest one, and nothing waits for it.
pub(super) type Boards = watch::Receiver<Arc<Board>>;

/// What live feeds share. Clones share it.
#[derive(Clone)]
pub struct Feeds(Arc<Shared>);

struct Shared {
    asked_again: Duration,
    board: Mutex<Weak<watch::Sender<Arc<Board>>>>,
    readers: Mutex<BTreeMap<TenantPath, usize>>,
}

impl fmt::Debug for Feeds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Feeds").finish_non_exhaustive()
    }
}

impl Default for Feeds {
    fn default() -> Self {
        Self::asking_every(ASKED_AGAIN)
    }
}

impl Feeds {
    /// Whose readers are asked for their keys so often.
    #[must_use]
    pub fn asking_every(asked_again: Duration) -> Self {
        Self(Arc::new(Shared { asked_again, board: Mutex::default(), readers: Mutex::default() }))
    }

    /// How long somebody who reads may go on without being asked for their key.
    pub(super) fn asked_again(&self) -> Duration {
        self.0.asked_again
    }

    /// A place among the readers, given back when dropped.
    pub(super) fn admit(&self, key: &TenantPath) -> Result<Place, AdminError> {
        let mut readers = self.0.readers.lock().unwrap_or_else(PoisonError::into_inner);
        let all: usize = readers.values().sum();
        let own = readers.entry(key.clone()).or_default();
        if all >= MOST_READERS || *own >= MOST_OF_ONE_KEY {
            if *own == 0 {
                readers.remove(key);
            }
            return Err(AdminError::too_many_readers());
        }
        *own += 1;
        Ok(Place { feeds: self.clone(), key: key.clone() })
    }

    /// The sessions, looked at every half second for all readers together, for as long as there is one.
    pub(super) fn boards(&self, live: &LiveSessions) -> Boards {
        let mut current = self.0.board.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(sender) = current.upgrade() {
            return sender.subscribe();
        }
        let (sender, boards) = watch::channel(Arc::default());
        let sender = Arc::new(sender);
        *current = Arc::downgrade(&sender);
        tokio::spawn(self.clone().keep_looking(live.clone(), sender));
        boards
    }

    async fn keep_looking(self, live: LiveSessions, sender: Arc<watch::Sender<Arc<Board>>>) {
        let mut ticks = tokio::time::interval(EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut known = Arc::<Board>::default();
        loop {
            ticks.tick().await;
            known = Arc::new(look(&live, &known).await);
            let mut current = self.0.board.lock().unwrap_or_else(PoisonError::into_inner);
            if sender.send(Arc::clone(&known)).is_err() {
                // Whoever comes next finds nobody looking and begins anew.
                *current = Weak::new();
                return;
            }
        }
    }
}

/// Looks at every session; writes those that changed.
async fn look(live: &LiveSessions, known: &Board) -> Board {
    let mut records = live.records(|_| true);
    records.sort_unstable_by(|one, other| one.facts().session.cmp(&other.facts().session));
    let mut before = known.rows.iter().peekable();
    let mut rows = Vec::with_capacity(records.len());
    for (index, record) in records.iter().enumerate() {
        if index % AT_ONCE == AT_ONCE - 1 {
            tokio::task::yield_now().await;
        }
        let name = record.facts().session.as_str();
        while before.next_if(|row| &*row.session < name).is_some() {}
        let same = before.peek().filter(|row| &*row.session == name && row.seq == record.revision());
        rows.extend(same.map(|row| Arc::clone(row)).or_else(|| Row::of(record).map(Arc::new)));
    }
    Board { look: known.look + 1, rows }
}

/// A reader's place.
pub(super) struct Place {
    feeds: Feeds,
    key: TenantPath,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut readers = self.feeds.0.readers.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(own) = readers.get_mut(&self.key) {
            *own = own.saturating_sub(1);
            if *own == 0 {
                readers.remove(&self.key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use voxgate_protocol::tenant::KeyId;

    use super::*;

    fn key(name: &str) -> TenantPath {
        TenantPath { key: KeyId::new(name).unwrap(), ..TenantPath::default() }
    }

    #[test]
    fn one_key_does_not_take_all_places_and_all_places_are_bounded() {
        let feeds = Feeds::default();
        let mut places: Vec<_> = (0..MOST_OF_ONE_KEY).map(|_| feeds.admit(&key("a")).unwrap()).collect();
        assert!(feeds.admit(&key("a")).is_err());
        places.pop();
        places.push(feeds.admit(&key("a")).unwrap());
        for number in MOST_OF_ONE_KEY..MOST_READERS {
            places.push(feeds.admit(&key(&format!("k{}", number / MOST_OF_ONE_KEY))).unwrap());
        }
        assert!(feeds.admit(&key("late")).is_err());
        places.clear();
        assert!(feeds.0.readers.lock().unwrap().is_empty());
    }
}
