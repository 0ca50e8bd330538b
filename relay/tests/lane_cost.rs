//! What the relay's core costs: allocations, bytes and time.

#![expect(clippy::unwrap_used, reason = "a test that cannot set up its world fails")]
#![expect(
    unsafe_code,
    reason = "a global allocator that counts can only be written so; it passes every call on"
)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::hint::black_box;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use voxgate_protocol::path::ClientAddress;
use voxgate_relay::core::{Outbox, Socket};
use voxgate_relay::flow::FlowLimits;
use voxgate_relay::tunnel::{Kind, Lane};

mod world;
use world::{CONFIRMED, World, node_address, request};

const CALLS: u32 = 200_000;
const RUNS: u32 = 7;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
    static HELD: Cell<i64> = const { Cell::new(0) };
}

/// The system's allocator; counts what each thread asks for.
struct Counting;

fn count(allocations: u64, bytes: i64) {
    ALLOCATIONS.set(ALLOCATIONS.get() + allocations);
    HELD.set(HELD.get() + bytes);
}

fn size(layout: Layout) -> i64 {
    i64::try_from(layout.size()).unwrap_or(i64::MAX)
}

// SAFETY: every call goes to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(1, size(layout));
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        count(0, -size(layout));
        // SAFETY: `place` came from the same allocator with the same layout.
        unsafe { System.dealloc(place, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// The address of a caller; each has a host of its own.
fn caller(number: u32) -> ClientAddress {
    let ip = Ipv4Addr::from(0x2000_0000 + number);
    ClientAddress::udp(SocketAddr::from((ip, 4000)))
}

fn media() -> Vec<u8> {
    let mut packet = vec![0x55; 160];
    packet[0] = 0x80;
    packet
}

/// A world in which this many callers are assured on node 1.
fn with_flows(flows: u32) -> World {
    let mut world = World::with(1, FlowLimits::default());
    for number in 0..flows {
        world.node(1, number, Kind::Confirm, caller(number), &[]);
    }
    assert_eq!(world.relay.flow_counts().assured, flows as usize);
    world
}

#[test]
fn a_warm_lane_allocates_nothing_for_a_packet() {
    let mut world = with_flows(100);
    let media = media();
    let check = request(1, 7);
    let frames: Vec<Vec<u8>> = (0..400)
        .map(|number| world.frame((1, Lane(0)), number % 100, CONFIRMED, caller(number % 100), &media))
        .collect();
    let World { lanes, now, out, .. } = &mut world;
    let lane = &mut lanes[0];
    let mut run = |frames: &[Vec<u8>], out: &mut Outbox| {
        for (number, frame) in (0..).zip(frames) {
            *now += Duration::from_millis(20);
            out.clear();
            lane.handle_client(*now, *now, caller(number % 100), 0xb8, &media, out);
            lane.handle_client(*now, *now, caller(7), 0, &check, out);
            lane.handle_tunnel(*now, *now, node_address(1), frame, out);
            lane.handle_client(*now, *now, caller(70_000), 0, &media, out);
            lane.handle_timeout(*now, out);
            assert!(out.for_socket(Socket::Tunnel).len() >= 2);
            assert_eq!(out.for_socket(Socket::Public).len(), 1);
        }
    };
    run(&frames[..200], out);
    let before = ALLOCATIONS.get();
    run(&frames[200..], out);
    assert_eq!(ALLOCATIONS.get() - before, 0, "allocations in 800 packets");
}

#[test]
fn a_hundred_thousand_flows_take_at_most_300_bytes_each() {
    const FLOWS: u32 = 100_000;
    drop(World::new());
    let before = HELD.get();
    let world = with_flows(FLOWS);
    let bytes = (HELD.get() - before) / i64::from(FLOWS);
    println!("{bytes} bytes per assured flow, of {FLOWS}");
    assert!(bytes <= 300, "{bytes} bytes per flow");
    drop(world);
}

/// Nanoseconds this thread has had a processor, so that a busy machine disturbs less (proc_pid_schedstat(5)).
fn processor_time() -> u64 {
    let schedstat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    schedstat.split_whitespace().next().unwrap().parse().unwrap()
}

/// The processor time one call takes, in nanoseconds: the best of several runs.
fn best_of_runs(mut call: impl FnMut(u32)) -> u64 {
    let run = |_| {
        let start = processor_time();
        (0..CALLS).for_each(&mut call);
        (processor_time() - start) / u64::from(CALLS)
    };
    (0..RUNS).map(run).min().unwrap()
}

#[test]
#[ignore = "measures; run it alone: cargo test -p voxgate-relay --release --test lane_cost -- --ignored --nocapture"]
fn what_a_media_packet_costs() {
    for flows in [1, 100, 10_000, 100_000] {
        let mut world = with_flows(flows);
        let media = media();
        let World { lanes, now, out, .. } = &mut world;
        let up = best_of_runs(|number| {
            if number % 32 == 0 {
                out.clear();
            }
            let from = caller(number.wrapping_mul(7919) % flows);
            lanes[0].handle_client(*now, *now, from, 0, black_box(&media), out);
        });
        assert_eq!(lanes[0].stats().up_datagrams, u64::from(RUNS * CALLS));
        let frames: Vec<Vec<u8>> = (0..RUNS * CALLS)
            .map(|number| number.wrapping_mul(7919) % flows)
            .map(|number| world.frame((1, Lane(0)), number, CONFIRMED, caller(number), &media))
            .collect();
        let World { lanes, now, out, .. } = &mut world;
        let mut frames = frames.iter();
        let down = best_of_runs(|number| {
            if number % 32 == 0 {
                out.clear();
            }
            let frame = frames.next().unwrap();
            lanes[0].handle_tunnel(*now, *now, node_address(1), black_box(frame), out);
        });
        assert_eq!(lanes[0].stats().down_datagrams, u64::from(RUNS * CALLS));
        println!("{flows} flows: {up} ns up, {down} ns down for a packet of 160 bytes");
    }
}
