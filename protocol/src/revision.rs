//! Which configuration something runs with.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The name of a configuration: SHA-256 over everything it holds. Two configurations with one hash are the same.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BundleHash([u8; 32]);

impl BundleHash {
    /// The hash with these bytes.
    #[must_use]
    pub const fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Reads 64 hexadecimal digits; `None` for anything else.
    #[must_use]
    pub fn from_hex(text: &str) -> Option<Self> {
        let text = text.as_bytes();
        let mut bytes = [0; 32];
        if text.len() != 64 {
            return None;
        }
        for (byte, pair) in bytes.iter_mut().zip(text.chunks_exact(2)) {
            let digit = |c: u8| char::from(c).to_digit(16);
            *byte = (digit(pair[0])? * 16 + digit(pair[1])?) as u8;
        }
        Some(Self(bytes))
    }

    /// The first twelve digits, which people and metrics tell configurations apart by.
    #[must_use]
    pub fn short(self) -> String {
        self.0[..6].iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

impl fmt::Display for BundleHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for BundleHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BundleHash({}…)", self.short())
    }
}

impl Serialize for BundleHash {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for BundleHash {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let malformed = "the hash of a configuration has 64 hexadecimal digits";
        Self::from_hex(&text).ok_or_else(|| serde::de::Error::custom(malformed))
    }
}

/// A configuration at its place in history. The default stands for none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RevisionName {
    /// Its place in the history of the store, from 1; 0 as long as it has none.
    pub number: u64,
    /// What it holds.
    pub hash: BundleHash,
}

impl fmt::Display for RevisionName {
    /// As logs show it: `7 (0123456789ab)`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.number, self.hash.short())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_is_read_as_it_was_written_and_nothing_else_is() {
        let hash = BundleHash::new(std::array::from_fn(|index| 7 * index as u8));
        assert_eq!(BundleHash::from_hex(&hash.to_string()), Some(hash));
        for wrong in ["", "00", &"g".repeat(64), &"0".repeat(63), &"é".repeat(32)] {
            assert_eq!(BundleHash::from_hex(wrong), None);
        }
    }

    #[test]
    fn people_see_the_beginning_of_the_hash() {
        let revision = RevisionName { number: 7, hash: BundleHash::new([0xab; 32]) };
        assert_eq!(revision.to_string(), "7 (abababababab)");
    }
}
