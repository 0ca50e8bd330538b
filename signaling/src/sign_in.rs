//! People and services that sign in with a token of their identity provider.
//!
//! The keys providers publish are kept and renewed here; how they are fetched is somebody else's. A token is checked with the
//! keys at hand, so that no request waits for a provider, except the first one that names a key nobody here has seen.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use futures_util::future::{BoxFuture, join_all};
use thiserror::Error;
use voxgate_policy::directory::Caller;
use voxgate_policy::key::{KeyError, KeyIndex};
use voxgate_policy::token::{self, Issuer, KeySet, Refresh, SignedIn, TokenError};
use voxgate_protocol::tenant::TenantPath;

/// How often keys are fetched although nobody asks: a key that was taken back is then forgotten within it.
const REFRESH_EVERY: Duration = Duration::from_mins(10);

/// Time between two attempts after one that failed.
const RETRY_EVERY: Duration = Duration::from_secs(30);

/// How long keys are used while their provider cannot be reached. Longer than its outage should last; shorter than anyone
/// should trust a key its provider may have taken back.
const STALE_AFTER: Duration = Duration::from_hours(24);

/// People remembered at once; beyond it those whose tokens have expired are forgotten first.
const MAX_PEOPLE: usize = 100_000;

/// Keys of the configuration count up from zero; people count up from here.
const FIRST_PERSON: u32 = 1 << 31;

/// Why published keys could not be fetched. The message names no secret.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("{0}")]
pub struct FetchError(pub String);

/// Fetches the text of a provider's published keys (JWKS, RFC 7517).
pub type FetchKeys = Arc<dyn Fn() -> BoxFuture<'static, Result<String, FetchError>> + Send + Sync>;

/// An identity provider and the way to its keys.
pub struct IdentityProvider {
    /// What its word counts for.
    pub issuer: Issuer,
    /// Whether sessions end when the token does that began them.
    pub bounds_sessions: bool,
    /// The way.
    pub fetch: FetchKeys,
}

impl std::fmt::Debug for IdentityProvider {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("IdentityProvider").field("issuer", &self.issuer.issuer).finish_non_exhaustive()
    }
}

#[derive(Debug)]
struct Keys {
    set: Arc<KeySet>,
    fetched_at: Instant,
}

#[derive(Debug)]
struct Known {
    provider: IdentityProvider,
    keys: RwLock<Option<Keys>>,
    refresh: Mutex<Refresh>,
    /// One fetch at a time.
    fetching: tokio::sync::Mutex<()>,
}

/// Somebody who signed in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Visitor {
    pub(crate) key: KeyIndex,
    pub(crate) caller: Caller,
    /// When their sessions have to end, in seconds since 1970.
    pub(crate) until: Option<u64>,
}

#[derive(Debug)]
struct Person {
    caller: Caller,
    expires_at: u64,
    until: Option<u64>,
}

#[derive(Debug, Default)]
struct People {
    by_place: HashMap<TenantPath, KeyIndex>,
    by_key: HashMap<KeyIndex, Person>,
    given: u32,
}

/// The identity providers of an installation, and who came from them.
#[derive(Debug)]
pub struct SignIn {
    providers: Vec<Known>,
    people: Mutex<People>,
    began: Instant,
}

impl Default for SignIn {
    fn default() -> Self {
        Self::new(Vec::new())
    }
}

impl SignIn {
    /// With these providers, whose keys are not there yet.
    #[must_use]
    pub fn new(providers: Vec<IdentityProvider>) -> Self {
        let known = |provider| Known {
            provider,
            keys: RwLock::default(),
            refresh: Mutex::default(),
            fetching: tokio::sync::Mutex::default(),
        };
        Self {
            providers: providers.into_iter().map(known).collect(),
            people: Mutex::default(),
            began: Instant::now(),
        }
    }

    /// Fetches the keys of every provider, now and again and again.
    pub async fn keep_fresh(&self) {
        join_all(self.providers.iter().map(Known::keep_fresh)).await;
    }

    /// Fetches the keys of a token's provider again if the token names one that is not known. Asked seldom enough, whatever
    /// tokens come in.
    pub async fn prepare(&self, credential: Option<&str>) {
        let Some((known, token)) = credential.and_then(|token| Some((self.provider_of(token)?, token)))
        else {
            return;
        };
        if known.knows_key_of(token) {
            return;
        }
        let _one = known.fetching.lock().await;
        // Whoever waited for the lock may find that the fetch before it has brought the key.
        if !known.knows_key_of(token) && known.may_refresh(self.began.elapsed()) {
            known.fetch().await;
        }
    }

