use std::time::Duration;

use proptest::prelude::*;
use voxgate_protocol::timeline::{Certainty, Hop, HopOwner, HopTime, TurnTimeline};

use super::account::{Stretch, TurnAccount, Whole};
use super::clock::{ClientClock, Exchange};
use super::stamp::{Claim, Stamp};
use super::{LONGEST_TURN, LatencyError, MOST_CLAIMS};

const MS: Duration = Duration::from_millis(1);

fn at(milliseconds: u32) -> Stamp {
    Stamp::gateway(milliseconds * MS)
}

fn claim(hop: Hop, from: u32, to: u32) -> Claim {
    Claim::new(hop, at(from), at(to))
}

fn account(mouth: u32, ear: u32, claims: &[Claim]) -> TurnAccount {
    TurnAccount::from_claims(1, &at(mouth), &at(ear), claims).unwrap()
}

fn waited(account: &TurnAccount, hop: Hop) -> Duration {
    account.hop(hop).map_or(Duration::ZERO, |hop| hop.duration)
}

fn time(hop: Hop, milliseconds: u32, certainty: Certainty) -> HopTime {
    HopTime { hop, duration: milliseconds * MS, certainty }
}

#[test]
fn hops_in_sequence_are_what_they_say_and_gaps_are_unattributed() {
    let account = account(
        1_000,
        2_000,
        &[
            claim(Hop::Endpointing, 1_000, 1_500),
            claim(Hop::Model, 1_520, 1_820),
            claim(Hop::Tts, 1_820, 1_990),
        ],
    );
    assert_eq!(account.whole, Whole::measured(1_000 * MS));
    assert_eq!(waited(&account, Hop::Endpointing), 500 * MS);
    assert_eq!(waited(&account, Hop::Model), 300 * MS);
    assert_eq!(waited(&account, Hop::Tts), 170 * MS);
    assert_eq!(account.unattributed, 30 * MS);
    assert!(account.hops.iter().all(|hop| hop.certainty == Certainty::Measured && hop.error.is_zero()));
    assert_eq!(account.owned_by(HopOwner::Provider), 470 * MS);
    assert_eq!(account.timeline().mouth_to_ear(), 1_000 * MS);
}

#[test]
fn recognition_that_streamed_while_the_caller_spoke_is_ahead_and_overlapped() {
    let account = account(
        1_000,
        1_900,
        &[
            claim(Hop::Stt, 200, 1_250),
            claim(Hop::Endpointing, 1_000, 1_200),
            claim(Hop::Model, 1_250, 1_900),
        ],
    );
    let stt = account.hop(Hop::Stt).unwrap();
    assert_eq!((stt.ahead, stt.overlapped, stt.duration), (800 * MS, 200 * MS, 50 * MS));
    assert_eq!(
        stt.stretches,
        [
            Stretch { start: Duration::ZERO, duration: 200 * MS, is_overlapped: true },
            Stretch { start: 200 * MS, duration: 50 * MS, is_overlapped: false },
        ]
    );
    assert_eq!(account.unattributed, Duration::ZERO);
}

#[test]
fn an_early_answer_costs_the_turn_only_what_was_left_of_it() {
    let account = account(
        0,
        700,
        &[claim(Hop::Endpointing, 0, 500), claim(Hop::Model, 100, 600), claim(Hop::Tts, 600, 700)],
    );
    let model = account.hop(Hop::Model).unwrap();
    assert_eq!((model.duration, model.overlapped), (100 * MS, 400 * MS));
    assert_eq!(waited(&account, Hop::Endpointing), 500 * MS);
}

#[test]
fn a_guardrail_beside_the_model_is_waited_for_only_once_the_model_is_done() {
    let beside = Claim::beside(Hop::Policy, at(100), at(450));
    let account = account(0, 500, &[claim(Hop::Model, 100, 400), beside, claim(Hop::Tts, 450, 500)]);
    let policy = account.hop(Hop::Policy).unwrap();
    assert_eq!((policy.duration, policy.overlapped), (50 * MS, 300 * MS));
    assert_eq!(waited(&account, Hop::Model), 300 * MS);
    assert_eq!(account.unattributed, 100 * MS);
}

