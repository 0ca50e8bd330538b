//! Which client address belongs to which session, and how sure that is.
//!
//! A binding request with a valid ufrag opens a *half-open* entry for its address and session. It only accounts for
//! bytes: before the node has confirmed the address, no more bytes leave towards it than came from it. Once the node has
//! verified a request's MESSAGE-INTEGRITY and says so, the address has an *assured* flow, and everything else from it goes
//! to that node. Nobody but a node can create or move an assured flow, and another node can take over a flow only when
//! its owner has been silent for a while: somebody with a valid session of their own who forges a caller's source address
//! gets nothing.

use std::collections::{BTreeMap, HashMap};
use std::hash::BuildHasher;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use siphasher::sip::SipHasher13;
use thiserror::Error;
use voxgate_protocol::id::NodeIndex;

#[cfg(test)]
mod model_tests;
#[cfg(test)]
mod tests;

/// A session as the tunnel names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionTag {
    /// The node that holds it.
    pub node: NodeIndex,
    /// `Route::random` of its ufrag.
    pub session: u32,
}

/// How many flows a relay keeps, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlowLimits {
    /// Half-open entries per session; one more replaces the oldest.
    pub half_open_per_session: usize,
    /// Assured flows per session; one more replaces the one silent for longest.
    pub assured_per_session: usize,
    /// Half-open entries altogether; above it requests from new addresses are dropped.
    pub half_open: usize,
    /// Assured flows altogether; above it confirmations of new addresses are refused.
    pub assured: usize,
    /// How long a half-open entry lives.
    pub half_open_age: Duration,
    /// How long an assured flow lives without a datagram in either direction.
    pub assured_idle: Duration,
    /// How long a flow's node must have been silent about it before another node may take it over. Longer than the
    /// interval at which a live call's node answers checks (2.5 s in libwebrtc).
    pub takeover_quiet: Duration,
}

impl Default for FlowLimits {
    fn default() -> Self {
        Self {
            half_open_per_session: 8,
            assured_per_session: 4,
            half_open: 65_536,
            assured: 131_072,
            half_open_age: Duration::from_secs(5),
            assured_idle: Duration::from_secs(30),
            takeover_quiet: Duration::from_secs(5),
        }
    }
}

/// Why the table did not admit something.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum FlowRefusal {
    /// The table holds as many entries as it may.
    #[error("the flow table is full")]
    Full,
    /// Another node's live flow has this address.
    #[error("the address belongs to a live flow of another node")]
    Owned,
    /// More bytes would leave towards an unconfirmed address than came from it.
    #[error("the address is not confirmed and has no budget left")]
    Budget,
}

/// What a confirmation changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Confirmation {
    /// The address had no flow.
    Created,
    /// The flow now belongs to another node or session.
    Moved,
    /// Nothing new.
    Kept,
}

/// How many entries reached the end of their life.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Expired {
    /// Half-open entries.
    pub half_open: u64,
    /// Assured flows.
    pub assured: u64,
}

/// The key of an entry in the expiry queue; the number tells entries of one instant apart.
type Deadline = (Instant, u64);

#[derive(Clone, Copy, Debug)]
enum Entry {
    HalfOpen(SocketAddr, SessionTag),
    Assured(SocketAddr),
}

#[derive(Clone, Copy, Debug)]
struct HalfOpen {
    bytes_in: u64,
    bytes_out: u64,
    deadline: Deadline,
}

#[derive(Clone, Copy, Debug)]
struct Assured {
    tag: SessionTag,
    last_from_client: Instant,
    last_from_node: Instant,
    deadline: Deadline,
}

impl Assured {
    fn last_activity(&self) -> Instant {
        self.last_from_client.max(self.last_from_node)
    }
}

/// The addresses of one session, in the order their entries were made.
#[derive(Clone, Debug, Default)]
struct Session {
    half_open: Vec<SocketAddr>,
    assured: Vec<SocketAddr>,
}

/// A keyed hash, so that nobody can choose addresses that collide.
#[derive(Clone, Copy, Debug)]
struct Keyed {
    high: u64,
    low: u64,
}

impl BuildHasher for Keyed {
    type Hasher = SipHasher13;

    fn build_hasher(&self) -> SipHasher13 {
        SipHasher13::new_with_keys(self.high, self.low)
    }
}

/// The flow table of a relay. Addresses must be canonical: no IPv4 in mapped form.
#[derive(Clone, Debug)]
pub struct FlowTable {
    limits: FlowLimits,
    half_open: HashMap<(SocketAddr, SessionTag), HalfOpen, Keyed>,
    assured: HashMap<SocketAddr, Assured, Keyed>,
    sessions: HashMap<SessionTag, Session, Keyed>,
    expiry: BTreeMap<Deadline, Entry>,
    entries_made: u64,
}

