//! The table.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use voxgate_protocol::path::ClientAddress;

use super::chain::{Chain, Place, Slab};
use super::key::Source;
use super::rate::RateLimit;
use super::{
    ACTIVITY_REPORT, Admission, Confirmation, Expired, FlowCounts, FlowLimits, FlowRefusal, Generations, Key,
    Keyed, SessionTag,
};

mod audit;
mod upkeep;

/// Entries [`FlowTable::expire`] ends at one time, so that lanes do not wait long for the table.
pub(crate) const MOST_EXPIRED: u64 = 2048;
/// A flow heard of within this time may be in full use: lanes report less often than packets come.
pub(super) const LIVELY: Duration = Duration::from_secs(2 * ACTIVITY_REPORT.as_secs());
/// Memory is reserved for at most this many assured flows; a larger table grows when it must, which takes milliseconds.
const MOST_RESERVED: usize = 114_688;
/// Where the table's clock starts, in microseconds: flows of a snapshot may be older than the table.
const CLOCK_START: u64 = 1 << 40;

/// The lists a half-open entry is in: all of them by age, those of its session, those of its host.
const BY_AGE: usize = 0;
const OF_SESSION: usize = 1;
const OF_HOST: usize = 2;
/// The lists an assured flow is in: all of them by silence, and, as [`OF_SESSION`], those of its session.
const BY_SILENCE: usize = 0;

#[derive(Clone, Copy)]
pub(super) struct HalfOpen {
    key: Key,
    tag: SessionTag,
    bytes_in: u64,
    bytes_out: u64,
    made: u64,
}

#[derive(Clone, Copy)]
pub(super) struct Assured {
    pub(super) key: Key,
    pub(super) tag: SessionTag,
    /// Microseconds on the table's clock.
    pub(super) last_from_client: u64,
    pub(super) last_from_node: u64,
}

impl Assured {
    fn last_activity(&self) -> u64 {
        self.last_from_client.max(self.last_from_node)
    }
}

/// The entries of one session.
#[derive(Clone, Copy)]
struct Session {
    half_open: Chain,
    assured: Chain,
}

impl Session {
    const EMPTY: Self = Self { half_open: Chain::EMPTY, assured: Chain::EMPTY };
}

/// The flow table of a relay.
pub struct FlowTable {
    pub(super) limits: FlowLimits,
    keyed: Keyed,
    origin: Instant,
    generations: Arc<Generations>,
    half_open: Slab<HalfOpen, 3>,
    half_open_by_address: HashMap<(Key, SessionTag), Place, Keyed>,
    half_open_by_age: Chain,
    hosts: HashMap<Source, Chain, Keyed>,
    pub(super) assured: Slab<Assured, 2>,
    assured_by_address: HashMap<Key, Place, Keyed>,
    assured_by_silence: Chain,
    sessions: HashMap<SessionTag, Session, Keyed>,
    rate: RateLimit,
}

impl fmt::Debug for FlowTable {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("FlowTable").field("counts", &self.counts()).finish_non_exhaustive()
    }
}

impl FlowTable {
    /// An empty table; `hash_seed` is a secret random number, `started` is before every time it will hear of.
    #[must_use]
    pub fn new(limits: FlowLimits, hash_seed: u128, started: Instant) -> Self {
        let keyed = Keyed::new(hash_seed);
        let reserved = limits.assured.min(MOST_RESERVED);
        Self {
            limits,
            keyed,
            origin: started,
            generations: Arc::new(Generations::new()),
            half_open: Slab::with_capacity(0),
            half_open_by_address: HashMap::with_hasher(keyed),
            half_open_by_age: Chain::EMPTY,
            hosts: HashMap::with_hasher(keyed),
            assured: Slab::with_capacity(reserved),
            assured_by_address: HashMap::with_capacity_and_hasher(reserved, keyed),
            assured_by_silence: Chain::EMPTY,
            sessions: HashMap::with_capacity_and_hasher(reserved, keyed),
            rate: RateLimit::new(limits.requests_per_host, limits.requests_burst),
        }
    }

    /// How many entries there are.
    #[must_use]
    pub fn counts(&self) -> FlowCounts {
        FlowCounts { half_open: self.half_open.len(), assured: self.assured.len() }
    }

    /// The hash lanes place addresses by.
    pub(crate) const fn keyed(&self) -> Keyed {
        self.keyed
    }

    pub(crate) fn generations(&self) -> Arc<Generations> {
        Arc::clone(&self.generations)
    }

    /// A binding request of `bytes` bytes came from `client` with a valid ufrag of session `tag`.
    ///
    /// # Errors
    /// [`FlowRefusal::Full`]: its answer could not be accounted for, [`FlowRefusal::Rate`]: its host sends too many.
    pub fn request(
        &mut self,
        now: Instant,
        client: ClientAddress,
        tag: SessionTag,
        bytes: usize,
    ) -> Result<Admission, FlowRefusal> {
        let (now, key) = (self.micros(now), Key::new(client));
        if let Some(place) = self.assured_to_node(key, tag) {
            self.heard_client(now, place);
            return Ok(Admission::Known);
        }
        if !self.rate.admit(&self.keyed, key.source(), now) {
            return Err(FlowRefusal::Rate);
        }
        let (place, admission) = match self.half_open_by_address.get(&(key, tag)) {
            Some(place) => (*place, Admission::Known),
            None => self.open_half(now, key, tag)?,
        };
        self.half_open.get_mut(place).bytes_in += bytes as u64;
        Ok(admission)
    }

