#![no_main]
//! A token against published keys. The first line is the JWKS, the rest the token. Corpora: policy/corpus/tokens,
//! policy/corpus/key-sets.
use std::time::Duration;

use voxgate_policy::token::{Issuer, KeySet, claimed_issuer, names_key_of, verify};
use voxgate_protocol::tenant::{OrganisationId, TeamId};

const KEYS: &str = include_str!("../../policy/corpus/key-sets/rsa.json");

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let text = String::from_utf8_lossy(data);
    let issuer = Issuer {
        issuer: "https://id.example".to_owned(),
        audience: "voxgate".to_owned(),
        leeway: Duration::ZERO,
        organisation: OrganisationId::default(),
        team_claim: None,
        default_team: Some(TeamId::default()),
        role_claim: None,
        roles: [].into(),
        default_role: None,
        agent_claim: Some("agent".to_owned()),
    };
    let (first, rest) = text.split_once('\n').unwrap_or(("", &text));
    let _ = claimed_issuer(rest);
    if let Ok(keys) = KeySet::parse(first) {
        let _ = names_key_of(rest, &keys);
        let _ = verify(rest, &issuer, &keys, 1_000_300);
    }
    if let Ok(keys) = KeySet::parse(KEYS) {
        // Nothing gives a role, so even a token that is signed gets nobody in.
        assert!(verify(rest, &issuer, &keys, 1_000_300).is_err());
    }
});
