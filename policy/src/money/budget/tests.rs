use super::*;

const NOON: Duration = Duration::from_secs(20_778 * 86_400 + 43_200);

const fn nano(amount: i64) -> NanoDollars {
    NanoDollars::new(amount)
}

fn path() -> TenantPath {
    TenantPath { organisation: OrganisationId::new("acme").unwrap(), ..TenantPath::default() }
}

fn organisation() -> Scope {
    Scope { organisation: path().organisation, team: None, key: None, agent: None }
}

fn team() -> Scope {
    Scope { team: Some(path().team), ..organisation() }
}

fn budget(scope: Scope, window: Window, soft: i64, hard: i64) -> Budget {
    Budget { scope, window, soft: Some(nano(soft)), hard: Some(nano(hard)) }
}

const fn want(amount: i64) -> Demand {
    Demand { spent: NanoDollars::ZERO, from_lease: NanoDollars::ZERO, want: nano(amount) }
}

#[test]
fn the_smallest_budget_above_a_session_decides() {
    let (monthly, daily) =
        (budget(organisation(), Window::Month, 90, 100), budget(team(), Window::Day, 40, 50));
    let mut tree = BudgetTree::new([monthly.clone(), daily.clone()]);
    assert_eq!(tree.draw(NOON, &path(), want(30)), Draw { granted: nano(30), ..Draw::default() });
    assert_eq!(
        tree.draw(NOON, &path(), want(30)),
        Draw { granted: nano(20), warns: vec![daily.clone()], short: Some(daily) }
    );
    assert_eq!(tree.draw(NOON, &path(), want(30)).granted, nano(0));
    let other_team = TenantPath { team: TeamId::new("sales").unwrap(), ..path() };
    let drawn = tree.draw(NOON, &other_team, want(100));
    assert_eq!(drawn, Draw { granted: nano(50), warns: vec![monthly.clone()], short: Some(monthly) });
    let other = TenantPath { organisation: OrganisationId::new("other").unwrap(), ..path() };
    assert_eq!(tree.draw(NOON, &other, want(1_000)).granted, nano(1_000));
}

#[test]
fn a_soft_limit_warns_once_in_each_window() {
    let mut tree = BudgetTree::new([budget(team(), Window::Hour, 10, 1_000)]);
    let warned = |tree: &mut BudgetTree, at| !tree.draw(at, &path(), want(20)).warns.is_empty();
    assert!(warned(&mut tree, NOON));
    assert!(!warned(&mut tree, NOON + Duration::from_secs(3_599)));
    assert!(warned(&mut tree, NOON + Duration::from_secs(3_600)));
}

#[test]
fn a_new_window_begins_with_what_is_still_leased() {
    let mut tree = BudgetTree::new([budget(team(), Window::Day, 0, 100)]);
    let tomorrow = NOON + Duration::from_secs(43_200);
    tree.draw(NOON, &path(), want(100));
    tree.draw(NOON, &path(), Demand { spent: nano(70), from_lease: nano(70), want: nano(0) });
    assert_eq!(tree.left(NOON, &path()), nano(0));
    assert_eq!(tree.left(tomorrow, &path()), nano(70));
    // A clock set back finds the new window still.
    assert_eq!(tree.left(NOON, &path()), nano(70));
}

#[test]
fn a_lease_that_ends_gives_back_what_it_did_not_use() {
    let mut tree = BudgetTree::new([budget(team(), Window::Total, 0, 100)]);
    let mut lease = Lease::new(nano(40));
    let demand = lease.demand(nano(0)).unwrap();
    lease.drew(nano(0), demand, tree.draw(NOON, &path(), demand).granted);
    assert_eq!(lease.demand(nano(20)), None);
    let demand = lease.demand(nano(30)).unwrap();
    assert_eq!(demand, Demand { spent: nano(30), from_lease: nano(30), want: nano(30) });
    lease.drew(nano(30), demand, tree.draw(NOON, &path(), demand).granted);
    tree.draw(NOON, &path(), lease.give_back(nano(33)));
    assert_eq!(tree.standing(NOON, &team()), [(budget(team(), Window::Total, 0, 100), nano(33), nano(0))]);
}

#[test]
fn an_overspent_lease_is_booked_in_full() {
    let mut tree = BudgetTree::new([budget(team(), Window::Total, 0, 10)]);
    let mut lease = Lease::new(nano(10));
    let demand = lease.demand(nano(0)).unwrap();
    lease.drew(nano(0), demand, tree.draw(NOON, &path(), demand).granted);
    let demand = lease.demand(nano(25)).unwrap();
    lease.drew(nano(25), demand, tree.draw(NOON, &path(), demand).granted);
    assert!(lease.is_last() && lease.left(nano(25)).is_spent());
    tree.draw(NOON, &path(), lease.give_back(nano(25)));
    let standing = tree.standing(NOON, &team());
    assert_eq!((standing[0].1, standing[0].2), (nano(25), nano(0)));
    assert!(!tree.has_left(NOON, &path()));
}