impl FlowTable {
    /// An empty table; `hash_seed` is a secret random number.
    #[must_use]
    pub fn new(limits: FlowLimits, hash_seed: u128) -> Self {
        let [high, low] = [(hash_seed >> 64) as u64, hash_seed as u64];
        let keyed = Keyed { high, low };
        Self {
            limits,
            half_open: HashMap::with_hasher(keyed),
            assured: HashMap::with_hasher(keyed),
            sessions: HashMap::with_hasher(keyed),
            expiry: BTreeMap::new(),
            entries_made: 0,
        }
    }

    /// How many half-open entries there are.
    #[must_use]
    pub fn half_open_count(&self) -> usize {
        self.half_open.len()
    }

    /// How many assured flows there are.
    #[must_use]
    pub fn assured_count(&self) -> usize {
        self.assured.len()
    }

    /// A binding request of `bytes` bytes came from `client` with a valid ufrag of session `tag`.
    ///
    /// # Errors
    /// [`FlowRefusal::Full`]: drop the request, its answer could not be accounted for.
    pub fn request(
        &mut self,
        now: Instant,
        client: SocketAddr,
        tag: SessionTag,
        bytes: usize,
    ) -> Result<(), FlowRefusal> {
        if let Some(flow) = self.assured.get_mut(&client).filter(|flow| flow.tag.node == tag.node) {
            flow.last_from_client = now;
            return Ok(());
        }
        if !self.half_open.contains_key(&(client, tag)) {
            self.open_half(now, client, tag)?;
        }
        if let Some(half) = self.half_open.get_mut(&(client, tag)) {
            half.bytes_in += bytes as u64;
        }
        Ok(())
    }

    /// A datagram other than a binding request came from `client`: the session of its assured flow, if it has one.
    pub fn uplink(&mut self, now: Instant, client: SocketAddr) -> Option<SessionTag> {
        let flow = self.assured.get_mut(&client)?;
        flow.last_from_client = now;
        Some(flow.tag)
    }

    /// The node of `tag` has validated `client` for the session.
    ///
    /// # Errors
    /// [`FlowRefusal::Owned`] while another node's flow of this address lives, [`FlowRefusal::Full`] when there is no
    /// room for a new flow.
    pub fn confirm(
        &mut self,
        now: Instant,
        client: SocketAddr,
        tag: SessionTag,
    ) -> Result<Confirmation, FlowRefusal> {
        let confirmation = match self.assured.get(&client) {
            Some(flow) if flow.tag == tag => Confirmation::Kept,
            Some(flow) if flow.tag.node != tag.node && !quiet(now, flow, self.limits.takeover_quiet) => {
                return Err(FlowRefusal::Owned);
            }
            Some(_) => Confirmation::Moved,
            None if self.assured.len() >= self.limits.assured => return Err(FlowRefusal::Full),
            None => Confirmation::Created,
        };
        if let (Confirmation::Kept, Some(flow)) = (confirmation, self.assured.get_mut(&client)) {
            flow.last_from_node = now;
            return Ok(confirmation);
        }
        self.remove_assured(client);
        self.remove_half_open(client, tag);
        self.make_room_for_assured(tag);
        let deadline = self.schedule(now + self.limits.assured_idle, Entry::Assured(client));
        let flow = Assured { tag, last_from_client: now, last_from_node: now, deadline };
        self.assured.insert(client, flow);
        self.sessions.entry(tag).or_default().assured.push(client);
        Ok(confirmation)
    }

    /// The node of `tag` sends `bytes` bytes to `client` without having validated it. `Ok` when they may leave.
    ///
    /// # Errors
    /// [`FlowRefusal::Budget`] when the address has no assured flow to this node and too few bytes came from it.
    pub fn reply(
        &mut self,
        now: Instant,
        client: SocketAddr,
        tag: SessionTag,
        bytes: usize,
    ) -> Result<(), FlowRefusal> {
        if let Some(flow) = self.assured.get_mut(&client).filter(|flow| flow.tag.node == tag.node) {
            flow.last_from_node = now;
            return Ok(());
        }
        let half = self.half_open.get_mut(&(client, tag)).ok_or(FlowRefusal::Budget)?;
        let bytes_out = half.bytes_out + bytes as u64;
        if bytes_out > half.bytes_in {
            return Err(FlowRefusal::Budget);
        }
        half.bytes_out = bytes_out;
        Ok(())
    }

