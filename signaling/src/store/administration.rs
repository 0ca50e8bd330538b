//! What the administration asks of the store: pieces of lists, single things, small changes, and a witness for what
//! happens outside it.

use std::future::Future;

use serde_json::{Value, json};
use sqlx::Row as _;
use voxgate_policy::audit::StoredEntry;
use voxgate_protocol::tenant::{AgentId, OrganisationId, TeamId};

use super::audit::{self, Deed};
use super::keys::{self, StoredKey};
use super::request::{Begun, Done};
use super::tenants::{self, Organisation, Team};
use super::{Store, StoreError};

/// Reads keys as [`keys::key`] wants them.
macro_rules! keys_where {
    ($rest:literal) => {
        concat!(
            "SELECT id, team_id, organisation_id, name, role, scopes, hash, created_at, expires_at, ",
            "revoked_at, agent FROM api_keys WHERE ",
            $rest
        )
    };
}

/// Which part of the tree a list is of. An empty name is every name.
#[derive(Clone, Copy, Debug, Default)]
pub struct Within<'a> {
    /// Of this organisation only.
    pub organisation: &'a str,
    /// Of this team only.
    pub team: &'a str,
}

/// What became of something that a [`Store::witness`] saw.
#[derive(Debug, PartialEq, Eq)]
pub enum Witnessed<T, E> {
    /// It happened now.
    Now(T),
    /// The same request made it happen before.
    Before,
    /// It did not happen, and the log says nothing of it.
    Refused(E),
}

