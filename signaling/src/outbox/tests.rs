use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use voxgate_policy::money::day::UtcDay;
use voxgate_policy::money::ledger::{Certainty, EntryId, Quantities, Source, Subject};
use voxgate_protocol::id::{IdSource, SessionId};
use voxgate_protocol::money::NanoDollars;
use voxgate_protocol::tenant::{OrganisationId, TenantPath};
use voxgate_protocol::timeline::Hop;

use super::*;
use crate::store::ledger::{Added, LedgerTotal};
use crate::store::tests::{TestStore, on_both_stores, temporary_folder};
use crate::store::{StoreError, StorePlace};

/// What tells the process that is killed where to work.
const FOLDER: &str = "VOXGATE_TEST_OUTBOX_FOLDER";
const STORE: &str = "VOXGATE_TEST_OUTBOX_STORE";
const FIRST: &str = "VOXGATE_TEST_OUTBOX_FIRST";

on_both_stores!(
    what_was_appended_arrives_once_and_is_forgotten,
    another_entry_of_a_known_name_is_reported_and_stops_nothing,
    names_from_outside_that_no_database_would_take_hold_up_nothing,
    what_an_earlier_process_left_is_handed_in_in_nobodys_name,
    a_process_killed_at_any_moment_loses_nothing_and_bills_nothing_twice,
);

fn day(text: &str) -> UtcDay {
    UtcDay::parse(text).unwrap()
}

/// The first ten are of the day before.
fn entry(number: u64) -> Entry {
    let on = day(if number <= 10 { "2026-11-20" } else { "2026-11-21" });
    Entry {
        id: EntryId {
            session: SessionId::from(format!("sess_{number:08}")),
            subject: Subject::Connection,
            source: Source::Wire,
            sequence: 0,
        },
        tenant: TenantPath::default(),
        provider: "größe".into(),
        model: "it's".into(),
        hop: Hop::Model,
        day: on,
        at: on.begins_at() + Duration::from_secs(number),
        prices: "v1".into(),
        certainty: Certainty::Confirmed,
        amount: NanoDollars::new(number as i64),
        unheard: NanoDollars::ZERO,
        used: Quantities::default(),
    }
}

async fn spent(store: &Store, first: &str, last: &str) -> LedgerTotal {
    store.spent(&OrganisationId::default(), day(first), day(last)).await.unwrap()
}

async fn everything(store: &Store) -> Vec<Entry> {
    let mut all: Vec<Entry> = Vec::new();
    loop {
        let after = all.last().map(|last| last.id.to_string()).unwrap_or_default();
        let page = store.ledger(&after, 1_000).await.unwrap();
        if page.is_empty() {
            return all;
        }
        all.extend(page);
    }
}

async fn names_from_outside_that_no_database_would_take_hold_up_nothing(store: TestStore) {
    let folder = temporary_folder("outbox");
    let outbox = Outbox::open(&folder.join(FILE_NAME)).await.unwrap();
    let of_response = |number, id: &str| {
        let plain = entry(number);
        let subject = Subject::Response(id.into());
        Entry { id: EntryId { subject, ..plain.id }, model: "m\0x".into(), ..plain }
    };
    let long = "a".repeat(1 << 16);
    let longer = format!("{long}b");
    let entries = ["resp\0", "resp\u{1}", &long, &longer].map(|id| of_response(11, id));
    outbox.append(&entries).await.unwrap();
    assert_eq!(outbox.deliver(&store).await.unwrap(), 4);
    assert_eq!(outbox.waiting().await.unwrap(), 0);
    let mut arrived = everything(&store).await;
    let mut expected = entries.to_vec();
    let by_subject = |entry: &Entry| entry.id.subject.clone();
    arrived.sort_by_key(by_subject);
    expected.sort_by_key(by_subject);
    assert_eq!(arrived, expected, "each under a name of its own, and whole");
    std::fs::remove_dir_all(folder).unwrap();
}

