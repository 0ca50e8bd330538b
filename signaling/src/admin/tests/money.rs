//! Budgets, prices and usage over HTTP.

use voxgate_policy::money::day::UtcDay;
use voxgate_policy::money::ledger::{Certainty, Entry, EntryId, Quantities, Source, Subject};
use voxgate_protocol::id::SessionId;
use voxgate_protocol::timeline::Hop;

use super::*;

/// Something `tenancy` spent, in nano-dollars.
fn spent(tenancy: TenantPath, amount: i64) -> Entry {
    let at = Duration::from_secs(1_700_000_000);
    Entry {
        id: EntryId {
            session: SessionId::from(tenancy.to_string()),
            subject: Subject::Connection,
            source: Source::Wire,
            sequence: 0,
        },
        tenant: tenancy,
        provider: "p".into(),
        model: "m".into(),
        hop: Hop::Model,
        day: UtcDay::of(at),
        at,
        prices: "v1".into(),
        certainty: Certainty::Confirmed,
        amount: NanoDollars::new(amount),
        unheard: NanoDollars::ZERO,
        used: Quantities::default(),
    }
}

#[tokio::test]
async fn a_budget_is_seen_by_who_reaches_everything_it_is_for() {
    let world = World::new().await;
    for (key, seen) in [
        ("acme/red/owner", 2),
        ("acme/blue/auditor", 2),
        ("acme/red/operator", 1),
        ("acme/blue/operator", 0),
        ("other/red/owner", 1),
        ("default/default/owner", 3),
    ] {
        let (_, page) = world.ask(key, "GET", "/admin/v1/budgets", None).await;
        let budgets = page["items"].as_array().unwrap();
        assert_eq!(budgets.len(), seen, "{key}: {page}");
        assert!(budgets.iter().all(|budget| budget["left_nano_dollars"] == 3 && budget["window"] == "day"));
    }
}

#[tokio::test]
async fn every_price_is_listed_once_with_its_day_and_source() {
    let world = World::new().await;
    let (mut seen, mut after) = (Vec::new(), String::new());
    for _ in 0..100 {
        let path = format!("/admin/v1/prices?limit=7{after}");
        let (_, page) = world.ask("acme/red/owner", "GET", &path, None).await;
        seen.extend(page["items"].as_array().unwrap().clone());
        match page["next"].as_str() {
            Some(next) => after = format!("&after={next}"),
            None => break,
        }
    }
    assert_eq!(seen.len(), PriceBook::built_in().unwrap().lines().len());
    for price in seen {
        assert_eq!(price["valid_from"].as_str().unwrap().len(), 10, "{price}");
        assert!(!price["source"].as_str().unwrap().is_empty(), "{price}");
    }
}

#[tokio::test]
async fn usage_is_added_up_over_what_is_in_reach_and_over_nothing_else() {
    let world = World::new().await;
    let entries = [("acme", "red", 5), ("acme", "blue", 7), ("other", "red", 11)]
        .map(|(organisation, team, amount)| spent(tenancy(organisation, team, "member"), amount));
    world.api.store.add_to_ledger(&entries).await.unwrap();
    let all = "/admin/v1/usage?first=2020-01-01&last=2030-01-01";
    for (key, sum) in [
        ("acme/red/owner", 12),
        ("acme/red/operator", 5),
        ("other/red/auditor", 11),
        ("default/default/owner", 23),
        ("default/default/operator", 0),
    ] {
        let (_, page) = world.ask(key, "GET", all, None).await;
        assert_eq!(page["items"][0]["confirmed_nano_dollars"], sum, "{key}: {page}");
    }
    let foreign = format!("{all}&organisation=other");
    let (_, page) = world.ask("acme/red/owner", "GET", &foreign, None).await;
    assert_eq!(page["items"][0]["entries"], 0, "asked for, and out of reach");
    let by_team = format!("{all}&by=team&limit=1");
    let (_, page) = world.ask("acme/red/owner", "GET", &by_team, None).await;
    assert_eq!((&page["items"][0]["team"], &page["next"]), (&json!("blue"), &json!("1")));
    let (_, page) = world.ask("acme/red/owner", "GET", &format!("{by_team}&after=1"), None).await;
    assert_eq!((&page["items"][0]["team"], &page["next"]), (&json!("red"), &Value::Null));
    let (status, reply) = world.ask("acme/red/owner", "GET", "/admin/v1/usage?by=mood", None).await;
    assert_eq!((status.as_u16(), &reply["error"]["param"]), (400, &json!("by")));
}