#[test]
fn a_session_that_ends_with_its_lease_overspent_leaves_nothing_drawn() {
    let mut tree = BudgetTree::new([budget(team(), Window::Total, 0, 100)]);
    let mut lease = Lease::new(nano(40));
    let demand = lease.demand(nano(0)).unwrap();
    lease.drew(nano(0), demand, tree.draw(NOON, &path(), demand).granted);
    tree.draw(NOON, &path(), lease.give_back(nano(55)));
    let standing = tree.standing(NOON, &team());
    assert_eq!((standing[0].1, standing[0].2), (nano(55), nano(0)));
}

#[test]
fn a_restart_counts_what_the_present_windows_have_seen() {
    let budgets = [budget(team(), Window::Day, 0, 100), budget(organisation(), Window::Month, 0, 100)];
    let mut tree = BudgetTree::new(budgets);
    tree.restore(NOON, &team(), Window::Day, nano(30));
    tree.restore(NOON, &organisation(), Window::Month, nano(90));
    tree.restore(NOON, &organisation(), Window::Hour, nano(5));
    let spent = |tree: &mut BudgetTree, scope| tree.standing(NOON, &scope)[0].1;
    assert_eq!(spent(&mut tree, team()), nano(30));
    assert_eq!(spent(&mut tree, organisation()), nano(90));
    let drawn = tree.draw(NOON, &path(), want(30));
    let monthly = budget(organisation(), Window::Month, 0, 100);
    assert_eq!(drawn, Draw { granted: nano(10), warns: Vec::new(), short: Some(monthly) });
}

#[test]
fn what_another_gateway_spent_counts_in_the_windows_it_was_spent_in() {
    let budgets = [budget(team(), Window::Hour, 0, 100), budget(organisation(), Window::Day, 50, 100)];
    let mut tree = BudgetTree::new(budgets);
    let before = NOON - Duration::from_secs(1);
    assert_eq!(tree.note_elsewhere(NOON, &path(), before, nano(40)), []);
    let spent = |tree: &mut BudgetTree, scope| tree.standing(NOON, &scope)[0].1;
    assert_eq!((spent(&mut tree, team()), spent(&mut tree, organisation())), (nano(0), nano(40)));
    let told = tree.note_elsewhere(NOON, &path(), NOON, nano(30));
    let windows: Vec<Window> = told.iter().map(|budget| budget.window).collect();
    assert_eq!(windows, [Window::Day, Window::Hour], "the soft limit of both");
    assert_eq!(tree.note_elsewhere(NOON, &path(), NOON, nano(-20)), [], "an estimate was too high");
    assert_eq!((spent(&mut tree, team()), spent(&mut tree, organisation())), (nano(10), nano(50)));
    let other = TenantPath { organisation: OrganisationId::new("other").unwrap(), ..path() };
    tree.note_elsewhere(NOON, &other, NOON, nano(1_000));
    assert_eq!(tree.draw(NOON, &path(), want(60)).granted, nano(50), "another organisation is none of ours");
}

/// Two gateways, each of which learns two seconds later what the other spent.
#[test]
fn two_gateways_stop_within_what_they_spend_until_they_hear_of_each_other() {
    const RATE: i64 = 10;
    const LEASE: i64 = 20;
    const LATE: usize = 2;
    let mut gateways = [0, 1].map(|_| BudgetTree::new([budget(team(), Window::Day, 0, 1_000)]));
    let mut leases = [Lease::new(nano(LEASE)); 2];
    let mut costs = [0_i64; 2];
    let mut log: Vec<[i64; 2]> = Vec::new();
    let mut runs = [true; 2];
    while runs[0] || runs[1] {
        assert!(log.len() < 1_000, "somebody never stops");
        let now = NOON + Duration::from_secs(log.len() as u64);
        let mut spent = [0; 2];
        for of in 0..2 {
            if let Some(seen) = log.len().checked_sub(LATE) {
                gateways[of].note_elsewhere(now, &path(), now, nano(log[seen][1 - of]));
            }
            if !runs[of] {
                continue;
            }
            if let Some(demand) = leases[of].demand(nano(costs[of])) {
                let draw = gateways[of].draw(now, &path(), demand);
                leases[of].drew(nano(costs[of]), demand, draw.granted);
            }
            runs[of] = !(leases[of].is_last() && leases[of].left(nano(costs[of])).is_spent());
            if runs[of] {
                costs[of] += RATE;
                spent[of] = RATE;
            }
        }
        log.push(spent);
    }
    let spent = costs[0] + costs[1];
    let late = i64::try_from(LATE).unwrap() + 1;
    assert!((1_000..=1_000 + 2 * (LEASE + RATE * late)).contains(&spent), "{spent}");
}

