//! Entries on their way from the sessions into the node's outbox, and from there to the store.
//!
//! No session waits for a disk: entries queue up in memory and a task writes what has gathered in one transaction. What one
//! session said at once is written whole or not at all. An entry counts as written once the outbox has it; until then it is
//! covered by the estimate before it, which runs a second ahead.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use voxgate_policy::money::ledger::Entry;
use voxgate_signaling::outbox::Outbox;
use voxgate_signaling::store::Store;
use voxgate_telemetry::metrics::Metrics;

use super::following::Following;

/// What sessions said that may wait for the disk: minutes of a busy node.
const WAITING: usize = 65_536;

/// Written in one transaction at most.
const AT_ONCE: usize = 1_024;

/// After a disk that refused.
const RETRY_AFTER: Duration = Duration::from_millis(500);

/// Between two looks at what waits.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// How long the end of the process waits for the disk, and then for the store. What the store does not take then waits in
/// the outbox for the next start.
const FAREWELL: Duration = Duration::from_secs(5);

/// Where entries are handed in.
pub(super) struct Posting {
    queue: Mutex<Option<mpsc::Sender<Vec<Entry>>>>,
    tasks: Mutex<Option<Tasks>>,
    metrics: Arc<Metrics>,
}

struct Tasks {
    writer: JoinHandle<()>,
    delivery: JoinHandle<()>,
    following: JoinHandle<()>,
    watch: JoinHandle<()>,
    outbox: Outbox,
    store: Store,
}

impl Posting {
    /// Begins to write, to deliver, and to follow what others spend. Needs a runtime around it.
    pub(super) fn start(
        outbox: Outbox,
        store: Store,
        following: Arc<Following>,
        metrics: Arc<Metrics>,
    ) -> Self {
        let (queue, said) = mpsc::channel(WAITING);
        let writer = tokio::spawn(write(outbox.clone(), said));
        let delivery = tokio::spawn(outbox.clone().run(store.clone()));
        let following = tokio::spawn(following.run());
        let watch = tokio::spawn(watch(outbox.clone(), Arc::clone(&metrics)));
        let tasks = Tasks { writer, delivery, following, watch, outbox, store };
        Self { queue: Mutex::new(Some(queue)), tasks: Mutex::new(Some(tasks)), metrics }
    }

    /// Hands in what a session said at once, and never waits.
    pub(super) fn hand_in(&self, entries: Vec<Entry>) {
        let queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        let lost = match queue.as_ref().map(|queue| queue.try_send(entries)) {
            Some(Ok(())) => return,
            Some(Err(mpsc::error::TrySendError::Full(lost) | mpsc::error::TrySendError::Closed(lost))) => {
                lost
            }
            // The process has ended its sessions; nothing is said any more.
            None => return,
        };
        self.metrics.ledger_lost.inc_by(lost.len() as u64);
        tracing::error!(entries = lost.len(), "the disk of the outbox does not keep up; entries are lost");
    }

    /// Waits until everything is written, and as far as the store is there, delivered.
    pub(super) async fn finish(&self) {
        drop(self.queue.lock().unwrap_or_else(PoisonError::into_inner).take());
        let Some(tasks) = self.tasks.lock().unwrap_or_else(PoisonError::into_inner).take() else { return };
        let Tasks { writer, delivery, following, watch, outbox, store } = tasks;
        watch.abort();
        following.abort();
        if tokio::time::timeout(FAREWELL, writer).await.is_err() {
            self.metrics.ledger_lost.inc();
            tracing::error!("the disk of the outbox takes nothing; entries are lost");
        }
        delivery.abort();
        let _ = delivery.await;
        if tokio::time::timeout(FAREWELL, deliver_all(&outbox, &store)).await.is_err() {
            tracing::warn!("the store does not take ledger entries; they wait for the next start");
        }
        outbox.close().await;
    }
}

async fn write(outbox: Outbox, mut said: mpsc::Receiver<Vec<Entry>>) {
    let mut gathered = Vec::new();
    while said.recv_many(&mut gathered, AT_ONCE).await > 0 {
        let entries: Vec<Entry> = gathered.drain(..).flatten().collect();
        let mut has_told = false;
        while let Err(error) = outbox.append(&entries).await {
            if !std::mem::replace(&mut has_told, true) {
                tracing::error!(%error, "the outbox cannot be written; entries wait in memory");
            }
            tokio::time::sleep(RETRY_AFTER).await;
        }
    }
}

/// Shows how much waits.
async fn watch(outbox: Outbox, metrics: Arc<Metrics>) {
    loop {
        if let Ok(waiting) = outbox.waiting().await {
            metrics.ledger_waiting.set(i64::try_from(waiting).unwrap_or(i64::MAX));
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// Delivers until nothing waits. Gives up at the first error.
async fn deliver_all(outbox: &Outbox, store: &Store) {
    loop {
        match outbox.deliver(store).await {
            Ok(0) => return,
            Ok(_) => {}
            Err(error) => {
                tracing::warn!(%error, "the store does not take ledger entries; they wait on this node");
                return;
            }
        }
    }
}
