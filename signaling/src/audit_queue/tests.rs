use std::sync::atomic::AtomicU64;

use serde_json::json;

use super::*;
use crate::store::tests::{TestStore, on_both_stores, postgres, sqlite};

fn decided(number: u32) -> Note {
    Note::now("default/default/web", "policy.decide", format!("model_{number}"), json!({ "policies": ["p"] }))
}

async fn subjects(store: &Store) -> Vec<String> {
    let entries = store.audit_entries(0, 10_000).await.unwrap();
    entries.into_iter().map(|row| row.entry.subject).collect()
}

on_both_stores!(what_is_handed_in_arrives_in_its_order_and_the_chain_holds);

async fn what_is_handed_in_arrives_in_its_order_and_the_chain_holds(store: TestStore) {
    let queue = AuditQueue::start(Store::clone(&store), |_| panic!("nothing is lost"));
    for number in 0..500 {
        queue.note(decided(number));
    }
    queue.finish().await;
    assert_eq!(subjects(&store).await, (0..500).map(|number| format!("model_{number}")).collect::<Vec<_>>());
    assert_eq!(store.verify_audit(None).await.unwrap().findings, []);
}

#[tokio::test]
async fn while_postgresql_is_away_entries_wait_and_nobody_else_does() {
    let mut store = postgres().await;
    let queue = AuditQueue::start(Store::clone(&store), |_| panic!("nothing is lost"));
    store.server().stop();
    for number in 0..300 {
        queue.note(decided(number));
    }
    store.server().start_again();
    let arrived = async {
        // The server may not answer yet.
        while store.audit_entries(0, 10_000).await.map_or(0, |rows| rows.len()) < 300 {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), arrived).await.unwrap();
    queue.finish().await;
    assert_eq!(subjects(&store).await.len(), 300, "each once");
    assert_eq!(store.verify_audit(None).await.unwrap().findings, []);
}

#[tokio::test]
async fn what_does_not_fit_any_more_is_lost_counted_and_said_in_the_log() {
    let store = sqlite().await;
    let counted = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&counted);
    let queue = AuditQueue::holding(2, Store::clone(&store), move |lost| {
        count.fetch_add(lost, Ordering::Relaxed);
    });
    // The writer runs on the thread of this test, so nothing is taken before the test waits.
    for number in 0..10 {
        queue.note(decided(number));
    }
    queue.finish().await;
    queue.note(decided(11));
    assert_eq!(counted.load(Ordering::Relaxed), 9, "one of them after the end");
    let entries = store.audit_entries(0, 100).await.unwrap();
    let said: Vec<_> =
        entries.iter().map(|row| (row.entry.action.as_str(), row.entry.detail.as_str())).collect();
    assert_eq!(said.len(), 3);
    assert_eq!(said[2], ("audit.lose", "{\"entries\":8}"));
}
