use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};

use voxgate_policy::directory::Role;
use voxgate_protocol::tenant::OrganisationId;

use super::*;

/// Signed by the key of `RSA_KEYS`, good from 1 000 000 to 1 000 600.
const TOKEN: &str = include_str!("../../../policy/corpus/tokens/rs256.jwt");
const RSA_KEYS: &str = include_str!("../../../policy/corpus/key-sets/rsa.json");
/// Keys of which none has signed the token.
const OTHER_KEYS: &str = r#"{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"other","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#;
const NOW: u64 = 1_000_300;

fn issuer() -> Issuer {
    Issuer {
        issuer: "https://id.example".to_owned(),
        audience: "voxgate".to_owned(),
        leeway: Duration::from_secs(60),
        organisation: OrganisationId::new("acme").unwrap(),
        team_claim: Some("team".to_owned()),
        default_team: None,
        role_claim: None,
        roles: std::collections::BTreeMap::new(),
        default_role: Some(Role::Member),
        agent_claim: None,
    }
}

/// A provider that answers with these texts, one after the other, the last one again and again.
fn sign_in(answers: &[Result<&str, &str>]) -> (SignIn, Arc<AtomicUsize>) {
    let asked = Arc::new(AtomicUsize::new(0));
    let (counted, answers) = (Arc::clone(&asked), Arc::new(Mutex::new(owned(answers))));
    let fetch: FetchKeys = Arc::new(move || {
        counted.fetch_add(1, Ordering::SeqCst);
        let mut answers = answers.lock().unwrap();
        let answer = if answers.len() > 1 { answers.pop_front() } else { answers.front().cloned() };
        Box::pin(async move { answer.unwrap() })
    });
    let provider = IdentityProvider { issuer: issuer(), bounds_sessions: true, fetch };
    (SignIn::new(vec![provider]), asked)
}

fn owned(answers: &[Result<&str, &str>]) -> VecDeque<Result<String, FetchError>> {
    let own = |answer: &Result<&str, &str>| match answer {
        Ok(text) => Ok((*text).to_owned()),
        Err(reason) => Err(FetchError((*reason).to_owned())),
    };
    answers.iter().map(own).collect()
}

#[tokio::test]
async fn a_token_with_an_unknown_key_asks_for_the_keys_once() {
    let (sign_in, asked) = sign_in(&[Ok(OTHER_KEYS), Ok(RSA_KEYS)]);
    assert_eq!(sign_in.verify(TOKEN, NOW), Some(Err(TokenError::UnknownKey)));
    for _ in 0..50 {
        sign_in.prepare(Some(TOKEN)).await;
    }
    assert_eq!(asked.load(Ordering::SeqCst), 1, "not again within half a minute");
    assert_eq!(sign_in.verify(TOKEN, NOW), Some(Err(TokenError::UnknownKey)));
    // The clockwork asks too, whatever tokens come in.
    assert!(sign_in.providers[0].fetch().await);
    let visitor = sign_in.verify(TOKEN, NOW).unwrap().unwrap();
    assert_eq!(visitor.until, Some(1_000_660), "clocks may differ by a minute");
    assert_eq!(visitor.caller.tenancy.team.as_str(), "red");
    sign_in.prepare(Some(TOKEN)).await;
    assert_eq!(asked.load(Ordering::SeqCst), 2, "a key that is known needs no question");
}

#[tokio::test]
async fn keys_that_cannot_be_fetched_leave_those_that_were() {
    let (sign_in, _) = sign_in(&[Ok(RSA_KEYS), Err("connection refused"), Ok("no keys")]);
    let known = &sign_in.providers[0];
    assert!(known.fetch().await);
    for _ in 0..2 {
        assert!(!known.fetch().await);
        assert!(sign_in.verify(TOKEN, NOW).unwrap().is_ok());
    }
}

#[tokio::test]
async fn tokens_that_come_together_share_one_question() {
    let (sign_in, asked) = sign_in(&[Ok(RSA_KEYS)]);
    join_all((0..20).map(|_| sign_in.prepare(Some(TOKEN)))).await;
    assert_eq!(asked.load(Ordering::SeqCst), 1);
    assert!(sign_in.verify(TOKEN, NOW).unwrap().is_ok());
}

#[tokio::test]
async fn somebody_keeps_their_index_and_is_known_as_long_as_their_token_is_good() {
    let (sign_in, _) = sign_in(&[Ok(RSA_KEYS)]);
    sign_in.prepare(Some(TOKEN)).await;
    let visitor = sign_in.verify(TOKEN, NOW).unwrap().unwrap();
    assert_eq!(sign_in.verify(TOKEN, NOW + 1).unwrap().unwrap().key, visitor.key);
    assert_eq!(sign_in.valid(visitor.key, 1_000_599), Some(Ok(visitor.clone())));
    assert_eq!(sign_in.valid(visitor.key, 1_000_600), Some(Err(KeyError::Expired)));
    assert_eq!(sign_in.valid(KeyIndex(visitor.key.0 + 1), NOW), Some(Err(KeyError::Unknown)));
    assert_eq!(sign_in.valid(KeyIndex(3), NOW), None, "a key of the configuration");
}

#[tokio::test]
async fn what_is_no_token_of_a_known_provider_is_left_to_the_keys() {
    let (sign_in, asked) = sign_in(&[Ok(RSA_KEYS)]);
    for credential in ["vg_key", "ek_00", "a.b.c", "", "eyJhbGciOiJub25lIn0.eyJpc3MiOiJldmlsIn0."] {
        sign_in.prepare(Some(credential)).await;
        assert_eq!(sign_in.verify(credential, NOW), None, "{credential}");
    }
    assert_eq!(asked.load(Ordering::SeqCst), 0);
}

#[test]
fn the_book_of_people_never_outgrows_its_limit() {
    let mut people = People::default();
    let mut caller = Caller::default();
    let mut last = None;
    for number in 0..MAX_PEOPLE as u64 + 10 {
        caller.tenancy.key = voxgate_protocol::tenant::KeyId::new(&format!("user-{number}")).unwrap();
        let signed_in = SignedIn { caller: caller.clone(), expires_at: 1_000 + number };
        let key = people.note(signed_in, None, 1_005).key;
        assert!(last < Some(key), "no index is given twice");
        last = Some(key);
    }
    assert!(people.by_key.len() <= MAX_PEOPLE && people.by_place.len() <= MAX_PEOPLE);
}
