use voxgate_policy::money::budget::{Budget, Scope};
use voxgate_policy::money::day::Window;
use voxgate_protocol::money::NanoDollars;
use voxgate_protocol::tenant::{AgentId, KeyId, OrganisationId, TeamId};

use super::{TestStore, deed, on_both_stores};
use crate::store::StoreError;
use crate::store::budgets::StoredBudget;
use crate::store::request::Done;

on_both_stores!(
    a_budget_is_read_as_it_was_set_changed_and_removed,
    one_organisation_sets_one_budget_for_a_place_and_window,
);

fn budget(id: &str, set_by: &str, window: Window) -> StoredBudget {
    let scope =
        Scope { organisation: OrganisationId::new("acme").unwrap(), team: None, key: None, agent: None };
    let budget = Budget { scope, window, soft: None, hard: Some(NanoDollars::new(i64::MAX)) };
    let set_by = OrganisationId::new(set_by).unwrap();
    StoredBudget { id: id.to_owned(), set_by, budget, set_at: 1_000 }
}

async fn a_budget_is_read_as_it_was_set_changed_and_removed(store: TestStore) {
    let whole = budget("bud_1", "acme", Window::Total);
    let mut narrow = budget("bud_2", "default", Window::Hour);
    narrow.budget.scope.team = Some(TeamId::new("red").unwrap());
    narrow.budget.scope.key = Some(KeyId::new("web").unwrap());
    narrow.budget.scope.agent = Some(AgentId::new("clerk").unwrap());
    narrow.budget.soft = Some(NanoDollars::new(5));
    let before = store.budget_changes().await.unwrap();
    for (budget, at) in [(&narrow, 1), (&whole, 2)] {
        assert_eq!(store.add_budget(budget, &deed(at)).await.unwrap(), Done::Now);
    }
    assert_eq!(store.budgets().await.unwrap(), [whole.clone(), narrow.clone()]);
    (narrow.budget.soft, narrow.budget.hard) = (Some(NanoDollars::new(7)), None);
    let limits = (narrow.budget.soft, narrow.budget.hard);
    store.change_budget("bud_2", limits, &deed(3)).await.unwrap();
    assert_eq!(store.budget("bud_2").await.unwrap(), Some(narrow.clone()));
    store.remove_budget("bud_1", &deed(4)).await.unwrap();
    assert_eq!(store.budgets().await.unwrap(), [narrow]);
    assert_eq!(store.budget_changes().await.unwrap(), before + 4, "whoever follows sees each change");

    let gone =
        [store.remove_budget("bud_1", &deed(5)).await, store.change_budget("bud_1", limits, &deed(6)).await];
    for error in gone {
        assert!(matches!(error, Err(StoreError::NotFound { what: "budget", .. })), "{error:?}");
    }
    assert_eq!(store.budget_changes().await.unwrap(), before + 4, "nothing happened");
    let log = store.audit_before(i64::MAX, 100).await.unwrap();
    let told: Vec<_> = log.iter().map(|entry| (&*entry.entry.action, &*entry.entry.subject)).collect();
    let set = [("budget.set", "bud_1"), ("budget.set", "bud_2")];
    assert_eq!(told, [&[("budget.remove", "bud_1"), ("budget.change", "bud_2")][..], &set].concat());
}

async fn one_organisation_sets_one_budget_for_a_place_and_window(store: TestStore) {
    store.add_budget(&budget("bud_1", "acme", Window::Day), &deed(1)).await.unwrap();
    let again = store.add_budget(&budget("bud_2", "acme", Window::Day), &deed(2)).await;
    assert!(matches!(again, Err(StoreError::Exists { ref id, .. }) if id == "bud_1"), "{again:?}");
    for other in [budget("bud_3", "default", Window::Day), budget("bud_4", "acme", Window::Hour)] {
        store.add_budget(&other, &deed(3)).await.unwrap();
    }
    assert_eq!(store.budgets().await.unwrap().len(), 3);
}
