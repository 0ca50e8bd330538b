//! Entries that are only ever added, and their totals.
//!
//! The ledger is a set of entries. Nothing is changed or removed: an estimate is taken back by an entry of the opposite
//! amount, and what was confirmed stands beside it. So totals are plain sums, in any order, and an entry that arrives
//! twice is the same entry.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use thiserror::Error;
use voxgate_protocol::id::{ItemId, ResponseId, SessionId};
use voxgate_protocol::money::NanoDollars;
use voxgate_protocol::tenant::TenantPath;
use voxgate_protocol::timeline::Hop;
use voxgate_protocol::usage::TokenUsage;

use super::day::UtcDay;
use super::price::PriceVersion;

/// What was paid for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Subject {
    /// An answer.
    Response(ResponseId),
    /// The recognition of the caller's words.
    Recognition(ItemId),
    /// The connection, or the audio sent over it, of a vendor who bills by time.
    Connection,
}

/// Who says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// What went over the wire.
    Wire,
    /// The provider's own count.
    Provider,
    /// An invoice, or a person.
    Invoice,
}

impl Source {
    /// The word in an entry's name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Wire => "wire",
            Self::Provider => "provider",
            Self::Invoice => "invoice",
        }
    }
}

/// The name of an entry. Whoever reckons the same thing twice gives it the same name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct EntryId {
    /// In which session.
    pub session: SessionId,
    /// For what.
    pub subject: Subject,
    /// By whose word.
    pub source: Source,
    /// The how many-th of this session, subject and source, from 0.
    pub sequence: u32,
}

/// The longest id of a provider that stands in the name of an entry as it is, in bytes: a database's index takes no long keys.
const LONGEST_ID: usize = 512;

/// One text that names the entry in a table, and that every database takes as a key. The ids of subjects come from providers: of
/// one that is too long or holds a control character, its hash stands here.
impl fmt::Display for EntryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (kind, name) = match &self.subject {
            Subject::Response(id) => ("response", id.as_str()),
            Subject::Recognition(id) => ("recognition", id.as_str()),
            Subject::Connection => ("connection", ""),
        };
        write!(f, "{}/{kind}:", self.session)?;
        if name.len() > LONGEST_ID || name.contains(char::is_control) {
            f.write_str("sha256:")?;
            Sha256::digest(name.as_bytes()).iter().try_for_each(|byte| write!(f, "{byte:02x}"))?;
        } else {
            f.write_str(name)?;
        }
        write!(f, "/{}/{}", self.source.as_str(), self.sequence)
    }
}

/// How sure an amount is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Certainty {
    /// Reckoned from the wire; to be taken back once it is confirmed.
    Estimated,
    /// What will be billed.
    Confirmed,
    /// Used, and the price book does not say what it costs. The amount is zero and must not be read as such.
    Unpriced,
}

impl Certainty {
    /// The word in a table.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Estimated => "estimated",
            Self::Confirmed => "confirmed",
            Self::Unpriced => "unpriced",
        }
    }
}

/// What an amount was reckoned from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quantities {
    /// By the provider's count.
    pub tokens: TokenUsage,
    /// Audio sent to the vendor.
    pub audio_in: Duration,
    /// Audio the vendor generated.
    pub audio_out: Duration,
    /// Length of the connection.
    pub connected: Duration,
    /// Characters spoken.
    pub characters: u64,
}

/// One entry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Its name.
    pub id: EntryId,
    /// Who pays.
    pub tenant: TenantPath,
    /// Who is paid: the provider's name in the configuration.
    pub provider: Arc<str>,
    /// For which model.
    pub model: Arc<str>,
    /// For which part of a turn.
    pub hop: Hop,
    /// The day its subject began.
    pub day: UtcDay,
    /// When its subject began, since the Unix epoch: budgets of an hour ask.
    pub at: Duration,
    /// The price book.
    pub prices: PriceVersion,
    /// How sure.
    pub certainty: Certainty,
    /// How much; negative where an estimate is taken back.
    pub amount: NanoDollars,
    /// How much of what was paid went into audio nobody heard. Part of the subject's amounts, not in addition.
    pub unheard: NanoDollars,
    /// From what; nothing where an estimate is taken back.
    pub used: Quantities,
}