#[test]
fn a_name_without_the_one_above_it_is_no_place() {
    assert!(organisation().is_a_place() && team().is_a_place());
    assert!(!Scope { key: Some(KeyId::default()), ..organisation() }.is_a_place());
    assert!(!Scope { agent: Some(AgentId::default()), ..team() }.is_a_place());
}

/// A session that has drawn its first lease.
fn session(tree: &mut BudgetTree, size: i64) -> Lease {
    let mut lease = Lease::new(nano(size));
    let demand = lease.demand(nano(0)).unwrap();
    lease.drew(nano(0), demand, tree.draw(NOON, &path(), demand).granted);
    lease
}

#[test]
fn a_lowered_limit_takes_back_what_is_drawn_and_not_spent() {
    let mut tree = BudgetTree::new([budget(team(), Window::Day, 0, 100)]);
    let (mut first, mut second) = (session(&mut tree, 40), session(&mut tree, 40));
    assert_eq!(tree.change(NOON, [budget(team(), Window::Day, 0, 30)]), []);
    assert_eq!(tree.standing(NOON, &team())[0].2, nano(80), "leases are out until they are renewed");
    assert_eq!(tree.draw(NOON, &path(), want(10)).granted, nano(0));
    for (lease, cost) in [(&mut first, 15), (&mut second, 5)] {
        let demand = lease.renew(nano(cost));
        lease.drew(nano(cost), demand, tree.draw(NOON, &path(), demand).granted);
    }
    assert!(first.is_last() && first.left(nano(15)).is_spent(), "the other's lease was out still");
    assert!(second.is_last());
    assert_eq!(second.left(nano(5)), nano(10), "30 less what both have spent");
    let standing = tree.standing(NOON, &team());
    assert_eq!((standing[0].1, standing[0].2), (nano(20), nano(10)));
}

#[test]
fn a_budget_that_comes_later_counts_the_leases_that_are_out() {
    let mut tree = BudgetTree::new([]);
    let lease = session(&mut tree, 40);
    let other = TenantPath { organisation: OrganisationId::new("other").unwrap(), ..path() };
    tree.draw(NOON, &other, want(7));
    let added =
        tree.change(NOON, [budget(team(), Window::Day, 0, 100), budget(organisation(), Window::Hour, 0, 50)]);
    assert_eq!(added, [(organisation(), Window::Hour), (team(), Window::Day)]);
    tree.restore(NOON, &team(), Window::Day, nano(30));
    assert_eq!(tree.left(NOON, &path()), nano(10));
    tree.draw(NOON, &path(), lease.give_back(nano(12)));
    for (scope, spent) in [(team(), 42), (organisation(), 12)] {
        let standing = tree.standing(NOON, &scope);
        assert_eq!((standing[0].1, standing[0].2), (nano(spent), nano(0)), "{scope:?}");
    }
}

#[test]
fn a_budget_that_goes_limits_nobody_and_one_that_stays_keeps_what_was_spent() {
    let both = [budget(team(), Window::Day, 0, 10), budget(organisation(), Window::Month, 0, 100)];
    let mut tree = BudgetTree::new(both);
    tree.draw(NOON, &path(), Demand { spent: nano(10), ..want(0) });
    assert!(!tree.has_left(NOON, &path()));
    assert_eq!(tree.change(NOON, [budget(organisation(), Window::Month, 0, 60)]), []);
    assert_eq!(tree.left(NOON, &path()), nano(50));
    assert_eq!(
        tree.change(NOON, [budget(organisation(), Window::Day, 0, 60)]),
        [(organisation(), Window::Day)]
    );
    assert_eq!(
        tree.left(NOON, &path()),
        nano(50),
        "another window is another budget, in which the same was spent"
    );
    let tomorrow = NOON + Duration::from_secs(43_200);
    assert_eq!(tree.left(tomorrow, &path()), nano(60));
}

#[test]
fn a_soft_limit_that_rises_warns_again() {
    let mut tree = BudgetTree::new([budget(team(), Window::Day, 10, 1_000)]);
    assert!(!tree.draw(NOON, &path(), want(20)).warns.is_empty());
    tree.change(NOON, [budget(team(), Window::Day, 5, 1_000)]);
    assert!(tree.draw(NOON, &path(), want(1)).warns.is_empty());
    tree.change(NOON, [budget(team(), Window::Day, 50, 1_000)]);
    assert!(tree.draw(NOON, &path(), want(1)).warns.is_empty());
    assert!(!tree.draw(NOON, &path(), want(40)).warns.is_empty());
}

