use voxgate_protocol::path::ClientAddress;

use super::warm::{CURRENT_PAUSE, IDLE_PAUSE, PATIENCE};
use super::*;

const PLAIN: Check = Check { nominated: false, generation: 0 };
const NOMINATED: Check = Check { nominated: true, generation: 0 };
const TRANSACTION: TransactionId = [7; 12];

/// A path through the relay `relay`, from the caller's port `port`.
fn path(relay: u8, port: u16) -> Path {
    let client = ClientAddress::udp(([203, 0, 113, 9], port).into());
    Path { relay: address(relay), client }
}

fn address(relay: u8) -> SocketAddr {
    ([198, 51, 100, relay], 3478).into()
}

/// Asks along `path` and is answered.
fn answer(paths: &mut Paths, now: Instant, path: Path) {
    paths.ask(now, path, TRANSACTION);
    assert!(paths.question(path, TRANSACTION).is_some());
    paths.answered(now, path, TRANSACTION);
}

/// A call that is on a path through relay 1 and has one through relay 2.
fn two_relays(now: Instant) -> Paths {
    let mut paths = Paths::default();
    paths.checked(now, path(1, 1), NOMINATED);
    paths.checked(now, path(2, 1), PLAIN);
    paths
}

#[test]
fn the_call_follows_nomination_and_not_a_mere_check() {
    let start = Instant::now();
    let mut paths = Paths::default();
    assert!(paths.checked(start, path(1, 1), PLAIN).is_new);
    assert_eq!(paths.current(), Some(path(1, 1)), "the first proven path serves until one is nominated");
    paths.checked(start, path(1, 2), PLAIN);
    assert_eq!(paths.current(), Some(path(1, 1)));
    paths.checked(start, path(1, 2), NOMINATED);
    assert_eq!(paths.current(), Some(path(1, 2)));
}

#[test]
fn newest_media_moves_the_call_only_between_proven_paths() {
    let start = Instant::now();
    let mut paths = Paths::default();
    paths.checked(start, path(1, 1), NOMINATED);
    paths.heard(start, path(1, 7), true);
    assert_eq!(paths.current(), Some(path(1, 1)));
    paths.checked(start, path(1, 2), PLAIN);
    paths.heard(start, path(1, 2), false);
    assert_eq!(paths.current(), Some(path(1, 1)), "late media does not pull the call back");
    paths.heard(start, path(1, 2), true);
    assert_eq!(paths.current(), Some(path(1, 2)));
}

#[test]
fn a_check_takes_over_from_a_path_that_was_asked_and_did_not_answer() {
    let start = Instant::now();
    let mut paths = Paths::default();
    paths.checked(start, path(1, 1), NOMINATED);
    let asked = start + CURRENT_PAUSE;
    paths.ask(asked, path(1, 1), TRANSACTION);
    paths.checked(asked + PATIENCE - Duration::from_millis(1), path(1, 2), PLAIN);
    assert_eq!(paths.current(), Some(path(1, 1)), "it may still answer");
    paths.checked(asked + PATIENCE, path(1, 2), PLAIN);
    assert_eq!(paths.current(), Some(path(1, 2)));
}

#[test]
fn a_check_takes_over_from_a_path_that_was_never_asked_after_six_seconds() {
    let start = Instant::now();
    let mut paths = Paths::default();
    paths.checked(start, path(1, 1), NOMINATED);
    paths.checked(start + SILENT / 2, path(1, 2), PLAIN);
    assert_eq!(paths.current(), Some(path(1, 1)));
    paths.checked(start + SILENT, path(1, 2), PLAIN);
    assert_eq!(paths.current(), Some(path(1, 2)));
}

#[test]
fn a_silent_path_that_answers_keeps_the_call() {
    let start = Instant::now();
    let mut paths = two_relays(start);
    for tick in 1..200 {
        let now = start + tick * CURRENT_PAUSE;
        answer(&mut paths, now, path(1, 1));
        paths.checked(now, path(2, 1), PLAIN);
        paths.follow(now + CURRENT_PAUSE / 2);
        assert_eq!(paths.current(), Some(path(1, 1)));
    }
}

#[test]
fn a_lost_path_is_left_for_one_heard_after_it_without_waiting_for_a_check() {
    let start = Instant::now();
    let mut paths = two_relays(start);
    let asked = start + CURRENT_PAUSE;
    paths.ask(asked, path(1, 1), [1; 12]);
    answer(&mut paths, asked, path(2, 1));
    paths.follow(asked + PATIENCE - Duration::from_millis(1));
    assert_eq!(paths.current(), Some(path(1, 1)));
    paths.follow(asked + PATIENCE);
    assert_eq!(paths.current(), Some(path(2, 1)));
}

