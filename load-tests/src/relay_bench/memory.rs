//! What a flow costs in memory, and whether a hundred thousand of them forward.

use std::time::Duration;

use super::contender::{Direction, Running, Surroundings, start_empty_relay};
use super::generator::Generator;
use super::link::sweep;

/// Flows on one relay.
pub const FLOWS: u32 = 100_000;

/// How long a chunk of a sweep may take.
const PATIENCE: Duration = Duration::from_secs(2);

/// What was found.
#[derive(Clone, Copy, Debug)]
pub struct Memory {
    /// Flows that were confirmed.
    pub flows: u32,
    /// Resident bytes of the relay's process before the first flow.
    pub before: u64,
    /// The same with all flows confirmed.
    pub after: u64,
    /// Flows that forwarded a datagram from their client.
    pub forwarded_up: u32,
    /// Flows that forwarded a datagram to their client.
    pub forwarded_down: u32,
}

impl Memory {
    /// Resident bytes per flow.
    #[must_use]
    pub fn bytes_per_flow(&self) -> f64 {
        self.after.saturating_sub(self.before) as f64 / f64::from(self.flows)
    }
}

/// Confirms [`FLOWS`] flows on one relay, weighs it and sends a datagram through each in both directions.
///
/// # Errors
/// The relay does not start or refuses a flow.
pub fn measure(around: &Surroundings) -> anyhow::Result<Memory> {
    let empty = start_empty_relay(around)?;
    let before = empty.resident_bytes()?;
    let Running { process, mut links } = empty.with_flows(FLOWS)?;
    let after = process.as_ref().map_or(Ok(0), super::child::Process::resident_bytes)?;
    let mut generator = Generator::default();
    let mut memory = Memory { flows: FLOWS, before, after, forwarded_up: 0, forwarded_down: 0 };
    for (direction, link) in &mut links {
        let forwarded = sweep(link, generator.next_run(), PATIENCE)? as u32;
        match direction {
            Direction::Up => memory.forwarded_up = forwarded,
            Direction::Down => memory.forwarded_down = forwarded,
        }
    }
    Ok(memory)
}
