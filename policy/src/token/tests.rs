use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair,
    KeyPair as _,
};
use serde_json::json;

use super::*;

const NOW: u64 = 1_000_300;
const LEEWAY: u64 = 60;

fn issuer() -> Issuer {
    Issuer {
        issuer: "https://id.example".to_owned(),
        audience: "voxgate".to_owned(),
        leeway: Duration::from_secs(LEEWAY),
        organisation: OrganisationId::new("acme").unwrap(),
        team_claim: Some("team".to_owned()),
        default_team: None,
        role_claim: Some("groups".to_owned()),
        roles: [
            ("voxgate-operators".to_owned(), Role::Operator),
            ("voxgate-auditors".to_owned(), Role::Auditor),
        ]
        .into(),
        default_role: Some(Role::Member),
        agent_claim: Some("agent".to_owned()),
    }
}

fn claims() -> Value {
    json!({
        "iss": "https://id.example", "aud": ["other", "voxgate"], "sub": "alice@example.com",
        "exp": 1_000_600, "nbf": 1_000_000, "iat": 1_000_000, "team": "red",
    })
}

/// A provider that signs with Ed25519.
struct Provider {
    pair: Ed25519KeyPair,
    kid: &'static str,
}

impl Provider {
    fn new(kid: &'static str, seed: u8) -> Self {
        Self { pair: Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).unwrap(), kid }
    }

    fn jwk(&self) -> Value {
        json!({"kty": "OKP", "crv": "Ed25519", "use": "sig", "kid": self.kid,
            "x": BASE64.encode(self.pair.public_key().as_ref())})
    }

    fn keys(&self) -> KeySet {
        KeySet::parse(&json!({"keys": [self.jwk()]}).to_string()).unwrap()
    }

    fn header(&self) -> Value {
        json!({"alg": "EdDSA", "typ": "JWT", "kid": self.kid})
    }

    fn sign(&self, header: &Value, claims: &Value) -> String {
        let signed = unsigned(header, claims);
        let signature = BASE64.encode(self.pair.sign(signed.as_bytes()).as_ref());
        format!("{signed}.{signature}")
    }

    fn check(&self, claims: &Value) -> Result<SignedIn, TokenError> {
        verify(&self.sign(&self.header(), claims), &issuer(), &self.keys(), NOW)
    }
}

fn unsigned(header: &Value, claims: &Value) -> String {
    format!("{}.{}", BASE64.encode(header.to_string()), BASE64.encode(claims.to_string()))
}

fn with(name: &str, value: Value) -> Value {
    let mut claims = claims();
    claims[name] = value;
    claims
}

#[test]
fn a_token_of_a_real_rsa_signer_gives_its_holder_a_place() {
    let keys = KeySet::parse(include_str!("../../corpus/key-sets/rsa.json")).unwrap();
    let token = include_str!("../../corpus/tokens/rs256.jwt");
    let signed_in = verify(token, &issuer(), &keys, NOW).unwrap();
    let caller = signed_in.caller;
    assert_eq!(caller.tenancy.organisation.as_str(), "acme");
    assert_eq!(caller.tenancy.team.as_str(), "red");
    assert_eq!(caller.role, Role::Operator);
    assert!(caller.is_signed_in && caller.scopes.contains(&Scope::Admin));
    assert_eq!(signed_in.expires_at, 1_000_600);
    assert_eq!(claimed_issuer(token).as_deref(), Some("https://id.example"));
    let mut changed = token.to_owned();
    let last = changed.len() - 2;
    let other = if changed.as_bytes()[last] == b'A' { "B" } else { "A" };
    changed.replace_range(last..=last, other);
    assert_eq!(verify(&changed, &issuer(), &keys, NOW), Err(TokenError::Signature));
}

#[test]
fn both_elliptic_curves_verify_and_are_not_taken_for_each_other() {
    for (algorithm, curve, scheme) in [
        ("ES256", "P-256", &ECDSA_P256_SHA256_FIXED_SIGNING),
        ("ES384", "P-384", &ECDSA_P384_SHA384_FIXED_SIGNING),
    ] {
        let random = SystemRandom::new();
        let document = EcdsaKeyPair::generate_pkcs8(scheme, &random).unwrap();
        let pair = EcdsaKeyPair::from_pkcs8(scheme, document.as_ref(), &random).unwrap();
        let point = &pair.public_key().as_ref()[1..];
        let (x, y) = point.split_at(point.len() / 2);
        let jwk =
            json!({"kty": "EC", "crv": curve, "kid": "ec", "x": BASE64.encode(x), "y": BASE64.encode(y)});
        let keys = KeySet::parse(&json!({"keys": [jwk]}).to_string()).unwrap();
        let token = |algorithm: &str| {
            let signed = unsigned(&json!({"alg": algorithm, "kid": "ec"}), &claims());
            let signature = pair.sign(&random, signed.as_bytes()).unwrap();
            format!("{signed}.{}", BASE64.encode(signature.as_ref()))
        };
        assert!(verify(&token(algorithm), &issuer(), &keys, NOW).is_ok(), "{algorithm}");
        let other = if algorithm == "ES256" { "ES384" } else { "ES256" };
        assert_eq!(verify(&token(other), &issuer(), &keys, NOW), Err(TokenError::Algorithm));
    }
}

