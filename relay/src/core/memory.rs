//! The flows one lane serves, remembered beside the shared table.

use crate::flow::{Generations, Key, Keyed, SessionTag};

/// Slots to begin with.
const FEWEST: usize = 1024;
/// Slots at most: 10 MB, for as many flows as the table holds.
const MOST: usize = 262_144;
/// Slots in which an address may be, from its own onwards.
const WINDOW: usize = 8;

/// What is remembered of one address: 40 bytes.
#[derive(Clone, Copy)]
pub(super) struct Remembered {
    key: Key,
    /// The address's generation when the rest was read from the table.
    generation: u32,
    pub(super) tag: SessionTag,
    /// When the table last heard that the client sent, in milliseconds of the relay's clock, wrapping.
    pub(super) client_reported: u32,
    /// When the table last heard that the node spoke of the address.
    pub(super) node_reported: u32,
}

const NOTHING: Remembered = Remembered {
    key: Key::NONE,
    generation: 0,
    tag: SessionTag { node: voxgate_protocol::id::NodeIndex(0), session: 0 },
    client_reported: 0,
    node_reported: 0,
};

/// A table of remembered flows, at most half full until it cannot grow any more.
pub(super) struct FlowMemory {
    slots: Vec<Remembered>,
    used: usize,
}

impl FlowMemory {
    pub(super) fn new() -> Self {
        Self { slots: vec![NOTHING; FEWEST], used: 0 }
    }

    /// What is remembered of an address, unless its flow has changed since.
    pub(super) fn get(&mut self, hash: u64, key: &Key, generation: u32) -> Option<&mut Remembered> {
        let found = self.window(hash).find(|slot| self.slots[*slot].key == *key)?;
        self.slots.get_mut(found).filter(|remembered| remembered.generation == generation)
    }

    /// Remembers what the table said of an address while its lock was held.
    pub(super) fn put(
        &mut self,
        (keyed, generations): (&Keyed, &Generations),
        (hash, key): (u64, Key),
        fields: (SessionTag, u32, u32),
    ) {
        if self.used * 2 >= self.slots.len() && self.slots.len() < MOST {
            self.grow(keyed, generations);
        }
        let (tag, client_reported, node_reported) = fields;
        let generation = generations.of(hash);
        let remembered = Remembered { key, generation, tag, client_reported, node_reported };
        self.place(hash, remembered, |other| generations.of(keyed.of(&other.key)) == other.generation);
    }

    fn place(&mut self, hash: u64, remembered: Remembered, holds: impl Fn(&Remembered) -> bool) {
        let slots = &self.slots;
        let own = self.window(hash).find(|slot| [remembered.key, Key::NONE].contains(&slots[*slot].key));
        let stale = || self.window(hash).find(|slot| !holds(&slots[*slot]));
        let slot = own.or_else(stale).unwrap_or(hash as usize % slots.len());
        self.used += usize::from(self.slots[slot].key == Key::NONE);
        self.slots[slot] = remembered;
    }

    /// Forgets what no longer holds, with twice the room.
    fn grow(&mut self, keyed: &Keyed, generations: &Generations) {
        let slots = vec![NOTHING; self.slots.len() * 2];
        let old = std::mem::replace(&mut self.slots, slots);
        self.used = 0;
        for remembered in old.into_iter().filter(|remembered| remembered.key != Key::NONE) {
            let hash = keyed.of(&remembered.key);
            if generations.of(hash) == remembered.generation {
                self.place(hash, remembered, |_| true);
            }
        }
    }

    fn window(&self, hash: u64) -> impl Iterator<Item = usize> + use<> {
        let (first, mask) = (hash as usize, self.slots.len() - 1);
        (0..WINDOW).map(move |step| first.wrapping_add(step) & mask)
    }
}
