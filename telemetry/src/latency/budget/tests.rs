use voxgate_protocol::timeline::{Certainty, HopTime, TurnTimeline};

use super::*;

const MS: Duration = Duration::from_millis(1);

fn turn(hops: &[(Hop, u32)]) -> TurnAccount {
    let time = |(hop, duration): &(Hop, u32)| HopTime {
        hop: *hop,
        duration: *duration * MS,
        certainty: Certainty::Measured,
    };
    let timeline = TurnTimeline { turn: 1, hops: hops.iter().map(time).collect() };
    TurnAccount::from_timeline(&timeline, None).unwrap()
}

#[test]
fn the_defaults_are_budgets_and_let_a_usual_turn_pass() {
    for budget in [LatencyBudget::cascade(), LatencyBudget::speech_to_speech()] {
        assert_eq!(budget.faults(), []);
    }
    let around = [
        (Hop::Capture, 15),
        (Hop::Uplink, 20),
        (Hop::Endpointing, 510),
        (Hop::Downlink, 20),
        (Hop::Playout, 60),
    ];
    let cascade = turn(&[&around[..], &[(Hop::Stt, 90), (Hop::Model, 350), (Hop::Tts, 120)]].concat());
    assert_eq!(LatencyBudget::cascade().breaches(&cascade), []);
    let speech = turn(&[&around[..], &[(Hop::Model, 400)]].concat());
    assert_eq!(LatencyBudget::speech_to_speech().breaches(&speech), []);
}

#[test]
fn a_slow_hop_breaches_its_own_budget_and_is_named_as_the_spender_of_the_whole() {
    let slow = turn(&[(Hop::Endpointing, 540), (Hop::Model, 1_100)]);
    let breaches = LatencyBudget::speech_to_speech().breaches(&slow);
    let [whole, model] = breaches[..] else { panic!("{breaches:?}") };
    assert_eq!((whole.subject, whole.spender, whole.spent), (Subject::Whole, Some(Hop::Model), 1_640 * MS));
    assert_eq!((model.subject, model.budget), (Subject::Hop(Hop::Model), 500 * MS));
    assert!(breaches.iter().all(|breach| breach.owner() == Some(HopOwner::Provider) && breach.is_certain));
}

#[test]
fn a_hop_at_its_budget_keeps_it() {
    let budget = LatencyBudget { whole: None, hops: BTreeMap::from([(Hop::Model, 300 * MS)]) };
    assert_eq!(budget.breaches(&turn(&[(Hop::Model, 300)])), []);
    assert_eq!(budget.breaches(&turn(&[(Hop::Model, 301), (Hop::Tts, 9_000)])).len(), 1);
}

#[test]
fn time_nobody_explains_is_nobodys_and_may_have_a_budget() {
    let budget =
        LatencyBudget { whole: Some(500 * MS), hops: BTreeMap::from([(Hop::Unattributed, 50 * MS)]) };
    let breaches = budget.breaches(&turn(&[(Hop::Model, 100), (Hop::Unattributed, 600)]));
    assert_eq!(breaches.len(), 2);
    assert!(
        breaches.iter().all(|breach| breach.spender == Some(Hop::Unattributed) && breach.owner().is_none())
    );
}

#[test]
fn a_whole_that_is_too_long_though_every_hop_kept_its_budget_is_the_longest_hops() {
    let budget = LatencyBudget { whole: Some(500 * MS), hops: BTreeMap::from([(Hop::Model, 400 * MS)]) };
    let breaches = budget.breaches(&turn(&[(Hop::Model, 400), (Hop::Tts, 200)]));
    assert_eq!(breaches.iter().map(|breach| breach.spender).collect::<Vec<_>>(), [Some(Hop::Model)]);
}

#[test]
fn a_breach_is_certain_if_it_is_larger_than_the_known_error_of_its_estimate() {
    let playout = |duration, whole: Option<u32>| {
        let hops = vec![
            HopTime { hop: Hop::Playout, duration: duration * MS, certainty: Certainty::Estimated },
            HopTime { hop: Hop::Model, duration: 300 * MS, certainty: Certainty::Measured },
        ];
        let timeline = TurnTimeline { turn: 1, hops };
        let whole = whole.map(|whole| Whole::measured(whole * MS));
        let account = TurnAccount::from_timeline(&timeline, whole).unwrap();
        let breaches = LatencyBudget::speech_to_speech().breaches(&account);
        let [breach] = breaches[..] else { panic!("{breaches:?}") };
        (breach.spent, breach.is_certain)
    };
    assert_eq!(playout(160, Some(410)), (110 * MS, false), "50 ms had to give way, 10 are too many");
    assert_eq!(playout(220, Some(510)), (210 * MS, true), "10 ms had to give way, 110 are too many");
    assert_eq!(playout(400, None), (400 * MS, false), "nobody knows how wrong it is");
}

#[test]
fn a_budget_of_nothing_or_beyond_the_whole_is_a_fault() {
    let hops = BTreeMap::from([(Hop::Model, 600 * MS), (Hop::Tts, Duration::ZERO), (Hop::Stt, 500 * MS)]);
    let budget = LatencyBudget { whole: Some(500 * MS), hops };
    assert_eq!(budget.faults(), [Subject::Hop(Hop::Model), Subject::Hop(Hop::Tts)]);
    let budget = LatencyBudget { whole: Some(2 * LONGEST_TURN), hops: BTreeMap::new() };
    assert_eq!(budget.faults(), [Subject::Whole]);
}
