use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use voxgate_protocol::money::NanoDollars;
use voxgate_protocol::timeline::Hop;

use super::distribution::{BOUNDS_MS, BUCKETS, Distribution, bucket, quantile};
use super::question::{Dimension, Question, Span};
use super::report::{MOST_GROUPS, Report};
use super::turn::{HeardTurn, TurnOrigin};
use super::{LONGEST_AGE, Overview};
use crate::latency::account::TurnAccount;
use crate::latency::budget::{LatencyBudget, Subject};
use crate::latency::stamp::{Claim, Stamp};

const MS: Duration = Duration::from_millis(1);

fn origin(organisation: &str, provider: &str) -> Arc<TurnOrigin> {
    Arc::new(TurnOrigin {
        organisation: organisation.into(),
        provider: Some(provider.into()),
        ..TurnOrigin::default()
    })
}

fn turn(at: u64, origin: &Arc<TurnOrigin>, whole: u32) -> HeardTurn {
    let whole = whole * MS;
    let (at, origin) = (Duration::from_secs(at), Arc::clone(origin));
    HeardTurn { at, origin, whole, hops: vec![(Hop::Model, whole)], cost: None, spender: None }
}

fn question(now: u64, span: Span, by: Dimension) -> Question {
    Question { now: Duration::from_secs(now), span, by, heat: Subject::Whole }
}

fn all(overview: &Overview, question: &Question) -> Report {
    overview.report(question, |_| true)
}

fn heat_counts(report: &Report) -> u64 {
    report.heat.columns.iter().flatten().sum()
}

#[test]
fn two_providers_stand_beside_each_other_with_their_own_quantiles() {
    let mut overview = Overview::default();
    let (slow, quick) = (origin("o", "slow"), origin("o", "quick"));
    for number in 1..=100 {
        overview.turn(&turn(1_000, &quick, number));
    }
    for number in 1..=10 {
        overview.turn(&turn(1_000, &slow, 100 * number));
    }
    let report = all(&overview, &question(1_000, Span::FiveMinutes, Dimension::Provider));
    let names: Vec<_> = report.groups.iter().map(|group| group.name.as_deref().unwrap()).collect();
    assert_eq!(names, ["quick", "slow"], "most turns first");
    let quick = &report.groups[0].whole;
    assert_eq!((quick.p50, quick.p95, quick.p99, quick.max), (50 * MS, 95 * MS, 99 * MS, 100 * MS));
    assert_eq!(quick.mean, Duration::from_micros(50_500));
    let slow = &report.groups[1].whole;
    assert_eq!((slow.p50, slow.p95, slow.p99, slow.max), (500 * MS, 1_000 * MS, 1_000 * MS, 1_000 * MS));
    assert_eq!(report.groups[1].hops, [(Hop::Model, slow.clone())]);
}

#[test]
fn whoever_asks_finds_the_turns_they_may_see_and_no_trace_of_others() {
    let mut overview = Overview::default();
    let (own, foreign) = (origin("own", "p"), origin("foreign", "secret"));
    overview.turn(&turn(10, &own, 100));
    overview.turn(&HeardTurn { spender: Some(Hop::Tts), ..turn(10, &foreign, 900) });
    let mut alone = Overview::default();
    alone.turn(&turn(10, &own, 100));
    for by in Dimension::ALL {
        let question = question(11, Span::Hour, by);
        let seen = overview.report(&question, |origin| &*origin.organisation == "own");
        assert_eq!(seen, all(&alone, &question), "{by:?}");
    }
}

#[test]
fn a_slow_turn_is_counted_with_the_hop_that_spent_it() {
    let at = |milliseconds: u32| Stamp::gateway(milliseconds * MS);
    let claims = [Claim::new(Hop::Endpointing, at(0), at(500)), Claim::new(Hop::Model, at(530), at(1_430))];
    let account = TurnAccount::from_claims(1, &at(0), &at(1_430), &claims).unwrap();
    let breaches = LatencyBudget::speech_to_speech().breaches(&account);
    let heard = HeardTurn::new(5 * MS, origin("o", "p"), &account, &breaches);
    assert_eq!(heard.hops.iter().map(|(_, time)| *time).sum::<Duration>(), heard.whole);
    let mut overview = Overview::default();
    overview.turn(&heard);
    overview.turn(&HeardTurn::new(5 * MS, origin("o", "p"), &account, &[]));
    let report = all(&overview, &question(1, Span::Hour, Dimension::Nothing));
    assert_eq!((report.groups[0].name.clone(), report.groups[0].breaches), (None, 1));
    let spenders: Vec<_> = report.spenders.iter().map(|one| (one.hop, one.breaches)).collect();
    assert_eq!(spenders, [(Hop::Model, 1)]);
}

