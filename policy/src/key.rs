//! API keys, kept as hashes, compared in constant time.

use std::fmt;

use sha2::{Digest, Sha256};
use subtle::{Choice, ConditionallySelectable, ConstantTimeEq};
use thiserror::Error;

/// The SHA-256 of a key.
///
/// Keys are 160 random bits or more, so a plain hash cannot be guessed back and a slow password hash would only
/// make every request slow.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct KeyHash([u8; 32]);

impl KeyHash {
    /// Hashes a key.
    #[must_use]
    pub fn of(key: &str) -> Self {
        Self(Sha256::digest(key.as_bytes()).into())
    }

    /// Reads 64 hexadecimal digits, the form kept in the data folder.
    ///
    /// # Errors
    /// [`KeyError::MalformedHash`] for anything else.
    pub fn from_hex(text: &str) -> Result<Self, KeyError> {
        let text = text.trim().as_bytes();
        if text.len() != 64 {
            return Err(KeyError::MalformedHash);
        }
        let mut bytes = [0; 32];
        for (byte, pair) in bytes.iter_mut().zip(text.chunks_exact(2)) {
            let digit = |c: u8| char::from(c).to_digit(16).ok_or(KeyError::MalformedHash);
            *byte = (digit(pair[0])? * 16 + digit(pair[1])?) as u8;
        }
        Ok(Self(bytes))
    }

    /// The 32 bytes of the hash.
    #[must_use]
    pub const fn into_bytes(self) -> [u8; 32] {
        self.0
    }

    /// Writes 64 hexadecimal digits.
    #[must_use]
    pub fn to_hex(&self) -> String {
        self.0.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

impl fmt::Debug for KeyHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyHash(..)")
    }
}

/// The place of a key in the configuration; the name by which limits and meters know it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyIndex(pub u32);

/// What can be wrong with a key.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum KeyError {
    /// Not 64 hexadecimal digits.
    #[error("a key hash is 64 hexadecimal digits (SHA-256 of the key)")]
    MalformedHash,
    /// No key hashes to this.
    #[error("the API key is not known")]
    Unknown,
    /// The key's time is over.
    #[error("the API key has expired")]
    Expired,
    /// The key was taken back.
    #[error("the API key was revoked")]
    Revoked,
}

/// The keys that may call.
#[derive(Clone, Debug, Default)]
pub struct KeyRing {
    hashes: Vec<KeyHash>,
}

impl KeyRing {
    /// A ring of the given keys, in configuration order.
    #[must_use]
    pub const fn new(hashes: Vec<KeyHash>) -> Self {
        Self { hashes }
    }

    /// Adds a key behind the others and gives its place.
    pub fn add(&mut self, hash: KeyHash) -> KeyIndex {
        self.hashes.push(hash);
        KeyIndex((self.hashes.len() - 1) as u32)
    }

    /// Finds the key. Takes the same time wherever in the ring it stands, and whether it is there at all.
    ///
    /// # Errors
    /// [`KeyError::Unknown`] if no key matches.
    pub fn authenticate(&self, presented: &str) -> Result<KeyIndex, KeyError> {
        let presented = KeyHash::of(presented);
        let mut found = Choice::from(0);
        let mut index = 0_u32;
        for (position, hash) in self.hashes.iter().enumerate() {
            let is_equal = hash.0.ct_eq(&presented.0);
            index.conditional_assign(&(position as u32), is_equal);
            found |= is_equal;
        }
        if bool::from(found) { Ok(KeyIndex(index)) } else { Err(KeyError::Unknown) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_known_key_is_found_and_any_other_is_not() {
        let ring = KeyRing::new(vec![KeyHash::of("vg_first"), KeyHash::of("vg_second")]);
        assert_eq!(ring.authenticate("vg_second"), Ok(KeyIndex(1)));
        assert_eq!(ring.authenticate("vg_first"), Ok(KeyIndex(0)));
        assert_eq!(ring.authenticate("vg_secon"), Err(KeyError::Unknown));
        assert_eq!(ring.authenticate(""), Err(KeyError::Unknown));
    }

    #[test]
    fn an_empty_ring_lets_nobody_in() {
        assert_eq!(KeyRing::default().authenticate("anything"), Err(KeyError::Unknown));
    }

    #[test]
    fn a_hash_survives_its_written_form() {
        let hash = KeyHash::of("vg_key");
        assert_eq!(KeyHash::from_hex(&hash.to_hex()), Ok(hash));
        assert_eq!(KeyHash::from_hex("zz"), Err(KeyError::MalformedHash));
        assert_eq!(KeyHash::from_hex(&"g".repeat(64)), Err(KeyError::MalformedHash));
    }
}
