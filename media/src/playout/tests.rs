use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use voxgate_protocol::id::IdSource;

use super::*;

const RATE: SampleRate = SampleRate::HZ_24000;

fn queue() -> Playout {
    Playout::new(RATE, PlayoutConfig { rtp_start: u32::MAX - 2_000, ..PlayoutConfig::default() }).unwrap()
}

fn tone(milliseconds: u64) -> Pcm {
    Pcm { rate: RATE, samples: vec![1_000; (milliseconds * 24) as usize] }
}

fn response(name: &str) -> ResponseId {
    ResponseId::from(name)
}

fn item(name: &str) -> ItemId {
    ItemId::from(name)
}

const fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

fn events(playout: &mut Playout) -> Vec<PlayoutEvent> {
    std::iter::from_fn(|| playout.poll_event()).collect()
}

/// Takes every frame at its deadline up to a moment.
fn run_until(playout: &mut Playout, until: Instant) -> Vec<(Instant, PlayoutFrame)> {
    let mut taken = Vec::new();
    while let Some(deadline) = playout.poll_timeout().filter(|deadline| *deadline <= until) {
        taken.extend(playout.poll_frame(deadline).map(|frame| (deadline, frame)));
    }
    taken
}

#[test]
fn the_first_frame_leaves_at_once_and_the_others_every_twenty_milliseconds() {
    let start = Instant::now();
    let mut playout = queue();
    assert_eq!(playout.poll_timeout(), None);
    playout.push(&response("a"), &item("i"), tone(100), start).unwrap();
    playout.finish(&response("a"));
    let frames = run_until(&mut playout, start + ms(1_000));
    let times: Vec<_> = frames.iter().map(|(at, _)| *at - start).collect();
    assert_eq!(times, [ms(0), ms(20), ms(40), ms(60), ms(80)]);
    let first = u32::MAX - 2_000;
    for (index, (_, frame)) in frames.iter().enumerate() {
        assert_eq!(frame.rtp_timestamp, first.wrapping_add(index as u32 * 960));
        assert_eq!(frame.marker, index == 0);
        assert_eq!(frame.first_of_response.is_some(), index == 0);
        assert_eq!(frame.samples, vec![1_000; 480]);
    }
    assert_eq!(
        events(&mut playout),
        [
            PlayoutEvent::Started(response("a")),
            PlayoutEvent::Stopped(response("a")),
            PlayoutEvent::TalkspurtEnd { rtp_timestamp: first.wrapping_add(5 * 960) },
        ]
    );
    assert_eq!(playout.poll_timeout(), None);
}

#[test]
fn an_hour_of_late_wake_ups_does_not_drift() {
    let start = Instant::now();
    let mut random = IdSource::new(3);
    let mut playout = queue();
    let mut last = (start, 0);
    for second in 0..3_600 {
        playout.push(&response("a"), &item("i"), tone(1_000), start + ms(second * 1_000)).unwrap();
        for _ in 0..50 {
            let deadline = playout.poll_timeout().unwrap();
            let now = deadline + Duration::from_micros(random.next_bits() as u64 % 15_000);
            let frame = playout.poll_frame(now).unwrap();
            last = (now, frame.rtp_timestamp);
        }
    }
    let sent = last.1.wrapping_sub(u32::MAX - 2_000);
    let nominal = Duration::from_micros(u64::from(sent) * 1_000 / 48);
    let actual = last.0 - start;
    assert!(actual.abs_diff(nominal) <= ms(20), "{actual:?} {nominal:?}");
    assert_eq!(sent / 960, 3_600 * 50 - 1);
    assert_eq!(playout.stats().stalls, 0);
}

#[test]
fn a_new_talkspurt_moves_the_timestamp_by_the_time_that_passed() {
    let start = Instant::now();
    let mut playout = queue();
    for (name, at) in [("a", 0), ("b", 12_345)] {
        playout.push(&response(name), &item(name), tone(40), start + ms(at)).unwrap();
        playout.finish(&response(name));
        let frames = run_until(&mut playout, start + ms(at + 500));
        assert_eq!(frames.len(), 2);
        assert!(frames[0].1.marker && !frames[1].1.marker);
        assert_eq!(frames[0].1.rtp_timestamp, (u32::MAX - 2_000).wrapping_add(at as u32 * 48));
    }
}

