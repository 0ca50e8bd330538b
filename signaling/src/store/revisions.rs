//! The configurations gateways have run with.

use sqlx::Row as _;
use sqlx::any::AnyRow;
use voxgate_policy::bundle::Bundle;
use voxgate_protocol::revision::{BundleHash, RevisionName};

use super::audit::Deed;
use super::{Store, StoreError};
use crate::admin::revisions::{Origin, RevisionFacts};

const DAMAGED: StoreError = StoreError::Damaged { what: "configuration" };

/// What came of an attempt to add a revision.
#[derive(Debug)]
pub enum Added<E> {
    /// It is in force and stands in the store.
    Recorded(RevisionFacts),
    /// It is in force; the store went away at that moment and does not know of it.
    Unrecorded(RevisionFacts, StoreError),
    /// It could not be put in force, and the store does not know of it.
    Refused(E),
}

impl Store {
    /// Adds a revision with the next number and says so in the audit log; `put_in_force` gets it before both are certain. It runs
    /// inside the transaction, so it must not wait for anything.
    ///
    /// # Errors
    /// [`StoreError::Database`] before anything was put in force.
    pub async fn add_revision<E>(
        &self,
        bundle: &Bundle,
        origin: Origin,
        by: &Deed,
        put_in_force: impl FnOnce(&RevisionFacts) -> Result<(), E>,
    ) -> Result<Added<E>, StoreError> {
        let mut transaction = self.pool.begin().await?;
        let head = sqlx::query("UPDATE config_head SET number = number + 1 WHERE id = 1 RETURNING number")
            .fetch_one(&mut *transaction)
            .await?;
        let number: i64 = head.try_get(0)?;
        let hash = bundle.hash();
        let facts = RevisionFacts {
            number: u64::try_from(number).map_err(|_| DAMAGED)?,
            hash,
            made_at_unix_ms: u64::try_from(by.at_unix_ms).unwrap_or(0),
            made_by: by.actor.clone(),
            origin,
        };
        sqlx::query(
            "INSERT INTO config_revisions (number, hash, made_at, made_by, origin, bundle) \
             VALUES ($1, $2, $3, $4, $5, $6)",
        )
        .bind(number)
        .bind(hash.to_string())
        .bind(by.at_unix_ms)
        .bind(&facts.made_by)
        .bind(origin.as_str())
        .bind(serde_json::to_string(bundle).map_err(|_| DAMAGED)?)
        .execute(&mut *transaction)
        .await?;
        let detail = serde_json::json!({ "hash": hash, "origin": origin.as_str() });
        let subject = number.to_string();
        super::audit::append(&mut transaction, by, "configuration.apply", &subject, &detail).await?;
        if let Err(refusal) = put_in_force(&facts) {
            // Dropped, the transaction leaves nothing.
            return Ok(Added::Refused(refusal));
        }
        Ok(match transaction.commit().await {
            Ok(()) => Added::Recorded(facts),
            Err(error) => Added::Unrecorded(facts, error.into()),
        })
    }

    /// Revisions, the newest first, from below the number `before` on.
    ///
    /// # Errors
    /// [`StoreError::Database`], or [`StoreError::Damaged`] for one that cannot be read.
    pub async fn revisions(&self, before: Option<u64>, most: u32) -> Result<Vec<RevisionFacts>, StoreError> {
        let before = before.map_or(i64::MAX, |number| i64::try_from(number).unwrap_or(i64::MAX));
        let rows = sqlx::query(
            "SELECT number, hash, made_at, made_by, origin FROM config_revisions \
             WHERE number < $1 ORDER BY number DESC LIMIT $2",
        )
        .bind(before)
        .bind(i64::from(most))
        .fetch_all(&self.pool)
        .await?;
        rows.iter().map(facts).collect()
    }

    /// A revision with what it holds; `None` if there is none of this number.
    ///
    /// # Errors
    /// As [`Store::revisions`]; [`StoreError::Damaged`] too if what it holds is not what its hash says.
    pub async fn revision(&self, number: u64) -> Result<Option<(RevisionFacts, Bundle)>, StoreError> {
        let Ok(number) = i64::try_from(number) else { return Ok(None) };
        let row = sqlx::query(
            "SELECT number, hash, made_at, made_by, origin, bundle FROM config_revisions WHERE number = $1",
        )
        .bind(number)
        .fetch_optional(&self.pool)
        .await?;
        let Some(row) = row else { return Ok(None) };
        let facts = facts(&row)?;
        let text: String = row.try_get(5)?;
        let bundle: Bundle = serde_json::from_str(&text).map_err(|_| DAMAGED)?;
        if bundle.hash() != facts.hash {
            return Err(DAMAGED);
        }
        Ok(Some((facts, bundle)))
    }

    /// The newest revision before this one that holds something else; `None` if there is none.
    ///
    /// # Errors
    /// As [`Store::revisions`].
    pub async fn revision_before(&self, running: RevisionName) -> Result<Option<u64>, StoreError> {
        let before = if running.number == 0 { i64::MAX } else { running.number as i64 };
        let row = sqlx::query("SELECT MAX(number) FROM config_revisions WHERE number < $1 AND hash <> $2")
            .bind(before)
            .bind(running.hash.to_string())
            .fetch_one(&self.pool)
            .await?;
        let number: Option<i64> = row.try_get(0)?;
        number.map(|number| u64::try_from(number).map_err(|_| DAMAGED)).transpose()
    }
}

fn facts(row: &AnyRow) -> Result<RevisionFacts, StoreError> {
    let (number, made_at): (i64, i64) = (row.try_get(0)?, row.try_get(2)?);
    let (hash, origin): (String, String) = (row.try_get(1)?, row.try_get(4)?);
    Ok(RevisionFacts {
        number: u64::try_from(number).map_err(|_| DAMAGED)?,
        hash: BundleHash::from_hex(&hash).ok_or(DAMAGED)?,
        made_at_unix_ms: u64::try_from(made_at).map_err(|_| DAMAGED)?,
        made_by: row.try_get(3)?,
        origin: Origin::from_word(&origin).ok_or(DAMAGED)?,
    })
}
