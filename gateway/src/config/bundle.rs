//! A configuration with the files it names, read from the disk or handed over by somebody who applies it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use voxgate_policy::bundle::Bundle;

use super::written::Written;
use super::{Checked, ConfigError};

/// A configuration that was read, and what came of it.
#[derive(Debug)]
pub(crate) struct Loaded {
    pub(crate) bundle: Bundle,
    /// What it means with every default, as JSON: what two configurations are compared by.
    #[expect(dead_code, reason = "for applying while the gateway runs")]
    pub(crate) meaning: serde_json::Value,
    pub(crate) checked: Checked,
}

/// Where a configuration comes from.
pub(crate) trait Source: Send + Sync {
    /// Reads the file the gateway was started with, and what it names.
    ///
    /// # Errors
    /// [`ConfigError`] with everything that is wrong.
    fn read(&self) -> Result<Loaded, ConfigError>;

    /// Takes a bundle instead; what the command line says still wins.
    ///
    /// # Errors
    /// [`ConfigError`] with everything that is wrong.
    #[expect(dead_code, reason = "for applying while the gateway runs")]
    fn take(&self, bundle: Bundle) -> Result<Loaded, ConfigError>;
}

/// The text of a file a configuration names, or why there is none.
pub(crate) type ReadFile<'a> = &'a dyn Fn(&Path) -> Result<String, String>;

/// Reads from the disk.
pub(crate) fn from_disk(path: &Path) -> Result<String, String> {
    std::fs::read_to_string(path).map_err(|error| format!("cannot be read: {error}"))
}

/// Reads from a bundle.
pub(crate) fn from_bundle(bundle: &Bundle) -> impl Fn(&Path) -> Result<String, String> {
    |path| {
        let text = bundle.file(&path.to_string_lossy());
        text.map(str::to_owned).ok_or_else(|| "is not part of the bundle".to_owned())
    }
}

/// The files that are part of a bundle. What is secret, or too large to be read by people, is not: keys and models stay
/// where they are.
fn named_files(written: &Written) -> impl Iterator<Item = &PathBuf> {
    written.policies.iter().chain(&written.money.prices)
}

/// A configuration with the files it names, as far as they can be read; what cannot is a problem that checking finds.
///
/// # Errors
/// [`ConfigError::Bundle`] beyond the limits.
pub(crate) fn gather(text: String, written: &Written, read: ReadFile<'_>) -> Result<Bundle, ConfigError> {
    let files = named_files(written).filter_map(|path| {
        let text = read(path).ok()?;
        Some((path.to_string_lossy().into_owned(), text))
    });
    let files: BTreeMap<String, String> = files.collect();
    Ok(Bundle::new(text, files)?)
}
