use std::time::Duration;

use serde_json::json;
use voxgate_policy::money::budget::Scope;
use voxgate_policy::money::day::Window;
use voxgate_policy::money::ledger::{Certainty, Entry, EntryId, Quantities, Source, Subject};
use voxgate_protocol::id::SessionId;
use voxgate_protocol::tenant::{AgentId, KeyId, OrganisationId, TeamId, TenantPath};
use voxgate_protocol::timeline::Hop;

use super::*;
use crate::store::tests::{TestStore, deed, on_both_stores};

on_both_stores!(
    spending_is_added_up_by_any_names_and_days,
    only_what_is_asked_for_is_added_up,
    a_name_from_outside_is_a_name_and_nothing_else,
    budgets_find_what_was_spent_in_their_window_at_their_level,
    a_gateway_that_follows_the_ledger_sees_each_entry_of_others_once_and_none_of_its_own,
    two_that_hand_in_at_once_leave_no_number_behind_one_that_was_seen,
    what_somebody_adds_to_the_ledger_stands_in_the_audit_log_once,
    entries_the_audit_log_cannot_tell_of_are_not_added,
);

fn day(text: &str) -> UtcDay {
    UtcDay::parse(text).unwrap()
}

fn path(text: &str) -> TenantPath {
    let mut names = text.split('/');
    let mut next = || names.next().unwrap();
    TenantPath {
        organisation: OrganisationId::new(next()).unwrap(),
        team: TeamId::new(next()).unwrap(),
        key: KeyId::new(next()).unwrap(),
        agent: names.next().map(|agent| AgentId::new(agent).unwrap()),
    }
}

fn entry(tenant: &str, model: &str, at: &str, certainty: Certainty, nano: i64) -> Entry {
    let (on, seconds) = at.split_once('+').unwrap_or((at, "0"));
    Entry {
        id: EntryId {
            session: SessionId::from(format!("{tenant} {model} {at} {} {nano}", certainty.as_str())),
            subject: Subject::Connection,
            source: Source::Wire,
            sequence: 0,
        },
        tenant: path(tenant),
        provider: if model == "voice" { "local".into() } else { "openai".into() },
        model: model.into(),
        hop: if model == "ears" { Hop::Stt } else { Hop::Model },
        day: day(on),
        at: day(on).begins_at() + Duration::from_secs(seconds.parse().unwrap()),
        prices: "v1".into(),
        certainty,
        amount: NanoDollars::new(nano),
        unheard: NanoDollars::new(nano / 10),
        used: Quantities::default(),
    }
}

fn ledger() -> Vec<Entry> {
    use Certainty::{Confirmed, Estimated, Unpriced};
    vec![
        entry("acme/red/web", "large", "2026-11-20", Confirmed, 100),
        entry("acme/red/web", "large", "2026-11-21+60", Confirmed, 200),
        entry("acme/red/web/clerk", "large", "2026-11-21+3600", Estimated, 30),
        entry("acme/red/web/clerk", "large", "2026-11-21+3601", Estimated, -20),
        entry("acme/blue/web", "ears", "2026-11-21+7000", Confirmed, 7),
        entry("other/red/web", "large", "2026-11-21", Confirmed, 1_000),
        entry("other/red/web", "voice", "2026-11-21", Unpriced, 0),
    ]
}

fn question(by: &str) -> UsageQuestion {
    let by = UsageBy::from_words(by).unwrap();
    UsageQuestion { by, ..UsageQuestion::between(day("2026-11-20"), day("2026-11-21")) }
}

/// Every row as its names and amounts.
async fn ask(store: &Store, question: &UsageQuestion) -> Vec<String> {
    let rows = store.usage(question).await.unwrap();
    let shown = rows.iter().map(|row| {
        let names: Vec<&str> = question.columns().iter().map(|by| row.name(*by).unwrap()).collect();
        let amounts = [row.confirmed.get(), row.estimated.get(), row.unheard.get()];
        format!("{} {amounts:?} {} {}", names.join("/"), row.unpriced, row.entries)
    });
    shown.collect()
}

async fn spending_is_added_up_by_any_names_and_days(store: TestStore) {
    store.add_to_ledger(&ledger()).await.unwrap();
    assert_eq!(ask(&store, &question("")).await, [" [1307, 10, 131] 1 7"]);
    assert_eq!(
        ask(&store, &question("team")).await,
        ["acme/blue [7, 0, 0] 0 1", "acme/red [300, 10, 31] 0 4", "other/red [1000, 0, 100] 1 2"],
        "teams of one name are told apart by their organisation"
    );
    assert_eq!(
        ask(&store, &question("agent")).await,
        [
            "acme/blue/web/ [7, 0, 0] 0 1",
            "acme/red/web/ [300, 0, 30] 0 2",
            "acme/red/web/clerk [0, 10, 1] 0 2",
            "other/red/web/ [1000, 0, 100] 1 2",
        ]
    );
    assert_eq!(
        ask(&store, &question("model,day")).await,
        [
            "2026-11-20/large [100, 0, 10] 0 1",
            "2026-11-21/ears [7, 0, 0] 0 1",
            "2026-11-21/large [1200, 10, 121] 0 4",
            "2026-11-21/voice [0, 0, 0] 1 1",
        ]
    );
    assert_eq!(ask(&store, &question("provider,hop")).await.len(), 3);
    let page = UsageQuestion { skip: 1, most: 1, ..question("team") };
    assert_eq!(ask(&store, &page).await, ["acme/red [300, 10, 31] 0 4"]);
}

