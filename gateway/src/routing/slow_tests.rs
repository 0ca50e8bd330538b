//! Calls, their turns and what is done about slow ones, for hours in virtual time: watches and routing together.

use std::collections::BTreeMap;
use std::time::Duration;

use voxgate_policy::routing::{
    Itinerary, ModelPattern, Needs, Outcome, Preference, Route, Router, Switching, Target,
};
use voxgate_protocol::id::IdSource;
use voxgate_protocol::timeline::Hop;
use voxgate_protocol::trace::{Moment, TurnTrace, Work};
use voxgate_telemetry::latency::account::TurnAccount;
use voxgate_telemetry::latency::budget::LatencyBudget;
use voxgate_telemetry::latency::hold::HoldRule;
use voxgate_telemetry::latency::route::RouteWatch;
use voxgate_telemetry::latency::watch::Tolerance;

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_mins(1);

fn seed() -> u64 {
    let chosen = std::env::var("VOXGATE_SIMULATION_SEED").ok();
    let seed = chosen.map_or(20_261_122, |seed| seed.parse().unwrap());
    println!("seed {seed}");
    seed
}

fn account(model: Duration) -> TurnAccount {
    let (from, to) = (Moment::read(Duration::ZERO), Moment::read(model));
    let trace = TurnTrace::new(1, from, to, vec![Work { hop: Hop::Model, from, to }]);
    TurnAccount::from_trace(&trace).unwrap()
}

/// Calls that take a turn every ten seconds, twelve turns each.
struct World {
    route: Route,
    router: Router,
    watch: RouteWatch,
    calls: Vec<(Itinerary, u32)>,
    chance: IdSource,
    now: Duration,
    /// By the target and whether the turn was slow.
    turns: BTreeMap<(String, bool), u64>,
    moves: u64,
    switched: u64,
}

impl World {
    fn new() -> Self {
        let targets: Vec<Target> = ["first", "second"]
            .iter()
            .zip(0..)
            .map(|(name, priority)| Target { priority, ..Target::new(name, None) })
            .collect();
        let pattern = ModelPattern::parse("*").unwrap();
        let (preference, switching) = (Preference::default(), Switching::default());
        let route = Route { pattern, targets, preference, switching };
        let budget = LatencyBudget::speech_to_speech();
        let mut watch = RouteWatch::new(budget, Tolerance::default(), HoldRule::default());
        watch.watch_targets(&route.targets.iter().map(Target::name).collect::<Vec<_>>());
        Self {
            route,
            router: Router::default(),
            watch,
            calls: Vec::new(),
            chance: IdSource::new(seed()),
            now: Duration::ZERO,
            turns: BTreeMap::new(),
            moves: 0,
            switched: 0,
        }
    }

    /// Ten calls at a time, each turn as slow as `model` says for its target.
    fn run(&mut self, length: Duration, mut model: impl FnMut(Duration, &str) -> Duration) {
        let until = self.now + length;
        while self.now < until {
            self.now += SECOND;
            if self.calls.len() < 10 {
                self.heed();
                let (needs, draw) = (Needs::default(), self.chance.next_seed());
                let route = self.route.clone();
                let way = Itinerary::begin(&mut self.router, self.now, route, &needs, draw).unwrap();
                self.calls.push((way, 12));
            }
            let (mut way, left) = self.calls.remove(0);
            let name = way.current().unwrap().name();
            let took = model(self.now, &name);
            *self.turns.entry((name.clone(), took > Duration::from_millis(1_200))).or_default() += 1;
            self.watch.turn(self.now, Some(&name), &account(took));
            way.report(&mut self.router, self.now, Outcome::Answered(Some(took)));
            self.heed();
            let is_slow = self.router.is_passed_over(&self.route, way.current().unwrap());
            if is_slow && way.prefer(&self.router, self.now, &Needs::default(), self.chance.next_seed()) {
                assert!(way.moved());
                self.moves += 1;
            }
            if left > 1 {
                self.calls.push((way, left - 1));
            }
        }
    }

    fn heed(&mut self) {
        self.switched +=
            self.watch.look(self.now).iter().filter(|change| change.target.is_some()).count() as u64;
        self.router.pass_over(&self.route, self.watch.passed_over().map(str::to_owned).collect());
    }

    fn slow_share(&self) -> f64 {
        let count =
            |slow| self.turns.iter().filter(|((_, is), _)| *is == slow).map(|(_, count)| *count).sum::<u64>();
        count(true) as f64 / (count(true) + count(false)) as f64
    }
}

fn quick() -> Duration {
    Duration::from_millis(400)
}

#[test]
fn while_a_target_is_slow_calls_are_served_by_the_other_and_return_when_it_is_well() {
    let mut world = World::new();
    world.run(30 * MINUTE, |_, _| quick());
    assert!(world.turns.keys().all(|(name, _)| name == "first"), "nobody is moved without need");
    world.turns.clear();
    world.run(120 * MINUTE, |_, name| if name == "first" { 2 * SECOND } else { quick() });
    println!("{:?}, {} moves, {} changes", world.turns, world.moves, world.switched);
    // It is noticed in a bad hour of six times the allowance, and tried again after 5, 10, 20 and 40 minutes.
    assert!(world.slow_share() < 0.12, "{} of the turns were slow", world.slow_share());
    assert!(world.moves > 0 && world.switched <= 10);
    // The longest hold is an hour; then all new calls are the first one's again.
    world.run(90 * MINUTE, |_, _| quick());
    world.turns.clear();
    world.run(10 * MINUTE, |_, _| quick());
    assert!(world.turns.keys().all(|(name, _)| name == "first"), "{:?}", world.turns);
}

#[test]
fn a_target_that_is_slow_now_and_then_does_not_make_calls_flap() {
    let mut world = World::new();
    // Five minutes slow, five minutes well, for six hours.
    world.run(360 * MINUTE, |now, name| {
        let is_bad = (now.as_secs() / 300).is_multiple_of(2) && name == "first";
        if is_bad { 2 * SECOND } else { quick() }
    });
    println!("{:?}, {} moves, {} changes", world.turns, world.moves, world.switched);
    assert!(world.switched <= 20, "{} changes in six hours", world.switched);
    assert!(world.slow_share() < 0.25, "half of them would be");
}

#[test]
fn with_every_target_slow_nobody_is_moved_about() {
    let mut world = World::new();
    world.run(60 * MINUTE, |_, _| 2 * SECOND);
    println!("{:?}, {} moves, {} changes", world.turns, world.moves, world.switched);
    // Ten calls at a time may move when the one of them is found slow and the other is not yet known to be: once for each hold.
    assert!(world.moves <= 10 * 5, "{} moves in 3600 turns", world.moves);
}
