//! Turns as compact rows.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use voxgate_protocol::money::NanoDollars;
use voxgate_protocol::timeline::Hop;

use super::turn::{HeardTurn, TurnOrigin};

/// Stands for a hop that took no part: no turn lasts five hundred years.
const ABSENT: u64 = u64::MAX;

/// One turn.
#[derive(Clone, Debug)]
pub(super) struct Row {
    pub(super) at: Duration,
    /// Its place among the origins.
    pub(super) origin: usize,
    whole_nanos: u64,
    /// In the order of hops.
    hops_nanos: [u64; Hop::ALL.len()],
    pub(super) cost: Option<NanoDollars>,
    pub(super) spender: Option<Hop>,
}

impl Row {
    pub(super) fn of(turn: &HeardTurn, at: Duration, origin: usize) -> Self {
        let mut hops_nanos = [ABSENT; Hop::ALL.len()];
        for (hop, duration) in &turn.hops {
            if let Some(place) = hops_nanos.get_mut(*hop as usize) {
                *place = nanos(*duration);
            }
        }
        let (cost, spender) = (turn.cost, turn.spender);
        Self { at, origin, whole_nanos: nanos(turn.whole), hops_nanos, cost, spender }
    }

    pub(super) const fn whole(&self) -> Duration {
        Duration::from_nanos(self.whole_nanos)
    }

    /// What the turn waited for a hop, if it took part.
    pub(super) fn hop(&self, hop: Hop) -> Option<Duration> {
        let nanos = self.hops_nanos.get(hop as usize).copied();
        nanos.filter(|nanos| *nanos != ABSENT).map(Duration::from_nanos)
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(ABSENT).min(ABSENT - 1)
}

/// The origins of the turns that are kept, each once. One that has no turn any more is forgotten.
#[derive(Clone, Debug, Default)]
pub(super) struct Origins {
    places: BTreeMap<Arc<TurnOrigin>, usize>,
    /// With how many turns each has; a place without any is free.
    origins: Vec<(Arc<TurnOrigin>, usize)>,
    free: Vec<usize>,
}

impl Origins {
    /// One turn more. Its origin's place.
    pub(super) fn enter(&mut self, origin: &Arc<TurnOrigin>) -> usize {
        let known = self.places.get(origin).copied();
        let place = known.unwrap_or_else(|| self.make_room(origin));
        if let Some((_, turns)) = self.origins.get_mut(place) {
            *turns += 1;
        }
        place
    }

    fn make_room(&mut self, origin: &Arc<TurnOrigin>) -> usize {
        let place = self.free.pop().unwrap_or(self.origins.len());
        match self.origins.get_mut(place) {
            Some(known) => *known = (Arc::clone(origin), 0),
            None => self.origins.push((Arc::clone(origin), 0)),
        }
        self.places.insert(Arc::clone(origin), place);
        place
    }

    /// One turn less.
    pub(super) fn leave(&mut self, place: usize) {
        let Some((origin, turns)) = self.origins.get_mut(place) else { return };
        *turns = turns.saturating_sub(1);
        if *turns == 0 {
            self.places.remove(origin);
            self.free.push(place);
        }
    }

    /// What is said of each origin that has turns, by its place.
    pub(super) fn each<T>(&self, mut say: impl FnMut(&TurnOrigin) -> Option<T>) -> Vec<Option<T>> {
        self.origins.iter().map(|(origin, turns)| if *turns > 0 { say(origin) } else { None }).collect()
    }

    /// How many have turns.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.places.len()
    }
}
