//! API keys, as hashes.

use std::collections::BTreeSet;

use sqlx::Row as _;
use sqlx::any::AnyRow;
use voxgate_policy::directory::{Caller, KeyEntry, Role, Scope};
use voxgate_policy::key::KeyHash;
use voxgate_protocol::tenant::{AgentId, KeyId, OrganisationId, TeamId, TenantPath};

use super::audit::Deed;
use super::request::{Begun, Done};
use super::{Store, StoreError};

/// A key as the store knows it. The key itself is shown once, when it is made, and kept nowhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredKey {
    /// Whose it is, what it opens, until when.
    pub entry: KeyEntry,
    /// For people.
    pub name: String,
    /// When it was made, in milliseconds since 1970.
    pub created_at: i64,
    /// Since when it does not work any more, if so, in milliseconds since 1970.
    pub revoked_at: Option<i64>,
}

impl StoredKey {
    /// The name by which people and logs know it. Unique in the store.
    #[must_use]
    pub fn id(&self) -> &str {
        self.entry.caller.tenancy.key.as_str()
    }
}

impl Store {
    /// Adds a key, and says so in the audit log.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] if its team does not exist.
    pub async fn add_key(&self, key: &StoredKey, by: &Deed) -> Result<Done, StoreError> {
        let mut transaction = match self.begin(by, key.id()).await? {
            Begun::Fresh(transaction) => transaction,
            Begun::Before(subject) => return Ok(Done::Before(subject)),
        };
        let caller = &key.entry.caller;
        let scopes: Vec<&str> = caller.scopes.iter().map(|scope| scope.as_str()).collect();
        let added = sqlx::query(
            "INSERT INTO api_keys (id, organisation_id, team_id, name, role, scopes, hash, created_at, expires_at, agent) \
             SELECT $1, organisation_id, id, $3, $4, $5, $6, $7, $8, $10 FROM teams WHERE id = $2 AND organisation_id = $9",
        )
        .bind(key.id())
        .bind(caller.tenancy.team.as_str())
        .bind(&key.name)
        .bind(caller.role.as_str())
        .bind(scopes.join(" "))
        .bind(key.entry.hash.to_hex())
        .bind(key.created_at)
        .bind(key.entry.expires_at.map(|at| at.saturating_mul(1_000) as i64))
        .bind(caller.tenancy.organisation.as_str())
        .bind(caller.tenancy.agent.as_ref().map(AgentId::as_str))
        .execute(&mut *transaction)
        .await?;
        if added.rows_affected() == 0 {
            return Err(StoreError::NotFound { what: "team", id: caller.tenancy.team.to_string() });
        }
        let detail = serde_json::json!({
            "name": key.name, "organisation": caller.tenancy.organisation, "team": caller.tenancy.team,
            "agent": caller.tenancy.agent, "role": caller.role.as_str(), "scopes": scopes, "expires_at": key.entry.expires_at,
        });
        super::tenants::count_change(&mut transaction).await?;
        super::audit::append(&mut transaction, by, "key.create", key.id(), &detail).await?;
        transaction.commit().await?;
        Ok(Done::Now)
    }

    /// Revokes a key for good, and says so in the audit log. [`Done::Before`] if it was revoked already: nothing changes then.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] if there is no such key.
    pub async fn revoke_key(&self, id: &str, by: &Deed) -> Result<Done, StoreError> {
        let mut transaction = match self.begin(by, id).await? {
            Begun::Fresh(transaction) => transaction,
            Begun::Before(subject) => return Ok(Done::Before(subject)),
        };
        let changed = sqlx::query("UPDATE api_keys SET revoked_at = $1 WHERE id = $2 AND revoked_at IS NULL")
            .bind(by.at_unix_ms)
            .bind(id)
            .execute(&mut *transaction)
            .await?;
        if changed.rows_affected() == 0 {
            let known = sqlx::query("SELECT id FROM api_keys WHERE id = $1").bind(id);
            return match known.fetch_optional(&mut *transaction).await? {
                Some(_) => Ok(Done::Before(id.to_owned())),
                None => Err(StoreError::NotFound { what: "key", id: id.to_owned() }),
            };
        }
        let place = sqlx::query("SELECT organisation_id, team_id FROM api_keys WHERE id = $1").bind(id);
        let place = place.fetch_one(&mut *transaction).await?;
        let (organisation, team): (String, String) = (place.try_get(0)?, place.try_get(1)?);
        let detail = serde_json::json!({ "organisation": organisation, "team": team });
        super::tenants::count_change(&mut transaction).await?;
        super::audit::append(&mut transaction, by, "key.revoke", id, &detail).await?;
        transaction.commit().await?;
        Ok(Done::Now)
    }

    /// Keys in the order of their ids, from behind `after` on.
    ///
    /// # Errors
    /// [`StoreError::Database`], or [`StoreError::Damaged`] for a key that cannot be read.
    pub async fn keys(&self, after: &str, most: u32) -> Result<Vec<StoredKey>, StoreError> {
        let rows = sqlx::query(
            "SELECT id, team_id, organisation_id, name, role, scopes, hash, created_at, expires_at, revoked_at, agent \
             FROM api_keys WHERE id > $1 ORDER BY id LIMIT $2",
        )
        .bind(after)
        .bind(i64::from(most))
        .fetch_all(&self.pool)
        .await?;
        rows.iter().map(key).collect()
    }
}

const DAMAGED: StoreError = StoreError::Damaged { what: "key" };

pub(super) fn key(row: &AnyRow) -> Result<StoredKey, StoreError> {
    let text = |column: usize| row.try_get::<String, _>(column);
    let agent: Option<String> = row.try_get(10)?;
    let tenancy = TenantPath {
        organisation: OrganisationId::new(&text(2)?).map_err(|_| DAMAGED)?,
        team: TeamId::new(&text(1)?).map_err(|_| DAMAGED)?,
        key: KeyId::new(&text(0)?).map_err(|_| DAMAGED)?,
        agent: agent.as_deref().map(AgentId::new).transpose().map_err(|_| DAMAGED)?,
    };
    let role = Role::from_word(&text(4)?).ok_or(DAMAGED)?;
    let scopes: Option<BTreeSet<Scope>> = text(5)?.split_whitespace().map(Scope::from_word).collect();
    let expires_at: Option<i64> = row.try_get(8)?;
    let revoked_at: Option<i64> = row.try_get(9)?;
    let entry = KeyEntry {
        hash: KeyHash::from_hex(&text(6)?).map_err(|_| DAMAGED)?,
        caller: Caller { tenancy, role, scopes: scopes.ok_or(DAMAGED)?, is_signed_in: false },
        expires_at: expires_at.map(|at| u64::try_from(at).unwrap_or(0) / 1_000),
        is_revoked: revoked_at.is_some(),
    };
    Ok(StoredKey { entry, name: text(3)?, created_at: row.try_get(7)?, revoked_at })
}
