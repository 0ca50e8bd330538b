//! Organisations and their teams.

use sqlx::any::AnyRow;
use sqlx::{AnyConnection, Row as _};

use super::audit::Deed;
use super::request::{Begun, Done};
use super::{Store, StoreError};

/// The team of a first installation, which has one and does not know it.
pub const DEFAULT_TEAM: &str = "default";

/// The organisation of a first installation.
pub const DEFAULT_ORGANISATION: &str = "default";

/// Whoever pays.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Organisation {
    /// `org_…`.
    pub id: String,
    /// For people.
    pub name: String,
    /// When it was made, in milliseconds since 1970.
    pub created_at: i64,
}

/// A part of an organisation; keys belong to teams. Nothing of one team is visible to another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Team {
    /// `team_…`.
    pub id: String,
    /// Whose.
    pub organisation_id: String,
    /// For people.
    pub name: String,
    /// When it was made, in milliseconds since 1970.
    pub created_at: i64,
}

impl Store {
    /// Adds an organisation, and says so in the audit log.
    ///
    /// # Errors
    /// [`StoreError::Exists`] if there is one of this id.
    pub async fn add_organisation(&self, organisation: &Organisation, by: &Deed) -> Result<Done, StoreError> {
        let mut transaction = match self.begin(by, &organisation.id).await? {
            Begun::Fresh(transaction) => transaction,
            Begun::Before(subject) => return Ok(Done::Before(subject)),
        };
        let added = sqlx::query(
            "INSERT INTO organisations (id, name, created_at) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING",
        )
        .bind(&organisation.id)
        .bind(&organisation.name)
        .bind(organisation.created_at)
        .execute(&mut *transaction)
        .await?;
        if added.rows_affected() == 0 {
            return Err(StoreError::Exists { what: "organisation", id: organisation.id.clone() });
        }
        let detail = serde_json::json!({ "name": organisation.name, "organisation": organisation.id });
        count_change(&mut transaction).await?;
        super::audit::append(&mut transaction, by, "organisation.create", &organisation.id, &detail).await?;
        transaction.commit().await?;
        Ok(Done::Now)
    }

    /// Adds a team, and says so in the audit log.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] if its organisation does not exist, [`StoreError::Exists`] if the organisation has a team of
    /// this id.
    pub async fn add_team(&self, team: &Team, by: &Deed) -> Result<Done, StoreError> {
        let mut transaction = match self.begin(by, &team.id).await? {
            Begun::Fresh(transaction) => transaction,
            Begun::Before(subject) => return Ok(Done::Before(subject)),
        };
        let added = sqlx::query(
            "INSERT INTO teams (id, organisation_id, name, created_at) \
             SELECT $1, id, $3, $4 FROM organisations WHERE id = $2 ON CONFLICT DO NOTHING",
        )
        .bind(&team.id)
        .bind(&team.organisation_id)
        .bind(&team.name)
        .bind(team.created_at)
        .execute(&mut *transaction)
        .await?;
        if added.rows_affected() == 0 {
            let parent =
                sqlx::query("SELECT id FROM organisations WHERE id = $1").bind(&team.organisation_id);
            return Err(match parent.fetch_optional(&mut *transaction).await? {
                Some(_) => StoreError::Exists { what: "team", id: team.id.clone() },
                None => StoreError::NotFound { what: "organisation", id: team.organisation_id.clone() },
            });
        }
        let detail =
            serde_json::json!({ "name": team.name, "organisation": team.organisation_id, "team": team.id });
        count_change(&mut transaction).await?;
        super::audit::append(&mut transaction, by, "team.create", &team.id, &detail).await?;
        transaction.commit().await?;
        Ok(Done::Now)
    }

    /// How often organisations, teams or keys were changed.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn directory_changes(&self) -> Result<i64, StoreError> {
        let row =
            sqlx::query("SELECT changes FROM directory_revision WHERE id = 1").fetch_one(&self.pool).await?;
        Ok(row.try_get(0)?)
    }

    /// Whether there is an organisation of this id.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn has_organisation(&self, id: &str) -> Result<bool, StoreError> {
        let found = sqlx::query("SELECT id FROM organisations WHERE id = $1").bind(id);
        Ok(found.fetch_optional(&self.pool).await?.is_some())
    }

    /// Whether the organisation has a team of this id.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn has_team(&self, organisation: &str, id: &str) -> Result<bool, StoreError> {
        let found = sqlx::query("SELECT id FROM teams WHERE organisation_id = $1 AND id = $2");
        Ok(found.bind(organisation).bind(id).fetch_optional(&self.pool).await?.is_some())
    }

    /// Organisations in the order of their ids, from behind `after` on.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn organisations(&self, after: &str, most: u32) -> Result<Vec<Organisation>, StoreError> {
        let rows =
            sqlx::query("SELECT id, name, created_at FROM organisations WHERE id > $1 ORDER BY id LIMIT $2")
                .bind(after)
                .bind(i64::from(most))
                .fetch_all(&self.pool)
                .await?;
        rows.iter().map(organisation).collect()
    }

    /// Teams in the order of their ids, from behind `after` on.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn teams(&self, after: &str, most: u32) -> Result<Vec<Team>, StoreError> {
        let rows = sqlx::query(
            "SELECT id, organisation_id, name, created_at FROM teams WHERE id > $1 ORDER BY id, organisation_id LIMIT $2",
        )
        .bind(after)
        .bind(i64::from(most))
        .fetch_all(&self.pool)
        .await?;
        rows.iter().map(team).collect()
    }
}

/// Notes a change in the transaction that makes it, for whoever follows the directory.
pub(super) async fn count_change(connection: &mut AnyConnection) -> Result<(), StoreError> {
    sqlx::query("UPDATE directory_revision SET changes = changes + 1 WHERE id = 1")
        .execute(connection)
        .await?;
    Ok(())
}

pub(super) fn organisation(row: &AnyRow) -> Result<Organisation, StoreError> {
    Ok(Organisation { id: row.try_get(0)?, name: row.try_get(1)?, created_at: row.try_get(2)? })
}

pub(super) fn team(row: &AnyRow) -> Result<Team, StoreError> {
    Ok(Team {
        id: row.try_get(0)?,
        organisation_id: row.try_get(1)?,
        name: row.try_get(2)?,
        created_at: row.try_get(3)?,
    })
}
