//! Sideband connections: come and go, and send what a client sends.

use std::time::{Duration, Instant};

use serde_json::Value;
use voxgate_media::session::Leg;
use voxgate_realtime::SidebandId;

use super::client::{Asked, Client};
use super::dice::Dice;

/// Most of one schedule: one more than a call takes at a time.
const MOST: u64 = 5;

/// What a sideband connection does next.
pub(super) enum Act {
    Attach(SidebandId),
    Leave(SidebandId),
    /// It sends an event; from one that is not attached any more it is not heard.
    Ask(SidebandId, Asked),
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Coming,
    /// Attached, or refused and not told.
    There,
    Gone,
}

struct Sideband {
    id: SidebandId,
    stage: Stage,
    attaches_at: Instant,
    leaves_at: Instant,
    client: Client,
}

impl Sideband {
    fn next_at(&self) -> Option<Instant> {
        match self.stage {
            Stage::Coming => Some(self.attaches_at),
            Stage::There => Some(self.client.next_at().map_or(self.leaves_at, |at| at.min(self.leaves_at))),
            // What it sent before it left.
            Stage::Gone => {
                self.client.next_at().filter(|at| *at < self.leaves_at + Duration::from_millis(300))
            }
        }
    }

    fn act(&mut self, now: Instant) -> Act {
        match self.stage {
            Stage::Coming => {
                self.stage = Stage::There;
                Act::Attach(self.id)
            }
            Stage::There if self.client.next_at().is_none_or(|at| at >= self.leaves_at) => {
                self.stage = Stage::Gone;
                Act::Leave(self.id)
            }
            Stage::There | Stage::Gone => Act::Ask(self.id, self.client.ask(now)),
        }
    }
}

/// The sideband connections of one schedule.
pub(super) struct Sidebands {
    all: Vec<Sideband>,
}

impl Sidebands {
    pub(super) fn none() -> Self {
        Self { all: Vec::new() }
    }

    pub(super) fn new(start: Instant, length: Duration, dice: &mut Dice) -> Self {
        let within = length.as_millis() as u64;
        let all = (1..=dice.between(1, MOST)).map(|number| {
            let attaches_at = start + if dice.chance(30) { Duration::ZERO } else { dice.millis(0, within) };
            let stays = dice.millis(0, within * 2);
            let name = format!("side{number}");
            Sideband {
                id: SidebandId(number),
                stage: Stage::Coming,
                attaches_at,
                leaves_at: attaches_at + stays,
                client: Client::new(name, Leg::Rtp, attaches_at, stays + length, Dice::new(dice.seed())),
            }
        });
        Self { all: all.collect() }
    }

    pub(super) fn next_at(&self) -> Option<Instant> {
        self.all.iter().filter_map(Sideband::next_at).min()
    }

    /// What is due.
    pub(super) fn act(&mut self, now: Instant) -> Option<Act> {
        let next = self.all.iter_mut().filter(|sideband| sideband.next_at().is_some());
        next.min_by_key(|sideband| sideband.next_at()).map(|sideband| sideband.act(now))
    }

    /// An event for one of them, or for all that are attached.
    pub(super) fn read(&mut self, now: Instant, to: Option<SidebandId>, event: &Value) {
        let there = self.all.iter_mut().filter(|sideband| sideband.stage == Stage::There);
        for sideband in there.filter(|sideband| to.is_none_or(|id| id == sideband.id)) {
            sideband.client.read(now, event);
        }
    }
}
