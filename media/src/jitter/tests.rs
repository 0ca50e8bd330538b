use proptest::prelude::*;
use proptest::test_runner::RngSeed;

use super::*;

const TWENTY: Duration = Duration::from_millis(20);

fn packet(sequence: u16, timestamp: u32) -> AudioPacket {
    AudioPacket { sequence, timestamp, marker: false, duration: 960, payload: vec![1, 2, 3] }
}

/// The packet that is `index` places after the first, across both wrap-arounds.
fn nth(index: u32) -> AudioPacket {
    packet(65_530_u16.wrapping_add(index as u16), (u32::MAX - 4_000).wrapping_add(index * 960))
}

fn sequences(buffer: &mut JitterBuffer) -> Vec<u16> {
    outputs(buffer)
        .into_iter()
        .filter_map(|output| match output {
            JitterOutput::Released { packet, .. } => Some(packet.sequence),
            _ => None,
        })
        .collect()
}

fn outputs(buffer: &mut JitterBuffer) -> Vec<JitterOutput> {
    std::iter::from_fn(|| buffer.poll()).collect()
}

#[test]
fn packets_in_order_leave_at_once_across_both_wrap_arounds() {
    let start = Instant::now();
    let mut buffer = JitterBuffer::new();
    for index in 0..200 {
        let now = start + TWENTY * index;
        assert_eq!(buffer.push(now, now, nth(index)), Pushed::Accepted);
        let outputs = outputs(&mut buffer);
        let expected = JitterOutput::Released { packet: nth(index), arrived: now, waited: Duration::ZERO };
        assert_eq!(outputs, [expected]);
        assert_eq!(buffer.poll_timeout(), None);
    }
    assert_eq!(buffer.stats(), JitterStats { released: 200, ..JitterStats::default() });
}

#[test]
fn a_swapped_pair_is_put_in_order_without_loss() {
    let start = Instant::now();
    let mut buffer = JitterBuffer::new();
    for (step, index) in [0, 1, 3, 2, 4].into_iter().enumerate() {
        let now = start + Duration::from_millis(5) * step as u32;
        buffer.push(now, now, nth(index));
    }
    assert_eq!(sequences(&mut buffer), (0..5).map(|n| nth(n).sequence).collect::<Vec<_>>());
    assert_eq!(buffer.stats().reordered, 1);
    assert_eq!(buffer.stats().lost, 0);
}

#[test]
fn a_gap_is_given_up_after_the_wait_and_not_before() {
    let start = Instant::now();
    let mut buffer = JitterBuffer::new();
    buffer.push(start, start, nth(0));
    let seen = start + TWENTY * 3;
    buffer.push(seen, seen, nth(3));
    assert_eq!(sequences(&mut buffer), [nth(0).sequence]);
    let deadline = buffer.poll_timeout().unwrap();
    assert!(deadline >= seen + MIN_WAIT && deadline <= seen + MAX_WAIT);
    buffer.handle_timeout(deadline - Duration::from_nanos(1));
    assert_eq!(buffer.poll(), None);
    buffer.handle_timeout(deadline);
    assert_eq!(buffer.poll(), Some(JitterOutput::Lost { frames: 2, samples: 1_920 }));
    let waited = deadline - seen;
    assert_eq!(buffer.poll(), Some(JitterOutput::Released { packet: nth(3), arrived: seen, waited }));
    assert_eq!(buffer.stats().lost, 2);
}

#[test]
fn late_and_duplicate_packets_are_dropped_and_told_apart() {
    let start = Instant::now();
    let mut buffer = JitterBuffer::new();
    buffer.push(start, start, nth(0));
    buffer.push(start, start, nth(2));
    assert_eq!(buffer.push(start, start, nth(2)), Pushed::Duplicate);
    buffer.handle_timeout(start + MAX_WAIT);
    assert_eq!(buffer.push(start, start, nth(1)), Pushed::Late);
    assert_eq!(buffer.push(start, start, nth(2)), Pushed::Duplicate);
    assert_eq!(buffer.push(start, start, nth(0)), Pushed::Duplicate);
    assert_eq!(sequences(&mut buffer), [nth(0).sequence, nth(2).sequence]);
    assert_eq!((buffer.stats().late, buffer.stats().duplicates), (1, 3));
}