#[test]
fn a_held_answer_falls_silent_within_a_frame_and_goes_on_with_the_next_sample() {
    let start = Instant::now();
    let mut playout = queue();
    let samples: Vec<i16> = (0..24 * 200).map(|index| index as i16).collect();
    playout.push(&response("a"), &item("i"), Pcm { rate: RATE, samples }, start).unwrap();
    playout.finish(&response("a"));
    let before = run_until(&mut playout, start + ms(60));
    assert!(playout.hold());
    assert_eq!(playout.poll_timeout(), None);
    assert_eq!(playout.poll_frame(start + ms(80)), None);
    assert_eq!(playout.heard(&item("i")), Some(ms(80)));
    assert_eq!(playout.heard_at_ear(&item("i"), start + ms(900), ms(60)), Some(ms(80)));

    playout.resume();
    // The packet that ended the talkspurt stands for 20 ms of its own.
    assert_eq!(playout.poll_timeout(), Some(start + ms(100)));
    let first = playout.poll_frame(start + ms(1_060)).unwrap();
    let last = &before.last().unwrap().1;
    assert_eq!(first.samples[0], last.samples.last().unwrap() + 1);
    assert!(first.marker && first.first_of_response.is_none());
    assert_eq!(first.rtp_timestamp, last.rtp_timestamp.wrapping_add(48_000), "a second has passed since");
    assert_eq!(first.lateness, Duration::ZERO);
    let after = run_until(&mut playout, start + ms(2_000));
    assert_eq!(after.len(), 5);
    assert!(after.iter().all(|(_, frame)| !frame.marker));
    let ends = events(&mut playout);
    let ends: Vec<_> =
        ends.iter().filter(|event| !matches!(event, PlayoutEvent::TalkspurtEnd { .. })).collect();
    assert_eq!(ends, [&PlayoutEvent::Started(response("a")), &PlayoutEvent::Stopped(response("a"))]);
}

#[test]
fn a_held_answer_that_is_cleared_was_heard_up_to_the_hold() {
    let start = Instant::now();
    let mut playout = queue();
    playout.push(&response("a"), &item("i"), tone(500), start).unwrap();
    run_until(&mut playout, start + ms(60));
    assert!(playout.hold());
    playout.push(&response("a"), &item("i"), tone(500), start + ms(70)).unwrap();
    assert_eq!(run_until(&mut playout, start + ms(600)), []);
    let cut = playout.clear();
    assert_eq!((cut[0].heard, cut[0].received), (ms(80), ms(1_000)));
    assert!(events(&mut playout).contains(&PlayoutEvent::Cleared(response("a"))));
    playout.push(&response("b"), &item("b"), tone(20), start + ms(700)).unwrap();
    playout.finish(&response("b"));
    assert_eq!(run_until(&mut playout, start + ms(800)).len(), 1, "a hold ends with what was held");
}

#[test]
fn an_answer_that_ends_while_it_is_held_with_nothing_left_has_stopped() {
    let start = Instant::now();
    let mut playout = queue();
    assert!(!playout.hold(), "there is nothing to hold");
    playout.push(&response("a"), &item("i"), tone(40), start).unwrap();
    run_until(&mut playout, start + ms(30));
    assert!(playout.hold());
    playout.finish(&response("a"));
    playout.resume();
    assert_eq!(playout.poll_timeout(), None);
    assert!(events(&mut playout).contains(&PlayoutEvent::Stopped(response("a"))));
}

#[test]
fn a_talkspurt_right_after_barge_in_does_not_overlap_the_one_before() {
    let start = Instant::now();
    let mut playout = queue();
    playout.push(&response("a"), &item("a"), tone(500), start).unwrap();
    let before = run_until(&mut playout, start + ms(60));
    playout.clear();
    playout.push(&response("b"), &item("b"), tone(20), start + ms(61)).unwrap();
    // The packet that ends the talkspurt has the 20 ms from 80 ms on.
    assert_eq!(playout.poll_timeout(), Some(start + ms(100)));
    assert!(playout.poll_frame(start + ms(80)).is_none());
    let frame = playout.poll_frame(start + ms(100)).unwrap();
    assert_eq!(frame.rtp_timestamp, before.last().unwrap().1.rtp_timestamp.wrapping_add(2 * 960));
    assert!(frame.marker);
}

