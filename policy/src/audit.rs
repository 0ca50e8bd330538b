//! The audit log as a chain: every entry carries the hash of the one before it.
//!
//! The hash of an entry is SHA-256 over the hash before it and the entry's fields, each with its length in front, so that
//! no two different entries have the same bytes. Whoever changes, removes or inserts an entry breaks a link, unless they
//! rewrite everything that follows *and* the head that is kept beside the log. Against that, keep a head somewhere
//! else ([`Head::to_line`]) and let the verifier look for it.

use std::collections::BTreeMap;
use std::fmt;

use sha2::{Digest as _, Sha256};
use thiserror::Error;

/// Findings a verification lists before it stops: more say nothing new about a log that was rewritten.
const MOST_FINDINGS: usize = 100;

/// The hash of an entry and everything before it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ChainHash([u8; 32]);

impl ChainHash {
    /// What the first entry follows.
    pub const GENESIS: Self = Self([0; 32]);

    /// What is read where no hash is written. No entry hashes to it.
    pub const MALFORMED: Self = Self([0xff; 32]);

    /// The hash of an entry that follows this one.
    #[must_use]
    pub fn after(self, entry: &AuditEntry) -> Self {
        let mut hasher = Sha256::new();
        hasher.update(self.0);
        hasher.update(entry.at_unix_ms.to_be_bytes());
        for field in [&entry.actor, &entry.action, &entry.subject, &entry.detail] {
            hasher.update((field.len() as u64).to_be_bytes());
            hasher.update(field.as_bytes());
        }
        Self(hasher.finalize().into())
    }

    /// Reads 64 hexadecimal digits.
    ///
    /// # Errors
    /// [`AuditError::MalformedHash`] for anything else.
    pub fn from_hex(text: &str) -> Result<Self, AuditError> {
        let text = text.as_bytes();
        let mut bytes = [0; 32];
        if text.len() != 64 {
            return Err(AuditError::MalformedHash);
        }
        for (byte, pair) in bytes.iter_mut().zip(text.chunks_exact(2)) {
            let digit = |c: u8| char::from(c).to_digit(16).ok_or(AuditError::MalformedHash);
            *byte = (digit(pair[0])? * 16 + digit(pair[1])?) as u8;
        }
        Ok(Self(bytes))
    }

    /// Writes 64 hexadecimal digits.
    #[must_use]
    pub fn to_hex(self) -> String {
        self.0.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

impl fmt::Debug for ChainHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ChainHash({}…)", &self.to_hex()[..8])
    }
}

/// What happened, who did it, and to what. Holds no secret: a key is named by its id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditEntry {
    /// When, in milliseconds since 1970.
    pub at_unix_ms: i64,
    /// Who: the id of a key, or `cli`, or `gateway`.
    pub actor: String,
    /// What was done, as `noun.verb`: `key.revoke`.
    pub action: String,
    /// The id of what it was done to.
    pub subject: String,
    /// More about it, as a JSON object.
    pub detail: String,
}

/// An entry as it was read back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredEntry {
    /// Its place, 1 for the first.
    pub sequence: i64,
    /// What it says.
    pub entry: AuditEntry,
    /// The hash it says it follows.
    pub previous: ChainHash,
    /// Its own hash.
    pub hash: ChainHash,
}

/// The end of a chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// The place of the last entry, which is also how many there are; 0 if there is none.
    pub sequence: i64,
    /// Its hash.
    pub hash: ChainHash,
}

impl Head {
    /// The head of an empty chain.
    pub const EMPTY: Self = Self { sequence: 0, hash: ChainHash::GENESIS };

    /// The form in which a head is kept elsewhere: `SEQUENCE:HASH`.
    #[must_use]
    pub fn to_line(self) -> String {
        format!("{}:{}", self.sequence, self.hash.to_hex())
    }

    /// Reads what [`Head::to_line`] wrote.
    ///
    /// # Errors
    /// [`AuditError::MalformedHead`] for anything else.
    pub fn from_line(text: &str) -> Result<Self, AuditError> {
        let (sequence, hash) = text.trim().split_once(':').ok_or(AuditError::MalformedHead)?;
        let sequence: i64 = sequence.parse().map_err(|_| AuditError::MalformedHead)?;
        let hash = ChainHash::from_hex(hash).map_err(|_| AuditError::MalformedHead)?;
        if sequence < 0 {
            return Err(AuditError::MalformedHead);
        }
        Ok(Self { sequence, hash })
    }
}

/// What can be wrong with the written form of a chain.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum AuditError {
    /// Not 64 hexadecimal digits.
    #[error("a hash of the audit log is 64 hexadecimal digits")]
    MalformedHash,
    /// Not `SEQUENCE:HASH`.
    #[error("a head of the audit log is written SEQUENCE:HASH, as `voxgate audit verify` prints it")]
    MalformedHead,
}