#[test]
fn a_caller_that_is_wholly_silent_is_not_moved() {
    let start = Instant::now();
    let mut paths = two_relays(start);
    paths.heard(start + CURRENT_PAUSE, path(1, 1), true);
    paths.ask(start + 2 * CURRENT_PAUSE, path(1, 1), TRANSACTION);
    paths.follow(start + 2 * SILENT);
    assert_eq!(paths.current(), Some(path(1, 1)));
}

#[test]
fn the_current_path_is_asked_once_it_is_silent_and_idle_ones_every_second() {
    let start = Instant::now();
    let mut paths = two_relays(start);
    assert_eq!(paths.questions(start), [(path(2, 1), 0)]);
    paths.ask(start, path(2, 1), TRANSACTION);
    assert!(paths.questions(start).is_empty());
    assert_eq!(paths.poll_timeout(start), Some(start + CURRENT_PAUSE));
    assert_eq!(paths.questions(start + CURRENT_PAUSE), [(path(1, 1), 0)]);
    paths.heard(start + CURRENT_PAUSE, path(1, 1), true);
    assert!(paths.questions(start + CURRENT_PAUSE).is_empty());
    let later = start + IDLE_PAUSE;
    paths.heard(later, path(1, 1), true);
    assert_eq!(paths.questions(later), [(path(2, 1), 0)]);
}

#[test]
fn of_many_idle_paths_only_the_newest_are_asked() {
    let start = Instant::now();
    let mut paths = Paths::default();
    for port in 0..12 {
        paths.checked(start + Duration::from_millis(u64::from(port)), path(1, port), PLAIN);
    }
    let now = start + Duration::from_millis(20);
    assert_eq!(
        paths.questions(now),
        [8, 9, 10, 11].map(|port| (path(1, port), 0)),
        "and not the current one, which was just heard"
    );
}

#[test]
fn an_idle_path_lives_by_its_answers_and_a_deaf_one_does_not() {
    let start = Instant::now();
    let mut paths = two_relays(start);
    paths.checked(start, path(2, 2), PLAIN);
    for second in 1..60 {
        let now = start + second * IDLE_PAUSE;
        paths.heard(now, path(1, 1), true);
        for (asked, _) in paths.questions(now) {
            paths.ask(now, asked, TRANSACTION);
        }
        if paths.question(path(2, 1), TRANSACTION).is_some() {
            paths.answered(now, path(2, 1), TRANSACTION);
        }
        paths.expire(now);
    }
    assert!(paths.is_proven(path(2, 1)));
    assert!(!paths.is_proven(path(2, 2)));
}

#[test]
fn avoiding_a_relay_moves_the_call_to_the_freshest_path_through_another() {
    let start = Instant::now();
    let mut paths = two_relays(start);
    paths.checked(start + Duration::from_millis(1), path(1, 2), PLAIN);
    paths.checked(start + Duration::from_millis(2), path(3, 1), PLAIN);
    paths.checked(start + Duration::from_millis(3), path(2, 1), PLAIN);
    assert!(paths.avoid(start + CURRENT_PAUSE, address(1)));
    assert_eq!(paths.current(), Some(path(2, 1)));
    assert!(!paths.avoid(start + CURRENT_PAUSE, address(1)), "it is not there any more");
    assert_eq!(paths.current(), Some(path(2, 1)));
}

#[test]
fn a_call_with_nowhere_to_go_stays_and_leaves_as_soon_as_it_can() {
    let start = Instant::now();
    let mut paths = Paths::default();
    paths.checked(start, path(1, 1), NOMINATED);
    assert!(!paths.avoid(start, address(1)));
    assert_eq!(paths.current(), Some(path(1, 1)));
    paths.checked(start, path(1, 2), NOMINATED);
    assert_eq!(paths.current(), Some(path(1, 2)), "between bad ones the caller's word still counts");
    paths.checked(start, path(2, 1), PLAIN);
    assert_eq!(paths.current(), Some(path(2, 1)));
}