    /// Who signs in with this credential at `now` (seconds since 1970); `None` if it is no token of a provider known here.
    pub(crate) fn verify(&self, credential: &str, now: u64) -> Option<Result<Visitor, TokenError>> {
        let known = self.provider_of(credential)?;
        Some(known.verify(credential, now).map(|signed_in| {
            let leeway = known.provider.issuer.leeway.as_secs();
            let until = known.provider.bounds_sessions.then_some(signed_in.expires_at + leeway);
            self.with_people(|people| people.note(signed_in, until, now))
        }))
    }

    /// Who this is, if their last token is still good at `now` (seconds since 1970). `None` if it is no person but a key.
    pub(crate) fn valid(&self, key: KeyIndex, now: u64) -> Option<Result<Visitor, KeyError>> {
        (key.0 >= FIRST_PERSON).then(|| {
            self.with_people(|people| {
                let person = people.by_key.get(&key).ok_or(KeyError::Unknown)?;
                if person.expires_at <= now {
                    return Err(KeyError::Expired);
                }
                Ok(Visitor { key, caller: person.caller.clone(), until: person.until })
            })
        })
    }

    fn provider_of(&self, token: &str) -> Option<&Known> {
        if self.providers.is_empty() {
            return None;
        }
        let issuer = token::claimed_issuer(token)?;
        self.providers.iter().find(|known| known.provider.issuer.issuer == issuer)
    }

    fn with_people<T>(&self, act: impl FnOnce(&mut People) -> T) -> T {
        act(&mut self.people.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Known {
    async fn keep_fresh(&self) {
        loop {
            let is_fetched = {
                let _one = self.fetching.lock().await;
                self.fetch().await
            };
            tokio::time::sleep(if is_fetched { REFRESH_EVERY } else { RETRY_EVERY }).await;
        }
    }

    /// Keys that cannot be fetched leave those that were.
    async fn fetch(&self) -> bool {
        let issuer = self.provider.issuer.issuer.as_str();
        let fetched = match (self.provider.fetch)().await {
            Ok(text) => KeySet::parse(&text).map_err(|error| error.to_string()),
            Err(error) => Err(error.to_string()),
        };
        match fetched {
            Ok(set) => {
                let keys = Keys { set: Arc::new(set), fetched_at: Instant::now() };
                *self.keys.write().unwrap_or_else(PoisonError::into_inner) = Some(keys);
                true
            }
            Err(reason) => {
                tracing::warn!(issuer, reason, "the keys of an identity provider could not be fetched");
                false
            }
        }
    }

    fn may_refresh(&self, now: Duration) -> bool {
        self.refresh.lock().unwrap_or_else(PoisonError::into_inner).take(now)
    }

    fn keys(&self) -> Option<Arc<KeySet>> {
        let keys = self.keys.read().unwrap_or_else(PoisonError::into_inner);
        let fresh = keys.as_ref().filter(|keys| keys.fetched_at.elapsed() < STALE_AFTER);
        fresh.map(|keys| Arc::clone(&keys.set))
    }

    fn knows_key_of(&self, token: &str) -> bool {
        self.keys().is_some_and(|keys| token::names_key_of(token, &keys))
    }

    fn verify(&self, token: &str, now: u64) -> Result<SignedIn, TokenError> {
        let keys = self.keys().ok_or(TokenError::UnknownKey)?;
        token::verify(token, &self.provider.issuer, &keys, now)
    }
}

impl People {
    /// Somebody with their index, the same for as long as they are remembered and never anybody else's.
    fn note(&mut self, signed_in: SignedIn, until: Option<u64>, now: u64) -> Visitor {
        let SignedIn { caller, expires_at } = signed_in;
        let place = &caller.tenancy;
        let known = self.by_place.get(place).copied();
        let key = known.unwrap_or_else(|| {
            if self.by_key.len() >= MAX_PEOPLE {
                self.make_room(now);
            }
            let key = KeyIndex(FIRST_PERSON + self.given);
            // After two billion people the last index is shared; the process will have been restarted before.
            self.given = (self.given + 1).min(u32::MAX - FIRST_PERSON);
            self.by_place.insert(place.clone(), key);
            key
        });
        self.by_key.insert(key, Person { caller: caller.clone(), expires_at, until });
        Visitor { key, caller, until }
    }

    /// Forgets those whose tokens have expired; if there are none, everybody.
    fn make_room(&mut self, now: u64) {
        self.by_key.retain(|_, person| person.expires_at > now);
        if self.by_key.len() >= MAX_PEOPLE {
            self.by_key.clear();
        }
        let Self { by_place, by_key, .. } = self;
        by_place.retain(|_, key| by_key.contains_key(key));
    }
}

#[cfg(test)]
mod tests;