/// One thing that is wrong with a log. Rows are named by their sequence.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum Finding {
    /// The row does not say what it said when it was written.
    #[error("row {0} was changed")]
    Changed(i64),
    /// The row follows one that is not, or no longer, before it, though the numbers do: the row before was changed and
    /// given a new hash, or one between them was removed and the rest renumbered.
    #[error("{}", relinked(*.0))]
    Relinked(i64),
    /// So many rows fewer than the head counts, though the numbers have no gap.
    #[error("the log has {0} row(s) fewer than its head counts")]
    Short(i64),
    /// The rows from the first to the second number are missing.
    #[error("{}", removed(*.0, *.1))]
    Removed(i64, i64),
    /// The row does not belong to the chain.
    #[error("row {0} was inserted")]
    Inserted(i64),
    /// The head does not fit the last row, though the numbers do.
    #[error("row {0} is the last, but not the one the head of the log names")]
    HeadDiffers(i64),
    /// The chain does not pass through the head that was kept elsewhere.
    #[error("the log does not have the row {0} it had when that head was printed: it was rewritten")]
    AnchorMissing(i64),
}

fn removed(first: i64, last: i64) -> String {
    if first == last {
        format!("row {first} was removed")
    } else {
        format!("rows {first} to {last} were removed")
    }
}

fn relinked(row: i64) -> String {
    if row == 0 {
        return "a row before the first was removed and the rest renumbered".to_owned();
    }
    format!(
        "row {row} was changed and given a new hash, or a row behind it was removed and the rest renumbered"
    )
}

/// Walks a log from its beginning and says what is wrong with it.
#[derive(Debug)]
pub struct Verifier {
    last: Head,
    /// Where each hash stands, to tell an inserted row from a changed one.
    places: BTreeMap<ChainHash, i64>,
    anchor: Option<Head>,
    findings: Vec<Finding>,
}

impl Verifier {
    /// Begins. With an `anchor` the chain must pass through that head.
    #[must_use]
    pub fn new(anchor: Option<Head>) -> Self {
        let places = BTreeMap::from([(ChainHash::GENESIS, 0)]);
        let anchor = anchor.filter(|anchor| anchor.sequence > 0);
        Self { last: Head::EMPTY, places, anchor, findings: Vec::new() }
    }

    /// The next row, in the order of the sequence. False once nothing more is worth knowing.
    pub fn check(&mut self, row: &StoredEntry) -> bool {
        let before = self.last;
        if self.places.contains_key(&row.hash) {
            // A copy. What follows is judged as if it were not there.
            self.findings.push(Finding::Inserted(row.sequence));
            self.last.sequence = row.sequence;
            return self.findings.len() < MOST_FINDINGS;
        }
        if row.sequence > before.sequence + 1 {
            self.findings.push(Finding::Removed(before.sequence + 1, row.sequence - 1));
        } else if row.previous != before.hash {
            // A row that leads back over the one before it does not know that one: it came later.
            let inserted = self.places.get(&row.previous).is_some_and(|place| *place == before.sequence - 1);
            self.findings.push(if inserted {
                Finding::Inserted(before.sequence)
            } else {
                Finding::Relinked(before.sequence)
            });
        }
        if row.previous.after(&row.entry) != row.hash {
            self.findings.push(Finding::Changed(row.sequence));
        }
        if self.anchor.is_some_and(|anchor| anchor.sequence == row.sequence && anchor.hash == row.hash) {
            self.anchor = None;
        }
        self.places.insert(row.hash, row.sequence);
        // Only the neighbourhood matters, and a log has millions of rows.
        self.places.retain(|_, place| *place + 2 >= row.sequence);
        self.last = Head { sequence: row.sequence, hash: row.hash };
        self.findings.len() < MOST_FINDINGS
    }

    /// After the last row: what is wrong, given the head that is kept beside the log.
    #[must_use]
    pub fn finish(mut self, head: Head) -> Vec<Finding> {
        let last = self.last;
        let has =
            |wanted: fn(&Finding) -> bool| self.findings.iter().filter(|finding| wanted(finding)).count();
        if last.sequence < head.sequence {
            let is_renumbered = has(|finding| matches!(finding, Finding::Relinked(_))) > 0;
            self.findings.push(if is_renumbered {
                Finding::Short(head.sequence - last.sequence)
            } else {
                Finding::Removed(last.sequence + 1, head.sequence)
            });
        } else if last.sequence > head.sequence {
            // Those found further up have pushed the others back.
            let found = has(|finding| matches!(finding, Finding::Inserted(_))) as i64;
            let inserted = (head.sequence + 1 + found)..=last.sequence;
            self.findings.extend(inserted.map(Finding::Inserted).take(MOST_FINDINGS));
        } else if last.hash != head.hash {
            self.findings.push(Finding::HeadDiffers(last.sequence));
        }
        self.findings.extend(self.anchor.map(|anchor| Finding::AnchorMissing(anchor.sequence)));
        self.findings
    }
}

#[cfg(test)]
mod tests;
