//! Whose tokens are believed.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use reqwest::Url;
use serde::{Deserialize, Serialize};
use voxgate_policy::directory::Role;
use voxgate_policy::token::Issuer;
use voxgate_protocol::tenant::{OrganisationId, TeamId};

use crate::published_keys::{TrustedIssuer, is_trustworthy};

/// How far a provider's clock may be from ours: above, tokens live noticeably longer than their provider says.
const LONGEST_LEEWAY: Duration = Duration::from_mins(5);

/// Who may call besides the holders of keys.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Identity {
    /// Identity providers (OpenID Connect or any that signs JWTs with published keys), each for one organisation. A token is
    /// presented as a bearer token, as a key is. Default: none.
    jwt: Vec<JwtIssuer>,
}

/// An identity provider and what its word counts for.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct JwtIssuer {
    /// Its name: the `iss` of its tokens, compared exactly.
    issuer: String,
    /// Whom its tokens have to be for: one of their `aud`.
    audience: String,
    /// Address of its keys (JWKS), `https`, or `http` on this machine. Default: where its metadata says, at
    /// `/.well-known/openid-configuration` below the issuer.
    jwks_url: Option<String>,
    /// File with PEM certificates of authorities to trust for that address beside the public ones. Default: none.
    ca_file: Option<PathBuf>,
    /// The organisation its people belong to. Fixed here, so that no provider can speak for another's organisation.
    organisation: String,
    /// The claim with the team's id. Default: none, everybody is of `default_team`.
    team_claim: Option<String>,
    /// The team of tokens that name none. Default: they are refused.
    default_team: Option<String>,
    /// The claim with roles or groups, a text or a list of texts. Default: none, everybody has `default_role`.
    role_claim: Option<String>,
    /// What each value of that claim makes its holder: `owner`, `operator`, `auditor` or `member`; of several the most
    /// powerful counts. Default: none.
    #[serde(default)]
    roles: BTreeMap<String, String>,
    /// The role of whoever has none of these. Default: they are refused.
    default_role: Option<String>,
    /// The claim with the agent a token is narrowed to. Default: none.
    agent_claim: Option<String>,
    /// How far its clock may be from ours, up to 5 min. Default 30 s.
    #[serde(with = "humantime_serde", default = "default_leeway")]
    leeway: Duration,
    /// Whether a session ends when the token does that began it. Default true: a token cannot be taken back, so its end
    /// is the only one its provider can set.
    #[serde(default = "default_true")]
    sessions_end_with_token: bool,
}

const fn default_leeway() -> Duration {
    Duration::from_secs(30)
}

const fn default_true() -> bool {
    true
}

pub(super) fn check(written: &Identity, problems: &mut Vec<String>) -> Vec<TrustedIssuer> {
    let mut trusted: Vec<TrustedIssuer> = Vec::new();
    for (index, written) in written.jwt.iter().enumerate() {
        let place = format!("identity.jwt[{index}]");
        if trusted.iter().any(|known| known.issuer.issuer == written.issuer) {
            problems.push(format!("{place}.issuer is given twice"));
        }
        trusted.extend(check_issuer(&place, written, problems));
    }
    trusted
}