#[test]
fn a_hop_whose_end_nobody_saw_is_named_and_its_time_is_unattributed() {
    let open = Claim { to: None, ..claim(Hop::Model, 500, 500) };
    let backwards = claim(Hop::Tts, 900, 800);
    let account = account(0, 1_000, &[claim(Hop::Endpointing, 0, 500), open, backwards]);
    assert_eq!(account.unknown, [Hop::Model, Hop::Tts]);
    assert!(account.hop(Hop::Model).is_none());
    assert_eq!(account.unattributed, 500 * MS);
}

#[test]
fn a_claim_that_reaches_beyond_the_ear_takes_no_more_than_the_turn() {
    let account = account(100, 200, &[claim(Hop::Playout, 150, 900)]);
    assert_eq!(waited(&account, Hop::Playout), 50 * MS);
    assert_eq!(account.unattributed, 50 * MS);
}

#[test]
fn what_nobody_can_believe_has_no_account() {
    let reckon = |mouth, ear, claims: &[Claim]| TurnAccount::from_claims(1, &at(mouth), &at(ear), claims);
    assert_eq!(reckon(10, 9, &[]), Err(LatencyError::HeardTooSoon));
    let hour = u32::try_from(LONGEST_TURN.as_millis()).unwrap();
    assert!(reckon(0, hour, &[]).is_ok());
    assert_eq!(reckon(0, hour + 1, &[]), Err(LatencyError::TooLong));
    let claims = vec![claim(Hop::Model, 0, 1); MOST_CLAIMS + 1];
    assert_eq!(reckon(0, 9, &claims), Err(LatencyError::TooManyClaims));
    assert!(reckon(0, 9, &claims[1..]).is_ok());
}

/// A client whose clock reads 5 s more than the gateway's, asked over 10 ms there and 30 ms back.
fn client_clock() -> ClientClock {
    let mut clock = ClientClock::default();
    assert!(clock.exchanged(Exchange {
        asked: 100 * MS,
        received: 5_110 * MS,
        replied: 5_115 * MS,
        answered: 145 * MS,
    }));
    clock
}

#[test]
fn the_offset_of_a_client_clock_is_wrong_by_at_most_half_the_round_trip() {
    let offset = client_clock().offset(145 * MS).unwrap();
    let read = offset.to_gateway(6_000 * MS).unwrap();
    assert_eq!(read, 1_010 * MS, "the true time is 1,000 ms, the way back was 20 ms slower");
    assert!(offset.error() >= 20 * MS && offset.error() < 21 * MS, "{:?}", offset.error());
}

#[test]
fn time_between_two_readings_of_the_clients_clock_is_free_of_the_offset() {
    let offset = client_clock().offset(145 * MS).unwrap();
    let client = |milliseconds: u32| Stamp::client(milliseconds * MS, &offset).unwrap();
    let claims = [
        Claim::new(Hop::Capture, client(6_000), client(6_030)),
        Claim::new(Hop::Uplink, client(6_030), at(1_060)),
        Claim::new(Hop::Model, at(1_060), at(1_460)),
    ];
    let account = TurnAccount::from_claims(1, &client(6_000), &client(6_600), &claims).unwrap();
    assert_eq!(account.whole, Whole::measured(600 * MS));
    let capture = account.hop(Hop::Capture).unwrap();
    assert_eq!(
        (capture.duration, capture.certainty, capture.error),
        (30 * MS, Certainty::Measured, Duration::ZERO)
    );
    let uplink = account.hop(Hop::Uplink).unwrap();
    assert_eq!(
        (uplink.duration, uplink.certainty, uplink.error),
        (20 * MS, Certainty::Estimated, offset.error())
    );
    assert_eq!(account.hop(Hop::Model).unwrap().certainty, Certainty::Measured);
}