impl Store {
    /// One organisation.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn organisation(&self, id: &str) -> Result<Option<Organisation>, StoreError> {
        let found = sqlx::query("SELECT id, name, created_at FROM organisations WHERE id = $1")
            .bind(id)
            .fetch_optional(&self.pool)
            .await?;
        found.as_ref().map(tenants::organisation).transpose()
    }

    /// One team of an organisation.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn team(&self, organisation: &str, id: &str) -> Result<Option<Team>, StoreError> {
        let found = sqlx::query(
            "SELECT id, organisation_id, name, created_at FROM teams WHERE id = $1 AND organisation_id = $2",
        )
        .bind(id)
        .bind(organisation)
        .fetch_optional(&self.pool)
        .await?;
        found.as_ref().map(tenants::team).transpose()
    }

    /// One key of a team.
    ///
    /// # Errors
    /// [`StoreError::Database`], or [`StoreError::Damaged`] if it cannot be read.
    pub async fn key(
        &self,
        organisation: &str,
        team: &str,
        id: &str,
    ) -> Result<Option<StoredKey>, StoreError> {
        let found = sqlx::query(keys_where!("id = $1 AND team_id = $2 AND organisation_id = $3"))
            .bind(id)
            .bind(team)
            .bind(organisation)
            .fetch_optional(&self.pool)
            .await?;
        found.as_ref().map(keys::key).transpose()
    }

    /// Organisations inside `within` in the order of their ids, from behind `after` on.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn organisations_within(
        &self,
        within: Within<'_>,
        after: &str,
        most: u32,
    ) -> Result<Vec<Organisation>, StoreError> {
        let rows = sqlx::query(
            "SELECT id, name, created_at FROM organisations \
             WHERE id > $1 AND ($2 = '' OR id = $2) ORDER BY id LIMIT $3",
        )
        .bind(after)
        .bind(within.organisation)
        .bind(i64::from(most))
        .fetch_all(&self.pool)
        .await?;
        rows.iter().map(tenants::organisation).collect()
    }

    /// Teams of one organisation inside `within` in the order of their ids, from behind `after` on.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn teams_within(
        &self,
        within: Within<'_>,
        after: &str,
        most: u32,
    ) -> Result<Vec<Team>, StoreError> {
        let rows = sqlx::query(
            "SELECT id, organisation_id, name, created_at FROM teams \
             WHERE id > $1 AND organisation_id = $2 AND ($3 = '' OR id = $3) \
             ORDER BY id LIMIT $4",
        )
        .bind(after)
        .bind(within.organisation)
        .bind(within.team)
        .bind(i64::from(most))
        .fetch_all(&self.pool)
        .await?;
        rows.iter().map(tenants::team).collect()
    }

    /// Keys inside `within` in the order of their ids, from behind `after` on, those narrowed to `agent` only if one is named;
    /// revoked ones too.
    ///
    /// # Errors
    /// [`StoreError::Database`], or [`StoreError::Damaged`] for a key that cannot be read.
    pub async fn keys_within(
        &self,
        within: Within<'_>,
        agent: Option<&AgentId>,
        after: &str,
        most: u32,
    ) -> Result<Vec<StoredKey>, StoreError> {
        let rows = sqlx::query(keys_where!(
            "id > $1 AND ($2 = '' OR organisation_id = $2) AND ($3 = '' OR team_id = $3) \
             AND ($5 = '' OR agent = $5) ORDER BY id LIMIT $4"
        ))
        .bind(after)
        .bind(within.organisation)
        .bind(within.team)
        .bind(i64::from(most))
        .bind(agent.map_or("", AgentId::as_str))
        .fetch_all(&self.pool)
        .await?;
        rows.iter().map(keys::key).collect()
    }

    /// The agents to which keys inside `within` are narrowed that are not revoked, each with a team that has such a key: at
    /// most `most` pairs.
    ///
    /// # Errors
    /// [`StoreError::Database`], or [`StoreError::Damaged`] for names that cannot be read.
    pub async fn agents_within(&self, within: Within<'_>, most: u32) -> Result<Vec<AgentInUse>, StoreError> {
        let rows = sqlx::query(
            "SELECT DISTINCT organisation_id, team_id, agent FROM api_keys WHERE agent IS NOT NULL \
             AND revoked_at IS NULL AND ($1 = '' OR organisation_id = $1) AND ($2 = '' OR team_id = $2) \
             ORDER BY organisation_id, team_id, agent LIMIT $3",
        )
        .bind(within.organisation)
        .bind(within.team)
        .bind(i64::from(most))
        .fetch_all(&self.pool)
        .await?;
        let damaged = |_| StoreError::Damaged { what: "key" };
        let read = rows.iter().map(|row| {
            let text = |column: usize| row.try_get::<String, _>(column);
            Ok(AgentInUse {
                organisation: OrganisationId::new(&text(0)?).map_err(damaged)?,
                team: TeamId::new(&text(1)?).map_err(damaged)?,
                agent: AgentId::new(&text(2)?).map_err(damaged)?,
            })
        });
        read.collect()
    }

    /// Gives an organisation another name, and says so in the audit log.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] if there is none.
    pub async fn rename_organisation(&self, id: &str, name: &str, by: &Deed) -> Result<Done, StoreError> {
        let sql = "UPDATE organisations SET name = $1 WHERE id = $2 AND id = $3 AND '' = $4";
        let detail = json!({ "name": name, "organisation": id });
        let change = Change { sql, place: [id, id, ""], what: "organisation", action: "organisation.rename" };
        self.rename(change, name, by, &detail).await
    }

    /// Gives a team another name, and says so in the audit log.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] if there is none.
    pub async fn rename_team(
        &self,
        organisation: &str,
        id: &str,
        name: &str,
        by: &Deed,
    ) -> Result<Done, StoreError> {
        let sql = "UPDATE teams SET name = $1 WHERE id = $2 AND organisation_id = $3 AND '' = $4";
        let detail = json!({ "name": name, "organisation": organisation, "team": id });
        let change = Change { sql, place: [id, organisation, ""], what: "team", action: "team.rename" };
        self.rename(change, name, by, &detail).await
    }

    /// Gives a key another name, and says so in the audit log.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] if there is none.
    pub async fn rename_key(
        &self,
        organisation: &str,
        team: &str,
        id: &str,
        name: &str,
        by: &Deed,
    ) -> Result<Done, StoreError> {
        let sql = "UPDATE api_keys SET name = $1 WHERE id = $2 AND organisation_id = $3 AND team_id = $4";
        let detail = json!({ "name": name, "organisation": organisation, "team": team });
        let change = Change { sql, place: [id, organisation, team], what: "key", action: "key.rename" };
        self.rename(change, name, by, &detail).await
    }

    async fn rename(
        &self,
        change: Change<'_>,
        name: &str,
        by: &Deed,
        detail: &Value,
    ) -> Result<Done, StoreError> {
        let [id, organisation, team] = change.place;
        let mut transaction = match self.begin(by, id).await? {
            Begun::Fresh(transaction) => transaction,
            Begun::Before(subject) => return Ok(Done::Before(subject)),
        };
        let changed = sqlx::query(change.sql)
            .bind(name)
            .bind(id)
            .bind(organisation)
            .bind(team)
            .execute(&mut *transaction)
            .await?;
        if changed.rows_affected() == 0 {
            return Err(StoreError::NotFound { what: change.what, id: id.to_owned() });
        }
        audit::append(&mut transaction, by, change.action, id, detail).await?;
        transaction.commit().await?;
        Ok(Done::Now)
    }

    /// Lets something happen outside the store, and says so in the audit log: if it is refused the log says nothing, and if
    /// the log cannot be written it does not happen. It must not take long, for nothing else is written meanwhile.
    ///
    /// # Errors
    /// [`StoreError::OtherRequest`] or [`StoreError::Database`].
    pub async fn witness<T, E>(
        &self,
        by: &Deed,
        (action, subject): (&str, &str),
        detail: &Value,
        act: impl Future<Output = Result<T, E>>,
    ) -> Result<Witnessed<T, E>, StoreError> {
        let mut transaction = match self.begin(by, subject).await? {
            Begun::Fresh(transaction) => transaction,
            Begun::Before(_) => return Ok(Witnessed::Before),
        };
        audit::append(&mut transaction, by, action, subject, detail).await?;
        match act.await {
            Ok(done) => {
                transaction.commit().await?;
                Ok(Witnessed::Now(done))
            }
            Err(refusal) => Ok(Witnessed::Refused(refusal)),
        }
    }

    /// Entries of the audit log, the newest first, from before the sequence `before` on.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn audit_before(&self, before: i64, most: u32) -> Result<Vec<StoredEntry>, StoreError> {
        let rows = sqlx::query(
            "SELECT sequence, at, actor, action, subject, detail, previous, hash FROM audit_log \
             WHERE sequence < $1 ORDER BY sequence DESC LIMIT $2",
        )
        .bind(before)
        .bind(i64::from(most))
        .fetch_all(&self.pool)
        .await?;
        rows.iter().map(audit::stored).collect()
    }
}

/// An agent to which a key of a team is narrowed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AgentInUse {
    /// The organisation of the team.
    pub organisation: OrganisationId,
    /// The team of the key.
    pub team: TeamId,
    /// The agent.
    pub agent: AgentId,
}

/// A new name for something.
struct Change<'a> {
    /// Takes the name and the three parts of the place.
    sql: &'static str,
    place: [&'a str; 3],
    what: &'static str,
    action: &'static str,
}