fn check_issuer(place: &str, written: &JwtIssuer, problems: &mut Vec<String>) -> Option<TrustedIssuer> {
    let before = problems.len();
    let jwks_url = check_address(place, written, problems);
    for (name, text) in [("issuer", &written.issuer), ("audience", &written.audience)] {
        if text.is_empty() {
            problems.push(format!("{place}.{name} is empty"));
        }
    }
    if written.team_claim.is_none() && written.default_team.is_none() {
        problems.push(format!("{place} needs a team_claim or a default_team; otherwise nobody has a team"));
    }
    if written.role_claim.is_none() && written.default_role.is_none() {
        problems.push(format!("{place} needs a role_claim or a default_role; otherwise nobody has a role"));
    }
    if written.role_claim.is_none() && !written.roles.is_empty() {
        problems.push(format!("{place}.roles means nothing without a role_claim"));
    }
    if written.leeway > LONGEST_LEEWAY {
        problems.push(format!("{place}.leeway must be at most 5m"));
    }
    let organisation = OrganisationId::new(&written.organisation)
        .map_err(|error| problems.push(format!("{place}.organisation: {error}")));
    let default_team = written.default_team.as_deref().map(|team| {
        TeamId::new(team).map_err(|error| problems.push(format!("{place}.default_team: {error}"))).ok()
    });
    let mut role = |name: &str, word: &str| {
        let role = Role::from_word(word);
        if role.is_none() {
            problems.push(format!("{place}.{name}: {word:?} is not one of owner, operator, auditor, member"));
        }
        role
    };
    let roles = written.roles.iter().filter_map(|(value, word)| Some((value.clone(), role("roles", word)?)));
    let roles = roles.collect();
    let default_role = written.default_role.as_deref().map(|word| role("default_role", word));
    if problems.len() > before {
        return None;
    }
    let issuer = Issuer {
        issuer: written.issuer.clone(),
        audience: written.audience.clone(),
        leeway: written.leeway,
        organisation: organisation.ok()?,
        team_claim: written.team_claim.clone(),
        default_team: default_team.flatten(),
        role_claim: written.role_claim.clone(),
        roles,
        default_role: default_role.flatten(),
        agent_claim: written.agent_claim.clone(),
    };
    Some(TrustedIssuer {
        issuer,
        jwks_url,
        ca_file: written.ca_file.clone(),
        bounds_sessions: written.sessions_end_with_token,
    })
}

/// The address of the keys, if it is given.
fn check_address(place: &str, written: &JwtIssuer, problems: &mut Vec<String>) -> Option<Url> {
    let address = written.jwks_url.as_ref().unwrap_or(&written.issuer);
    let address = Url::parse(address).ok().filter(is_trustworthy);
    if address.is_none() {
        problems.push(format!(
            "{place} needs a jwks_url that begins with https://, or http:// on this machine; without one the issuer has to be \
             such an address"
        ));
    }
    address.filter(|_| written.jwks_url.is_some())
}

#[cfg(test)]
mod tests {
    use super::super::{ConfigError, check as check_all, parse};

    fn problems(text: &str) -> Vec<String> {
        match check_all(&parse(text).unwrap(), &|_| None) {
            Ok(_) => Vec::new(),
            Err(ConfigError::Problems(problems)) => problems,
            Err(other) => panic!("{other}"),
        }
    }

    #[test]
    fn a_provider_is_told_apart_by_its_issuer_and_brings_everybody_a_place() {
        let text = "
identity:
  jwt:
    - { issuer: 'https://id.example', audience: voxgate, organisation: acme, default_team: red, default_role: member }
    - issuer: login
      audience: voxgate
      jwks_url: 'http://127.0.0.1:9/keys'
      organisation: acme
      team_claim: team
      role_claim: groups
      roles: { staff: operator }
";
        let checked = check_all(&parse(text).unwrap(), &|_| None).unwrap();
        let [first, second] = &checked.issuers[..] else { panic!("{:?}", checked.issuers) };
        assert!(first.jwks_url.is_none() && first.bounds_sessions);
        assert_eq!(second.issuer.roles.len(), 1);
    }

    #[test]
    fn what_would_let_in_nobody_or_anybody_is_reported() {
        let text = "
identity:
  jwt:
    - { issuer: 'http://id.example', audience: '', organisation: 'a/b', leeway: 1h, roles: { staff: king } }
    - { issuer: 'https://id.example', audience: v, organisation: o, default_team: t, default_role: king }
    - { issuer: 'https://id.other', audience: v, organisation: o, default_team: t, default_role: member }
    - { issuer: 'https://id.other', audience: v, organisation: o, default_team: t, default_role: member }
";
        let found = problems(text);
        assert_eq!(found.len(), 10, "{found:#?}");
    }
}