#[test]
fn a_quick_exchange_is_believed_until_it_is_too_old() {
    let mut clock = ClientClock::default();
    let exchange = |asked: Duration, each_way: Duration| Exchange {
        asked,
        received: asked + each_way,
        replied: asked + each_way,
        answered: asked + 2 * each_way,
    };
    clock.exchanged(exchange(Duration::ZERO, MS));
    clock.exchanged(exchange(10_000 * MS, 20 * MS));
    assert!(clock.offset(11_000 * MS).unwrap().error() < 3 * MS, "the quick one, 11 s old");
    let later = clock.offset(1_000_000 * MS).unwrap().error();
    assert!(later > 100 * MS, "what was known a quarter of an hour ago is worth little: {later:?}");
    clock.exchanged(exchange(1_000_000 * MS, 30 * MS));
    assert!(clock.offset(1_000_060 * MS).unwrap().error() < 31 * MS);
}

#[test]
fn a_client_clock_that_was_set_is_learned_anew() {
    let mut clock = client_clock();
    // Slower than the exchange before, which would be believed if it were still remembered.
    let set = Exchange { asked: 500 * MS, received: 90_600 * MS, replied: 90_600 * MS, answered: 700 * MS };
    assert!(clock.exchanged(set));
    assert_eq!(clock.offset(700 * MS).unwrap().to_gateway(91_000 * MS), Some(1_000 * MS));
}

#[test]
fn an_exchange_that_contradicts_itself_is_ignored() {
    let mut clock = ClientClock::default();
    let good = Exchange { asked: 10 * MS, received: 20 * MS, replied: 25 * MS, answered: 40 * MS };
    for bad in [
        Exchange { answered: 9 * MS, ..good },
        Exchange { replied: 19 * MS, ..good },
        Exchange { replied: 60 * MS, ..good },
        Exchange { received: Duration::MAX, replied: Duration::MAX, ..good },
    ] {
        assert!(!clock.exchanged(bad), "{bad:?}");
    }
    assert_eq!(clock.offset(50 * MS), None);
    assert!(clock.exchanged(good));
    assert_eq!(clock.offset(50 * MS).unwrap().to_gateway(Duration::MAX), None);
}

#[test]
fn a_waterfall_shorter_than_the_measured_whole_leaves_the_rest_unattributed() {
    let timeline = TurnTimeline {
        turn: 3,
        hops: vec![time(Hop::Model, 400, Certainty::Measured), time(Hop::Uplink, 20, Certainty::Estimated)],
    };
    let account = TurnAccount::from_timeline(&timeline, Some(Whole::measured(450 * MS))).unwrap();
    assert_eq!((account.turn, account.unattributed, account.overrun), (3, 30 * MS, Duration::ZERO));
    let order: Vec<_> = account.timeline().hops.iter().map(|hop| hop.hop).collect();
    assert_eq!(order, [Hop::Uplink, Hop::Model, Hop::Unattributed]);
}

#[test]
fn estimates_give_way_to_the_measured_whole_before_measurements_do() {
    let timeline = TurnTimeline {
        turn: 1,
        hops: vec![
            time(Hop::Uplink, 30, Certainty::Estimated),
            time(Hop::Model, 400, Certainty::Measured),
            time(Hop::Playout, 60, Certainty::Estimated),
        ],
    };
    let account = TurnAccount::from_timeline(&timeline, Some(Whole::measured(430 * MS))).unwrap();
    assert_eq!(waited(&account, Hop::Uplink), 10 * MS);
    assert_eq!(waited(&account, Hop::Playout), 20 * MS);
    assert_eq!(account.hop(Hop::Playout).unwrap().error, 40 * MS);
    assert_eq!(waited(&account, Hop::Model), 400 * MS);
    assert_eq!(account.hop(Hop::Model).unwrap().certainty, Certainty::Measured);
    assert_eq!(account.overrun, 60 * MS);

    let account = TurnAccount::from_timeline(&timeline, Some(Whole::measured(300 * MS))).unwrap();
    let model = account.hop(Hop::Model).unwrap();
    assert_eq!((model.duration, model.certainty, model.error), (300 * MS, Certainty::Estimated, 100 * MS));
    assert_eq!(waited(&account, Hop::Uplink), Duration::ZERO);
    assert_eq!(account.overrun, 190 * MS);
}

