//! Who may begin sessions: keys, identity providers, and what is counted before one begins.

use std::sync::Arc;

use voxgate_policy::directory::KeyEntry;
use voxgate_signaling::directory::SharedDirectory;
use voxgate_signaling::gate::Gate;
use voxgate_signaling::identity::Identity;
use voxgate_signaling::limits::desk::LimitDesk;
use voxgate_signaling::limits::{RedisLimits, SharedLimits};
use voxgate_signaling::roster::{self, KeyBook, KeyMemory, Roster};
use voxgate_signaling::sign_in::SignIn;

use super::ground::Ground;
use crate::config::{self, Checked, RedisConfig};
use crate::data_dir::FirstKey;
use crate::process::StartError;
use crate::published_keys;

pub(super) struct Admittance {
    /// The key of the data folder.
    pub(super) first_key: FirstKey,
    /// It and those of the configuration.
    pub(super) keys: Vec<KeyEntry>,
    /// Those and the store's.
    pub(super) book: KeyBook,
    pub(super) directory: SharedDirectory,
    pub(super) gate: Gate,
}

impl Admittance {
    /// Reads the keys; from now on those of the store are followed and limits are kept.
    pub(super) async fn open(config: &Checked, ground: &Ground) -> Result<Self, StartError> {
        let chosen = chosen_key(std::env::var("VOXGATE_ADMIN_KEY").ok());
        let first_key = ground.data.first_key(chosen.as_deref())?;
        let keys = config::first_and(first_key.hash, &config.key_hashes, &config.keys);
        let book = KeyBook::new(keys.clone()).map_err(StartError::internal)?;
        let directory = book.directory();
        let memory = KeyMemory::new(ground.data.path(roster::FILE_NAME));
        let roster = Roster::open(ground.store.clone(), book.clone(), memory, config.store.tolerance).await?;
        let desk = LimitDesk::new(counters(&config.redis)?, config.redis.when_away);
        tokio::spawn(Arc::clone(&desk).keep());
        let gate = Gate::default().following(roster.health(), config.store.when_away).counting(desk);
        tokio::spawn(roster.follow());
        Ok(Self { first_key, keys, book, directory, gate })
    }

    /// Tells who somebody is. The keys of identity providers are fetched from now on.
    pub(super) fn identity(&self, config: &Checked) -> Result<Identity, StartError> {
        let providers = config.issuers.iter().cloned().map(published_keys::provider);
        let providers = providers.collect::<Result<Vec<_>, _>>().map_err(StartError::internal)?;
        let sign_in = Arc::new(SignIn::new(providers));
        let fresh = Arc::clone(&sign_in);
        tokio::spawn(async move { fresh.keep_fresh().await });
        Ok(Identity::new(self.directory.clone()).with_sign_in(sign_in))
    }
}

/// A variable that is set but empty, as container files make it of a missing value, chooses nothing: an empty key
/// would let everybody in.
fn chosen_key(variable: Option<String>) -> Option<String> {
    variable.filter(|key| !key.trim().is_empty())
}

/// Where limits are counted.
fn counters(redis: &RedisConfig) -> Result<SharedLimits, StartError> {
    let Some(url) = &redis.url else { return Ok(SharedLimits::default()) };
    // The error names what is wrong with the URL, and not the URL.
    Ok(SharedLimits::Redis(RedisLimits::new(url).map_err(StartError::internal)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_variable_is_no_key() {
        assert_eq!(chosen_key(Some(String::new())), None);
        assert_eq!(chosen_key(Some(" ".to_owned())), None);
        assert_eq!(chosen_key(Some("vg_mine".to_owned())).as_deref(), Some("vg_mine"));
    }
}
