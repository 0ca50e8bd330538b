//! What sessions cost: entries that are only ever added, each once, whoever delivers it how often.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;
use sqlx::AnyConnection;
use sqlx::Row as _;
use sqlx::any::AnyRow;
use voxgate_policy::money::budget::Scope;
use voxgate_policy::money::day::UtcDay;
use voxgate_policy::money::invoice::OpenEstimate;
use voxgate_policy::money::ledger::{Entry, EntryId, Source, Subject};
use voxgate_protocol::id::SessionId;
use voxgate_protocol::money::NanoDollars;
use voxgate_protocol::tenant::{AgentId, KeyId, OrganisationId, TeamId, TenantPath};

use super::audit::Deed;
use super::{Store, StoreError};

/// Entries read at once.
const PAGE: i64 = 1_000;

/// What became of entries that were added.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Added {
    /// How many were new.
    pub new: u64,
    /// Those whose name stands for another entry already, which stays: a defect of whoever named them.
    pub conflicts: Vec<EntryId>,
}

/// An entry of somebody else, as budgets need it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpentElsewhere {
    /// Whose session it was.
    pub tenant: TenantPath,
    /// When what it is about began, since the Unix epoch.
    pub at: Duration,
    /// How much; negative for what takes back an estimate.
    pub amount: NanoDollars,
}

impl SpentElsewhere {
    fn read(row: &AnyRow) -> Result<Self, StoreError> {
        let text = |column: usize| row.try_get::<String, _>(column);
        let agent = row.try_get::<Option<String>, _>(3)?;
        let tenant = TenantPath {
            organisation: OrganisationId::new(&text(0)?).map_err(|_| DAMAGED)?,
            team: TeamId::new(&text(1)?).map_err(|_| DAMAGED)?,
            key: KeyId::new(&text(2)?).map_err(|_| DAMAGED)?,
            agent: agent.as_deref().map(AgentId::new).transpose().map_err(|_| DAMAGED)?,
        };
        let at = Duration::from_millis(row.try_get::<i64, _>(4)?.unsigned_abs());
        Ok(Self { tenant, at, amount: NanoDollars::new(row.try_get(5)?) })
    }
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
        self.post(NOBODY, entries).await
    }

    /// The same, handed in by `node`, a process that knows its own entries and follows those of others. An entry stays that of
    /// whoever handed it in first.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn post(&self, node: &str, entries: &[Entry]) -> Result<Added, StoreError> {
        let mut transaction = self.pool.begin().await?;
        let added = add(&mut transaction, node, entries).await?;
        transaction.commit().await?;
        Ok(added)
    }

    /// Adds entries that somebody decided on, and tells the audit log of it if any of them is new: neither happens without
    /// the other.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn settle_ledger(
        &self,
        by: &Deed,
        entries: &[Entry],
        subject: &str,
        detail: &Value,
    ) -> Result<Added, StoreError> {
        let mut transaction = self.pool.begin().await?;
        let added = add(&mut transaction, NOBODY, entries).await?;
        if added.new > 0 {
            super::audit::append(&mut transaction, by, "ledger.confirm", subject, detail).await?;
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

    /// What a provider was estimated to bill from one day to another and nobody has confirmed yet.
    ///
    /// # Errors
    /// [`StoreError::Database`], or [`StoreError::Damaged`].
    pub async fn open_estimates(
        &self,
        provider: &str,
        first: UtcDay,
        last: UtcDay,
    ) -> Result<Vec<OpenEstimate>, StoreError> {
        let mut subjects: BTreeMap<(SessionId, Subject), OpenEstimate> = BTreeMap::new();
        let mut after = String::new();
        loop {
            let rows = sqlx::query(
                "SELECT id, entry FROM ledger_entries WHERE provider = $1 AND day >= $2 AND day <= $3 \
                   AND certainty = 'estimated' AND id > $4 ORDER BY id LIMIT $5",
            )
            .bind(provider)
            .bind(String::from(first))
            .bind(String::from(last))
            .bind(&after)
            .bind(PAGE)
            .fetch_all(&self.pool)
            .await?;
            let Some(newest) = rows.last() else { break };
            after = newest.try_get(0)?;
            for row in &rows {
                let entry = read(&row.try_get::<String, _>(1)?)?;
                let name = (entry.id.session.clone(), entry.id.subject.clone());
                let fresh = || OpenEstimate { entry: entry.clone(), open: NanoDollars::ZERO, invoiced: 0 };
                let estimate = subjects.entry(name).or_insert_with(fresh);
                estimate.open = estimate.open.saturating_add(entry.amount);
                // What an invoice takes back stands beside what it confirms.
                estimate.invoiced += 2 * u32::from(entry.id.source == Source::Invoice);
                if entry.at > estimate.entry.at {
                    estimate.entry = entry;
                }
            }
        }
        Ok(subjects.into_values().filter(|estimate| estimate.open != NanoDollars::ZERO).collect())
    }

    /// The number of the newest entries. Everything up to it can be read, and what comes later has a greater one.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn ledger_head(&self) -> Result<i64, StoreError> {
        let row = sqlx::query("SELECT number FROM ledger_head WHERE id = 1").fetch_one(&self.pool).await?;
        Ok(row.try_get(0)?)
    }

    /// What others than `node` handed in with numbers behind `after`, up to `last`, in that order. One number stands for what
    /// was handed in at once, so the answer is as long as the numbers are many.
    ///
    /// # Errors
    /// [`StoreError::Database`], or [`StoreError::Damaged`].
    pub async fn spent_elsewhere(
        &self,
        node: &str,
        after: i64,
        last: i64,
    ) -> Result<Vec<SpentElsewhere>, StoreError> {
        let rows = sqlx::query(
            "SELECT organisation, team, api_key, agent, at, amount FROM ledger_entries \
             WHERE number > $1 AND number <= $2 AND node <> $3 AND amount <> 0 ORDER BY number, id",
        )
        .bind(after)
        .bind(last)
        .bind(node)
        .fetch_all(&self.pool)
        .await?;
        rows.iter().map(SpentElsewhere::read).collect()
    }

    /// What was spent below a node of the tree by what began after one time, as far as others than `node` handed it in, up to
    /// a number.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn spent_since(
        &self,
        scope: &Scope,
        since: Duration,
        (node, last): (&str, i64),
    ) -> Result<NanoDollars, StoreError> {
        // Names are never empty, so an empty one stands for any.
        let row = sqlx::query(
            "SELECT CAST(COALESCE(SUM(amount), 0) AS BIGINT) FROM ledger_entries \
             WHERE organisation = $1 AND at >= $2 AND ($3 = '' OR team = $3) AND ($4 = '' OR api_key = $4) \
               AND ($5 = '' OR agent = $5) AND node <> $6 AND number <= $7",
        )
        .bind(scope.organisation.as_str())
        .bind(milliseconds(since))
        .bind(scope.team.as_ref().map_or("", TeamId::as_str))
        .bind(scope.key.as_ref().map_or("", KeyId::as_str))
        .bind(scope.agent.as_ref().map_or("", AgentId::as_str))
        .bind(node)
        .bind(last)
        .fetch_one(&self.pool)
        .await?;
        Ok(NanoDollars::new(row.try_get(0)?))
    }
}

