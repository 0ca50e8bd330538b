//! API keys, tokens of identity providers and client secrets.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use voxgate_policy::directory::{Caller, Scope};
use voxgate_policy::failure::FailureLimit;
use voxgate_policy::key::{KeyError, KeyHash, KeyIndex};
use voxgate_policy::token::TokenError;
use voxgate_protocol::settings::SessionSettings;
use voxgate_realtime::AllowedEvents;

use crate::directory::SharedDirectory;
use crate::sign_in::{SignIn, Visitor};

/// Secrets kept at once. A secret weighs about a kilobyte with its settings; beyond this the oldest go first.
const MAX_SECRETS: usize = 100_000;

/// Who presented a credential.
#[derive(Clone, Debug)]
pub struct Principal {
    /// The API key, or the one a client secret was made with.
    pub key: KeyIndex,
    /// Whose key it is.
    pub caller: Caller,
    /// When their sessions have to end, in seconds since 1970, if a token says so.
    pub until: Option<u64>,
    /// What a client secret was made for.
    pub binding: Option<Binding>,
    /// Whether a client secret was presented. It may start and end sessions, nothing else.
    pub is_client_secret: bool,
}

/// What a client secret was made for.
#[derive(Clone, Debug)]
pub struct Binding {
    /// The session it starts.
    pub settings: SessionSettings,
    /// The client events its holder may send; `None` means all.
    pub allowed_events: Option<AllowedEvents>,
}

#[derive(Debug)]
struct Grant {
    key: KeyIndex,
    binding: Option<Binding>,
    expires_at: u64,
}

/// Why a credential is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rejection {
    /// No credential.
    Missing,
    /// Not known.
    Unknown,
    /// A client secret whose time is over.
    Expired,
    /// A key whose time is over.
    KeyExpired,
    /// A key that was taken back.
    Revoked,
    /// A token of an identity provider that does not count.
    Token(TokenError),
    /// Wrong once too often; wait this long before the next attempt.
    TooManyFailures(Duration),
    /// Known, but not for this.
    OutOfScope(Scope),
}

impl From<KeyError> for Rejection {
    fn from(error: KeyError) -> Self {
        match error {
            KeyError::MalformedHash | KeyError::Unknown => Self::Unknown,
            KeyError::Expired => Self::KeyExpired,
            KeyError::Revoked => Self::Revoked,
        }
    }
}

/// The keys of the configuration and the client secrets made with them.
///
/// Secrets live in this process: a restart ends them, which costs a client one request.
#[derive(Debug)]
pub struct Identity {
    directory: SharedDirectory,
    sign_in: Arc<SignIn>,
    grants: Mutex<HashMap<[u8; 32], Grant>>,
    failures: Mutex<FailureLimit>,
    began: Instant,
}

impl Identity {
    /// No client secret yet.
    #[must_use]
    pub fn new(directory: SharedDirectory) -> Self {
        Self {
            directory,
            sign_in: Arc::default(),
            grants: Mutex::default(),
            failures: Mutex::default(),
            began: Instant::now(),
        }
    }

    /// With people and services that sign in elsewhere.
    #[must_use]
    pub fn with_sign_in(self, sign_in: Arc<SignIn>) -> Self {
        Self { sign_in, ..self }
    }

    /// Before a credential is looked at: makes sure that the keys are there which a token may need. Waits for an identity
    /// provider, seldom.
    pub async fn prepare(&self, credential: Option<&str>) {
        self.sign_in.prepare(credential).await;
    }

    /// Who presents this credential at `now` (seconds since 1970), if it opens `scope`.
    ///
    /// # Errors
    /// The [`Rejection`] that applies.
    pub fn authenticate(
        &self,
        credential: Option<&str>,
        now: u64,
        scope: Scope,
    ) -> Result<Principal, Rejection> {
        let principal = self.identify(credential, now).map_err(|rejection| {
            let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
            let counted = failures.count(self.began.elapsed(), credential);
            counted.map_or_else(Rejection::TooManyFailures, |()| rejection)
        })?;
        let opens = principal.caller.scopes.contains(&scope);
        if opens { Ok(principal) } else { Err(Rejection::OutOfScope(scope)) }
    }

    fn identify(&self, credential: Option<&str>, now: u64) -> Result<Principal, Rejection> {
        let credential = credential.ok_or(Rejection::Missing)?;
        if let Some(verified) = self.sign_in.verify(credential, now) {
            let Visitor { key, caller, until } = verified.map_err(Rejection::Token)?;
            return Ok(Principal { key, caller, until, binding: None, is_client_secret: false });
        }
        if !credential.starts_with("ek_") {
            let (key, caller) = self.directory.authenticate(credential, now)?;
            return Ok(Principal { key, caller, until: None, binding: None, is_client_secret: false });
        }
        let grants = self.grants.lock().unwrap_or_else(PoisonError::into_inner);
        // The look-up is by hash, so its time says nothing about the secret.
        let grant = grants.get(&fingerprint(credential)).ok_or(Rejection::Unknown)?;
        if grant.expires_at <= now {
            return Err(Rejection::Expired);
        }
        // A secret opens no more than the key or token it was made with, and no longer.
        let (caller, until) = match self.sign_in.valid(grant.key, now) {
            Some(visitor) => visitor.map(|visitor| (visitor.caller, visitor.until))?,
            None => (self.directory.valid(grant.key, now)?, None),
        };
        let binding = grant.binding.clone();
        Ok(Principal { key: grant.key, caller, until, binding, is_client_secret: true })
    }

