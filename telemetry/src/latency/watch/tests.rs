use voxgate_protocol::timeline::{Certainty, HopTime, TurnTimeline};

use super::*;

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_mins(1);

fn turn(hop: Hop, milliseconds: u64) -> TurnAccount {
    let duration = Duration::from_millis(milliseconds);
    let hops = vec![HopTime { hop, duration, certainty: Certainty::Measured }];
    TurnAccount::from_timeline(&TurnTimeline { turn: 1, hops }, None).unwrap()
}

fn watch() -> LatencyWatch {
    LatencyWatch::new(LatencyBudget::speech_to_speech(), Tolerance::default())
}

/// A turn every ten seconds from `from` until `to`.
fn talk(watch: &mut LatencyWatch, from: Duration, to: Duration, account: &TurnAccount) {
    let mut now = from;
    while now < to {
        watch.turn(now, account);
        now += 10 * SECOND;
    }
}

fn actions(advice: &[Advice]) -> Vec<(Action, Subject)> {
    advice.iter().map(|advice| (advice.action, advice.subject)).collect()
}

#[test]
fn a_provider_that_is_slow_for_long_is_told_and_another_preferred_until_it_is_well() {
    let mut watch = watch();
    talk(&mut watch, Duration::ZERO, 30 * MINUTE, &turn(Hop::Model, 400));
    assert_eq!(watch.advice(30 * MINUTE), []);
    talk(&mut watch, 30 * MINUTE, 60 * MINUTE, &turn(Hop::Model, 2_000));
    let advice = watch.advice(60 * MINUTE);
    let model = Subject::Hop(Hop::Model);
    let expected = [(Action::Alert, Subject::Whole), (Action::Alert, model), (Action::PreferAnother, model)];
    assert_eq!(actions(&advice), expected);
    assert_eq!(advice[2].owner, Some(HopOwner::Provider));
    assert!((watch.burn(60 * MINUTE, Window::FiveMinutes, model) - 20.0).abs() < 1e-9, "every turn is slow");
    // Well for two hours: of the last hour nothing burns, of the last six the half hour no longer counts.
    talk(&mut watch, 60 * MINUTE, 240 * MINUTE, &turn(Hop::Model, 400));
    assert_eq!(watch.advice(240 * MINUTE), []);
    assert!(watch.burn(240 * MINUTE, Window::SixHours, model) > 2.0, "and it is still remembered");
}

#[test]
fn a_bad_minute_in_a_good_hour_is_nothing() {
    let mut watch = watch();
    talk(&mut watch, Duration::ZERO, 58 * MINUTE, &turn(Hop::Model, 400));
    talk(&mut watch, 58 * MINUTE, 60 * MINUTE, &turn(Hop::Model, 2_000));
    assert!(watch.burn(60 * MINUTE, Window::FiveMinutes, Subject::Whole) > 6.0);
    assert_eq!(watch.advice(60 * MINUTE), []);
}

#[test]
fn a_few_slow_turns_alone_prove_nothing() {
    let mut watch = watch();
    for count in 1..=10 {
        assert_eq!(watch.turn(MINUTE, &turn(Hop::Model, 2_000)).len(), 2);
        assert_eq!(watch.advice(MINUTE).is_empty(), count < 10, "after {count} turns");
    }
}

#[test]
fn slow_policies_are_remedied_only_while_callers_feel_them() {
    let mut watch = watch();
    talk(&mut watch, Duration::ZERO, 10 * MINUTE, &turn(Hop::Policy, 300));
    let policy = Subject::Hop(Hop::Policy);
    assert_eq!(
        actions(&watch.advice(10 * MINUTE)),
        [(Action::Alert, policy)],
        "0.3 s is a short turn all the same"
    );
    talk(&mut watch, 10 * MINUTE, 40 * MINUTE, &turn(Hop::Policy, 1_300));
    let expected = [(Action::Alert, Subject::Whole), (Action::Alert, policy), (Action::ShedOptional, policy)];
    assert_eq!(actions(&watch.advice(40 * MINUTE)), expected);
}

#[test]
fn slow_networks_and_pauses_are_told_and_nothing_else() {
    for hop in [Hop::Downlink, Hop::Endpointing, Hop::Playout] {
        let mut watch = watch();
        talk(&mut watch, Duration::ZERO, 10 * MINUTE, &turn(hop, 3_000));
        let advice = watch.advice(10 * MINUTE);
        assert!(
            advice.iter().all(|advice| advice.action == Action::Alert) && advice.len() == 2,
            "{advice:?}"
        );
    }
}

#[test]
fn a_tolerance_no_route_can_exceed_is_impossible() {
    assert!(Tolerance::default().is_possible());
    assert!(!Tolerance { allowed: 200, ..Tolerance::default() }.is_possible(), "a burn of 6 would be 120 %");
    assert!(!Tolerance { allowed: 0, ..Tolerance::default() }.is_possible());
    assert!(!Tolerance { slow: 0, ..Tolerance::default() }.is_possible());
}
