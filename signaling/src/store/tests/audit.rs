use serde_json::json;
use voxgate_policy::audit::{Finding, Head};

use super::{TestStore, deed, on_both_stores};
use crate::store::Store;

on_both_stores!(
    an_untouched_log_verifies_and_ends_at_its_head,
    a_changed_row_is_named,
    a_row_with_a_forged_hash_is_named,
    a_removed_row_is_named,
    the_removal_of_the_last_row_is_noticed,
    an_inserted_row_is_named,
    a_rewritten_log_misses_the_head_kept_elsewhere,
    two_that_append_at_once_make_one_chain,
);

/// Enough rows for more than one page of the verification.
const ROWS: i64 = 1_003;

async fn fill(store: &Store, rows: i64) {
    for number in 1..=rows {
        store.note(&deed(number), "test.note", &format!("thing_{number}"), &json!({})).await.unwrap();
    }
}

async fn findings(store: &Store) -> Vec<Finding> {
    store.verify_audit(None).await.unwrap().findings
}

async fn an_untouched_log_verifies_and_ends_at_its_head(store: TestStore) {
    let empty = store.verify_audit(None).await.unwrap();
    assert_eq!((empty.rows, empty.head, empty.findings), (0, Head::EMPTY, vec![]));
    fill(&store, ROWS).await;
    let full = store.verify_audit(None).await.unwrap();
    assert_eq!((full.rows as i64, full.head.sequence, full.findings), (ROWS, ROWS, vec![]));
    let entries = store.audit_entries(2, 2).await.unwrap();
    assert_eq!(entries.iter().map(|row| row.sequence).collect::<Vec<_>>(), [3, 4]);
    assert_eq!(entries[0].entry.subject, "thing_3");
}

async fn a_changed_row_is_named(store: TestStore) {
    fill(&store, 5).await;
    store.tamper("UPDATE audit_log SET actor = 'nobody' WHERE sequence = 3").await;
    assert_eq!(findings(&store).await, [Finding::Changed(3)]);
    store.tamper("UPDATE audit_log SET hash = 'not a hash' WHERE sequence = 5").await;
    assert_eq!(findings(&store).await, [Finding::Changed(3), Finding::Changed(5), Finding::HeadDiffers(5)]);
}

async fn a_row_with_a_forged_hash_is_named(store: TestStore) {
    fill(&store, 5).await;
    let row = store.audit_entries(2, 1).await.unwrap().remove(0);
    let mut forged = row.entry;
    forged.subject = "something else".to_owned();
    let hash = row.previous.after(&forged).to_hex();
    sqlx::query("UPDATE audit_log SET subject = $1, hash = $2 WHERE sequence = 3")
        .bind(forged.subject)
        .bind(hash)
        .execute(&store.pool)
        .await
        .unwrap();
    assert_eq!(findings(&store).await, [Finding::Relinked(3)]);
}

async fn a_removed_row_is_named(store: TestStore) {
    fill(&store, 5).await;
    store.tamper("DELETE FROM audit_log WHERE sequence = 2").await;
    assert_eq!(findings(&store).await, [Finding::Removed(2, 2)]);
}

async fn the_removal_of_the_last_row_is_noticed(store: TestStore) {
    fill(&store, 5).await;
    store.tamper("DELETE FROM audit_log WHERE sequence = 5").await;
    assert_eq!(findings(&store).await, [Finding::Removed(5, 5)]);
}

async fn an_inserted_row_is_named(store: TestStore) {
    fill(&store, 5).await;
    // Makes room behind row 2, and puts a row there that follows it.
    store
        .tamper(
            "UPDATE audit_log SET sequence = -sequence WHERE sequence > 2;
             UPDATE audit_log SET sequence = 1 - sequence WHERE sequence < 0;
             INSERT INTO audit_log (sequence, at, actor, action, subject, detail, previous, hash)
             SELECT 3, at, actor, action, 'forged', detail, hash, hash FROM audit_log WHERE sequence = 2;",
        )
        .await;
    assert_eq!(findings(&store).await, [Finding::Inserted(3)]);
    let row = store.audit_entries(2, 1).await.unwrap().remove(0);
    let hash = row.previous.after(&row.entry).to_hex();
    sqlx::query("UPDATE audit_log SET hash = $1 WHERE sequence = 3")
        .bind(hash)
        .execute(&store.pool)
        .await
        .unwrap();
    assert_eq!(findings(&store).await, [Finding::Inserted(3)], "even if its own hash is right");
}

async fn a_rewritten_log_misses_the_head_kept_elsewhere(store: TestStore) {
    fill(&store, 3).await;
    let kept = store.verify_audit(None).await.unwrap().head;
    fill(&store, 2).await;
    assert_eq!(store.verify_audit(Some(kept)).await.unwrap().findings, []);
    let zeros = Head::EMPTY.hash.to_hex();
    store.tamper("DELETE FROM audit_log; UPDATE audit_head SET sequence = 0").await;
    sqlx::query("UPDATE audit_head SET hash = $1").bind(zeros).execute(&store.pool).await.unwrap();
    for number in 1..=5 {
        store.note(&deed(number), "test.note", "innocent", &json!({})).await.unwrap();
    }
    assert_eq!(findings(&store).await, []);
    assert_eq!(store.verify_audit(Some(kept)).await.unwrap().findings, [Finding::AnchorMissing(3)]);
}

async fn two_that_append_at_once_make_one_chain(store: TestStore) {
    let other = Store::open(&store.place).await.unwrap();
    tokio::join!(fill(&store, 50), fill(&other, 50));
    let verdict = store.verify_audit(None).await.unwrap();
    assert_eq!((verdict.rows, verdict.findings), (100, vec![]));
}