#[test]
fn what_a_turn_cost_may_be_told_later_and_is_forgotten_with_it() {
    let mut overview = Overview::of_at_most(2);
    (0..3).for_each(|number| overview.turn(&turn(number, &origin("o", "p"), 1)));
    for (number, cost) in [(0, 1_000), (1, 10), (2, 20), (3, 1_000)] {
        overview.cost(number, NanoDollars::new(cost));
    }
    let report = all(&overview, &question(3, Span::Hour, Dimension::Nothing));
    assert_eq!(report.groups[0].mean_cost, Some(NanoDollars::new(15)));
}

#[test]
fn names_whose_turns_are_gone_are_forgotten() {
    let mut overview = Overview::of_at_most(10);
    for number in 0..1_000 {
        overview.turn(&turn(number, &origin("o", &format!("p{number}")), 1));
    }
    assert_eq!((overview.len(), overview.origins.len()), (10, 10));
    overview.turn(&turn(1_000 + LONGEST_AGE.as_secs(), &origin("o", "last"), 1));
    assert_eq!((overview.len(), overview.origins.len()), (1, 1));
}

#[test]
fn more_groups_than_can_be_compared_are_counted_and_left_out() {
    let mut overview = Overview::default();
    for number in 0..MOST_GROUPS + 7 {
        overview.turn(&turn(1, &origin("o", &format!("p{number:03}")), 1));
    }
    let report = all(&overview, &question(1, Span::Hour, Dimension::Provider));
    assert_eq!((report.groups.len(), report.groups_left_out), (MOST_GROUPS, 7));
    assert_eq!(report.turns, MOST_GROUPS as u64 + 7);
}

#[test]
fn a_bucket_holds_its_upper_end() {
    assert_eq!(bucket(Duration::ZERO), 0);
    for (place, bound) in BOUNDS_MS.into_iter().enumerate() {
        let bound = bound * MS;
        assert_eq!(bucket(bound), place);
        assert_eq!(bucket(bound + Duration::from_nanos(1)), place + 1);
    }
    assert_eq!(bucket(Duration::MAX), BUCKETS - 1);
}

#[test]
fn every_span_has_a_heat_map_of_a_size_that_can_be_looked_at() {
    for span in Span::ALL {
        let columns = span.duration().as_secs() / span.column().as_secs();
        assert!((30..=72).contains(&columns), "{span:?}: {columns}");
        assert!(span.duration() <= LONGEST_AGE, "{span:?}");
    }
}

fn any_turn() -> impl Strategy<Value = HeardTurn> {
    let hop = (0..Hop::ALL.len()).prop_map(|place| Hop::ALL[place]);
    let hops = prop::collection::btree_map(hop.clone(), 0..5_000_u64, 0..6);
    let cost = prop::option::of(-5..1_000_i64);
    (0..40_000_u64, 0..3_u8, 0..4_u8, 0..20_000_u64, hops, cost, prop::option::of(hop)).prop_map(
        |(at, organisation, provider, whole, hops, cost, spender)| HeardTurn {
            at: Duration::from_secs(at),
            origin: origin(&format!("o{organisation}"), &format!("p{provider}")),
            whole: Duration::from_millis(whole),
            hops: hops.into_iter().map(|(hop, time)| (hop, Duration::from_millis(time))).collect(),
            cost: cost.map(NanoDollars::new),
            spender,
        },
    )
}

/// What is to be found, reckoned from a plain list of all turns.
fn naive<'a>(turns: &'a [HeardTurn], most: usize, question: &Question) -> (Vec<&'a HeardTurn>, bool) {
    let newest = turns.iter().map(|turn| turn.at).max().unwrap_or_default();
    let now = question.now.max(newest);
    let is_within = |turn: &&HeardTurn| turn.at + question.span.duration() > now;
    let (lost, kept) = turns.split_at(turns.len().saturating_sub(most));
    let truncated = lost.iter().any(|turn| is_within(&turn));
    let seen = kept.iter().filter(is_within).filter(|turn| &*turn.origin.organisation != "o0").collect();
    (seen, truncated)
}

/// A quantile as its definition has it.
fn plain_quantile(durations: &[Duration], permille: usize) -> Duration {
    let is_enough = |one: &Duration| {
        let below = durations.iter().filter(|other| *other <= one).count();
        below * 1_000 >= permille * durations.len()
    };
    durations.iter().filter(|one| is_enough(one)).min().copied().unwrap()
}

