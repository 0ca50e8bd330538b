//! The configuration: YAML as written, then checked, every problem reported at once.

mod agents;
mod bundle;
mod checked;
mod faults;
mod guardrails;
mod identity;
mod latency;
mod limits;
mod organisations;
mod place;
mod policies;
mod relay_file;
mod relays;
mod routes;
mod spending;
mod store;
mod telemetry;
mod webhooks;
mod written;

pub(crate) use bundle::{Loaded, Source, Text, from_bundle, from_disk, is_usable, read_bundle};
#[cfg(test)]
pub(crate) use checked::check;
pub(crate) use checked::{Checked, Provider, ProviderKind};
pub(crate) use organisations::{default_scopes, first_and};
pub(crate) use relay_file::{CheckedRelay, RelayFile, Stream, ThreadCount, Wait, check_relay};
pub(crate) use store::{RedisConfig, store_place};
pub(crate) use written::{RelayPlace, Written};

use std::path::{Path, PathBuf};

use relay_file::{is_relay_file, parse_relay};
use thiserror::Error;

/// What can be wrong with a configuration.
#[derive(Debug, Error)]
pub(crate) enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read the configuration {path}: {source}")]
    Unreadable {
        /// Which file.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// Not YAML, or with a key that does not exist.
    #[error("the configuration {path} cannot be understood: {reason}")]
    Malformed {
        /// Which file.
        path: String,
        /// What and where.
        reason: String,
    },
    /// Understood, but not meaningful.
    #[error("the configuration has {} problem(s):\n{}", .0.len(), list(.0))]
    Problems(Vec<String>),
    /// With its files too large for a bundle.
    #[error(transparent)]
    Bundle(#[from] voxgate_policy::bundle::BundleError),
}

impl ConfigError {
    /// What is wrong, one by one.
    pub(crate) fn into_problems(self) -> Vec<String> {
        match self {
            Self::Problems(problems) => problems,
            other => vec![other.to_string()],
        }
    }
}

fn list(problems: &[String]) -> String {
    problems.iter().map(|problem| format!("  - {problem}")).collect::<Vec<_>>().join("\n")
}

/// Reads a configuration file.
///
/// # Errors
/// [`ConfigError::Unreadable`] or [`ConfigError::Malformed`].
pub(crate) fn read(path: &Path) -> Result<Written, ConfigError> {
    parse(&text_of(path)?).map_err(|reason| malformed(path, reason))
}

/// Reads the configuration file of a relay.
///
/// # Errors
/// [`ConfigError::Unreadable`] or [`ConfigError::Malformed`].
pub(crate) fn read_relay(path: &Path) -> Result<RelayFile, ConfigError> {
    parse_relay(&text_of(path)?).map_err(|reason| malformed(path, reason))
}

/// Whether a file is the configuration of a relay rather than of a gateway. One that cannot be told counts as a
/// gateway's.
///
/// # Errors
/// [`ConfigError::Unreadable`].
pub(crate) fn describes_a_relay(path: &Path) -> Result<bool, ConfigError> {
    Ok(is_relay_file(&text_of(path)?))
}

/// The text of a configuration file.
///
/// # Errors
/// [`ConfigError::Unreadable`].
pub(crate) fn text_of(path: &Path) -> Result<String, ConfigError> {
    std::fs::read_to_string(path)
        .map_err(|source| ConfigError::Unreadable { path: path.display().to_string(), source })
}

pub(crate) fn malformed(path: &Path, reason: String) -> ConfigError {
    ConfigError::Malformed { path: path.display().to_string(), reason }
}

/// The data folder a text names, whatever else is wrong with it.
pub(crate) fn data_dir_of(text: &str) -> Option<PathBuf> {
    #[derive(serde::Deserialize)]
    struct Part {
        data_dir: Option<PathBuf>,
    }
    serde_saphyr::from_str::<Part>(text).ok()?.data_dir
}

/// Whether a text says nothing.
fn is_empty(text: &str) -> bool {
    text.lines().all(|line| line.trim().is_empty() || line.trim_start().starts_with('#'))
}

/// Understands the text of a configuration.
pub(crate) fn parse(text: &str) -> Result<Written, String> {
    if is_empty(text) {
        return Ok(Written::default());
    }
    serde_saphyr::from_str(text).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests;
