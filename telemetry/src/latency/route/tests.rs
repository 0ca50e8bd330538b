use voxgate_protocol::timeline::{Certainty, Hop, HopTime, TurnTimeline};

use super::*;

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_mins(1);

fn turn(hop: Hop, milliseconds: u64) -> TurnAccount {
    let duration = Duration::from_millis(milliseconds);
    let hops = vec![HopTime { hop, duration, certainty: Certainty::Measured }];
    TurnAccount::from_timeline(&TurnTimeline { turn: 1, hops }, None).unwrap()
}

fn route() -> RouteWatch {
    let budget = LatencyBudget::speech_to_speech();
    let mut route = RouteWatch::new(budget, Tolerance::default(), HoldRule::default());
    route.watch_targets(&["fast".to_owned(), "slow".to_owned()]);
    route
}

/// What was begun (`+`) and ended (`-`), and for whom.
fn told(changes: &[RouteChange]) -> Vec<String> {
    let told = changes.iter().map(|RouteChange { target, change }| {
        let sign = if change.begins { '+' } else { '-' };
        let target = target.as_deref().unwrap_or("*");
        format!("{sign}{:?} {} {target}", change.advice.action, change.advice.subject.as_str())
    });
    told.collect()
}

#[test]
fn the_target_that_is_slow_is_passed_over_and_the_one_that_is_not_is_not() {
    let mut route = route();
    let mut changes = Vec::new();
    for number in 0..20 {
        let now = number * SECOND;
        route.turn(now, Some("fast"), &turn(Hop::Model, 300));
        route.turn(now, Some("slow"), &turn(Hop::Model, 2_000));
        changes.extend(route.look(now));
    }
    // The tenth turn of the slow one decides; of the route half the turns are slow, and the tenth turn of all is enough.
    let expected = ["+Alert whole *", "+Alert model *", "+PreferAnother model slow"];
    assert_eq!(told(&changes), expected);
    assert!(route.is_passed_over("slow") && !route.is_passed_over("fast") && !route.sheds());
    let (subject, budget) = (Subject::Hop(Hop::Model), Some(Duration::from_millis(500)));
    let spending = Spending { turns: 20, breaches: 20 };
    let grounds = |target| route.grounds(20 * SECOND, target, Action::PreferAnother);
    assert_eq!(grounds(Some("slow")), Some(Grounds { subject, budget, spending }));
    for target in [Some("fast"), Some("unknown"), None] {
        assert_eq!(grounds(target), None);
    }
}

#[test]
fn a_target_that_was_passed_over_for_long_enough_is_tried_again_and_decides_for_itself() {
    let mut route = route();
    let mut now = Duration::ZERO;
    for minutes in [5, 10, 20] {
        for _ in 0..10 {
            assert!(!route.is_passed_over("slow"));
            route.turn(now, Some("slow"), &turn(Hop::Model, 2_000));
            route.look(now);
        }
        assert!(route.is_passed_over("slow"), "ten slow turns are enough each time");
        // Somebody else serves well meanwhile.
        let until = now + minutes * MINUTE;
        while now + SECOND < until {
            now += SECOND;
            route.turn(now, Some("fast"), &turn(Hop::Model, 300));
            route.look(now);
            assert!(route.is_passed_over("slow"));
        }
        now = until;
        route.look(now);
    }
    for _ in 0..100 {
        route.turn(now, Some("slow"), &turn(Hop::Model, 300));
        now += SECOND;
        route.look(now);
        assert!(!route.is_passed_over("slow"), "it is well again");
    }
}

#[test]
fn work_of_the_gateway_that_is_slow_has_optional_work_left_out_until_it_is_well() {
    let mut route = route();
    let mut now = Duration::ZERO;
    for _ in 0..10 {
        now += SECOND;
        route.turn(now, Some("fast"), &turn(Hop::Pacing, 1_500));
        route.look(now);
    }
    assert!(route.sheds() && !route.is_passed_over("fast"));
    let mut changes = Vec::new();
    for _ in 0..3 * 3_600 {
        now += SECOND;
        route.turn(now, Some("fast"), &turn(Hop::Model, 300));
        changes.extend(route.look(now));
    }
    assert!(!route.sheds());
    assert_eq!(told(&changes), ["-Alert whole *", "-Alert pacing *", "-ShedOptional pacing *"]);
}

#[test]
fn what_changes_is_told_once_however_often_it_is_looked_at() {
    let mut route = route();
    for _ in 0..10 {
        route.turn(SECOND, Some("slow"), &turn(Hop::Model, 2_000));
    }
    assert_eq!(route.look(SECOND).len(), 3);
    for second in 1..60 {
        assert_eq!(route.look(second * SECOND), []);
    }
    let current: Vec<_> = route.current().map(|(target, advice)| (target, advice.action)).collect();
    let expected = [(None, Action::Alert), (None, Action::Alert), (Some("slow"), Action::PreferAnother)];
    assert_eq!(current, expected);
}

#[test]
fn targets_that_went_from_the_configuration_are_forgotten_and_those_that_stay_are_not() {
    let mut route = route();
    for _ in 0..10 {
        route.turn(SECOND, Some("slow"), &turn(Hop::Model, 2_000));
        route.turn(SECOND, Some("unknown"), &turn(Hop::Model, 2_000));
    }
    route.look(SECOND);
    route.watch_targets(&["slow".to_owned()]);
    assert!(route.is_passed_over("slow") && !route.is_passed_over("unknown"));
    route.watch_targets(&["fast".to_owned()]);
    assert!(!route.is_passed_over("slow"));
    route.watch_targets(&["fast".to_owned(), "slow".to_owned()]);
    assert!(!route.is_passed_over("slow"), "it begins anew");
}

#[test]
fn another_budget_judges_the_next_look() {
    let mut route = route();
    for _ in 0..10 {
        route.turn(SECOND, Some("slow"), &turn(Hop::Model, 2_000));
    }
    let generous = LatencyBudget { whole: Some(3 * SECOND), ..LatencyBudget::speech_to_speech() };
    let patient = Tolerance { turns: 100, ..Tolerance::default() };
    route.set(generous, patient, HoldRule::default());
    assert_eq!(route.look(SECOND), []);
}