async fn only_what_is_asked_for_is_added_up(store: TestStore) {
    store.add_to_ledger(&ledger()).await.unwrap();
    let only = |by, name: &str| UsageQuestion { only: vec![(by, name.to_owned())], ..question("") };
    let cases = [
        (only(UsageBy::Organisation, "acme"), " [307, 10, 31] 0 5"),
        (only(UsageBy::Agent, "clerk"), " [0, 10, 1] 0 2"),
        (only(UsageBy::Agent, ""), " [1307, 0, 130] 1 5"),
        (only(UsageBy::Hop, "stt"), " [7, 0, 0] 0 1"),
        (only(UsageBy::Team, "nobody"), " [0, 0, 0] 0 0"),
        (UsageQuestion::between(day("2026-11-20"), day("2026-11-20")), " [100, 0, 10] 0 1"),
    ];
    for (question, expected) in cases {
        assert_eq!(ask(&store, &question).await, [expected], "{question:?}");
    }
    let mut both = only(UsageBy::Organisation, "acme");
    both.only.push((UsageBy::Day, "2026-11-21".to_owned()));
    assert_eq!(ask(&store, &both).await, [" [207, 10, 21] 0 4"]);
}

async fn a_name_from_outside_is_a_name_and_nothing_else(store: TestStore) {
    store.add_to_ledger(&ledger()).await.unwrap();
    for name in ["' OR '1' = '1", "\"; DROP TABLE ledger_entries; --", "%", "größe"] {
        let only = vec![(UsageBy::Model, name.to_owned())];
        assert_eq!(ask(&store, &UsageQuestion { only, ..question("") }).await, [" [0, 0, 0] 0 0"]);
    }
    assert_eq!(ask(&store, &question("")).await, [" [1307, 10, 131] 1 7"]);
}

async fn budgets_find_what_was_spent_in_their_window_at_their_level(store: TestStore) {
    store.add_to_ledger(&ledger()).await.unwrap();
    let now = day("2026-11-21").begins_at() + Duration::from_secs(3_700);
    let scope = |text: &str| {
        let mut names = text.split('/');
        Scope {
            organisation: OrganisationId::new(names.next().unwrap()).unwrap(),
            team: names.next().map(|name| TeamId::new(name).unwrap()),
            key: names.next().map(|name| KeyId::new(name).unwrap()),
            agent: names.next().map(|name| AgentId::new(name).unwrap()),
        }
    };
    for (text, window, spent) in [
        ("acme", Window::Total, 317),
        ("acme", Window::Month, 317),
        ("acme", Window::Day, 217),
        ("acme", Window::Hour, 17),
        ("acme/red", Window::Day, 210),
        ("acme/red/web/clerk", Window::Day, 10),
        ("acme/red/web/other", Window::Day, 0),
        ("other/red/web", Window::Hour, 0),
    ] {
        // What began before the window does not count.
        let since = window.begins_at(now);
        let head = store.ledger_head().await.unwrap();
        let found = store.spent_since(&scope(text), since, ("here", head)).await.unwrap();
        assert_eq!(found, NanoDollars::new(spent), "{text} {window:?}");
    }
    let found = store.spent_since(&scope("acme"), Duration::ZERO, ("here", 0)).await.unwrap();
    assert_eq!(found, NanoDollars::ZERO, "what came after the number is left for those who follow");
}

/// Tenant and amount of what this node did not hand in itself, behind a number.
async fn elsewhere(store: &Store, node: &str, after: i64) -> Vec<(String, i64)> {
    let head = store.ledger_head().await.unwrap();
    let found = store.spent_elsewhere(node, after, head).await.unwrap();
    found.into_iter().map(|entry| (entry.tenant.to_string(), entry.amount.get())).collect()
}

