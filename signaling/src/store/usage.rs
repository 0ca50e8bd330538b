//! What was spent, added up by whatever is asked for.

use std::collections::BTreeSet;

use serde::Serialize;
use sqlx::any::AnyRow;
use sqlx::{AssertSqlSafe, Row as _};
use voxgate_policy::money::day::UtcDay;
use voxgate_protocol::money::NanoDollars;

use super::{Store, StoreError};

/// What spending can be added up by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum UsageBy {
    /// The day, in UTC.
    Day,
    /// The organisation.
    Organisation,
    /// Its team.
    Team,
    /// The team's key.
    Key,
    /// The key's agent.
    Agent,
    /// The provider, as the configuration names it.
    Provider,
    /// The provider's model.
    Model,
    /// The part of a turn.
    Hop,
}

impl UsageBy {
    /// All of them, in the order of the columns of a report.
    pub const ALL: [Self; 8] = [
        Self::Day,
        Self::Organisation,
        Self::Team,
        Self::Key,
        Self::Agent,
        Self::Provider,
        Self::Model,
        Self::Hop,
    ];

    /// The word in requests and reports.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Day => "day",
            Self::Organisation => "organisation",
            Self::Team => "team",
            Self::Key => "key",
            Self::Agent => "agent",
            Self::Provider => "provider",
            Self::Model => "model",
            Self::Hop => "hop",
        }
    }

    /// Reads the word.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|by| by.as_str() == word)
    }

    /// Reads words with commas between them; an empty text names none.
    ///
    /// # Errors
    /// The word that is none of them.
    pub fn from_words(words: &str) -> Result<BTreeSet<Self>, String> {
        let words = words.split(',').map(str::trim).filter(|word| !word.is_empty());
        words.map(|word| Self::from_word(word).ok_or_else(|| word.to_owned())).collect()
    }

    const fn column(self) -> &'static str {
        match self {
            Self::Key => "api_key",
            // Whoever speaks through no agent has none in the table.
            Self::Agent => "COALESCE(agent, '')",
            _ => self.as_str(),
        }
    }

    /// A name says nothing without those above it: two organisations may have a team of the same name.
    const fn above(self) -> &'static [Self] {
        match self {
            Self::Team => &[Self::Organisation],
            Self::Key => &[Self::Organisation, Self::Team],
            Self::Agent => &[Self::Organisation, Self::Team, Self::Key],
            _ => &[],
        }
    }
}

/// What a report is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UsageQuestion {
    /// By what; nothing gives one row. The names above an asked one come with it.
    pub by: BTreeSet<UsageBy>,
    /// The first day.
    pub first: UtcDay,
    /// The last day, included.
    pub last: UtcDay,
    /// Only where the name is this one: [`UsageBy::Agent`] with an empty name means no agent.
    pub only: Vec<(UsageBy, String)>,
    /// Rows before the first that is given, in the order of the report.
    pub skip: u32,
    /// Most rows.
    pub most: u32,
}

impl UsageQuestion {
    /// All that was spent from one day to another, in one row.
    #[must_use]
    pub fn between(first: UtcDay, last: UtcDay) -> Self {
        Self { by: BTreeSet::new(), first, last, only: Vec::new(), skip: 0, most: u32::MAX }
    }

    /// The columns before the amounts, in their order.
    #[must_use]
    pub fn columns(&self) -> BTreeSet<UsageBy> {
        let above = self.by.iter().flat_map(|by| by.above()).copied();
        self.by.iter().copied().chain(above).collect()
    }

    /// Words of the program and numbers only: names are bound.
    fn sql(&self) -> String {
        let columns = self.columns();
        let columns: Vec<&str> = columns.iter().map(|by| by.column()).collect();
        let names: String = columns.iter().map(|column| format!("{column}, ")).collect();
        let only: String = (3..)
            .zip(&self.only)
            .map(|(place, (by, _))| format!(" AND {} = ${place}", by.column()))
            .collect();
        let sum = |value: &str, when: &str| {
            format!("CAST(COALESCE(SUM(CASE WHEN {when} THEN {value} ELSE 0 END), 0) AS BIGINT)")
        };
        let mut sql = format!(
            "SELECT {names}{}, {}, {}, {}, COUNT(*) FROM ledger_entries WHERE day >= $1 AND day <= $2{only}",
            sum("amount", "certainty = 'confirmed'"),
            sum("amount", "certainty = 'estimated'"),
            sum("unheard", "certainty <> 'unpriced'"),
            sum("1", "certainty = 'unpriced'"),
        );
        if !columns.is_empty() {
            let columns = columns.join(", ");
            sql += &format!(" GROUP BY {columns} ORDER BY {columns}");
        }
        sql + &format!(" LIMIT {} OFFSET {}", self.most, self.skip)
    }
}

