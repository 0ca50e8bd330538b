//! Thousands of calls in virtual time. Each is another schedule of speech, answers faster than real time, playout, client
//! events, cancels, disconnects, provider faults and tool calls that wait for a person, and after every step of it the promises of a conversation are
//! checked ([`judge`]).
//!
//! A schedule follows from its seed alone. `VOXGATE_SIMULATION_SEED=7 cargo nextest run -p voxgate-gateway simulation`
//! runs that seed of every kind of call again; a failure prints what happened up to it.

mod caller;
mod client;
mod dice;
mod judge;
mod listener;
mod person;
mod provider;
mod schedule;
mod sidebands;

use std::collections::BTreeMap;

use voxgate_media::session::Leg;
use voxgate_protocol::bridge::TurnOwner;

use schedule::{Figures, Kind, Trace};

/// Schedules of each of the four kinds of call.
const SCHEDULES: u64 = 2_500;

/// Lines of a failed schedule that are printed; what went wrong is at their end.
const LINES: usize = 200;

fn every_schedule_keeps_its_promises(kind: Kind) -> Figures {
    let wanted = std::env::var("VOXGATE_SIMULATION_SEED").ok().map(|seed| seed.parse().unwrap());
    let seeds = wanted.map_or(0..SCHEDULES, |seed: u64| seed..seed + 1);
    let mut figures = Figures::default();
    let mut broken = BTreeMap::new();
    for seed in seeds {
        match schedule::run(kind, seed, &mut Trace::Off) {
            Ok(of_one) => figures += of_one,
            // The first schedule that breaks each promise.
            Err(sentence) => {
                let promise = sentence.replace(char::is_numeric, "");
                broken.entry(promise).or_insert((seed, sentence));
            }
        }
    }
    for (seed, sentence) in broken.values() {
        let mut trace = Trace::On(Vec::new());
        // The same again, this time written down.
        let _ = schedule::run(kind, *seed, &mut trace);
        println!("{kind:?}: {sentence}\n{}", trace.last_lines(LINES));
        println!("VOXGATE_SIMULATION_SEED={seed} runs it again\n");
    }
    assert!(broken.is_empty(), "{kind:?}: {:?}", broken.values());
    println!("{kind:?}: {figures:?}");
    figures
}

/// Schedules in which nothing happens prove nothing.
fn enough_happened(kind: Kind, figures: &Figures) {
    if std::env::var_os("VOXGATE_SIMULATION_SEED").is_some() {
        return;
    }
    assert_eq!(figures.schedules, SCHEDULES);
    // Only where the gateway plays can it take back what it plays.
    if kind.leg == Leg::Rtp {
        assert!(figures.interruptions > SCHEDULES / 25, "{figures:?}");
        assert!(figures.packets > SCHEDULES * 5, "{figures:?}");
        assert!(figures.sidebands > SCHEDULES / 10, "{figures:?}");
        assert!(figures.sideband_events > SCHEDULES / 2, "{figures:?}");
    }
    if kind.leg == Leg::Rtp && kind.owner == TurnOwner::Gateway {
        assert!(figures.held > SCHEDULES / 25, "{figures:?}");
        assert!(figures.resumed > SCHEDULES / 50, "{figures:?}");
        assert!(figures.held_and_told > SCHEDULES / 50, "{figures:?}");
    }
    assert!(figures.held_calls > SCHEDULES / 25, "{figures:?}");
    assert!(figures.approved_calls > SCHEDULES / 100, "{figures:?}");
    for (name, count) in [
        ("turns", figures.turns),
        ("answers", figures.answers),
        ("truncations", figures.truncations),
        ("retrieved items", figures.retrieved),
        ("refused client events", figures.refusals),
        ("provider failures", figures.provider_failures),
    ] {
        assert!(count > SCHEDULES / 25, "only {count} {name} in {SCHEDULES} schedules");
    }
}

#[test]
fn webrtc_calls_with_turns_found_here_keep_every_promise() {
    let kind = Kind { leg: Leg::Rtp, owner: TurnOwner::Gateway };
    enough_happened(kind, &every_schedule_keeps_its_promises(kind));
}

#[test]
fn webrtc_calls_with_turns_found_by_the_provider_keep_every_promise() {
    let kind = Kind { leg: Leg::Rtp, owner: TurnOwner::Provider };
    enough_happened(kind, &every_schedule_keeps_its_promises(kind));
}

#[test]
fn websocket_sessions_with_turns_found_here_keep_every_promise() {
    let kind = Kind { leg: Leg::Pcm, owner: TurnOwner::Gateway };
    enough_happened(kind, &every_schedule_keeps_its_promises(kind));
}

#[test]
fn websocket_sessions_with_turns_found_by_the_provider_keep_every_promise() {
    let kind = Kind { leg: Leg::Pcm, owner: TurnOwner::Provider };
    enough_happened(kind, &every_schedule_keeps_its_promises(kind));
}
