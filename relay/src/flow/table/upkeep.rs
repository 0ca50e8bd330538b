//! Making, moving and ending entries: every entry is in its index and in all of its lists, or nowhere.

use std::collections::hash_map::Entry;

use super::*;

impl FlowTable {
    /// Adds a flow of an address that has none. The list by silence stays in order: a flow of a snapshot that is added
    /// behind a livelier one counts as heard of at the same time.
    pub(in crate::flow) fn insert_assured(&mut self, mut flow: Assured) {
        if let Some(last) = self.assured_by_silence.last() {
            let liveliest = self.assured.get(last).last_activity();
            if flow.last_activity() < liveliest {
                flow.last_from_client = liveliest;
            }
        }
        let place = self.assured.insert(flow);
        self.assured.push_back(BY_SILENCE, &mut self.assured_by_silence, place);
        let session = self.sessions.entry(flow.tag).or_insert(Session::EMPTY);
        self.assured.push_back(OF_SESSION, &mut session.assured, place);
        self.assured_by_address.insert(flow.key, place);
        self.generations.advance(self.keyed.of(&flow.key));
    }

    pub(super) fn remove_assured(&mut self, place: Place) {
        self.assured.unlink(BY_SILENCE, &mut self.assured_by_silence, place);
        let tag = self.assured.get(place).tag;
        if let Entry::Occupied(mut session) = self.sessions.entry(tag) {
            self.assured.unlink(OF_SESSION, &mut session.get_mut().assured, place);
            forget_if_empty(session);
        }
        let flow = self.assured.remove(place);
        self.assured_by_address.remove(&flow.key);
        self.generations.advance(self.keyed.of(&flow.key));
    }

    /// The assured flow of an address, if its node is the tag's.
    pub(super) fn assured_to_node(&self, key: Key, tag: SessionTag) -> Option<Place> {
        let place = self.assured_by_address.get(&key).copied();
        place.filter(|place| self.assured.get(*place).tag.node == tag.node)
    }

    pub(super) fn heard_client(&mut self, now: u64, place: Place) {
        self.assured.get_mut(place).last_from_client = now;
        self.is_lively(place);
    }

    pub(super) fn heard_node(&mut self, now: u64, place: Place) {
        self.assured.get_mut(place).last_from_node = now;
        self.is_lively(place);
    }

    fn is_lively(&mut self, place: Place) {
        self.assured.unlink(BY_SILENCE, &mut self.assured_by_silence, place);
        self.assured.push_back(BY_SILENCE, &mut self.assured_by_silence, place);
    }

    /// Whether a flow's node has been silent for long enough that another node may have the address.
    pub(super) fn is_quiet(&self, now: u64, flow: &Assured) -> bool {
        now.saturating_sub(flow.last_from_node) >= micros(self.limits.takeover_quiet)
    }

    /// Ends a flow of a session that has as many as it may: the one silent for longest, or, when the table has heard of
    /// all of them lately, the youngest. Somebody who replays a caller's checks from other addresses replaces their own
    /// flows in this way, and never the one the caller speaks through.
    pub(super) fn make_room_for_assured(&mut self, now: u64, tag: SessionTag) {
        let Some(session) = self.sessions.get(&tag) else { return };
        if session.assured.len() < self.limits.assured_per_session {
            return;
        }
        let flows = self.assured.iter(OF_SESSION, &session.assured);
        let most_silent = flows.min_by_key(|(_, flow)| flow.last_activity());
        let silent = most_silent.filter(|(_, flow)| now - flow.last_activity().min(now) >= micros(LIVELY));
        if let Some(place) = silent.map(|(place, _)| place).or_else(|| session.assured.last()) {
            self.remove_assured(place);
        }
    }

    /// Makes a half-open entry. An attacker with a sniffed ufrag can fill a session's entries, and one with several a
    /// host's, from forged addresses; refusing would lock their owners out for the age of an entry, replacing the oldest
    /// costs the attacker a steady flood.
    pub(super) fn open_half(
        &mut self,
        now: u64,
        key: Key,
        tag: SessionTag,
    ) -> Result<(Place, Admission), FlowRefusal> {
        let mut admission = Admission::Opened;
        let of_host = self.hosts.get(&key.source()).copied().unwrap_or(Chain::EMPTY);
        if of_host.len() >= self.limits.half_open_per_host
            && let Some(oldest) = of_host.first()
        {
            self.remove_half_open(oldest);
            admission = Admission::ReplacedOfHost;
        }
        let of_session = self.sessions.get(&tag).map_or(Chain::EMPTY, |session| session.half_open);
        if of_session.len() >= self.limits.half_open_per_session
            && let Some(oldest) = of_session.first()
        {
            self.remove_half_open(oldest);
            admission = Admission::ReplacedOfSession;
        }
        if self.half_open.len() >= self.limits.half_open {
            return Err(FlowRefusal::Full);
        }
        let place = self.half_open.insert(HalfOpen { key, tag, bytes_in: 0, bytes_out: 0, made: now });
        self.half_open.push_back(BY_AGE, &mut self.half_open_by_age, place);
        let session = self.sessions.entry(tag).or_insert(Session::EMPTY);
        self.half_open.push_back(OF_SESSION, &mut session.half_open, place);
        let host = self.hosts.entry(key.source()).or_insert(Chain::EMPTY);
        self.half_open.push_back(OF_HOST, host, place);
        self.half_open_by_address.insert((key, tag), place);
        Ok((place, admission))
    }

    pub(super) fn remove_half_open_of(&mut self, key: Key, tag: SessionTag) -> bool {
        let place = self.half_open_by_address.get(&(key, tag)).copied();
        if let Some(place) = place {
            self.remove_half_open(place);
        }
        place.is_some()
    }

    pub(super) fn remove_half_open(&mut self, place: Place) {
        let HalfOpen { key, tag, .. } = *self.half_open.get(place);
        self.half_open.unlink(BY_AGE, &mut self.half_open_by_age, place);
        if let Entry::Occupied(mut session) = self.sessions.entry(tag) {
            self.half_open.unlink(OF_SESSION, &mut session.get_mut().half_open, place);
            forget_if_empty(session);
        }
        if let Entry::Occupied(mut host) = self.hosts.entry(key.source()) {
            self.half_open.unlink(OF_HOST, host.get_mut(), place);
            if host.get().is_empty() {
                host.remove();
            }
        }
        self.half_open.remove(place);
        self.half_open_by_address.remove(&(key, tag));
    }
}

fn forget_if_empty(session: std::collections::hash_map::OccupiedEntry<'_, SessionTag, Session>) {
    if session.get().half_open.is_empty() && session.get().assured.is_empty() {
        session.remove();
    }
}
