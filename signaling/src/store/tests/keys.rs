use voxgate_policy::directory::{Caller, KeyEntry, Role, Scope};
use voxgate_policy::key::KeyHash;
use voxgate_protocol::tenant::{KeyId, OrganisationId, TeamId, TenantPath};

use super::{TestStore, deed, on_both_stores};
use crate::store::StoreError;
use crate::store::audit::Deed;
use crate::store::keys::StoredKey;
use crate::store::request::{Done, RequestMark};
use crate::store::tenants::Team;

on_both_stores!(
    a_key_is_found_as_it_was_made_and_revoked_once,
    a_key_of_a_team_that_does_not_exist_is_refused_without_a_trace,
    no_two_keys_hash_to_the_same,
    lists_go_on_where_they_ended,
    a_request_that_comes_twice_does_its_work_once,
);

pub(crate) fn key(number: u32) -> StoredKey {
    let id = KeyId::new(&format!("key_{number:03}")).unwrap();
    let caller = Caller {
        tenancy: TenantPath { key: id, ..TenantPath::default() },
        role: Role::Operator,
        scopes: [Scope::Calls, Scope::Admin].into(),
        is_signed_in: false,
    };
    let hash = KeyHash::of(&format!("vg_{number}"));
    let expires_at = number.is_multiple_of(2).then_some(9_000_000_000);
    let entry = KeyEntry { hash, caller, expires_at, is_revoked: false };
    StoredKey { entry, name: format!("number {number}"), created_at: 1_000, revoked_at: None }
}

fn of_team(number: u32, organisation: &str, team: &str) -> StoredKey {
    let mut key = key(number);
    key.entry.caller.tenancy.organisation = OrganisationId::new(organisation).unwrap();
    key.entry.caller.tenancy.team = TeamId::new(team).unwrap();
    key
}

async fn a_key_is_found_as_it_was_made_and_revoked_once(store: TestStore) {
    store.add_key(&key(1), &deed(1_000)).await.unwrap();
    store.add_key(&key(2), &deed(1_000)).await.unwrap();
    assert_eq!(store.keys("", 10).await.unwrap(), [key(1), key(2)]);
    assert_eq!(store.revoke_key("key_001", &deed(5_000)).await.unwrap(), Done::Now);
    let again = store.revoke_key("key_001", &deed(6_000)).await.unwrap();
    assert_eq!(again, Done::Before("key_001".to_owned()));
    let found = store.keys("", 10).await.unwrap();
    assert_eq!(found[0].revoked_at, Some(5_000));
    assert!(found[0].entry.is_revoked && !found[1].entry.is_revoked);
    assert_eq!(store.changes().await.unwrap(), 3, "the second revocation changed nothing");
    let error = store.revoke_key("key_999", &deed(1)).await.unwrap_err();
    assert_eq!(error.to_string(), "there is no key \"key_999\"");
}

async fn a_key_of_a_team_that_does_not_exist_is_refused_without_a_trace(store: TestStore) {
    for stray in [of_team(1, "default", "nowhere"), of_team(1, "nowhere", "default")] {
        let error = store.add_key(&stray, &deed(1)).await.unwrap_err();
        assert!(matches!(error, StoreError::NotFound { what: "team", .. }), "{error}");
    }
    let stray = Team {
        id: "team_1".to_owned(),
        organisation_id: "nowhere".to_owned(),
        name: String::new(),
        created_at: 0,
    };
    let error = store.add_team(&stray, &deed(1)).await.unwrap_err();
    assert!(matches!(error, StoreError::NotFound { what: "organisation", .. }), "{error}");
    assert_eq!(store.changes().await.unwrap(), 0);
    assert_eq!(store.keys("", 10).await.unwrap(), []);
    assert_eq!(store.teams("", 10).await.unwrap().len(), 1);
}

async fn no_two_keys_hash_to_the_same(store: TestStore) {
    store.add_key(&key(1), &deed(1)).await.unwrap();
    let mut twin = key(2);
    twin.entry.hash = key(1).entry.hash;
    assert!(store.add_key(&twin, &deed(1)).await.is_err());
    assert_eq!(store.changes().await.unwrap(), 1, "what was refused is not in the audit log");
}

async fn lists_go_on_where_they_ended(store: TestStore) {
    for number in 0..7 {
        store.add_key(&key(number), &deed(1)).await.unwrap();
    }
    let (mut seen, mut after) = (Vec::new(), String::new());
    loop {
        let page = store.keys(&after, 3).await.unwrap();
        let Some(last) = page.last() else { break };
        after = last.id().to_owned();
        seen.extend(page);
    }
    assert_eq!(seen, (0..7).map(key).collect::<Vec<_>>());
}

async fn a_request_that_comes_twice_does_its_work_once(store: TestStore) {
    let asks = |request: &str, fingerprint: &str| Deed {
        request: Some(RequestMark { request: request.to_owned(), fingerprint: fingerprint.to_owned() }),
        ..deed(1)
    };
    assert_eq!(store.add_key(&key(1), &asks("r1", "f1")).await.unwrap(), Done::Now);
    // The same request names another id: it cannot know the one it made.
    let again = store.add_key(&key(2), &asks("r1", "f1")).await.unwrap();
    assert_eq!(again, Done::Before("key_001".to_owned()));
    let other = store.add_key(&key(2), &asks("r1", "f2")).await.unwrap_err();
    assert!(matches!(other, StoreError::OtherRequest), "{other}");
    assert_eq!(store.keys("", 10).await.unwrap(), [key(1)]);
    // What failed may be tried again under the same key.
    let stray = of_team(3, "default", "nowhere");
    assert!(store.add_key(&stray, &asks("r2", "f")).await.is_err());
    assert_eq!(store.add_key(&key(3), &asks("r2", "f")).await.unwrap(), Done::Now);
    let (four, five) = (key(4), key(5));
    let (mark, same) = (asks("r3", "f"), asks("r3", "f"));
    let both = tokio::join!(store.add_key(&four, &mark), store.add_key(&five, &same));
    let done = [both.0.unwrap(), both.1.unwrap()];
    assert_eq!(done.iter().filter(|done| **done == Done::Now).count(), 1, "{done:?}");
    assert_eq!(store.keys("", 10).await.unwrap().len(), 3);
}
