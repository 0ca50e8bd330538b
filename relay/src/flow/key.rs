//! Addresses as the flow table stores them, and their hash.

use std::hash::BuildHasher;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use siphasher::sip::SipHasher13;
use voxgate_protocol::path::{ClientAddress, ClientTransport};

/// A client's address in 20 bytes; IPv4 is mapped into IPv6.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Key {
    ip: [u8; 16],
    port: u16,
    transport: u16,
}

impl Key {
    /// A key no client has: port 0.
    pub(crate) const NONE: Self = Self { ip: [0; 16], port: 0, transport: 0 };

    pub(crate) const fn new(client: ClientAddress) -> Self {
        let ip = match client.socket.ip() {
            IpAddr::V4(ip) => ip.to_ipv6_mapped(),
            IpAddr::V6(ip) => ip,
        };
        let transport = match client.transport {
            ClientTransport::Udp => 0,
            ClientTransport::Tcp => 1,
        };
        Self { ip: ip.octets(), port: client.socket.port(), transport }
    }

    pub(crate) const fn address(self) -> ClientAddress {
        let transport = if self.transport == 0 { ClientTransport::Udp } else { ClientTransport::Tcp };
        let ip = IpAddr::V6(Ipv6Addr::from_octets(self.ip));
        ClientAddress::new(SocketAddr::new(ip, self.port), transport)
    }

    /// The host the address belongs to, as limits count hosts.
    pub(super) fn source(self) -> Source {
        let ip = Ipv6Addr::from_octets(self.ip);
        let mut prefix = self.ip;
        if ip.to_ipv4_mapped().is_none() {
            prefix[8..].fill(0);
        }
        Source(prefix)
    }
}

/// An IPv4 address, or the first 64 bits of an IPv6 address: the rest is the host's own to choose (RFC 4291, 2.5.1).
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Source([u8; 16]);

/// A keyed hash, so that nobody can choose addresses that collide.
#[derive(Clone, Copy)]
pub(crate) struct Keyed(SipHasher13);

impl Keyed {
    pub(super) fn new(seed: u128) -> Self {
        Self(SipHasher13::new_with_keys((seed >> 64) as u64, seed as u64))
    }

    /// The hash that places an address in caches and among the generations.
    pub(crate) fn of(&self, key: &Key) -> u64 {
        let mut bytes = [0; 20];
        bytes[..16].copy_from_slice(&key.ip);
        bytes[16..18].copy_from_slice(&key.port.to_be_bytes());
        bytes[18..].copy_from_slice(&key.transport.to_be_bytes());
        self.0.hash(&bytes)
    }
}

impl BuildHasher for Keyed {
    type Hasher = SipHasher13;

    fn build_hasher(&self) -> SipHasher13 {
        self.0
    }
}
