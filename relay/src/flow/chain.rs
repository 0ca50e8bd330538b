//! Entries in one block of memory, each a member of several lists.
//!
//! A list costs an entry eight bytes and its owner twelve, and joining or leaving one allocates nothing.

/// The end of a list.
const NONE: u32 = u32::MAX;

/// The place of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place(u32);

#[derive(Clone, Copy, Debug)]
struct Link {
    previous: u32,
    next: u32,
}

const LOOSE: Link = Link { previous: NONE, next: NONE };

/// One list: its ends and its length.
#[derive(Clone, Copy, Debug)]
pub(super) struct Chain {
    head: u32,
    tail: u32,
    length: u32,
}

impl Chain {
    pub(super) const EMPTY: Self = Self { head: NONE, tail: NONE, length: 0 };

    pub(super) const fn len(&self) -> usize {
        self.length as usize
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.length == 0
    }

    pub(super) const fn last(&self) -> Option<Place> {
        if self.tail == NONE { None } else { Some(Place(self.tail)) }
    }

    pub(super) const fn first(&self) -> Option<Place> {
        if self.head == NONE { None } else { Some(Place(self.head)) }
    }
}

#[derive(Clone, Debug)]
struct Slot<T, const LISTS: usize> {
    links: [Link; LISTS],
    value: T,
}

/// The entries. Each can be in one list of every kind `0..LISTS`.
#[derive(Clone, Debug)]
pub(super) struct Slab<T, const LISTS: usize> {
    slots: Vec<Slot<T, LISTS>>,
    /// Unused slots, linked by their first link.
    free: u32,
    used: usize,
}

impl<T: Copy, const LISTS: usize> Slab<T, LISTS> {
    pub(super) fn with_capacity(entries: usize) -> Self {
        Self { slots: Vec::with_capacity(entries), free: NONE, used: 0 }
    }

    pub(super) const fn len(&self) -> usize {
        self.used
    }

    pub(super) fn insert(&mut self, value: T) -> Place {
        self.used += 1;
        let slot = Slot { links: [LOOSE; LISTS], value };
        if self.free != NONE {
            let place = self.free;
            self.free = self.slots[place as usize].links[0].next;
            self.slots[place as usize] = slot;
            return Place(place);
        }
        // The limits of the table are far below four thousand million entries.
        let place = u32::try_from(self.slots.len()).unwrap_or(NONE);
        self.slots.push(slot);
        Place(place)
    }

    /// Removes an entry that is in no list any more.
    pub(super) fn remove(&mut self, place: Place) -> T {
        self.used -= 1;
        let slot = &mut self.slots[place.0 as usize];
        slot.links[0] = Link { previous: NONE, next: self.free };
        self.free = place.0;
        slot.value
    }

    pub(super) fn get(&self, place: Place) -> &T {
        &self.slots[place.0 as usize].value
    }

    pub(super) fn get_mut(&mut self, place: Place) -> &mut T {
        &mut self.slots[place.0 as usize].value
    }

    pub(super) fn push_back(&mut self, list: usize, chain: &mut Chain, place: Place) {
        self.slots[place.0 as usize].links[list] = Link { previous: chain.tail, next: NONE };
        match chain.tail {
            NONE => chain.head = place.0,
            tail => self.slots[tail as usize].links[list].next = place.0,
        }
        chain.tail = place.0;
        chain.length += 1;
    }

    pub(super) fn unlink(&mut self, list: usize, chain: &mut Chain, place: Place) {
        let Link { previous, next } = self.slots[place.0 as usize].links[list];
        match previous {
            NONE => chain.head = next,
            previous => self.slots[previous as usize].links[list].next = next,
        }
        match next {
            NONE => chain.tail = previous,
            next => self.slots[next as usize].links[list].previous = previous,
        }
        chain.length -= 1;
    }

    /// The entries of a list from its first to its last.
    pub(super) fn iter(&self, list: usize, chain: &Chain) -> impl Iterator<Item = (Place, &T)> {
        let mut next = chain.head;
        std::iter::from_fn(move || {
            let slot = self.slots.get(next as usize)?;
            let place = Place(next);
            next = slot.links[list].next;
            Some((place, &slot.value))
        })
    }
}
