//! A provider's invoice beside the ledger: what differs, and what it makes of estimates.
//!
//! An invoice is CSV (RFC 4180) with a header. The columns `day`, `model` and `dollars` must be there, `kind` (audio, text,
//! whatever the provider calls it) may be, in any order; others are not read. Days are of UTC as `2026-11-21`, amounts are
//! dollars with up to nine decimal places, negative for a credit. The same day and model may come more than once.

use std::collections::BTreeMap;

use thiserror::Error;
use voxgate_protocol::money::NanoDollars;

use super::day::UtcDay;
use super::ledger::{Entry, LedgerError, confirmed_by_invoice};

/// Most lines of an invoice: a year of days, models and kinds is far below.
pub const MOST_LINES: usize = 200_000;

/// The longest field, in bytes.
const LONGEST_FIELD: usize = 256;

/// Most columns.
const MOST_COLUMNS: usize = 64;

/// One line of an invoice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvoiceLine {
    /// When it was used.
    pub day: UtcDay,
    /// Which model.
    pub model: String,
    /// What of it, in the provider's words; empty if the invoice does not say.
    pub kind: String,
    /// What is billed.
    pub amount: NanoDollars,
}

/// What is wrong with an invoice.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("line {line} of the invoice {problem}")]
pub struct InvoiceError {
    /// Which line, from 1.
    pub line: usize,
    /// What is wrong with it.
    pub problem: &'static str,
}

/// Reads an invoice.
///
/// # Errors
/// [`InvoiceError`] for the first line that cannot be read: half an invoice would look like a provider that bills little.
pub fn parse(text: &str) -> Result<Vec<InvoiceLine>, InvoiceError> {
    let mut records = Records { rest: text.strip_prefix('\u{feff}').unwrap_or(text), line: 0 };
    let header = records.next().unwrap_or(Err(InvoiceError { line: 1, problem: "has no header" }))?;
    let columns = Columns::of(&header)?;
    let mut lines = Vec::new();
    for record in records {
        let record = record?;
        if record.fields.iter().all(String::is_empty) {
            continue;
        }
        if lines.len() == MOST_LINES {
            return Err(record.wrong("is one too many"));
        }
        lines.push(columns.read(&record)?);
    }
    Ok(lines)
}

/// Where what is read stands in a record.
struct Columns {
    day: usize,
    model: usize,
    amount: usize,
    kind: Option<usize>,
}

impl Columns {
    fn of(header: &Record) -> Result<Self, InvoiceError> {
        let find = |name: &str| header.fields.iter().position(|field| field.trim() == name);
        let missing = |problem| header.wrong(problem);
        Ok(Self {
            day: find("day").ok_or_else(|| missing("has no column named day"))?,
            model: find("model").ok_or_else(|| missing("has no column named model"))?,
            amount: find("dollars").ok_or_else(|| missing("has no column named dollars"))?,
            kind: find("kind"),
        })
    }

    fn read(&self, record: &Record) -> Result<InvoiceLine, InvoiceError> {
        let field = |at: usize| record.fields.get(at).map_or("", |field| field.trim());
        let day =
            UtcDay::parse(field(self.day)).map_err(|_| record.wrong("has no day such as 2026-11-21"))?;
        let model = field(self.model);
        if model.is_empty() {
            return Err(record.wrong("names no model"));
        }
        let amount = NanoDollars::from_dollars(field(self.amount))
            .map_err(|_| record.wrong("has no amount in dollars with up to nine decimal places"))?;
        let kind = self.kind.map_or("", field).to_owned();
        Ok(InvoiceLine { day, model: model.to_owned(), kind, amount })
    }
}

/// One record of CSV.
struct Record {
    line: usize,
    fields: Vec<String>,
}

impl Record {
    const fn wrong(&self, problem: &'static str) -> InvoiceError {
        InvoiceError { line: self.line, problem }
    }
}

/// The records of a text of CSV. After an error there are none.
struct Records<'a> {
    rest: &'a str,
    line: usize,
}