#[test]
fn the_token_does_not_choose_how_it_is_checked() {
    let provider = Provider::new("one", 1);
    for algorithm in ["none", "HS256", "PS256", "RS256", "ES256", "XX"] {
        let token = provider.sign(&json!({"alg": algorithm, "kid": "one"}), &claims());
        let refused = verify(&token, &issuer(), &provider.keys(), NOW).unwrap_err();
        assert!(matches!(refused, TokenError::Algorithm | TokenError::Malformed), "{algorithm}: {refused:?}");
    }
    let unsigned = format!("{}.", unsigned(&json!({"alg": "EdDSA", "kid": "one"}), &claims()));
    assert_eq!(verify(&unsigned, &issuer(), &provider.keys(), NOW), Err(TokenError::Signature));
    let critical = json!({"alg": "EdDSA", "kid": "one", "crit": ["b64"], "b64": false});
    let token = provider.sign(&critical, &claims());
    assert_eq!(verify(&token, &issuer(), &provider.keys(), NOW), Err(TokenError::Malformed));
    let own_key = json!({"alg": "EdDSA", "kid": "one", "jwk": Provider::new("one", 2).jwk()});
    let token = Provider::new("one", 2).sign(&own_key, &claims());
    assert_eq!(verify(&token, &issuer(), &provider.keys(), NOW), Err(TokenError::Signature));
}

#[test]
fn a_token_counts_between_its_times_give_or_take_the_leeway() {
    let provider = Provider::new("one", 1);
    let token = provider.sign(&provider.header(), &claims());
    let at = |now| verify(&token, &issuer(), &provider.keys(), now).map(drop);
    assert_eq!(at(1_000_000 - LEEWAY - 1), Err(TokenError::NotYetValid));
    assert_eq!(at(1_000_000 - LEEWAY), Ok(()));
    assert_eq!(at(1_000_600 + LEEWAY - 1), Ok(()));
    assert_eq!(at(1_000_600 + LEEWAY), Err(TokenError::Expired));
    for (name, wrong) in
        [("exp", json!("soon")), ("exp", json!(-1)), ("nbf", json!([])), ("exp", json!(1e300))]
    {
        assert_eq!(provider.check(&with(name, wrong)), Err(TokenError::Malformed), "{name}");
    }
}

#[test]
fn a_token_of_another_provider_or_for_somebody_else_is_refused() {
    let provider = Provider::new("one", 1);
    for (name, wrong) in [
        ("iss", json!("https://id.example.evil")),
        ("iss", json!("https://id.example/")),
        ("aud", json!("other")),
        ("aud", json!([])),
    ] {
        let refused = provider.check(&with(name, wrong)).unwrap_err();
        assert!(matches!(refused, TokenError::Audience | TokenError::Malformed), "{name}: {refused:?}");
    }
    for name in ["iss", "aud", "sub", "exp"] {
        let mut claims = claims();
        claims.as_object_mut().unwrap().remove(name);
        assert!(provider.check(&claims).is_err(), "{name}");
    }
}

#[test]
fn claims_are_mapped_and_nobody_lands_where_the_provider_may_not_speak() {
    let provider = Provider::new("one", 1);
    let caller = |name: &str, value: Value| provider.check(&with(name, value)).map(|in_| in_.caller);
    let member = caller("groups", json!("staff")).unwrap();
    assert_eq!(member.role, Role::Member);
    assert!(!member.scopes.contains(&Scope::Admin));
    let both = caller("groups", json!(["voxgate-auditors", 5, "voxgate-operators"])).unwrap();
    assert_eq!(both.role, Role::Operator, "the more powerful of two");
    assert_eq!(caller("organisation", json!("other")).unwrap().tenancy.organisation.as_str(), "acme");
    for wrong in [json!("../blue"), json!(""), json!(5), json!(null)] {
        assert_eq!(caller("team", wrong), Err(TokenError::NoPlace));
    }
    assert_eq!(caller("agent", json!("reception")).unwrap().tenancy.agent.unwrap().as_str(), "reception");
    assert_eq!(
        caller("agent", json!("a/b")),
        Err(TokenError::NoPlace),
        "a narrow token never becomes a wide one"
    );
    let same = provider.check(&claims()).unwrap().caller.tenancy.key;
    assert_eq!(member.tenancy.key, same, "the same subject has the same name");
    assert!(!same.as_str().contains("alice"));
    assert_ne!(caller("sub", json!("bob")).unwrap().tenancy.key, same);
}

#[test]
fn a_rotated_key_is_unknown_until_the_keys_are_read_again() {
    let (old, new) = (Provider::new("one", 1), Provider::new("two", 2));
    let token = new.sign(&new.header(), &claims());
    assert_eq!(verify(&token, &issuer(), &old.keys(), NOW), Err(TokenError::UnknownKey));
    let both = KeySet::parse(&json!({"keys": [old.jwk(), new.jwk()]}).to_string()).unwrap();
    assert!(verify(&token, &issuer(), &both, NOW).is_ok());
    assert!(names_key_of(&token, &both) && !names_key_of(&token, &old.keys()));
    assert!(names_key_of("no token", &both), "nothing to ask for");
    let mut refresh = Refresh::default();
    let at = Duration::from_secs;
    assert_eq!([0, 1, 29, 30, 31].map(|second| refresh.take(at(second))), [true, false, false, true, false]);
}

#[test]
fn keys_for_other_uses_are_left_out_and_a_set_without_any_is_refused() {
    let mut key = Provider::new("one", 1).jwk();
    key["use"] = json!("enc");
    let none = json!({"keys": [key, {"kty": "oct", "kid": "s", "k": "c2VjcmV0"}, {"kty": "odd"}, 5]});
    assert_eq!(KeySet::parse(&none.to_string()).unwrap_err(), TokenError::MalformedKeys);
    for wrong in ["", "[]", "{}", "{\"keys\": 5}", &" ".repeat(300 * 1024)] {
        assert_eq!(KeySet::parse(wrong).unwrap_err(), TokenError::MalformedKeys);
    }
}