#[test]
fn after_a_stall_at_most_three_frames_leave_at_once() {
    let start = Instant::now();
    let mut playout = queue();
    playout.push(&response("a"), &item("i"), tone(2_000), start).unwrap();
    playout.poll_frame(start).unwrap();
    let late = start + ms(500);
    let burst: Vec<_> = std::iter::from_fn(|| playout.poll_frame(late)).collect();
    assert_eq!(burst.len(), 3);
    assert_eq!(burst[0].lateness, ms(480));
    assert_eq!(playout.stats().stalls, 1);
    assert_eq!(playout.poll_timeout(), Some(late + ms(20)));
    // A small delay is made up for without moving the clock.
    let second = std::iter::from_fn(|| playout.poll_frame(late + ms(45))).count();
    assert_eq!(second, 2);
    assert_eq!(playout.poll_timeout(), Some(late + ms(60)));
    assert_eq!(playout.stats().stalls, 1);
}

#[test]
fn a_short_underrun_keeps_the_clock_and_is_not_the_end() {
    let start = Instant::now();
    let mut playout = queue();
    playout.push(&response("a"), &item("i"), tone(50), start).unwrap();
    let frames = run_until(&mut playout, start + ms(110));
    assert_eq!(frames.len(), 6);
    assert_eq!(frames[2].1.samples[..240], vec![1_000; 240]);
    assert_eq!(frames[2].1.samples[240..], vec![0; 240]);
    assert!(frames[3].1.samples.iter().all(|&sample| sample == 0));
    playout.push(&response("a"), &item("i"), tone(40), start + ms(111)).unwrap();
    playout.finish(&response("a"));
    let rest = run_until(&mut playout, start + ms(1_000));
    assert_eq!(rest[0].0, start + ms(120));
    assert!(!rest[0].1.marker);
    assert_eq!(playout.heard(&item("i")), Some(ms(90)));
    assert!(playout.stats().underruns >= 1);
    let events = events(&mut playout);
    assert_eq!(events[..2], [PlayoutEvent::Started(response("a")), PlayoutEvent::Stopped(response("a"))]);
    assert_eq!(events.len(), 3);
}

#[test]
fn a_long_underrun_ends_the_talkspurt_but_not_the_response() {
    let start = Instant::now();
    let mut playout = queue();
    playout.push(&response("a"), &item("i"), tone(20), start).unwrap();
    assert_eq!(run_until(&mut playout, start + ms(5_000)).len(), 1 + MAX_SILENT_FRAMES as usize);
    assert_eq!(playout.poll_timeout(), None);
    assert!(playout.is_active());
    let before = events(&mut playout);
    assert!(matches!(before[..], [PlayoutEvent::Started(_), PlayoutEvent::TalkspurtEnd { .. }]));
    playout.push(&response("a"), &item("i"), tone(20), start + ms(6_000)).unwrap();
    let frame = playout.poll_frame(start + ms(6_000)).unwrap();
    assert!(frame.marker && frame.first_of_response.is_none());
    run_until(&mut playout, start + ms(9_000));
    events(&mut playout);
    playout.finish(&response("a"));
    assert_eq!(events(&mut playout), [PlayoutEvent::Stopped(response("a"))]);
    assert!(!playout.is_active());
}