/// Times as the store has them.
fn milliseconds(at: Duration) -> i64 {
    i64::try_from(at.as_millis()).unwrap_or(i64::MAX)
}

/// Text as every database takes it. An entry that one refused would be delivered for ever, and all behind it with it.
fn without_nul(text: &str) -> String {
    text.replace('\0', "\u{fffd}")
}

/// The node of entries that no gateway counts as its own: of people, and of processes that are no more.
pub const NOBODY: &str = "";

const DAMAGED: StoreError = StoreError::Damaged { what: "ledger entry" };

/// Taking the next number comes first, so that two that add take turns, and a number is seen only when all before it are.
async fn add(connection: &mut AnyConnection, node: &str, entries: &[Entry]) -> Result<Added, StoreError> {
    let mut added = Added::default();
    if entries.is_empty() {
        return Ok(added);
    }
    let head = sqlx::query("UPDATE ledger_head SET number = number + 1 WHERE id = 1 RETURNING number")
        .fetch_one(&mut *connection)
        .await?;
    let place = (node, head.try_get(0)?);
    for entry in entries {
        let text = serde_json::to_string(entry).map_err(|_| DAMAGED)?;
        if insert(connection, place, entry, &text).await? {
            added.new += 1;
        } else if known(connection, entry).await? != *entry {
            added.conflicts.push(entry.id.clone());
        }
    }
    Ok(added)
}

/// Whether the entry is new.
async fn insert(
    connection: &mut AnyConnection,
    (node, number): (&str, i64),
    entry: &Entry,
    text: &str,
) -> Result<bool, StoreError> {
    let Entry { id, tenant, provider, model, hop, day, at, certainty, amount, unheard, .. } = entry;
    let added = sqlx::query(
        "INSERT INTO ledger_entries \
         (id, day, at, organisation, team, api_key, agent, session, provider, model, hop, certainty, amount, \
          unheard, entry, node, number) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17) ON CONFLICT (id) DO NOTHING",
    )
    .bind(id.to_string())
    .bind(String::from(*day))
    .bind(milliseconds(*at))
    .bind(tenant.organisation.as_str())
    .bind(tenant.team.as_str())
    .bind(tenant.key.as_str())
    .bind(tenant.agent.as_ref().map(AgentId::as_str))
    .bind(id.session.as_str())
    .bind(without_nul(provider))
    .bind(without_nul(model))
    .bind(hop.as_str())
    .bind(certainty.as_str())
    .bind(amount.get())
    .bind(unheard.get())
    .bind(text)
    .bind(node)
    .bind(number)
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