async fn what_an_earlier_process_left_is_handed_in_in_nobodys_name(store: TestStore) {
    let folder = temporary_folder("outbox-left");
    let path = folder.join(FILE_NAME);
    let earlier = Outbox::open(&path).await.unwrap().of("earlier");
    earlier.append(&[entry(1), entry(2)]).await.unwrap();
    earlier.close().await;
    let outbox = Outbox::open(&path).await.unwrap().of("now");
    outbox.append(&[entry(3)]).await.unwrap();
    assert_eq!(outbox.deliver(&store).await.unwrap(), 3);
    let head = store.ledger_head().await.unwrap();
    let elsewhere = store.spent_elsewhere("now", 0, head).await.unwrap();
    assert_eq!(elsewhere.iter().map(|entry| entry.amount.get()).collect::<Vec<_>>(), [1, 2]);
    outbox.close().await;
    std::fs::remove_dir_all(folder).unwrap();
}

async fn what_was_appended_arrives_once_and_is_forgotten(store: TestStore) {
    let folder = temporary_folder("outbox");
    let outbox = Outbox::open(&folder.join(FILE_NAME)).await.unwrap();
    let entries: Vec<_> = (1..=1_200).map(entry).collect();
    outbox.append(&entries).await.unwrap();
    // Delivered before, and not forgotten: the process ended in between.
    store.add_to_ledger(&entries[..700]).await.unwrap();
    let mut batches = Vec::new();
    loop {
        match outbox.deliver(&store).await.unwrap() {
            0 => break,
            delivered => batches.push(delivered),
        }
    }
    assert_eq!(batches, [500, 500, 200]);
    assert_eq!(outbox.waiting().await.unwrap(), 0);
    assert_eq!(everything(&store).await, entries);
    let total = spent(&store, "2026-11-20", "2026-11-21").await;
    assert_eq!(total, LedgerTotal { entries: 1_200, amount: NanoDollars::new(1_200 * 1_201 / 2) });
    assert_eq!(spent(&store, "2026-11-01", "2026-11-20").await.entries, 10);
    let other = OrganisationId::new("other").unwrap();
    let nothing = store.spent(&other, day("2026-11-20"), day("2026-11-21")).await.unwrap();
    assert_eq!(nothing.entries, 0);
    std::fs::remove_dir_all(folder).unwrap();
}

async fn another_entry_of_a_known_name_is_reported_and_stops_nothing(store: TestStore) {
    let mut other = entry(1);
    other.amount = NanoDollars::new(99);
    assert_eq!(store.add_to_ledger(&[entry(1)]).await.unwrap(), Added { new: 1, conflicts: vec![] });
    let added = store.add_to_ledger(&[entry(1), other.clone(), entry(2)]).await.unwrap();
    assert_eq!(added, Added { new: 1, conflicts: vec![other.id] });
    assert_eq!(everything(&store).await, [entry(1), entry(2)]);
}

/// Appends entry after entry and says so on standard output, while it delivers, until it is killed.
#[tokio::test]
#[ignore = "run by a_process_killed_at_any_moment_loses_nothing_and_bills_nothing_twice, which kills it"]
async fn the_process_that_is_killed() {
    let Some(folder) = std::env::var_os(FOLDER).map(PathBuf::from) else { return };
    let place = std::env::var(STORE).unwrap();
    let place = match place.strip_prefix("file:") {
        Some(path) => StorePlace::Sqlite(PathBuf::from(path)),
        None => StorePlace::Postgres(place),
    };
    let first: u64 = std::env::var(FIRST).unwrap().parse().unwrap();
    let outbox = Outbox::open(&folder.join(FILE_NAME)).await.unwrap();
    let store = Store::open(&place).await.unwrap();
    let deliver = async {
        loop {
            outbox.deliver(&store).await.unwrap();
            tokio::task::yield_now().await;
        }
    };
    let append = async {
        // More than any test waits for: the loop is bounded should nobody kill it.
        for number in first..first + 100_000 {
            outbox.append(&[entry(number)]).await.unwrap();
            println!("appended {number}");
        }
    };
    tokio::select! { () = append => {}, () = deliver => {} }
}