impl Records<'_> {
    fn read(&mut self) -> Result<Record, &'static str> {
        let mut fields = Vec::new();
        loop {
            if fields.len() == MOST_COLUMNS {
                return Err("has too many columns");
            }
            let (field, ends) = self.field()?;
            fields.push(field);
            if ends {
                return Ok(Record { line: self.line, fields });
            }
        }
    }

    /// A field, and whether its record ends with it.
    fn field(&mut self) -> Result<(String, bool), &'static str> {
        let text = match self.rest.strip_prefix('"') {
            Some(quoted) => self.quoted(quoted)?,
            None => {
                let end = self.rest.find([',', '\n']).unwrap_or(self.rest.len());
                let (field, rest) = self.rest.split_at(end);
                self.rest = rest;
                field.strip_suffix('\r').unwrap_or(field).to_owned()
            }
        };
        if text.len() > LONGEST_FIELD {
            return Err("has a field that is too long");
        }
        if let Some(rest) = self.rest.strip_prefix(',') {
            self.rest = rest;
            return Ok((text, false));
        }
        let rest = self.rest.strip_prefix('\r').unwrap_or(self.rest);
        if rest.is_empty() {
            self.rest = rest;
            return Ok((text, true));
        }
        self.rest = rest.strip_prefix('\n').ok_or("goes on behind a closing quote")?;
        Ok((text, true))
    }

    fn quoted(&mut self, quoted: &str) -> Result<String, &'static str> {
        let mut text = String::new();
        let mut rest = quoted;
        loop {
            let end = rest.find('"').ok_or("has a quote that is never closed")?;
            text += &rest[..end];
            let behind = &rest[end + 1..];
            match behind.strip_prefix('"') {
                Some(more) => {
                    text.push('"');
                    rest = more;
                }
                None => {
                    self.rest = &self.rest[self.rest.len() - behind.len()..];
                    return Ok(text);
                }
            }
        }
    }
}

impl Iterator for Records<'_> {
    type Item = Result<Record, InvoiceError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        self.line += 1;
        let record = self.read();
        Some(record.map_err(|problem| {
            self.rest = "";
            InvoiceError { line: self.line, problem }
        }))
    }
}

/// What the ledger holds of a provider, of one day and model.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Booked {
    /// Confirmed.
    pub confirmed: NanoDollars,
    /// Estimated and not yet confirmed.
    pub estimated: NanoDollars,
    /// Entries without a price.
    pub unpriced: u64,
}

/// A day and model on both sides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Compared {
    /// The day.
    pub day: UtcDay,
    /// The model.
    pub model: String,
    /// What the invoice says.
    pub billed: NanoDollars,
    /// What the ledger says.
    pub booked: Booked,
}

impl Compared {
    /// What the invoice has more than the ledger; negative if less.
    ///
    /// # Errors
    /// [`LedgerError::Overflow`].
    pub fn difference(&self) -> Result<NanoDollars, LedgerError> {
        let Booked { confirmed, estimated, .. } = self.booked;
        let known = confirmed.checked_add(estimated).ok_or(LedgerError::Overflow)?;
        self.billed.checked_sub(known).ok_or(LedgerError::Overflow)
    }
}

/// What each side says of every day and model that either knows.
///
/// # Errors
/// [`LedgerError::Overflow`].
pub fn compare(
    invoice: &[InvoiceLine],
    ledger: impl IntoIterator<Item = ((UtcDay, String), Booked)>,
) -> Result<Vec<Compared>, LedgerError> {
    let mut sides: BTreeMap<(UtcDay, String), (NanoDollars, Booked)> = BTreeMap::new();
    for (name, booked) in ledger {
        sides.entry(name).or_default().1 = booked;
    }
    for line in invoice {
        let (billed, _) = sides.entry((line.day, line.model.clone())).or_default();
        *billed = billed.checked_add(line.amount).ok_or(LedgerError::Overflow)?;
    }
    let compared =
        sides.into_iter().map(|((day, model), (billed, booked))| Compared { day, model, billed, booked });
    Ok(compared.collect())
}

/// An estimate nobody has confirmed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenEstimate {
    /// One of its entries.
    pub entry: Entry,
    /// How much is open.
    pub open: NanoDollars,
    /// Entries an invoice has made of the same subject before.
    pub invoiced: u32,
}

/// The entries that make what is billed of the estimates of a day and model: what the invoice has beyond what is confirmed
/// is theirs, each in proportion to what it was estimated at, to the last nano-dollar. An invoice that has less than what
/// is confirmed makes them nothing.
///
/// # Errors
/// [`LedgerError::Overflow`].
pub fn confirm(compared: &Compared, estimates: &[OpenEstimate]) -> Result<Vec<Entry>, LedgerError> {
    let left = compared.billed.checked_sub(compared.booked.confirmed).ok_or(LedgerError::Overflow)?;
    let left = i128::from(left.max(NanoDollars::ZERO).get());
    let weight = |estimate: &OpenEstimate| i128::from(estimate.open.get().max(0));
    let whole: i128 = estimates.iter().map(weight).sum();
    let (mut before, mut entries) = (0_i128, Vec::new());
    for estimate in estimates {
        let after = before + weight(estimate);
        // Differences of one rounded sum, so that the parts add up to the whole.
        let upto = |sum: i128| if whole == 0 { 0 } else { sum * left / whole };
        let share = i64::try_from(upto(after) - upto(before)).map_err(|_| LedgerError::Overflow)?;
        before = after;
        let made = confirmed_by_invoice(&estimate.entry, estimate.open, NanoDollars::new(share))?;
        for mut entry in made {
            entry.id.sequence += estimate.invoiced;
            entries.push(entry);
        }
    }
    Ok(entries)
}

#[cfg(test)]
mod tests;
