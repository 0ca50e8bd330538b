use voxgate_policy::bundle::Bundle;
use voxgate_protocol::revision::RevisionName;

use super::{TestStore, deed, on_both_stores};
use crate::admin::revisions::{Origin, RevisionFacts};
use crate::store::StoreError;
use crate::store::revisions::Added;

on_both_stores!(
    a_revision_is_found_as_it_was_put_in_force,
    what_could_not_be_put_in_force_leaves_no_trace,
    the_way_back_leads_to_the_last_one_that_held_something_else,
    revisions_that_come_at_once_get_numbers_of_their_own,
    a_revision_that_was_changed_in_the_store_is_refused,
);

fn bundle(text: &str) -> Bundle {
    let files = [("rules.cedar".to_owned(), format!("// {text} é\n"))];
    Bundle::new(text.to_owned(), files.into()).unwrap()
}

async fn add(store: &TestStore, text: &str, at: i64) -> RevisionFacts {
    let added =
        store.add_revision(&bundle(text), Origin::Apply, &deed(at), |_| Ok::<(), ()>(())).await.unwrap();
    match added {
        Added::Recorded(facts) => facts,
        other => panic!("{other:?}"),
    }
}

async fn a_revision_is_found_as_it_was_put_in_force(store: TestStore) {
    let first = add(&store, "one", 1_000).await;
    let second = add(&store, "two", 2_000).await;
    assert_eq!((first.number, second.number), (1, 2));
    assert_eq!(second.hash, bundle("two").hash());
    assert_eq!(store.revision(1).await.unwrap(), Some((first.clone(), bundle("one"))));
    assert_eq!(store.revision(7).await.unwrap(), None);
    assert_eq!(store.revisions(None, 10).await.unwrap(), [second.clone(), first.clone()]);
    assert_eq!(store.revisions(Some(2), 10).await.unwrap(), [first]);
    assert_eq!(store.revisions(None, 1).await.unwrap(), [second]);
    let audit = store.audit_entries(0, 10).await.unwrap();
    let told: Vec<_> =
        audit.iter().map(|row| (row.entry.action.as_str(), row.entry.subject.as_str())).collect();
    assert_eq!(told, [("configuration.apply", "1"), ("configuration.apply", "2")]);
    assert!(!audit[0].entry.detail.contains("one"), "what it holds stands in one place only");
}

async fn what_could_not_be_put_in_force_leaves_no_trace(store: TestStore) {
    let refused = store.add_revision(&bundle("one"), Origin::Apply, &deed(1), |_| Err("no")).await.unwrap();
    assert!(matches!(refused, Added::Refused("no")), "{refused:?}");
    assert_eq!(store.revisions(None, 10).await.unwrap(), []);
    assert_eq!(store.changes().await.unwrap(), 0);
    assert_eq!(add(&store, "two", 2).await.number, 1, "its number was not used up");
}

async fn the_way_back_leads_to_the_last_one_that_held_something_else(store: TestStore) {
    for (text, at) in [("one", 1), ("two", 2), ("two", 3)] {
        add(&store, text, at).await;
    }
    let before = |number, text| store.revision_before(RevisionName { number, hash: bundle(text).hash() });
    assert_eq!(before(3, "two").await.unwrap(), Some(1));
    assert_eq!(before(2, "two").await.unwrap(), Some(1));
    assert_eq!(before(1, "one").await.unwrap(), None);
    assert_eq!(
        before(0, "three").await.unwrap(),
        Some(3),
        "what the store does not know follows all it knows"
    );
}

async fn revisions_that_come_at_once_get_numbers_of_their_own(store: TestStore) {
    let several = (0..8).map(|number| {
        let store = store.store.clone();
        tokio::spawn(async move {
            let bundle = bundle(&format!("number {number}"));
            store.add_revision(&bundle, Origin::Reload, &deed(1), |_| Ok::<(), ()>(())).await
        })
    });
    let mut added = Vec::new();
    for task in several.collect::<Vec<_>>() {
        match task.await.unwrap().unwrap() {
            Added::Recorded(facts) => added.push(facts.number),
            other => panic!("{other:?}"),
        }
    }
    added.sort_unstable();
    assert_eq!(added, (1..=8).collect::<Vec<_>>());
}

async fn a_revision_that_was_changed_in_the_store_is_refused(store: TestStore) {
    add(&store, "one", 1).await;
    store.tamper("UPDATE config_revisions SET bundle = '{\"configuration\": \"other\"}'").await;
    let error = store.revision(1).await.unwrap_err();
    assert!(matches!(error, StoreError::Damaged { what: "configuration" }), "{error}");
}