#[test]
fn barge_in_empties_the_queue_and_tells_what_was_heard() {
    let start = Instant::now();
    let mut playout = queue();
    playout.push(&response("a"), &item("first"), tone(60), start).unwrap();
    playout.push(&response("a"), &item("second"), tone(10_000), start).unwrap();
    playout.push(&response("b"), &item("third"), tone(300), start).unwrap();
    run_until(&mut playout, start + ms(130));
    let heard = playout.clear();
    let of = |response_name: &str, name: &str, heard, received, fully_played| Heard {
        response_id: response(response_name),
        item_id: item(name),
        heard: ms(heard),
        received: ms(received),
        fully_played,
    };
    assert_eq!(
        heard,
        [
            of("a", "first", 60, 60, true),
            of("a", "second", 80, 10_000, false),
            of("b", "third", 0, 300, false)
        ]
    );
    let events = events(&mut playout);
    assert_eq!(events[..2], [PlayoutEvent::Started(response("a")), PlayoutEvent::Cleared(response("a"))]);
    assert!(matches!(events[2..], [PlayoutEvent::TalkspurtEnd { .. }]));
    assert_eq!((playout.queued(), playout.poll_timeout()), (Duration::ZERO, None));
    assert!(playout.poll_frame(start + ms(140)).is_none());
    assert_eq!(playout.push(&response("a"), &item("second"), tone(20), start), Ok(Queued::Dropped));
    assert_eq!(playout.push(&response("b"), &item("third"), tone(20), start), Ok(Queued::Dropped));
    assert_eq!(playout.stats().dropped, 2);
    assert_eq!(playout.clear(), []);
}

#[test]
fn a_response_that_was_cancelled_before_its_audio_came_stays_silent() {
    let start = Instant::now();
    let mut playout = queue();
    assert_eq!(playout.cancel(&response("a")), []);
    assert_eq!(playout.push(&response("a"), &item("i"), tone(20), start), Ok(Queued::Dropped));
    playout.push(&response("b"), &item("j"), tone(20), start).unwrap();
    assert_eq!(playout.cancel(&response("a")), []);
    assert!(playout.poll_frame(start).is_some());
}

#[test]
fn the_ear_is_behind_by_the_client_buffer() {
    let start = Instant::now();
    let mut playout = queue();
    playout.push(&response("a"), &item("i"), tone(400), start).unwrap();
    playout.finish(&response("a"));
    run_until(&mut playout, start + ms(190));
    let ear = |at, buffer| playout.heard_at_ear(&item("i"), start + ms(at), ms(buffer)).unwrap();
    assert_eq!(playout.heard(&item("i")), Some(ms(200)));
    assert_eq!(ear(190, 0), ms(190));
    assert_eq!(ear(190, 100), ms(90));
    assert_eq!(ear(190, 500), ms(0));
    assert_eq!(ear(5_000, 100), ms(200));
    assert_eq!(playout.heard_at_ear(&item("other"), start, ms(0)), None);
}

#[test]
fn two_responses_share_a_talkspurt_but_no_frame() {
    let start = Instant::now();
    let mut playout = queue();
    for name in ["a", "b"] {
        playout.push(&response(name), &item(name), tone(30), start).unwrap();
        playout.finish(&response(name));
    }
    let frames = run_until(&mut playout, start + ms(500));
    assert_eq!(frames.len(), 4);
    assert_eq!(frames[1].1.samples[240..], vec![0; 240]);
    assert_eq!(frames[2].1.first_of_response, Some((response("b"), start)));
    assert!(!frames[2].1.marker);
    let events = events(&mut playout);
    assert_eq!(
        events[..4],
        [
            PlayoutEvent::Started(response("a")),
            PlayoutEvent::Stopped(response("a")),
            PlayoutEvent::Started(response("b")),
            PlayoutEvent::Stopped(response("b")),
        ]
    );
    assert_eq!(playout.stats().underruns, 0);
}

#[test]
fn a_pre_roll_collects_audio_but_never_holds_back_a_short_answer() {
    let start = Instant::now();
    let config = PlayoutConfig { pre_roll: ms(60), ..PlayoutConfig::default() };
    let mut playout = Playout::new(RATE, config).unwrap();
    playout.push(&response("a"), &item("a"), tone(20), start).unwrap();
    assert_eq!(playout.poll_timeout(), Some(start + ms(60)));
    playout.push(&response("a"), &item("a"), tone(40), start + ms(5)).unwrap();
    assert!(playout.poll_frame(start + ms(5)).is_some());
    let mut short = Playout::new(RATE, config).unwrap();
    short.push(&response("a"), &item("a"), tone(20), start).unwrap();
    short.finish(&response("a"));
    assert!(short.poll_frame(start).is_some());
}

