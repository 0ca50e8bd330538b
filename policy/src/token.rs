//! Tokens of identity providers (JWT, RFC 7519), checked with the keys the provider publishes (JWKS, RFC 7517).
//!
//! Nothing is fetched here and no clock is read: the shell brings the published keys and the time. Only signatures with a
//! public key count: RS256, RS384, RS512, ES256, ES384 and EdDSA; which of them, the published key says and never the token.

mod keys;
mod ring_provider;

use std::collections::BTreeMap;
use std::time::Duration;

use jsonwebtoken::{Validation, decode, decode_header};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use thiserror::Error;
use voxgate_protocol::tenant::{AgentId, KeyId, OrganisationId, TeamId, TenantPath};

use crate::directory::{Caller, Role, Scope};

pub use keys::{KeySet, Refresh};

/// Longest token, in bytes. Those of the large providers have one to four thousand.
pub const LONGEST_TOKEN: usize = 8 * 1024;

/// An identity provider and what its word counts for.
#[derive(Clone, Debug)]
pub struct Issuer {
    /// Its name: the `iss` of its tokens, compared exactly.
    pub issuer: String,
    /// Whom its tokens have to be for: one of their `aud`.
    pub audience: String,
    /// How far its clock may be from ours.
    pub leeway: Duration,
    /// The organisation its people belong to. It is fixed, so that no provider can speak for another's organisation.
    pub organisation: OrganisationId,
    /// The claim with the team's id. `None`, or a token without it: `default_team`.
    pub team_claim: Option<String>,
    /// The team of tokens that name none; `None` refuses them.
    pub default_team: Option<TeamId>,
    /// The claim with roles or groups: a text or a list of texts.
    pub role_claim: Option<String>,
    /// What each value of that claim makes its holder. Of several the most powerful counts.
    pub roles: BTreeMap<String, Role>,
    /// The role of whoever has none of these; `None` refuses them.
    pub default_role: Option<Role>,
    /// The claim with the agent a token is narrowed to. `None`, or a token without it: to none.
    pub agent_claim: Option<String>,
}

/// Why a token is refused.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum TokenError {
    /// No JWT, or too long, or without what every token needs.
    #[error("the token is malformed")]
    Malformed,
    /// Not one of the algorithms that count, or not the key's.
    #[error("the token is signed in a way that does not count")]
    Algorithm,
    /// The provider may have changed its keys: worth one refresh.
    #[error("the token is signed with a key that is not known")]
    UnknownKey,
    /// Changed, or by somebody else.
    #[error("the signature of the token is wrong")]
    Signature,
    /// By another provider, or for somebody else.
    #[error("the token is not from this provider or not for this gateway")]
    Audience,
    /// Its time is over.
    #[error("the token has expired")]
    Expired,
    /// Its time has not come.
    #[error("the token is not valid yet")]
    NotYetValid,
    /// The claims give its holder no team or no role here.
    #[error("the token gives no team or no role here")]
    NoPlace,
    /// The published keys are no JWKS.
    #[error("the keys of the identity provider cannot be read")]
    MalformedKeys,
}

/// Somebody a token proved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedIn {
    /// Who. The id stands for issuer and subject and shows neither.
    pub caller: Caller,
    /// Until when the token says so, in seconds since 1970.
    pub expires_at: u64,
}

/// The issuer a token claims to be from, unproven: only to choose whose keys to check it with.
#[must_use]
pub fn claimed_issuer(token: &str) -> Option<String> {
    use base64::Engine as _;
    if token.len() > LONGEST_TOKEN {
        return None;
    }
    let claims = token.split('.').nth(1)?;
    let claims = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(claims).ok()?;
    let claims: Value = serde_json::from_slice(&claims).ok()?;
    claims.get("iss")?.as_str().map(str::to_owned)
}

/// Whether these keys have the one a token names, unproven: only to know whether to ask for the keys again. True as well for
/// what is no token and would not become one.
#[must_use]
pub fn names_key_of(token: &str, keys: &KeySet) -> bool {
    if token.len() > LONGEST_TOKEN {
        return true;
    }
    let kid = decode_header(token).ok().and_then(|header| header.kid);
    kid.is_none_or(|kid| keys.find(&kid).is_some())
}