#[test]
fn a_budget_made_while_sessions_run_counts_what_they_spent_in_its_window_before() {
    let mut tree = BudgetTree::new([]);
    let later = NOON + Duration::from_secs(3_600);
    let mut lease = session(&mut tree, 40);
    for (at, cost) in [(NOON, 30), (later, 70)] {
        let demand = lease.demand(nano(cost)).unwrap();
        lease.drew(nano(cost), demand, tree.draw(at, &path(), demand).granted);
    }
    let made = [budget(team(), Window::Day, 0, 500), budget(team(), Window::Hour, 0, 500)];
    assert_eq!(tree.change(later, made).len(), 2);
    let stands = |tree: &mut BudgetTree| {
        let standing = tree.standing(later, &team());
        standing.iter().map(|(budget, spent, leased)| (budget.window, *spent, *leased)).collect::<Vec<_>>()
    };
    let drawn = nano(40);
    assert_eq!(stands(&mut tree), [(Window::Hour, nano(40), drawn), (Window::Day, nano(70), drawn)]);
    // What others spent comes beside it, and in place of what was noted of them while the ledger was asked.
    tree.note_elsewhere(later, &path(), later, nano(5));
    assert!(tree.restore(later, &team(), Window::Day, nano(25)));
    assert_eq!(stands(&mut tree), [(Window::Hour, nano(45), drawn), (Window::Day, nano(95), drawn)]);
    let tomorrow = NOON + Duration::from_secs(43_200);
    tree.left(tomorrow, &path());
    assert!(
        !tree.restore(later, &team(), Window::Day, nano(25)),
        "the answer is about a window that is over"
    );
    assert!(!tree.restore(later, &team(), Window::Total, nano(25)), "there is no such budget");
    assert_eq!(tree.standing(tomorrow, &team())[1].1, nano(0));
}

#[test]
fn of_two_budgets_for_the_same_place_and_window_the_lower_limits_hold() {
    let one = Budget { soft: None, ..budget(team(), Window::Day, 0, 50) };
    let other = budget(team(), Window::Day, 40, 100);
    let mut tree = BudgetTree::new([one.clone(), other.clone()]);
    assert_eq!(tree.standing(NOON, &team()), [(budget(team(), Window::Day, 40, 50), nano(0), nano(0))]);
    tree.draw(NOON, &path(), Demand { spent: nano(30), ..Demand::default() });
    assert_eq!(tree.change(NOON, [other.clone()]), []);
    assert_eq!(tree.standing(NOON, &team()), [(other, nano(30), nano(0))]);
    assert_eq!(tree.change(NOON, [one.clone()]), []);
    assert_eq!(tree.standing(NOON, &team()), [(one, nano(30), nano(0))]);
}

#[test]
fn a_key_for_each_end_user_does_not_fill_the_memory_and_what_its_team_spent_is_not_forgotten() {
    let mut tree = BudgetTree::new([]);
    let user = |number: usize| TenantPath { key: KeyId::new(&format!("user-{number}")).unwrap(), ..path() };
    tree.draw(NOON, &user(0), want(7));
    let users = 20_010;
    for number in 1..users {
        let at = NOON + Duration::from_secs(u64::from(number > 1_000) * 3_600);
        tree.draw(at, &user(number), Demand { spent: nano(1), ..Demand::default() });
    }
    assert!(tree.history.len() < 100, "{}", tree.history.len());
    let later = NOON + Duration::from_secs(3_600);
    tree.change(later, [budget(team(), Window::Day, 0, 1), budget(team(), Window::Hour, 0, 1)]);
    let standing = tree.standing(later, &team());
    let spent = |place: usize| (standing[place].1.get(), standing[place].2.get());
    assert_eq!(
        [spent(0), spent(1)],
        [(i64::try_from(users).unwrap() - 1_001, 7), (i64::try_from(users).unwrap() - 1, 7)]
    );
}

#[test]
fn a_node_is_named_by_its_narrowest_part_and_whose_that_is() {
    let scope = Scope::of(&TenantPath { agent: Some(AgentId::new("greeter").unwrap()), ..path() });
    assert_eq!(scope.to_string(), "agent greeter of acme/default/default");
    assert_eq!(Scope { agent: None, ..scope }.to_string(), "key default of acme/default");
    assert_eq!(team().to_string(), "team default of acme");
    assert_eq!(organisation().to_string(), "organisation acme");
}
