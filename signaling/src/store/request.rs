//! Requests that may come twice and are to do something once.

use sqlx::{Any, Row as _, Transaction};

use super::audit::Deed;
use super::{Store, StoreError};

/// How a request can be known again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestMark {
    /// The `Idempotency-Key` of whoever asks.
    pub request: String,
    /// A hash of everything that was asked for.
    pub fingerprint: String,
}

/// What became of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Done {
    /// It was done.
    Now,
    /// It was done before, to the thing of this id.
    Before(String),
}

/// A change that begins.
pub(super) enum Begun {
    Fresh(Transaction<'static, Any>),
    Before(String),
}

impl Store {
    /// Whether this very request was done before to `subject`, which may be gone since.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn has_done(&self, by: &Deed, subject: &str) -> Result<bool, StoreError> {
        let Some(mark) = &by.request else { return Ok(false) };
        let found = sqlx::query(
            "SELECT at FROM requests WHERE actor = $1 AND request = $2 AND fingerprint = $3 AND subject = $4",
        )
        .bind(&by.actor)
        .bind(&mark.request)
        .bind(&mark.fingerprint)
        .bind(subject);
        Ok(found.fetch_optional(&self.pool).await?.is_some())
    }

    /// Begins a change that makes or changes `subject`, unless the same request did it before. Two of the same request at
    /// once take turns.
    pub(super) async fn begin(&self, by: &Deed, subject: &str) -> Result<Begun, StoreError> {
        let mut transaction = self.pool.begin().await?;
        let Some(mark) = &by.request else { return Ok(Begun::Fresh(transaction)) };
        let noted = sqlx::query(
            "INSERT INTO requests (actor, request, fingerprint, subject, at) VALUES ($1, $2, $3, $4, $5) \
             ON CONFLICT (actor, request) DO NOTHING",
        )
        .bind(&by.actor)
        .bind(&mark.request)
        .bind(&mark.fingerprint)
        .bind(subject)
        .bind(by.at_unix_ms)
        .execute(&mut *transaction)
        .await?;
        if noted.rows_affected() > 0 {
            return Ok(Begun::Fresh(transaction));
        }
        let before =
            sqlx::query("SELECT fingerprint, subject FROM requests WHERE actor = $1 AND request = $2")
                .bind(&by.actor)
                .bind(&mark.request)
                .fetch_one(&mut *transaction)
                .await?;
        let fingerprint: String = before.try_get(0)?;
        if fingerprint != mark.fingerprint {
            return Err(StoreError::OtherRequest);
        }
        Ok(Begun::Before(before.try_get(1)?))
    }
}
