//! Who did what, each entry chained to the one before it.

use serde_json::Value;
use sqlx::any::AnyRow;
use sqlx::{Any, AnyConnection, Row as _, Transaction};
use voxgate_policy::audit::{AuditEntry, ChainHash, Finding, Head, StoredEntry, Verifier};

use super::request::RequestMark;
use super::{Store, StoreError};
use crate::audit_queue::Note;

/// Entries read at once while the log is verified.
const PAGE: u32 = 500;

/// Who does something, and when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deed {
    /// The id of a key, or `cli`, or `gateway`.
    pub actor: String,
    /// Milliseconds since 1970.
    pub at_unix_ms: i64,
    /// How the request can be known again, should it come twice.
    pub request: Option<RequestMark>,
}

/// What a verification found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditVerdict {
    /// Rows read.
    pub rows: u64,
    /// The end of the chain as the store names it.
    pub head: Head,
    /// What is wrong; empty if nothing is.
    pub findings: Vec<Finding>,
}

/// Appends an entry inside the transaction that does what it tells of: neither happens without the other. Updating the head
/// comes first, so that two that append take turns on both databases.
pub(super) async fn append(
    connection: &mut AnyConnection,
    by: &Deed,
    action: &str,
    subject: &str,
    detail: &Value,
) -> Result<(), StoreError> {
    let head =
        sqlx::query("UPDATE audit_head SET sequence = sequence + 1 WHERE id = 1 RETURNING sequence, hash")
            .fetch_one(&mut *connection)
            .await?;
    let sequence: i64 = head.try_get(0)?;
    let previous = hash(&head, 1)?;
    let entry = AuditEntry {
        at_unix_ms: by.at_unix_ms,
        actor: by.actor.clone(),
        action: action.to_owned(),
        subject: subject.to_owned(),
        detail: detail.to_string(),
    };
    let hash = previous.after(&entry).to_hex();
    sqlx::query(
        "INSERT INTO audit_log (sequence, at, actor, action, subject, detail, previous, hash) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
    )
    .bind(sequence)
    .bind(entry.at_unix_ms)
    .bind(entry.actor)
    .bind(entry.action)
    .bind(entry.subject)
    .bind(entry.detail)
    .bind(previous.to_hex())
    .bind(&hash)
    .execute(&mut *connection)
    .await?;
    sqlx::query("UPDATE audit_head SET hash = $1 WHERE id = 1").bind(hash).execute(connection).await?;
    Ok(())
}

impl Store {
    /// How many entries there are: a number that grows with every change of the store.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn changes(&self) -> Result<i64, StoreError> {
        let row = sqlx::query("SELECT sequence FROM audit_head WHERE id = 1").fetch_one(&self.pool).await?;
        Ok(row.try_get(0)?)
    }

    /// Appends an entry of its own, for what changes nothing in the store.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn note(
        &self,
        by: &Deed,
        action: &str,
        subject: &str,
        detail: &Value,
    ) -> Result<(), StoreError> {
        let mut transaction = self.pool.begin().await?;
        append(&mut transaction, by, action, subject, detail).await?;
        Ok(transaction.commit().await?)
    }

    /// Appends entries in their order: all of them or, on an error, none.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn note_all(&self, notes: &[Note]) -> Result<(), StoreError> {
        let mut transaction = self.pool.begin().await?;
        for Note { by, action, subject, detail } in notes {
            append(&mut transaction, by, action, subject, detail).await?;
        }
        Ok(transaction.commit().await?)
    }

    /// Entries in their order, from behind the sequence `after` on.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn audit_entries(&self, after: i64, most: u32) -> Result<Vec<StoredEntry>, StoreError> {
        let mut connection = self.pool.acquire().await?;
        entries(&mut connection, after, most).await
    }

    /// Reads the whole log and says what was changed, removed or inserted. With an `anchor` the chain must pass through that
    /// head, which was kept elsewhere.
    ///
    /// # Errors
    /// [`StoreError::Database`], or [`StoreError::Damaged`] if the head of the log is gone.
    pub async fn verify_audit(&self, anchor: Option<Head>) -> Result<AuditVerdict, StoreError> {
        let mut verifier = Verifier::new(anchor);
        let (mut after, mut rows) = (i64::MIN, 0);
        let mut transaction: Option<(Transaction<'static, Any>, Head)> = None;
        loop {
            let page = match &mut transaction {
                None => self.audit_entries(after, PAGE).await?,
                Some((locked, _)) => entries(locked, after, PAGE).await?,
            };
            rows += page.len() as u64;
            let goes_on = page.iter().all(|row| verifier.check(row));
            if let Some(last) = page.last().filter(|_| goes_on) {
                after = last.sequence;
                continue;
            }
            if let Some((_, head)) = transaction {
                return Ok(AuditVerdict { rows, head, findings: verifier.finish(head) });
            }
            // The rest is read while nothing can be appended, so that the head and the last row belong together.
            let mut locked = self.pool.begin().await?;
            let head = lock_head(&mut locked).await?;
            transaction = Some((locked, head));
        }
    }
}

async fn lock_head(connection: &mut AnyConnection) -> Result<Head, StoreError> {
    let row = sqlx::query("UPDATE audit_head SET sequence = sequence WHERE id = 1 RETURNING sequence, hash")
        .fetch_optional(connection)
        .await?
        .ok_or(StoreError::Damaged { what: "audit log: its head is gone" })?;
    Ok(Head { sequence: row.try_get(0)?, hash: hash(&row, 1)? })
}

async fn entries(
    connection: &mut AnyConnection,
    after: i64,
    most: u32,
) -> Result<Vec<StoredEntry>, StoreError> {
    let rows = sqlx::query(
        "SELECT sequence, at, actor, action, subject, detail, previous, hash FROM audit_log \
         WHERE sequence > $1 ORDER BY sequence LIMIT $2",
    )
    .bind(after)
    .bind(i64::from(most))
    .fetch_all(connection)
    .await?;
    rows.iter().map(stored).collect()
}

pub(super) fn stored(row: &AnyRow) -> Result<StoredEntry, StoreError> {
    Ok(StoredEntry {
        sequence: row.try_get(0)?,
        entry: AuditEntry {
            at_unix_ms: row.try_get(1)?,
            actor: row.try_get(2)?,
            action: row.try_get(3)?,
            subject: row.try_get(4)?,
            detail: row.try_get(5)?,
        },
        previous: hash(row, 6)?,
        hash: hash(row, 7)?,
    })
}

fn hash(row: &AnyRow, column: usize) -> Result<ChainHash, StoreError> {
    let text: String = row.try_get(column)?;
    Ok(ChainHash::from_hex(&text).unwrap_or(ChainHash::MALFORMED))
}