/// Why entries could not be added up or taken.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum LedgerError {
    /// More than an amount can hold.
    #[error("the sum of the ledger is beyond nine billion dollars")]
    Overflow,
    /// Two different entries of one name: a defect.
    #[error("the entry {0} differs from the one of the same name")]
    Conflict(EntryId),
}

/// Sums of entries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Estimates that were not taken back.
    pub estimated: NanoDollars,
    /// Confirmed.
    pub confirmed: NanoDollars,
    /// Of both, for audio nobody heard.
    pub unheard: NanoDollars,
    /// Entries without a price.
    pub unpriced: u64,
}

impl Totals {
    /// Adds an entry. The caller sees to it that none is added twice.
    ///
    /// # Errors
    /// [`LedgerError::Overflow`]; the totals are then as before.
    pub fn add(&mut self, entry: &Entry) -> Result<(), LedgerError> {
        let mut next = *self;
        let column = match entry.certainty {
            Certainty::Estimated => &mut next.estimated,
            Certainty::Confirmed => &mut next.confirmed,
            Certainty::Unpriced => {
                self.unpriced += 1;
                return Ok(());
            }
        };
        *column = column.checked_add(entry.amount).ok_or(LedgerError::Overflow)?;
        next.unheard = next.unheard.checked_add(entry.unheard).ok_or(LedgerError::Overflow)?;
        *self = next;
        Ok(())
    }

    /// Confirmed and estimated.
    ///
    /// # Errors
    /// [`LedgerError::Overflow`].
    pub fn all(&self) -> Result<NanoDollars, LedgerError> {
        self.confirmed.checked_add(self.estimated).ok_or(LedgerError::Overflow)
    }
}

/// Adds entries up by whatever a key says: a tenant, a day, a model, a hop.
///
/// # Errors
/// [`LedgerError::Overflow`].
pub fn totals_by<'a, K: Ord>(
    entries: impl IntoIterator<Item = &'a Entry>,
    key: impl Fn(&Entry) -> K,
) -> Result<BTreeMap<K, Totals>, LedgerError> {
    let mut totals = BTreeMap::new();
    let mut seen = BTreeSet::new();
    for entry in entries {
        if seen.insert(&entry.id) {
            totals.entry(key(entry)).or_insert_with(Totals::default).add(entry)?;
        }
    }
    Ok(totals)
}

/// A ledger in memory: what every store has to do.
#[derive(Clone, Debug, Default)]
pub struct MemoryLedger {
    entries: BTreeMap<EntryId, Entry>,
}

impl MemoryLedger {
    /// Adds an entry. True if it is new; one that is already there changes nothing.
    ///
    /// # Errors
    /// [`LedgerError::Conflict`] if there is another one of the same name.
    pub fn append(&mut self, entry: &Entry) -> Result<bool, LedgerError> {
        match self.entries.get(&entry.id) {
            None => {
                self.entries.insert(entry.id.clone(), entry.clone());
                Ok(true)
            }
            Some(known) if known == entry => Ok(false),
            Some(_) => Err(LedgerError::Conflict(entry.id.clone())),
        }
    }

    /// Every entry, by name.
    pub fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.entries.values()
    }

    /// What was estimated and neither taken back nor confirmed, by session and subject, with one of its entries.
    #[must_use]
    pub fn open_estimates(&self) -> Vec<(&Entry, NanoDollars)> {
        let mut open: BTreeMap<(&SessionId, &Subject), (&Entry, NanoDollars)> = BTreeMap::new();
        for entry in self.entries.values().filter(|entry| entry.certainty == Certainty::Estimated) {
            let of_subject = open.entry((&entry.id.session, &entry.id.subject));
            let (_, sum) = of_subject.or_insert((entry, NanoDollars::ZERO));
            // A single subject is far from the bounds of an amount.
            *sum = sum.saturating_add(entry.amount);
        }
        open.into_values().filter(|(_, sum)| *sum != NanoDollars::ZERO).collect()
    }
}