    /// A datagram other than a binding request came from `client`: the session of its assured flow, if it has one.
    pub fn uplink(&mut self, now: Instant, client: ClientAddress) -> Option<SessionTag> {
        let place = *self.assured_by_address.get(&Key::new(client))?;
        self.heard_client(self.micros(now), place);
        Some(self.assured.get(place).tag)
    }

    /// The node of `tag` has validated `client` for the session.
    ///
    /// # Errors
    /// [`FlowRefusal::Owned`] while another node's flow of this address lives, [`FlowRefusal::Full`] when there is no
    /// room for a new flow.
    pub fn confirm(
        &mut self,
        now: Instant,
        client: ClientAddress,
        tag: SessionTag,
    ) -> Result<Confirmation, FlowRefusal> {
        let (now, key) = (self.micros(now), Key::new(client));
        let known = self.assured_by_address.get(&key).copied();
        let confirmation = match known.map(|place| (place, *self.assured.get(place))) {
            Some((place, flow)) if flow.tag == tag => {
                self.heard_node(now, place);
                return Ok(Confirmation::Kept);
            }
            Some((_, flow)) if flow.tag.node != tag.node && !self.is_quiet(now, &flow) => {
                return Err(FlowRefusal::Owned);
            }
            Some(_) => Confirmation::Moved,
            None if self.assured.len() >= self.limits.assured => return Err(FlowRefusal::Full),
            None => Confirmation::Created,
        };
        if let Some(place) = known {
            self.remove_assured(place);
        }
        self.remove_half_open_of(key, tag);
        self.make_room_for_assured(now, tag);
        self.insert_assured(Assured { key, tag, last_from_client: now, last_from_node: now });
        Ok(confirmation)
    }

    /// The node of `tag` sends `bytes` bytes to `client` without having validated it. `Ok` when they may leave.
    ///
    /// # Errors
    /// [`FlowRefusal::Budget`] when the address has no assured flow to this node and too few bytes came from it.
    pub fn reply(
        &mut self,
        now: Instant,
        client: ClientAddress,
        tag: SessionTag,
        bytes: usize,
    ) -> Result<(), FlowRefusal> {
        let key = Key::new(client);
        if let Some(place) = self.assured_to_node(key, tag) {
            self.heard_node(self.micros(now), place);
            return Ok(());
        }
        let place = self.half_open_by_address.get(&(key, tag)).ok_or(FlowRefusal::Budget)?;
        let half = self.half_open.get_mut(*place);
        let bytes_out = half.bytes_out + bytes as u64;
        if bytes_out > half.bytes_in {
            return Err(FlowRefusal::Budget);
        }
        half.bytes_out = bytes_out;
        Ok(())
    }

    /// The session `tag` no longer uses `client`. `false` when the table knew nothing of the two.
    pub fn release(&mut self, client: ClientAddress, tag: SessionTag) -> bool {
        let key = Key::new(client);
        let half_open = self.remove_half_open_of(key, tag);
        let flow = self.assured_by_address.get(&key).copied();
        let owned = flow.filter(|place| self.assured.get(*place).tag == tag);
        if let Some(place) = owned {
            self.remove_assured(place);
        }
        half_open || owned.is_some()
    }

    /// Removes what has come to the end of its life by `now`, at most 2048 entries of either state.
    pub fn expire(&mut self, now: Instant) -> Expired {
        let now = self.micros(now);
        let mut expired = Expired::default();
        while let Some(place) = self.half_open_by_age.first()
            && expired.half_open < MOST_EXPIRED
            && self.half_open.get(place).made + micros(self.limits.half_open_age) <= now
        {
            self.remove_half_open(place);
            expired.half_open += 1;
        }
        while let Some(place) = self.assured_by_silence.first()
            && expired.assured < MOST_EXPIRED
            && self.assured.get(place).last_activity() + micros(self.limits.assured_idle) <= now
        {
            self.remove_assured(place);
            expired.assured += 1;
        }
        expired
    }

    /// The present microsecond on the table's clock.
    pub(super) fn micros(&self, now: Instant) -> u64 {
        CLOCK_START + micros(now.saturating_duration_since(self.origin))
    }

    /// The assured flows, the most silent first.
    pub(super) fn iter_assured(&self) -> impl Iterator<Item = &Assured> {
        self.assured.iter(BY_SILENCE, &self.assured_by_silence).map(|(_, flow)| flow)
    }

    /// How many assured flows a session has.
    pub(super) fn flows_of(&self, tag: SessionTag) -> usize {
        self.sessions.get(&tag).map_or(0, |session| session.assured.len())
    }

    pub(super) fn has_flow(&self, key: Key) -> bool {
        self.assured_by_address.contains_key(&key)
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX >> 1)
}
