//! From a client to its node.

use std::time::{Duration, Instant};

use voxgate_protocol::id::NodeIndex;
use voxgate_protocol::path::ClientAddress;

use super::{Outbox, REPORT, RelayLane, Socket};
use crate::classify::{Class, binding_request_ufrag, is_binding_request};
use crate::flow::{Admission, FlowRefusal, Key, SessionTag};
use crate::tunnel::Outgoing;
use crate::ufrag::{Route, UfragError, session_end_minutes};

/// How far clocks of relay and signaling may differ when a session's end is checked.
const END_GRACE: Duration = Duration::from_mins(5);

/// The bits of a traffic class that are not DSCP (RFC 3168, section 5).
const ECN: u8 = 3;

impl RelayLane {
    /// The session a client's datagram belongs to; `None`, and counted, when it may go nowhere.
    pub(super) fn destination(
        &mut self,
        now: Instant,
        client: ClientAddress,
        datagram: &[u8],
    ) -> Option<SessionTag> {
        let class = Class::of(datagram);
        if class == Class::Other {
            self.stats.drop_client_class += 1;
            return None;
        }
        if class == Class::Stun && is_binding_request(datagram) {
            return self.destination_by_ufrag(now, client, datagram);
        }
        let tag = self.assured_session(now, client);
        if tag.is_none() {
            match class {
                Class::Stun => self.stats.drop_unassured_stun += 1,
                Class::Dtls => self.stats.drop_unassured_dtls += 1,
                Class::Media | Class::Other => self.stats.drop_unassured_media += 1,
            }
        }
        tag
    }

    /// The session of an address's assured flow: from the lane's own memory, or from the table when that is out of date
    /// or it is time to tell the table that the client sends.
    fn assured_session(&mut self, now: Instant, client: ClientAddress) -> Option<SessionTag> {
        let relay = &*self.relay;
        let (key, millis) = (Key::new(client), relay.millis(now));
        let hash = relay.keyed.of(&key);
        let known = self.memory.get(hash, &key, relay.generations.of(hash));
        if let Some(known) = &known
            && millis.wrapping_sub(known.client_reported) < REPORT
        {
            return Some(known.tag);
        }
        let node_reported = known.map_or_else(|| millis.wrapping_sub(REPORT), |known| known.node_reported);
        let mut flows = relay.flows();
        let tag = flows.uplink(now, client)?;
        // The lock is held, so the generation is that of what was read.
        self.memory.put((&relay.keyed, &relay.generations), (hash, key), (tag, millis, node_reported));
        Some(tag)
    }

    fn destination_by_ufrag(
        &mut self,
        now: Instant,
        client: ClientAddress,
        datagram: &[u8],
    ) -> Option<SessionTag> {
        let route = self.route(now, datagram)?;
        let tag = SessionTag { node: route.node, session: route.random };
        match self.relay.flows().request(now, client, tag, datagram.len()) {
            Ok(admission) => {
                match admission {
                    Admission::ReplacedOfSession => self.stats.replaced_per_session += 1,
                    Admission::ReplacedOfHost => self.stats.replaced_per_host += 1,
                    Admission::Known | Admission::Opened => {}
                }
                Some(tag)
            }
            Err(refusal) => {
                match refusal {
                    FlowRefusal::Rate => self.stats.drop_rate_limited += 1,
                    FlowRefusal::Full | FlowRefusal::Owned | FlowRefusal::Budget => {
                        self.stats.drop_half_open_full += 1;
                    }
                }
                None
            }
        }
    }

    /// Where a binding request leads; `None`, and counted, when that is nowhere.
    fn route(&mut self, now: Instant, datagram: &[u8]) -> Option<Route> {
        let Some(ufrag) = binding_request_ufrag(datagram) else {
            self.stats.drop_no_ufrag += 1;
            return None;
        };
        let route = match self.directory.key_ring.open(ufrag) {
            Ok(route) => route,
            Err(error) => {
                match error {
                    UfragError::Forged => self.stats.drop_forged_ufrag += 1,
                    UfragError::UnknownKey => self.stats.drop_unknown_ufrag_key += 1,
                    UfragError::Format | UfragError::KeyId | UfragError::Node => {
                        self.stats.drop_foreign_ufrag += 1;
                    }
                }
                return None;
            }
        };
        if route.has_ended(session_end_minutes(self.relay.unix(now)), END_GRACE) {
            self.stats.drop_ended_session += 1;
            return None;
        }
        if self.nodes.get(route.node).is_none_or(|node| node.epoch != route.node_epoch) {
            self.stats.drop_unknown_node += 1;
            return None;
        }
        Some(route)
    }

    pub(super) fn send_up(&mut self, now: Instant, node: NodeIndex, up: &Outgoing<'_>, out: &mut Outbox) {
        let Some(node) = self.nodes.get_mut(node) else {
            self.stats.drop_unknown_node += 1;
            return;
        };
        let seal = |frame: &mut Vec<u8>| node.endpoint.seal(now, up, frame).is_ok();
        // The frame carries the whole class. ECN bits of the outer datagram would be a promise to act on marks they get.
        if out.push_with(Socket::Tunnel, node.address, up.traffic_class & !ECN, seal) {
            self.stats.up_datagrams += 1;
            self.stats.up_bytes += up.payload.len() as u64;
        }
    }
}