    /// Makes a client secret from random bytes. Gives the secret and its expiry (seconds since 1970).
    pub fn grant(
        &self,
        key: KeyIndex,
        binding: Option<Binding>,
        lifetime: Duration,
        now: u64,
        random: [u8; 32],
    ) -> (String, u64) {
        let secret = format!("ek_{}", random.iter().map(|byte| format!("{byte:02x}")).collect::<String>());
        let expires_at = now.saturating_add(lifetime.as_secs());
        let mut grants = self.grants.lock().unwrap_or_else(PoisonError::into_inner);
        if grants.len() >= MAX_SECRETS {
            make_room(&mut grants, now);
        }
        grants.insert(fingerprint(&secret), Grant { key, binding, expires_at });
        (secret, expires_at)
    }
}

fn fingerprint(secret: &str) -> [u8; 32] {
    KeyHash::of(secret).into_bytes()
}

/// Drops what has expired; if nothing has, the half that expires first.
fn make_room(grants: &mut HashMap<[u8; 32], Grant>, now: u64) {
    grants.retain(|_, grant| grant.expires_at > now);
    if grants.len() >= MAX_SECRETS {
        let mut expiries: Vec<u64> = grants.values().map(|grant| grant.expires_at).collect();
        let middle = expiries.len() / 2;
        let (_, median, _) = expiries.select_nth_unstable(middle);
        let median = *median;
        let mut room = MAX_SECRETS / 2;
        grants.retain(|_, grant| {
            let keeps = grant.expires_at >= median && room > 0;
            room -= usize::from(keeps);
            keeps
        });
    }
}

#[cfg(test)]
mod tests {
    use voxgate_policy::directory::{Directory, KeyEntry, Role};
    use voxgate_protocol::tenant::{KeyId, TenantPath};

    use super::*;

    fn directory() -> SharedDirectory {
        let owner = KeyEntry::first_run(KeyId::default(), Role::Owner, KeyHash::of("vg_key"));
        SharedDirectory::new(Directory::new(vec![owner]).unwrap())
    }

    fn identity() -> Identity {
        Identity::new(directory())
    }

    #[test]
    fn a_client_secret_works_until_it_expires() {
        let identity = identity();
        let (secret, expires_at) = identity.grant(KeyIndex(0), None, Duration::from_secs(60), 1_000, [7; 32]);
        assert_eq!(expires_at, 1_060);
        assert!(secret.starts_with("ek_") && secret.len() == 67);
        assert!(identity.authenticate(Some(&secret), 1_059, Scope::Calls).unwrap().is_client_secret);
        assert_eq!(
            identity.authenticate(Some(&secret), 1_060, Scope::Calls).unwrap_err(),
            Rejection::Expired
        );
    }

    #[test]
    fn only_what_was_given_out_gets_in() {
        let identity = identity();
        assert!(identity.authenticate(Some("vg_key"), 0, Scope::Calls).is_ok());
        assert_eq!(identity.authenticate(Some("vg_kez"), 0, Scope::Calls).unwrap_err(), Rejection::Unknown);
        assert_eq!(identity.authenticate(Some("ek_00"), 0, Scope::Calls).unwrap_err(), Rejection::Unknown);
        assert_eq!(identity.authenticate(None, 0, Scope::Calls).unwrap_err(), Rejection::Missing);
    }

    #[test]
    fn the_book_of_secrets_never_outgrows_its_limit() {
        let identity = identity();
        for number in 0..MAX_SECRETS as u64 + 10 {
            let mut random = [0; 32];
            random[..8].copy_from_slice(&number.to_le_bytes());
            identity.grant(KeyIndex(0), None, Duration::from_secs(60), 1_000, random);
        }
        assert!(identity.grants.lock().unwrap().len() <= MAX_SECRETS);
    }

    #[test]
    fn a_client_secret_ends_with_its_key() {
        let directory = directory();
        let identity = Identity::new(directory.clone());
        let (secret, _) = identity.grant(KeyIndex(0), None, Duration::from_secs(60), 1_000, [7; 32]);
        assert!(identity.authenticate(Some(&secret), 1_000, Scope::Calls).is_ok());
        let key = TenantPath::default();
        assert!(directory.revoke(&key.organisation, &key.team, &key.key));
        for credential in [secret.as_str(), "vg_key"] {
            let refused = identity.authenticate(Some(credential), 1_000, Scope::Calls).unwrap_err();
            assert_eq!(refused, Rejection::Revoked);
        }
    }

    #[test]
    fn a_key_opens_only_what_it_is_for() {
        let mut calls = KeyEntry::first_run(KeyId::default(), Role::Member, KeyHash::of("vg_key"));
        calls.caller.scopes = [Scope::Calls].into();
        let identity = Identity::new(SharedDirectory::new(Directory::new(vec![calls]).unwrap()));
        assert!(identity.authenticate(Some("vg_key"), 0, Scope::Calls).is_ok());
        for scope in [Scope::Admin, Scope::ClientSecrets, Scope::Sidebands] {
            let refused = identity.authenticate(Some("vg_key"), 0, scope).unwrap_err();
            assert_eq!(refused, Rejection::OutOfScope(scope));
        }
    }

    #[test]
    fn whoever_is_wrong_too_often_is_told_to_wait_and_the_right_key_still_works() {
        let identity = identity();
        let attempt = || identity.authenticate(Some("vg_wrong"), 0, Scope::Calls).unwrap_err();
        // More than any pause of this test between two attempts could refill.
        let last = (0..100).map(|_| attempt()).find(|refusal| *refusal != Rejection::Unknown);
        assert!(matches!(last, Some(Rejection::TooManyFailures(_))), "{last:?}");
        assert!(identity.authenticate(Some("vg_key"), 0, Scope::Calls).is_ok());
    }
}
