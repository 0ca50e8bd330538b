//! Budgets that are set while gateways run.

use serde_json::{Value, json};
use sqlx::any::AnyRow;
use sqlx::{AnyConnection, Row as _};
use voxgate_policy::money::budget::{Budget, Scope};
use voxgate_policy::money::day::Window;
use voxgate_protocol::money::NanoDollars;
use voxgate_protocol::tenant::{AgentId, KeyId, OrganisationId, TeamId};

use super::audit::Deed;
use super::request::{Begun, Done};
use super::{Store, StoreError};

/// Budgets one organisation may set: gateways keep them all in memory.
pub const MOST: i64 = 10_000;

const WHAT: &str = "budget";

/// A budget somebody set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredBudget {
    /// `bud_…`.
    pub id: String,
    /// The organisation of whoever set it. Only one of each organisation is for the same place and window.
    pub set_by: OrganisationId,
    /// Whose, how long, how much.
    pub budget: Budget,
    /// When it was set, in milliseconds since 1970.
    pub set_at: i64,
}

impl StoredBudget {
    fn told(&self) -> Value {
        let Budget { scope, window, soft, hard } = &self.budget;
        json!({
            "organisation": scope.organisation, "team": scope.team, "key": scope.key, "agent": scope.agent,
            "window": window.as_str(), "set_by": self.set_by,
            "soft_nano_dollars": soft.map(NanoDollars::get), "hard_nano_dollars": hard.map(NanoDollars::get),
        })
    }
}

impl Store {
    /// Adds a budget, and says so in the audit log.
    ///
    /// # Errors
    /// [`StoreError::Exists`] with the id of the one its organisation has set for the same place and window,
    /// [`StoreError::TooMany`] if it has set [`MOST`].
    pub async fn add_budget(&self, budget: &StoredBudget, by: &Deed) -> Result<Done, StoreError> {
        let mut transaction = match self.begin(by, &budget.id).await? {
            Begun::Fresh(transaction) => transaction,
            Begun::Before(subject) => return Ok(Done::Before(subject)),
        };
        // First, so that those who set budgets take turns and count what the others have set.
        count_change(&mut transaction).await?;
        let row = sqlx::query("SELECT COUNT(*) FROM budgets WHERE set_by = $1").bind(budget.set_by.as_str());
        if row.fetch_one(&mut *transaction).await?.try_get::<i64, _>(0)? >= MOST {
            return Err(StoreError::TooMany { what: WHAT });
        }
        if let Some(id) = same(&mut transaction, budget).await? {
            return Err(StoreError::Exists { what: WHAT, id });
        }
        let Budget { scope, window, soft, hard } = &budget.budget;
        let [organisation, team, key, agent] = names(scope);
        sqlx::query(
            "INSERT INTO budgets (id, set_by, organisation, team, api_key, agent, lasts, soft, hard, set_at) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
        )
        .bind(&budget.id)
        .bind(budget.set_by.as_str())
        .bind(organisation)
        .bind(team)
        .bind(key)
        .bind(agent)
        .bind(window.as_str())
        .bind(soft.map(NanoDollars::get))
        .bind(hard.map(NanoDollars::get))
        .bind(budget.set_at)
        .execute(&mut *transaction)
        .await?;
        super::audit::append(&mut transaction, by, "budget.set", &budget.id, &budget.told()).await?;
        transaction.commit().await?;
        Ok(Done::Now)
    }

    /// Gives a budget other limits, and says so in the audit log.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] if there is none of this id.
    pub async fn change_budget(
        &self,
        id: &str,
        (soft, hard): (Option<NanoDollars>, Option<NanoDollars>),
        by: &Deed,
    ) -> Result<Done, StoreError> {
        let mut transaction = match self.begin(by, id).await? {
            Begun::Fresh(transaction) => transaction,
            Begun::Before(subject) => return Ok(Done::Before(subject)),
        };
        count_change(&mut transaction).await?;
        let before = find(&mut transaction, id).await?.ok_or_else(|| not_found(id))?;
        sqlx::query("UPDATE budgets SET soft = $1, hard = $2 WHERE id = $3")
            .bind(soft.map(NanoDollars::get))
            .bind(hard.map(NanoDollars::get))
            .bind(id)
            .execute(&mut *transaction)
            .await?;
        let now = StoredBudget { budget: Budget { soft, hard, ..before.budget }, ..before };
        super::audit::append(&mut transaction, by, "budget.change", id, &now.told()).await?;
        transaction.commit().await?;
        Ok(Done::Now)
    }