    /// The session `tag` no longer uses `client`. `false` when the table knew nothing of the two.
    pub fn release(&mut self, client: SocketAddr, tag: SessionTag) -> bool {
        let half_open = self.remove_half_open(client, tag);
        let owned = self.assured.get(&client).is_some_and(|flow| flow.tag == tag);
        if owned {
            self.remove_assured(client);
        }
        owned || half_open
    }

    /// Removes what has come to the end of its life by `now`.
    pub fn expire(&mut self, now: Instant) -> Expired {
        let mut expired = Expired::default();
        while let Some((&deadline, &entry)) = self.expiry.first_key_value() {
            if deadline.0 > now {
                break;
            }
            match entry {
                Entry::HalfOpen(client, tag) => {
                    self.remove_half_open(client, tag);
                    expired.half_open += 1;
                }
                Entry::Assured(client) => expired.assured += u64::from(self.expire_assured(now, client)),
            }
        }
        expired
    }

    /// When [`Self::expire`] has something to do next, or may have.
    #[must_use]
    pub fn next_expiry(&self) -> Option<Instant> {
        self.expiry.first_key_value().map(|((at, _), _)| *at)
    }

    fn open_half(&mut self, now: Instant, client: SocketAddr, tag: SessionTag) -> Result<(), FlowRefusal> {
        let of_session = self.sessions.get(&tag).map_or(&[][..], |session| &session.half_open);
        if of_session.len() >= self.limits.half_open_per_session {
            // An attacker with a sniffed ufrag can fill the session's entries from forged addresses; refusing would
            // lock its caller out for the age of an entry, replacing costs the attacker a steady flood.
            if let Some(oldest) = of_session.first().copied() {
                self.remove_half_open(oldest, tag);
            }
        }
        if self.half_open.len() >= self.limits.half_open {
            return Err(FlowRefusal::Full);
        }
        let deadline = self.schedule(now + self.limits.half_open_age, Entry::HalfOpen(client, tag));
        self.half_open.insert((client, tag), HalfOpen { bytes_in: 0, bytes_out: 0, deadline });
        self.sessions.entry(tag).or_default().half_open.push(client);
        Ok(())
    }

    fn make_room_for_assured(&mut self, tag: SessionTag) {
        let Some(session) = self.sessions.get(&tag) else { return };
        if session.assured.len() < self.limits.assured_per_session {
            return;
        }
        let silence = |client: &&SocketAddr| self.assured.get(*client).map(Assured::last_activity);
        if let Some(most_silent) = session.assured.iter().min_by_key(silence).copied() {
            self.remove_assured(most_silent);
        }
    }

    /// Ends an assured flow that was idle for long enough, or looks at it again when it could be.
    fn expire_assured(&mut self, now: Instant, client: SocketAddr) -> bool {
        let Some(flow) = self.assured.get(&client).copied() else { return false };
        let idle_until = flow.last_activity() + self.limits.assured_idle;
        if idle_until <= now {
            self.remove_assured(client);
            return true;
        }
        self.expiry.remove(&flow.deadline);
        let deadline = self.schedule(idle_until, Entry::Assured(client));
        if let Some(flow) = self.assured.get_mut(&client) {
            flow.deadline = deadline;
        }
        false
    }

    fn schedule(&mut self, at: Instant, entry: Entry) -> Deadline {
        self.entries_made += 1;
        let deadline = (at, self.entries_made);
        self.expiry.insert(deadline, entry);
        deadline
    }

    fn remove_half_open(&mut self, client: SocketAddr, tag: SessionTag) -> bool {
        let Some(half) = self.half_open.remove(&(client, tag)) else { return false };
        self.expiry.remove(&half.deadline);
        self.leave_session(tag, |session| session.half_open.retain(|other| *other != client));
        true
    }

    fn remove_assured(&mut self, client: SocketAddr) {
        let Some(flow) = self.assured.remove(&client) else { return };
        self.expiry.remove(&flow.deadline);
        self.leave_session(flow.tag, |session| session.assured.retain(|other| *other != client));
    }

    fn leave_session(&mut self, tag: SessionTag, leave: impl FnOnce(&mut Session)) {
        let Some(session) = self.sessions.get_mut(&tag) else { return };
        leave(session);
        if session.half_open.is_empty() && session.assured.is_empty() {
            self.sessions.remove(&tag);
        }
    }
}

fn quiet(now: Instant, flow: &Assured, for_at_least: Duration) -> bool {
    now.saturating_duration_since(flow.last_from_node) >= for_at_least
}