/// Checks a token at `now` (seconds since 1970) with the provider's published keys.
///
/// # Errors
/// The [`TokenError`] that applies.
pub fn verify(token: &str, issuer: &Issuer, keys: &KeySet, now: u64) -> Result<SignedIn, TokenError> {
    if token.len() > LONGEST_TOKEN {
        return Err(TokenError::Malformed);
    }
    let header = decode_header(token).map_err(|_| TokenError::Malformed)?;
    if header.crit.is_some() {
        // Extensions that must be understood, and are not (RFC 7515 section 4.1.11).
        return Err(TokenError::Malformed);
    }
    let kid = header.kid.as_deref().ok_or(TokenError::Malformed)?;
    let (key, algorithms) = keys.find(kid).ok_or(TokenError::UnknownKey)?;
    if !algorithms.contains(&header.alg) {
        return Err(TokenError::Algorithm);
    }
    let mut validation = Validation::new(header.alg);
    // These would read the clock; the times are checked below with the time that was handed in.
    validation.validate_exp = false;
    validation.validate_nbf = false;
    validation.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
    validation.set_issuer(&[&issuer.issuer]);
    validation.set_audience(&[&issuer.audience]);
    let claims = decode::<Map<String, Value>>(token, key, &validation).map_err(refusal)?.claims;
    let expires_at = check_times(&claims, issuer.leeway, now)?;
    Ok(SignedIn { caller: place(&claims, issuer)?, expires_at })
}

fn refusal(error: jsonwebtoken::errors::Error) -> TokenError {
    use jsonwebtoken::errors::ErrorKind;
    match error.kind() {
        ErrorKind::InvalidSignature => TokenError::Signature,
        ErrorKind::InvalidIssuer | ErrorKind::InvalidAudience => TokenError::Audience,
        ErrorKind::InvalidAlgorithm => TokenError::Algorithm,
        _ => TokenError::Malformed,
    }
}

/// Times are numbers of seconds, whole or not (RFC 7519 section 2).
fn check_times(claims: &Map<String, Value>, leeway: Duration, now: u64) -> Result<u64, TokenError> {
    let leeway = leeway.as_secs();
    let seconds = |name: &str| match claims.get(name) {
        None => Ok(None),
        Some(value) => match value.as_f64() {
            // Beyond this a double no longer counts in seconds.
            Some(seconds) if (0.0..9e15).contains(&seconds) => Ok(Some(seconds as u64)),
            _ => Err(TokenError::Malformed),
        },
    };
    let expires_at = seconds("exp")?.ok_or(TokenError::Malformed)?;
    if expires_at + leeway <= now {
        return Err(TokenError::Expired);
    }
    for begin in [seconds("nbf")?, seconds("iat")?].into_iter().flatten() {
        if begin > now + leeway {
            return Err(TokenError::NotYetValid);
        }
    }
    Ok(expires_at)
}

fn place(claims: &Map<String, Value>, issuer: &Issuer) -> Result<Caller, TokenError> {
    let subject = claims.get("sub").and_then(Value::as_str).filter(|subject| !subject.is_empty());
    let subject = subject.ok_or(TokenError::Malformed)?;
    let claimed = issuer.team_claim.as_ref().and_then(|claim| claims.get(claim));
    let team = match claimed {
        Some(team) => {
            TeamId::new(team.as_str().ok_or(TokenError::NoPlace)?).map_err(|_| TokenError::NoPlace)?
        }
        None => issuer.default_team.clone().ok_or(TokenError::NoPlace)?,
    };
    let role = role(claims, issuer).or(issuer.default_role).ok_or(TokenError::NoPlace)?;
    let key = name_of(&issuer.issuer, subject).ok_or(TokenError::Malformed)?;
    let mut scopes: std::collections::BTreeSet<Scope> = Scope::ALL.into();
    if role == Role::Member {
        scopes.remove(&Scope::Admin);
    }
    let agent = match issuer.agent_claim.as_ref().and_then(|claim| claims.get(claim)) {
        Some(agent) => {
            let name = agent.as_str().ok_or(TokenError::NoPlace)?;
            Some(AgentId::new(name).map_err(|_| TokenError::NoPlace)?)
        }
        None => None,
    };
    let tenancy = TenantPath { organisation: issuer.organisation.clone(), team, key, agent };
    Ok(Caller { tenancy, role, scopes, is_signed_in: true })
}

fn role(claims: &Map<String, Value>, issuer: &Issuer) -> Option<Role> {
    let of = |value: &Value| value.as_str().and_then(|word| issuer.roles.get(word)).copied();
    match claims.get(issuer.role_claim.as_ref()?)? {
        Value::Array(values) => values.iter().filter_map(of).min(),
        value => of(value),
    }
}

/// An id for a subject of an issuer: subjects are names, addresses or anything else, and belong in no log.
fn name_of(issuer: &str, subject: &str) -> Option<KeyId> {
    let mut hash = Sha256::new();
    hash.update((issuer.len() as u64).to_le_bytes());
    hash.update(issuer.as_bytes());
    hash.update(subject.as_bytes());
    let hex: String = hash.finalize().iter().take(16).map(|byte| format!("{byte:02x}")).collect();
    KeyId::new(&format!("user-{hex}")).ok()
}

#[cfg(test)]
mod tests;
