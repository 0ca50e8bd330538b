//! Ledger entries on their way from a node to the store: kept on the node until the store has them.
//!
//! A SQLite file of the node's own, with a sync at each commit. What [`Outbox::append`] has taken survives the end of the
//! process and a power cut; it is delivered until the store says that it has it, and only then forgotten. If the process
//! ends between the two it is delivered again, and the store takes it once, by its id. So nothing is lost and nothing is
//! billed twice. While the store is away entries wait here; nobody waits for it.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use sqlx::{AnyPool, Row as _};
use voxgate_policy::money::ledger::Entry;

use crate::store::ledger::NOBODY;
use crate::store::{Store, StoreError, open_file};

/// The name of the file in the data folder.
pub const FILE_NAME: &str = "outbox.db";

/// Entries delivered at once.
const BATCH: i64 = 500;

/// Longest wait for the store to take a batch.
const DELIVERY_TIMEOUT: Duration = Duration::from_secs(10);

/// Between two looks at what waits, and after a store that did not answer.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// The one table. It never changes: a node that is updated delivers what the old program left.
const TABLE: &str =
    "CREATE TABLE IF NOT EXISTS outbox (number INTEGER PRIMARY KEY AUTOINCREMENT, entry TEXT NOT NULL)";

/// Entries that wait for the store. Clones share them.
#[derive(Clone, Debug)]
pub struct Outbox {
    pool: AnyPool,
    /// In whose name entries are handed in.
    node: Arc<str>,
    /// The last entry an earlier process left, which is handed in in nobody's name.
    left: i64,
}

impl Outbox {
    /// Opens the file, made if missing, for its owner only.
    ///
    /// # Errors
    /// [`StoreError`] if it cannot be made or is no such file.
    pub async fn open(path: &Path) -> Result<Self, StoreError> {
        let pool = open_file(path)?;
        sqlx::query(TABLE).execute(&pool).await?;
        let row = sqlx::query("SELECT COALESCE(MAX(number), 0) FROM outbox").fetch_one(&pool).await?;
        Ok(Self { left: row.try_get(0)?, node: NOBODY.into(), pool })
    }

    /// The same; what is appended from now on is handed in in the name of this process.
    #[must_use]
    pub fn of(self, node: &str) -> Self {
        Self { node: node.into(), ..self }
    }

    /// Keeps entries. Once this returns they will reach the store.
    ///
    /// # Errors
    /// [`StoreError::Database`] if the disk refuses; then none of them is kept.
    pub async fn append(&self, entries: &[Entry]) -> Result<(), StoreError> {
        let mut transaction = self.pool.begin().await?;
        for entry in entries {
            let entry =
                serde_json::to_string(entry).map_err(|_| StoreError::Damaged { what: "ledger entry" })?;
            sqlx::query("INSERT INTO outbox (entry) VALUES ($1)")
                .bind(entry)
                .execute(&mut *transaction)
                .await?;
        }
        Ok(transaction.commit().await?)
    }

    /// How many entries wait.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn waiting(&self) -> Result<u64, StoreError> {
        let row = sqlx::query("SELECT COUNT(*) FROM outbox").fetch_one(&self.pool).await?;
        Ok(row.try_get::<i64, _>(0)?.unsigned_abs())
    }

    /// Delivers the oldest entries, as many as go at once, and forgets them once the store has them. Returns how many.
    ///
    /// # Errors
    /// [`StoreError`] if the store is away: they wait on.
    pub async fn deliver(&self, store: &Store) -> Result<u64, StoreError> {
        let rows = sqlx::query("SELECT number, entry FROM outbox ORDER BY number LIMIT $1")
            .bind(BATCH)
            .fetch_all(&self.pool)
            .await?;
        let Some(last) = rows.last() else { return Ok(0) };
        let last: i64 = last.try_get(0)?;
        let (mut left, mut own): (Vec<Entry>, Vec<Entry>) = (Vec::new(), Vec::new());
        for row in &rows {
            let entry: String = row.try_get(1)?;
            let entry = serde_json::from_str(&entry);
            let entry = entry.map_err(|_| StoreError::Damaged { what: "entry in the outbox" })?;
            if row.try_get::<i64, _>(0)? > self.left { own.push(entry) } else { left.push(entry) }
        }
        for (node, entries) in [(NOBODY, left), (&*self.node, own)] {
            for id in store.post(node, &entries).await?.conflicts {
                tracing::error!(%id, "a ledger entry differs from the one of the same name and was not added");
            }
        }
        sqlx::query("DELETE FROM outbox WHERE number <= $1").bind(last).execute(&self.pool).await?;
        Ok(rows.len() as u64)
    }

    /// Delivers whatever comes, until the task is aborted.
    pub async fn run(self, store: Store) {
        let mut is_away = false;
        loop {
            let delivered = tokio::time::timeout(DELIVERY_TIMEOUT, self.deliver(&store)).await;
            match delivered {
                Ok(Ok(0)) => tokio::time::sleep(LOOK_EVERY).await,
                Ok(Ok(_)) if is_away => {
                    is_away = false;
                    tracing::info!("the store takes ledger entries again");
                }
                Ok(Ok(_)) => {}
                failed => {
                    if !is_away {
                        let error = failed.ok().and_then(Result::err).map(|error| error.to_string());
                        let error = error.unwrap_or_else(|| "no answer in time".to_owned());
                        tracing::warn!(
                            error,
                            "the store does not take ledger entries; they wait on this node"
                        );
                    }
                    is_away = true;
                    tokio::time::sleep(LOOK_EVERY).await;
                }
            }
        }
    }

    /// Closes the file.
    pub async fn close(&self) {
        self.pool.close().await;
    }
}

#[cfg(test)]
mod tests;
