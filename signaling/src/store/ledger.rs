//! What sessions cost: entries that are only ever added, each once, whoever delivers it how often.

use sqlx::AnyConnection;
use sqlx::Row as _;
use voxgate_policy::money::day::UtcDay;
use voxgate_policy::money::ledger::{Entry, EntryId};
use voxgate_protocol::money::NanoDollars;
use voxgate_protocol::tenant::{AgentId, OrganisationId};

use super::{Store, StoreError};

/// What became of entries that were added.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Added {
    /// How many were new.
    pub new: u64,
    /// Those whose name stands for another entry already, which stays: a defect of whoever named them.
    pub conflicts: Vec<EntryId>,
}

/// The sum of some entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LedgerTotal {
    /// How many entries.
    pub entries: u64,
    /// How much together.
    pub amount: NanoDollars,
}

impl Store {
    /// Adds entries; those that are there already stay as they are. All of them or, on an error, none.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn add_to_ledger(&self, entries: &[Entry]) -> Result<Added, StoreError> {
        let mut transaction = self.pool.begin().await?;
        let mut added = Added::default();
        for entry in entries {
            let text = serde_json::to_string(entry).map_err(|_| DAMAGED)?;
            if insert(&mut transaction, entry, &text).await? {
                added.new += 1;
            } else if known(&mut transaction, entry).await? != *entry {
                added.conflicts.push(entry.id.clone());
            }
        }
        transaction.commit().await?;
        Ok(added)
    }

    /// Entries in the order of the text of their ids, from behind `after` on.
    ///
    /// # Errors
    /// [`StoreError::Database`], or [`StoreError::Damaged`].
    pub async fn ledger(&self, after: &str, most: u32) -> Result<Vec<Entry>, StoreError> {
        let rows = sqlx::query("SELECT entry FROM ledger_entries WHERE id > $1 ORDER BY id LIMIT $2")
            .bind(after)
            .bind(i64::from(most))
            .fetch_all(&self.pool)
            .await?;
        rows.iter().map(|row| read(&row.try_get::<String, _>(0)?)).collect()
    }

    /// What an organisation spent from one day to another, both included.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn spent(
        &self,
        organisation: &OrganisationId,
        first: UtcDay,
        last: UtcDay,
    ) -> Result<LedgerTotal, StoreError> {
        let row = sqlx::query(
            "SELECT COUNT(*), CAST(COALESCE(SUM(amount), 0) AS BIGINT) FROM ledger_entries \
             WHERE organisation = $1 AND day >= $2 AND day <= $3",
        )
        .bind(organisation.as_str())
        .bind(String::from(first))
        .bind(String::from(last))
        .fetch_one(&self.pool)
        .await?;
        let entries: i64 = row.try_get(0)?;
        Ok(LedgerTotal { entries: entries.unsigned_abs(), amount: NanoDollars::new(row.try_get(1)?) })
    }
}

const DAMAGED: StoreError = StoreError::Damaged { what: "ledger entry" };

/// Whether the entry is new.
async fn insert(connection: &mut AnyConnection, entry: &Entry, text: &str) -> Result<bool, StoreError> {
    let Entry { id, tenant, provider, model, day, amount, .. } = entry;
    let added = sqlx::query(
        "INSERT INTO ledger_entries \
         (id, day, organisation, team, api_key, agent, session, provider, model, amount, entry) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) ON CONFLICT (id) DO NOTHING",
    )
    .bind(id.to_string())
    .bind(String::from(*day))
    .bind(tenant.organisation.as_str())
    .bind(tenant.team.as_str())
    .bind(tenant.key.as_str())
    .bind(tenant.agent.as_ref().map(AgentId::as_str))
    .bind(id.session.as_str())
    .bind(&**provider)
    .bind(&**model)
    .bind(amount.get())
    .bind(text)
    .execute(connection)
    .await?;
    Ok(added.rows_affected() > 0)
}

async fn known(connection: &mut AnyConnection, entry: &Entry) -> Result<Entry, StoreError> {
    let row = sqlx::query("SELECT entry FROM ledger_entries WHERE id = $1")
        .bind(entry.id.to_string())
        .fetch_one(connection)
        .await?;
    read(&row.try_get::<String, _>(0)?)
}

fn read(text: &str) -> Result<Entry, StoreError> {
    serde_json::from_str(text).map_err(|_| DAMAGED)
}