async fn a_gateway_that_follows_the_ledger_sees_each_entry_of_others_once_and_none_of_its_own(
    store: TestStore,
) {
    let ledger = ledger();
    store.post("here", &ledger[..2]).await.unwrap();
    store.post("there", &ledger[1..4]).await.unwrap();
    let seen = store.ledger_head().await.unwrap();
    let of_there = [("acme/red/web/clerk".to_owned(), 30), ("acme/red/web/clerk".to_owned(), -20)];
    assert_eq!(elsewhere(&store, "here", 0).await, of_there, "an entry stays that of who was first");
    let of_here = [("acme/red/web".to_owned(), 100), ("acme/red/web".to_owned(), 200)];
    assert_eq!(elsewhere(&store, "there", 0).await, of_here);
    // A person, with an entry that says nothing of money beside.
    store.add_to_ledger(&ledger[4..]).await.unwrap();
    let later = [("acme/blue/web".to_owned(), 7), ("other/red/web".to_owned(), 1_000)];
    for node in ["here", "there"] {
        assert_eq!(elsewhere(&store, node, seen).await, later);
    }
    assert_eq!(elsewhere(&store, "here", store.ledger_head().await.unwrap()).await, []);
    let acme = Scope { organisation: path("acme/red/web").organisation, team: None, key: None, agent: None };
    let known = store.spent_since(&acme, Duration::ZERO, ("here", seen)).await.unwrap();
    assert_eq!(known, NanoDollars::new(10), "the sum up to a number and what follows it are the whole");
}

async fn two_that_hand_in_at_once_leave_no_number_behind_one_that_was_seen(store: TestStore) {
    let post = |node: &'static str, seconds: std::ops::Range<u32>| {
        let store = &store;
        async move {
            for second in seconds {
                let at = format!("2026-11-21+{second}");
                let entry = entry("acme/red/web", "large", &at, Certainty::Confirmed, 1);
                store.post(node, &[entry]).await.unwrap();
            }
        }
    };
    let follow = async {
        let (mut known, mut seen) = (0, 0);
        for _ in 0..10_000 {
            let head = store.ledger_head().await.unwrap();
            seen += store.spent_elsewhere("reader", known, head).await.unwrap().len();
            known = head;
            if seen == 40 {
                return;
            }
        }
        panic!("{seen} of 40 were seen");
    };
    tokio::join!(post("here", 0..20), post("there", 20..40), follow);
}

async fn what_somebody_adds_to_the_ledger_stands_in_the_audit_log_once(store: TestStore) {
    let detail = json!({ "day": "2026-11-20" });
    for time in 1..=2 {
        store.settle_ledger(&deed(time), &ledger(), "openai", &detail).await.unwrap();
    }
    store.settle_ledger(&deed(3), &[], "openai", &detail).await.unwrap();
    assert_eq!(ask(&store, &question("")).await, [" [1307, 10, 131] 1 7"]);
    let told = store.audit_entries(0, 10).await.unwrap();
    let told: Vec<_> = told.into_iter().map(|row| row.entry).collect();
    assert_eq!(told.len(), 1, "what changed nothing is not told");
    assert_eq!((told[0].actor.as_str(), told[0].at_unix_ms), ("cli", 1));
    assert_eq!((told[0].action.as_str(), told[0].subject.as_str()), ("ledger.confirm", "openai"));
    assert_eq!(told[0].detail, detail.to_string());
    assert_eq!(store.verify_audit(None).await.unwrap().findings, []);
}

async fn entries_the_audit_log_cannot_tell_of_are_not_added(store: TestStore) {
    store.tamper("DELETE FROM audit_head").await;
    store.settle_ledger(&deed(1), &ledger(), "openai", &json!({})).await.unwrap_err();
    assert_eq!(ask(&store, &question("")).await, [" [0, 0, 0] 0 0"]);
}

#[test]
fn no_cell_of_a_report_is_run_by_a_spreadsheet() {
    for (text, expected) in [
        ("front-desk", "front-desk"),
        ("=HYPERLINK(\"http://x\",\"y\")", "\"'=HYPERLINK(\"\"http://x\"\",\"\"y\"\")\""),
        ("+1", "'+1"),
        ("-1+cmd|' /C calc'!A0", "'-1+cmd|' /C calc'!A0"),
        ("@SUM(1)", "'@SUM(1)"),
        ("\t=1", "'\t=1"),
        ("a,b", "\"a,b\""),
        ("", ""),
    ] {
        assert_eq!(cell(text), expected);
    }
}

#[test]
fn a_report_is_written_with_every_place_of_its_amounts() {
    let row = UsageRow {
        organisation: Some("acme".to_owned()),
        team: Some("-red".to_owned()),
        confirmed: NanoDollars::new(1_000_000_001),
        estimated: NanoDollars::new(-5),
        entries: 3,
        ..UsageRow::default()
    };
    let columns = question("team").columns();
    assert_eq!(
        usage_csv(&columns, &[row]),
        "organisation,team,confirmed_dollars,estimated_dollars,unheard_dollars,unpriced,entries\r\n\
         acme,'-red,1.000000001,-0.000000005,0.000000000,0,3\r\n"
    );
}

#[test]
fn a_word_that_is_no_column_is_named() {
    assert_eq!(UsageBy::from_words("team, model"), Ok([UsageBy::Team, UsageBy::Model].into()));
    assert_eq!(UsageBy::from_words("team,wallet"), Err("wallet".to_owned()));
    assert_eq!(UsageBy::from_words(""), Ok(BTreeSet::new()));
}
