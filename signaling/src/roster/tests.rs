use voxgate_policy::directory::Role;
use voxgate_policy::key::{KeyError, KeyHash};
use voxgate_protocol::tenant::KeyId;

use super::memory::recall;
use super::*;
use crate::store::StorePlace;
use crate::store::tests::{deed, keys::key, postgres, sqlite, temporary_folder};

fn memory() -> KeyMemory {
    KeyMemory::new(temporary_folder("roster").join(FILE_NAME))
}

fn configured(id: &str, key: &str) -> KeyEntry {
    KeyEntry::first_run(KeyId::new(id).unwrap(), Role::Owner, KeyHash::of(key))
}

fn opens(book: &KeyBook, key: &str) -> Result<(), KeyError> {
    book.directory().authenticate(key, 1).map(drop)
}

#[test]
fn a_change_of_one_half_leaves_the_other_as_it_is() {
    let book = KeyBook::new(vec![configured("first", "vg_first")]).unwrap();
    book.set_stored(vec![configured("stored", "vg_stored")]).unwrap();
    assert_eq!(book.set_configured(vec![configured("first", "vg_other")]), Ok(1));
    assert_eq!(opens(&book, "vg_stored"), Ok(()));
    assert_eq!(opens(&book, "vg_other"), Ok(()));
    assert_eq!(opens(&book, "vg_first"), Err(KeyError::Revoked));
    assert!(book.set_stored(vec![configured("third", "vg_other")]).is_err(), "one key, two owners");
    assert_eq!(opens(&book, "vg_stored"), Ok(()), "nothing has changed");
}

#[tokio::test]
async fn a_key_made_in_the_store_opens_and_a_revoked_one_does_not() {
    let store = sqlite().await;
    let book = KeyBook::new(vec![configured("first", "vg_first")]).unwrap();
    let memory = memory();
    let mut roster =
        Roster::open(Store::clone(&store), book.clone(), memory, Duration::from_secs(10)).await.unwrap();
    assert_eq!(opens(&book, "vg_1"), Err(KeyError::Unknown));
    store.add_key(&key(1), &deed(1)).await.unwrap();
    roster.look().await.unwrap();
    assert_eq!(opens(&book, "vg_1"), Ok(()));
    store.revoke_key("key_001", &deed(2)).await.unwrap();
    roster.look().await.unwrap();
    assert_eq!(opens(&book, "vg_1"), Err(KeyError::Revoked));
    assert_eq!(opens(&book, "vg_first"), Ok(()));
}

#[tokio::test]
async fn a_store_that_is_away_for_too_long_says_so_until_it_is_back() {
    let mut store = postgres().await;
    store.add_key(&key(1), &deed(1)).await.unwrap();
    let book = KeyBook::new(Vec::new()).unwrap();
    let roster =
        Roster::open(Store::clone(&store), book.clone(), memory(), Duration::from_millis(1)).await.unwrap();
    let health = roster.health();
    let following = tokio::spawn(roster.follow());
    let becomes = async |is_away: bool| {
        let change = async {
            while health.is_away() != is_away {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), change).await.unwrap();
    };
    store.server().stop();
    becomes(true).await;
    assert_eq!(opens(&book, "vg_1"), Ok(()), "what was known is known on");
    store.server().start_again();
    becomes(false).await;
    following.abort();
}

#[tokio::test]
async fn a_start_while_the_store_is_away_uses_the_keys_that_were_last_known() {
    use std::os::unix::fs::PermissionsExt as _;
    let mut store = postgres().await;
    store.add_key(&key(1), &deed(1)).await.unwrap();
    store.add_key(&key(2), &deed(1)).await.unwrap();
    store.revoke_key("key_002", &deed(2)).await.unwrap();
    let memory = memory();
    let open = async |book: &KeyBook| {
        let named = Store::name(&store.place).unwrap();
        Roster::open(named, book.clone(), memory.clone(), Duration::from_secs(10)).await
    };
    open(&KeyBook::new(Vec::new()).unwrap()).await.unwrap();
    let StorePlace::Postgres(url) = &store.place else { panic!("another store") };
    let gone = StorePlace::Postgres(url.replace("host=", "host=/nowhere"));
    let book = KeyBook::new(Vec::new()).unwrap();
    let named = Store::name(&gone).unwrap();
    let roster = Roster::open(named, book.clone(), memory.clone(), Duration::from_secs(10)).await.unwrap();
    assert!(roster.health().is_away());
    assert_eq!(opens(&book, "vg_1"), Ok(()));
    assert_eq!(opens(&book, "vg_2"), Err(KeyError::Revoked));
    let kept = memory.path().metadata().unwrap();
    assert_eq!(kept.permissions().mode() & 0o077, 0, "for its owner only");
    let nothing_known = KeyMemory::new(temporary_folder("roster").join(FILE_NAME));
    let named = Store::name(&gone).unwrap();
    let refused = Roster::open(named, book, nothing_known, Duration::from_secs(10)).await.unwrap_err();
    assert!(matches!(refused, StoreError::Database(_)), "{refused}");
    store.server().stop();
}

#[test]
fn a_damaged_memory_is_no_memory() {
    for text in ["", "[", "{}", r#"[{"tenant":{},"role":"x"}]"#, "[{\"hash\":\"zz\"}]"] {
        assert_eq!(recall(text.as_bytes()), None, "{text}");
    }
    assert_eq!(recall(b"[]"), Some(vec![]));
}
