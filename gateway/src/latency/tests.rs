use voxgate_protocol::timeline::{Certainty, Hop};
use voxgate_protocol::trace::{Moment, TurnTrace, Work};

use super::*;

fn turn(model: u64) -> TurnAccount {
    let (from, to) = (Moment::read(Duration::ZERO), Moment::read(Duration::from_millis(model)));
    let works = vec![Work { hop: Hop::Model, from, to }];
    let account = TurnAccount::from_trace(&TurnTrace::new(1, from, to, works)).unwrap();
    assert_eq!(account.whole.certainty, Certainty::Measured);
    account
}

fn budgets(routes: &[&str], whole: u64) -> RouteBudgets {
    let budget =
        LatencyBudget { whole: Some(Duration::from_millis(whole)), ..LatencyBudget::speech_to_speech() };
    let routes = routes.iter().map(|route| ((*route).to_owned(), budget.clone())).collect();
    RouteBudgets { routes, ..RouteBudgets::default() }
}

fn shown(metrics: &Metrics, line: &str) -> bool {
    metrics.render().unwrap().lines().any(|shown| shown == line)
}

#[test]
fn a_slow_turn_is_counted_under_its_route_with_the_hop_and_the_owner_that_spent_it() {
    let metrics = Arc::new(Metrics::new().unwrap());
    let desk = LatencyDesk::new(budgets(&["gpt-*"], 1_200), Arc::clone(&metrics));
    assert_eq!(desk.turn("gpt-*", None, &turn(500)), []);
    assert_eq!(desk.turn("gpt-*", None, &turn(1_300)).len(), 2);
    desk.show();
    let counted = |line: &str| assert!(shown(&metrics, line), "{line}\n{}", metrics.render().unwrap());
    counted(
        r#"voxgate_latency_breaches_total{owner="provider",route="gpt-*",spender="model",subject="whole"} 1"#,
    );
    counted(
        r#"voxgate_latency_breaches_total{owner="provider",route="gpt-*",spender="model",subject="model"} 1"#,
    );
    counted(r#"voxgate_latency_burn_ratio{route="gpt-*",subject="whole",window="5m"} 10"#);
    counted(r#"voxgate_latency_burn_ratio{route="gpt-*",subject="encode",window="6h"} 0"#);
    counted(r#"voxgate_latency_budget_seconds{route="gpt-*",subject="whole"} 1.2"#);
    counted(r#"voxgate_turn_hop_seconds_sum{hop="model",owner="provider",route="gpt-*"} 1.8"#);
}

#[test]
fn another_budget_judges_the_next_turn_and_forgets_no_turn() {
    let metrics = Arc::new(Metrics::new().unwrap());
    let desk = LatencyDesk::new(budgets(&["a", "b"], 1_200), Arc::clone(&metrics));
    desk.turn("a", None, &turn(1_300));
    desk.configure(budgets(&["a"], 1_400));
    assert!(desk.turn("a", None, &turn(1_300)).iter().all(|breach| breach.subject != Subject::Whole));
    desk.show();
    assert!(shown(&metrics, r#"voxgate_latency_burn_ratio{route="a",subject="whole",window="1h"} 10"#));
    assert!(!metrics.render().unwrap().contains(r#"burn_ratio{route="b""#));
}

#[test]
fn routes_beyond_the_limit_and_routes_that_went_are_watched_together() {
    let names: Vec<String> = (0..70).map(|number| format!("m{number:02}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let metrics = Arc::new(Metrics::new().unwrap());
    let desk = LatencyDesk::new(budgets(&names, 1_200), Arc::clone(&metrics));
    for route in ["m00", "m69", "gone"] {
        assert_eq!(desk.turn(route, None, &turn(1_300)).len(), 2, "{route}");
    }
    assert!(shown(&metrics, r#"voxgate_turn_seconds_count{route="m00"} 1"#));
    assert!(shown(&metrics, r#"voxgate_turn_seconds_count{route="other"} 2"#));
}

/// The hold is an hour: nothing ends while a test runs.
const HOLD: HoldRule = HoldRule { shortest: Duration::from_hours(1), longest: Duration::from_hours(1) };

pub(super) const SHEDDING: Actions =
    Actions { alert: true, prefer_another: PreferAnother::Never, shed_optional: true, hold: HOLD };

/// A route with two targets, of which every turn slower than its budget counts.
pub(super) fn strict(route: &str, actions: Actions) -> RouteBudgets {
    let tolerance = Tolerance { turns: 1, ..Tolerance::default() };
    let targets = [(route.to_owned(), vec!["first".to_owned(), "second".to_owned()])].into();
    RouteBudgets { targets, tolerance, actions, ..budgets(&[route], 1_200) }
}

pub(super) fn slow_at(hop: Hop) -> TurnAccount {
    let (from, to) = (Moment::read(Duration::ZERO), Moment::read(Duration::from_secs(2)));
    let trace = TurnTrace::new(1, from, to, vec![Work { hop, from, to }]);
    TurnAccount::from_trace(&trace).unwrap()
}

#[test]
fn a_slow_target_is_passed_over_from_the_next_turn_on_if_that_is_wanted() {
    for (prefer_another, expected) in [
        (PreferAnother::Never, vec![]),
        (PreferAnother::NewCalls, vec!["first"]),
        (PreferAnother::NextTurn, vec!["first"]),
    ] {
        let metrics = Arc::new(Metrics::new().unwrap());
        let actions = Actions { prefer_another, ..Actions::default() };
        let desk = LatencyDesk::new(strict("sim*", actions), Arc::clone(&metrics));
        desk.turn("sim*", Some("second"), &turn(300));
        desk.turn("sim*", Some("first"), &turn(2_000));
        assert_eq!(desk.passed_over("sim*").into_iter().collect::<Vec<_>>(), expected);
        assert_eq!(desk.moves_running(), prefer_another == PreferAnother::NextTurn);
        let [report] = &desk.report()[..] else { panic!("one route is watched") };
        let held = |(target, held): &(Option<String>, Held)| {
            let is_for_five_minutes = held.until == held.since + Duration::from_mins(5);
            target.as_deref() == Some("first") && is_for_five_minutes && held.since <= report.now
        };
        assert!(report.advice.iter().any(held), "{report:?}");
        // It is told in any case.
        let line = r#"voxgate_latency_advice{action="prefer_another",owner="provider",route="sim*",subject="model",target="first"} 1"#;
        assert!(shown(&metrics, line), "{}", metrics.render().unwrap());
        let line =
            r#"voxgate_latency_target_breaches_total{spender="model",subject="whole",target="first"} 1"#;
        assert!(shown(&metrics, line), "{}", metrics.render().unwrap());
        assert!(shown(&metrics, r#"voxgate_target_turn_seconds_count{target="second"} 1"#));
    }
}

#[test]
fn optional_work_is_left_out_while_the_gateway_itself_is_slow_and_only_if_that_is_wanted() {
    for shed_optional in [false, true] {
        let metrics = Arc::new(Metrics::new().unwrap());
        let actions = Actions { shed_optional, ..Actions::default() };
        let desk = Arc::new(LatencyDesk::new(strict("sim*", actions), Arc::clone(&metrics)));
        let relief = Relief::new(Arc::clone(&desk), "sim*".to_owned());
        assert!(!relief.leaves_out(Optional::Opinion));
        desk.turn("sim*", Some("first"), &slow_at(Hop::Pacing));
        assert_eq!(relief.leaves_out(Optional::Opinion), shed_optional);
        let line = r#"voxgate_latency_shed_total{route="sim*",work="opinion"} 1"#;
        assert_eq!(shown(&metrics, line), shed_optional);
        assert!(desk.passed_over("sim*").is_empty(), "it is no provider's fault");
    }
}

#[test]
fn an_alert_nobody_wants_is_not_told_and_what_is_done_survives_another_configuration() {
    let metrics = Arc::new(Metrics::new().unwrap());
    let actions = Actions { alert: false, prefer_another: PreferAnother::NewCalls, ..Actions::default() };
    let desk = LatencyDesk::new(strict("sim*", actions), Arc::clone(&metrics));
    desk.turn("sim*", Some("first"), &turn(2_000));
    assert!(!metrics.render().unwrap().contains(r#"action="alert""#));
    desk.configure(strict("sim*", Actions { alert: true, ..actions }));
    assert_eq!(desk.passed_over("sim*").len(), 1);
    let line = r#"voxgate_latency_advice{action="prefer_another",owner="provider",route="sim*",subject="model",target="first"} 1"#;
    assert!(shown(&metrics, line));
    let report = desk.report();
    assert_eq!((report.len(), report[0].route.as_str()), (1, "sim*"));
    assert_eq!(report[0].budget.whole, Some(Duration::from_millis(1_200)));
    assert!(report[0].burn.contains(&(Subject::Whole, [20.0; 3])), "{report:?}");
    assert_eq!(report[0].turns, [1; 3]);
    let without_turns = LatencyDesk::new(strict("sim*", actions), metrics);
    assert_eq!(without_turns.report()[0].turns, [0; 3]);
    assert_eq!(without_turns.tolerance(), strict("sim*", actions).tolerance);
    let told = |(target, held): &(Option<String>, Held)| {
        target.as_deref() == Some("first") && held.advice.action == Action::PreferAnother
    };
    assert!(report[0].advice.iter().any(told), "{report:?}");
}

#[test]
fn no_more_targets_are_watched_than_there_is_room_for() {
    let routes: Vec<String> = (0..40).map(|number| format!("r{number:02}")).collect();
    let names: Vec<&str> = routes.iter().map(String::as_str).collect();
    let pair = || vec!["a".to_owned(), "b".to_owned()];
    let targets = routes.iter().map(|route| (route.clone(), pair())).collect();
    let actions = Actions { prefer_another: PreferAnother::NewCalls, ..Actions::default() };
    let tolerance = Tolerance { turns: 1, ..Tolerance::default() };
    let desk = LatencyDesk::new(
        RouteBudgets { targets, tolerance, actions, ..budgets(&names, 1_200) },
        Arc::new(Metrics::new().unwrap()),
    );
    for route in &routes {
        desk.turn(route, Some("a"), &turn(2_000));
    }
    let watched = routes.iter().filter(|route| !desk.passed_over(route).is_empty()).count();
    assert_eq!(watched, MOST_TARGETS / 2);
}