/// One row of a report. A name that was not asked for is `None`; who speaks through no agent has an empty one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct UsageRow {
    /// The day, as `2026-11-21`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub day: Option<String>,
    /// The organisation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub organisation: Option<String>,
    /// Its team.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub team: Option<String>,
    /// The team's key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// The key's agent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub agent: Option<String>,
    /// The provider.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub provider: Option<String>,
    /// The model.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// The part of a turn.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hop: Option<String>,
    /// What was confirmed, in nano-dollars.
    #[serde(rename = "confirmed_nano_dollars")]
    pub confirmed: NanoDollars,
    /// What was estimated and is not yet confirmed, in nano-dollars.
    #[serde(rename = "estimated_nano_dollars")]
    pub estimated: NanoDollars,
    /// Of both, what went into audio nobody heard, in nano-dollars.
    #[serde(rename = "unheard_nano_dollars")]
    pub unheard: NanoDollars,
    /// Entries whose usage has no price.
    pub unpriced: u64,
    /// Entries of the ledger.
    pub entries: u64,
}

impl UsageRow {
    /// The name in a column.
    #[must_use]
    pub fn name(&self, by: UsageBy) -> Option<&str> {
        match by {
            UsageBy::Day => self.day.as_deref(),
            UsageBy::Organisation => self.organisation.as_deref(),
            UsageBy::Team => self.team.as_deref(),
            UsageBy::Key => self.key.as_deref(),
            UsageBy::Agent => self.agent.as_deref(),
            UsageBy::Provider => self.provider.as_deref(),
            UsageBy::Model => self.model.as_deref(),
            UsageBy::Hop => self.hop.as_deref(),
        }
    }

    fn put(&mut self, by: UsageBy, name: String) {
        let place = match by {
            UsageBy::Day => &mut self.day,
            UsageBy::Organisation => &mut self.organisation,
            UsageBy::Team => &mut self.team,
            UsageBy::Key => &mut self.key,
            UsageBy::Agent => &mut self.agent,
            UsageBy::Provider => &mut self.provider,
            UsageBy::Model => &mut self.model,
            UsageBy::Hop => &mut self.hop,
        };
        *place = Some(name);
    }
}

impl Store {
    /// What was spent, added up, in the order of the names.
    ///
    /// # Errors
    /// [`StoreError::Database`], also for a sum beyond nine billion dollars.
    pub async fn usage(&self, question: &UsageQuestion) -> Result<Vec<UsageRow>, StoreError> {
        // Safe: see `sql`; nothing of it comes from outside.
        let mut query = sqlx::query(AssertSqlSafe(question.sql()))
            .bind(String::from(question.first))
            .bind(String::from(question.last));
        for (_, name) in &question.only {
            query = query.bind(name.as_str());
        }
        let rows = query.fetch_all(&self.pool).await?;
        let columns = question.columns();
        rows.iter().map(|row| read(row, &columns)).collect()
    }
}

fn read(found: &AnyRow, columns: &BTreeSet<UsageBy>) -> Result<UsageRow, StoreError> {
    let mut row = UsageRow::default();
    for (index, by) in columns.iter().enumerate() {
        row.put(*by, found.try_get(index)?);
    }
    let number = |place: usize| found.try_get::<i64, _>(columns.len() + place);
    row.confirmed = NanoDollars::new(number(0)?);
    row.estimated = NanoDollars::new(number(1)?);
    row.unheard = NanoDollars::new(number(2)?);
    row.unpriced = number(3)?.unsigned_abs();
    row.entries = number(4)?.unsigned_abs();
    Ok(row)
}

/// Rows as CSV (RFC 4180): the asked names, then amounts in dollars. A spreadsheet takes a cell that begins like a formula for
/// one and runs it; such a name gets an apostrophe before it, which spreadsheets do not show.
#[must_use]
pub fn usage_csv(columns: &BTreeSet<UsageBy>, rows: &[UsageRow]) -> String {
    let mut text = String::new();
    for by in columns {
        text += by.as_str();
        text.push(',');
    }
    text += "confirmed_dollars,estimated_dollars,unheard_dollars,unpriced,entries\r\n";
    for row in rows {
        for by in columns {
            text += &cell(row.name(*by).unwrap_or_default());
            text.push(',');
        }
        let UsageRow { confirmed, estimated, unheard, unpriced, entries, .. } = row;
        text += &format!("{confirmed},{estimated},{unheard},{unpriced},{entries}\r\n");
    }
    text
}

/// A text as a cell of CSV that no spreadsheet runs.
fn cell(text: &str) -> String {
    let is_formula = text.starts_with(['=', '+', '-', '@', '\t', '\r', '\n']);
    let safe = if is_formula { format!("'{text}") } else { text.to_owned() };
    if safe.contains(['"', ',', '\r', '\n']) { format!("\"{}\"", safe.replace('"', "\"\"")) } else { safe }
}

#[cfg(test)]
mod tests;
