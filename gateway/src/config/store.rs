//! Where the store is.

use std::time::Duration;

use voxgate_signaling::gate::WhenAway;
use voxgate_signaling::store::{FILE_NAME, StorePlace};

use super::ConfigError;
use super::written::{self, Written};

/// How long the store may not answer before it counts as away.
const TOLERANCES: std::ops::RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(3600);

/// The store, and what holds while it does not answer.
#[derive(Clone, Debug)]
pub(crate) struct StoreConfig {
    pub(crate) place: StorePlace,
    pub(crate) when_away: WhenAway,
    pub(crate) tolerance: Duration,
}

pub(super) fn check(
    written: &Written,
    environment: &dyn Fn(&str) -> Option<String>,
    problems: &mut Vec<String>,
) -> Option<StoreConfig> {
    let tolerance = written.store.tolerance;
    if !TOLERANCES.contains(&tolerance) {
        problems.push("store.tolerance must be 1s to 1h".to_owned());
    }
    let when_away = when_away(written.store.when_away);
    let place = place(written, environment).map_err(|problem| problems.push(problem)).ok()?;
    Some(StoreConfig { place, when_away, tolerance })
}

/// The words of the configuration.
pub(super) const fn when_away(written: written::WhenAway) -> WhenAway {
    match written {
        written::WhenAway::Refuse => WhenAway::Refuse,
        written::WhenAway::Allow => WhenAway::Allow,
    }
}

/// The store alone, for commands that need nothing else of the configuration.
///
/// # Errors
/// [`ConfigError::Problems`] with the one that stands in the way.
pub(crate) fn store_place(
    written: &Written,
    environment: &dyn Fn(&str) -> Option<String>,
) -> Result<StorePlace, ConfigError> {
    place(written, environment).map_err(|problem| ConfigError::Problems(vec![problem]))
}

fn place(written: &Written, environment: &dyn Fn(&str) -> Option<String>) -> Result<StorePlace, String> {
    let store = &written.store;
    let url = match (&store.url_env, &store.url_file) {
        (None, None) => return Ok(StorePlace::Sqlite(written.data_dir.join(FILE_NAME))),
        (Some(_), Some(_)) => return Err("store has both url_env and url_file; keep one".to_owned()),
        (Some(variable), None) => environment(variable).ok_or_else(|| {
            format!("store takes its URL from {variable}, which is not set in the environment")
        })?,
        (None, Some(file)) => std::fs::read_to_string(file)
            .map_err(|error| format!("store.url_file {} cannot be read: {error}", file.display()))?,
    };
    let url = url.trim();
    if !["postgres://", "postgresql://"].iter().any(|scheme| url.starts_with(scheme)) {
        return Err("the URL of store must begin with postgres://".to_owned());
    }
    Ok(StorePlace::Postgres(url.to_owned()))
}
