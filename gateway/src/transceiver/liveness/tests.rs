use super::*;

const HEARTBEAT: Duration = Duration::from_millis(50);
const MS: Duration = Duration::from_millis(1);

/// Two relays and a loop that wakes for every frame and every deadline, in virtual time.
struct World {
    now: Instant,
    liveness: Liveness,
    speaks: [bool; 2],
    next_beat: Instant,
    silenced: Vec<(usize, Instant)>,
}

impl World {
    fn new() -> Self {
        let now = Instant::now();
        let liveness = Liveness::new(2, now);
        Self { now, liveness, speaks: [true; 2], next_beat: now, silenced: Vec::new() }
    }

    fn run(&mut self, time: Duration) {
        let end = self.now + time;
        loop {
            let next = self.liveness.poll_timeout().map_or(self.next_beat, |at| at.min(self.next_beat));
            if next > end {
                self.now = end;
                return;
            }
            self.now = self.now.max(next);
            self.turn();
        }
    }

    fn turn(&mut self) {
        self.liveness.turned(self.now);
        if self.now >= self.next_beat {
            for relay in 0..2 {
                if self.speaks[relay] {
                    self.liveness.heard(self.now, relay, Some(false));
                }
            }
            self.next_beat = self.now + HEARTBEAT;
        }
        let now = self.now;
        self.silenced.extend(self.liveness.fallen_silent(now, || true).into_iter().map(|relay| (relay, now)));
    }
}

#[test]
fn a_relay_is_silent_200_ms_after_its_last_frame_if_the_other_is_heard() {
    let mut world = World::new();
    world.run(Duration::from_secs(60));
    assert_eq!(world.silenced, []);
    let last_heard = world.liveness.relays[0].heard_at.unwrap();
    world.speaks[0] = false;
    world.run(Duration::from_secs(5));
    assert_eq!(world.silenced, [(0, last_heard + SILENT_AFTER)], "once, and not a heartbeat later");
    assert_eq!(world.liveness.state(0), RelayState::Silent);
    assert_eq!(world.liveness.state(1), RelayState::Alive);
}

#[test]
fn a_relay_that_speaks_again_is_alive_again_and_may_fall_silent_again() {
    let mut world = World::new();
    world.run(Duration::from_secs(1));
    world.speaks[0] = false;
    world.run(Duration::from_secs(1));
    world.speaks[0] = true;
    world.run(Duration::from_secs(1));
    assert_eq!(world.liveness.state(0), RelayState::Alive);
    world.speaks[0] = false;
    world.run(Duration::from_secs(1));
    assert_eq!(world.silenced.len(), 2);
}

#[test]
fn silence_of_everybody_moves_nobody() {
    let mut world = World::new();
    world.run(Duration::from_secs(1));
    world.speaks = [false; 2];
    world.run(Duration::from_secs(60));
    assert_eq!(world.silenced, []);
    world.speaks = [true; 2];
    world.run(Duration::from_secs(1));
    assert_eq!(world.silenced, []);
}

#[test]
fn after_everybody_was_silent_who_stays_silent_is_found_out() {
    let mut world = World::new();
    world.run(Duration::from_secs(1));
    world.speaks = [false; 2];
    world.run(Duration::from_secs(1));
    world.speaks = [false, true];
    world.run(GRACE + 2 * HEARTBEAT);
    assert_eq!(world.silenced.len(), 1);
    assert_eq!(world.silenced[0].0, 0);
}

#[test]
fn a_stall_of_the_loop_is_no_silence() {
    let mut world = World::new();
    world.run(Duration::from_secs(1));
    // The loop stands still; what the relays sent meanwhile waits, and the second relay's frames come first.
    world.now += Duration::from_millis(700);
    world.liveness.turned(world.now);
    world.liveness.heard(world.now, 1, Some(false));
    assert_eq!(world.liveness.fallen_silent(world.now, || true), [0_usize; 0]);
    world.now += MS;
    world.next_beat = world.now;
    world.run(Duration::from_secs(5));
    assert_eq!(world.silenced, []);
}

#[test]
fn nobody_is_declared_silent_while_datagrams_wait_to_be_read() {
    let mut world = World::new();
    world.run(Duration::from_secs(1));
    world.speaks[0] = false;
    world.run(Duration::from_millis(150));
    world.now += Duration::from_millis(60);
    world.liveness.turned(world.now);
    world.liveness.heard(world.now, 1, None);
    assert_eq!(world.liveness.fallen_silent(world.now, || false), [0_usize; 0]);
    assert_eq!(world.liveness.fallen_silent(world.now, || true), [0]);
}

#[test]
fn the_only_relay_is_never_given_up() {
    let now = Instant::now();
    let mut liveness = Liveness::new(1, now);
    assert_eq!(liveness.state(0), RelayState::Silent, "not heard yet");
    assert!(liveness.heard(now, 0, Some(false)));
    assert_eq!(liveness.poll_timeout(), None);
    assert_eq!(liveness.fallen_silent(now + Duration::from_secs(9), || true), [0_usize; 0]);
    assert_eq!(liveness.state(0), RelayState::Alive);
}

#[test]
fn a_heartbeat_says_whether_its_relay_drains_and_other_frames_change_nothing() {
    let now = Instant::now();
    let mut liveness = Liveness::new(2, now);
    assert!(liveness.heard(now, 0, Some(true)));
    assert!(!liveness.heard(now, 0, None));
    assert_eq!(liveness.state(0), RelayState::Draining);
    assert!(liveness.heard(now, 0, Some(false)));
    assert_eq!(liveness.state(0), RelayState::Alive);
}

#[test]
fn the_loop_is_not_woken_again_for_a_suspicion_it_could_not_prove() {
    let mut world = World::new();
    world.run(Duration::from_secs(1));
    world.speaks = [false; 2];
    world.run(Duration::from_secs(1));
    world.turn();
    let next = world.liveness.poll_timeout();
    assert!(next.is_none_or(|at| at > world.now));
}
