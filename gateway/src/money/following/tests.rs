use std::path::PathBuf;

use voxgate_policy::money::budget::{Budget, Demand, Scope};
use voxgate_policy::money::day::{UtcDay, Window};
use voxgate_policy::money::ledger::{Certainty, Entry, EntryId, Quantities, Source, Subject};
use voxgate_protocol::id::SessionId;
use voxgate_protocol::money::NanoDollars;
use voxgate_protocol::tenant::{OrganisationId, TeamId, TenantPath};
use voxgate_protocol::timeline::Hop;
use voxgate_signaling::outbox;
use voxgate_signaling::store::StorePlace;
use voxgate_signaling::store::audit::Deed;
use voxgate_signaling::store::budgets::StoredBudget;

use super::*;

const HERE: &str = "here";

/// A folder with a store, and an outbox of this process.
struct World {
    folder: PathBuf,
    store: Store,
    outbox: Outbox,
}

impl World {
    async fn new(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("voxgate-following-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(&folder).unwrap();
        let store = Store::name(&StorePlace::Sqlite(folder.join("voxgate.db"))).unwrap();
        store.prepare().await.unwrap();
        let outbox = Outbox::open(&folder.join(outbox::FILE_NAME)).await.unwrap().of(HERE);
        Self { folder, store, outbox }
    }

    fn follow(&self, configured: &[Budget]) -> (Following, Arc<Budgets>) {
        let budgets = Arc::new(Budgets::new(configured.to_vec()));
        let metrics = Arc::new(Metrics::new().unwrap());
        let (outbox, store) = (self.outbox.clone(), self.store.clone());
        (Following::new(HERE.into(), Arc::clone(&budgets), outbox, store, metrics), budgets)
    }

    async fn set(&self, id: &str, budget: Budget) {
        let stored = StoredBudget { id: id.to_owned(), set_by: OrganisationId::default(), budget, set_at: 1 };
        self.store.add_budget(&stored, &deed()).await.unwrap();
    }

    async fn end(self) {
        self.store.close().await;
        self.outbox.close().await;
        std::fs::remove_dir_all(self.folder).unwrap();
    }
}

fn deed() -> Deed {
    Deed { actor: "test".to_owned(), at_unix_ms: 1, request: None }
}

const fn nano(amount: i64) -> NanoDollars {
    NanoDollars::new(amount)
}

/// Never anew, so that no test depends on the hour it runs in.
fn total(team: Option<&str>, hard: i64) -> Budget {
    let team = team.map(|team| TeamId::new(team).unwrap());
    let scope = Scope { organisation: OrganisationId::default(), team, key: None, agent: None };
    Budget { scope, window: Window::Total, soft: None, hard: Some(nano(hard)) }
}

fn spent(name: &str, amount: i64) -> Entry {
    let at = since_unix_epoch();
    let id = EntryId {
        session: SessionId::from(name),
        subject: Subject::Connection,
        source: Source::Wire,
        sequence: 0,
    };
    Entry {
        id,
        tenant: TenantPath::default(),
        provider: "p".into(),
        model: "m".into(),
        hop: Hop::Model,
        day: UtcDay::of(at),
        at,
        prices: "v1".into(),
        certainty: Certainty::Confirmed,
        amount: nano(amount),
        unheard: NanoDollars::ZERO,
        used: Quantities::default(),
    }
}

/// A session of this process spends.
fn spend_here(budgets: &Budgets, amount: i64) {
    let demand = Demand { spent: nano(amount), ..Demand::default() };
    budgets.with(|tree| tree.draw(since_unix_epoch(), &TenantPath::default(), demand));
}

/// What is known to be spent, of every budget in the order of the list.
fn known(budgets: &Budgets) -> Vec<i64> {
    budgets.list(since_unix_epoch()).iter().map(|listed| listed.standing.spent.get()).collect()
}

#[tokio::test]
async fn what_was_before_is_counted_once_and_what_others_add_as_it_comes() {
    let world = World::new("once").await;
    world.store.post("earlier", &[spent("a", 100)]).await.unwrap();
    world.outbox.append(&[spent("own", 7)]).await.unwrap();
    let (following, budgets) = world.follow(&[total(None, 1_000)]);
    spend_here(&budgets, 7);
    for _ in 0..2 {
        following.look().await.unwrap();
        assert_eq!(known(&budgets), [107], "its own is delivered, and not counted again");
    }
    assert_eq!(budgets.unknown(), []);
    // More than is read at once, with an own entry between.
    for number in 0..=2 * AT_ONCE {
        world.store.post("other", &[spent(&format!("b{number}"), 2)]).await.unwrap();
    }
    world.store.post(HERE, &[spent("c", 50)]).await.unwrap();
    for _ in 0..2 {
        following.look().await.unwrap();
        assert_eq!(known(&budgets), [107 + 2 * (2 * AT_ONCE + 1)]);
    }
    world.end().await;
}

#[tokio::test]
async fn a_budget_of_the_store_holds_with_what_was_spent_before_it_was_set() {
    let world = World::new("set").await;
    let (following, budgets) = world.follow(&[]);
    following.look().await.unwrap();
    world.store.post("other", &[spent("a", 100)]).await.unwrap();
    following.look().await.unwrap();
    spend_here(&budgets, 30);
    world.set("bud_1", total(None, 200)).await;
    let before = budgets.generation();
    following.look().await.unwrap();
    assert!(budgets.generation() > before, "sessions that run are told");
    assert_eq!(known(&budgets), [130]);
    let left = |budgets: &Budgets| budgets.with(|tree| tree.left(since_unix_epoch(), &TenantPath::default()));
    assert_eq!(left(&budgets), nano(70));

    world.store.change_budget("bud_1", (None, Some(nano(120))), &deed()).await.unwrap();
    world.store.post("other", &[spent("b", 5)]).await.unwrap();
    following.look().await.unwrap();
    assert_eq!((known(&budgets), left(&budgets)), (vec![135], nano(-15)));
    world.store.remove_budget("bud_1", &deed()).await.unwrap();
    following.look().await.unwrap();
    assert_eq!((known(&budgets), left(&budgets)), (vec![], NanoDollars::MAX));
    world.end().await;
}

#[tokio::test]
async fn budgets_of_configuration_and_store_change_apart_and_the_lower_limit_holds() {
    let world = World::new("apart").await;
    let (following, budgets) = world.follow(&[total(None, 100)]);
    world.set("bud_1", total(None, 60)).await;
    world.set("bud_2", total(Some("default"), 80)).await;
    following.look().await.unwrap();
    spend_here(&budgets, 10);
    let left = |budgets: &Budgets| budgets.with(|tree| tree.left(since_unix_epoch(), &TenantPath::default()));
    assert_eq!((known(&budgets), left(&budgets)), (vec![10, 10, 10], nano(50)));
    let generation = budgets.generation();
    budgets.set_configured(since_unix_epoch(), &[total(None, 100)]);
    assert_eq!(budgets.generation(), generation, "nothing changed");
    budgets.set_configured(since_unix_epoch(), &[total(None, 20)]);
    assert_ne!(budgets.generation(), generation);
    assert_eq!((known(&budgets), left(&budgets)), (vec![10, 10, 10], nano(10)));
    budgets.set_configured(since_unix_epoch(), &[]);
    assert_eq!((known(&budgets), left(&budgets)), (vec![10, 10], nano(50)));
    assert_eq!(budgets.unknown(), [], "what was spent of the one that stays was never forgotten");
    world.end().await;
}
