//! A configuration as one thing: its file and the files that file names, known by the hash of what they hold.
//!
//! A bundle holds no secret: the configuration names environment variables and files for those, and they are read where
//! the bundle is used.
//!
//! - [`change`]: what differs between two configurations.

pub mod change;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use thiserror::Error;
use voxgate_protocol::revision::BundleHash;

/// Largest bundle, in bytes of text: a configuration is read by people.
pub const MOST_BYTES: usize = 4 * 1024 * 1024;

/// Most files beside the configuration.
pub const MOST_FILES: usize = 1_000;

/// Longest name of a file, in bytes: the limit of file systems.
const LONGEST_NAME: usize = 4_096;

/// What is hashed first, so that no hash of a bundle is one of something else.
const DOMAIN: &[u8] = b"voxgate bundle 1";

/// Why something is no bundle.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum BundleError {
    /// More than [`MOST_BYTES`].
    #[error("a configuration and its files may have {MOST_BYTES} bytes together; these have more")]
    TooLarge,
    /// More than [`MOST_FILES`].
    #[error("a configuration may name {MOST_FILES} files; this one names more")]
    TooManyFiles,
    /// A name that is empty or too long.
    #[error("the name of a file of the configuration is empty or too long")]
    MalformedName,
}

/// A configuration and the files it names.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Unchecked")]
pub struct Bundle {
    configuration: String,
    files: BTreeMap<String, String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Unchecked {
    configuration: String,
    #[serde(default)]
    files: BTreeMap<String, String>,
}

impl TryFrom<Unchecked> for Bundle {
    type Error = BundleError;

    fn try_from(read: Unchecked) -> Result<Self, BundleError> {
        Self::new(read.configuration, read.files)
    }
}

impl Bundle {
    /// The text of a configuration, and the texts of the files it names by the names it has for them.
    ///
    /// # Errors
    /// [`BundleError`] beyond the limits.
    pub fn new(configuration: String, files: BTreeMap<String, String>) -> Result<Self, BundleError> {
        if files.len() > MOST_FILES {
            return Err(BundleError::TooManyFiles);
        }
        if files.keys().any(|name| name.is_empty() || name.len() > LONGEST_NAME) {
            return Err(BundleError::MalformedName);
        }
        let parts = files.iter().map(|(name, text)| name.len() + text.len());
        if parts.sum::<usize>() + configuration.len() > MOST_BYTES {
            return Err(BundleError::TooLarge);
        }
        Ok(Self { configuration, files })
    }

    /// The text of the configuration.
    #[must_use]
    pub fn configuration(&self) -> &str {
        &self.configuration
    }

    /// The text of a file the configuration names.
    #[must_use]
    pub fn file(&self, name: &str) -> Option<&str> {
        self.files.get(name).map(String::as_str)
    }

    /// Every file beside the configuration: name and text, in the order of the names.
    pub fn files(&self) -> impl Iterator<Item = (&str, &str)> {
        self.files.iter().map(|(name, text)| (name.as_str(), text.as_str()))
    }

    /// The hash of everything: the configuration, then each file in the order of their names, every text with its length in
    /// front, so that no two different bundles have the same bytes.
    #[must_use]
    pub fn hash(&self) -> BundleHash {
        let mut hasher = Sha256::new();
        hasher.update(DOMAIN);
        let names = self.files.iter().flat_map(|(name, text)| [name, text]);
        for text in std::iter::once(&self.configuration).chain(names) {
            hasher.update((text.len() as u64).to_be_bytes());
            hasher.update(text.as_bytes());
        }
        BundleHash::new(hasher.finalize().into())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn bundle(configuration: &str, files: &[(&str, &str)]) -> Bundle {
        let files = files.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect();
        Bundle::new(configuration.to_owned(), files).unwrap()
    }

    #[test]
    fn the_order_in_which_files_were_read_does_not_matter() {
        let one = bundle("c", &[("a", "1"), ("b", "2")]);
        let other = bundle("c", &[("b", "2"), ("a", "1")]);
        assert_eq!(one.hash(), other.hash());
    }

    #[test]
    fn texts_that_run_together_the_same_way_have_different_hashes() {
        let all = [
            bundle("ab", &[]),
            bundle("a", &[("b", "")]),
            bundle("", &[("a", "b")]),
            bundle("", &[("ab", "")]),
            bundle("a", &[("b", ""), ("c", "")]),
            bundle("a", &[("b", "c")]),
        ];
        let hashes: std::collections::BTreeSet<_> = all.iter().map(Bundle::hash).collect();
        assert_eq!(hashes.len(), all.len());
    }

    proptest! {
        #[test]
        fn every_byte_counts(
            configuration in "[a-z]{0,40}",
            files in prop::collection::btree_map("[a-z]{1,8}", "[a-z]{0,20}", 0..4),
            at in any::<prop::sample::Index>(),
        ) {
            let before = Bundle::new(configuration.clone(), files.clone()).unwrap();
            let mut texts: Vec<String> = std::iter::once(configuration).chain(files.values().cloned()).collect();
            let at = at.index(texts.iter().map(String::len).sum::<usize>() + texts.len());
            let mut place = 0;
            for text in &mut texts {
                // One byte more is a change too, at the end of any text.
                if at <= place + text.len() {
                    let cut = at - place;
                    let rest = text.split_off(cut);
                    text.push('Z');
                    text.push_str(rest.get(1..).unwrap_or_default());
                    break;
                }
                place += text.len() + 1;
            }
            let configuration = texts.remove(0);
            let files = files.into_keys().zip(texts).collect();
            prop_assert_ne!(before.hash(), Bundle::new(configuration, files).unwrap().hash());
        }
    }

    #[test]
    fn what_was_written_is_read_again_and_what_is_too_much_is_refused() {
        let written = bundle("limits: {}\n", &[("policies.cedar", "permit")]);
        let text = serde_json::to_string(&written).unwrap();
        let read: Bundle = serde_json::from_str(&text).unwrap();
        assert_eq!((read.hash(), read), (written.hash(), written));
        let large = format!("{{\"configuration\": \"{}\"}}", "x".repeat(MOST_BYTES + 1));
        assert!(serde_json::from_str::<Bundle>(&large).is_err());
        let many = (0..=MOST_FILES).map(|number| (number.to_string(), String::new())).collect();
        assert_eq!(Bundle::new(String::new(), many).unwrap_err(), BundleError::TooManyFiles);
    }
}
