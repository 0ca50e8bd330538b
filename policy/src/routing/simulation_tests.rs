//! Hours of sessions in virtual time, from a seed.

use std::time::Duration;

use voxgate_protocol::id::IdSource;

use super::*;

const SECOND: Duration = Duration::from_secs(1);

/// Printed with every run; `VOXGATE_SIMULATION_SEED=7 cargo nextest run -p voxgate-policy simulation --no-capture` runs
/// another one.
fn seed() -> u64 {
    let chosen = std::env::var("VOXGATE_SIMULATION_SEED").ok();
    let seed = chosen.map_or(20_261_121, |seed| seed.parse().unwrap());
    println!("seed {seed}");
    seed
}

/// A target and how it behaves.
struct Place {
    target: Target,
    /// It takes no connection from the first to the second of these times.
    outage: Option<(Duration, Duration)>,
    first_audio: Duration,
}

/// What a place was given.
#[derive(Debug, Default, PartialEq)]
struct Served {
    sessions: u64,
    during_outage: u64,
}

/// Sessions arrive one after the other, some ten to a second; each tries targets until one serves it.
struct World {
    places: Vec<Place>,
    route: Route,
    router: Router,
    chance: IdSource,
    now: Duration,
    served: Vec<Served>,
    /// Sessions nobody served.
    refused: u64,
}

impl World {
    fn new(places: Vec<Place>, preference: Preference) -> Self {
        let targets: Vec<Target> = places.iter().map(|place| place.target.clone()).collect();
        let pattern = ModelPattern::parse("*").unwrap();
        let route = Route { pattern, targets, preference, switching: Switching::default() };
        let served = places.iter().map(|_| Served::default()).collect();
        let (router, chance) = (Router::default(), IdSource::new(seed()));
        Self { places, route, router, chance, now: Duration::ZERO, served, refused: 0 }
    }

    fn run(&mut self, sessions: u64) {
        for _ in 0..sessions {
            self.now += Duration::from_millis(self.chance.next_seed() % 200);
            if !self.serve() {
                self.refused += 1;
            }
        }
    }

    fn serve(&mut self) -> bool {
        let needs = Needs::default();
        let (now, draw) = (self.now, self.chance.next_seed());
        let begun = Itinerary::begin(&mut self.router, now, self.route.clone(), &needs, draw);
        let Ok(mut way) = begun else { return false };
        if self.ask(&mut way, false) {
            return true;
        }
        while way.has_other(&self.router, now, &needs) {
            let draw = self.chance.next_seed();
            if way.choose(&mut self.router, now, &needs, draw).is_err() {
                return false;
            }
            if self.ask(&mut way, true) {
                return way.moved();
            }
        }
        false
    }

    /// Whether the target of the session serves it.
    fn ask(&mut self, way: &mut Itinerary, is_next: bool) -> bool {
        let name = way.next().unwrap().name();
        let index = self.places.iter().position(|place| place.target.name() == name).unwrap();
        let place = &self.places[index];
        let is_down = place.outage.is_some_and(|(from, to)| (from..to).contains(&self.now));
        self.served[index].sessions += 1;
        self.served[index].during_outage += u64::from(is_down);
        let jitter = Duration::from_millis(self.chance.next_seed() % 40);
        let outcomes = if is_down {
            vec![Outcome::Failed(Trouble::Unreachable)]
        } else {
            vec![Outcome::Ready, Outcome::Answered(Some(place.first_audio + jitter))]
        };
        for outcome in outcomes {
            if is_next {
                way.report_next(&mut self.router, self.now, outcome);
            } else {
                way.report(&mut self.router, self.now, outcome);
            }
        }
        !is_down
    }
}

fn place(name: &str, priority: u32, weight: u32) -> Place {
    let target = Target { priority, weight, ..Target::new(name, None) };
    Place { target, outage: None, first_audio: Duration::from_millis(300) }
}

/// Five standard deviations: a right router misses it once in two million runs.
fn assert_share(count: u64, of: u64, share: f64) {
    let expected = of as f64 * share;
    let bound = 5.0 * (expected * (1.0 - share)).sqrt();
    let miss = (count as f64 - expected).abs();
    println!("{count} of {of}, expected {expected:.0}, off by {miss:.0}, bound {bound:.0}");
    assert!(miss <= bound, "{count} of {of} is too far from {share}");
}

#[test]
fn weights_hold() {
    let mut world =
        World::new(vec![place("a", 0, 70), place("b", 0, 25), place("c", 0, 5)], Preference::Weight);
    world.run(50_000);
    for (served, share) in world.served.iter().zip([0.70, 0.25, 0.05]) {
        assert_share(served.sessions, 50_000, share);
    }
}

#[test]
fn a_failing_target_gets_probes_only_and_every_session_is_served_elsewhere() {
    let mut world = World::new(vec![place("a", 0, 1), place("b", 0, 1)], Preference::Weight);
    let (from, to) = (SECOND * 60, SECOND * 60 + Duration::from_mins(30));
    world.places[0].outage = Some((from, to));
    world.run(40_000);
    assert!(world.now > to + SECOND * 600, "the outage is over long before the end");
    // Three failures open the circuit. Probes after 10, 20, 40, 80, 160, 300, 300, … seconds: at most ten in half an hour.
    println!("{:?}, {} refused", world.served, world.refused);
    assert!((3..=3 + 10).contains(&world.served[0].during_outage), "{:?}", world.served);
    assert_eq!(world.refused, 0);
    // And it is given its share again afterwards.
    let before = world.served[0].sessions;
    world.run(10_000);
    assert_share(world.served[0].sessions - before, 10_000, 0.5);
}

#[test]
fn the_first_priority_serves_all_until_it_fails_and_again_when_it_is_well() {
    let mut world = World::new(vec![place("first", 0, 1), place("second", 1, 1)], Preference::Weight);
    world.places[0].outage = Some((SECOND * 100, SECOND * 200));
    world.run(3_000);
    let second = &world.served[1];
    println!("{:?}", world.served);
    assert_eq!(world.refused, 0);
    // The outage and at most one cool-down of 80 s after it, at ten sessions a second.
    assert!((900..=2_000).contains(&second.sessions), "{:?}", world.served);
    let before = second.sessions;
    world.run(3_000);
    assert_eq!(world.served[1].sessions, before);
}

#[test]
fn with_every_target_down_sessions_are_refused_and_the_targets_left_alone() {
    let mut world = World::new(vec![place("a", 0, 1), place("b", 1, 1)], Preference::Weight);
    for place in &mut world.places {
        place.outage = Some((Duration::ZERO, Duration::MAX));
    }
    world.run(10_000);
    assert_eq!(world.refused, 10_000);
    for served in &world.served {
        assert!(served.sessions <= 3 + 10, "{:?}", world.served);
    }
}

#[test]
fn the_fastest_gets_nearly_all_and_loses_them_when_it_becomes_slow() {
    let mut world = World::new(vec![place("slow", 0, 1), place("fast", 0, 1)], Preference::Latency);
    world.places[0].first_audio = Duration::from_millis(800);
    world.run(5_000);
    println!("{:?}", world.served);
    assert!(world.served[1].sessions > 4_900, "{:?}", world.served);
    world.places[1].first_audio = Duration::from_millis(2_500);
    let before = world.served[0].sessions;
    world.run(5_000);
    println!("{:?}", world.served);
    assert!(world.served[0].sessions - before > 4_800, "{:?}", world.served);
}