async fn a_process_killed_at_any_moment_loses_nothing_and_bills_nothing_twice(store: TestStore) {
    let folder = temporary_folder("killed");
    let mut seeds = IdSource::new(9);
    let (mut next, mut promised) = (1, Vec::new());
    for _ in 0..6 {
        let lines = 20 + seeds.next_seed() % 60;
        promised.extend(run_and_kill(&store.place, &folder, next, lines));
        next = promised.last().unwrap() + 1_000;
    }
    let outbox = Outbox::open(&folder.join(FILE_NAME)).await.unwrap();
    while outbox.deliver(&store).await.unwrap() > 0 {}
    let found = everything(&store).await;
    let numbers: Vec<u64> = found.iter().map(|entry| entry.amount.get() as u64).collect();
    for number in &promised {
        assert!(numbers.contains(number), "entry {number} was promised and is lost");
    }
    // Of each life the entry that was just being appended may have been kept without a word.
    assert!(found.len() <= promised.len() + 6, "{} entries of {} promised", found.len(), promised.len());
    assert!(found.iter().all(|found| *found == entry(found.amount.get() as u64)));
    let total = spent(&store, "2026-11-20", "2026-11-21").await;
    assert_eq!(total.amount.get() as u64, numbers.iter().sum::<u64>(), "nothing is there twice");
    std::fs::remove_dir_all(folder).unwrap();
}

/// Runs a process of this test program until it has said so many lines, then kills it with signal 9.
fn run_and_kill(place: &StorePlace, folder: &Path, first: u64, lines: u64) -> Vec<u64> {
    let place = match place {
        StorePlace::Sqlite(path) => format!("file:{}", path.display()),
        StorePlace::Postgres(url) => url.clone(),
    };
    let mut process = Command::new(std::env::current_exe().unwrap())
        .args(["outbox::tests::the_process_that_is_killed", "--exact", "--ignored", "--nocapture"])
        .env(FOLDER, folder)
        .env(STORE, place)
        .env(FIRST, first.to_string())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let said = BufReader::new(process.stdout.take().unwrap()).lines();
    let numbers = said.map_while(Result::ok).filter_map(|line| line.split("appended ").nth(1)?.parse().ok());
    let mut promised: Vec<u64> = Vec::new();
    for number in numbers {
        promised.push(number);
        if promised.len() as u64 == lines {
            // Goes on reading: what was said before the signal was promised.
            process.kill().unwrap();
        }
    }
    process.wait().unwrap();
    assert!(promised.len() as u64 >= lines, "it ended by itself after {}", promised.len());
    promised
}

#[tokio::test]
async fn while_postgresql_is_away_entries_wait_and_afterwards_all_arrive() {
    let mut store = crate::store::tests::postgres().await;
    let folder = temporary_folder("away");
    let outbox = Outbox::open(&folder.join(FILE_NAME)).await.unwrap();
    outbox.append(&[entry(1)]).await.unwrap();
    assert_eq!(outbox.deliver(&store).await.unwrap(), 1);
    store.server().stop();
    outbox.append(&[entry(2), entry(3)]).await.unwrap();
    assert!(matches!(outbox.deliver(&store).await, Err(StoreError::Database(_))));
    assert_eq!(outbox.waiting().await.unwrap(), 2);
    store.server().start_again();
    let delivery = tokio::spawn(outbox.clone().run(Store::clone(&store)));
    let arrived = async {
        while outbox.waiting().await.unwrap() > 0 {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), arrived).await.unwrap();
    delivery.abort();
    assert_eq!(everything(&store).await, [entry(1), entry(2), entry(3)]);
    std::fs::remove_dir_all(folder).unwrap();
}