#[test]
fn a_waterfall_without_a_measured_whole_is_its_own() {
    let timeline = TurnTimeline {
        turn: 1,
        hops: vec![
            time(Hop::Model, 400, Certainty::Measured),
            time(Hop::Unattributed, 70, Certainty::Measured),
        ],
    };
    let account = TurnAccount::from_timeline(&timeline, None).unwrap();
    assert_eq!(account.whole, Whole::measured(470 * MS));
    assert_eq!(account.unattributed, 70 * MS);
    assert_eq!(account.timeline(), timeline);
}

fn any_hop() -> impl Strategy<Value = Hop> {
    prop::sample::select(Hop::ALL.to_vec())
}

/// Mostly within a turn, sometimes anywhere.
fn any_time() -> impl Strategy<Value = Duration> {
    prop_oneof![
        8 => (0..5_000_u64).prop_map(Duration::from_millis),
        2 => any::<u64>().prop_map(Duration::from_nanos),
        1 => Just(Duration::MAX),
    ]
}

fn any_stamp() -> impl Strategy<Value = Stamp> {
    prop_oneof![
        any_time().prop_map(Stamp::gateway),
        (any_time(), any_time()).prop_map(|(at, error)| Stamp::estimated(at, error)),
    ]
}

fn any_claim() -> impl Strategy<Value = Claim> {
    let end = || prop::option::weighted(0.9, any_stamp());
    (any_hop(), end(), end(), any::<bool>()).prop_map(|(hop, from, to, is_beside)| Claim {
        hop,
        from,
        to,
        is_beside,
    })
}

fn any_timeline() -> impl Strategy<Value = TurnTimeline> {
    let certainty = prop_oneof![Just(Certainty::Measured), Just(Certainty::Estimated)];
    let duration = (0..4_000_000_000_u64).prop_map(Duration::from_nanos);
    let hop = (any_hop(), duration, certainty).prop_map(|(hop, duration, certainty)| HopTime {
        hop,
        duration,
        certainty,
    });
    prop::collection::vec(hop, 0..24).prop_map(|hops| TurnTimeline { turn: 1, hops })
}

/// Whether an account is consistent with itself; what the properties below share.
fn assert_sums(account: &TurnAccount) -> Result<(), TestCaseError> {
    let hops: Duration = account.hops.iter().map(|hop| hop.duration).sum();
    prop_assert_eq!(hops + account.unattributed, account.whole.duration);
    prop_assert_eq!(account.timeline().mouth_to_ear(), account.whole.duration);
    prop_assert!(account.hops.iter().all(|hop| hop.hop != Hop::Unattributed));
    prop_assert!(account.hops.is_sorted_by(|one, next| one.hop < next.hop), "in order, each once");
    Ok(())
}