    /// Takes a budget away, and says so in the audit log.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] if there is none of this id.
    pub async fn remove_budget(&self, id: &str, by: &Deed) -> Result<Done, StoreError> {
        let mut transaction = match self.begin(by, id).await? {
            Begun::Fresh(transaction) => transaction,
            Begun::Before(subject) => return Ok(Done::Before(subject)),
        };
        count_change(&mut transaction).await?;
        let before = find(&mut transaction, id).await?.ok_or_else(|| not_found(id))?;
        sqlx::query("DELETE FROM budgets WHERE id = $1").bind(id).execute(&mut *transaction).await?;
        super::audit::append(&mut transaction, by, "budget.remove", id, &before.told()).await?;
        transaction.commit().await?;
        Ok(Done::Now)
    }

    /// One budget.
    ///
    /// # Errors
    /// [`StoreError::Database`], or [`StoreError::Damaged`] if it cannot be read.
    pub async fn budget(&self, id: &str) -> Result<Option<StoredBudget>, StoreError> {
        let mut connection = self.pool.acquire().await?;
        find(&mut connection, id).await
    }

    /// Every budget, in the order of their ids.
    ///
    /// # Errors
    /// [`StoreError::Database`], or [`StoreError::Damaged`] for one that cannot be read.
    pub async fn budgets(&self) -> Result<Vec<StoredBudget>, StoreError> {
        let rows = sqlx::query(
            "SELECT id, set_by, organisation, team, api_key, agent, lasts, soft, hard, set_at FROM budgets ORDER BY id",
        )
        .fetch_all(&self.pool)
        .await?;
        rows.iter().map(read).collect()
    }

    /// How often budgets were changed.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn budget_changes(&self) -> Result<i64, StoreError> {
        let row =
            sqlx::query("SELECT changes FROM budgets_revision WHERE id = 1").fetch_one(&self.pool).await?;
        Ok(row.try_get(0)?)
    }
}

fn not_found(id: &str) -> StoreError {
    StoreError::NotFound { what: WHAT, id: id.to_owned() }
}

async fn count_change(connection: &mut AnyConnection) -> Result<(), StoreError> {
    sqlx::query("UPDATE budgets_revision SET changes = changes + 1 WHERE id = 1").execute(connection).await?;
    Ok(())
}

/// The id of the budget that is for the same place and window, and set by the same.
async fn same(connection: &mut AnyConnection, budget: &StoredBudget) -> Result<Option<String>, StoreError> {
    let [organisation, team, key, agent] = names(&budget.budget.scope);
    let found = sqlx::query(
        "SELECT id FROM budgets WHERE set_by = $1 AND organisation = $2 AND team = $3 AND api_key = $4 AND agent = $5 \
           AND lasts = $6",
    )
    .bind(budget.set_by.as_str())
    .bind(organisation)
    .bind(team)
    .bind(key)
    .bind(agent)
    .bind(budget.budget.window.as_str())
    .fetch_optional(connection)
    .await?;
    Ok(found.map(|row| row.try_get(0)).transpose()?)
}

async fn find(connection: &mut AnyConnection, id: &str) -> Result<Option<StoredBudget>, StoreError> {
    let found = sqlx::query(
        "SELECT id, set_by, organisation, team, api_key, agent, lasts, soft, hard, set_at FROM budgets WHERE id = $1",
    )
    .bind(id)
    .fetch_optional(connection)
    .await?;
    found.as_ref().map(read).transpose()
}

/// The names of a place, empty where there is none: no name is empty.
fn names(scope: &Scope) -> [&str; 4] {
    [
        scope.organisation.as_str(),
        scope.team.as_ref().map_or("", TeamId::as_str),
        scope.key.as_ref().map_or("", KeyId::as_str),
        scope.agent.as_ref().map_or("", AgentId::as_str),
    ]
}

const DAMAGED: StoreError = StoreError::Damaged { what: WHAT };

fn read(row: &AnyRow) -> Result<StoredBudget, StoreError> {
    let text = |column: usize| row.try_get::<String, _>(column);
    let limit =
        |column: usize| Ok::<_, StoreError>(row.try_get::<Option<i64>, _>(column)?.map(NanoDollars::new));
    let organisation = |text: &str| OrganisationId::new(text).map_err(|_| DAMAGED);
    let window = text(6)?;
    let scope = Scope {
        organisation: organisation(&text(2)?)?,
        team: named(&text(3)?, TeamId::new)?,
        key: named(&text(4)?, KeyId::new)?,
        agent: named(&text(5)?, AgentId::new)?,
    };
    let window = Window::ALL.into_iter().find(|known| known.as_str() == window).ok_or(DAMAGED)?;
    let budget = Budget { scope, window, soft: limit(7)?, hard: limit(8)? };
    Ok(StoredBudget { id: text(0)?, set_by: organisation(&text(1)?)?, budget, set_at: row.try_get(9)? })
}

fn named<T, E>(text: &str, read: impl Fn(&str) -> Result<T, E>) -> Result<Option<T>, StoreError> {
    if text.is_empty() { Ok(None) } else { read(text).map(Some).map_err(|_| DAMAGED) }
}