/// The two entries that replace an open estimate by what an invoice says. They count when the usage was, whenever the
/// invoice came.
///
/// # Errors
/// [`LedgerError::Overflow`] for an amount that cannot be taken back.
pub fn confirmed_by_invoice(
    estimate: &Entry,
    open: NanoDollars,
    billed: NanoDollars,
) -> Result<[Entry; 2], LedgerError> {
    let entry = |sequence, certainty, amount| Entry {
        id: EntryId { source: Source::Invoice, sequence, ..estimate.id.clone() },
        certainty,
        amount,
        unheard: NanoDollars::ZERO,
        used: Quantities::default(),
        ..estimate.clone()
    };
    let back = open.checked_neg().ok_or(LedgerError::Overflow)?;
    Ok([entry(0, Certainty::Estimated, back), entry(1, Certainty::Confirmed, billed)])
}

#[cfg(test)]
mod tests {
    use super::*;
    use voxgate_protocol::tenant::OrganisationId;

    fn entry(sequence: u32, certainty: Certainty, nano: i64) -> Entry {
        Entry {
            id: EntryId {
                session: "sess_1".into(),
                subject: Subject::Response("resp_1".into()),
                source: Source::Wire,
                sequence,
            },
            tenant: TenantPath::default(),
            provider: "openai".into(),
            model: "gpt-realtime".into(),
            hop: Hop::Model,
            day: UtcDay::parse("2026-11-21").unwrap(),
            at: Duration::from_secs(20_778 * 86_400),
            prices: "book".into(),
            certainty,
            amount: NanoDollars::new(nano),
            unheard: NanoDollars::ZERO,
            used: Quantities::default(),
        }
    }

    #[test]
    fn an_entry_that_comes_twice_counts_once() {
        let mut ledger = MemoryLedger::default();
        let first = entry(0, Certainty::Confirmed, 5);
        assert_eq!(ledger.append(&first), Ok(true));
        assert_eq!(ledger.append(&first), Ok(false));
        let twice = [first.clone(), first.clone()];
        let totals = totals_by(&twice, |entry| entry.tenant.organisation.clone()).unwrap();
        assert_eq!(totals[&OrganisationId::default()].confirmed, NanoDollars::new(5));
        let other = entry(0, Certainty::Confirmed, 6);
        assert_eq!(ledger.append(&other), Err(LedgerError::Conflict(first.id)));
    }

    #[test]
    fn an_estimate_is_open_until_it_is_taken_back() {
        let mut ledger = MemoryLedger::default();
        for entry in [entry(0, Certainty::Estimated, 30), entry(1, Certainty::Estimated, 12)] {
            ledger.append(&entry).unwrap();
        }
        let (estimate, open) = ledger.open_estimates()[0];
        assert_eq!(open, NanoDollars::new(42));
        for entry in confirmed_by_invoice(estimate, open, NanoDollars::new(40)).unwrap() {
            ledger.append(&entry).unwrap();
        }
        assert!(ledger.open_estimates().is_empty());
        let totals = totals_by(ledger.entries(), |entry| entry.day).unwrap();
        let totals = totals.values().next().unwrap();
        assert_eq!((totals.estimated, totals.confirmed), (NanoDollars::ZERO, NanoDollars::new(40)));
    }

    #[test]
    fn what_has_no_price_is_counted_and_adds_nothing() {
        let entries = [entry(0, Certainty::Unpriced, 0)];
        let totals = totals_by(&entries, |entry| entry.day).unwrap();
        assert_eq!(totals.values().next().unwrap().unpriced, 1);
    }

    #[test]
    fn an_entry_survives_being_written_down() {
        let entry = entry(7, Certainty::Estimated, -3);
        let text = serde_json::to_string(&entry).unwrap();
        assert_eq!(serde_json::from_str::<Entry>(&text).unwrap(), entry);
        assert!(!text.contains('.'), "an amount went through a fraction: {text}");
        assert_eq!(entry.id.to_string(), "sess_1/response:resp_1/wire/7");
    }
}
