//! Where the store is.

use std::path::Path;
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

/// The counters that gateways share.
#[derive(Clone)]
pub(crate) struct RedisConfig {
    /// May hold a password. `None`: each gateway counts by itself.
    pub(crate) url: Option<String>,
    pub(crate) when_away: WhenAway,
}

impl std::fmt::Debug for RedisConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RedisConfig").field("when_away", &self.when_away).finish_non_exhaustive()
    }
}

pub(super) fn check_redis(
    written: &Written,
    environment: &dyn Fn(&str) -> Option<String>,
    problems: &mut Vec<String>,
) -> RedisConfig {
    let redis = &written.redis;
    let url = url("redis", (redis.url_env.as_deref(), redis.url_file.as_deref()), environment);
    let url = url.map_err(|problem| problems.push(problem)).ok().flatten();
    if let Some(url) = &url
        && !["redis://", "redis+unix://", "unix://"].iter().any(|scheme| url.starts_with(scheme))
    {
        problems.push("the URL of redis must begin with redis:// or redis+unix://".to_owned());
    }
    RedisConfig { url, when_away: when_away(redis.when_away) }
}

fn place(written: &Written, environment: &dyn Fn(&str) -> Option<String>) -> Result<StorePlace, String> {
    let store = &written.store;
    let url = url("store", (store.url_env.as_deref(), store.url_file.as_deref()), environment)?;
    let Some(url) = url else { return Ok(StorePlace::Sqlite(written.data_dir.join(FILE_NAME))) };
    if !["postgres://", "postgresql://"].iter().any(|scheme| url.starts_with(scheme)) {
        return Err("the URL of store must begin with postgres://".to_owned());
    }
    Ok(StorePlace::Postgres(url))
}

/// The URL that a variable or a file holds; `None` if neither is named.
fn url(
    name: &str,
    (variable, file): (Option<&str>, Option<&Path>),
    environment: &dyn Fn(&str) -> Option<String>,
) -> Result<Option<String>, String> {
    let url = match (variable, file) {
        (None, None) => return Ok(None),
        (Some(_), Some(_)) => return Err(format!("{name} has both url_env and url_file; keep one")),
        (Some(variable), None) => environment(variable).ok_or_else(|| {
            format!("{name} takes its URL from {variable}, which is not set in the environment")
        })?,
        (None, Some(file)) => std::fs::read_to_string(file)
            .map_err(|error| format!("{name}.url_file {} cannot be read: {error}", file.display()))?,
    };
    Ok(Some(url.trim().to_owned()))
}
