use proptest::prelude::*;

use super::*;

const MINUTE: Duration = Duration::from_mins(1);

fn slow(hop: Hop) -> Breach {
    Breach {
        subject: Subject::Hop(hop),
        spender: Some(hop),
        spent: 2 * MINUTE,
        budget: MINUTE,
        is_certain: true,
    }
}

fn counts(ring: &BurnRing, now: Duration) -> [(u64, u64); 3] {
    Window::ALL.map(|window| {
        let spending = ring.spending(now, window, Subject::Hop(Hop::Model));
        (spending.turns, spending.breaches)
    })
}

#[test]
fn a_breach_leaves_each_window_when_its_time_has_passed() {
    let mut ring = BurnRing::default();
    ring.turn(Duration::ZERO, &[slow(Hop::Model)]);
    ring.turn(Duration::ZERO, &[]);
    assert_eq!(counts(&ring, 4 * MINUTE), [(2, 1); 3]);
    assert_eq!(counts(&ring, 5 * MINUTE), [(0, 0), (2, 1), (2, 1)]);
    assert_eq!(counts(&ring, 59 * MINUTE), [(0, 0), (2, 1), (2, 1)]);
    assert_eq!(counts(&ring, 60 * MINUTE), [(0, 0), (0, 0), (2, 1)]);
    assert_eq!(counts(&ring, 359 * MINUTE), [(0, 0), (0, 0), (2, 1)]);
    assert_eq!(counts(&ring, 360 * MINUTE), [(0, 0); 3]);
}

#[test]
fn hops_are_counted_apart() {
    let mut ring = BurnRing::default();
    ring.turn(MINUTE, &[slow(Hop::Model), slow(Hop::Tts)]);
    ring.turn(MINUTE, &[slow(Hop::Tts)]);
    let breaches = |subject| ring.spending(MINUTE, Window::Hour, subject).breaches;
    assert_eq!(breaches(Subject::Hop(Hop::Model)), 1);
    assert_eq!(breaches(Subject::Hop(Hop::Tts)), 2);
    assert_eq!(breaches(Subject::Whole), 0);
}

#[test]
fn the_burn_is_how_often_the_allowance_was_used() {
    let spending = Spending { turns: 40, breaches: 8 };
    assert!((spending.burn(50) - 4.0).abs() < 1e-9);
    assert!(spending.burns(50, 4) && !spending.burns(50, 5));
    assert!(!Spending::default().burns(50, 1));
    assert!(Spending::default().burn(50).abs() < 1e-9);
}

proptest! {
    #[test]
    fn the_ring_counts_as_a_list_of_all_turns_would(
        turns in prop::collection::vec((0..40_000_u64, any::<bool>()), 0..200), quiet in 0..40_000_u64,
    ) {
        // Steps of up to eleven hours, most of them short.
        let (mut ring, mut now, mut all) = (BurnRing::default(), Duration::ZERO, Vec::new());
        for (step, is_slow) in turns {
            now += Duration::from_secs(if step % 10 == 0 { step } else { step % 100 });
            let breaches = if is_slow { vec![slow(Hop::Model)] } else { Vec::new() };
            ring.turn(now, &breaches);
            all.push((number(now), is_slow));
        }
        now += Duration::from_secs(quiet);
        let expected = Window::ALL.map(|window| {
            let is_inside = |at: u128| at + window.buckets() as u128 > number(now);
            let inside = || all.iter().filter(|(at, _)| is_inside(*at));
            (inside().count() as u64, inside().filter(|(_, is_slow)| *is_slow).count() as u64)
        });
        prop_assert_eq!(counts(&ring, now), expected);
    }

    #[test]
    fn any_time_is_taken(times in prop::collection::vec(any::<u64>(), 1..20)) {
        let mut ring = BurnRing::default();
        for time in &times {
            ring.turn(Duration::from_secs(*time), &[slow(Hop::Model)]);
        }
        let latest = times.iter().max().copied().unwrap_or(0);
        let spending = ring.spending(Duration::from_secs(latest), Window::SixHours, Subject::Hop(Hop::Model));
        prop_assert!(spending.breaches == spending.turns && spending.turns >= 1);
    }
}
