//! The keys a provider publishes.

use std::collections::BTreeMap;
use std::time::Duration;

use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyAlgorithm, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey};
use serde::Deserialize;
use serde_json::Value;

use super::{TokenError, ring_provider};

/// Longest JWKS, in bytes.
const LONGEST_SET: usize = 256 * 1024;

/// Most keys of a provider. The large ones publish two to ten.
const MAX_KEYS: usize = 64;

/// Time between two refreshes that tokens with unknown keys ask for: a provider that rotates is followed within it, and
/// nobody can make the gateway ask more often.
const REFRESH_EVERY: Duration = Duration::from_secs(30);

/// The keys of one provider, by their id. Those of other kinds than tokens may be signed with are left out.
#[derive(Clone, Default)]
pub struct KeySet {
    keys: BTreeMap<String, (DecodingKey, Vec<Algorithm>)>,
}

impl std::fmt::Debug for KeySet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.keys.keys()).finish()
    }
}

#[derive(Deserialize)]
struct Published {
    keys: Vec<Value>,
}

impl KeySet {
    /// Reads a JWKS.
    ///
    /// # Errors
    /// [`TokenError::MalformedKeys`] if it is none, too long, or has no key tokens may be signed with.
    pub fn parse(text: &str) -> Result<Self, TokenError> {
        ring_provider::install();
        if text.len() > LONGEST_SET {
            return Err(TokenError::MalformedKeys);
        }
        let published: Published = serde_json::from_str(text).map_err(|_| TokenError::MalformedKeys)?;
        let mut keys = BTreeMap::new();
        for key in published.keys.into_iter().take(MAX_KEYS) {
            // One key nobody here understands does not make the others useless.
            let Ok(jwk) = serde_json::from_value::<Jwk>(key) else { continue };
            let algorithms = algorithms(&jwk);
            if let (false, Some(kid), Ok(key)) =
                (algorithms.is_empty(), &jwk.common.key_id, DecodingKey::from_jwk(&jwk))
            {
                keys.insert(kid.clone(), (key, algorithms));
            }
        }
        if keys.is_empty() { Err(TokenError::MalformedKeys) } else { Ok(Self { keys }) }
    }

    pub(super) fn find(&self, kid: &str) -> Option<(&DecodingKey, &[Algorithm])> {
        self.keys.get(kid).map(|(key, algorithms)| (key, algorithms.as_slice()))
    }
}

/// What may be signed with a key: what its kind allows, narrowed to what the provider says of it.
fn algorithms(jwk: &Jwk) -> Vec<Algorithm> {
    if jwk.common.public_key_use.as_ref().is_some_and(|of| *of != PublicKeyUse::Signature) {
        return Vec::new();
    }
    let of_kind: &[(Algorithm, KeyAlgorithm)] = match &jwk.algorithm {
        AlgorithmParameters::RSA(_) => &[
            (Algorithm::RS256, KeyAlgorithm::RS256),
            (Algorithm::RS384, KeyAlgorithm::RS384),
            (Algorithm::RS512, KeyAlgorithm::RS512),
        ],
        AlgorithmParameters::EllipticCurve(key) => match key.curve {
            EllipticCurve::P256 => &[(Algorithm::ES256, KeyAlgorithm::ES256)],
            EllipticCurve::P384 => &[(Algorithm::ES384, KeyAlgorithm::ES384)],
            _ => &[],
        },
        AlgorithmParameters::OctetKeyPair(key) => match key.curve {
            EllipticCurve::Ed25519 => &[(Algorithm::EdDSA, KeyAlgorithm::EdDSA)],
            _ => &[],
        },
        // A secret that both sides know proves nothing about who signed.
        _ => &[],
    };
    let is_said = |said: &KeyAlgorithm| jwk.common.key_algorithm.is_none_or(|of| of == *said);
    of_kind.iter().filter(|(_, said)| is_said(said)).map(|(algorithm, _)| *algorithm).collect()
}

/// When keys may be asked for again because a token names one that is not known.
#[derive(Clone, Copy, Debug, Default)]
pub struct Refresh {
    last: Option<Duration>,
}

impl Refresh {
    /// Whether to ask now (on any clock that does not go back). Whoever is told yes has to ask.
    pub fn take(&mut self, now: Duration) -> bool {
        let may = self.last.is_none_or(|last| now >= last + REFRESH_EVERY);
        if may {
            self.last = Some(now);
        }
        may
    }
}
