//! The assured flows as bytes, for the process that takes over.
//!
//! All integers are big-endian. A snapshot is the letters `vgfl`, a version byte 1, and 35 bytes for each flow: IP address
//! (16, IPv4 mapped into IPv6), port (2), transport (1: 0 is UDP, 1 is TCP), node (4), session (4), and for how many
//! milliseconds its client (4) and its node (4) have been silent.

use std::net::{Ipv6Addr, SocketAddr};
use std::time::Instant;

use thiserror::Error;
use voxgate_protocol::id::NodeIndex;
use voxgate_protocol::path::{ClientAddress, ClientTransport};

use super::table::Assured;
use super::{FlowTable, Key, SessionTag};

const HEAD: [u8; 5] = *b"vgfl\x01";
const FLOW: usize = 35;

/// Why bytes are no snapshot.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum SnapshotError {
    /// Another version, or not a snapshot at all.
    #[error("not a snapshot of this version")]
    Format,
    /// It ends in the middle of a flow.
    #[error("the snapshot is cut off")]
    Length,
    /// A flow of an address or transport no client can have.
    #[error("the snapshot holds an impossible client")]
    Client,
}

impl FlowTable {
    /// The assured flows with how long they have been silent.
    #[must_use]
    pub fn snapshot(&self, now: Instant) -> Vec<u8> {
        let now = self.micros(now);
        let mut bytes = Vec::with_capacity(HEAD.len() + FLOW * self.counts().assured);
        bytes.extend_from_slice(&HEAD);
        for flow in self.iter_assured() {
            append(&mut bytes, now, flow);
        }
        bytes
    }

    /// Adds the flows of a snapshot as far as the table has room; returns how many. Addresses that have a flow keep it.
    ///
    /// # Errors
    /// [`SnapshotError`]; the table is unchanged then.
    pub fn restore(&mut self, now: Instant, snapshot: &[u8]) -> Result<usize, SnapshotError> {
        let now = self.micros(now);
        let flows = snapshot.strip_prefix(&HEAD).ok_or(SnapshotError::Format)?;
        let (flows, []) = flows.as_chunks::<FLOW>() else { return Err(SnapshotError::Length) };
        for flow in flows {
            read(now, flow)?;
        }
        let mut restored = 0;
        for flow in flows {
            let flow = read(now, flow)?;
            let room = self.counts().assured < self.limits.assured
                && self.flows_of(flow.tag) < self.limits.assured_per_session;
            if room && !self.has_flow(flow.key) {
                self.insert_assured(flow);
                restored += 1;
            }
        }
        Ok(restored)
    }
}

fn append(bytes: &mut Vec<u8>, now: u64, flow: &Assured) {
    let client = flow.key.address();
    let ip = match client.socket.ip() {
        std::net::IpAddr::V4(ip) => ip.to_ipv6_mapped(),
        std::net::IpAddr::V6(ip) => ip,
    };
    let silence =
        |since: u64| u32::try_from(now.saturating_sub(since) / 1000).unwrap_or(u32::MAX).to_be_bytes();
    bytes.extend_from_slice(&ip.octets());
    bytes.extend_from_slice(&client.socket.port().to_be_bytes());
    bytes.push(u8::from(client.transport == ClientTransport::Tcp));
    bytes.extend_from_slice(&flow.tag.node.0.to_be_bytes());
    bytes.extend_from_slice(&flow.tag.session.to_be_bytes());
    bytes.extend_from_slice(&silence(flow.last_from_client));
    bytes.extend_from_slice(&silence(flow.last_from_node));
}

fn read(now: u64, bytes: &[u8; FLOW]) -> Result<Assured, SnapshotError> {
    let [ip @ .., port_0, port_1, transport, _, _, _, _, _, _, _, _, _, _, _, _, _, _, _, _] = bytes;
    let transport = match transport {
        0 => ClientTransport::Udp,
        1 => ClientTransport::Tcp,
        _ => return Err(SnapshotError::Client),
    };
    let ip = Ipv6Addr::from_octets(*ip);
    let port = u16::from_be_bytes([*port_0, *port_1]);
    let client = ClientAddress::new(SocketAddr::new(ip.into(), port), transport);
    if !crate::core::can_be_a_client(client.socket) {
        return Err(SnapshotError::Client);
    }
    let number = |at: usize| u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
    let since = |at: usize| now.saturating_sub(u64::from(number(at)) * 1000);
    Ok(Assured {
        key: Key::new(client),
        tag: SessionTag { node: NodeIndex(number(19)), session: number(23) },
        last_from_client: since(27),
        last_from_node: since(31),
    })
}