#[test]
fn the_queue_is_bounded_and_refuses_other_rates() {
    let start = Instant::now();
    let config = PlayoutConfig { capacity: ms(1_000), ..PlayoutConfig::default() };
    let mut playout = Playout::new(RATE, config).unwrap();
    playout.push(&response("a"), &item("i"), tone(990), start).unwrap();
    assert_eq!(playout.push(&response("a"), &item("i"), tone(20), start), Err(PlayoutError::Full));
    assert_eq!(playout.push(&response("a"), &item("i"), tone(10), start), Ok(Queued::Yes));
    let other = Pcm::silence(SampleRate::HZ_16000, ms(20));
    let refused = PlayoutError::OtherRate { expected: 24_000, got: 16_000 };
    assert_eq!(playout.push(&response("a"), &item("i"), other, start), Err(refused));
    let many = (0..100).map(|n| item(&format!("i{n}")));
    let mut playout = queue();
    let taken = many.filter(|id| playout.push(&response("a"), id, tone(1), start).is_ok()).count();
    assert_eq!(taken, MAX_ITEMS);
    let odd = SampleRate::new(22_050).unwrap();
    assert!(matches!(Playout::new(odd, PlayoutConfig::default()), Err(PlayoutError::Rate(22_050))));
}

#[derive(Clone, Debug)]
enum Act {
    Push(u8, u64),
    Finish(u8),
    Cancel(u8),
    Clear,
    Wait(u64),
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        4 => (0_u8..4, 1_u64..90).prop_map(|(name, length)| Act::Push(name, length)),
        2 => (0_u8..4).prop_map(Act::Finish),
        1 => (0_u8..4).prop_map(Act::Cancel),
        1 => Just(Act::Clear),
        4 => (1_u64..400).prop_map(Act::Wait),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig {
        rng_seed: RngSeed::Fixed(20),
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn every_start_has_exactly_one_end_and_nothing_is_heard_beyond_what_came(
        acts in prop::collection::vec(act(), 1..120),
    ) {
        let mut now = Instant::now();
        let mut playout = queue();
        let mut received = [Duration::ZERO; 4];
        let mut log = Vec::new();
        let name = |n: u8| (ResponseId::from(format!("r{n}")), ItemId::from(format!("i{n}")));
        let mut last_timestamp: Option<u32> = None;
        for act in acts {
            match act {
                Act::Push(n, length) => {
                    let (response, item) = name(n);
                    if playout.push(&response, &item, tone(length), now) == Ok(Queued::Yes) {
                        received[usize::from(n)] += ms(length);
                    }
                }
                Act::Finish(n) => playout.finish(&name(n).0),
                Act::Cancel(n) => drop(playout.cancel(&name(n).0)),
                Act::Clear => {
                    for heard in playout.clear() {
                        prop_assert!(heard.heard <= heard.received);
                    }
                }
                Act::Wait(length) => {
                    now += ms(length);
                    while let Some(deadline) = playout.poll_timeout().filter(|deadline| *deadline <= now) {
                        if let Some(frame) = playout.poll_frame(deadline) {
                            let step = last_timestamp.map(|last| frame.rtp_timestamp.wrapping_sub(last));
                            prop_assert!(step.is_none_or(|step| (960..1 << 31).contains(&step)));
                            last_timestamp = Some(frame.rtp_timestamp);
                        }
                    }
                }
            }
            log.extend(events(&mut playout));
            for n in 0..4 {
                let item = name(n).1;
                let heard = playout.heard(&item).unwrap_or_default();
                let at_ear = playout.heard_at_ear(&item, now, ms(80)).unwrap_or_default();
                prop_assert!(at_ear <= heard && heard <= received[usize::from(n)]);
            }
        }
        playout.clear();
        log.extend(events(&mut playout));
        for n in 0..4 {
            let response = name(n).0;
            let of = |event: PlayoutEvent| log.iter().filter(|logged| **logged == event).count();
            let started = of(PlayoutEvent::Started(response.clone()));
            let ended = of(PlayoutEvent::Stopped(response.clone())) + of(PlayoutEvent::Cleared(response.clone()));
            prop_assert!(started <= 1);
            prop_assert_eq!(started, ended);
        }
        prop_assert_eq!(playout.queued(), Duration::ZERO);
    }
}