proptest! {
    #[test]
    fn hops_and_the_unattributed_rest_are_the_whole_whatever_the_stamps(
        mouth in any_stamp(), ear in any_stamp(), claims in prop::collection::vec(any_claim(), 0..24),
    ) {
        match TurnAccount::from_claims(1, &mouth, &ear, &claims) {
            Ok(account) => {
                prop_assert_eq!(account.whole.duration, ear.at() - mouth.at());
                assert_sums(&account)?;
            }
            Err(LatencyError::HeardTooSoon) => prop_assert!(ear.at() < mouth.at()),
            Err(LatencyError::TooLong) => prop_assert!(ear.at() - mouth.at() > LONGEST_TURN),
            Err(other) => prop_assert!(false, "{other}"),
        }
    }

    #[test]
    fn every_moment_of_a_turn_is_waited_for_one_hop_at_most_and_drawn_where_it_was_claimed(
        claims in prop::collection::vec(any_claim(), 0..24),
    ) {
        let account = TurnAccount::from_claims(1, &at(1_000), &at(3_000), &claims).unwrap();
        let mut covered: Vec<_> = Vec::new();
        for hop in &account.hops {
            let sum = |is_overlapped| -> Duration {
                hop.stretches.iter().filter(|one| one.is_overlapped == is_overlapped).map(|one| one.duration).sum()
            };
            prop_assert_eq!(sum(false), hop.duration);
            prop_assert_eq!(sum(true), hop.overlapped);
            for stretch in &hop.stretches {
                let middle = 1_000 * MS + stretch.start + stretch.duration / 2;
                let is_claimed = claims.iter().any(|claim| {
                    claim.hop == hop.hop
                        && claim.from.is_some_and(|from| from.at() <= middle)
                        && claim.to.is_some_and(|to| middle <= to.at())
                });
                prop_assert!(is_claimed, "{:?} has {stretch:?}", hop.hop);
            }
            let waited = hop.stretches.iter().filter(|one| !one.is_overlapped);
            covered.extend(waited.map(|one| (one.start, one.start + one.duration)));
        }
        covered.sort_unstable();
        prop_assert!(covered.windows(2).all(|pair| pair[0].1 <= pair[1].0), "two hops at one moment");
    }

    #[test]
    fn a_hop_is_measured_only_if_all_it_is_made_of_was(
        claims in prop::collection::vec(any_claim(), 0..24),
    ) {
        let account = TurnAccount::from_claims(1, &at(0), &at(5_000), &claims).unwrap();
        for hop in account.hops.iter().filter(|hop| hop.certainty == Certainty::Measured) {
            prop_assert!(hop.error.is_zero());
        }
        for claim in &claims {
            let is_in_order = matches!((claim.from, claim.to), (Some(from), Some(to)) if from.at() <= to.at());
            if claim.hop != Hop::Unattributed && !is_in_order {
                prop_assert!(account.unknown.contains(&claim.hop));
            }
        }
    }

    #[test]
    fn a_waterfall_sums_to_any_whole_and_no_hop_grows(
        timeline in any_timeline(), whole in prop::option::of(0..20_000_000_000_u64),
    ) {
        let whole = whole.map(|nanos| Whole::measured(Duration::from_nanos(nanos)));
        let account = TurnAccount::from_timeline(&timeline, whole).unwrap();
        assert_sums(&account)?;
        prop_assert_eq!(whole.unwrap_or(account.whole), account.whole);
        let mut cut = Duration::ZERO;
        for hop in &account.hops {
            let said: Duration =
                timeline.hops.iter().filter(|time| time.hop == hop.hop).map(|time| time.duration).sum();
            prop_assert!(hop.duration <= said);
            cut += said - hop.duration;
        }
        prop_assert_eq!(cut, account.overrun, "nothing is cut without being said");
    }

    #[test]
    fn the_true_time_is_within_the_error_of_a_clock_that_drifts(
        start in 0..100_000_u64, ppm in -100..=100_i64, wait in 0..600_000_u64,
        ways in prop::collection::vec((0..400_u64, 0..50_u64, 0..400_u64), 1..12),
    ) {
        // All in microseconds of the gateway's clock; the client's runs faster or slower by `ppm`.
        let client = |micros: u64| {
            let ran = i64::try_from(micros).unwrap();
            Duration::from_micros(start + u64::try_from(ran + ran * ppm / 1_000_000).unwrap())
        };
        let mut clock = ClientClock::default();
        let mut now = 0;
        for (forth, held, back) in ways {
            let [received, replied, answered] =
                [now + forth * 1_000, now + (forth + held) * 1_000, now + (forth + held + back) * 1_000];
            let exchange = Exchange {
                asked: Duration::from_micros(now),
                received: client(received),
                replied: client(replied),
                answered: Duration::from_micros(answered),
            };
            // A clock that drifts can seem to hold an answer longer than the round trip was.
            clock.exchanged(exchange);
            now = answered + 1_000_000;
        }
        now += wait * 1_000;
        if let Some(offset) = clock.offset(Duration::from_micros(now)) {
            let read = offset.to_gateway(client(now)).unwrap_or_default();
            let apart = read.abs_diff(Duration::from_micros(now));
            // Two microseconds for the whole microseconds of this test's clocks.
            prop_assert!(apart <= offset.error() + Duration::from_micros(2), "{apart:?} > {:?}", offset.error());
        }
    }
}
