//! What one process knows of every place in the tree, whatever budgets there are: one that comes later counts it too.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::time::Duration;

use voxgate_protocol::money::NanoDollars;
use voxgate_protocol::tenant::TenantPath;

use super::Scope;
use crate::money::day::Window;

/// Keys and agents that are remembered one by one although none of their sessions runs. Beyond that they are put together by
/// team, so that a key for each end user does not fill the memory.
const MOST_PLACES: usize = 20_000;

#[derive(Clone, Copy, Debug)]
struct Place {
    /// Drawn and not spent yet.
    leased: NanoDollars,
    /// Booked, with the number of the window, in the order of [`Window::ALL`].
    booked: [(i64, NanoDollars); Window::ALL.len()],
}

impl Place {
    const EMPTY: Self =
        Self { leased: NanoDollars::ZERO, booked: [(i64::MIN, NanoDollars::ZERO); Window::ALL.len()] };

    fn book(&mut self, now: Duration, spent: NanoDollars) {
        for (length, (window, booked)) in Window::ALL.iter().zip(&mut self.booked) {
            let present = length.index(now);
            // A clock that was set back books in the window it has seen last, as accounts do.
            if present > *window {
                (*window, *booked) = (present, spent);
            } else {
                *booked = booked.saturating_add(spent);
            }
        }
    }

    /// Takes over what another place has in the latest windows.
    fn take_over(&mut self, other: &Self) {
        self.leased = self.leased.saturating_add(other.leased);
        for ((window, booked), (of, amount)) in self.booked.iter_mut().zip(other.booked) {
            match of.cmp(window) {
                Ordering::Greater => (*window, *booked) = (of, amount),
                Ordering::Equal => *booked = booked.saturating_add(amount),
                Ordering::Less => {}
            }
        }
    }

    fn booked(&self, now: Duration, length: Window) -> NanoDollars {
        let mut windows = Window::ALL.iter().zip(&self.booked);
        let found = windows.find(|(window, _)| **window == length);
        let present = found.filter(|(_, (window, _))| *window >= length.index(now));
        present.map_or(NanoDollars::ZERO, |(_, (_, booked))| *booked)
    }
}

/// What sessions of this process drew and booked, by place.
#[derive(Clone, Debug)]
pub(super) struct History {
    places: BTreeMap<Scope, Place>,
    /// More places than this are put together.
    most: usize,
}

impl Default for History {
    fn default() -> Self {
        Self { places: BTreeMap::new(), most: MOST_PLACES }
    }
}

impl History {
    /// A session at this place booked so much, and has so much more of its budgets in its hands.
    pub(super) fn note(
        &mut self,
        now: Duration,
        tenant: &TenantPath,
        spent: NanoDollars,
        leased: NanoDollars,
    ) {
        let place = self.places.entry(Scope::of(tenant)).or_insert(Place::EMPTY);
        place.book(now, spent);
        place.leased = place.leased.saturating_add(leased);
        if self.places.len() > self.most {
            self.put_together();
        }
    }

    /// What is booked in the present window and leased below a node.
    pub(super) fn below(&self, now: Duration, scope: &Scope, window: Window) -> (NanoDollars, NanoDollars) {
        let below = self.places.iter().filter(|(place, _)| scope.contains(place));
        below.fold((NanoDollars::ZERO, NanoDollars::ZERO), |(booked, leased), (_, place)| {
            (booked.saturating_add(place.booked(now, window)), leased.saturating_add(place.leased))
        })
    }

    /// Keys none of whose sessions runs are known by their team from now on.
    fn put_together(&mut self) {
        for (scope, place) in std::mem::take(&mut self.places) {
            let runs = place.leased != NanoDollars::ZERO;
            let known_as = if runs { scope } else { Scope { key: None, agent: None, ..scope } };
            self.places.entry(known_as).or_insert(Place::EMPTY).take_over(&place);
        }
        // Where most of them run nothing is gained by doing this again soon.
        self.most = MOST_PLACES.max(2 * self.places.len());
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.places.len()
    }
}