#[test]
fn a_pause_of_the_sender_is_a_gap_of_its_exact_length() {
    let start = Instant::now();
    let mut buffer = JitterBuffer::new();
    buffer.push(start, start, packet(7, 1_000));
    buffer.push(start, start, packet(8, 1_000 + 960 + 19_200));
    assert_eq!(outputs(&mut buffer)[1], JitterOutput::TimestampGap { samples: 19_200 });
    // A loss inside a pause: the packet's own length is lost, the rest is pause.
    buffer.push(start, start, packet(10, 1_000 + 960 * 3 + 19_200 * 2));
    buffer.handle_timeout(start + MAX_WAIT);
    let outputs = outputs(&mut buffer);
    assert_eq!(outputs[0], JitterOutput::Lost { frames: 1, samples: 960 });
    assert_eq!(outputs[1], JitterOutput::TimestampGap { samples: 19_200 });
}

#[test]
fn a_sender_that_starts_over_is_followed_after_two_packets() {
    let start = Instant::now();
    let mut buffer = JitterBuffer::new();
    buffer.push(start, start, packet(60_000, 5_000));
    assert_eq!(buffer.push(start, start, packet(20_000, 77)), Pushed::OutOfRange);
    assert_eq!(buffer.push(start, start, packet(60_001, 5_960)), Pushed::Accepted);
    assert_eq!(buffer.push(start, start, packet(20_001, 77 + 960)), Pushed::OutOfRange);
    assert_eq!(buffer.push(start, start, packet(20_002, 77 + 1_920)), Pushed::Accepted);
    assert_eq!(buffer.push(start, start, packet(20_003, 77 + 2_880)), Pushed::Accepted);
    assert_eq!(sequences(&mut buffer), [60_000, 60_001, 20_002, 20_003]);
    assert_eq!(buffer.stats().resets, 1);
}

#[test]
fn the_wait_grows_with_the_jitter_and_shrinks_again() {
    let start = Instant::now();
    let mut buffer = JitterBuffer::new();
    assert_eq!(buffer.wait(), MIN_WAIT);
    for index in 0..100 {
        let delay = if index % 2 == 0 { Duration::ZERO } else { Duration::from_millis(60) };
        let now = start + TWENTY * index + delay;
        buffer.push(now, now, nth(index));
    }
    assert_eq!(buffer.wait(), MAX_WAIT);
    for index in 100..1_000 {
        let now = start + TWENTY * index;
        buffer.push(now, now, nth(index));
    }
    assert_eq!(buffer.wait(), MIN_WAIT);
}

#[test]
fn a_flood_behind_a_gap_does_not_grow_the_buffer() {
    let start = Instant::now();
    let mut buffer = JitterBuffer::new();
    buffer.push(start, start, nth(0));
    for index in 2..2_500 {
        buffer.push(start, start, nth(index));
        assert!(buffer.held.len() <= MAX_HELD);
    }
    assert_eq!(sequences(&mut buffer).len(), 2_499);
}

proptest! {
    #![proptest_config(ProptestConfig {
        rng_seed: RngSeed::Fixed(20),
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn any_arrival_order_comes_out_ascending_and_nothing_is_released_twice(
        arrivals in prop::collection::vec((0_u32..100, 0_u64..30), 1..300),
    ) {
        let mut now = Instant::now();
        let mut buffer = JitterBuffer::new();
        buffer.push(now, now, nth(0));
        let mut accepted = 1_u64;
        for (index, pause) in arrivals {
            now += Duration::from_millis(pause);
            buffer.handle_timeout(now);
            accepted += u64::from(buffer.push(now, now, nth(index)) == Pushed::Accepted);
        }
        buffer.handle_timeout(now + MAX_WAIT);
        let places: Vec<u16> =
            sequences(&mut buffer).into_iter().map(|sequence| sequence.wrapping_sub(65_530)).collect();
        prop_assert!(places.is_sorted_by(|a, b| a < b));
        prop_assert_eq!(places.len() as u64, accepted);
        prop_assert_eq!(buffer.stats().lost + buffer.stats().released, u64::from(*places.last().unwrap()) + 1);
        prop_assert!(buffer.poll_timeout().is_none());
    }
}
