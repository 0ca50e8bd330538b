//! From a node to its clients.

use std::time::Instant;

use voxgate_protocol::path::{ClientAddress, ClientTransport};

use super::{Outbox, REPORT, RelayLane, Socket, can_be_a_client};
use crate::classify::Class;
use crate::flow::{Confirmation, FlowRefusal, Key, SessionTag};
use crate::tunnel::{EndpointError, FrameHeader, Kind};

impl RelayLane {
    /// Acts on an authentic frame. What a node says about flows counts only when it knows the relay's present life:
    /// a confirmation from before a restart may be a recording.
    pub(super) fn apply(
        &mut self,
        now: Instant,
        header: &FrameHeader,
        present: bool,
        payload: &[u8],
        out: &mut Outbox,
    ) {
        let Some(client) = header.client.filter(|client| can_be_a_client(client.socket)) else {
            // A refresh without a client answers a hello and has done its work by now.
            if header.kind != Kind::Refresh || header.client.is_some() {
                self.stats.drop_down_address += 1;
            }
            return;
        };
        let tag = SessionTag { node: header.node, session: header.session };
        match header.kind {
            Kind::Confirm | Kind::Refresh => {
                if present {
                    self.confirm(now, client, tag);
                }
            }
            Kind::Release => {
                if present && self.relay.flows().release(client, tag) {
                    self.stats.released += 1;
                }
            }
            Kind::Down { confirmed } => {
                // Sending needs no relay state, so a restart costs a confirmed caller nothing on the way down. A
                // refused flow falls back to what an unconfirmed address may have.
                let free = confirmed && (!present || self.confirm(now, client, tag));
                if free || self.may_reply(now, client, tag, payload) {
                    self.send_down(client, header.traffic_class, payload, out);
                }
            }
            Kind::Up | Kind::Hello { .. } => {}
        }
    }

    fn confirm(&mut self, now: Instant, client: ClientAddress, tag: SessionTag) -> bool {
        let relay = &*self.relay;
        let (key, millis) = (Key::new(client), relay.millis(now));
        let hash = relay.keyed.of(&key);
        let known = self.memory.get(hash, &key, relay.generations.of(hash));
        if let Some(known) = &known
            && known.tag == tag
            && millis.wrapping_sub(known.node_reported) < REPORT
        {
            return true;
        }
        let client_reported =
            known.map_or_else(|| millis.wrapping_sub(REPORT), |known| known.client_reported);
        let mut flows = relay.flows();
        let confirmation = flows.confirm(now, client, tag);
        if confirmation.is_ok() {
            // The lock is held, so the generation is that of what the table now says.
            self.memory.put((&relay.keyed, &relay.generations), (hash, key), (tag, client_reported, millis));
        }
        drop(flows);
        match confirmation {
            Ok(Confirmation::Created) => self.stats.confirmed += 1,
            Ok(Confirmation::Moved) => self.stats.moved += 1,
            Ok(Confirmation::Kept) => {}
            Err(FlowRefusal::Full | FlowRefusal::Rate | FlowRefusal::Budget) => {
                self.stats.refused_assured_full += 1;
                return false;
            }
            Err(FlowRefusal::Owned) => {
                self.stats.refused_takeover += 1;
                return false;
            }
        }
        true
    }

    /// Whether a datagram may leave for an address that is not confirmed.
    fn may_reply(&mut self, now: Instant, client: ClientAddress, tag: SessionTag, payload: &[u8]) -> bool {
        if payload.is_empty() {
            self.stats.drop_down_empty += 1;
        } else if Class::of(payload) != Class::Stun {
            self.stats.drop_down_unassured_class += 1;
        } else if self.relay.flows().reply(now, client, tag, payload.len()).is_err() {
            self.stats.drop_down_budget += 1;
        } else {
            return true;
        }
        false
    }

    fn send_down(&mut self, client: ClientAddress, traffic_class: u8, payload: &[u8], out: &mut Outbox) {
        if payload.is_empty() {
            self.stats.drop_down_empty += 1;
            return;
        }
        let socket = match client.transport {
            ClientTransport::Udp => Socket::Public,
            ClientTransport::Tcp => Socket::Stream,
        };
        out.push(socket, client.socket, traffic_class, payload);
        self.stats.down_datagrams += 1;
        self.stats.down_bytes += payload.len() as u64;
    }

    pub(super) const fn count_tunnel_error(&mut self, error: EndpointError) {
        match error {
            EndpointError::Tunnel(_) => self.stats.drop_tunnel_forged += 1,
            EndpointError::OtherTunnel | EndpointError::Reflected => self.stats.drop_tunnel_misdirected += 1,
            EndpointError::Replayed => self.stats.drop_tunnel_replayed += 1,
        }
    }
}