#[test]
fn through_an_avoided_relay_checks_and_late_media_do_not_bring_the_call_back_and_new_media_do() {
    let start = Instant::now();
    let mut paths = two_relays(start);
    paths.avoid(start, address(1));
    let now = start + CURRENT_PAUSE;
    paths.checked(now, path(1, 1), PLAIN);
    paths.checked(now, path(1, 1), NOMINATED);
    paths.checked(now, path(1, 2), NOMINATED);
    paths.heard(now, path(1, 1), false);
    answer(&mut paths, now, path(1, 1));
    assert_eq!(paths.current(), Some(path(2, 1)));
    paths.heard(now, path(1, 1), true);
    assert_eq!(paths.current(), Some(path(1, 1)));
    paths.checked(now, path(2, 1), NOMINATED);
    paths.checked(now, path(1, 1), NOMINATED);
    assert_eq!(paths.current(), Some(path(1, 1)), "the relay is trusted again");
}

#[test]
fn a_second_alarm_does_not_send_the_call_back_to_a_dead_relay() {
    let start = Instant::now();
    let mut paths = two_relays(start);
    assert!(paths.avoid(start, address(1)));
    let now = start + Duration::from_secs(4);
    answer(&mut paths, now, path(2, 1));
    assert!(!paths.avoid(now, address(2)));
    assert_eq!(paths.current(), Some(path(2, 1)));
    answer(&mut paths, now, path(1, 1));
    assert!(paths.avoid(now, address(2)), "the first one lives after all");
    assert_eq!(paths.current(), Some(path(1, 1)));
}

#[test]
fn when_every_other_path_is_lost_an_avoided_relay_is_better_than_none() {
    let start = Instant::now();
    let mut paths = two_relays(start);
    paths.avoid(start, address(1));
    paths.ask(start, path(2, 1), TRANSACTION);
    paths.checked(start + PATIENCE, path(1, 1), PLAIN);
    assert_eq!(paths.current(), Some(path(1, 1)));
}

#[test]
fn a_path_that_stopped_answering_is_not_moved_to() {
    let start = Instant::now();
    let mut paths = two_relays(start);
    answer(&mut paths, start, path(2, 1));
    paths.ask(start, path(2, 1), TRANSACTION);
    assert!(!paths.avoid(start + DEAD, address(1)));
    assert_eq!(paths.current(), Some(path(1, 1)));
}

#[test]
fn a_path_over_tcp_is_moved_to_only_when_no_fresh_one_over_udp_is_there() {
    let start = Instant::now();
    let mut paths = two_relays(start);
    let stream = Path { client: ClientAddress::tcp(path(3, 1).client.socket), ..path(3, 1) };
    paths.checked(start + Duration::from_millis(1), stream, PLAIN);
    assert!(paths.avoid(start + Duration::from_millis(2), address(1)));
    assert_eq!(paths.current(), Some(path(2, 1)));
    answer(&mut paths, start + 2 * FRESH, stream);
    assert!(paths.avoid(start + 2 * FRESH, address(2)));
    assert_eq!(paths.current(), Some(stream));
}

#[test]
fn a_nomination_from_before_a_restart_does_not_undo_one_from_after_it() {
    let start = Instant::now();
    let mut paths = two_relays(start);
    paths.checked(start, path(2, 1), Check { nominated: false, generation: 1 });
    assert_eq!(paths.current(), Some(path(1, 1)), "media wait for the caller's choice");
    paths.checked(start, path(2, 1), Check { nominated: true, generation: 1 });
    assert_eq!(paths.current(), Some(path(2, 1)));
    paths.checked(start, path(1, 1), NOMINATED);
    assert_eq!(paths.current(), Some(path(2, 1)));
    paths.ask(start, path(2, 1), TRANSACTION);
    assert_eq!(paths.question(path(2, 1), TRANSACTION), Some(1), "asked with the newest credentials");
}

#[test]
fn the_tables_are_bounded_and_the_current_path_is_never_given_up() {
    let start = Instant::now();
    let mut paths = Paths::default();
    paths.checked(start, path(1, 1), NOMINATED);
    let mut evicted = 0;
    for port in 2..200 {
        let now = start + Duration::from_millis(u64::from(port));
        evicted += usize::from(paths.checked(now, path(1, port), PLAIN).evicted.is_some());
        paths.avoid(now, address(port as u8));
    }
    assert_eq!(evicted, 199 - MOST_PATHS);
    assert_eq!(paths.avoided.len(), MOST_AVOIDED);
    assert!(paths.is_proven(path(1, 1)));
    assert_eq!(paths.expire(start + 2 * IDLE).len(), MOST_PATHS - 1);
    assert!(paths.is_proven(path(1, 1)));
}