proptest! {
    #[test]
    fn what_is_reported_is_what_a_plain_list_of_all_turns_says(
        mut turns in prop::collection::vec(any_turn(), 0..80),
        most in 1..60_usize, now in 0..50_000_u64, span in 0..4_usize, heat in 0..=17_usize,
    ) {
        turns.sort_by_key(|turn| turn.at);
        let mut overview = Overview::of_at_most(most);
        turns.iter().for_each(|turn| overview.turn(turn));
        let heat = Subject::all().nth(heat).unwrap();
        let by = Dimension::Provider;
        let question = Question { now: Duration::from_secs(now), span: Span::ALL[span], by, heat };
        let report = overview.report(&question, |origin| &*origin.organisation != "o0");
        let (seen, is_truncated) = naive(&turns, most, &question);
        prop_assert_eq!(report.turns, seen.len() as u64);
        prop_assert_eq!(report.is_truncated, is_truncated);
        let mut groups: BTreeMap<&str, Vec<&HeardTurn>> = BTreeMap::new();
        for turn in &seen {
            groups.entry(turn.origin.provider.as_deref().unwrap()).or_default().push(turn);
        }
        prop_assert_eq!(report.groups.len(), groups.len());
        for group in &report.groups {
            let of_group = &groups[group.name.as_deref().unwrap()];
            let wholes: Vec<Duration> = of_group.iter().map(|turn| turn.whole).collect();
            prop_assert_eq!(group.whole.count, wholes.len() as u64);
            prop_assert_eq!(group.whole.p50, plain_quantile(&wholes, 500));
            prop_assert_eq!(group.whole.p95, plain_quantile(&wholes, 950));
            prop_assert_eq!(group.whole.p99, plain_quantile(&wholes, 990));
            prop_assert_eq!(Some(group.whole.max), wholes.iter().max().copied());
            let slow = of_group.iter().filter(|turn| turn.spender.is_some()).count();
            prop_assert_eq!(group.breaches, slow as u64);
            let costs: Vec<i64> = of_group.iter().filter_map(|turn| turn.cost).map(NanoDollars::get).collect();
            let mean = costs.iter().sum::<i64>().checked_div(costs.len() as i64);
            prop_assert_eq!(group.mean_cost.map(NanoDollars::get), mean);
            for hop in Hop::ALL {
                let times: Vec<Duration> = of_group
                    .iter()
                    .flat_map(|turn| turn.hops.iter().filter(|(one, _)| *one == hop).map(|(_, time)| *time))
                    .collect();
                let told = group.hops.iter().find(|(one, _)| *one == hop).map(|(_, told)| told.clone());
                prop_assert_eq!(told, Distribution::of(times));
            }
        }
        let took_part = |turn: &&&HeardTurn| match heat {
            Subject::Whole => true,
            Subject::Hop(hop) => turn.hops.iter().any(|(one, _)| *one == hop),
        };
        prop_assert_eq!(heat_counts(&report), seen.iter().filter(took_part).count() as u64);
        let spent: u64 = report.spenders.iter().map(|one| one.breaches).sum();
        prop_assert_eq!(spent, seen.iter().filter(|turn| turn.spender.is_some()).count() as u64);
    }

    #[test]
    fn a_turn_stands_in_the_column_of_its_time(at in 0..100_000_u64, wait in 0..30_000_u64, span in 0..4_usize) {
        let span = Span::ALL[span];
        let mut overview = Overview::default();
        overview.turn(&turn(at, &origin("o", "p"), 42));
        let report = all(&overview, &question(at + wait, span, Dimension::Nothing));
        let is_seen = Duration::from_secs(wait) < span.duration();
        prop_assert_eq!(heat_counts(&report), u64::from(is_seen));
        for (place, column) in report.heat.columns.iter().enumerate() {
            let from = report.heat.from + u32::try_from(place).unwrap() * report.heat.every;
            let is_it = (from..from + report.heat.every).contains(&Duration::from_secs(at));
            prop_assert_eq!(column[bucket(42 * MS)], u64::from(is_it && is_seen));
        }
    }

    #[test]
    fn a_histogram_counts_every_duration_once(times in prop::collection::vec(0..40_000_000_u64, 1..200)) {
        let times: Vec<Duration> = times.into_iter().map(Duration::from_micros).collect();
        let told = Distribution::of(times.clone()).unwrap();
        prop_assert_eq!(told.histogram.iter().sum::<u64>(), times.len() as u64);
        let mut below = 0;
        for (count, bound) in told.histogram.iter().zip(BOUNDS_MS) {
            below += count;
            let shorter = times.iter().filter(|time| **time <= bound * MS).count();
            prop_assert_eq!(below, shorter as u64);
        }
    }

    #[test]
    fn a_quantile_is_one_of_the_durations(times in prop::collection::vec(0..1_000_u64, 1..50), permille in 1..=1_000_u32) {
        let mut times: Vec<Duration> = times.into_iter().map(Duration::from_micros).collect();
        times.sort_unstable();
        let told = quantile(&times, permille).unwrap();
        prop_assert_eq!(told, plain_quantile(&times, permille as usize));
    }
}
